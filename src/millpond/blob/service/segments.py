"""Where the bytes of a blob are that changes in place, and how two states of it differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..model import Segment


class PageRange(NamedTuple):
    """Bytes from ``begin`` up to ``end``, which are there or, ``is_clear``, were there before."""

    begin: int
    end: int
    is_clear: bool = False


def spliced(near: Iterable[Segment], begin: int, end: int, new: Segment | None) -> list[Segment]:
    """The segments ``near`` a range, once ``new`` is all that there is within it."""
    found = [] if new is None else [new]
    for segment in near:
        if segment.start < begin:
            found.append(segment._replace(size=min(segment.end, begin) - segment.start))
        if segment.end > end:
            found.append(_from(segment, max(segment.start, end)))
    return _joined(sorted(found))


def _from(segment: Segment, position: int) -> Segment:
    """The rest of a segment from there on."""
    cut = position - segment.start
    return segment._replace(start=position, size=segment.size - cut, offset=segment.offset + cut)


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """Neighbours that are neighbours in their file, too, become one."""
    found: list[Segment] = []
    for segment in segments:
        last = found[-1] if found else None
        if last and (last.end, last.file, last.offset + last.size) == (segment.start, segment.file, segment.offset):
            found[-1] = last._replace(size=last.size + segment.size)
        else:
            found.append(segment)
    return found


def page_ranges(segments: Iterable[Segment]) -> Iterator[PageRange]:
    """Where there are pages that were put, and not cleared since."""
    return _merged(PageRange(segment.start, segment.end) for segment in segments if segment.file)


def page_changes(before: Sequence[Segment], now: Sequence[Segment], size: int) -> Iterator[PageRange]:
    """What was put and what was cleared since, within the first ``size`` bytes.

    Pages that were put since and cleared again count as cleared, although they were clear before.
    """
    return _merged(_changes(before, now, size))


def _changes(before: Sequence[Segment], now: Sequence[Segment], size: int) -> Iterator[PageRange]:
    edges = sorted({edge for segment in (*before, *now) for edge in (segment.start, segment.end)} | {size})
    old, new = _Cursor(before), _Cursor(now)
    for begin, end in pairwise(edges):
        if begin >= size:
            return
        was, is_now = old.origin(begin), new.origin(begin)
        if is_now != was:
            yield PageRange(begin, end, is_clear=not is_now[0])


class _Cursor:
    """Tells where bytes come from, asked in the order of their positions."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._left = list(reversed(segments))

    def origin(self, position: int) -> tuple[str, int]:
        while self._left and self._left[-1].end <= position:
            self._left.pop()
        if not self._left or self._left[-1].start > position:
            return "", 0
        segment = self._left[-1]
        return segment.file, segment.offset + position - segment.start


def _merged(ranges: Iterable[PageRange]) -> Iterator[PageRange]:
    last: PageRange | None = None
    for following in ranges:
        if last and (last.end, last.is_clear) == (following.begin, following.is_clear):
            last = last._replace(end=following.end)
            continue
        if last:
            yield last
        last = following
    if last:
        yield last
