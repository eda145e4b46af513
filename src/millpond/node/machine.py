"""What an agent decides: orders and news in, instructions out. No processes, files, sockets or clock.

An attempt at a task is in one of three places:

* *waiting*: ordered, and no free slots for it yet. The queue is strict: whoever is at its head goes first, so that
  a task that needs many slots is not overtaken forever. What takes no slots waits for nobody.
* *running*: its instruction to launch was given, and its end has not been told. It holds its slots until all of its
  processes are gone, also while it is being ended.
* *ended*: its report is kept, and told again on every new channel, until the service has it on record.

Orders are level-triggered (:mod:`millpond.common.agent_protocol`): each may come twice, and a full one replaces all
before it. Two attempts at the same task never run at the same time, because they share a directory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from millpond.common.agent_protocol import (
    Assignment,
    Attempt,
    Coordinated,
    DeleteFiles,
    Ended,
    FilesDeleted,
    Orders,
    Report,
    Started,
)

from .failures import ended_by_user


@dataclass(frozen=True, slots=True)
class Launch:
    """Begin with an attempt: its files, then its process."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Limit:
    """Have a running attempt keep to the limits that are named here, which may have changed."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Kill:
    """End all processes of a running attempt; its end is then told as any other's."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class RunPrimary:
    """All nodes of a multi-instance task are ready: run the task's own command. May come twice."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the directory of a task or a job, none of whose processes run, then tell it."""

    chore: DeleteFiles


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove the directory of an ended attempt that nobody asks about any more."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a report."""

    report: Report


Instruction = Launch | Limit | Kill | RunPrimary | Delete | Discard | Tell

#: Why a running attempt is being ended: on order, or because no order mentions it any more.
Ending = Literal["stopped", "discarded"]


@dataclass(slots=True)
class _Running:
    slots: int
    start_time: int
    ending: Ending | None = None
    #: Its coordination command has succeeded.
    is_coordinated: bool = False


class Machine:
    """The attempts that a node holds. Each method takes news and returns what follows from it, in order."""

    def __init__(self) -> None:
        self.task_slots = 1
        self._used_slots = 0
        self._waiting: OrderedDict[Attempt, Assignment] = OrderedDict()
        self._running: dict[Attempt, _Running] = {}
        #: The same by task: whose directory is in use.
        self._running_by_task: dict[tuple[str, str], Attempt] = {}
        self._ended: dict[Attempt, Ended] = {}
        #: Deletions that wait for processes to end, and those under way.
        self._chores: dict[int, DeleteFiles] = {}
        self._deleting: dict[int, DeleteFiles] = {}

    @property
    def holding(self) -> list[Attempt]:
        """All attempts of which the service has not said that it knows their end."""
        running = [attempt for attempt, run in self._running.items() if run.ending != "discarded"]
        return [*self._ended, *running, *self._waiting]

    @property
    def is_busy(self) -> bool:
        """Whether another attempt starts as soon as one ends."""
        return bool(self._waiting and self._running)

    def on_orders(self, orders: Orders, now: int) -> list[Instruction]:
        """Take in orders. Raises nothing: what they name and the node does not hold is answered or ignored."""
        instructions: list[Instruction] = []
        self.task_slots = max(1, orders.task_slots)
        if orders.full:
            self._settle(orders, instructions)
        for attempt in orders.forget:
            self._ended.pop(attempt, None)
        ended = [attempt for attempt in orders.discard if self._ended.pop(attempt, None)]
        instructions += [Discard(attempt) for attempt in ended if not self._has_other(attempt)]
        for attempt in orders.stop:
            self._stop(attempt, now, instructions)
        for attempt in orders.run_primary:
            run = self._running.get(attempt)
            if run and run.is_coordinated and run.ending is None:
                instructions.append(RunPrimary(attempt))
        for chore in orders.delete:
            if chore.chore not in self._deleting:
                self._chores[chore.chore] = chore
        for assignment in orders.start:
            self._accept(assignment, instructions)
        return instructions + self._proceed(now)

    def on_coordinated(self, attempt: Attempt) -> list[Instruction]:
        """The coordination command of a running attempt has succeeded."""
        self._running[attempt].is_coordinated = True
        return [Tell(Coordinated(attempt))]

    def on_ended(self, ended: Ended, now: int) -> list[Instruction]:
        """All processes of a running attempt are gone, or it could not be launched."""
        run = self._running.pop(ended.attempt)
        del self._running_by_task[_task(ended.attempt)]
        self._used_slots -= run.slots
        if run.ending == "discarded":
            return self._proceed(now)
        if run.ending == "stopped":
            ended = Ended(ended.attempt, ended.start_time, ended.end_time, None, ended_by_user(), usage=ended.usage)
        self._ended[ended.attempt] = ended
        return [Tell(ended), *self._proceed(now)]

    def on_deleted(self, chore: int, now: int) -> list[Instruction]:
        """The directory of a chore is gone."""
        self._deleting.pop(chore, None)
        return [Tell(FilesDeleted(chore)), *self._proceed(now)]

    def _settle(self, orders: Orders, instructions: list[Instruction]) -> None:
        """A full order is all there is: drop the rest, and tell again what the last channel may have lost."""
        wanted = {assignment.attempt for assignment in orders.start}
        stopping = set(orders.stop)
        for attempt in [attempt for attempt in self._waiting if attempt not in wanted and attempt not in stopping]:
            del self._waiting[attempt]
        for attempt in [attempt for attempt in self._ended if attempt not in wanted and attempt not in stopping]:
            del self._ended[attempt]
        for attempt, run in self._running.items():
            if attempt in wanted:
                instructions.append(Tell(Started(attempt, run.start_time)))
                if run.is_coordinated:
                    instructions.append(Tell(Coordinated(attempt)))
            elif attempt not in stopping:
                self._end(attempt, run, "discarded", instructions)
        instructions += [Tell(ended) for ended in self._ended.values()]
        self._chores.clear()

    def _stop(self, attempt: Attempt, now: int, instructions: list[Instruction]) -> None:
        """Every stop is answered by an end, also of an attempt that is not here."""
        run = self._running.get(attempt)
        if run:
            self._end(attempt, run, "stopped", instructions)
            return
        self._waiting.pop(attempt, None)
        ended = self._ended.get(attempt)
        if not ended:
            ended = self._ended[attempt] = Ended(attempt, None, now, None, ended_by_user())
        instructions.append(Tell(ended))

    def _end(self, attempt: Attempt, run: _Running, why: Ending, instructions: list[Instruction]) -> None:
        if run.ending is None:
            instructions.append(Kill(attempt))
        run.ending = why

    def _accept(self, assignment: Assignment, instructions: list[Instruction]) -> None:
        attempt = assignment.attempt
        if attempt in self._running:
            instructions.append(Limit(assignment))
            return
        if attempt in self._waiting:
            self._waiting[attempt] = assignment
            return
        if attempt in self._ended:
            instructions.append(Tell(self._ended[attempt]))
            return
        earlier = self._running_by_task.get(_task(attempt))
        if earlier and self._running[earlier].ending is None:
            # Requeued, and placed here again: the old attempt counts no more.
            self._end(earlier, self._running[earlier], "discarded", instructions)
        self._waiting[attempt] = assignment
        if not assignment.required_slots:
            self._waiting.move_to_end(attempt, last=False)

    def _has_other(self, attempt: Attempt) -> bool:
        """Whether the directory of an ended attempt is that of another one by now."""
        task = _task(attempt)
        return task in self._running_by_task or any(_task(other) == task for other in self._ended)

    def _proceed(self, now: int) -> list[Instruction]:
        """Delete what can be deleted now, and launch what fits now."""
        instructions: list[Instruction] = []
        for chore in list(self._chores.values()):
            if not any(_concerns(chore, attempt) for attempt in self._running):
                self._deleting[chore.chore] = self._chores.pop(chore.chore)
                instructions.append(Delete(chore))
        while self._waiting:
            attempt, assignment = next(iter(self._waiting.items()))
            slots = min(assignment.required_slots, self.task_slots)
            if self._used_slots + slots > self.task_slots or self._is_in_use(attempt):
                break
            del self._waiting[attempt]
            self._used_slots += slots
            self._running[attempt] = _Running(slots, now)
            self._running_by_task[_task(attempt)] = attempt
            instructions += [Tell(Started(attempt, now)), Launch(assignment)]
        return instructions

    def _is_in_use(self, attempt: Attempt) -> bool:
        """Whether the task's directory belongs to another attempt, or is being deleted."""
        return _task(attempt) in self._running_by_task or any(
            _concerns(chore, attempt) for chores in (self._chores, self._deleting) for chore in chores.values()
        )


def _task(attempt: Attempt) -> tuple[str, str]:
    return attempt.job_id, attempt.task_id


def _concerns(chore: DeleteFiles, attempt: Attempt) -> bool:
    return chore.job_id == attempt.job_id and chore.task_id in (None, attempt.task_id)
