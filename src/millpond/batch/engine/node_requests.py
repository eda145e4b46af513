"""Handlers: what clients ask of nodes."""

from __future__ import annotations

from msgspec.structs import replace

from ..errors import error
from ..model.pool import DeallocationOption, Node, NodeState, PoolState, SchedulingState
from .messages import (
    NodeDeallocateRequested,
    NodeDisableSchedulingRequested,
    NodeEnableSchedulingRequested,
    NodeRebootRequested,
    NodeReimageRequested,
    NodeStartRequested,
)
from .nodes import AFRESH, begin_drain, clear, is_booting, start_deallocated
from .state import State
from .transitions import NODE

#: What a node is told to be that is on its way to something else.
_BUSY = {
    NodeState.CREATING: "NodeBeingCreated",
    NodeState.REBOOTING: "NodeBeingRebooted",
    NodeState.REIMAGING: "NodeBeingReimaged",
    NodeState.UNUSABLE: "NodeStateUnusable",
    NodeState.LEAVING_POOL: "NodeNotReady",
}


def on_node_reboot_requested(state: State, event: NodeRebootRequested, now: int) -> Node:
    return _begin(state, _find(state, event.pool, event.node), event.option, NodeState.REBOOTING, now)


def on_node_reimage_requested(state: State, event: NodeReimageRequested, now: int) -> Node:
    return _begin(state, _find(state, event.pool, event.node), event.option, NodeState.REIMAGING, now)


def on_node_deallocate_requested(state: State, event: NodeDeallocateRequested, now: int) -> Node:
    return _begin(state, _find(state, event.pool, event.node), event.option, NodeState.DEALLOCATING, now)


def _begin(state: State, node: Node, option: DeallocationOption, then: NodeState, now: int) -> Node:
    """Have a node emptied and go on to that state, unless it is on its way already.

    A node that is unusable, or whose start task failed, may be helped by it; the service's own documentation allows it
    for idle and running nodes only, its users do it with all.
    """
    _refuse_busy(node, but=NodeState.UNUSABLE)
    if node.drain_then is not None or (node.state, AFRESH[then]) not in NODE:
        raise error("OperationInvalidForCurrentState")
    begin_drain(state, replace(node, failed_boots=0), option, then, now)
    return state.nodes[node.key]


def on_node_start_requested(state: State, event: NodeStartRequested, now: int) -> Node:
    node = _find(state, event.pool, event.node)
    if node.state is not NodeState.DEALLOCATED or node.drain_then is not None:
        _refuse_busy(node)
        raise error("OperationInvalidForCurrentState", ("Reason", "The node is not deallocated."))
    start_deallocated(state, node, now)
    return state.nodes[node.key]


def on_node_disable_scheduling_requested(state: State, event: NodeDisableSchedulingRequested, now: int) -> Node:
    node = _schedule(state, _find(state, event.pool, event.node), SchedulingState.DISABLED)
    clear(state, node, event.option, now)
    return state.nodes[node.key]


def on_node_enable_scheduling_requested(state: State, event: NodeEnableSchedulingRequested, now: int) -> Node:
    return _schedule(state, _find(state, event.pool, event.node), SchedulingState.ENABLED)


def _schedule(state: State, node: Node, wanted: SchedulingState) -> Node:
    """Whether the node is up does not matter: it is for as long as the node is in its pool."""
    if node.state is NodeState.LEAVING_POOL:
        raise error("NodeNotReady")
    if node.scheduling_state is wanted:
        raise error("NodeAlreadyInTargetSchedulingState")
    node = replace(node, scheduling_state=wanted)
    state.save_node(node)
    return node


def _find(state: State, pool_key: str, node_key: str) -> Node:
    pool = state.pools.get(pool_key)
    if pool is None:
        raise error("PoolNotFound")
    node = state.nodes.get(node_key)
    if node is None or node.pool != pool.key:
        raise error("NodeNotFound")
    if pool.state is PoolState.DELETING:
        raise error("PoolBeingDeleted")
    return node


def _refuse_busy(node: Node, but: NodeState | None = None) -> None:
    if is_booting(node) and node.state is NodeState.STARTING:
        raise error("NodeBeingStarted")
    for state in (node.state, node.drain_then):
        if state in _BUSY and state is not but:
            raise error(_BUSY[state])
