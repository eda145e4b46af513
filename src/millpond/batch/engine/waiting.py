"""A job's tasks that wait for a place, as far as they are in memory.

A job may have a million waiting tasks. The scheduler only needs the first of them, so memory holds a *window*: of the
tasks that wait and could ever run in the job's pool, a prefix by ``seq`` (their order of addition). All the others
are in the store alone, and the window is refilled from there when it runs low. The prefix is described by two
members: where ``more`` is false, everything that waits is in the window; where it is true, everything up to the seq
``loaded_to`` is. Tasks that wait for others (:mod:`.dependencies`) do not count as waiting here until those are done.

Tasks that need more slots than a node of the pool has are no part of the window, so they never block it; nor are gangs
that need more nodes than the pool has, or that its nodes do not take.
"""

from __future__ import annotations

from bisect import bisect_left, insort


class JobQueue:
    """The window of one job: per size (:meth:`.JobWork.size_of`), the tasks' seqs and keys."""

    __slots__ = ("by_size", "length", "loaded_to", "more")

    def __init__(self) -> None:
        #: Sorted by falling seq, so that the first to go is at the cheap end of the list.
        self.by_size: dict[int, list[tuple[int, str]]] = {}
        self.length = 0
        self.loaded_to = -1
        self.more = False

    def push(self, seq: int, size: int, key: str, limit: int) -> str | None:
        """Take a task in, unless its place is beyond the window; the window keeps at most ``limit`` tasks.

        Returns the key of the task that was left out or dropped for it, if any.
        """
        if self.more and seq > self.loaded_to:
            return key
        insort(self.by_size.setdefault(size, []), (-seq, key))
        self.length += 1
        if self.length > limit:
            return self._drop_last()
        return None

    def pop(self, size: int) -> str:
        """Remove the first task of this size."""
        self.length -= 1
        return self.by_size[size].pop()[1]

    def remove(self, seq: int, size: int, key: str) -> None:
        """Remove a task wherever it is in the window."""
        tasks = self.by_size[size]
        place = bisect_left(tasks, (-seq, key))
        if place == len(tasks) or tasks[place] != (-seq, key):
            raise LookupError(f"task {key} with seq {seq} is not in the window")
        del tasks[place]
        self.length -= 1

    def first(self, largest: int) -> int | None:
        """The size of the first task that needs no more slots than ``largest``."""
        best = None
        lowest = 0
        for size, tasks in self.by_size.items():
            if size <= largest and tasks and (best is None or -tasks[-1][0] < lowest):
                best, lowest = size, -tasks[-1][0]
        return best

    def first_seq(self, size: int) -> int:
        """The ``seq`` of the first task of this size."""
        return -self.by_size[size][-1][0]

    def first_but(self, largest: int, key: str | None) -> tuple[int, str] | None:
        """Size and key of the first task that needs no more slots than ``largest`` and is not this one."""
        best: tuple[int, int, str] | None = None
        for size, tasks in self.by_size.items():
            place = -2 if tasks and tasks[-1][1] == key else -1
            if size <= largest and len(tasks) >= -place:
                seq, first = tasks[place]
                if best is None or -seq < best[0]:
                    best = (-seq, size, first)
        return None if best is None else best[1:]

    def keys(self) -> list[str]:
        return [key for tasks in self.by_size.values() for _, key in tasks]

    def clear(self, *, more: bool) -> None:
        """Forget the window; ``more``: tasks may be waiting in the store."""
        self.by_size.clear()
        self.length = 0
        self.loaded_to = -1
        self.more = more

    def _drop_last(self) -> str:
        size = min((tasks[0][0], size) for size, tasks in self.by_size.items() if tasks)[1]
        seq, key = self.by_size[size].pop(0)
        self.length -= 1
        self.more = True
        self.loaded_to = -seq - 1
        return key
