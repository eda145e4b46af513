"""Handlers: what clients ask of job schedules; and how these come to their jobs, one after the other.

A schedule makes a job when one is due and none of its jobs is left that has not ended. All of that is looked at in
:func:`settle_schedule`, whenever the schedule has changed, one of its jobs has ended, or its alarm rings; so it does
not matter what came first, how late it is, or how often it is asked.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from millpond.common.conditions import Conditions

from ..errors import error
from ..model.job import Job, JobState, PoolLifetime
from ..model.keys import entity_key
from ..model.pool import PoolState
from ..model.schedule import JobSchedule, JobScheduleState, Timetable
from ..model.statistics import JobTotals
from .auto_pools import release_pool_of_schedule
from .jobs import add_job, begin_deletion, begin_termination, is_ending
from .messages import (
    JobScheduleAddRequested,
    JobScheduleChangeRequested,
    JobScheduleDeleteRequested,
    JobScheduleDisableRequested,
    JobScheduleDue,
    JobScheduleEnableRequested,
    JobScheduleTerminateRequested,
    RaiseAt,
)
from .placement import ENDED_BY_USER
from .quotas import require_room_for_job
from .rules import merged, next_modification, require_conditions
from .state import State
from .transitions import JOB_SCHEDULE, JobScheduleTrigger, move

#: Jobs of a schedule that is being deleted that go at one time.
_DELETED_AT_ONCE = 100

_ENDING = {
    JobScheduleState.TERMINATING: "JobScheduleBeingTerminated",
    JobScheduleState.COMPLETED: "JobScheduleCompleted",
    JobScheduleState.DELETING: "JobScheduleBeingDeleted",
}


def on_job_schedule_add_requested(state: State, event: JobScheduleAddRequested, now: int) -> JobSchedule:
    existing = state.find_schedule(event.schedule.key)
    if existing is not None:
        is_going = existing.state is JobScheduleState.DELETING
        raise error("JobScheduleBeingDeleted" if is_going else "JobScheduleExists")
    if state.find_job(event.schedule.key) is not None:
        raise error("JobWithSameIdExists")
    require_room_for_job(state, event.schedule.account)
    schedule = replace(
        event.schedule,
        state=JobScheduleState.ACTIVE,
        state_transition_time=now,
        previous_state=None,
        previous_state_transition_time=None,
        creation_time=now,
        last_modified=now,
        end_time=None,
        anchor=now,
        last_due=None,
        jobs_created=0,
        recent_job=None,
        past_totals=JobTotals(),
        pool=None,
        is_forced=False,
    )
    state.save_schedule(schedule)
    return schedule


def on_job_schedule_change_requested(state: State, event: JobScheduleChangeRequested, now: int) -> JobSchedule:
    schedule = _require_changeable(state, event.schedule, event.conditions)
    changed: dict[str, Any] = {}
    if event.timetable is not UNSET and event.timetable != schedule.timetable:
        changed = _rescheduled(schedule, event.timetable, now)
    if event.template is not UNSET:
        changed["template"] = event.template
    schedule = replace(
        schedule,
        **changed,
        document=merged(schedule.document, event.document, event.drop),
        last_modified=next_modification(schedule.last_modified, now),
    )
    state.save_schedule(schedule)
    return schedule


def _rescheduled(schedule: JobSchedule, timetable: Timetable, now: int) -> dict[str, Any]:
    """A recurring schedule that goes on recurring counts from its last job; any other begins anew."""
    goes_on = timetable.recurrence_interval is not None and schedule.timetable.recurrence_interval is not None
    if goes_on and schedule.last_due is not None:
        return {"timetable": timetable}
    return {"timetable": timetable, "anchor": now, "last_due": None}


def on_job_schedule_disable_requested(state: State, event: JobScheduleDisableRequested, now: int) -> JobSchedule:
    schedule = _require_changeable(state, event.schedule, event.conditions)
    if schedule.state is JobScheduleState.DISABLED:
        raise error("JobScheduleDisabled")
    return _request(state, schedule, JobScheduleTrigger.DISABLE, now)


def on_job_schedule_enable_requested(state: State, event: JobScheduleEnableRequested, now: int) -> JobSchedule:
    """What was due meanwhile is not made good, unless it is all that there is."""
    schedule = _require_changeable(state, event.schedule, event.conditions)
    if schedule.state is JobScheduleState.ACTIVE:
        return schedule
    due = schedule.next_run_time(now)
    if schedule.timetable.recurrence_interval is not None and due is not None and due <= now:
        schedule = replace(schedule, last_due=due)
    return _request(state, schedule, JobScheduleTrigger.ENABLE, now)


def on_job_schedule_terminate_requested(state: State, event: JobScheduleTerminateRequested, now: int) -> JobSchedule:
    schedule = _require(state, event.schedule, event.conditions)
    if schedule.state is JobScheduleState.TERMINATING and event.force:
        _end_jobs(state, schedule, now, is_forced=True)
        return schedule
    schedule = _require_changeable(state, event.schedule, event.conditions)
    _end_jobs(state, schedule, now, is_forced=event.force)
    return _request(state, schedule, JobScheduleTrigger.TERMINATE, now)


def _end_jobs(state: State, schedule: JobSchedule, now: int, *, is_forced: bool) -> None:
    for key in list(state.scheduled_jobs.get(schedule.key, ())):
        if is_forced:
            state.save_job(replace(state.jobs[key], is_forced=True))
        if not is_ending(state.jobs[key]):
            begin_termination(state, state.jobs[key], "TerminateJobSchedule", now, ENDED_BY_USER)


def on_job_schedule_delete_requested(state: State, event: JobScheduleDeleteRequested, now: int) -> None:
    schedule = _require(state, event.schedule, event.conditions)
    if schedule.state is not JobScheduleState.DELETING:
        _request(state, replace(schedule, is_forced=event.force), JobScheduleTrigger.DELETE, now)
    elif event.force:
        state.save_schedule(replace(schedule, is_forced=True))
    else:
        raise error("JobScheduleBeingDeleted")


def on_job_schedule_due(state: State, event: JobScheduleDue, _now: int) -> None:
    state.alarms.pop(event.schedule, None)
    if event.schedule in state.schedules:
        state.stirred_schedules[event.schedule] = None


def settle_schedule(state: State, key: str, now: int) -> None:
    """Make the job that is due, and the moves of a schedule that follow from its jobs and from the time."""
    schedule = state.schedules.get(key)
    if schedule is None:
        return
    if schedule.state is JobScheduleState.DELETING:
        _delete_jobs(state, schedule, now)
    elif key in state.scheduled_jobs:
        return  # its end will bring us back
    elif schedule.state is JobScheduleState.TERMINATING:
        _complete(state, schedule, now)
    elif schedule.state is JobScheduleState.ACTIVE:
        _look_ahead(state, schedule, now)


def _look_ahead(state: State, schedule: JobSchedule, now: int) -> None:
    due = schedule.next_run_time(now)
    end = schedule.do_not_run_after
    if due is not None and due <= now:
        _make_job(state, schedule, due, now)
    elif due is not None:
        _set_alarm(state, schedule.key, due)
    elif schedule.timetable.recurrence_interval is not None and end is not None and now <= end:
        _set_alarm(state, schedule.key, end + 1)
    else:
        _complete(state, schedule, now)


def _make_job(state: State, schedule: JobSchedule, due: int, now: int) -> None:
    number = schedule.jobs_created + 1
    job_id = f"{schedule.id}:job-{number}"
    job = replace(schedule.template, key=entity_key(schedule.account, job_id), id=job_id, schedule=schedule.key)
    job = add_job(state, _in_shared_pool(state, schedule, job), now)
    shares = job.auto_pool is not None and job.auto_pool.lifetime is PoolLifetime.JOB_SCHEDULE and job.pool_id
    pool = (job.pool, job.pool_id) if shares else schedule.pool
    state.save_schedule(replace(schedule, last_due=due, jobs_created=number, recent_job=job_id, pool=pool))


def _in_shared_pool(state: State, schedule: JobSchedule, job: Job) -> Job:
    """The job in the pool that was made for an earlier one, where they share it and it is still there."""
    auto = job.auto_pool
    if auto is None or auto.lifetime is not PoolLifetime.JOB_SCHEDULE or schedule.pool is None:
        return job
    key, pool_id = schedule.pool
    pool = state.pools.get(key)
    if pool is None or pool.state is PoolState.DELETING:
        return job
    return replace(job, pool=key, pool_id=pool_id, auto_pool=replace(auto, pool=None))


def _complete(state: State, schedule: JobSchedule, now: int) -> None:
    schedule = _moved(schedule, JobScheduleTrigger.SETTLE, now, end_time=now)
    state.save_schedule(schedule)
    release_pool_of_schedule(state, schedule, now)
    state.forget_schedule(schedule.key)


def _delete_jobs(state: State, schedule: JobSchedule, now: int) -> None:
    """Have the schedule's jobs deleted, some at a time, and then the schedule itself."""
    unfinished = [state.jobs[key] for key in state.scheduled_jobs.get(schedule.key, ())]
    doomed = unfinished or state.archive.jobs_of(schedule.key, _DELETED_AT_ONCE)
    for job in doomed:
        if job.state is not JobState.DELETING:
            begin_deletion(state, job, now, is_forced=schedule.is_forced)
        elif schedule.is_forced and not job.is_forced:
            state.save_job(replace(job, is_forced=True))
    if not doomed:
        release_pool_of_schedule(state, schedule, now)
        state.remove_schedule(schedule.key)


def _set_alarm(state: State, key: str, moment: int) -> None:
    if state.alarms.get(key, moment + 1) > moment:
        state.alarms[key] = moment
        state.order(RaiseAt(moment=moment, event=JobScheduleDue(schedule=key)))


def _require(state: State, key: str, conditions: Conditions) -> JobSchedule:
    schedule = state.find_schedule(key)
    if schedule is None:
        raise error("JobScheduleNotFound")
    require_conditions(conditions, schedule.last_modified)
    return schedule


def _require_changeable(state: State, key: str, conditions: Conditions) -> JobSchedule:
    """A job schedule that is not on its way out, for a request with these conditions."""
    schedule = _require(state, key, conditions)
    code = _ENDING.get(schedule.state)
    if code is not None:
        raise error(code)
    return schedule


def _request(state: State, schedule: JobSchedule, trigger: JobScheduleTrigger, now: int) -> JobSchedule:
    """What a client asks for moves the schedule, and modifies it."""
    modified = next_modification(schedule.last_modified, now)
    schedule = _moved(schedule, trigger, now, last_modified=modified)
    state.save_schedule(schedule)
    return schedule


def _moved(schedule: JobSchedule, trigger: JobScheduleTrigger, now: int, **fields: Any) -> JobSchedule:
    return replace(
        schedule,
        state=move(JOB_SCHEDULE, schedule, schedule.state, trigger),
        state_transition_time=now,
        previous_state=schedule.state,
        previous_state_transition_time=schedule.state_transition_time,
        **fields,
    )
