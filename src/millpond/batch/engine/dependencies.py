"""Tasks that wait for other tasks: what a task waits for, and who goes on when one has ended.

A task's dependencies are rows in the store: on the key of a task, or on a block of numbers (:mod:`.number_blocks`)
that stands for a range of ids or a part of one; the blocks of one task never overlap. ``Task.pending_dependencies``
counts those that are open; the task is ready for a place once there are none. When a task ends so that its dependents
may go on, the open dependencies on its key and its number are looked up and closed, at a cost that depends on their
number alone. A block that has lost some of its numbers is replaced by what is left of it.

A dependency that is closed stays closed, whatever becomes of the prerequisite: it may be deleted, added again or
reactivated. Tasks that are added later look at what is there then. No edge is drawn to a task that does not exist, so
one that is never added, or waits for itself, keeps its dependents waiting for ever, as the service does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from msgspec.structs import replace

from ..model.changes import Archive
from ..model.keys import task_number
from ..model.task import Task
from .messages import DependentsDue, NewTask, Prerequisites, RaiseAt
from .number_blocks import block_named, blocks_missing, blocks_with, blocks_without, merged, name_of
from .state import State

#: Dependencies that are closed in one batch, so that a task with a million dependents holds nobody up.
CLOSED_AT_ONCE = 2000
#: Ended tasks whose dependents are looked up together.
_LOOKED_UP_AT_ONCE = 64


class Satisfied:
    """What of the prerequisites of some new tasks is satisfied already, looked up once for all of them."""

    def __init__(self, archive: Archive, job: str, tasks: Iterable[NewTask]) -> None:
        given = [task.depends_on for task in tasks if task.depends_on is not None]
        keys = list({key for each in given for key in each.tasks})
        self._keys = archive.satisfying(job, keys) if keys else set()
        #: Runs of satisfied numbers, in order.
        self._runs: list[tuple[int, int]] = []
        for first, last in merged(numbers for each in given for numbers in each.ranges):
            self._runs += archive.satisfied_runs(job, first, last)

    def left_of(self, given: Prerequisites | None) -> set[str]:
        """The names of the prerequisites that are still to be satisfied."""
        if given is None:
            return set()
        left = set(given.tasks) - self._keys
        for first, last in merged(given.ranges):
            left.update(map(name_of, blocks_missing(first, last, self._runs_within(first, last))))
        return left

    def _runs_within(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        for index in range(bisect_left(self._runs, first, key=itemgetter(1)), len(self._runs)):
            begin, end = self._runs[index]
            if begin > last:
                return
            yield max(first, begin), min(last, end)


def open_dependencies(state: State, task: Task, prerequisites: Iterable[str]) -> None:
    """The new task waits for these."""
    for name in prerequisites:
        state.save_dependency(task.job, name, task.seq, is_open=True)


def note_satisfied(state: State, task: Task) -> None:
    """The task has ended so that its dependents may go on; they are told when the batch settles."""
    job = state.jobs[task.job]
    state.save_satisfied(job, (*job.satisfied, (task.key, job.tasks_added)))
    state.stirred_dependents[job.key] = None


def on_dependents_due(state: State, event: DependentsDue, now: int) -> None:
    watch(state, event.job)


def watch(state: State, job_key: str) -> None:
    """Go on telling dependents, where not all could be told at once."""
    job = state.jobs.get(job_key)
    if job is not None and job.satisfied:
        state.stirred_dependents[job_key] = None


def settle_dependents(state: State, job_key: str, now: int) -> None:
    """Let those go on that depend on tasks which have ended, as far as they can be told at once."""
    job = state.jobs.get(job_key)
    if job is None:
        return
    due, budget = job.satisfied, CLOSED_AT_ONCE
    while due and budget > 0:
        before = due[0][1]
        part = [key for key, added in due[:_LOOKED_UP_AT_ONCE] if added == before]
        closed = _close_dependencies(state, job_key, part, before, budget)
        budget -= closed
        if budget > 0:
            due = due[len(part) :]
    state.save_satisfied(state.jobs[job_key], due)
    if due:
        state.order(RaiseAt(moment=now, event=DependentsDue(job=job_key)))


def _close_dependencies(state: State, job: str, ended: Sequence[str], before: int, limit: int) -> int:
    """Close dependencies on these tasks; returns how many were found, which is less than the limit if it was all."""
    numbers = sorted({number for key in ended if (number := task_number(key)) is not None})
    names = {*ended, *(name_of(block) for number in numbers for block in blocks_with(number))}
    found = state.archive.dependents(job, list(names), before, limit)
    waiting: dict[str, Task] = {}
    hit: defaultdict[str, list[str]] = defaultdict(list)
    for name, task in found:
        waiting[task.key] = task
        hit[task.key].append(name)
    for key, task in waiting.items():
        left = [name for each in hit[key] for name in _left_of(each, numbers)]
        for name in hit[key]:
            state.save_dependency(job, name, task.seq, is_open=False)
        for name in left:
            state.save_dependency(job, name, task.seq, is_open=True)
        _save_pending(state, task, task.pending_dependencies - len(hit[key]) + len(left))
    return len(found)


def _left_of(name: str, numbers: Sequence[int]) -> list[str]:
    """What a prerequisite leaves to wait for when these numbers are satisfied, and what else it names."""
    block = block_named(name)
    if block is None:
        return []
    level, index = block
    return [name_of(part) for part in blocks_without(block, (n for n in numbers if n >> level == index))]


def _save_pending(state: State, task: Task, pending: int) -> None:
    if pending == task.pending_dependencies:
        return
    after = replace(task, pending_dependencies=pending)
    state.save_task(task, after)
    if after.is_ready:
        state.enqueue(after)
