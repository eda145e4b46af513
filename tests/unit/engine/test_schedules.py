from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.client import make_job
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    JobAddRequested,
    JobDeleteRequested,
    JobDisableRequested,
    JobPurged,
    JobScheduleAddRequested,
    JobScheduleChangeRequested,
    JobScheduleDeleteRequested,
    JobScheduleDisableRequested,
    JobScheduleDue,
    JobScheduleEnableRequested,
    JobScheduleTerminateRequested,
    JobTerminateRequested,
    PurgeJob,
    RaiseAt,
)
from millpond.batch.model.job import DisableTasks, JobState, OnAllTasksComplete
from millpond.batch.model.schedule import JobSchedule, JobScheduleState, Timetable
from millpond.common.clock import DAY, HOUR, MINUTE, SECOND


def make_schedule(key: str = "s", **fields: Any) -> JobSchedule:
    table = {name: fields.pop(name) for name in Timetable.__struct_fields__ if name in fields}
    fields.setdefault("template", make_job("", "pool"))
    return JobSchedule(
        key=f"a/{key}",
        account="a",
        id=key,
        state_transition_time=0,
        creation_time=0,
        last_modified=0,
        timetable=Timetable(**table),
        anchor=0,
        document={},
        **fields,
    )


class Scheduled(Bench):
    """A bench with one schedule, and with timers that come back."""

    def add(self, **fields: Any) -> None:
        self.do(JobScheduleAddRequested(schedule=make_schedule(**fields)))

    def change(self, **table: Any) -> None:
        self.do(JobScheduleChangeRequested(schedule="a/s", document={}, timetable=Timetable(**table)))

    def wait(self, duration: int) -> None:
        """Let time pass, and the timers ring that the schedule has set for it."""
        end = self.now + duration
        while alarms := [moment for moment in self.state.alarms.values() if moment <= end]:
            self.do(JobScheduleDue(schedule="a/s"), after=min(alarms) - self.now)
        self.now = end

    def end_job(self, number: int) -> None:
        self.do(JobTerminateRequested(job=f"a/s:job-{number}"))

    @property
    def schedule(self) -> JobSchedule:
        return self.archive.schedules["a/s"]

    @property
    def next_run(self) -> int | None:
        return self.schedule.next_run_time(self.now)

    @property
    def jobs(self) -> list[str]:
        """The numbers of the schedule's jobs that have not ended."""
        made = [job for job in self.archive.jobs.values() if job.schedule == "a/s"]
        return [job.id.rpartition("-")[2] for job in made if job.state is not JobState.COMPLETED]


# --- one job ---


def test_without_a_timetable_there_is_one_job_and_the_schedule_ends_with_it() -> None:
    bench = Scheduled()
    bench.add(template=make_job("", "pool", priority=5))
    job = bench.archive.jobs["a/s:job-1"]
    assert (job.id, job.priority, job.schedule, job.state) == ("s:job-1", 5, "a/s", JobState.ACTIVE)
    assert job.creation_time == job.start_time == bench.now
    assert (bench.schedule.recent_job, bench.next_run) == ("s:job-1", None)
    modified = bench.schedule.last_modified
    bench.end_job(1)
    assert (bench.schedule.state, bench.schedule.end_time) == (JobScheduleState.COMPLETED, bench.now)
    assert bench.schedule.last_modified == modified
    assert not bench.state.schedules


def test_a_job_comes_at_its_time() -> None:
    bench = Scheduled()
    bench.add(do_not_run_until=bench.now + HOUR)
    begin = bench.schedule.do_not_run_until
    assert bench.next_run == begin
    [alarm] = bench.all(RaiseAt)
    assert alarm.moment == begin
    bench.wait(HOUR - 2 * SECOND)
    assert bench.jobs == []
    bench.wait(2 * SECOND)
    assert bench.jobs == ["1"]


def test_a_window_that_was_missed_leaves_nothing_to_do() -> None:
    bench = Scheduled()
    bench.add(do_not_run_until=bench.now + HOUR, start_window=MINUTE)
    bench.now += 2 * HOUR
    bench.restart()
    assert bench.jobs == []
    assert bench.schedule.state is JobScheduleState.COMPLETED


# --- recurring ---


def test_jobs_come_at_fixed_distances_from_the_first() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    begin = bench.now
    for number in (1, 2, 3):
        assert bench.jobs == [str(number)]
        assert bench.next_run == begin + number * HOUR
        bench.end_job(number)
        bench.wait(begin + number * HOUR - bench.now)


def test_the_next_job_waits_for_the_last() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    begin = bench.now
    bench.wait(90 * MINUTE)
    assert bench.jobs == ["1"]
    assert bench.next_run == begin + HOUR
    bench.end_job(1)
    assert bench.jobs == ["2"]
    assert bench.next_run == begin + 2 * HOUR
    bench.wait(10 * HOUR)
    bench.end_job(2)
    assert bench.jobs == ["3"]  # of ten that were due, the last


@pytest.mark.parametrize(("late", "begins_at_once"), [(4 * MINUTE, True), (6 * MINUTE, False)])
def test_a_job_begins_within_the_start_window_or_with_the_next_recurrence(late: int, begins_at_once: bool) -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR, start_window=5 * MINUTE)
    begin = bench.now
    bench.wait(HOUR + late)
    bench.end_job(1)
    assert bench.jobs == (["2"] if begins_at_once else [])
    assert bench.next_run == begin + 2 * HOUR
    bench.wait(begin + 2 * HOUR - bench.now)
    assert bench.jobs == ["2"]


def test_a_disabled_or_dying_job_still_counts_as_the_last() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    bench.do(JobDisableRequested(job="a/s:job-1", disable_tasks=DisableTasks.REQUEUE))
    bench.wait(2 * HOUR)
    assert bench.jobs == ["1"]
    bench.do(JobDeleteRequested(job="a/s:job-1"))
    assert bench.jobs == ["1"]
    bench.do(JobPurged(job="a/s:job-1"))
    assert bench.jobs == ["2"]


def test_a_job_that_ends_with_its_tasks_makes_way() -> None:
    bench = Scheduled()
    bench.pool()
    bench.add(
        recurrence_interval=HOUR,
        template=make_job("", "pool", on_all_tasks_complete=OnAllTasksComplete.TERMINATE_JOB),
    )
    bench.tasks("t", job="a/s:job-1")
    bench.wait(HOUR + MINUTE)
    bench.end("t", job="a/s:job-1")
    assert bench.jobs == ["2"]
    assert bench.job_record("a/s:job-1").terminate_reason == "AllTasksComplete"


def test_after_the_end_no_job_begins_and_the_schedule_ends_with_the_last() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR, do_not_run_after=bench.now + 150 * MINUTE)
    bench.wait(70 * MINUTE)
    bench.end_job(1)
    assert bench.jobs == ["2"]
    bench.wait(DAY)
    assert bench.next_run is None
    bench.end_job(2)
    assert bench.jobs == []
    assert bench.schedule.state is JobScheduleState.COMPLETED


def test_without_a_job_the_schedule_ends_with_its_time() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR, do_not_run_after=bench.now + 90 * MINUTE)
    bench.wait(HOUR)
    bench.end_job(1)
    bench.end_job(2)
    assert (bench.schedule.state, bench.next_run) == (JobScheduleState.ACTIVE, None)
    bench.wait(HOUR)
    assert bench.schedule.state is JobScheduleState.COMPLETED


# --- requests ---


def test_a_disabled_schedule_makes_no_jobs_and_those_missed_are_not_made_up() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    begin = bench.now
    bench.do(JobScheduleDisableRequested(schedule="a/s"))
    assert bench.jobs == ["1"]
    assert bench.refused(JobScheduleDisableRequested(schedule="a/s")) == "JobScheduleDisabled"
    bench.end_job(1)
    bench.do(JobScheduleDue(schedule="a/s"), after=90 * MINUTE)
    assert bench.jobs == []
    bench.do(JobScheduleEnableRequested(schedule="a/s"))
    assert (bench.jobs, bench.next_run) == ([], begin + 2 * HOUR)
    bench.wait(HOUR)
    assert bench.jobs == ["2"]


def test_the_one_job_of_a_schedule_is_made_once_it_is_enabled() -> None:
    bench = Scheduled()
    bench.add(do_not_run_until=bench.now + HOUR)
    bench.do(JobScheduleDisableRequested(schedule="a/s"))
    bench.do(JobScheduleDue(schedule="a/s"), after=2 * HOUR)
    assert bench.jobs == []
    bench.do(JobScheduleEnableRequested(schedule="a/s"))
    assert bench.jobs == ["1"]


def test_an_active_schedule_may_be_enabled() -> None:
    bench = Scheduled()
    bench.add()
    before = bench.schedule
    bench.do(JobScheduleEnableRequested(schedule="a/s"))
    assert bench.schedule == before


def test_a_terminated_schedule_ends_its_job_and_then_itself() -> None:
    bench = Scheduled()
    bench.pool()
    bench.add(recurrence_interval=HOUR)
    bench.tasks("t", job="a/s:job-1")
    bench.do(JobScheduleTerminateRequested(schedule="a/s"))
    job = bench.job_record("a/s:job-1")
    assert (job.state, job.terminate_reason) == (JobState.COMPLETED, "TerminateJobSchedule")
    failure = bench.task("t", "a/s:job-1").failure
    assert failure is not None
    assert failure.code == "TaskEnded"
    schedule = bench.schedule
    assert (schedule.state, schedule.previous_state) == (JobScheduleState.COMPLETED, JobScheduleState.TERMINATING)
    assert schedule.end_time == bench.now
    for request in (JobScheduleTerminateRequested, JobScheduleDisableRequested, JobScheduleEnableRequested):
        assert bench.refused(request(schedule="a/s")) == "JobScheduleCompleted"
    bench.wait(DAY)
    assert bench.jobs == []


def test_a_terminating_schedule_waits_for_a_job_that_is_being_deleted() -> None:
    bench = Scheduled()
    bench.add()
    bench.do(JobDeleteRequested(job="a/s:job-1"), JobScheduleTerminateRequested(schedule="a/s"))
    assert bench.refused(JobScheduleTerminateRequested(schedule="a/s")) == "JobScheduleBeingTerminated"
    bench.do(JobPurged(job="a/s:job-1"))
    assert bench.schedule.state is JobScheduleState.COMPLETED


def test_a_deleted_schedule_takes_its_jobs_with_it() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    for number in range(1, 251):
        bench.end_job(number)
        bench.wait(HOUR)
    bench.do(JobScheduleDeleteRequested(schedule="a/s"))
    assert bench.refused(JobScheduleDeleteRequested(schedule="a/s")) == "JobScheduleBeingDeleted"
    bench.restart()
    rounds = 0
    while bench.archive.schedules:
        purges = bench.all(PurgeJob)
        assert purges
        bench.do(*[JobPurged(job=purge.job) for purge in purges])
        rounds += 1
    assert rounds > 2  # not all at once
    assert not bench.archive.jobs
    assert not bench.state.scheduled_jobs
    assert bench.refused(JobScheduleDeleteRequested(schedule="a/s")) == "JobScheduleNotFound"
    bench.add()
    assert bench.jobs == ["1"]


def test_force_is_passed_on_to_the_jobs() -> None:
    bench = Scheduled()
    bench.add()
    bench.do(JobScheduleTerminateRequested(schedule="a/s", force=True))
    assert bench.job_record("a/s:job-1").is_forced
    bench.do(JobScheduleDeleteRequested(schedule="a/s", force=True))
    assert bench.job_record("a/s:job-1").is_forced
    bench.do(JobScheduleAddRequested(schedule=make_schedule("other")))
    bench.do(JobScheduleDeleteRequested(schedule="a/other"))
    assert not bench.job_record("a/other:job-1").is_forced
    bench.do(JobScheduleDeleteRequested(schedule="a/other", force=True))
    assert bench.job_record("a/other:job-1").is_forced


def test_a_completed_schedule_can_be_deleted() -> None:
    bench = Scheduled()
    bench.add()
    bench.end_job(1)
    bench.do(JobScheduleDeleteRequested(schedule="a/s"))
    bench.do(JobPurged(job="a/s:job-1"))
    assert not bench.archive.schedules
    assert not bench.archive.jobs


def test_ids_of_jobs_and_schedules_do_not_clash() -> None:
    bench = Scheduled()
    bench.add()
    assert bench.refused(JobScheduleAddRequested(schedule=make_schedule())) == "JobScheduleExists"
    assert bench.refused(JobAddRequested(job=make_job("a/s", "pool"))) == "JobScheduleWithSameIdExists"
    bench.job("a/job")
    assert bench.refused(JobScheduleAddRequested(schedule=make_schedule("job"))) == "JobWithSameIdExists"


# --- changes ---


def test_a_change_of_the_job_is_for_jobs_to_come() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    template = make_job("", "pool", priority=9)
    bench.do(JobScheduleChangeRequested(schedule="a/s", document={"metadata": []}, template=template))
    assert bench.job_record("a/s:job-1").priority == 0
    bench.wait(2 * HOUR)
    bench.end_job(1)
    assert bench.job_record("a/s:job-2").priority == 9
    assert bench.schedule.document == {"metadata": []}


def test_another_interval_counts_from_the_last_job() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    begin = bench.now
    bench.end_job(1)
    bench.change(recurrence_interval=10 * MINUTE)
    assert bench.next_run == begin + 10 * MINUTE
    bench.change(recurrence_interval=HOUR, do_not_run_until=begin + DAY)
    assert bench.next_run == begin + DAY
    bench.wait(DAY)
    assert bench.jobs == ["2"]


def test_a_timetable_without_recurrence_begins_anew() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    bench.change()
    bench.end_job(1)
    assert bench.jobs == ["2"]
    bench.end_job(2)
    assert bench.schedule.state is JobScheduleState.COMPLETED


def test_the_same_timetable_again_changes_nothing() -> None:
    bench = Scheduled()
    bench.add(do_not_run_until=bench.now)
    bench.change(do_not_run_until=bench.schedule.do_not_run_until)
    bench.end_job(1)
    assert bench.schedule.state is JobScheduleState.COMPLETED


# --- time and restarts ---


def test_nothing_is_lost_or_doubled_by_restarts() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    for number in range(1, 10):
        bench.restart()
        assert bench.jobs == [str(number)]
        bench.end_job(number)
        bench.restart()
        [alarm] = [effect for effect in bench.all(RaiseAt) if isinstance(effect.event, JobScheduleDue)]
        assert alarm.moment == bench.next_run
        bench.now += HOUR - 3 * SECOND  # the service is down when it is time


def test_a_clock_that_goes_back_makes_no_job_twice() -> None:
    bench = Scheduled()
    bench.add(recurrence_interval=HOUR)
    begin = bench.now
    bench.end_job(1)
    bench.wait(HOUR)
    bench.end_job(2)
    bench.now -= 2 * HOUR
    bench.restart()
    bench.wait(HOUR)
    assert (bench.jobs, bench.next_run) == ([], begin + 2 * HOUR)
    bench.wait(2 * HOUR)
    assert bench.jobs == ["3"]


def test_a_timer_that_rings_too_early_is_set_again() -> None:
    bench = Scheduled()
    bench.add(do_not_run_until=bench.now + HOUR)
    bench.do(JobScheduleDue(schedule="a/s"), after=MINUTE)
    [alarm] = bench.all(RaiseAt)
    assert alarm.moment == bench.next_run


_MOMENTS = st.none() | st.integers(-5, 20)
_TABLES = st.builds(
    Timetable,
    do_not_run_until=_MOMENTS,
    do_not_run_after=st.none() | st.integers(1, 40),
    start_window=st.none() | st.integers(1, 12),
    recurrence_interval=st.none() | st.integers(1, 9),
)


def _expected(table: Timetable, busy: list[bool]) -> list[int]:
    """When jobs begin, found out by looking at every moment; at moment n the last job ends unless ``busy[n]``."""
    begun: list[int] = []
    runs = False
    due = max(0, table.do_not_run_until or 0)
    pending: int | None = None
    for now, is_busy in enumerate(busy):
        runs = runs and is_busy
        if now == due:
            pending = now
            due = now + (table.recurrence_interval or 10**9)
        if pending is not None and table.start_window is not None and now > pending + table.start_window:
            pending = None
        if table.do_not_run_after is not None and now > table.do_not_run_after:
            pending = None
        if pending is not None and not runs:
            begun.append(now)
            runs, pending = True, None
    return begun


@settings(max_examples=300, deadline=None)
@given(table=_TABLES, busy=st.lists(st.booleans(), min_size=30, max_size=60), restarts=st.sets(st.integers(0, 60)))
def test_jobs_begin_when_a_simple_model_says_so(table: Timetable, busy: list[bool], restarts: set[int]) -> None:
    """A moment is a minute; a job ends at the first moment at which it no longer runs."""
    bench = Scheduled()
    start = bench.now + SECOND

    def moment(minutes: int | None) -> int | None:
        return None if minutes is None else start + minutes * MINUTE

    begun = []
    for now, is_busy in enumerate(busy):
        bench.now = start + now * MINUTE
        if now == 0:
            scaled: dict[str, Any] = {
                "start_window": table.start_window and table.start_window * MINUTE,
                "recurrence_interval": table.recurrence_interval and table.recurrence_interval * MINUTE,
                "do_not_run_until": moment(table.do_not_run_until),
                "do_not_run_after": moment(table.do_not_run_after),
            }
            bench.do(JobScheduleAddRequested(schedule=make_schedule(**scaled)), after=0)
        events: list[Any] = []
        if now and bench.jobs and not is_busy:
            events.append(JobTerminateRequested(job=f"a/s:job-{bench.schedule.jobs_created}"))
        if any(alarm <= bench.now for alarm in bench.state.alarms.values()):
            events.append(JobScheduleDue(schedule="a/s"))
        before = bench.schedule.jobs_created if now else 0
        bench.do(*events, after=0)
        if now in restarts:
            bench.now -= SECOND
            bench.restart()
        begun += [now] * (bench.schedule.jobs_created - before)
    assert begun == _expected(table, busy)
