from __future__ import annotations

from typing import Any

import pytest
from tests.simulation.client import make_job
from tests.unit.engine.bench import Bench

from millpond.batch.engine.jobs import FIRST_TASK_GRACE
from millpond.batch.engine.messages import (
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
    StopTask,
    TaskDeleteRequested,
    TasksAddRequested,
)
from millpond.batch.model.changes import FileDeletion
from millpond.batch.model.job import Counts, DisableTasks, JobState, OnAllTasksComplete, OnTaskFailure
from millpond.batch.model.task import ErrorCategory, TaskState
from millpond.common.clock import HOUR, SECOND, to_etag
from millpond.common.conditions import Conditions

TERMINATE_JOB = OnAllTasksComplete.TERMINATE_JOB


def disable(option: DisableTasks) -> JobDisableRequested:
    return JobDisableRequested(job="job", disable_tasks=option)


def busy(bench: Bench, *running: str, slots: int | None = None, **fields: Any) -> str:
    """A job with these tasks running on one node."""
    (node,) = bench.pool(nodes=1, slots=slots or len(running))
    bench.job(**fields)
    bench.tasks(*running)
    assert bench.running() == list(running)
    return node


# --- adding and changing


def test_job_needs_no_pool_to_be_added() -> None:
    bench = Bench()
    job = bench.do(JobAddRequested(job=make_job("job", "nowhere")))
    assert (job.state, job.previous_state, job.start_time) == (JobState.ACTIVE, None, bench.now)
    assert job.creation_time == job.last_modified == bench.now


def test_job_that_exists_is_refused_also_when_it_is_completed() -> None:
    bench = Bench()
    bench.job()
    assert bench.refused(JobAddRequested(job=make_job("job", "pool"))) == "JobExists"
    bench.do(JobTerminateRequested(job="job"))
    assert "job" not in bench.state.jobs
    assert bench.refused(JobAddRequested(job=make_job("job", "pool"))) == "JobExists"
    bench.do(JobDeleteRequested(job="job"))
    assert bench.refused(JobAddRequested(job=make_job("job", "pool"))) == "JobBeingDeleted"


def test_change_replaces_what_it_names() -> None:
    bench = Bench()
    bench.job(priority=3)
    before = bench.job_record()
    job = bench.do(JobChangeRequested(job="job", document={"metadata": [1]}, max_task_retry_count=2))
    assert (job.priority, job.max_task_retry_count, job.document) == (3, 2, {"metadata": [1]})
    assert job.last_modified > before.last_modified
    job = bench.do(JobChangeRequested(job="job", document={}, drop=["metadata"]))
    assert job.document == {}


def test_task_activity_does_not_change_the_etag() -> None:
    bench = Bench()
    busy(bench, "a")
    before = bench.job_record()
    bench.end("a")
    assert bench.job_record().last_modified == before.last_modified


def test_terminatejob_cannot_be_taken_back() -> None:
    bench = Bench()
    bench.job(on_all_tasks_complete=TERMINATE_JOB)
    event = JobChangeRequested(job="job", document={}, on_all_tasks_complete=OnAllTasksComplete.NO_ACTION)
    assert bench.refused(event) == "InvalidPropertyValue"


def test_pool_changes_only_while_the_job_is_disabled() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    bench.pool(nodes=1, key="other")
    bench.job(pool="nowhere")
    bench.tasks("a")
    event = JobChangeRequested(job="job", document={}, pool=("other", "other"))
    assert bench.refused(event) == "JobNotDisabled"
    bench.do(JobChangeRequested(job="job", document={}, pool=("nowhere", "nowhere")))
    bench.do(disable(DisableTasks.WAIT))
    bench.do(event)
    bench.do(JobEnableRequested(job="job"))
    assert bench.running() == ["a"]
    assert bench.state.nodes[bench.task("a").node or ""].pool == "other"


def test_conditions_are_checked() -> None:
    bench = Bench()
    bench.job()
    stale = Conditions(if_match=(to_etag(1),))
    events = [
        JobChangeRequested(job="job", document={}, conditions=stale),
        JobDeleteRequested(job="job", conditions=stale),
        JobTerminateRequested(job="job", conditions=stale),
        JobDisableRequested(job="job", disable_tasks=DisableTasks.WAIT, conditions=stale),
        JobEnableRequested(job="job", conditions=stale),
    ]
    assert [bench.refused(event) for event in events] == ["ConditionNotMet"] * 5


def test_job_that_is_not_there_is_refused() -> None:
    events = [
        JobChangeRequested(job="job", document={}),
        JobDeleteRequested(job="job"),
        JobTerminateRequested(job="job"),
        disable(DisableTasks.WAIT),
        JobEnableRequested(job="job"),
        TasksAddRequested(job="job", tasks=[]),
    ]
    assert {Bench().refused(event) for event in events} == {"JobNotFound"}


# --- disabling and enabling


def test_disable_with_requeue_sends_running_tasks_back() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.do(disable(DisableTasks.REQUEUE))
    assert bench.job_record().state is JobState.DISABLING
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["a"]
    bench.end("a", code=-9)
    job = bench.job_record()
    assert (job.state, job.disable_tasks) == (JobState.DISABLED, None)
    assert bench.task("a").is_waiting
    assert bench.task("a").requeue_count == 1


def test_task_that_succeeds_before_it_is_stopped_has_succeeded() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.do(disable(DisableTasks.REQUEUE))
    bench.end("a", code=0)
    assert bench.task("a").state is TaskState.COMPLETED
    assert bench.task("a").requeue_count == 0


def test_disable_with_terminate_ends_running_tasks() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.do(disable(DisableTasks.TERMINATE))
    assert bench.task("a").state is TaskState.COMPLETED
    assert bench.job_record().state is JobState.DISABLED


def test_disable_with_wait_lets_tasks_run_on_and_starts_no_others() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.tasks("b")
    bench.do(disable(DisableTasks.WAIT))
    assert bench.job_record().state is JobState.DISABLING
    bench.end("a")
    assert bench.job_record().state is JobState.DISABLED
    assert bench.states() == {"a": TaskState.COMPLETED, "b": TaskState.ACTIVE}


def test_disable_recalls_what_is_placed_ahead() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.end("a", ran=1)
    bench.tasks("b", "c")
    bench.do(disable(DisableTasks.WAIT))
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["c"]
    bench.end("b")
    assert bench.job_record().state is JobState.DISABLING
    bench.do(bench.stopped_event("c"))
    assert bench.job_record().state is JobState.DISABLED
    assert bench.task("c").is_waiting


def test_disabled_job_takes_new_tasks_which_run_when_it_is_enabled() -> None:
    bench = Bench()
    bench.pool(nodes=1, slots=2)
    bench.job()
    bench.do(disable(DisableTasks.WAIT))
    assert bench.job_record().state is JobState.DISABLED
    bench.tasks("a")
    assert bench.running() == []
    reply = bench.do(JobEnableRequested(job="job"))
    assert reply.state is JobState.ENABLING
    assert bench.job_record().state is JobState.ACTIVE
    assert bench.running() == ["a"]


def test_disabling_job_can_be_disabled_more_firmly_or_enabled() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.do(disable(DisableTasks.WAIT))
    bench.do(disable(DisableTasks.TERMINATE))
    assert bench.job_record().state is JobState.DISABLED
    bench.tasks("b")
    bench.do(disable(DisableTasks.WAIT))
    bench.do(JobEnableRequested(job="job"))
    assert bench.running() == ["b"]


def test_enabling_a_job_that_is_not_disabled_is_refused() -> None:
    bench = Bench()
    bench.job()
    assert bench.refused(JobEnableRequested(job="job")) == "JobNotDisabled"


# --- terminating


def test_terminated_job_ends_its_running_tasks_and_leaves_the_others_active() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.tasks("b")
    reply = bench.do(JobTerminateRequested(job="job", terminate_reason="Enough"))
    assert reply.state is JobState.TERMINATING
    job = bench.job_record()
    assert (job.state, job.previous_state) == (JobState.COMPLETED, JobState.TERMINATING)
    assert (job.terminate_reason, job.end_time) == ("Enough", bench.now)
    assert job.task_counts == Counts(active=1, failed=1)
    task = bench.task("a")
    assert task.failure is not None
    assert (task.failure.code, task.failure.category, task.exit_code) == ("TaskEnded", "usererror", None)
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["a"]
    assert "job" not in bench.state.jobs


def test_terminated_job_leaves_what_was_placed_ahead_active() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.end("a", ran=1)
    bench.tasks("b", "c")
    bench.do(JobTerminateRequested(job="job"))
    assert bench.job_record().state is JobState.COMPLETED
    assert bench.task("c").is_waiting
    assert {stop.attempt.task for stop in bench.all(StopTask)} == {"b", "c"}


def test_slots_of_a_terminated_job_are_free_for_others() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.job("other")
    bench.tasks("b", job="other")
    bench.do(JobTerminateRequested(job="job"))
    assert bench.running("other") == ["b"]


def test_completed_job_refuses_changes() -> None:
    bench = Bench()
    bench.job()
    bench.do(JobTerminateRequested(job="job"))
    events = [
        JobChangeRequested(job="job", document={}),
        JobTerminateRequested(job="job"),
        disable(DisableTasks.WAIT),
        JobEnableRequested(job="job"),
        TasksAddRequested(job="job", tasks=[]),
    ]
    assert {bench.refused(event) for event in events} == {"JobCompleted"}


def test_job_ends_at_its_wall_clock_limit() -> None:
    bench = Bench()
    busy(bench, "a", max_wall_clock_time=HOUR)
    created = bench.job_record().creation_time
    bench.do(JobTimedOut(job="job"), after=HOUR - 10 * SECOND)
    assert bench.job_record().state is JobState.ACTIVE
    bench.do(JobTimedOut(job="job"), after=10 * SECOND)
    job = bench.job_record()
    assert (job.state, job.terminate_reason) == (JobState.COMPLETED, "MaxWallClockTimeExpiry")
    failure = bench.task("a").failure
    assert failure is not None
    assert (failure.category, failure.code) == (ErrorCategory.SERVER_ERROR, "TaskEnded")
    assert created + HOUR <= bench.now


def test_wall_clock_limit_is_timed_from_creation_also_when_it_changes() -> None:
    bench = Bench()
    bench.job(max_wall_clock_time=HOUR)
    created = bench.job_record().creation_time
    assert bench.all(RaiseAt) == [RaiseAt(moment=created + HOUR, event=JobTimedOut(job="job"))]
    bench.do(JobChangeRequested(job="job", document={}, max_wall_clock_time=2 * HOUR))
    assert bench.all(RaiseAt) == [RaiseAt(moment=created + 2 * HOUR, event=JobTimedOut(job="job"))]
    bench.do(JobTimedOut(job="job"), after=HOUR)
    assert bench.job_record().state is JobState.ACTIVE


def test_job_ends_when_all_its_tasks_are_complete() -> None:
    bench = Bench()
    busy(bench, "a", "b", on_all_tasks_complete=TERMINATE_JOB)
    bench.end("a")
    assert bench.job_record().state is JobState.ACTIVE
    bench.end("b", code=1)
    job = bench.job_record()
    assert (job.state, job.terminate_reason) == (JobState.COMPLETED, "AllTasksComplete")


def test_job_ends_when_the_property_is_set_after_its_tasks_are_complete() -> None:
    bench = Bench()
    busy(bench, "a")
    bench.end("a")
    bench.do(JobChangeRequested(job="job", document={}, on_all_tasks_complete=TERMINATE_JOB))
    assert bench.job_record().state is JobState.COMPLETED


def test_job_ends_when_its_last_open_task_is_deleted() -> None:
    bench = Bench()
    bench.job(on_all_tasks_complete=TERMINATE_JOB)
    bench.tasks("a")
    bench.do(TaskDeleteRequested(job="job", task="a"))
    assert bench.job_record().state is JobState.COMPLETED


def test_job_without_tasks_ends_after_a_grace() -> None:
    bench = Bench()
    bench.job(on_all_tasks_complete=TERMINATE_JOB)
    (timer,) = bench.all(RaiseAt)
    assert timer.moment == bench.now + FIRST_TASK_GRACE
    bench.do(timer.event, after=FIRST_TASK_GRACE - 1)
    assert bench.job_record().state is JobState.ACTIVE
    bench.do(timer.event, after=1)
    assert bench.job_record().terminate_reason == "AllTasksComplete"


def test_job_whose_first_task_comes_in_time_goes_on() -> None:
    bench = Bench()
    bench.job(on_all_tasks_complete=TERMINATE_JOB)
    (timer,) = bench.all(RaiseAt)
    bench.tasks("a")
    bench.do(timer.event, after=FIRST_TASK_GRACE)
    assert bench.job_record().state is JobState.ACTIVE


@pytest.mark.parametrize(
    ("policy", "code", "reason"),
    [
        (OnTaskFailure.PERFORM_EXIT_OPTIONS_JOB_ACTION, 1, "TaskFailed"),
        (OnTaskFailure.PERFORM_EXIT_OPTIONS_JOB_ACTION, 0, None),
        (OnTaskFailure.NO_ACTION, 1, None),
    ],
)
def test_failed_task_ends_the_job_where_its_policy_says_so(
    policy: OnTaskFailure, code: int, reason: str | None
) -> None:
    bench = Bench()
    busy(bench, "a", on_task_failure=policy)
    bench.end("a", code=code)
    assert bench.job_record().terminate_reason == reason


def test_failure_that_is_retried_does_not_end_the_job() -> None:
    bench = Bench()
    busy(bench, "a", on_task_failure=OnTaskFailure.PERFORM_EXIT_OPTIONS_JOB_ACTION, max_task_retry_count=1)
    bench.end("a", code=1)
    assert bench.job_record().state is JobState.ACTIVE
    bench.end("a", code=1)
    assert bench.job_record().terminate_reason == "TaskFailed"


# --- deleting


def test_deleted_job_stops_its_tasks_and_goes_when_they_are_purged() -> None:
    bench = Bench()
    node = busy(bench, "a")
    bench.tasks("b")
    bench.do(JobDeleteRequested(job="job"))
    assert bench.job_record().state is JobState.DELETING
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["a"]
    assert bench.all(PurgeJob) == [PurgeJob(job="job")]
    assert bench.archive.file_deletions == [FileDeletion(node, "job", None)]
    assert [key for key in bench.state.tasks if key[0] == "job"] == []
    bench.archive.purge("job")
    bench.do(JobPurged(job="job"))
    assert bench.archive.jobs == {}


def test_completed_job_can_be_deleted() -> None:
    bench = Bench()
    node = busy(bench, "a")
    bench.end("a")
    bench.do(JobTerminateRequested(job="job"))
    bench.do(JobDeleteRequested(job="job"))
    assert bench.job_record().state is JobState.DELETING
    assert bench.archive.file_deletions == [FileDeletion(node, "job", None)]


def test_job_being_deleted_refuses_everything() -> None:
    bench = Bench()
    bench.job()
    bench.tasks("a")
    bench.do(JobDeleteRequested(job="job"))
    events = [
        JobChangeRequested(job="job", document={}),
        JobTerminateRequested(job="job"),
        JobDeleteRequested(job="job"),
        disable(DisableTasks.WAIT),
        JobEnableRequested(job="job"),
        TasksAddRequested(job="job", tasks=[]),
        TaskDeleteRequested(job="job", task="a"),
    ]
    assert {bench.refused(event) for event in events} == {"JobBeingDeleted"}


def test_late_purge_does_not_remove_a_new_job() -> None:
    bench = Bench()
    bench.job()
    bench.do(JobPurged(job="job"))
    assert bench.job_record().state is JobState.ACTIVE


def test_every_change_of_state_changes_the_etag() -> None:
    bench = Bench()
    bench.job()
    moments = [bench.job_record().last_modified]
    bench.do(disable(DisableTasks.WAIT), after=0)
    moments.append(bench.job_record().last_modified)
    bench.do(JobEnableRequested(job="job"), after=0)
    moments.append(bench.job_record().last_modified)
    bench.do(JobTerminateRequested(job="job"), after=0)
    moments.append(bench.job_record().last_modified)
    assert moments == sorted(set(moments))
