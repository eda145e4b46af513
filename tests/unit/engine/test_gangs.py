"""Multi-instance tasks: all their nodes or none, in order, and everything ends with the primary."""

from __future__ import annotations

import pytest
from tests.simulation.client import make_task
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    AttemptRef,
    JobDisableRequested,
    NodeReleased,
    NodesRemoveRequested,
    RunPrimary,
    StartTask,
    StopTask,
    TaskCoordinated,
    TaskDeleteRequested,
    TaskEnded,
    TaskReactivateRequested,
    TasksAddRequested,
    TaskStarted,
    TaskTerminateRequested,
)
from millpond.batch.model.job import DisableTasks, ManagerTask
from millpond.batch.model.task import Gang, SubtaskState, TaskResult, TaskState, Withdrawal
from millpond.common.clock import MINUTE
from millpond.common.durations import UNLIMITED


def bench_with(nodes: int) -> Bench:
    bench = Bench()
    bench.pool(nodes=nodes, enable_inter_node_communication=True)
    bench.job(max_task_retry_count=1)
    return bench


def gang_of(bench: Bench, task: str = "gang", job: str = "job") -> Gang:
    gang = bench.task(task, job).gang
    assert gang is not None
    return gang


def prepare(bench: Bench, *numbers: int, task: str = "gang") -> None:
    """These instances' coordination commands succeed."""
    for number in numbers:
        node = gang_of(bench, task).instances[number].node
        bench.do(
            TaskStarted(node=node, boot=1, attempt=bench.attempt(task), start_time=bench.now),
            TaskCoordinated(node=node, boot=1, attempt=bench.attempt(task)),
        )


def ended(bench: Bench, number: int, code: int | None, attempt: AttemptRef | None = None) -> TaskEnded:
    node = gang_of(bench).instances[number].node
    return bench.end_event("gang", code=code, node=node, attempt=attempt or bench.attempt("gang"))


def stopped(bench: Bench) -> set[str]:
    return {stop.node for stop in bench.all(StopTask)}


def test_gang_waits_for_all_its_nodes_and_gets_them_at_once() -> None:
    bench = bench_with(3)
    bench.tasks("a", "b")
    bench.tasks("gang", number_of_instances=3)
    assert bench.task("gang").state is TaskState.ACTIVE
    bench.end("a")
    assert bench.started() == []
    bench.end("b")
    assert bench.started() == ["gang"] * 3
    assert len({start.node for start in bench.all(StartTask)}) == 3
    assert [instance.state for instance in gang_of(bench).instances] == [SubtaskState.PREPARING] * 3


def test_free_nodes_are_kept_for_the_first_gang_in_order() -> None:
    bench = bench_with(2)
    bench.tasks("a", "b")
    bench.tasks("gang", number_of_instances=2)
    bench.tasks("c")
    bench.job("urgent", priority=1)
    bench.end("a")
    assert bench.started() == []
    bench.tasks("now", job="urgent")
    assert bench.started() == ["now"]
    bench.end("now", job="urgent")
    bench.end("b")
    assert bench.started() == ["gang", "gang"]
    assert bench.task("c").state is TaskState.ACTIVE


def test_two_gangs_never_wait_for_each_others_nodes() -> None:
    bench = bench_with(3)
    bench.tasks("a")
    bench.tasks("gang", "second", number_of_instances=3)
    bench.end("a")
    assert bench.started() == ["gang"] * 3
    bench.do(TaskTerminateRequested(job="job", task="gang"))
    assert bench.started() == ["second"] * 3


def test_gang_that_the_pool_has_too_few_nodes_for_holds_up_nobody() -> None:
    bench = bench_with(2)
    bench.tasks("gang", number_of_instances=3)
    bench.tasks("a", "b", "c")
    assert bench.running() == ["a", "b"]
    bench.grow(3)
    assert bench.started() == []  # from now on nodes are kept
    bench.end("a")
    bench.end("b")
    assert bench.started() == ["gang"] * 3


@pytest.mark.parametrize(("communicates", "slots"), [(False, 1), (True, 2)])
def test_pool_that_takes_no_gangs_leaves_them_waiting(communicates: bool, slots: int) -> None:
    bench = Bench()
    bench.pool(nodes=2, slots=slots, enable_inter_node_communication=communicates)
    bench.job()
    bench.tasks("gang", number_of_instances=1)
    bench.tasks("a")
    assert bench.running() == ["a"]


def test_primary_runs_its_command_when_all_are_coordinated() -> None:
    bench = bench_with(2)
    bench.tasks("gang", number_of_instances=2)
    prepare(bench, 0)
    assert not bench.all(RunPrimary)
    prepare(bench, 1)
    [order] = bench.all(RunPrimary)
    assert order.node == bench.task("gang").node == gang_of(bench).instances[0].node
    bench.do(ended(bench, 0, 0))
    assert bench.task("gang").result is TaskResult.SUCCESS
    assert stopped(bench) == {gang_of(bench).instances[1].node}
    subtask = gang_of(bench).instances[1]
    assert (subtask.state, subtask.result, subtask.exit_code) == (SubtaskState.COMPLETED, TaskResult.SUCCESS, 0)


def test_failed_coordination_runs_the_whole_again_once_all_has_ended() -> None:
    bench = bench_with(2)
    bench.tasks("gang", number_of_instances=2)
    bench.do(ended(bench, 1, 3))
    assert stopped(bench) == {gang_of(bench).instances[0].node}
    assert (bench.task("gang").withdrawal, bench.started()) == (Withdrawal.RETRY, [])
    bench.do(ended(bench, 0, None))
    assert bench.started() == ["gang", "gang"]
    assert (bench.task("gang").retry_count, bench.task("gang").requeue_count) == (1, 0)
    bench.do(ended(bench, 1, 3))
    task = bench.task("gang")
    assert (task.state, task.result, task.exit_code) == (TaskState.COMPLETED, TaskResult.FAILURE, 3)
    assert gang_of(bench).instances[0].failure is not None


def test_lost_node_requeues_the_whole_without_counting() -> None:
    bench = bench_with(3)
    bench.tasks("gang", number_of_instances=2)
    prepare(bench, 0, 1)
    lost = gang_of(bench).instances[1].node
    bench.do(NodesRemoveRequested(pool="pool", nodes=[lost], resize_timeout=None))
    bench.do(NodeReleased(node=lost))
    assert bench.task("gang").state is TaskState.RUNNING  # the primary is still to end
    bench.do(ended(bench, 0, None))
    assert bench.started() == ["gang", "gang"]
    assert lost not in bench.task("gang").places


def test_disabled_job_has_its_gangs_back_when_all_nodes_have_ended_them() -> None:
    bench = bench_with(2)
    bench.tasks("gang", number_of_instances=2)
    bench.do(JobDisableRequested(job="job", disable_tasks=DisableTasks.REQUEUE))
    assert len(stopped(bench)) == 2
    bench.do(ended(bench, 0, None), ended(bench, 1, None))
    assert (bench.task("gang").state, bench.task("gang").requeue_count) == (TaskState.ACTIVE, 1)


def test_restart_restores_all_places_and_the_order_to_run() -> None:
    bench = bench_with(2)
    bench.tasks("gang", number_of_instances=2)
    prepare(bench, 0, 1)
    bench.restart()
    attempt = bench.attempt("gang")
    nodes = [instance.node for instance in gang_of(bench).instances]
    bench.connect(nodes[1], holding=[attempt])
    assert not bench.all(RunPrimary)
    bench.connect(nodes[0], holding=[attempt])
    assert [order.node for order in bench.all(RunPrimary)] == [nodes[0]]


def test_reactivated_gang_waits_for_the_end_of_its_run_before_on_all_nodes() -> None:
    bench = bench_with(4)
    bench.tasks("gang", number_of_instances=2)
    before, attempt = gang_of(bench), bench.attempt("gang")
    bench.do(TaskTerminateRequested(job="job", task="gang"))
    bench.do(TaskReactivateRequested(job="job", task="gang"))
    assert bench.task("gang").withdrawal is Withdrawal.EARLIER
    bench.restart()
    nodes = list(bench.state.node_slots)
    bench.connect(*(node for node in nodes if node not in {i.node for i in before.instances}))
    bench.connect(before.instances[0].node)
    assert bench.started() == []
    bench.connect(before.instances[1].node, holding=[attempt])
    assert bench.started() == []
    late = bench.end_event("gang", code=None, node=before.instances[1].node, attempt=attempt)
    bench.do(late)
    assert bench.started() == ["gang", "gang"]


def test_files_of_a_deleted_gang_go_from_all_its_nodes() -> None:
    bench = bench_with(2)
    bench.tasks("gang", number_of_instances=2)
    bench.do(TaskDeleteRequested(job="job", task="gang"))
    assert len({deletion.node for deletion in bench.archive.file_deletions}) == 2


def test_a_window_full_of_gangs_that_do_not_fit_holds_up_nobody() -> None:
    bench = Bench(ready_window=4)
    bench.pool(nodes=1, enable_inter_node_communication=True)
    bench.job()
    many = [make_task(f"g{number}", number_of_instances=2) for number in range(10)]
    bench.do(TasksAddRequested(job="job", tasks=many))
    bench.tasks("a")
    assert bench.running() == ["a"]
    bench.grow(2)
    bench.end("a")
    assert bench.started() == ["g0", "g0"]


def test_manager_that_waits_for_a_dedicated_node_does_not_hold_up_the_gangs_of_its_job() -> None:
    bench = Bench()
    bench.pool(nodes=0, target_low_priority_nodes=2, enable_inter_node_communication=True)
    bench.job(
        manager=ManagerTask(
            id="boss",
            document=b"{}",
            max_wall_clock_time=UNLIMITED,
            retention_time=MINUTE,
            allow_low_priority_node=False,
        )
    )
    bench.tasks("gang", number_of_instances=2)
    assert bench.started() == ["gang"] * 2
    assert bench.task("boss").state is TaskState.ACTIVE
