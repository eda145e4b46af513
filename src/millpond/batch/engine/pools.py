"""Handlers: what clients ask of pools, and how pools come to the size that they are to have."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from millpond.common.clock import MINUTE
from millpond.common.conditions import Conditions

from ..errors import error
from ..model.endpoints import next_number
from ..model.keys import node_key
from ..model.pool import (
    AllocationState,
    DeallocationOption,
    Node,
    NodeState,
    Pool,
    PoolState,
    ResizeError,
)
from .autoscale import compile  # noqa: A004
from .messages import (
    NodesRemoveRequested,
    PoolAddRequested,
    PoolDeleteRequested,
    PoolPatchRequested,
    RaiseAt,
    RequestNode,
    ResizeRequested,
    ResizeTimedOut,
    StopResizeRequested,
)
from .nodes import begin_drain, cancel_drain, leave
from .quotas import grant, require_room_for_pool
from .rules import merged, next_modification, require_conditions
from .slots import TaskKey
from .state import State
from .statistics import keep_pool_usage
from .transitions import ALLOCATION, POOL, AllocationTrigger, PoolTrigger, move

DEFAULT_RESIZE_TIMEOUT = 15 * MINUTE

#: Which nodes a smaller pool gives up first.
_DISPENSABLE = (
    NodeState.PREEMPTED,
    NodeState.UNUSABLE,
    NodeState.DEALLOCATED,
    NodeState.DEALLOCATING,
    NodeState.START_TASK_FAILED,
    NodeState.UNKNOWN,
    NodeState.CREATING,
    NodeState.REBOOTING,
    NodeState.REIMAGING,
    NodeState.STARTING,
    NodeState.WAITING_FOR_START_TASK,
    NodeState.OFFLINE,
    NodeState.IDLE,
)


def on_pool_add_requested(state: State, event: PoolAddRequested, now: int) -> Pool:
    return add_pool(state, event.pool, now)


def add_pool(state: State, pool: Pool, now: int) -> Pool:
    """A pool as it was specified begins to be. Where it is refused, nothing has changed."""
    existing = state.pools.get(pool.key)
    if existing is not None:
        raise error("PoolBeingDeleted" if existing.state is PoolState.DELETING else "PoolExists")
    require_room_for_pool(state, pool.account)
    scaling = pool.auto_scale
    if scaling is not None:
        compile(scaling.formula)
        scaling = replace(scaling, enabled=now, started=now, next_evaluation=now, run=None)
    pool = replace(
        pool,
        state=PoolState.ACTIVE,
        state_transition_time=now,
        allocation_state=AllocationState.STEADY,
        allocation_state_transition_time=now,
        creation_time=now,
        last_modified=now,
        resize_errors=(),
        resize_started=None,
        nodes_created=0,
        auto_scale=scaling,
    )
    if pool.target_dedicated_nodes or pool.target_low_priority_nodes:
        begin_resize(state, pool, now)
    else:
        state.save_pool(pool)
    return state.pools[pool.key]


def on_pool_patch_requested(state: State, event: PoolPatchRequested, now: int) -> Pool:
    pool = require_active(state, event.pool, event.conditions)
    if event.needs_empty_pool and state.pool_slots[pool.key].nodes:
        raise error(
            "OperationInvalidForCurrentState",
            message="The requested properties can be changed only while the pool has no compute nodes.",
        )
    changed = {
        name: getattr(event, name)
        for name in (
            "start_task_wait_for_success",
            "vm_size",
            "task_slots_per_node",
            "enable_inter_node_communication",
            "fill_type",
        )
        if getattr(event, name) is not UNSET
    }
    pool = replace(
        pool,
        **changed,
        document=merged(pool.document, event.document, event.drop),
        last_modified=next_modification(pool.last_modified, now),
    )
    state.save_pool(pool)
    return pool


def on_pool_delete_requested(state: State, event: PoolDeleteRequested, now: int) -> None:
    delete_pool(state, require_active(state, event.pool, event.conditions), now)


def delete_pool(state: State, pool: Pool, now: int) -> None:
    """An active pool begins to go, with its nodes."""
    pool = replace(
        pool,
        state=move(POOL, pool, pool.state, PoolTrigger.DELETE),
        state_transition_time=now,
        last_modified=next_modification(pool.last_modified, now),
        target_dedicated_nodes=0,
        target_low_priority_nodes=0,
        deallocation_option=DeallocationOption.REQUEUE,
    )
    _start_clock(state, pool, now)
    for node in _nodes(state, pool):
        if node.state is not NodeState.LEAVING_POOL:
            begin_drain(state, node, DeallocationOption.REQUEUE, NodeState.LEAVING_POOL, now)


def on_resize_requested(state: State, event: ResizeRequested, now: int) -> Pool:
    pool = _require_steady(state, event.pool, event.conditions)
    dedicated, low_priority = event.target_dedicated_nodes, event.target_low_priority_nodes
    pool = replace(
        pool,
        target_dedicated_nodes=pool.target_dedicated_nodes if dedicated is None else dedicated,
        target_low_priority_nodes=pool.target_low_priority_nodes if low_priority is None else low_priority,
        resize_timeout=event.resize_timeout or DEFAULT_RESIZE_TIMEOUT,
        deallocation_option=event.deallocation_option,
        last_modified=next_modification(pool.last_modified, now),
    )
    begin_resize(state, pool, now)
    return state.pools[pool.key]


def on_nodes_remove_requested(state: State, event: NodesRemoveRequested, now: int) -> Pool:
    pool = _require_steady(state, event.pool, event.conditions)
    nodes = [state.nodes.get(key) for key in dict.fromkeys(event.nodes)]
    chosen = [node for node in nodes if node is not None and node.pool == pool.key]
    if len(chosen) < len(nodes):
        raise error("NodeNotFound")
    dedicated = sum(node.is_dedicated for node in chosen)
    pool = replace(
        pool,
        target_dedicated_nodes=max(0, pool.target_dedicated_nodes - dedicated),
        target_low_priority_nodes=max(0, pool.target_low_priority_nodes - (len(chosen) - dedicated)),
        resize_timeout=event.resize_timeout or DEFAULT_RESIZE_TIMEOUT,
        deallocation_option=event.deallocation_option,
        last_modified=next_modification(pool.last_modified, now),
    )
    _start_clock(state, pool, now)
    for node in chosen:
        begin_drain(state, node, event.deallocation_option, NodeState.LEAVING_POOL, now)
    return state.pools[pool.key]


def on_stop_resize_requested(state: State, event: StopResizeRequested, now: int) -> Pool:
    pool = require_active(state, event.pool, event.conditions)
    if pool.allocation_state is not AllocationState.RESIZING:
        raise error("PoolNotBeingResized")
    _give_up_resize(state, pool, "ResizeStopped", "due to a stop resize operation", now)
    pool = _moved(state.pools[pool.key], AllocationTrigger.STOP, now)
    state.save_pool(pool)
    return pool


def on_resize_timed_out(state: State, event: ResizeTimedOut, now: int) -> None:
    pool = state.pools.get(event.pool)
    if pool is None or pool.state is PoolState.DELETING or pool.allocation_state is not AllocationState.RESIZING:
        return
    if pool.resize_started != event.resize_started or now < event.resize_started + pool.resize_timeout:
        return
    _give_up_resize(state, pool, "AllocationTimedout", "as the resize timeout was reached", now)


def _give_up_resize(state: State, pool: Pool, code: str, reason: str, now: int) -> None:
    """Let the pool be as large as it is: nodes that are not there yet do not come, those that have tasks stay."""
    short = _differing(state, pool)
    for node in _nodes(state, pool):
        if node.drain_then is NodeState.LEAVING_POOL:
            cancel_drain(state, node)
    _release_unborn(state, pool, now)
    problems = [
        ResizeError(code, f"Desired number of {kind} nodes could not be allocated {reason}")
        for is_dedicated, kind in ((True, "dedicated"), (False, "low priority"))
        if is_dedicated in short
    ]
    pool = state.pools[pool.key]
    state.save_pool(replace(pool, resize_errors=(*pool.resize_errors, *problems)))


def begin_resize(state: State, pool: Pool, now: int) -> None:
    """Save a pool with new targets, which was steady, and have nodes join or leave until it has as many."""
    _start_clock(state, pool, now)
    for is_dedicated in (True, False):
        pool = state.pools[pool.key]
        nodes = [node for node in _nodes(state, pool) if node.is_dedicated is is_dedicated]
        wanted = pool.target(is_dedicated) - len(nodes)
        granted, problems = grant(state, pool, is_dedicated, wanted)
        if problems:
            state.save_pool(replace(pool, resize_errors=(*pool.resize_errors, *problems)))
        for _ in range(granted):
            _add_node(state, is_dedicated, pool.key, now)
        for node in _victims(state, nodes, -wanted):
            begin_drain(state, node, pool.deallocation_option, NodeState.LEAVING_POOL, now)


def _start_clock(state: State, pool: Pool, now: int) -> None:
    started = replace(_moved(pool, AllocationTrigger.RESIZE, now), resize_started=now, resize_errors=())
    state.save_pool(started)
    arm_resize_timer(state, started)


def arm_resize_timer(state: State, pool: Pool) -> None:
    if pool.resize_started is not None:
        timeout = ResizeTimedOut(pool=pool.key, resize_started=pool.resize_started)
        state.order(RaiseAt(moment=pool.resize_started + pool.resize_timeout, event=timeout))


def _victims(state: State, nodes: list[Node], count: int) -> list[Node]:
    """The nodes that a smaller pool gives up: those of least use, those without a job manager task, those with the
    fewest tasks, the newest."""
    if count <= 0:
        return []

    def worth(node: Node) -> tuple[int, bool, int, int]:
        rank = _DISPENSABLE.index(node.state) if node.state in _DISPENSABLE else len(_DISPENSABLE)
        running = state.node_slots[node.key].running
        return rank, any(_is_manager(state, key) for key in running), len(running), -node.number

    return sorted(nodes, key=worth)[:count]


def _is_manager(state: State, task: TaskKey) -> bool:
    manager = state.jobs[task[0]].manager
    return manager is not None and manager.key == task[1]


def _add_node(state: State, is_dedicated: bool, pool_key: str, now: int) -> None:
    pool = state.pools[pool_key]
    number = next_number(pool, [other.number for other in _nodes(state, pool)])
    name = hashlib.sha256(f"{pool.key}|{pool.creation_time}|{number}".encode()).hexdigest()
    node_id = f"tvmps_{name}_{'d' if is_dedicated else 'p'}"
    node = Node(
        key=node_key(pool.key, node_id),
        pool=pool.key,
        id=node_id,
        number=number,
        state_transition_time=now,
        is_dedicated=is_dedicated,
        allocation_time=now,
        vm_size=pool.vm_size,
    )
    state.save_pool(replace(pool, nodes_created=number))
    state.save_node(node)
    state.order(RequestNode(node=node))


def _release_unborn(state: State, pool: Pool, now: int) -> None:
    """Give back the nodes that have not come up yet."""
    for node in _nodes(state, pool):
        if node.state is NodeState.CREATING:
            leave(state, node, now)


def settle_pool(state: State, key: str, now: int) -> None:
    """Make the moves of a pool that follow from its nodes."""
    pool = state.pools.get(key)
    if pool is None or pool.allocation_state is AllocationState.STEADY:
        return
    nodes = _nodes(state, pool)
    if pool.state is PoolState.DELETING:
        if not nodes:
            keep_pool_usage(state, pool, now)
            state.remove_pool(key)
    elif not any(node.state is NodeState.CREATING or _is_going(node) for node in nodes):
        state.save_pool(replace(_moved(pool, AllocationTrigger.SETTLE, now), resize_started=None))


def _nodes(state: State, pool: Pool) -> list[Node]:
    return [state.nodes[key] for key in state.pool_slots[pool.key].nodes]


def _is_going(node: Node) -> bool:
    return node.state is NodeState.LEAVING_POOL or node.drain_then is NodeState.LEAVING_POOL


def _differing(state: State, pool: Pool) -> set[bool]:
    """Of which kinds, dedicated (``True``) and low-priority nodes, there are not as many as there should be.

    Nodes that are still being created are not there; those that are to leave once their tasks have ended are.
    """
    passing = (NodeState.CREATING, NodeState.LEAVING_POOL)
    there = [node.is_dedicated for node in _nodes(state, pool) if node.state not in passing]
    return {is_dedicated for is_dedicated in (True, False) if there.count(is_dedicated) != pool.target(is_dedicated)}


def require_active(state: State, key: str, conditions: Conditions) -> Pool:
    """A pool that is not being deleted, for a request with these conditions."""
    pool = state.pools.get(key)
    if pool is None:
        raise error("PoolNotFound")
    require_conditions(conditions, pool.last_modified)
    if pool.state is PoolState.DELETING:
        raise error("PoolBeingDeleted")
    return pool


def _require_steady(state: State, key: str, conditions: Conditions) -> Pool:
    """A pool whose size may be changed by hand now."""
    pool = require_active(state, key, conditions)
    if pool.enable_auto_scale:
        raise error(
            "OperationInvalidForCurrentState",
            message="The pool is scaled by its formula; disable automatic scaling to resize it.",
        )
    if pool.allocation_state is not AllocationState.STEADY:
        raise error("PoolBeingResized")
    return pool


def _moved(pool: Pool, trigger: AllocationTrigger, now: int) -> Pool:
    state: AllocationState = move(ALLOCATION, pool, pool.allocation_state, trigger)
    changed: dict[str, Any] = {"allocation_state": state}
    if state is not pool.allocation_state:
        changed["allocation_state_transition_time"] = now
    return replace(pool, **changed)
