"""What clients ask of nodes: scheduling, reimage, deallocate, start; reboot is in ``test_nodes``."""

from __future__ import annotations

import pytest
from tests.unit.engine.bench import Bench, start_task_ended

from millpond.batch.engine.messages import (
    AgentConnected,
    AgentLost,
    DeallocateNode,
    Event,
    NodeDeallocated,
    NodeDeallocateRequested,
    NodeDisableSchedulingRequested,
    NodeEnableSchedulingRequested,
    NodeEnded,
    NodeNotGranted,
    NodeRebootRequested,
    NodeReimageRequested,
    NodesRemoveRequested,
    NodeStartRequested,
    NodeTroubled,
    PoolDeleteRequested,
    ReleaseNode,
    RequestNode,
    StartTaskReported,
    StopResizeRequested,
    StopTask,
)
from millpond.batch.model.pool import DeallocationOption, NodeError, NodeState, SchedulingState
from millpond.batch.model.task import TaskResult, TaskState

WAIT, KILL, REQUEUE = DeallocationOption.TASK_COMPLETION, DeallocationOption.TERMINATE, DeallocationOption.REQUEUE


def busy_node(bench: Bench) -> str:
    """A node that runs ``t``."""
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("t")
    assert bench.running() == ["t"]
    return node


def disable(node: str, option: DeallocationOption = REQUEUE) -> NodeDisableSchedulingRequested:
    return NodeDisableSchedulingRequested(pool="pool", node=node, option=option)


def enable(node: str) -> NodeEnableSchedulingRequested:
    return NodeEnableSchedulingRequested(pool="pool", node=node)


def deallocated(bench: Bench, node: str) -> None:
    bench.do(NodeDeallocateRequested(pool="pool", node=node))
    bench.do(NodeDeallocated(node=node, boot=bench.node(node).boot))
    assert bench.node(node).state is NodeState.DEALLOCATED


# --- scheduling


def test_disabled_node_is_offline_and_takes_no_tasks_until_it_is_enabled() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.do(disable(node))
    assert (bench.node(node).state, bench.node(node).scheduling_state) == (NodeState.OFFLINE, SchedulingState.DISABLED)
    bench.tasks("t")
    assert bench.running() == []
    bench.do(enable(node))
    assert bench.running() == ["t"]
    assert bench.node(node).state is NodeState.RUNNING


def test_disabling_requeues_tasks_and_the_node_is_offline_when_they_have_ended() -> None:
    bench = Bench()
    node = busy_node(bench)
    bench.do(disable(node))
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["t"]
    assert bench.node(node).state is NodeState.RUNNING
    bench.end("t", code=None)
    assert (bench.task("t").state, bench.task("t").requeue_count) == (TaskState.ACTIVE, 1)
    assert bench.node(node).state is NodeState.OFFLINE


def test_disabling_ends_tasks_for_good_where_asked_to() -> None:
    bench = Bench()
    node = busy_node(bench)
    bench.do(disable(node, KILL))
    task = bench.task("t")
    assert (task.state, task.result) == (TaskState.COMPLETED, TaskResult.FAILURE)
    assert task.failure is not None
    assert task.failure.code == "TaskEnded"
    assert bench.node(node).state is NodeState.OFFLINE


def test_disabling_lets_tasks_run_on_where_asked_to() -> None:
    bench = Bench()
    node = busy_node(bench)
    bench.do(disable(node, WAIT))
    bench.tasks("u")
    assert (bench.running(), bench.ahead(node), bench.node(node).state) == (["t"], [], NodeState.RUNNING)
    bench.end("t")
    assert (bench.running(), bench.node(node).state) == ([], NodeState.OFFLINE)


@pytest.mark.parametrize("then", [NodeRebootRequested, NodeReimageRequested])
def test_scheduling_state_outlives_boots_and_restarts(then: type[Event]) -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(disable(node))
    bench.do(then(pool="pool", node=node))
    bench.connect(node)
    assert bench.node(node).state is NodeState.OFFLINE
    bench.restart()
    bench.connect(node)
    assert bench.node(node).state is NodeState.OFFLINE
    bench.do(AgentLost(node=node, boot=2))
    bench.do(enable(node))
    assert bench.node(node).state is NodeState.UNKNOWN
    bench.connect(node)
    assert bench.node(node).state is NodeState.IDLE


def test_scheduling_state_is_not_set_twice() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    assert bench.refused(enable(node)) == "NodeAlreadyInTargetSchedulingState"
    bench.do(disable(node))
    assert bench.refused(disable(node)) == "NodeAlreadyInTargetSchedulingState"


# --- reimage


def test_reimaged_node_boots_on_a_new_disk_and_runs_its_start_task_again() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.do(StartTaskReported(node=node, boot=1, info=start_task_ended(TaskResult.SUCCESS)))
    bench.do(NodeReimageRequested(pool="pool", node=node))
    [request] = bench.all(RequestNode)
    assert (request.node.boot, request.node.disk, request.node.state) == (2, 2, NodeState.REIMAGING)
    bench.connect(node)
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK
    bench.do(StartTaskReported(node=node, boot=2, info=start_task_ended(TaskResult.SUCCESS)))
    assert bench.node(node).state is NodeState.IDLE


def test_node_that_fails_to_boot_from_its_new_disk_keeps_that_disk() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(NodeReimageRequested(pool="pool", node=node))
    bench.do(NodeEnded(node=node, boot=2, message=""))
    [request] = bench.all(RequestNode)
    assert (request.node.boot, request.node.disk, request.node.state) == (3, 2, NodeState.REIMAGING)


@pytest.mark.parametrize(
    ("request_of", "state"),
    [
        (NodeRebootRequested, NodeState.REBOOTING),
        (NodeReimageRequested, NodeState.REIMAGING),
        (NodeDeallocateRequested, NodeState.DEALLOCATING),
    ],
)
def test_options_say_what_becomes_of_tasks(request_of: type[Event], state: NodeState) -> None:
    bench = Bench()
    node = busy_node(bench)
    bench.do(request_of(pool="pool", node=node, option=WAIT))
    assert (bench.node(node).state, bench.running()) == (NodeState.RUNNING, ["t"])
    bench.end("t")
    assert (bench.node(node).state, bench.node(node).boot) == (state, 2)

    bench = Bench()
    node = busy_node(bench)
    bench.do(request_of(pool="pool", node=node, option=REQUEUE))
    assert (bench.node(node).state, bench.node(node).boot) == (state, 1)
    bench.end("t", code=None)
    assert (bench.node(node).boot, bench.task("t").requeue_count) == (2, 1)

    bench = Bench()
    node = busy_node(bench)
    bench.do(request_of(pool="pool", node=node, option=KILL))
    assert (bench.node(node).boot, bench.task("t").state) == (2, TaskState.COMPLETED)


@pytest.mark.parametrize("request_of", [NodeRebootRequested, NodeReimageRequested, NodeDeallocateRequested])
def test_unusable_and_disabled_nodes_can_boot_anew(request_of: type[Event]) -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(disable(node))
    bench.do(NodeTroubled(node=node, boot=1, error=NodeError("DiskFull", "It is full.")))
    bench.do(request_of(pool="pool", node=node))
    assert bench.node(node).boot == 2
    assert bench.node(node).errors == ()


# --- deallocate and start


def test_deallocated_node_stays_in_its_pool_and_starts_again_on_its_disk() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.do(NodeDeallocateRequested(pool="pool", node=node))
    assert bench.all(DeallocateNode) == [DeallocateNode(node=node, boot=2)]
    assert bench.node(node).state is NodeState.DEALLOCATING
    bench.do(NodeDeallocated(node=node, boot=1))  # stale
    assert bench.node(node).state is NodeState.DEALLOCATING
    bench.do(NodeDeallocated(node=node, boot=2))
    assert bench.node(node).state is NodeState.DEALLOCATED
    bench.do(NodeEnded(node=node, boot=2, message=""), AgentLost(node=node, boot=2))
    assert bench.node(node).state is NodeState.DEALLOCATED
    bench.do(NodeStartRequested(pool="pool", node=node))
    assert [(each.node.boot, each.node.disk) for each in bench.all(RequestNode)] == [(2, 1)]
    bench.do(AgentLost(node=node, boot=2))
    assert bench.node(node).state is NodeState.STARTING
    assert bench.refused(NodeStartRequested(pool="pool", node=node)) == "NodeBeingStarted"
    bench.connect(node)
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK


@pytest.mark.parametrize("stage", ["deallocating", "starting", "reimaging"])
def test_what_was_ordered_is_ordered_again_after_a_restart(stage: str) -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    if stage == "reimaging":
        bench.do(NodeReimageRequested(pool="pool", node=node))
    else:
        bench.do(NodeDeallocateRequested(pool="pool", node=node))
    if stage == "starting":
        bench.do(NodeDeallocated(node=node, boot=2))
        bench.restart()
        assert not bench.all(RequestNode)
        bench.do(NodeStartRequested(pool="pool", node=node))
    bench.restart()
    assert bench.all(DeallocateNode) == ([DeallocateNode(node=node, boot=2)] if stage == "deallocating" else [])
    assert [each.node.boot for each in bench.all(RequestNode)] == ([] if stage == "deallocating" else [2])


def test_node_that_cannot_be_started_is_unusable_and_says_why() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    deallocated(bench, node)
    bench.do(NodeStartRequested(pool="pool", node=node))
    bench.do(NodeNotGranted(node=node, boot=2, code="AllocationFailed", message="No room."))
    assert (bench.node(node).state, bench.node(node).errors[0].message) == (NodeState.UNUSABLE, "No room.")


@pytest.mark.parametrize("option", list(DeallocationOption))
def test_deallocated_node_can_be_removed(option: DeallocationOption) -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    deallocated(bench, node)
    bench.do(NodesRemoveRequested(pool="pool", nodes=[node], resize_timeout=None, deallocation_option=option))
    assert bench.all(ReleaseNode) == [ReleaseNode(node=node)]


def test_pool_with_a_deallocated_node_can_be_deleted() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    deallocated(bench, node)
    bench.do(PoolDeleteRequested(pool="pool"))
    assert bench.all(ReleaseNode) == [ReleaseNode(node=node)]


# --- wrong moments


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (NodeRebootRequested, "NodeBeingRebooted"),
        (NodeReimageRequested, "NodeBeingReimaged"),
        (NodeDeallocateRequested, "OperationInvalidForCurrentState"),
    ],
)
@pytest.mark.parametrize("option", [REQUEUE, WAIT])
@pytest.mark.parametrize(
    "then", [NodeRebootRequested, NodeReimageRequested, NodeDeallocateRequested, NodeStartRequested]
)
def test_one_thing_after_the_other(
    before: type[Event], option: DeallocationOption, code: str, then: type[Event]
) -> None:
    bench = Bench()
    node = busy_node(bench)
    bench.do(before(pool="pool", node=node, option=option))
    assert bench.refused(then(pool="pool", node=node)) == code


def test_refusals_name_what_is_wrong() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    assert bench.refused(NodeStartRequested(pool="pool", node=node)) == "OperationInvalidForCurrentState"
    assert bench.refused(NodeStartRequested(pool="none", node=node)) == "PoolNotFound"
    assert bench.refused(NodeReimageRequested(pool="pool", node="none")) == "NodeNotFound"
    bench.do(NodeTroubled(node=node, boot=1, error=NodeError("DiskFull", "It is full.")))
    assert bench.refused(NodeStartRequested(pool="pool", node=node)) == "NodeStateUnusable"
    bench.do(NodesRemoveRequested(pool="pool", nodes=[node], resize_timeout=None))
    for request in (NodeReimageRequested, NodeDeallocateRequested, NodeStartRequested, NodeDisableSchedulingRequested):
        assert bench.refused(request(pool="pool", node=node)) == "NodeNotReady"


@pytest.mark.parametrize("request_of", [NodeRebootRequested, NodeReimageRequested, NodeDeallocateRequested])
def test_stopped_removal_does_not_forget_what_the_node_was_asked_for_before(request_of: type[Event]) -> None:
    bench = Bench()
    node = busy_node(bench)
    bench.do(request_of(pool="pool", node=node))
    removal = NodesRemoveRequested(pool="pool", nodes=[node], resize_timeout=None, deallocation_option=WAIT)
    bench.do(removal)
    bench.do(StopResizeRequested(pool="pool"))
    bench.end("t", code=None)
    assert bench.node(node).boot == 2


def test_agent_of_an_old_boot_does_not_start_a_node() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    deallocated(bench, node)
    bench.do(NodeStartRequested(pool="pool", node=node))
    event = AgentConnected(node=node, boot=1, ip_address="", agent_version="1", start_task=None)
    assert bench.refused(event) == "NodeNotReady"
