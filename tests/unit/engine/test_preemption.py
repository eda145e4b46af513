from __future__ import annotations

import pytest
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    AgentConnected,
    DeallocateNode,
    Event,
    NodeEnded,
    NodeNotGranted,
    NodePreemptRequested,
    NodeRebootRequested,
    NodeReleased,
    NodesRemoveRequested,
    ReleaseNode,
    RequestNode,
    ResizeRequested,
)
from millpond.batch.model.pool import AllocationState, DeallocationOption, NodeState
from millpond.common.clock import MINUTE, SECOND


def spot(bench: Bench, count: int = 1) -> list[str]:
    """Low-priority nodes that are up."""
    return bench.pool(nodes=0, target_low_priority_nodes=count)


def preempt(bench: Bench, node: str, seconds: int = 30) -> NodePreemptRequested:
    return NodePreemptRequested(account="a", node_id=bench.node(node).id, duration=seconds * SECOND)


def wait(bench: Bench, duration: int) -> None:
    """Have the moments come that were asked for."""
    end = bench.now + duration
    for timer in sorted((one for one in bench.timers if bench.now <= one.moment <= end), key=lambda one: one.moment):
        bench.timers.remove(timer)
        bench.do(timer.event, after=max(0, timer.moment - bench.now))
    bench.now = end


def test_preempted_node_comes_back_with_its_id_and_an_empty_disk() -> None:
    bench = Bench()
    (node,) = spot(bench)
    before = bench.node(node)
    bench.do(preempt(bench, node))
    lost = bench.node(node)
    assert (lost.state, lost.boot, lost.disk) == (NodeState.PREEMPTED, before.boot + 1, before.disk + 1)
    assert [effect.node for effect in bench.all(DeallocateNode)] == [node]
    assert bench.pool_record().allocation_state is AllocationState.STEADY
    wait(bench, 29 * SECOND)
    assert not bench.all(RequestNode)
    wait(bench, SECOND)
    assert [(effect.node.key, effect.node.boot) for effect in bench.all(RequestNode)] == [(node, 2)]
    assert bench.node(node).state is NodeState.PREEMPTED
    bench.connect(node)
    back = bench.node(node)
    assert (back.id, back.state, back.preempted_until) == (before.id, NodeState.IDLE, None)


def test_tasks_of_a_preempted_node_run_again_elsewhere() -> None:
    bench = Bench()
    first, second = spot(bench, 2)
    bench.job()
    bench.tasks("t")
    place, other = (first, second) if bench.task("t").node == first else (second, first)
    bench.do(preempt(bench, place))
    task = bench.task("t")
    assert (task.node, task.attempt) == (other, 2)
    assert (task.retry_count, task.requeue_count) == (0, 0)  # nobody asked for it


def test_agent_of_a_preempted_node_is_refused() -> None:
    bench = Bench()
    (node,) = spot(bench)
    bench.do(preempt(bench, node))
    event = AgentConnected(node=node, boot=1, ip_address="", agent_version="", start_task=None)
    assert bench.refused(event) == "NodeNotReady"


def test_dedicated_and_unknown_nodes_are_not_preempted() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    assert bench.refused(preempt(bench, node)) == "OperationNotValidOnNode"
    assert bench.refused(NodePreemptRequested(account="a", node_id="none", duration=0)) == "NodeNotFound"
    other = NodePreemptRequested(account="b", node_id=bench.node(node).id, duration=0)
    assert bench.refused(other) == "NodeNotFound"


def test_node_that_is_preempted_or_leaving_is_not_preempted() -> None:
    bench = Bench()
    first, second = spot(bench, 2)
    bench.do(preempt(bench, first))
    assert bench.refused(preempt(bench, first)) == "OperationInvalidForCurrentState"
    bench.do(NodesRemoveRequested(pool="pool", nodes=[second], resize_timeout=None))
    assert bench.refused(preempt(bench, second)) == "OperationInvalidForCurrentState"


@pytest.mark.parametrize(
    "news",
    [
        NodeNotGranted(node="", boot=2, code="AllocationFailed", message="No room."),
        NodeEnded(node="", boot=2, message="It died."),
    ],
)
def test_pool_tries_again_where_there_is_no_machine_yet(news: Event) -> None:
    bench = Bench()
    (node,) = spot(bench)
    bench.do(preempt(bench, node, 0))
    assert bench.all(RequestNode)
    kind = type(news)
    fields = {name: getattr(news, name) for name in news.__struct_fields__} | {"node": node}
    bench.do(kind(**fields))
    assert bench.node(node).state is NodeState.PREEMPTED
    assert bench.pool_record().allocation_state is AllocationState.STEADY
    if not bench.all(RequestNode):
        wait(bench, MINUTE)
    assert bench.all(RequestNode)
    bench.connect(node)
    assert bench.node(node).state is NodeState.IDLE


def test_smaller_pool_gives_up_preempted_nodes_first() -> None:
    bench = Bench()
    nodes = spot(bench, 3)
    bench.do(preempt(bench, nodes[1]))
    bench.do(
        ResizeRequested(pool="pool", target_dedicated_nodes=None, target_low_priority_nodes=2, resize_timeout=None)
    )
    assert [effect.node for effect in bench.all(ReleaseNode)] == [nodes[1]]
    bench.do(NodeReleased(node=nodes[1]))
    wait(bench, MINUTE)
    assert nodes[1] not in bench.archive.nodes


def test_node_that_was_to_leave_after_its_tasks_leaves_when_preempted() -> None:
    bench = Bench()
    (node,) = spot(bench)
    bench.job()
    bench.tasks("t")
    bench.do(
        ResizeRequested(
            pool="pool",
            target_dedicated_nodes=None,
            target_low_priority_nodes=0,
            resize_timeout=None,
            deallocation_option=DeallocationOption.TASK_COMPLETION,
        )
    )
    bench.do(preempt(bench, node))
    assert bench.node(node).state is NodeState.LEAVING_POOL
    assert bench.task("t").is_waiting


def test_node_that_was_to_reboot_after_its_tasks_is_preempted_all_the_same() -> None:
    bench = Bench()
    (node,) = spot(bench)
    bench.job()
    bench.tasks("t")
    bench.do(NodeRebootRequested(pool="pool", node=node, option=DeallocationOption.TASK_COMPLETION))
    bench.do(preempt(bench, node))
    assert (bench.node(node).state, bench.node(node).drain_then) == (NodeState.PREEMPTED, None)


def test_preemption_outlives_a_restart() -> None:
    bench = Bench()
    (node,) = spot(bench)
    bench.do(preempt(bench, node))
    bench.restart()
    assert [effect.node for effect in bench.all(DeallocateNode)] == [node]
    wait(bench, 30 * SECOND)
    assert [effect.node.boot for effect in bench.all(RequestNode)] == [2]
    bench.restart()
    assert not bench.all(DeallocateNode)
    assert [effect.node.boot for effect in bench.all(RequestNode)] == [2]
