"""Handlers: low-priority nodes whose machine the cloud takes away, and gives back when it has one to spare.

On machines of one's own nobody does that by himself, so a person plays the cloud (``millpond preempt``). The node
keeps its id and its place in the pool, whose size is not changed by it; what was on it is lost, and its tasks wait for
another place, as those of any node that is lost. It is ``preempted`` until it is up again.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..errors import error
from ..model.pool import Node, NodeState
from .messages import NodePreemptRequested, PreemptionEnded
from .nodes import await_machine, leave, leave_boot
from .state import State
from .transitions import NODE, NodeTrigger


def on_node_preempt_requested(state: State, event: NodePreemptRequested, now: int) -> Node:
    node = _find(state, event)
    if node.is_dedicated:
        raise error("OperationNotValidOnNode", ("Reason", "Dedicated nodes are not preempted."))
    if (node.state, NodeTrigger.PREEMPT) not in NODE:
        raise error("OperationInvalidForCurrentState", ("Reason", f"The node is {node.state}."))
    is_leaving = node.drain_then is NodeState.LEAVING_POOL
    lost = {"disk": node.disk + 1, "retained_until": None, "preempted_until": now + event.duration}
    leave_boot(state, replace(node, failed_boots=0), NodeTrigger.PREEMPT, now, **lost)
    if is_leaving:
        leave(state, state.nodes[node.key], now)
    else:
        await_machine(state, state.nodes[node.key], now)
    return state.nodes[node.key]


def _find(state: State, event: NodePreemptRequested) -> Node:
    for node in state.nodes.values():
        if node.id == event.node_id and state.pools[node.pool].account == event.account:
            return node
    raise error("NodeNotFound")


def on_preemption_ended(state: State, event: PreemptionEnded, now: int) -> None:
    node = state.nodes.get(event.node)
    if node is not None and node.boot == event.boot and node.state is NodeState.PREEMPTED:
        await_machine(state, node, now)
