"""What a pool's autoscale formula can know of it: its metrics at this moment, taken from the working set."""

from __future__ import annotations

from ..model.job import JobState
from ..model.pool import Node, NodeState, Pool
from .autoscale import PERIOD, over_nodes
from .slots import PoolSlots
from .state import State

#: Sums over what happened since the sample before; all others say how things are.
FLOWS = ("$SucceededTasks", "$FailedTasks")


def sample(state: State, pool: Pool, now: int) -> dict[str, float]:
    """The pool's metrics, by the names that formulas have for them."""
    slots = state.pool_slots[pool.key]
    nodes = [state.nodes[key] for key in slots.nodes]
    lately = [node.usage for node in slots.nodes.values() if now - node.measured < 2 * PERIOD]
    values = {**_tasks(state, slots), **_nodes(slots, nodes), **over_nodes(filter(None, lately))}
    return {"$TaskSlotsPerNode": pool.task_slots_per_node, **values}


def _tasks(state: State, slots: PoolSlots) -> dict[str, float]:
    """Those that may run: not what waits for other tasks, in a disabled job, or was left behind by one that ended."""
    active = running = active_slots = running_slots = 0
    for key in slots.jobs:
        job = state.jobs[key]
        running += job.task_counts.running
        running_slots += job.slot_counts.running
        if job.state is JobState.ACTIVE:
            active += job.task_counts.active - job.held_back
            active_slots += job.slot_counts.active - job.held_back_slots
    return {
        "$ActiveTasks": active,
        "$RunningTasks": running,
        "$PendingTasks": active + running,
        "$RunningTaskSlots": running_slots,
        "$PendingTaskSlots": active_slots + running_slots,
        "$SucceededTasks": slots.succeeded,
        "$FailedTasks": slots.failed,
    }


def _nodes(slots: PoolSlots, nodes: list[Node]) -> dict[str, float]:
    dedicated = sum(node.is_dedicated for node in nodes)
    return {
        "$CurrentDedicatedNodes": dedicated,
        "$CurrentLowPriorityNodes": len(nodes) - dedicated,
        "$PreemptedNodeCount": sum(node.state is NodeState.PREEMPTED for node in nodes),
        "$UsableNodeCount": sum(node.is_open for node in slots.nodes.values()),
    }
