"""Job schedules: when they make jobs, and of what."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from .job import Job
from .statistics import JobTotals


class JobScheduleState(StrEnum):
    ACTIVE = "active"
    COMPLETED = "completed"
    DISABLED = "disabled"
    TERMINATING = "terminating"
    DELETING = "deleting"


class Timetable(msgspec.Struct, frozen=True):
    """The ``schedule`` of a job schedule; all ``None``: one job, at once."""

    do_not_run_until: int | None = None
    do_not_run_after: int | None = None
    #: How late a job may begin. ``None``: until the next one is due.
    start_window: int | None = None
    #: ``None``: there is one job only.
    recurrence_interval: int | None = None


class JobSchedule(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    account: str
    id: str
    state: JobScheduleState = JobScheduleState.ACTIVE
    state_transition_time: int
    previous_state: JobScheduleState | None = None
    previous_state_transition_time: int | None = None
    creation_time: int
    #: When its client last changed it; jobs that begin and end do not.
    last_modified: int
    end_time: int | None = None
    timetable: Timetable
    #: Since when the timetable holds: no job is due before.
    anchor: int
    #: The last moment for which a job was due and was made, or was given up.
    last_due: int | None = None
    #: Jobs ever made: the number in the last one's id.
    jobs_created: int = 0
    #: The id of the last job.
    recent_job: str | None = None
    #: Sums over those of its jobs that are gone.
    past_totals: JobTotals = JobTotals()
    #: What its jobs are made of: a job without an id.
    template: Job
    #: Key and id of the pool that its jobs share, where that was made for them.
    pool: tuple[str, str] | None = None
    #: It is to be deleted without waiting for nodes that do not answer.
    is_forced: bool = False
    #: The schedule as its client specified it, without the job.
    document: dict[str, Any]

    @property
    def do_not_run_until(self) -> int | None:
        return self.timetable.do_not_run_until

    @property
    def do_not_run_after(self) -> int | None:
        return self.timetable.do_not_run_after

    def next_run_time(self, now: int) -> int | None:
        """For when a job is due: now, if that is not later than ``now``, or else in the future; ``None``: never again.

        Jobs are due at one moment and then at fixed distances, however late each of them really begins. Of several
        that have been missed, only the last can be made good, and only within the start window.
        """
        table = self.timetable
        interval = table.recurrence_interval
        if self.last_due is None:
            due = self.anchor
        elif interval is None:
            return None
        else:
            due = self.last_due + interval
        due = max(due, table.do_not_run_until or 0)
        if interval is not None and now > due:
            due += (now - due) // interval * interval
        if table.start_window is not None and now > due + table.start_window:
            if interval is None:
                return None
            due += interval
        end = table.do_not_run_after
        return None if end is not None and max(due, now) > end else due
