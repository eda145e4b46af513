"""Why a multi-instance task waits for its nodes, or its nodes for one another."""

from __future__ import annotations

from ...model.pool import AllocationState, Pool
from ...model.task import SubtaskState, Task
from .facts import NodeFacts
from .reasons import Log, Reason, count, listed, told


def unfit_pool(task: Task, pool: Pool) -> list[Reason]:
    """Why a pool takes no multi-instance tasks at all."""
    if task.gang is None or (pool.enable_inter_node_communication and pool.task_slots_per_node == 1):
        return []
    message = (
        f"It is a multi-instance task, and pool {pool.id} takes none: that takes inter-node communication and one task "
        "slot for each node."
    )
    return [Reason(code="PoolTakesNoMultiInstanceTasks", message=message, needs_help=True)]


def for_nodes(size: int, pool: Pool, nodes: list[NodeFacts], total: int, before: str) -> Reason:
    """Of one that needs this many of the nodes at once; the pool has ``total``."""
    free = sum(not each.tasks for each in nodes)
    values = {"needed_nodes": size, "free_nodes": free, "open_nodes": len(nodes), "nodes": total}
    if len(nodes) < size:
        is_stuck = total < size and pool.allocation_state is AllocationState.STEADY and pool.auto_scale is None
        help_ = f" Pool {pool.id} has {count(total, 'node')} in all: resize it." if is_stuck else ""
        there = f"{len(nodes)} {'takes' if len(nodes) == 1 else 'take'} tasks"
        message = f"It needs {count(size, 'node')} at once, and {there}.{help_}"
        return Reason(code="NeedsMoreNodes", message=message, values=values, needs_help=is_stuck)
    if free < size:
        message = (
            f"It needs {count(size, 'node')} at once, and {free} of the {len(nodes)} that take tasks are free. When it "
            f"is its turn, those that become free are kept for it.{before}"
        )
        return Reason(code="WaitsForNodes", message=message, values=values)
    message = f"There are {count(size, 'node')} for it, and it is about to get them.{before}"
    return Reason(code="AboutToBePlaced", message=message, values=values)


def coordinating(task: Task, job_id: str) -> list[Reason]:
    """Of one that has its nodes: those where the coordination command has not succeeded."""
    if task.gang is None or task.gang.is_coordinated:
        return []
    left = [instance for instance in task.gang.instances if not instance.is_coordinated]
    failed = [instance for instance in left if instance.state is SubtaskState.COMPLETED]
    values = {"nodes": [instance.node_id for instance in left[:5]], "node_count": len(left)}
    if failed:
        first = failed[0]
        message = (
            f"Its coordination command has failed on node {first.node_id} "
            f"({told(first.failure, first.exit_code)}); its other nodes are being stopped."
        )
        return [
            Reason(code="CoordinationFailed", message=message, values=values, log=Log(first.node, (job_id, task.id)))
        ]
    if left:
        ids = listed([instance.node_id for instance in left], most=2)
        message = f"It has its {count(task.gang.size, 'node')}, and its coordination command still runs on {ids}."
        log = Log(left[0].node, (job_id, task.id))
        return [Reason(code="Coordinating", message=message, values=values, log=log)]
    return []
