"""Why something is in its state and what it waits for: an addition of ours to the Batch API.

Answers are made of what is committed, read beside the writer; and of the last words of tasks that have failed, read
from their nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from millpond.common.agent_protocol import task_directory
from millpond.common.clock import to_iso
from millpond.common.errors import ServiceError

from ..engine.explain import (
    Explanation,
    JobFacts,
    Log,
    NodeFacts,
    PoolFacts,
    Prerequisite,
    Reason,
    TaskFacts,
    explain_job,
    explain_node,
    explain_pool,
    explain_schedule,
    explain_task,
)
from ..engine.explain.facts import ready_tasks
from ..engine.number_blocks import block_named, merged
from ..errors import error
from ..model.job import Job, JobState
from ..model.job_node import JobNode
from ..model.keys import task_key
from ..model.pool import Node, Pool
from ..model.task import Task, TaskState
from ..store.base import Both, Compare, Page, Query
from .http import JSON_TYPE, Answer, Call
from .job_schedules import find_schedule
from .jobs import find_job
from .nodes import find_node
from .pools import find_pool
from .tasks import find_task
from .wire.codec import encode
from .wire.fields import wire_name

if TYPE_CHECKING:
    from ..service import BatchService

T = TypeVar("T")

#: What an explanation names or counts of a kind at most; it says where there is more.
_MOST_NAMED = 10
_MOST_COUNTED = 10_000
_PAGE = 1000
#: Seconds that a node may take to answer with the last line of a file, and how much of it is read.
_LOG_TIMEOUT_S = 2.0
_LOG_TAIL = 4096


async def task_explain(service: BatchService, call: Call) -> Answer:
    job, stored = find_task(service, call)
    facts = await asyncio.to_thread(_task_facts, service, job, stored.task)
    return await _answer(service, explain_task(facts))


async def job_explain(service: BatchService, call: Call) -> Answer:
    job = find_job(service, call)
    facts = await asyncio.to_thread(_job_facts, service, job)
    return await _answer(service, explain_job(facts))


async def pool_explain(service: BatchService, call: Call) -> Answer:
    pool = find_pool(service, call)
    facts = await asyncio.to_thread(_pool_facts, service, pool.key, pool.id)
    return await _answer(service, explain_pool(pool, facts))


async def node_explain(service: BatchService, call: Call) -> Answer:
    return await _explain_node(service, *find_node(service, call))


async def node_explain_by_id(service: BatchService, call: Call) -> Answer:
    """A node by the beginning of its id, whichever its pool."""
    prefix = call.params["nodeId"]
    found = await asyncio.to_thread(service.reader.nodes_named, call.account, prefix, _MOST_NAMED)
    exact = [node for node in found if node.id.lower() == prefix.lower()]
    found = exact if len(exact) == 1 else found
    if len(found) > 1:
        reason = f"Several nodes have ids that begin so, such as {found[0].id} and {found[1].id}."
        raise error("InvalidUri", ("Reason", reason))
    pool = service.reader.pool(found[0].pool) if found else None
    if pool is None:
        raise error("NodeNotFound")
    return await _explain_node(service, pool, found[0])


async def _explain_node(service: BatchService, pool: Pool, node: Node) -> Answer:
    (facts,) = _node_facts(service, [node])
    return await _answer(service, explain_node(pool, facts))


async def job_schedule_explain(service: BatchService, call: Call) -> Answer:
    schedule = find_schedule(service, call)
    jobs = _all(lambda query: service.reader.jobs_of(schedule.key, query))
    live = [job for job in await asyncio.to_thread(list, jobs) if job.state is not JobState.COMPLETED]
    return await _answer(service, explain_schedule(schedule, live[-1] if live else None, call.now))


# --- facts -------------------------------------------------------------------------------------------------------


def _task_facts(service: BatchService, job: Job, task: Task) -> TaskFacts:
    reader = service.reader
    facts = _job_facts(service, job)
    if task.state is not TaskState.ACTIVE or task.node is not None:
        return TaskFacts(task=task, job=facts)
    return TaskFacts(
        task=task,
        job=facts,
        prerequisites=tuple(_prerequisites(service, task)),
        before_in_job=reader.ready_before(job.key, task.seq, _MOST_COUNTED),
        jobs_before=tuple(_jobs_before(job, _jobs_on(service, job.account, job.pool_id))),
    )


def _job_facts(service: BatchService, job: Job) -> JobFacts:
    records: Iterable[JobNode] = ()
    if job.preparation is not None:
        records = _all(lambda query: service.reader.job_nodes(job.key, query))
    return JobFacts(job=job, pool=_pool_facts(service, job.pool, job.pool_id), records=tuple(records))


def _pool_facts(service: BatchService, key: str, pool_id: str) -> PoolFacts:
    pool = service.reader.pool(key)
    if pool is None:
        return PoolFacts(pool_id=pool_id, pool=None)
    nodes = list(_all(lambda query: service.reader.nodes(key, query)))
    taken = {_place_of_manager(service, job) for job in _jobs_on(service, pool.account, pool.id)}
    facts = [
        replace(each, used_slots=pool.task_slots_per_node) if each.node.key in taken else each
        for each in _node_facts(service, nodes)
    ]
    return PoolFacts(pool_id=pool.id, pool=pool, nodes=tuple(facts))


def _place_of_manager(service: BatchService, job: Job) -> str | None:
    """The node that the job's manager task has for itself now."""
    if job.manager is None or not job.manager.run_exclusive or not job.task_counts.running:
        return None
    stored = service.reader.task(job.key, job.manager.key)
    is_placed = stored is not None and stored.task.state in (TaskState.RUNNING, TaskState.PREPARING)
    return stored.task.node if stored is not None and is_placed else None


def _node_facts(service: BatchService, nodes: list[Node]) -> Iterable[NodeFacts]:
    running = service.reader.running_tasks([node.key for node in nodes])
    for node in nodes:
        tasks, slots = running[node.key]
        is_connected = service.agents.is_connected(node.key)
        yield NodeFacts(node=node, tasks=tasks, used_slots=slots, is_connected=is_connected)


def _all(read: Callable[[Query], Page[T]]) -> Iterable[T]:
    after = None
    while True:
        page = read(Query(_PAGE, after=after))
        yield from page.items
        after = page.next
        if after is None:
            return


def _jobs_on(service: BatchService, account: str, pool_id: str) -> list[Job]:
    """Active jobs on a pool, some thousand at most."""
    on_pool = Both(Compare("pool_id", "eq", pool_id), Compare("state", "eq", JobState.ACTIVE.value))
    return service.reader.jobs(account, Query(_PAGE, filter=on_pool)).items


def _jobs_before(job: Job, others: Iterable[Job]) -> list[Job]:
    """Those jobs whose tasks the scheduler prefers, in its order."""

    def order(of: Job) -> tuple[int, int, str]:
        return -of.priority, of.creation_time, of.key

    before = [each for each in others if ready_tasks(each) and order(each) < order(job)]
    return sorted(before, key=order)[:_MOST_NAMED]


def _prerequisites(service: BatchService, task: Task) -> Iterable[Prerequisite]:
    """What the task still depends on, each with what there is of it."""
    if not task.pending_dependencies:
        return
    ranges: list[tuple[int, int]] = []
    for name in service.reader.prerequisites(task.job, task.seq, _MOST_NAMED):
        block = block_named(name)
        if block is None:
            stored = service.reader.task(task.job, name)
            if stored is None:
                yield Prerequisite(name=name)
            else:
                yield Prerequisite(name=stored.task.id, tasks=(stored.task,))
        else:
            level, index = block
            ranges.append((index << level, ((index + 1) << level) - 1))
    for first, last in merged(ranges):
        numbers = range(first, min(last, first + _MOST_NAMED - 1) + 1)
        found = [service.reader.task(task.job, task_key(str(number))) for number in numbers]
        tasks = tuple(each.task for each in found if each is not None and not each.task.satisfies_dependents)
        name = str(first) if first == last else f"{first}-{last}"
        yield Prerequisite(name=name, tasks=tasks, is_range=first != last)


# --- answers -----------------------------------------------------------------------------------------------------


async def _answer(service: BatchService, explanation: Explanation) -> Answer:
    logs = {reason.log for reason in explanation.reasons if reason.log is not None}
    lines = dict(zip(logs, await asyncio.gather(*(_last_line(service, log) for log in logs)), strict=True))
    content = {
        "state": explanation.state,
        "since": to_iso(explanation.since),
        "needsHelp": any(reason.needs_help for reason in explanation.reasons),
        "reasons": [_content(reason, lines.get(reason.log) if reason.log else None) for reason in explanation.reasons],
    }
    return Answer(200, {"Content-Type": JSON_TYPE}, encode(content))


def _content(reason: Reason, last_line: str | None) -> dict[str, Any]:
    content = {"code": reason.code, "message": reason.message, "needsHelp": reason.needs_help}
    content |= {wire_name(name): value for name, value in reason.values.items() if value is not None}
    if last_line:
        content["lastStderrLine"] = last_line
    return content


async def _last_line(service: BatchService, log: Log) -> str | None:
    """The last line of text that a task has written to stderr; ``None`` where that cannot be had now."""
    directory = "startup" if log.task is None else task_directory(*log.task)
    path = f"{directory}/stderr.txt"
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(_LOG_TIMEOUT_S):
            size = (await service.files.stat(log.node, path)).size
            start = max(0, size - _LOG_TAIL)
            parts = [part async for part in await service.files.read(log.node, path, start, size - start)]
            lines = [line.strip() for line in b"".join(parts).decode(errors="replace").splitlines()]
            return next((line for line in reversed(lines) if line), None)
    return None
