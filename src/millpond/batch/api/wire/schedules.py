"""Models of job schedules."""

from __future__ import annotations

from msgspec import UNSET

from millpond.common.clock import from_iso

from ...model.schedule import JobScheduleState
from .common import MetadataItem
from .fields import DisplayName, Duration, Id, Maybe, Model, Moment, PropertyError
from .jobs import JobSpecification
from .statistics import JobStatistics


class Schedule(Model, kw_only=True):
    do_not_run_until: Maybe[Moment] = UNSET
    do_not_run_after: Maybe[Moment] = UNSET
    start_window: Maybe[Duration] = UNSET
    recurrence_interval: Maybe[Duration] = UNSET

    def __post_init__(self) -> None:
        for name, text in (("doNotRunUntil", self.do_not_run_until), ("doNotRunAfter", self.do_not_run_after)):
            try:
                if text is not UNSET:
                    from_iso(text)
            except ValueError:
                raise PropertyError(name, "The value is not a time in ISO 8601.") from None


class JobSchedulePatch(Model, kw_only=True):
    schedule: Maybe[Schedule] = UNSET
    job_specification: Maybe[JobSpecification] = UNSET
    metadata: Maybe[list[MetadataItem]] = UNSET


class JobScheduleUpdate(Model, kw_only=True):
    schedule: Maybe[Schedule] = UNSET
    job_specification: JobSpecification
    metadata: Maybe[list[MetadataItem]] = UNSET


class JobScheduleAdd(Model, kw_only=True):
    id: Id
    display_name: Maybe[DisplayName] = UNSET
    schedule: Schedule
    job_specification: JobSpecification
    metadata: Maybe[list[MetadataItem]] = UNSET


class RecentJob(Model, kw_only=True):
    id: Maybe[str] = UNSET
    url: Maybe[str] = UNSET


class JobScheduleExecutionInfo(Model, kw_only=True):
    next_run_time: Maybe[Moment] = UNSET
    recent_job: Maybe[RecentJob] = UNSET
    end_time: Maybe[Moment] = UNSET


class JobSchedule(Model, kw_only=True):
    """A job schedule as it is answered with."""

    id: str
    display_name: Maybe[DisplayName] = UNSET
    url: str
    e_tag: str
    last_modified: Moment
    creation_time: Moment
    state: JobScheduleState
    state_transition_time: Moment
    previous_state: Maybe[JobScheduleState] = UNSET
    previous_state_transition_time: Maybe[Moment] = UNSET
    schedule: Maybe[Schedule] = UNSET
    job_specification: JobSpecification
    execution_info: JobScheduleExecutionInfo
    metadata: Maybe[list[MetadataItem]] = UNSET
    stats: Maybe[JobStatistics] = UNSET
