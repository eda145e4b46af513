"""Ranges of task ids as few blocks of numbers, so that all ranges with a number in them are found by equality.

A *block* of level k is 2**k numbers that begin at a multiple of 2**k. Every range is a handful of blocks (two for each
level at most), a number lies in one block of each level, and what is left of a block without one of its numbers is
blocks again. So to look up who waits for a number is to look up 32 names, however many ranges there are and however
long they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: Ids of tasks are counted as numbers from -2**31 to 2**31 - 1.
_LEVELS = 32

#: Level and index; the numbers are those from ``index << level`` on.
Block = tuple[int, int]


def name_of(block: Block) -> str:
    """The block's name, which no task can have."""
    level, index = block
    return f"{level}:{index}"


def block_named(name: str) -> Block | None:
    """The block of that name; ``None`` where it is the key of a task."""
    level, colon, index = name.partition(":")
    return (int(level), int(index)) if colon else None


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of the same numbers that do not overlap, in order."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result


def blocks_with(number: int) -> list[Block]:
    """All blocks that hold a number."""
    return [(level, number >> level) for level in range(_LEVELS)]


def blocks_between(first: int, last: int) -> Iterator[Block]:
    """The fewest blocks that hold the numbers from first to last, in their order."""
    while first <= last:
        level = (last - first + 1).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        yield level, first >> level
        first += 1 << level


def blocks_without(block: Block, numbers: Iterable[int]) -> Iterator[Block]:
    """The fewest blocks that hold a block's numbers except these, which are in order."""
    level, index = block
    return blocks_missing(index << level, ((index + 1) << level) - 1, ((number, number) for number in numbers))


def blocks_missing(first: int, last: int, runs: Iterable[tuple[int, int]]) -> Iterator[Block]:
    """The fewest blocks that hold the numbers from first to last except some runs (first and last each), in order."""
    for run_first, run_last in runs:
        yield from blocks_between(first, run_first - 1)
        first = run_last + 1
    yield from blocks_between(first, last)
