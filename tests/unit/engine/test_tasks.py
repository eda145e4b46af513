from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.simulation.client import make_task
from tests.unit.engine.bench import FAILED, Bench

from millpond.batch.engine.messages import (
    Event,
    ForgetTask,
    JobTerminateRequested,
    NodeDeallocateRequested,
    NodeRebootRequested,
    StartTask,
    StopTask,
    TaskChangeRequested,
    TaskDeleteRequested,
    TaskEnded,
    TaskReactivateRequested,
    TasksAddRequested,
    TaskTerminateRequested,
)
from millpond.batch.model.changes import FileDeletion
from millpond.batch.model.job import Counts
from millpond.batch.model.pool import DeallocationOption
from millpond.batch.model.task import ErrorCategory, Failure, Task, TaskResult, TaskState
from millpond.common.clock import SECOND, to_etag
from millpond.common.conditions import Conditions
from millpond.common.errors import ServiceError


def ready(bench: Bench, *tasks: str, slots: int = 1, **fields: Any) -> str:
    """A node, and a job with these tasks."""
    (node,) = bench.pool(nodes=1, slots=slots)
    bench.job(**fields)
    bench.tasks(*tasks)
    return node


# --- adding


def test_added_tasks_have_the_job_s_defaults() -> None:
    bench = Bench()
    bench.job(max_task_retry_count=3)
    plain, own = bench.do(
        TasksAddRequested(job="job", tasks=[make_task("A"), make_task("b", max_task_retry_count=0, required_slots=2)])
    )
    assert (plain.key, plain.id, plain.seq, plain.max_task_retry_count) == ("a", "A", 0, 3)
    assert (own.seq, own.max_task_retry_count, own.required_slots) == (1, 0, 2)
    assert (plain.state, plain.attempt, plain.start_time) == (TaskState.ACTIVE, 0, None)
    assert bench.job_record().task_counts == Counts(active=2)
    assert bench.job_record().slot_counts == Counts(active=3)
    assert bench.archive.documents["job", "a"] == b"{}"


def test_each_task_that_exists_is_refused_by_itself() -> None:
    bench = Bench()
    bench.job()
    bench.tasks("a")
    replies = bench.tasks("A", "b", "B", "c")
    codes = [reply.code if isinstance(reply, ServiceError) else reply.id for reply in replies]
    assert codes == ["TaskExists", "b", "TaskExists", "c"]
    assert bench.job_record().task_counts.active == 3


def test_completed_task_still_exists() -> None:
    bench = Bench()
    ready(bench, "a")
    bench.end("a")
    (reply,) = bench.tasks("a")
    assert isinstance(reply, ServiceError)
    assert reply.status == 409


# --- running


def test_running_task_tells_where_it_runs() -> None:
    bench = Bench()
    node = ready(bench, "a")
    task = bench.task("a")
    assert (task.state, task.previous_state) == (TaskState.RUNNING, TaskState.ACTIVE)
    assert (task.node, task.node_id, task.pool_id) == (node, bench.node(node).id, "pool")
    assert task.start_time == bench.now
    (start,) = bench.all(StartTask)
    assert (start.node, start.attempt, start.required_slots) == (node, bench.attempt("a"), 1)


def test_report_of_the_start_corrects_the_time() -> None:
    bench = Bench()
    ready(bench, "a")
    bench.start("a")
    assert bench.task("a").start_time == bench.now - SECOND


def test_success_completes_the_task() -> None:
    bench = Bench()
    node = ready(bench, "a")
    attempt = bench.attempt("a")
    bench.end("a")
    task = bench.task("a")
    assert (task.state, task.result, task.exit_code, task.failure) == (
        TaskState.COMPLETED,
        TaskResult.SUCCESS,
        0,
        None,
    )
    assert task.end_time == bench.now - SECOND
    assert bench.all(ForgetTask) == [ForgetTask(node=node, attempt=attempt)]
    assert bench.job_record().task_counts == Counts(succeeded=1)
    assert ("job", "a") not in bench.state.tasks


def test_running_and_end_do_not_change_the_etag() -> None:
    bench = Bench()
    ready(bench, "a")
    created = bench.task("a").creation_time
    bench.end("a")
    assert bench.task("a").last_modified == created


def test_doubled_and_late_reports_are_dropped_and_answered() -> None:
    bench = Bench()
    node = ready(bench, "a", "b")
    end = bench.end_event("a")
    bench.do(end)
    done = bench.task("a")
    bench.do(end)
    assert bench.task("a") == done
    assert bench.all(ForgetTask) == [ForgetTask(node=node, attempt=end.attempt)]
    assert bench.job_record().task_counts == Counts(running=1, succeeded=1)


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_failure_is_retried_as_often_as_allowed(limit: int) -> None:
    bench = Bench()
    ready(bench, "a", max_task_retry_count=limit)
    for count in range(limit):
        bench.end("a", code=1)
        task = bench.task("a")
        assert (task.state, task.retry_count, task.last_retry_time) == (TaskState.RUNNING, count + 1, bench.now)
        assert (task.exit_code, task.failure, task.requeue_count) == (None, None, 0)
    bench.end("a", code=1)
    task = bench.task("a")
    assert (task.state, task.retry_count, task.exit_code) == (TaskState.COMPLETED, limit, 1)
    assert (task.result, task.failure) == (TaskResult.FAILURE, FAILED)


def test_unlimited_retries_never_end() -> None:
    bench = Bench()
    ready(bench, "a", max_task_retry_count=-1)
    for _ in range(20):
        bench.end("a", code=1)
    assert bench.running() == ["a"]


def test_retried_task_tells_of_its_failure_until_it_runs_again() -> None:
    bench = Bench()
    ready(bench, "a", max_task_retry_count=1)
    bench.job("urgent", priority=9)
    bench.tasks("u", job="urgent")
    bench.end("a", code=7)
    task = bench.task("a")
    assert task.is_waiting
    assert (task.exit_code, task.failure, task.result, task.end_time) == (7, FAILED, None, None)


@pytest.mark.parametrize("may_retry", [True, False])
def test_only_what_may_be_retried_is(may_retry: bool) -> None:
    bench = Bench()
    ready(bench, "a", max_task_retry_count=5)
    failure = Failure(ErrorCategory.USER_ERROR, "BlobNotFound", "There is no such blob.")
    bench.end("a", code=None, failure=failure, may_retry=may_retry)
    assert (bench.task("a").state is TaskState.COMPLETED) is not may_retry


def test_attempt_that_its_node_did_not_start_is_placed_again_uncounted() -> None:
    bench = Bench()
    ready(bench, "a")
    bench.do(bench.end_event("a", code=None, start_time=None, failure=None, may_retry=False))
    task = bench.task("a")
    assert (task.state, task.attempt) == (TaskState.RUNNING, 2)
    assert (task.retry_count, task.requeue_count) == (0, 0)


# --- changing


def test_constraints_change_and_with_them_the_etag() -> None:
    bench = Bench()
    ready(bench, "a", max_task_retry_count=4)
    before = bench.task("a")
    task = bench.do(TaskChangeRequested(job="job", task="a", max_task_retry_count=1, max_wall_clock_time=7))
    assert (task.max_task_retry_count, task.max_wall_clock_time) == (1, 7)
    assert task.retention_time == before.retention_time
    assert task.last_modified > before.last_modified
    assert bench.task("a") == task
    task = bench.do(TaskChangeRequested(job="job", task="a", max_task_retry_count=None))
    assert task.max_task_retry_count == 4


def test_changed_retries_count_for_the_run_under_way() -> None:
    bench = Bench()
    ready(bench, "a")
    bench.do(TaskChangeRequested(job="job", task="a", max_task_retry_count=1))
    bench.end("a", code=1)
    assert bench.running() == ["a"]


def test_node_learns_of_the_limits_of_what_it_runs() -> None:
    bench = Bench()
    node = ready(bench, "a", "b")
    bench.do(TaskChangeRequested(job="job", task="a", max_wall_clock_time=7))
    assert bench.all(StartTask) == [StartTask(node=node, attempt=bench.attempt("a"), required_slots=1)]
    bench.do(TaskChangeRequested(job="job", task="b", max_wall_clock_time=7))
    assert bench.all(StartTask) == []


def test_task_beyond_the_window_can_be_changed_ended_and_deleted() -> None:
    bench = Bench(ready_window=2)
    ready(bench, *[f"t{n}" for n in range(10)])
    assert ("job", "t9") not in bench.state.tasks
    bench.do(TaskChangeRequested(job="job", task="t9", max_task_retry_count=8))
    assert bench.task("t9").max_task_retry_count == 8
    bench.do(TaskTerminateRequested(job="job", task="t8"))
    assert bench.task("t8").state is TaskState.COMPLETED
    bench.do(TaskDeleteRequested(job="job", task="t7"))
    assert "t7" not in bench.archive.tasks["job"]
    assert bench.job_record().task_counts == Counts(active=7, running=1, failed=1)


# --- terminating


def test_terminated_running_task_is_completed_at_once_and_its_slots_are_free() -> None:
    bench = Bench()
    node = ready(bench, "a", "b")
    attempt = bench.attempt("a")
    task = bench.do(TaskTerminateRequested(job="job", task="a"))
    assert (task.state, task.result, task.exit_code, task.end_time) == (
        TaskState.COMPLETED,
        TaskResult.FAILURE,
        None,
        bench.now,
    )
    assert task.failure == Failure(ErrorCategory.USER_ERROR, "TaskEnded", "Task Was Ended by User Request")
    assert bench.all(StopTask) == [StopTask(node=node, attempt=attempt)]
    assert bench.running() == ["b"]


def test_terminated_waiting_task_never_ran() -> None:
    bench = Bench()
    ready(bench, "a", "b")
    task = bench.do(TaskTerminateRequested(job="job", task="b"))
    assert (task.state, task.start_time, task.node) == (TaskState.COMPLETED, None, None)
    assert bench.all(StopTask) == []


def test_report_of_a_terminated_task_changes_nothing_but_its_usage() -> None:
    bench = Bench()
    ready(bench, "a")
    late = bench.end_event("a", code=0)
    bench.do(TaskTerminateRequested(job="job", task="a"))
    ended = bench.task("a")
    bench.do(late)
    assert replace(bench.task("a"), usage=None) == ended
    assert bench.all(ForgetTask) == [ForgetTask(node=late.node, attempt=late.attempt)]


# --- reactivating


def test_reactivated_task_is_as_new_and_runs_again() -> None:
    bench = Bench()
    ready(bench, "a", max_task_retry_count=1)
    bench.end("a", code=1)
    bench.end("a", code=1)
    before = bench.task("a")
    bench.job("urgent", priority=9)
    bench.tasks("u", job="urgent")
    task = bench.do(TaskReactivateRequested(job="job", task="a"))
    assert task.is_waiting
    assert (task.retry_count, task.last_retry_time, task.exit_code, task.failure, task.result) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert (task.start_time, task.end_time, task.seq) == (None, None, before.seq)
    assert task.last_modified > before.last_modified
    bench.end("u", job="urgent")
    assert bench.running() == ["a"]
    assert bench.task("a").attempt > before.attempt


def test_reactivated_task_waits_until_its_earlier_run_has_ended() -> None:
    bench = Bench()
    (first, _second) = bench.pool(nodes=2)
    bench.job()
    bench.tasks("a")
    assert bench.task("a").node == first
    late = bench.end_event("a", code=-9)
    bench.do(TaskTerminateRequested(job="job", task="a"))
    bench.do(TaskReactivateRequested(job="job", task="a"))
    assert bench.states()["a"] is TaskState.ACTIVE
    assert bench.started() == []
    bench.do(late)
    assert bench.running() == ["a"]
    assert bench.task("a").attempt > late.attempt.attempt


@pytest.mark.parametrize("request_of", [NodeRebootRequested, NodeDeallocateRequested])
@pytest.mark.parametrize("instances", [None, 1])
def test_reactivated_task_does_not_wait_for_a_node_that_has_ended_its_boot(
    request_of: type[NodeRebootRequested | NodeDeallocateRequested], instances: int | None
) -> None:
    bench = Bench()
    (first, second) = bench.pool(nodes=2, enable_inter_node_communication=True)
    bench.job()
    bench.tasks("a", number_of_instances=instances)
    assert bench.task("a").node == first
    late = bench.end_event("a", code=-9)
    bench.do(TaskTerminateRequested(job="job", task="a"), late)
    bench.do(request_of(pool="pool", node=first, option=DeallocationOption.TERMINATE))
    bench.do(TaskReactivateRequested(job="job", task="a"))
    assert bench.running() == ["a"]
    assert bench.task("a").node == second


def test_task_of_a_deleted_one_s_id_waits_until_that_has_ended() -> None:
    bench = Bench()
    bench.pool(nodes=2)
    bench.job()
    bench.tasks("a")
    late = bench.end_event("a", code=0)
    bench.do(TaskDeleteRequested(job="job", task="a"))
    bench.tasks("a")
    assert bench.started() == []
    bench.do(late)
    assert bench.running() == ["a"]  # and is not completed by the other's success
    assert bench.attempt("a") != late.attempt


def test_earlier_run_that_is_waited_for_survives_a_restart() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=2)
    bench.job()
    bench.tasks("a")
    late = bench.attempt("a")
    bench.do(TaskTerminateRequested(job="job", task="a"))
    bench.do(TaskReactivateRequested(job="job", task="a"))
    bench.restart()
    bench.connect(nodes[1])
    assert bench.running() == []
    bench.connect(nodes[0], holding=[late])
    assert bench.running() == []
    assert [stop.attempt for stop in bench.all(StopTask)] == [late]
    bench.connect(nodes[0], holding=[])
    assert bench.running() == ["a"]


def test_task_ended_before_a_restart_waits_for_its_node_when_reactivated_after_it() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=2)
    bench.job()
    bench.tasks("a")
    bench.do(TaskTerminateRequested(job="job", task="a"))
    bench.restart()
    bench.connect(nodes[1])
    bench.do(TaskReactivateRequested(job="job", task="a"))
    assert bench.running() == []
    bench.connect(nodes[0])
    assert bench.running() == ["a"]


# --- deleting


def test_deleted_task_is_gone_with_its_files() -> None:
    bench = Bench()
    node = ready(bench, "a", "b")
    attempt = bench.attempt("a")
    bench.do(TaskDeleteRequested(job="job", task="a"))
    assert "a" not in bench.archive.tasks["job"]
    assert ("job", "a") not in bench.archive.documents
    assert bench.all(StopTask) == [StopTask(node=node, attempt=attempt)]
    assert bench.archive.file_deletions == [FileDeletion(node, "job", "a")]
    assert bench.running() == ["b"]
    assert bench.job_record().task_counts == Counts(running=1)


def test_deleted_waiting_task_leaves_nothing() -> None:
    bench = Bench()
    ready(bench, "a", "b")
    bench.do(TaskDeleteRequested(job="job", task="b"))
    bench.end("a")
    assert bench.started() == []
    assert bench.archive.file_deletions == []


def test_task_of_a_completed_job_can_be_deleted() -> None:
    bench = Bench()
    node = ready(bench, "a")
    bench.end("a")
    bench.do(JobTerminateRequested(job="job"))
    bench.do(TaskDeleteRequested(job="job", task="a"))
    assert bench.job_record().task_counts == Counts()
    assert bench.archive.file_deletions == [FileDeletion(node, "job", "a")]
    assert "job" not in bench.state.jobs


# --- refusals


def asks(task: str, job: str = "job", **fields: Any) -> list[Event]:
    kinds = (TaskChangeRequested, TaskTerminateRequested, TaskDeleteRequested, TaskReactivateRequested)
    return [kind(job=job, task=task, **fields) for kind in kinds]


def test_what_is_not_there_is_refused() -> None:
    bench = Bench()
    assert {bench.refused(event) for event in asks("a")} == {"JobNotFound"}
    bench.job()
    assert {bench.refused(event) for event in asks("a")} == {"TaskNotFound"}


def test_conditions_are_checked() -> None:
    bench = Bench()
    bench.job()
    bench.tasks("a")
    stale = Conditions(if_match=(to_etag(1),))
    assert {bench.refused(event) for event in asks("a", conditions=stale)} == {"ConditionNotMet"}


def test_completed_task_is_not_changed_or_ended_or_reactivated_after_success() -> None:
    bench = Bench()
    ready(bench, "a")
    bench.end("a")
    change, terminate, _, reactivate = asks("a")
    assert bench.refused(change) == "TaskCompleted"
    assert bench.refused(terminate) == "TaskCompleted"
    assert bench.refused(reactivate) == "TaskSucceeded"


def test_task_that_is_not_completed_is_not_reactivated() -> None:
    bench = Bench()
    ready(bench, "a", "b")
    for task in ("a", "b"):
        assert bench.refused(TaskReactivateRequested(job="job", task=task)) == "TaskNotCompleted"


def test_task_of_a_completed_job_is_not_reactivated() -> None:
    bench = Bench()
    ready(bench, "a")
    bench.end("a", code=1)
    bench.do(JobTerminateRequested(job="job"))
    assert bench.refused(TaskReactivateRequested(job="job", task="a")) == "JobCompleted"


def test_report_of_an_unknown_node_is_answered_all_the_same() -> None:
    bench = Bench()
    ready(bench, "a")
    event = bench.end_event("a")
    strange = TaskEnded(
        node="none",
        boot=1,
        attempt=event.attempt,
        start_time=1,
        end_time=2,
        exit_code=0,
        result=TaskResult.SUCCESS,
    )
    bench.do(strange)
    assert bench.running() == ["a"]
    assert [effect.attempt for effect in bench.all(ForgetTask)] == [event.attempt]


def test_replies_are_records() -> None:
    bench = Bench()
    bench.job()
    assert all(isinstance(reply, Task) for reply in bench.tasks("a", "b"))
