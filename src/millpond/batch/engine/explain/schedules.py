"""What a job schedule waits for until it makes its next job."""

from __future__ import annotations

from ...model.job import Job
from ...model.schedule import JobSchedule, JobScheduleState
from .reasons import Explanation, Reason, moment


def explain_schedule(schedule: JobSchedule, live: Job | None, now: int) -> Explanation:
    """``live``: its job that has not ended, if there is one."""
    reasons = _reasons(schedule, live, now)
    return Explanation(state=schedule.state, since=schedule.state_transition_time, reasons=tuple(reasons))


def _reasons(schedule: JobSchedule, live: Job | None, now: int) -> list[Reason]:
    if schedule.state is JobScheduleState.COMPLETED:
        return [Reason(code="ScheduleCompleted", message="It has ended, and makes no more jobs.")]
    reasons = []
    if live is not None:
        message = f"Its job {live.id} is {live.state}; the next one waits for its end."
        values = {"job": live.id, "job_state": live.state}
        reasons.append(Reason(code="WaitsForItsJob", message=message, values=values))
    if schedule.state in (JobScheduleState.TERMINATING, JobScheduleState.DELETING):
        message = f"It is {schedule.state}, and ends with its job."
        return [*reasons, Reason(code="ScheduleEnding", message=message)]
    if schedule.state is JobScheduleState.DISABLED:
        message = "It is disabled: it makes no jobs until it is enabled."
        return [*reasons, Reason(code="ScheduleDisabled", message=message, needs_help=True)]
    due = schedule.next_run_time(now)
    if due is None:
        return [*reasons, Reason(code="NoNextRun", message="By its timetable no other job is due, ever.")]
    values = {"next_run_time": moment(due)}
    late = " That is over, so it comes at once when it can." if due <= now else ""
    message = f"Its next job is due at {moment(due)}.{late}"
    return [*reasons, Reason(code="NextRun", message=message, values=values)]
