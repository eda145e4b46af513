"""What a job runs around its tasks: preparation and release tasks on its nodes, and its manager task."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulation.client import make_task
from tests.unit.engine.bench import FAILED, Bench

from millpond.batch.engine.job_nodes import RELEASE_LIMIT
from millpond.batch.engine.messages import (
    AgentLost,
    AttemptRef,
    ForgetTask,
    JobDeleteRequested,
    JobDisableRequested,
    JobPurged,
    JobTerminateRequested,
    JobTimedOut,
    NodeRebootRequested,
    NodeReimageRequested,
    NodesRemoveRequested,
    PurgeJob,
    RaiseAt,
    ResizeRequested,
    StartTask,
    StopTask,
    SyncNode,
    TaskEnded,
    TasksAddRequested,
    TaskStarted,
    TaskTerminateRequested,
)
from millpond.batch.model.job import DisableTasks, JobState, ManagerTask, PreparationTask, ReleaseTask
from millpond.batch.model.job_node import JobNode, JobTaskKind, JobTaskState
from millpond.batch.model.task import TaskResult, TaskState
from millpond.common.clock import MINUTE
from millpond.common.durations import UNLIMITED
from millpond.common.errors import ServiceError

LIMITS: dict[str, Any] = {"max_wall_clock_time": UNLIMITED, "retention_time": MINUTE}
P, R = JobTaskKind.PREPARATION, JobTaskKind.RELEASE


def prepared_job(bench: Bench, *, release: bool = True, **fields: Any) -> None:
    bench.job(
        preparation=PreparationTask(id="Prep", **{**LIMITS, **fields}),
        release=ReleaseTask(id="Release", **LIMITS) if release else None,
    )


def record(bench: Bench, node: str) -> JobNode:
    return bench.archive.job_nodes["job", node]


def orders(bench: Bench, kind: JobTaskKind) -> list[str]:
    """The nodes that the last batch ordered to run it."""
    return [effect.node for effect in bench.all(StartTask) if effect.kind is kind]


def ended(bench: Bench, node: str, kind: JobTaskKind = P, code: int = 0, attempt: int | None = None) -> TaskEnded:
    run = record(bench, node).preparation if kind is P else record(bench, node).release
    assert run is not None
    return TaskEnded(
        node=node,
        boot=bench.state.nodes[node].boot,
        attempt=AttemptRef("job", "prep" if kind is P else "release", run.attempt if attempt is None else attempt),
        start_time=bench.now,
        end_time=bench.now,
        exit_code=code,
        result=TaskResult.FAILURE if code else TaskResult.SUCCESS,
        failure=FAILED if code else None,
        may_retry=bool(code),
    )


# --- preparation


def test_tasks_wait_in_their_places_until_the_node_is_prepared() -> None:
    bench = Bench()
    (node,) = bench.pool(slots=3)
    prepared_job(bench)
    bench.tasks("a", "b")
    assert bench.states() == {"a": TaskState.PREPARING, "b": TaskState.PREPARING}
    bench.tasks("c", "d")
    assert bench.states()["d"] is TaskState.ACTIVE
    assert bench.job_record().task_counts.running == 3
    assert record(bench, node).preparation.state is JobTaskState.RUNNING
    assert bench.started() == []
    bench.do(ended(bench, node))
    assert bench.started() == ["a", "b", "c"]
    assert bench.running() == ["a", "b", "c"]
    assert bench.job_record().task_counts.running == 3
    assert bench.task("a").start_time == bench.now
    done = record(bench, node).preparation
    assert (done.state, done.exit_code, done.result) == (JobTaskState.COMPLETED, 0, TaskResult.SUCCESS)
    bench.end("a")
    assert bench.started() == ["d"]
    assert bench.node(node).total_tasks_run == 1


def test_preparation_takes_no_slot_and_is_ordered_once() -> None:
    bench = Bench()
    (node,) = bench.pool(slots=2)
    prepared_job(bench)
    bench.tasks("a")
    (order,) = bench.all(StartTask)
    assert (order.node, order.required_slots, order.kind, order.attempt.task) == (node, 0, P, "prep")
    bench.tasks("b")
    assert bench.all(StartTask) == []
    assert bench.state.node_slots[node].free == 0


def test_jobs_without_preparation_have_no_records() -> None:
    bench = Bench()
    bench.pool()
    bench.job()
    bench.tasks("a")
    bench.end("a")
    bench.do(JobTerminateRequested(job="job"))
    assert bench.archive.job_nodes == {}
    assert bench.job_record().state is JobState.COMPLETED


@pytest.mark.parametrize("retries", [0, 2])
def test_preparation_that_fails_for_good_bars_its_node(retries: int) -> None:
    bench = Bench()
    first, second = bench.pool(nodes=2)
    prepared_job(bench, max_task_retry_count=retries)
    bench.tasks("a")
    used = bench.task("a").node
    assert used is not None
    other = second if used == first else first
    for retry in range(retries):
        bench.do(ended(bench, used, code=1))
        assert orders(bench, P) == [used]
        assert record(bench, used).preparation.retry_count == retry + 1
        assert record(bench, used).preparation.last_retry_time == bench.now
    bench.do(ended(bench, used, code=1))
    assert record(bench, used).is_barred
    assert (bench.task("a").state, bench.task("a").node) == (TaskState.PREPARING, other)
    bench.do(ended(bench, other, code=1))
    for _ in range(retries):
        bench.do(ended(bench, other, code=1))
    assert (bench.task("a").state, bench.task("a").retry_count) == (TaskState.ACTIVE, 0)
    bench.job("other")
    bench.tasks("x", "y", job="other")
    assert bench.running("other") == ["x", "y"]


def test_barred_job_does_not_hold_up_others() -> None:
    bench = Bench()
    (node,) = bench.pool(slots=1)
    prepared_job(bench)
    bench.tasks("a", "b")
    bench.do(ended(bench, node, code=1))
    bench.job("other", priority=-5)
    bench.tasks("x", job="other")
    assert bench.running("other") == ["x"]
    (new,) = set(bench.grow(2)) - {node}
    assert bench.task("a").node == new


def test_barred_job_does_not_hold_up_gangs_of_others() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=2, enable_inter_node_communication=True)
    prepared_job(bench)
    bench.tasks("a", "b")
    bench.do(*(ended(bench, node, code=1) for node in nodes))
    bench.tasks("never", number_of_instances=2)
    bench.job("other")
    bench.tasks("gang", job="other", number_of_instances=2)
    assert bench.running("other") == ["gang"]


def test_tasks_that_need_not_wait_start_beside_the_preparation() -> None:
    bench = Bench()
    (node,) = bench.pool(slots=1)
    prepared_job(bench, wait_for_success=False)
    bench.tasks("a", "b")
    assert bench.running() == ["a"]
    bench.do(ended(bench, node, code=1))
    assert not record(bench, node).is_barred
    bench.end("a")
    assert bench.running() == ["b"]
    bench.end("b")
    bench.do(JobTerminateRequested(job="job"))
    assert orders(bench, R) == [node]


@pytest.mark.parametrize(("rerun", "again"), [(True, 1), (False, 0)])
def test_reboot_may_need_another_preparation(rerun: bool, again: int) -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench, rerun_on_node_reboot_after_success=rerun)
    bench.tasks("a", "b")
    bench.do(ended(bench, node))
    bench.do(NodeRebootRequested(pool="pool", node=node))
    bench.do(bench.stopped_event("a"))
    bench.connect(node)
    assert len(orders(bench, P)) == again
    assert bench.task("a").state is (TaskState.PREPARING if again else TaskState.RUNNING)


def test_reboot_during_preparation_begins_it_again_with_the_retries_that_are_left() -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench, max_task_retry_count=1, rerun_on_node_reboot_after_success=False)
    bench.tasks("a")
    bench.do(ended(bench, node, code=1))
    stale = ended(bench, node)
    bench.do(NodeRebootRequested(pool="pool", node=node))
    bench.do(bench.stopped_event("a"))
    bench.do(stale)
    bench.connect(node)
    assert orders(bench, P) == [node]
    assert record(bench, node).preparation.retry_count == 1
    bench.do(ended(bench, node, code=1))
    assert record(bench, node).is_barred


def test_reimage_makes_a_node_new_to_the_job() -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench)
    bench.tasks("a")
    bench.do(ended(bench, node, code=1))
    assert record(bench, node).is_barred
    bench.do(NodeReimageRequested(pool="pool", node=node))
    bench.connect(node)
    assert orders(bench, P) == [node]
    bench.do(ended(bench, node))
    bench.end("a")
    bench.do(NodeReimageRequested(pool="pool", node=node))
    bench.connect(node)
    bench.do(JobTerminateRequested(job="job"))
    assert orders(bench, R) == []
    assert bench.job_record().state is JobState.COMPLETED


def test_waiting_task_can_be_ended_and_its_job_disabled() -> None:
    bench = Bench()
    (node,) = bench.pool(slots=2)
    prepared_job(bench)
    bench.tasks("a", "b")
    bench.do(TaskTerminateRequested(job="job", task="a"))
    assert bench.task("a").state is TaskState.COMPLETED
    bench.do(JobDisableRequested(job="job", disable_tasks=DisableTasks.REQUEUE))
    bench.do(bench.stopped_event("b"))
    assert (bench.task("b").state, bench.job_record().state) == (TaskState.ACTIVE, JobState.DISABLED)
    bench.do(ended(bench, node))
    assert record(bench, node).is_prepared


def test_late_doubled_and_foreign_reports_change_nothing() -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench)
    bench.tasks("a")
    bench.do(ended(bench, node, attempt=77))
    assert bench.task("a").state is TaskState.PREPARING
    end = ended(bench, node)
    bench.do(end, end)
    before = record(bench, node)
    bench.do(end, TaskStarted(node=node, boot=1, attempt=end.attempt, start_time=5))
    assert record(bench, node) == before
    assert bench.all(ForgetTask) == [ForgetTask(node=node, attempt=end.attempt)]


def test_ids_of_preparation_and_release_are_taken() -> None:
    bench = Bench()
    bench.pool()
    prepared_job(bench)
    replies = bench.do(TasksAddRequested(job="job", tasks=[make_task("PREP"), make_task("release"), make_task("a")]))
    codes = [reply.code if isinstance(reply, ServiceError) else reply.id for reply in replies]
    assert codes == ["TaskIdSameAsJobPreparationTask", "TaskIdSameAsJobReleaseTask", "a"]


# --- release


def used(bench: Bench, nodes: int = 1) -> list[str]:
    """A job that has run a task on each of some prepared nodes."""
    keys = bench.pool(nodes=nodes)
    prepared_job(bench)
    names = [f"t{number}" for number in range(nodes)]
    bench.tasks(*names)
    bench.do(*(ended(bench, node) for node in keys))
    for name in names:
        bench.end(name)
    return keys


def test_job_is_over_when_all_its_nodes_are_released() -> None:
    bench = Bench()
    nodes = used(bench, 3)
    bench.do(JobTerminateRequested(job="job"))
    assert sorted(orders(bench, R)) == sorted(nodes)
    assert bench.job_record().state is JobState.TERMINATING
    bench.do(ended(bench, nodes[0], R), ended(bench, nodes[1], R, code=4))
    assert bench.job_record().state is JobState.TERMINATING
    bench.do(ended(bench, nodes[2], R))
    assert bench.job_record().state is JobState.COMPLETED
    done = [record(bench, node).release for node in nodes]
    assert [run and run.exit_code for run in done] == [0, 4, 0]
    bench.do(JobDeleteRequested(job="job"))
    assert orders(bench, R) == []
    assert [effect.job for effect in bench.all(PurgeJob)] == ["job"]


def test_release_waits_for_the_tasks_that_are_being_ended() -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench)
    bench.tasks("a")
    bench.do(ended(bench, node))
    stopped = bench.stopped_event("a")
    bench.do(JobTerminateRequested(job="job"))
    assert orders(bench, R) == []
    bench.do(stopped)
    assert orders(bench, R) == [node]


def test_deleted_job_is_released_before_it_goes() -> None:
    bench = Bench()
    (node,) = used(bench)
    bench.do(JobDeleteRequested(job="job"))
    assert orders(bench, R) == [node]
    assert bench.all(PurgeJob) == []
    bench.do(ended(bench, node, R))
    assert [effect.job for effect in bench.all(PurgeJob)] == ["job"]
    assert [deletion.node for deletion in bench.archive.file_deletions] == [node]
    bench.restart()
    assert [effect.job for effect in bench.all(PurgeJob)] == ["job"]
    bench.do(JobPurged(job="job"))
    assert "job" not in bench.archive.jobs


def test_preparation_under_way_is_ended_with_the_job_and_leaves_nothing_to_release() -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench)
    bench.tasks("a")
    run = record(bench, node).preparation
    bench.do(JobTerminateRequested(job="job"))
    assert [stop.attempt for stop in bench.all(StopTask) if stop.attempt.task == "prep"] == [
        AttemptRef("job", "prep", run.attempt)
    ]
    assert record(bench, node).preparation.result is TaskResult.FAILURE
    assert bench.job_record().state is JobState.COMPLETED


def test_lost_node_never_keeps_a_job_from_ending() -> None:
    bench = Bench()
    (node,) = used(bench)
    bench.do(AgentLost(node=node, boot=1))
    bench.do(JobTerminateRequested(job="job"))
    assert bench.job_record().state is JobState.TERMINATING
    assert any(isinstance(effect.event, JobTimedOut) for effect in bench.all(RaiseAt))
    bench.do(JobTimedOut(job="job"), after=RELEASE_LIMIT)
    assert bench.job_record().state is JobState.COMPLETED


def test_force_does_not_wait_for_nodes_that_do_not_answer() -> None:
    bench = Bench()
    lost, there = used(bench, 2)
    bench.do(AgentLost(node=lost, boot=1))
    bench.do(JobTerminateRequested(job="job"))
    assert bench.refused(JobTerminateRequested(job="job")) == "JobBeingTerminated"
    bench.do(JobTerminateRequested(job="job", force=True))
    assert bench.job_record().state is JobState.TERMINATING
    bench.do(ended(bench, there, R))
    assert bench.job_record().state is JobState.COMPLETED


def test_node_that_goes_or_comes_back_is_dealt_with() -> None:
    bench = Bench()
    gone, back = used(bench, 2)
    bench.do(AgentLost(node=back, boot=1))
    bench.do(NodesRemoveRequested(pool="pool", nodes=[gone], resize_timeout=None))
    bench.do(JobTerminateRequested(job="job"))
    assert orders(bench, R) == []
    bench.connect(back)
    assert orders(bench, R) == [back]
    bench.do(ended(bench, back, R))
    assert bench.job_record().state is JobState.COMPLETED
    assert record(bench, gone).release is None


def test_release_is_ordered_again_after_a_reboot_and_after_a_restart() -> None:
    bench = Bench()
    (node,) = used(bench)
    bench.do(JobTerminateRequested(job="job"))
    first = record(bench, node).release
    bench.do(NodeRebootRequested(pool="pool", node=node))
    bench.connect(node)
    assert orders(bench, R) == [node]
    second = record(bench, node).release
    assert first is not None
    assert second is not None
    assert second.attempt > first.attempt
    bench.restart()
    bench.connect(node)
    (sync,) = bench.all(SyncNode)
    assert [start.attempt.attempt for start in sync.start] == [second.attempt]
    bench.do(ended(bench, node, R))
    assert bench.job_record().state is JobState.COMPLETED


def test_preparation_survives_a_restart() -> None:
    bench = Bench()
    (node,) = bench.pool()
    prepared_job(bench)
    bench.tasks("a")
    attempt = record(bench, node).preparation.attempt
    bench.restart()
    bench.connect(node, holding=[AttemptRef("job", "prep", attempt)])
    (sync,) = bench.all(SyncNode)
    assert [start.attempt.task for start in sync.start] == ["prep"]
    assert bench.all(StopTask) == []
    bench.do(ended(bench, node))
    assert bench.running() == ["a"]


# --- the manager


def managed(bench: Bench, **fields: Any) -> None:
    bench.job(manager=ManagerTask(id="Boss", document=b"{}", **{**LIMITS, **fields}))


def test_manager_is_the_first_task_and_its_end_the_jobs() -> None:
    bench = Bench()
    bench.pool(slots=2)
    managed(bench, run_exclusive=False)
    bench.tasks("a", "b")
    assert bench.running() == ["boss", "a"]
    assert bench.task("boss").id == "Boss"
    bench.end("boss", code=1)
    ended_job = bench.job_record()
    assert (ended_job.state, ended_job.terminate_reason) == (JobState.COMPLETED, "JMComplete")
    assert bench.states() == {"boss": TaskState.COMPLETED, "a": TaskState.COMPLETED, "b": TaskState.ACTIVE}


def test_manager_that_is_retried_has_not_ended() -> None:
    bench = Bench()
    bench.pool()
    managed(bench, max_task_retry_count=1)
    bench.end("boss", code=1)
    assert bench.job_record().state is JobState.ACTIVE
    bench.end("boss", code=1)
    assert bench.job_record().terminate_reason == "JMComplete"


def test_manager_may_leave_its_job_alive() -> None:
    bench = Bench()
    bench.pool()
    managed(bench, kill_job_on_completion=False)
    bench.end("boss")
    assert bench.job_record().state is JobState.ACTIVE


def test_manager_may_want_its_node_for_itself() -> None:
    bench = Bench()
    (node,) = bench.pool(slots=4)
    managed(bench)
    bench.tasks("a", "b")
    assert bench.running() == ["boss"]
    assert bench.job_record().slot_counts.running == 1
    assert bench.state.node_slots[node].free == 0
    bench.restart()
    bench.connect(node, holding=[bench.attempt("boss")])
    assert bench.running() == ["boss"]
    (sync,) = bench.all(SyncNode)
    assert [start.required_slots for start in sync.start] == [4]


def test_manager_may_want_a_dedicated_node_without_keeping_others_back() -> None:
    bench = Bench()
    bench.pool(nodes=0, target_low_priority_nodes=1)
    managed(bench, allow_low_priority_node=False)
    bench.tasks("a")
    assert bench.running() == ["a"]
    bench.grow(1)
    assert "boss" in bench.running()


def test_nodes_of_managers_go_last() -> None:
    bench = Bench()
    bench.pool(nodes=3, slots=2)
    managed(bench)
    bench.tasks("a", "b", "c")
    alone = bench.task("boss").node
    assert alone is not None
    bench.do(
        ResizeRequested(pool="pool", target_dedicated_nodes=1, target_low_priority_nodes=None, resize_timeout=None)
    )
    leaving = [node.key for node in bench.state.nodes.values() if node.state == "leavingpool"]
    assert len(leaving) == 2
    assert alone not in leaving


# --- all together


STEPS = ["task", "prepared", "failed", "end", "reboot", "lose", "back", "restart"]


def happen(bench: Bench, what: str, node: str, number: int) -> None:
    """Let something happen to a node, where it can."""
    known = bench.archive.job_nodes.get(("job", node))
    slots = bench.state.node_slots[node]
    running = [key for _, key in slots.running]
    if what == "task":
        bench.tasks(f"t{number}")
    elif what in ("prepared", "failed") and known and known.preparation.attempt and slots.connected:
        bench.do(ended(bench, node, code=int(what == "failed")))
    elif what == "end" and slots.connected:
        for key in [key for key in running if bench.task(key).state is TaskState.RUNNING][:1]:
            bench.end(key)
    elif what == "reboot" and bench.node(node).state in ("idle", "running"):
        stopped = [bench.stopped_event(key) for key in running]
        bench.do(NodeRebootRequested(pool="pool", node=node), *stopped)
    elif what == "lose" and slots.connected:
        bench.do(AgentLost(node=node, boot=bench.node(node).boot))
    elif what == "back" and not slots.connected:
        bench.connect(node)
    elif what == "restart":
        bench.restart()


def confirm(bench: Bench) -> None:
    """All nodes are there, and do what they were told."""
    for node, slots in bench.state.node_slots.items():
        if not slots.connected:
            bench.connect(node)
        stopped = TaskEnded(
            node=node,
            boot=bench.node(node).boot,
            attempt=AttemptRef("", "", 0),
            start_time=None,
            end_time=bench.now,
            exit_code=None,
            result=TaskResult.FAILURE,
        )
        for key, attempt in list(slots.dying.items()):
            bench.do(replace(stopped, attempt=AttemptRef(*key, attempt)))
        known = bench.archive.job_nodes.get(("job", node))
        if known and known.release and known.release.attempt:
            bench.do(ended(bench, node, R))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_any_story_ends_with_each_node_released(story: list[str]) -> None:
    """The bench checks the invariants after each step: no task runs on a node that is not prepared."""
    bench = Bench()
    nodes = bench.pool(nodes=2, slots=2)
    prepared_job(bench, max_task_retry_count=1)
    for number, what in enumerate(story):
        happen(bench, what, nodes[number % 2], number)
    bench.do(JobTerminateRequested(job="job"))
    for _ in range(3):
        confirm(bench)
    assert bench.job_record().state is JobState.COMPLETED
    for each in bench.archive.job_nodes.values():
        assert not each.needs_release or (each.release is not None and each.release.result is TaskResult.SUCCESS)
