"""Operations on jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from millpond.common.clock import to_etag, to_iso
from millpond.common.durations import UNLIMITED, format_duration, parse_duration

from ..engine.messages import (
    JobAddRequested,
    JobChangeRequested,
    JobDeleteRequested,
    JobDisableRequested,
    JobEnableRequested,
    JobTerminateRequested,
)
from ..errors import error
from ..model.job import Counts, Job, OnAllTasksComplete, OnTaskFailure
from ..model.keys import entity_key
from .http import Answer, Call, changed, created, entity, listing
from .lists import stored_page
from .unbuilt import refuse_unbuilt
from .wire import jobs as wire
from .wire.fields import maybe, maybe_time
from .wire.tasks import TaskCounts, TaskCountsResult

if TYPE_CHECKING:
    from ..service import BatchService


async def job_add(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.JobAdd)
    refuse_unbuilt(request)
    job: Job = await service.runtime.submit(JobAddRequested(job=new_job(call, request, request.id)))
    url = job_url(call, job.id)
    return created(url, job.last_modified, f"{call.base_url}/jobs/job-1")


async def job_list(service: BatchService, call: Call) -> Answer:
    page = await stored_page(call, "jobs", lambda query: service.reader.jobs(call.account, query))
    return listing(call, [job_content(call, job) for job in page.items], wire.Job, "jobs", page.next)


async def job_get(service: BatchService, call: Call) -> Answer:
    job = find_job(service, call)
    call.check_read(job.last_modified)
    return entity(call, job_content(call, job), wire.Job, "jobs", job.last_modified)


async def job_get_task_counts(service: BatchService, call: Call) -> Answer:
    counts = service.reader.task_counts(job_key(call))
    if counts is None:
        raise error("JobNotFound")
    tasks, slots = counts
    content = TaskCountsResult(task_counts=_counts(tasks), task_slot_counts=_counts(slots))
    return entity(call, content, TaskCountsResult, "taskcountsresult")


def _counts(counts: Counts) -> TaskCounts:
    return TaskCounts(
        active=counts.active,
        running=counts.running,
        completed=counts.completed,
        succeeded=counts.succeeded,
        failed=counts.failed,
    )


async def job_patch(service: BatchService, call: Call) -> Answer:
    """What the request does not name stays as it is."""
    request = call.read(wire.JobPatch)
    refuse_unbuilt(request)
    retries: int | UnsetType = UNSET
    wall_clock: int | UnsetType = UNSET
    if request.constraints is not UNSET:
        retries, wall_clock = _constraints(request)
    job: Job = await service.runtime.submit(
        JobChangeRequested(
            job=job_key(call),
            document=msgspec.to_builtins(request),
            priority=request.priority,
            max_parallel_tasks=request.max_parallel_tasks,
            max_task_retry_count=retries,
            max_wall_clock_time=wall_clock,
            on_all_tasks_complete=request.on_all_tasks_complete,
            pool=UNSET if request.pool_info is UNSET else _pool(call, request.pool_info),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, job.last_modified)


async def job_update(service: BatchService, call: Call) -> Answer:
    """What the request does not name of the members that may be changed gets its default."""
    request = call.read(wire.JobUpdate, round_trip=wire.Job)
    refuse_unbuilt(request)
    retries, wall_clock = _constraints(request)
    job: Job = await service.runtime.submit(
        JobChangeRequested(
            job=job_key(call),
            document=msgspec.to_builtins(request),
            drop=[] if request.metadata is not UNSET else ["metadata"],
            priority=request.priority or 0,
            max_parallel_tasks=request.max_parallel_tasks or -1,
            max_task_retry_count=retries,
            max_wall_clock_time=wall_clock,
            on_all_tasks_complete=request.on_all_tasks_complete or OnAllTasksComplete.NO_ACTION,
            pool=_pool(call, request.pool_info),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, job.last_modified)


async def job_delete(service: BatchService, call: Call) -> Answer:
    call.flag("force")  # nodes that do not answer never keep a job from ending
    await service.runtime.submit(JobDeleteRequested(job=job_key(call), conditions=call.conditions()))
    return Answer(202)


async def job_terminate(service: BatchService, call: Call) -> Answer:
    call.flag("force")
    request = call.read_optional(wire.JobTerminate)
    job: Job = await service.runtime.submit(
        JobTerminateRequested(
            job=job_key(call),
            terminate_reason=request.terminate_reason or "UserTerminate",
            conditions=call.conditions(),
        )
    )
    return changed(call, 202, job.last_modified)


async def job_disable(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.JobDisable)
    job: Job = await service.runtime.submit(
        JobDisableRequested(job=job_key(call), disable_tasks=request.disable_tasks, conditions=call.conditions())
    )
    return changed(call, 202, job.last_modified)


async def job_enable(service: BatchService, call: Call) -> Answer:
    job: Job = await service.runtime.submit(JobEnableRequested(job=job_key(call), conditions=call.conditions()))
    return changed(call, 202, job.last_modified)


# --- what handlers share -----------------------------------------------------------------------------------------


def new_job(call: Call, specification: wire.JobSpecification, job_id: str) -> Job:
    """The job that a client specified; the engine fills in what it decides on."""
    retries, wall_clock = _constraints(specification)
    pool_id = _pool_id(specification.pool_info)
    return Job(
        key=entity_key(call.account, job_id),
        account=call.account,
        id=job_id,
        state_transition_time=call.now,
        creation_time=call.now,
        last_modified=call.now,
        start_time=call.now,
        pool=entity_key(call.account, pool_id),
        pool_id=pool_id,
        priority=specification.priority or 0,
        max_parallel_tasks=specification.max_parallel_tasks or -1,
        max_task_retry_count=retries,
        max_wall_clock_time=wall_clock,
        on_all_tasks_complete=specification.on_all_tasks_complete or OnAllTasksComplete.NO_ACTION,
        on_task_failure=specification.on_task_failure or OnTaskFailure.NO_ACTION,
        uses_task_dependencies=specification.uses_task_dependencies or False,
        document=msgspec.to_builtins(specification),
    )


def job_key(call: Call) -> str:
    """The key of the job that the path names."""
    return entity_key(call.account, call.params["jobId"])


def job_url(call: Call, job_id: str) -> str:
    return f"{call.base_url}/jobs/{job_id}"


def find_job(service: BatchService, call: Call) -> Job:
    """The job that the path names. Raises ``JobNotFound``."""
    job = service.reader.job(job_key(call))
    if job is None:
        raise error("JobNotFound")
    return job


def job_content(call: Call, job: Job) -> dict[str, Any]:
    """A job as it is answered with."""
    content = {
        "allowTaskPreemption": False,
        **job.document,
        "id": job.id,
        "url": job_url(call, job.id),
        "eTag": to_etag(job.last_modified),
        "lastModified": to_iso(job.last_modified),
        "creationTime": to_iso(job.creation_time),
        "state": job.state,
        "stateTransitionTime": to_iso(job.state_transition_time),
        "priority": job.priority,
        "maxParallelTasks": job.max_parallel_tasks,
        "usesTaskDependencies": job.uses_task_dependencies,
        "onAllTasksComplete": job.on_all_tasks_complete,
        "onTaskFailure": job.on_task_failure,
        "constraints": {
            "maxWallClockTime": format_duration(job.max_wall_clock_time),
            "maxTaskRetryCount": job.max_task_retry_count,
        },
        "poolInfo": {"poolId": job.pool_id},
        "executionInfo": wire.JobExecutionInfo(
            start_time=to_iso(job.start_time),
            end_time=maybe_time(job.end_time),
            pool_id=job.pool_id,
            terminate_reason=maybe(job.terminate_reason),
        ),
    }
    if job.previous_state is not None and job.previous_state_transition_time is not None:
        content["previousState"] = job.previous_state
        content["previousStateTransitionTime"] = to_iso(job.previous_state_transition_time)
    return content


def _constraints(request: wire.JobChange) -> tuple[int, int]:
    """How often tasks are retried, and how long the job may run: given, or the defaults."""
    given = request.constraints or wire.JobConstraints()
    wall_clock = given.max_wall_clock_time
    return given.max_task_retry_count or 0, UNLIMITED if wall_clock is UNSET else parse_duration(wall_clock)


def _pool_id(info: wire.PoolInfo) -> str:
    return info.pool_id or ""  # never empty: auto pools have been refused


def _pool(call: Call, info: wire.PoolInfo) -> tuple[str, str]:
    pool_id = _pool_id(info)
    return entity_key(call.account, pool_id), pool_id
