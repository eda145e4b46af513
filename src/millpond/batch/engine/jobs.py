"""Handlers: what clients ask of jobs, the jobs' time limits, and what follows from the state of their tasks."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from millpond.common.clock import SECOND
from millpond.common.durations import UNLIMITED

from ..errors import error
from ..model.job import (
    AutoPool,
    Counts,
    DisableTasks,
    Job,
    JobState,
    ManagerTask,
    OnAllTasksComplete,
    PoolLifetime,
)
from ..model.statistics import JobTotals
from ..model.task import Failure, Task, TaskState, Withdrawal
from . import job_nodes
from .auto_pools import provide_pool, release_pool_of_job
from .messages import (
    JobAddRequested,
    JobChangeRequested,
    JobDeleteRequested,
    JobDisableRequested,
    JobEnableRequested,
    JobPurged,
    JobTerminateRequested,
    JobTimedOut,
    PurgeJob,
    RaiseAt,
)
from .placement import ENDED_BY_USER, ENDED_WITH_JOB, end, give_back, stop_for_good, wait_for_place, withdraw
from .quotas import require_room_for_job
from .rules import merged, next_modification, require_conditions
from .state import State
from .statistics import keep_job_totals
from .transitions import JOB, JobTrigger, TaskTrigger, move

#: How long a job that ends with its tasks waits for the first one. (The service checks now and then, so a client
#: that creates such a job and then adds tasks is in time; ours would end the job before the answer arrives.)
FIRST_TASK_GRACE = 5 * SECOND

_ENDING = {
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
    JobState.DELETING: "JobBeingDeleted",
}


def require_job(state: State, key: str) -> Job:
    """The job, from the archive if need be. Raises ``JobNotFound``."""
    job = state.find_job(key)
    if job is None:
        raise error("JobNotFound")
    return job


def on_job_add_requested(state: State, event: JobAddRequested, now: int) -> Job:
    existing = state.find_job(event.job.key)
    if existing is not None:
        raise error("JobBeingDeleted" if existing.state is JobState.DELETING else "JobExists")
    if state.find_schedule(event.job.key) is not None:
        raise error("JobScheduleWithSameIdExists")
    require_room_for_job(state, event.job.account)
    return add_job(state, event.job, now)


def add_job(state: State, job: Job, now: int) -> Job:
    """A job as it was specified, by a client or a job schedule, begins to be. There is none with its key."""
    job = replace(
        job,
        state=JobState.ACTIVE,
        state_transition_time=now,
        previous_state=None,
        previous_state_transition_time=None,
        creation_time=now,
        last_modified=now,
        start_time=now,
        end_time=None,
        terminate_reason=None,
        scheduling_error=None,
        disable_tasks=None,
        task_counts=Counts(),
        slot_counts=Counts(),
        totals=JobTotals(),
        tasks_added=0,
        is_manager_done=False,
        is_forced=False,
        is_purging=False,
    )
    job = provide_pool(state, job, now)
    state.save_job(job)
    if job.manager is not None:
        _add_manager(state, job, job.manager, now)
        job = state.jobs[job.key]
    if job.scheduling_error is not None:
        job = _moved(job, JobTrigger.TERMINATE, now)
        state.save_job(job)
    else:
        arm_timers(state, job, now)
    return job


def _add_manager(state: State, job: Job, manager: ManagerTask, now: int) -> None:
    """The first of the job's tasks."""
    retries = manager.max_task_retry_count
    task = Task(
        job=job.key,
        key=manager.key,
        id=manager.id,
        seq=job.tasks_added,
        state_transition_time=now,
        creation_time=now,
        last_modified=now,
        required_slots=manager.required_slots,
        max_task_retry_count=job.max_task_retry_count if retries is None else retries,
        max_wall_clock_time=manager.max_wall_clock_time,
        retention_time=manager.retention_time,
    )
    state.count_added(job)
    state.save_task(None, task, manager.document)
    wait_for_place(state, task, now)


def arm_timers(state: State, job: Job, now: int) -> None:
    """Have the moments come back at which the job may be over."""
    if job.state in _ENDING:
        if job.release is not None:
            limit = job.state_transition_time + job_nodes.RELEASE_LIMIT
            state.order(RaiseAt(moment=limit, event=JobTimedOut(job=job.key)))
        return
    if job.max_wall_clock_time < UNLIMITED:
        state.order(RaiseAt(moment=_deadline(job), event=JobTimedOut(job=job.key)))
    if job.on_all_tasks_complete is OnAllTasksComplete.TERMINATE_JOB and not job.tasks_added:
        state.order(RaiseAt(moment=max(now, _end_of_grace(job)), event=JobTimedOut(job=job.key)))


def order_again(state: State, job: Job, now: int) -> None:
    """After a restart of the service: the job's timers, and what may not have been carried out."""
    if job.is_purging:
        state.order(PurgeJob(job=job.key))
    else:
        arm_timers(state, job, now)


def on_job_change_requested(state: State, event: JobChangeRequested, now: int) -> Job:
    job = _require_changeable(state, event.job, event.conditions)
    changed: dict[str, Any] = {}
    for name in ("priority", "max_parallel_tasks", "max_task_retry_count", "max_wall_clock_time"):
        value = getattr(event, name)
        if value is not UNSET:
            changed[name] = value
    if event.on_all_tasks_complete is not UNSET:
        _check_on_all_tasks_complete(job, event.on_all_tasks_complete)
        changed["on_all_tasks_complete"] = event.on_all_tasks_complete
    if event.pool is not UNSET and event.pool[0] != job.pool:
        if job.state is not JobState.DISABLED:
            raise error("JobNotDisabled")
        changed["pool"], changed["pool_id"] = event.pool
        changed["auto_pool"] = None
        release_pool_of_job(state, job, now)
    if event.keep_pool is not UNSET:
        changed["auto_pool"] = _kept(job, event.keep_pool)
    job = replace(
        job,
        **changed,
        document=merged(job.document, event.document, event.drop),
        last_modified=next_modification(job.last_modified, now),
    )
    state.save_job(job)
    _recall_excess(state, job)
    arm_timers(state, job, now)
    return job


def _recall_excess(state: State, job: Job) -> None:
    """Take back what is placed ahead beyond a limit that was lowered; what runs, runs on."""
    excess = len(state.job_work[job.key].placed) - job.max_parallel_tasks
    if job.max_parallel_tasks > 0 and excess > 0:
        ahead, _ = _placed(state, job)
        for task in ahead[-excess:]:
            withdraw(state, task, Withdrawal.RETURN)


def _kept(job: Job, keep_alive: bool) -> AutoPool:
    """The job's own pool, which stays after the job or does not."""
    auto = job.auto_pool
    if auto is not None and auto.keep_alive is keep_alive:
        return auto
    if auto is None or auto.lifetime is not PoolLifetime.JOB:
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "poolInfo.autoPoolSpecification"),
            ("Reason", "Only keepAlive can be changed, and only of a pool with the lifetime of its job."),
        )
    return replace(auto, keep_alive=keep_alive)


def _check_on_all_tasks_complete(job: Job, wanted: OnAllTasksComplete) -> None:
    has, action = job.on_all_tasks_complete, OnAllTasksComplete
    if has is action.TERMINATE_JOB and wanted is action.NO_ACTION:
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "onAllTasksComplete"),
            ("PropertyValue", str(wanted)),
            ("Reason", "The property cannot be set back once it is terminatejob"),
        )


def on_job_delete_requested(state: State, event: JobDeleteRequested, now: int) -> None:
    job = require_job(state, event.job)
    require_conditions(event.conditions, job.last_modified)
    if job.state is not JobState.DELETING:
        begin_deletion(state, job, now, is_forced=event.force)
    elif event.force:
        state.save_job(replace(job, is_forced=True))
    else:
        raise error("JobBeingDeleted")


def begin_deletion(state: State, job: Job, now: int, *, is_forced: bool = False) -> None:
    """The job begins to go, with its tasks and their files, as soon as its nodes have nothing to do for it."""
    job = _moved(job, JobTrigger.DELETE, now, is_forced=is_forced)
    state.save_job(job)
    _give_up_places(state, job, now, ENDED_BY_USER)
    arm_timers(state, job, now)


def _purge(state: State, job: Job, now: int) -> None:
    """Nothing of a deleted job is waited for any more: remove what there is of it."""
    nodes = list(state.archive.holding_files(job.key))
    job_nodes.give_up(state, job, now)
    state.save_job(replace(state.jobs[job.key], is_purging=True))
    for node in nodes:
        state.delete_files(node, job.id, None)
    state.order(PurgeJob(job=job.key))


def on_job_purged(state: State, event: JobPurged, now: int) -> None:
    job = state.jobs.get(event.job)
    if job is not None and job.state is JobState.DELETING:
        keep_job_totals(state, job)
        release_pool_of_job(state, job, now)
        state.remove_job(event.job)


def on_job_terminate_requested(state: State, event: JobTerminateRequested, now: int) -> Job:
    existing = require_job(state, event.job)
    if event.force and existing.state is JobState.TERMINATING:
        require_conditions(event.conditions, existing.last_modified)
        state.save_job(replace(existing, is_forced=True))
        return state.jobs[existing.key]
    job = _require_changeable(state, event.job, event.conditions)
    if event.force:
        state.save_job(replace(job, is_forced=True))
    return begin_termination(state, job, event.terminate_reason, now, ENDED_BY_USER)


def begin_termination(state: State, job: Job, reason: str, now: int, failure: Failure = ENDED_WITH_JOB) -> Job:
    """End the job: its running tasks fail with this, those that wait will wait for ever."""
    state.save_job(_moved(state.jobs[job.key], JobTrigger.TERMINATE, now, terminate_reason=reason, disable_tasks=None))
    _give_up_places(state, job, now, failure)
    arm_timers(state, state.jobs[job.key], now)
    return state.jobs[job.key]


def _give_up_places(state: State, job: Job, now: int, failure: Failure) -> None:
    """End what runs of a job that will not run tasks any more; what was placed ahead waits again, for ever."""
    job_nodes.end_preparations(state, job, now)
    ahead, running = _placed(state, job)
    for task in ahead:
        stop_for_good(state, task)
        give_back(state, task, TaskTrigger.LOSE, now)
    for task in running:
        end(state, task, now, failure)


def _placed(state: State, job: Job) -> tuple[list[Task], list[Task]]:
    """The job's tasks that have a place: those that do not run yet (they must lose it first), and those that do."""
    tasks = [state.tasks[job.key, key] for key in state.job_work[job.key].placed]
    return [t for t in tasks if t.state is TaskState.ACTIVE], [t for t in tasks if t.state is not TaskState.ACTIVE]


def on_job_disable_requested(state: State, event: JobDisableRequested, now: int) -> Job:
    job = _require_changeable(state, event.job, event.conditions)
    return begin_disabling(state, job, event.disable_tasks, now)


def begin_disabling(state: State, job: Job, option: DisableTasks, now: int) -> Job:
    """Run none of the job's tasks until it is enabled; the option says what becomes of those that run."""
    state.save_job(_moved(state.jobs[job.key], JobTrigger.DISABLE, now, disable_tasks=option))
    ahead, running = _placed(state, job)
    for task in ahead:
        withdraw(state, task, Withdrawal.RETURN)
    for task in running:
        if option is DisableTasks.REQUEUE:
            withdraw(state, task, Withdrawal.REQUEUE)
        elif option is DisableTasks.TERMINATE:
            end(state, task, now, ENDED_BY_USER)
    return state.jobs[job.key]


def on_job_enable_requested(state: State, event: JobEnableRequested, now: int) -> Job:
    job = _require_changeable(state, event.job, event.conditions)
    if job.state not in (JobState.DISABLED, JobState.DISABLING):
        raise error("JobNotDisabled")
    job = _moved(job, JobTrigger.ENABLE, now, disable_tasks=None)
    state.save_job(job)
    return job


def on_job_timed_out(state: State, event: JobTimedOut, now: int) -> None:
    job = state.jobs.get(event.job)
    if job is None:
        return
    if job.state not in _ENDING and job.max_wall_clock_time < UNLIMITED and now >= _deadline(job):
        begin_termination(state, job, "MaxWallClockTimeExpiry", now)
    else:
        state.stirred_jobs[job.key] = None


def settle_job(state: State, key: str, now: int) -> None:
    """Make the moves of a job that follow from its tasks."""
    job = state.jobs.get(key)
    if job is None:
        return
    has_placed = bool(state.job_work[key].placed)
    if job.state is JobState.ENABLING:
        state.save_job(_moved(job, JobTrigger.SETTLE, now))
    elif job.state is JobState.DISABLING and not has_placed:
        state.save_job(_moved(job, JobTrigger.SETTLE, now, disable_tasks=None))
    elif job.state is JobState.TERMINATING and not has_placed and job_nodes.is_released(state, job, now):
        job_nodes.give_up(state, job, now)
        state.save_job(_moved(job, JobTrigger.SETTLE, now, end_time=now))
        release_pool_of_job(state, job, now)
    elif job.state is JobState.DELETING and not job.is_purging and job_nodes.is_released(state, job, now):
        _purge(state, job, now)
    elif job.state is JobState.COMPLETED:
        state.forget_job(key)
    elif job.is_manager_done and job.state not in _ENDING:
        begin_termination(state, job, "JMComplete", now)
    elif job.state is JobState.ACTIVE and _is_over(job, now):
        begin_termination(state, job, "AllTasksComplete", now)


def is_ending(job: Job) -> bool:
    """Whether the job has ended, or is on its way."""
    return job.state in _ENDING


def _is_over(job: Job, now: int) -> bool:
    """Whether the job is to end because its tasks have."""
    if job.on_all_tasks_complete is not OnAllTasksComplete.TERMINATE_JOB:
        return False
    if job.task_counts.active or job.task_counts.running:
        return False
    return job.tasks_added > 0 or now >= _end_of_grace(job)


def _deadline(job: Job) -> int:
    return job.creation_time + job.max_wall_clock_time


def _end_of_grace(job: Job) -> int:
    return job.last_modified + FIRST_TASK_GRACE


def _require_changeable(state: State, key: str, conditions: Any) -> Job:
    """A job that is not on its way out, for a request with these conditions."""
    job = require_job(state, key)
    require_conditions(conditions, job.last_modified)
    code = _ENDING.get(job.state)
    if code is not None:
        raise error(code)
    return job


def _moved(job: Job, trigger: JobTrigger, now: int, **fields: Any) -> Job:
    return replace(
        job,
        state=move(JOB, job, job.state, trigger),
        state_transition_time=now,
        previous_state=job.state,
        previous_state_transition_time=job.state_transition_time,
        last_modified=next_modification(job.last_modified, now),
        **fields,
    )
