from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from tests.simulation.client import make_pool
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    AgentConnected,
    NodeNotGranted,
    NodeReleased,
    NodesRemoveRequested,
    PoolAddRequested,
    PoolDeleteRequested,
    PoolPatchRequested,
    RaiseAt,
    ReleaseNode,
    RequestNode,
    ResizeRequested,
    ResizeTimedOut,
    RetentionEnded,
    StopResizeRequested,
    StopTask,
)
from millpond.batch.model.pool import AllocationState, AutoScale, DeallocationOption, NodeState, PoolState
from millpond.batch.model.task import TaskState
from millpond.common.clock import MINUTE, SECOND, to_etag
from millpond.common.conditions import Conditions


def resize(dedicated: int | None, low: int | None = None, **fields: object) -> ResizeRequested:
    event = ResizeRequested(
        pool="pool", target_dedicated_nodes=dedicated, target_low_priority_nodes=low, resize_timeout=None
    )
    return replace(event, **fields)


def released(bench: Bench) -> list[str]:
    return [effect.node for effect in bench.all(ReleaseNode)]


def release(bench: Bench, *nodes: str) -> None:
    bench.do(*[NodeReleased(node=node) for node in nodes])


# --- adding


def test_pool_without_nodes_is_steady_at_once() -> None:
    bench = Bench()
    pool = bench.do(PoolAddRequested(pool=make_pool("pool", 0, 1)))
    assert (pool.state, pool.allocation_state) == (PoolState.ACTIVE, AllocationState.STEADY)
    assert pool.creation_time == pool.last_modified == bench.now
    assert bench.effects == []


def test_pool_requests_its_nodes_and_is_steady_when_they_are_there() -> None:
    bench = Bench()
    pool = bench.do(PoolAddRequested(pool=make_pool("pool", 2, 1, low_priority=1)))
    assert pool.allocation_state is AllocationState.RESIZING
    nodes = [effect.node for effect in bench.all(RequestNode)]
    assert [node.is_dedicated for node in nodes] == [True, True, False]
    assert [node.number for node in nodes] == [1, 2, 3]
    assert all(re.fullmatch(r"tvmps_[0-9a-f]{64}_[dp]", node.id) for node in nodes)
    assert [node.id[-1] for node in nodes] == ["d", "d", "p"]
    bench.connect(nodes[0].key, nodes[1].key)
    assert bench.pool_record().allocation_state is AllocationState.RESIZING
    bench.connect(nodes[2].key)
    pool = bench.pool_record()
    assert (pool.allocation_state, pool.resize_started) == (AllocationState.STEADY, None)
    assert pool.allocation_state_transition_time == bench.now


def test_node_ids_depend_on_the_pool_and_its_creation() -> None:
    bench = Bench()
    first = bench.pool(nodes=1)[0]
    bench.do(PoolDeleteRequested(pool="pool"))
    release(bench, first)
    assert bench.pool(nodes=1)[0] != first


def test_pool_that_exists_is_refused() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    assert bench.refused(PoolAddRequested(pool=make_pool("pool", 1, 1))) == "PoolExists"
    bench.do(PoolDeleteRequested(pool="pool"))
    assert bench.refused(PoolAddRequested(pool=make_pool("pool", 1, 1))) == "PoolBeingDeleted"


# --- resizing


def test_resize_grows_the_pool_and_changes_its_etag() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    before = bench.pool_record()
    pool = bench.do(resize(3))
    assert (pool.target_dedicated_nodes, pool.resize_timeout) == (3, 15 * MINUTE)
    assert pool.last_modified > before.last_modified
    nodes = [effect.node.key for effect in bench.all(RequestNode)]
    assert len(nodes) == 2
    bench.connect(*nodes)
    after = bench.pool_record()
    assert after.allocation_state is AllocationState.STEADY
    assert after.last_modified == pool.last_modified  # progress is no modification


@pytest.mark.parametrize(
    "event",
    [
        resize(5),
        NodesRemoveRequested(pool="pool", nodes=["x"], resize_timeout=None),
    ],
)
def test_size_is_not_changed_while_a_resize_is_under_way(event: ResizeRequested | NodesRemoveRequested) -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 1, 1)))
    assert bench.refused(event) == "PoolBeingResized"


def test_resize_of_a_pool_that_is_not_there_or_is_scaled_by_formula_is_refused() -> None:
    bench = Bench()
    assert bench.refused(resize(1)) == "PoolNotFound"
    bench.pool(nodes=0, auto_scale=AutoScale(formula="$TargetDedicatedNodes = 0;", evaluation_interval=5 * MINUTE))
    assert bench.refused(resize(1)) == "OperationInvalidForCurrentState"


def test_resize_to_the_present_size_is_over_at_once() -> None:
    bench = Bench()
    bench.pool(nodes=2)
    bench.do(resize(2))
    assert bench.pool_record().allocation_state is AllocationState.STEADY
    assert not bench.all(RequestNode)
    assert not bench.all(ReleaseNode)


def test_shrinking_takes_idle_nodes_first() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=3, slots=1)
    bench.job()
    bench.tasks("a", "b")
    idle = [node for node in nodes if bench.node(node).state is NodeState.IDLE]
    bench.do(resize(2))
    assert released(bench) == idle
    assert bench.node(idle[0]).state is NodeState.LEAVING_POOL
    release(bench, *idle)
    assert idle[0] not in bench.archive.nodes
    assert bench.pool_record().allocation_state is AllocationState.STEADY


def test_requeue_sends_running_tasks_back_and_counts_it() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("t")
    bench.do(resize(0, deallocation_option=DeallocationOption.REQUEUE))
    assert released(bench) == [node]
    assert bench.node(node).state is NodeState.LEAVING_POOL
    assert bench.running() == ["t"]  # until it is certain that it does not run any more
    release(bench, node)
    task = bench.task("t")
    assert task.is_waiting
    assert (task.requeue_count, task.retry_count, task.last_requeue_time) == (1, 0, bench.now)


def test_requeued_task_waits_as_soon_as_its_node_has_stopped_it() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    bench.job()
    bench.tasks("t")
    bench.do(resize(0))
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["t"]
    bench.end("t", code=-9)
    assert bench.task("t").is_waiting
    assert bench.task("t").requeue_count == 1


def test_terminate_ends_running_tasks_for_good() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("t")
    bench.do(resize(0, deallocation_option=DeallocationOption.TERMINATE))
    assert released(bench) == [node]
    task = bench.task("t")
    assert task.state is TaskState.COMPLETED
    assert task.failure is not None
    assert (task.failure.category, task.failure.code) == ("servererror", "TaskEnded")


def test_taskcompletion_lets_tasks_run_on_and_places_no_new_ones() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, slots=2)
    bench.job()
    bench.tasks("a")
    bench.do(resize(0, deallocation_option=DeallocationOption.TASK_COMPLETION))
    bench.tasks("b")
    assert bench.running() == ["a"]
    assert released(bench) == []
    assert bench.node(node).state is NodeState.RUNNING
    bench.end("a")
    assert bench.states() == {"a": TaskState.COMPLETED, "b": TaskState.ACTIVE}
    assert released(bench) == [node]


def test_node_whose_tasks_outlast_the_resize_timeout_stays() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, slots=2)
    bench.job()
    bench.tasks("a")
    bench.do(resize(0, deallocation_option=DeallocationOption.TASK_COMPLETION))
    started = bench.pool_record().resize_started
    assert started is not None
    bench.do(ResizeTimedOut(pool="pool", resize_started=started), after=15 * MINUTE)
    pool = bench.pool_record()
    assert (pool.allocation_state, pool.target_dedicated_nodes) == (AllocationState.STEADY, 0)
    assert [(problem.code, problem.message) for problem in pool.resize_errors] == [
        (
            "AllocationTimedout",
            "Desired number of dedicated nodes could not be allocated as the resize timeout was reached",
        )
    ]
    bench.tasks("b")
    assert bench.running() == ["a", "b"]
    assert bench.node(node).drain_then is None
    bench.do(resize(0))
    assert released(bench) == [node]


def test_retaineddata_keeps_the_node_until_its_files_have_expired() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("a", retention_time=10 * MINUTE)
    bench.do(resize(0, deallocation_option=DeallocationOption.RETAINED_DATA))
    bench.end("a")
    assert released(bench) == []
    ended = bench.task("a").end_time
    assert ended is not None
    assert RaiseAt(moment=ended + 10 * MINUTE, event=RetentionEnded(node=node)) in bench.effects
    bench.do(RetentionEnded(node=node), after=10 * MINUTE)
    assert released(bench) == [node]


def test_resize_timeout_leaves_a_smaller_pool_with_an_error() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 2, 1)))
    nodes = [effect.node.key for effect in bench.all(RequestNode)]
    timer = next(effect for effect in bench.all(RaiseAt) if isinstance(effect.event, ResizeTimedOut))
    assert timer.moment == bench.now + 15 * MINUTE
    bench.connect(nodes[0])
    bench.do(timer.event, after=15 * MINUTE)
    assert released(bench) == [nodes[1]]
    release(bench, nodes[1])
    pool = bench.pool_record()
    assert pool.allocation_state is AllocationState.STEADY
    assert [problem.code for problem in pool.resize_errors] == ["AllocationTimedout"]
    assert pool.target_dedicated_nodes == 2


def test_timer_of_an_earlier_resize_does_nothing() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    first = bench.now
    bench.do(resize(2))
    bench.do(ResizeTimedOut(pool="pool", resize_started=first), after=SECOND)
    assert bench.all(ReleaseNode) == []
    assert bench.pool_record().resize_errors == ()


def test_refused_node_becomes_a_resize_error_which_the_next_resize_clears() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 2, 1)))
    nodes = [effect.node.key for effect in bench.all(RequestNode)]
    bench.connect(nodes[0])
    bench.do(NodeNotGranted(node=nodes[1], boot=1, code="AccountCoreQuotaReached", message="No more cores."))
    release(bench, nodes[1])
    pool = bench.pool_record()
    assert pool.allocation_state is AllocationState.STEADY
    assert [(problem.code, problem.message) for problem in pool.resize_errors] == [
        ("AccountCoreQuotaReached", "No more cores.")
    ]
    assert list(bench.archive.nodes) == [nodes[0]]
    assert bench.do(resize(2)).resize_errors == ()


def test_same_refusal_of_many_nodes_is_one_error() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 3, 1)))
    refusals = [
        NodeNotGranted(node=effect.node.key, boot=1, code="AllocationFailed", message="No room.")
        for effect in bench.all(RequestNode)
    ]
    bench.do(*refusals)
    assert len(bench.pool_record().resize_errors) == 1


# --- stopping a resize


def test_stopped_resize_keeps_what_is_there_and_the_targets() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 2, 1, low_priority=1)))
    nodes = [effect.node.key for effect in bench.all(RequestNode)]
    bench.connect(nodes[0])
    modified = bench.pool_record().last_modified
    pool = bench.do(StopResizeRequested(pool="pool"))
    assert pool.allocation_state is AllocationState.STOPPING
    assert pool.last_modified == modified
    release(bench, *nodes[1:])
    pool = bench.pool_record()
    assert pool.allocation_state is AllocationState.STEADY
    assert (pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (2, 1)
    assert [(e.code, "dedicated" in e.message, "low priority" in e.message) for e in pool.resize_errors] == [
        ("ResizeStopped", True, False),
        ("ResizeStopped", False, True),
    ]


def test_stopped_shrinking_keeps_nodes_that_still_have_tasks() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, slots=2)
    bench.job()
    bench.tasks("a")
    bench.do(resize(0, deallocation_option=DeallocationOption.TASK_COMPLETION))
    bench.do(StopResizeRequested(pool="pool"))
    bench.tasks("b")
    assert bench.running() == ["a", "b"]
    assert bench.node(node).drain_then is None
    assert bench.pool_record().allocation_state is AllocationState.STEADY


def test_stop_is_refused_while_nothing_is_resized() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    assert bench.refused(StopResizeRequested(pool="pool")) == "PoolNotBeingResized"


# --- removing nodes


def test_removed_nodes_lower_the_targets() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=3, target_low_priority_nodes=1)
    removed = [nodes[1], nodes[3]]
    pool = bench.do(NodesRemoveRequested(pool="pool", nodes=[*removed, removed[0]], resize_timeout=None))
    assert (pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (2, 0)
    assert pool.allocation_state is AllocationState.RESIZING
    assert released(bench) == removed
    release(bench, *removed)
    assert bench.pool_record().allocation_state is AllocationState.STEADY
    assert set(bench.archive.nodes) == {nodes[0], nodes[2]}


def test_removing_a_node_of_another_pool_is_refused() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    other = bench.pool(nodes=1, key="other")
    assert bench.refused(NodesRemoveRequested(pool="pool", nodes=other, resize_timeout=None)) == "NodeNotFound"


# --- patching


def test_patch_replaces_and_drops_members_of_the_document() -> None:
    bench = Bench()
    bench.pool(nodes=0, document={"metadata": [1], "startTask": {"a": 1}, "displayName": "x"})
    event = PoolPatchRequested(
        pool="pool", document={"metadata": [2]}, drop=["startTask"], start_task_wait_for_success=None
    )
    pool = bench.do(event)
    assert pool.document == {"metadata": [2], "displayName": "x"}


def test_patch_that_needs_an_empty_pool_is_refused_while_there_are_nodes() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    event = PoolPatchRequested(pool="pool", document={}, task_slots_per_node=4, needs_empty_pool=True)
    assert bench.refused(event) == "OperationInvalidForCurrentState"


def test_more_slots_per_node_let_bigger_tasks_run() -> None:
    bench = Bench()
    bench.pool(nodes=0, slots=1)
    bench.job()
    bench.tasks("big", required_slots=4)
    bench.do(PoolPatchRequested(pool="pool", document={}, task_slots_per_node=4, needs_empty_pool=True))
    bench.do(resize(1))
    bench.connect(*[effect.node.key for effect in bench.all(RequestNode)])
    assert bench.running() == ["big"]


def test_conditions_are_checked() -> None:
    bench = Bench()
    bench.pool(nodes=0)
    stale = Conditions(if_match=(to_etag(1),))
    events = [
        PoolPatchRequested(pool="pool", document={}, conditions=stale),
        PoolDeleteRequested(pool="pool", conditions=stale),
        StopResizeRequested(pool="pool", conditions=stale),
        resize(1, conditions=stale),
        NodesRemoveRequested(pool="pool", nodes=[], resize_timeout=None, conditions=stale),
    ]
    assert [bench.refused(event) for event in events] == ["ConditionNotMet"] * 5
    current = Conditions(if_match=(to_etag(bench.pool_record().last_modified),))
    bench.do(PoolPatchRequested(pool="pool", document={"a": 1}, conditions=current))
    assert bench.refused(PoolPatchRequested(pool="pool", document={}, conditions=current)) == "ConditionNotMet"


def test_modifications_at_one_moment_have_different_etags() -> None:
    bench = Bench()
    bench.pool(nodes=0)
    moments = [bench.do(PoolPatchRequested(pool="pool", document={}), after=0).last_modified for _ in range(3)]
    assert len(set(moments)) == 3


# --- deleting


def test_deleted_pool_goes_when_its_nodes_have() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=2)
    bench.job()
    bench.tasks("a")
    bench.do(PoolDeleteRequested(pool="pool"))
    assert bench.pool_record().state is PoolState.DELETING
    assert sorted(released(bench)) == sorted(nodes)
    release(bench, nodes[0])
    assert "pool" in bench.archive.pools
    release(bench, nodes[1])
    assert "pool" not in bench.archive.pools
    assert bench.task("a").is_waiting
    assert bench.job_record().state == "active"


def test_empty_pool_is_deleted_at_once() -> None:
    bench = Bench()
    bench.pool(nodes=0)
    bench.do(PoolDeleteRequested(pool="pool"))
    assert bench.archive.pools == {}


def test_deletion_overrides_a_gentler_resize() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("a")
    bench.do(resize(0, deallocation_option=DeallocationOption.TASK_COMPLETION))
    bench.do(PoolDeleteRequested(pool="pool"))
    assert released(bench) == [node]


def test_pool_being_deleted_refuses_everything() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    bench.do(PoolDeleteRequested(pool="pool"))
    events = [
        PoolDeleteRequested(pool="pool"),
        PoolPatchRequested(pool="pool", document={}),
        resize(3),
        StopResizeRequested(pool="pool"),
        NodesRemoveRequested(pool="pool", nodes=[], resize_timeout=None),
    ]
    assert {bench.refused(event) for event in events} == {"PoolBeingDeleted"}


def test_tasks_run_on_in_a_new_pool_of_the_same_id() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("a")
    bench.do(PoolDeleteRequested(pool="pool"))
    release(bench, node)
    bench.pool(nodes=1)
    assert bench.running() == ["a"]
    assert bench.task("a").requeue_count == 1


def test_agent_of_a_leaving_node_is_refused() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(resize(0))
    event = AgentConnected(node=node, boot=1, ip_address="", agent_version="", start_task=None)
    assert bench.refused(event) == "NodeNotReady"
