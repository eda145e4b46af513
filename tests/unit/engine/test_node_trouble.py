"""Nodes that cannot work for a while, and say why."""

from __future__ import annotations

from tests.unit.engine.bench import Bench, start_task_ended

from millpond.batch.engine.messages import (
    AgentLost,
    NodeDisableSchedulingRequested,
    NodeRecovered,
    NodeTroubled,
    StartTaskReported,
    StopTask,
)
from millpond.batch.model.pool import NodeError, NodeState
from millpond.batch.model.task import TaskResult, TaskState

FULL = NodeError("DiskFull", "It is full.", (("FreeBytes", "7"),))


def test_node_with_a_full_disk_gives_its_tasks_back_and_works_again_when_there_is_room() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("t")
    bench.do(NodeTroubled(node=node, boot=1, error=FULL))
    assert (bench.node(node).state, bench.node(node).errors) == (NodeState.UNUSABLE, (FULL,))
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["t"]
    bench.do(NodeRecovered(node=node, boot=1))
    assert (bench.node(node).state, bench.node(node).errors) == (NodeState.RUNNING, ())
    bench.end("t", code=None)
    task = bench.task("t")
    assert (task.state, task.requeue_count, task.attempt) == (TaskState.RUNNING, 0, 2)


def test_node_that_recovers_still_is_what_its_start_task_and_its_scheduling_leave_it() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.do(NodeTroubled(node=node, boot=1, error=FULL))
    bench.do(NodeRecovered(node=node, boot=1))
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK
    bench.do(NodeTroubled(node=node, boot=1, error=FULL))
    bench.do(StartTaskReported(node=node, boot=1, info=start_task_ended(TaskResult.FAILURE)))
    bench.do(NodeRecovered(node=node, boot=1))
    assert bench.node(node).state is NodeState.START_TASK_FAILED

    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(NodeDisableSchedulingRequested(pool="pool", node=node), NodeTroubled(node=node, boot=1, error=FULL))
    bench.do(NodeRecovered(node=node, boot=1))
    assert bench.node(node).state is NodeState.OFFLINE


def test_recovery_of_a_node_that_is_well_or_of_an_earlier_boot_is_no_news() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(NodeRecovered(node=node, boot=1))
    assert bench.node(node).state is NodeState.IDLE
    bench.do(NodeTroubled(node=node, boot=1, error=FULL))
    bench.do(NodeRecovered(node=node, boot=0))
    assert bench.node(node).state is NodeState.UNUSABLE


def test_node_that_is_not_heard_of_says_so_until_it_is_back() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(AgentLost(node=node, boot=1))
    assert [error.code for error in bench.node(node).errors] == ["NodeUnreachable"]
    bench.connect(node)
    assert bench.node(node).errors == ()
