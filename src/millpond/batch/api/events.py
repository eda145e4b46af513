"""Every change as it is committed, as server-sent events: an addition of ours to the Batch API.

An event's ``id`` is the service's start and the change's number since. A client that was cut off names the last one it
has seen (``Last-Event-ID``); where that is of an earlier start or too long ago, ``reset`` tells it to read anew what it
follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from millpond.common.clock import to_iso

from ..change_log import Change
from ..model.job import Job
from ..model.keys import entity_key
from ..model.pool import Node, Pool
from ..model.schedule import JobSchedule
from ..model.task import Task, TaskState
from .http import Answer, Call
from .jobs import job_url, task_counts
from .pools import pool_url
from .tasks import execution_info, node_info, task_url
from .wire.codec import encode

if TYPE_CHECKING:
    from ..service import BatchService

#: Seconds of silence after which a comment says that the connection is alive.
_HEARTBEAT_S = 15.0
_PART = 1000


async def event_list(service: BatchService, call: Call) -> Answer:
    """All of the account's changes from now on, or those of a ``job`` and its tasks, or of a ``pool``, its nodes, and
    the jobs and tasks that run there."""
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    return Answer(200, headers, _Events(service, call).stream())


class _Events:
    """What one client follows."""

    def __init__(self, service: BatchService, call: Call) -> None:
        self._service = service
        self._call = call
        self._log = service.change_log
        self._job = _wanted(call, "job")
        self._pool = _wanted(call, "pool")
        #: Jobs by key, as far as they have been looked up.
        self._jobs: dict[str, Job | None] = {}

    async def stream(self) -> AsyncIterator[bytes]:
        number, lost = self._start()
        yield self._event("reset", number, {}) if lost else b": connected\n\n"
        while True:
            if number < self._log.oldest - 1:
                number = self._log.newest
                yield self._event("reset", number, {})
            changes = self._log.since(number, _PART)
            if changes:
                number = changes[-1].number
                if events := b"".join(self._render(change) for change in changes if self._wants(change)):
                    yield events
                continue
            try:
                await asyncio.wait_for(self._log.news(), _HEARTBEAT_S)
            except TimeoutError:
                yield b":\n\n"

    def _start(self) -> tuple[int, bool]:
        """The number of the last change that the client has seen, and whether others after it are lost."""
        last = self._call.headers.get("last-event-id", "")
        if not last:
            return self._log.newest, False
        start, _, number = last.partition("-")
        if start == self._service.started and number.isdigit():
            seen = int(number[:18])
            if self._log.oldest - 1 <= seen <= self._log.newest:
                return seen, False
        return self._log.newest, True

    def _wants(self, change: Change) -> bool:
        if not change.key.startswith(f"{self._call.account.lower()}/"):
            return False
        if isinstance(change.record, Job):
            self._jobs[change.key] = change.record
        if self._job is not None and (change.kind not in ("job", "task") or change.key != self._job):
            return False
        return self._pool is None or self._is_on(self._pool, change)

    def _is_on(self, pool: str, change: Change) -> bool:
        if change.kind == "pool":
            return change.key == pool
        if change.kind == "node":
            return change.key.startswith(f"{pool}/")
        if change.kind == "jobschedule":
            return False
        job = self._find_job(change.key)
        return job is not None and job.pool == pool

    def _find_job(self, key: str) -> Job | None:
        if key not in self._jobs:
            self._jobs[key] = self._service.reader.job(key)
        return self._jobs[key]

    def _render(self, change: Change) -> bytes:
        match change.record:
            case None:
                content = self._gone(change)
            case Pool() as pool:
                content = _state(pool) | {
                    "url": pool_url(self._call, pool.id),
                    "allocationState": pool.allocation_state,
                    "targetDedicatedNodes": pool.target_dedicated_nodes,
                    "targetLowPriorityNodes": pool.target_low_priority_nodes,
                }
            case Node() as node:
                content = _state(node) | {"poolId": self._pool_id(node), "schedulingState": node.scheduling_state}
            case Job() as job:
                content = _state(job) | {
                    "url": job_url(self._call, job.id),
                    "poolId": job.pool_id,
                    "priority": job.priority,
                    "taskCounts": task_counts(job.task_counts),
                    "taskSlotCounts": task_counts(job.slot_counts),
                }
                if job.terminate_reason is not None:
                    content["terminateReason"] = job.terminate_reason
            case JobSchedule() as schedule:
                content = _state(schedule)
            case Task() as task:
                content = self._task(task)
        return self._event(change.kind, change.number, content)

    def _task(self, task: Task) -> dict[str, Any]:
        job = self._find_job(task.job)
        job_id = job.id if job else _last(task.job)
        content = _state(task) | {
            "jobId": job_id,
            "url": task_url(self._call, job_id, task.id),
            "executionInfo": execution_info(task),
        }
        if task.node_id is not None and task.state is not TaskState.ACTIVE:
            content["nodeInfo"] = node_info(self._call, job_id, task)
        return content

    def _pool_id(self, node: Node) -> str:
        pool = self._service.reader.pool(node.pool)
        return pool.id if pool else _last(node.pool)

    def _gone(self, change: Change) -> dict[str, Any]:
        """What is gone is named by its key: its id in lower case."""
        if change.kind == "task":
            job = self._find_job(change.key)
            return {"id": change.task, "jobId": job.id if job else _last(change.key), "deleted": True}
        if change.kind == "node":
            return {"id": _last(change.key), "poolId": change.key.split("/")[1], "deleted": True}
        if change.kind == "job":
            self._jobs.pop(change.key, None)
        return {"id": _last(change.key), "deleted": True}

    def _event(self, kind: str, number: int, content: dict[str, Any]) -> bytes:
        return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
            self._service.started.encode(),
            number,
            kind.encode(),
            encode(content),
        )


def _wanted(call: Call, name: str) -> str | None:
    entity_id = call.query.get(name)
    return entity_key(call.account, entity_id) if entity_id else None


def _state(record: Pool | Node | Job | JobSchedule | Task) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": record.id,
        "state": record.state,
        "stateTransitionTime": to_iso(record.state_transition_time),
    }
    if isinstance(record, Job | JobSchedule | Task) and record.previous_state is not None:
        content["previousState"] = record.previous_state
    return content


def _last(key: str) -> str:
    return key.rpartition("/")[2]
