"""The latest committed changes, in order, for those who follow them as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, NamedTuple

from .model.changes import Changes
from .model.job import Job
from .model.pool import Node, Pool
from .model.schedule import JobSchedule
from .model.task import Task, TaskState

Kind = Literal["pool", "node", "job", "jobschedule", "task"]

#: How many changes are kept: some seconds of a service at its fastest.
KEPT = 100_000


class Change(NamedTuple):
    """One record as it is since a commit; ``None``: it is gone."""

    number: int
    kind: Kind
    #: The record's key; of a task, its job's.
    key: str
    #: The key of a task within its job.
    task: str
    record: Pool | Node | Job | JobSchedule | Task | None


class ChangeLog:
    """All methods are for the event loop.

    Changes are numbered from 1 for as long as the process lives. Several changes of a record within one commit are one.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._changes: deque[Change] = deque(maxlen=kept)
        self._news = asyncio.Event()
        #: The number of the newest change.
        self.newest = 0

    @property
    def oldest(self) -> int:
        """The number of the oldest change that is kept (or of the next one)."""
        return self.newest - len(self._changes) + 1

    def append(self, changes: Changes) -> None:
        before = self.newest
        for pool_key, pool in changes.pools.items():
            self._add("pool", pool_key, "", pool)
        for node_key, node in changes.nodes.items():
            self._add("node", node_key, "", node)
        for schedule_key, schedule in changes.schedules.items():
            self._add("jobschedule", schedule_key, "", schedule)
        for key, task in changes.tasks.items():
            # Nobody outside sees that an active task has a place ahead: only its addition is news.
            if key in changes.documents or task is None or task.state is not TaskState.ACTIVE or task.node is None:
                self._add("task", *key, task)
        for job_key, job in changes.jobs.items():
            self._add("job", job_key, "", job)
        if self.newest != before:
            self._news.set()
            self._news = asyncio.Event()

    def _add(self, kind: Kind, key: str, task: str, record: Pool | Node | Job | JobSchedule | Task | None) -> None:
        self.newest += 1
        self._changes.append(Change(self.newest, kind, key, task, record))

    def since(self, number: int, limit: int) -> list[Change]:
        """The changes after this number, which must not be older than :attr:`oldest` less one."""
        found: list[Change] = []
        index = number + 1 - self.oldest
        # A deque is slow in its middle: whoever is near the end, as most are, is served from there.
        while index < len(self._changes) and len(found) < limit:
            found.append(self._changes[index])
            index += 1
        return found

    async def news(self) -> None:
        """Wait for the next change."""
        await self._news.wait()
