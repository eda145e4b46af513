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
from ..model.job import Counts, Job, OnAllTasksComplete, OnTaskFailure, PoolLifetime
from ..model.keys import entity_key
from .auto_pools import keep_alive_of, new_auto_pool
from .failures import failure_info
from .http import Answer, Call, changed, created, entity, listing
from .job_tasks import job_document, read_tasks
from .lists import stored_page
from .statistics import is_wanted, job_statistics, stats_url
from .unbuilt import refuse_unbuilt
from .wire import jobs as wire
from .wire.fields import maybe, maybe_time
from .wire.tasks import TaskCounts, TaskCountsResult

if TYPE_CHECKING:
    from ..service import BatchService


async def job_add(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.JobAdd)
    refuse_unbuilt(request)
    _require_own_lifetime(request.pool_info)
    job: Job = await service.runtime.submit(JobAddRequested(job=new_job(service, call, request, request.id)))
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
    content = TaskCountsResult(task_counts=task_counts(tasks), task_slot_counts=task_counts(slots))
    return entity(call, content, TaskCountsResult, "taskcountsresult")


def task_counts(counts: Counts) -> TaskCounts:
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
            document=_changed_members(request),
            priority=request.priority,
            max_parallel_tasks=request.max_parallel_tasks,
            max_task_retry_count=retries,
            max_wall_clock_time=wall_clock,
            on_all_tasks_complete=request.on_all_tasks_complete,
            pool=_pool(call, request.pool_info),
            keep_pool=_keep_pool(service, call, request.pool_info),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, job.last_modified)


async def job_update(service: BatchService, call: Call) -> Answer:
    """What the request does not name of the members that may be changed gets its default, if it could have."""
    request = call.read(wire.JobUpdate, round_trip=wire.Job)
    refuse_unbuilt(request)
    default_parallel_tasks = -1 if call.has(wire.JobUpdate, "maxParallelTasks") else UNSET
    retries, wall_clock = _constraints(request)
    job: Job = await service.runtime.submit(
        JobChangeRequested(
            job=job_key(call),
            document=_changed_members(request),
            drop=[] if request.metadata is not UNSET else ["metadata"],
            priority=request.priority or 0,
            max_parallel_tasks=request.max_parallel_tasks or default_parallel_tasks,
            max_task_retry_count=retries,
            max_wall_clock_time=wall_clock,
            on_all_tasks_complete=request.on_all_tasks_complete or OnAllTasksComplete.NO_ACTION,
            pool=_pool(call, request.pool_info),
            keep_pool=_keep_pool(service, call, request.pool_info),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, job.last_modified)


async def job_delete(service: BatchService, call: Call) -> Answer:
    await service.runtime.submit(
        JobDeleteRequested(job=job_key(call), force=call.flag("force"), conditions=call.conditions())
    )
    return Answer(202)


async def job_terminate(service: BatchService, call: Call) -> Answer:
    request = call.read_optional(wire.JobTerminate)
    job: Job = await service.runtime.submit(
        JobTerminateRequested(
            job=job_key(call),
            terminate_reason=request.terminate_reason or "UserTerminate",
            force=call.flag("force"),
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


def new_job(service: BatchService, call: Call, specification: wire.JobSpecification, job_id: str) -> Job:
    """The job that a client specified, for itself or for a schedule; the engine fills in what it decides on."""
    retries, wall_clock = _constraints(specification)
    auto_pool = specification.pool_info.auto_pool_specification
    pool_id = specification.pool_info.pool_id or ""
    preparation, release, manager = read_tasks(specification)
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
        auto_pool=None if auto_pool is UNSET else new_auto_pool(service, call, auto_pool),
        priority=specification.priority or 0,
        max_parallel_tasks=specification.max_parallel_tasks or -1,
        max_task_retry_count=retries,
        max_wall_clock_time=wall_clock,
        on_all_tasks_complete=specification.on_all_tasks_complete or OnAllTasksComplete.NO_ACTION,
        on_task_failure=specification.on_task_failure or OnTaskFailure.NO_ACTION,
        uses_task_dependencies=specification.uses_task_dependencies or False,
        preparation=preparation,
        release=release,
        manager=manager,
        document=job_document(specification),
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


def specification_content(job: Job) -> dict[str, Any]:
    """What a job was made of, as it is answered with."""
    return {
        "allowTaskPreemption": False,
        **job.document,
        "priority": job.priority,
        "maxParallelTasks": job.max_parallel_tasks,
        "usesTaskDependencies": job.uses_task_dependencies,
        "onAllTasksComplete": job.on_all_tasks_complete,
        "onTaskFailure": job.on_task_failure,
        "constraints": {
            "maxWallClockTime": format_duration(job.max_wall_clock_time),
            "maxTaskRetryCount": job.max_task_retry_count,
        },
        "poolInfo": _pool_info(job),
    }


def _pool_info(job: Job) -> dict[str, Any]:
    if job.auto_pool is None:
        return {"poolId": job.pool_id}
    specified = job.document["poolInfo"]["autoPoolSpecification"]
    return {"autoPoolSpecification": {**specified, "keepAlive": job.auto_pool.keep_alive}}


def job_content(call: Call, job: Job) -> dict[str, Any]:
    """A job as it is answered with."""
    content = {
        **specification_content(job),
        "id": job.id,
        "url": job_url(call, job.id),
        "eTag": to_etag(job.last_modified),
        "lastModified": to_iso(job.last_modified),
        "creationTime": to_iso(job.creation_time),
        "state": job.state,
        "stateTransitionTime": to_iso(job.state_transition_time),
        "executionInfo": wire.JobExecutionInfo(
            start_time=to_iso(job.start_time),
            end_time=maybe_time(job.end_time),
            pool_id=job.pool_id or UNSET,
            scheduling_error=UNSET if job.scheduling_error is None else failure_info(job.scheduling_error),
            terminate_reason=maybe(job.terminate_reason),
        ),
    }
    if is_wanted(call):
        content["stats"] = job_statistics(stats_url(job_url(call, job.id)), job.creation_time, job.totals)
    if job.previous_state is not None and job.previous_state_transition_time is not None:
        content["previousState"] = job.previous_state
        content["previousStateTransitionTime"] = to_iso(job.previous_state_transition_time)
    return content


def _constraints(request: wire.JobChange) -> tuple[int, int]:
    """How often tasks are retried, and how long the job may run: given, or the defaults."""
    given = request.constraints or wire.JobConstraints()
    wall_clock = given.max_wall_clock_time
    return given.max_task_retry_count or 0, UNLIMITED if wall_clock is UNSET else parse_duration(wall_clock)


def _require_own_lifetime(info: wire.PoolInfo) -> None:
    """Refuse a pool that is to live as long as a schedule, of a job that has none."""
    auto_pool = info.auto_pool_specification
    if auto_pool is not UNSET and auto_pool.pool_lifetime_option is PoolLifetime.JOB_SCHEDULE:
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "poolInfo.autoPoolSpecification.poolLifetimeOption"),
            ("PropertyValue", auto_pool.pool_lifetime_option),
            ("Reason", "The job belongs to no schedule."),
        )


def _changed_members(request: wire.JobPatch | wire.JobUpdate) -> dict[str, Any]:
    """What a change says, without the pool, which the record knows by its key."""
    document: dict[str, Any] = msgspec.to_builtins(request)
    document.pop("poolInfo", None)
    return document


def _pool(call: Call, info: wire.PoolInfo | UnsetType) -> tuple[str, str] | UnsetType:
    if info is UNSET or info.pool_id is UNSET:
        return UNSET
    return entity_key(call.account, info.pool_id), info.pool_id


def _keep_pool(service: BatchService, call: Call, info: wire.PoolInfo | UnsetType) -> bool | UnsetType:
    if info is UNSET or info.auto_pool_specification is UNSET:
        return UNSET
    return keep_alive_of(find_job(service, call), info.auto_pool_specification)
