"""Handlers: what nodes, their agents and their provider report; how a node is emptied, boots anew, ends and leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from millpond.common.clock import MINUTE

from ..errors import error
from ..model.pool import (
    AllocationState,
    DeallocationOption,
    Node,
    NodeError,
    NodeState,
    ResizeError,
    SchedulingState,
    StartTaskInfo,
    StartTaskState,
)
from ..model.task import Task, TaskResult, TaskState, Withdrawal
from . import job_nodes
from .gangs import run_if_coordinated
from .job_nodes import vacate
from .messages import (
    AgentConnected,
    AgentLost,
    AttemptRef,
    DeallocateNode,
    NodeDeallocated,
    NodeEnded,
    NodeNotGranted,
    NodeOverdue,
    NodePrepared,
    NodeRecovered,
    NodeReleased,
    NodeTroubled,
    PreemptionEnded,
    RaiseAt,
    ReleaseNode,
    RequestNode,
    RetentionEnded,
    StartTaskReported,
    StopTask,
    SyncNode,
)
from .placement import (
    ENDED_WITH_NODE,
    attempt_of,
    bury_dead,
    end,
    give_up,
    outlive,
    recall_ahead,
    start_order,
    withdraw,
)
from .slots import NodeSlots
from .state import State
from .transitions import BOOTING, NODE, UP, NodeTrigger
from .transitions import moved_node as _moved

#: A boot that ends sooner than this, without a task having come to its end, has failed.
SOON = MINUTE
#: After this many failed boots in a row a node is not booted again by itself.
MOST_FAILED_BOOTS = 5
#: How long a node may be ``unknown`` until it counts as lost: its tasks go elsewhere and it is booted anew.
UNKNOWN_LIMIT = 5 * MINUTE
#: How long a preempted node waits until it is asked for again where there was no machine for it.
ASK_AGAIN = MINUTE

_UNREACHABLE = NodeError("NodeUnreachable", "The compute node's agent has not been heard of for too long")

#: Options by which a node does not wait for its tasks.
AT_ONCE = frozenset({DeallocationOption.REQUEUE, DeallocationOption.TERMINATE})


# --- the agent ---------------------------------------------------------------------------------------------------


def on_agent_connected(state: State, event: AgentConnected, now: int) -> Node:
    node = state.nodes.get(event.node)
    if node is None:
        raise error("NodeNotFound")
    if node.boot != event.boot or node.state is NodeState.LEAVING_POOL:
        raise error("NodeNotReady")
    slots = state.node_slots[node.key]
    if is_booting(node):
        _first_contact(state, node, event, now)
    else:
        _contact_again(state, node, slots, event, now)
    return state.nodes[node.key]


def is_booting(node: Node) -> bool:
    """Whether it waits for its agent to connect for the first time since it was asked to boot.

    One that is to boot anew and still has to be emptied is up, in its old boot.
    """
    return node.contact_boot < node.boot and (node.state in BOOTING or node.state is NodeState.STARTING)


def _first_contact(state: State, node: Node, event: AgentConnected, now: int) -> None:
    info = event.start_task
    wait_for_success = state.pools[node.pool].start_task_wait_for_success
    if event.is_prepared and info is None and wait_for_success is not None:
        info = StartTaskInfo(state=StartTaskState.RUNNING, start_time=now)
    node = _moved(
        node,
        NodeTrigger.CONNECT,
        now,
        last_boot_time=now,
        contact_boot=node.boot,
        ip_address=event.ip_address,
        agent_version=event.agent_version,
        start_task_info=info,
        start_task_wait_for_success=wait_for_success,
        errors=(),
        preempted_until=None,
    )
    state.connect(node.key, True)
    _find_state(state, node, now, is_prepared=event.is_prepared)
    state.order(SyncNode(node=node.key, start=[]))


def _contact_again(state: State, node: Node, slots: NodeSlots, event: AgentConnected, now: int) -> None:
    """The agent has been away; it holds all that it was told to run and has not been told to forget."""
    state.connect(node.key, True)
    node = replace(node, ip_address=event.ip_address, agent_version=event.agent_version)
    if event.start_task is not None:
        node = replace(node, start_task_info=event.start_task)
    if node.state is NodeState.UNKNOWN:
        node = _moved(node, NodeTrigger.FIND, now, errors=())
    _find_state(state, node, now, is_prepared=event.is_prepared)
    bury_dead(state, slots)
    _settle_withdrawn(state, slots, set(event.holding), now)
    _take_care_of_strays(state, slots, event.holding, now)
    keys = slots.tasks()
    start = job_nodes.under_way(state, slots)
    start += [start_order(state, key, node.key) for key in keys if _is_known(state.tasks[key])]
    state.order(SyncNode(node=node.key, start=start))
    withdrawn = [attempt_of(state.tasks[key]) for key in keys if state.tasks[key].withdrawal is not None]
    over = [AttemptRef(*key, attempt) for key, attempt in slots.dying.items()]
    for attempt in [*withdrawn, *over]:
        state.order(StopTask(node=node.key, attempt=attempt))
    for key in keys:
        run_if_coordinated(state, state.tasks[key], node.key)


def _is_known(task: Task) -> bool:
    """Whether the task's node was told to run it: not where an earlier run of it is being ended, or where it waits for
    the node to be prepared."""
    return task.withdrawal is not Withdrawal.EARLIER and task.state is not TaskState.PREPARING


def _settle_withdrawn(state: State, slots: NodeSlots, holding: set[AttemptRef], now: int) -> None:
    """What the node was told to end, and does not hold, has ended."""
    for key in slots.tasks():
        task = state.tasks.get(key)
        if task is not None and task.withdrawal is not None and attempt_of(task) not in holding:
            give_up(state, task, slots, now)


def _take_care_of_strays(state: State, slots: NodeSlots, holding: Sequence[AttemptRef], now: int) -> None:
    """What the node holds and should not, it is to end, and the tasks in question get no place before it has."""
    placed = {attempt_of(state.tasks[key]) for key in slots.tasks()}
    placed.update(order.attempt for order in job_nodes.under_way(state, slots))
    for attempt in holding:
        if attempt in placed:
            continue
        key = (attempt.job, attempt.task)
        task = state.find_task(*key)
        if task is not None and task.is_waiting and attempt.job in state.jobs:
            state.dequeue(task)
            outlive(state, task, [slots], attempt.attempt, now)
        else:
            state.mourn(slots, key, attempt.attempt)


def _find_state(state: State, node: Node, now: int, *, is_prepared: bool = True) -> None:
    """Save a node with the state that its start task leaves it in, if it is at its start or waits for that task.

    One that is still being prepared for its start task stays at its start.
    """
    info = node.start_task_info
    if is_prepared and node.state in (NodeState.STARTING, NodeState.WAITING_FOR_START_TASK):
        waits = info is not None and node.start_task_wait_for_success
        if not waits or _has_succeeded(info):
            node = _moved(node, NodeTrigger.READY, now)
        elif info is not None and info.state is StartTaskState.COMPLETED:
            node = _moved(node, NodeTrigger.START_TASK_FAIL, now)
        elif node.state is NodeState.STARTING:
            node = _moved(node, NodeTrigger.AWAIT_START_TASK, now)
    state.save_node(node)


def _has_succeeded(info: StartTaskInfo | None) -> bool:
    return info is not None and info.state is StartTaskState.COMPLETED and info.result is TaskResult.SUCCESS


def on_node_prepared(state: State, event: NodePrepared, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is not None and not is_booting(node):
        _find_state(state, node, now)


def on_start_task_reported(state: State, event: StartTaskReported, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is not None and not is_booting(node):
        _find_state(state, replace(node, start_task_info=event.info), now)


def on_agent_lost(state: State, event: AgentLost, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is None:
        return
    state.connect(node.key, False)
    if node.state in UP and node.state is not NodeState.UNKNOWN and not is_booting(node):
        state.save_node(_moved(node, NodeTrigger.LOSE, now, errors=(_UNREACHABLE,)))
        _expect_again(state, node, now)


def _expect_again(state: State, node: Node, since: int) -> None:
    """Have the moment come when the node has been away for too long."""
    state.order(RaiseAt(moment=since + UNKNOWN_LIMIT, event=NodeOverdue(node=node.key, boot=node.boot)))


def on_node_overdue(state: State, event: NodeOverdue, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is None or node.state is not NodeState.UNKNOWN:
        return
    if now >= node.state_transition_time + UNKNOWN_LIMIT:
        _lose_boot(state, node, "No word came from the node for too long.", now)


def on_node_troubled(state: State, event: NodeTroubled, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is None or (node.state, NodeTrigger.TROUBLE) not in NODE or node.drain_then in AFRESH:
        return
    state.save_node(_moved(node, NodeTrigger.TROUBLE, now, errors=(event.error,)))
    slots = state.node_slots[node.key]
    recall_ahead(state, slots)
    for key in list(slots.running):
        withdraw(state, state.tasks[key], Withdrawal.RETURN)


def on_node_recovered(state: State, event: NodeRecovered, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is not None and node.state is NodeState.UNUSABLE:
        _find_state(state, _moved(node, NodeTrigger.RECOVER, now, errors=()), now)


# --- the provider ------------------------------------------------------------------------------------------------


def on_node_not_granted(state: State, event: NodeNotGranted, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is None or not is_booting(node):
        return
    if node.state is NodeState.CREATING:
        pool = state.pools[node.pool]
        problem = ResizeError(event.code, event.message)
        if pool.allocation_state is not AllocationState.STEADY and problem not in pool.resize_errors:
            state.save_pool(replace(pool, resize_errors=(*pool.resize_errors, problem)))
        leave(state, node, now)
    elif node.state is NodeState.PREEMPTED:
        waiting = replace(node, preempted_until=now + ASK_AGAIN)
        state.save_node(waiting)
        await_machine(state, waiting, now)
    else:
        failure = NodeError(event.code, event.message)
        state.save_node(_moved(node, NodeTrigger.TROUBLE, now, errors=(failure,), drain_then=None, drain_option=None))


def on_node_ended(state: State, event: NodeEnded, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is not None:
        _lose_boot(state, node, event.message, now)


def _lose_boot(state: State, node: Node, message: str, now: int) -> None:
    """The node's machine or agent is no more: its tasks are lost, and it boots anew unless that keeps failing."""
    slots = state.node_slots[node.key]
    if node.state is NodeState.LEAVING_POOL or _is_deallocated(node):
        return
    if node.drain_then is not None or node.state is NodeState.UNUSABLE:
        # Nothing is left to wait for; what is to follow, follows.
        state.connect(node.key, False)
        vacate(state, slots, now)
        state.save_node(replace(state.nodes[node.key], retained_until=None))
        return
    failed = node.failed_boots
    if node.last_boot_time is None or now - node.last_boot_time < SOON:
        failed += 1
    else:
        failed = 0
    if failed < MOST_FAILED_BOOTS:
        reboot(state, replace(node, failed_boots=failed), now)
        return
    state.connect(node.key, False)
    vacate(state, slots, now)
    problem = NodeError("NodeStartFailed", f"The node ended {failed} times soon after its start. {message}".strip())
    node = state.nodes[node.key]
    state.save_node(_moved(node, NodeTrigger.TROUBLE, now, boot=node.boot + 1, failed_boots=failed, errors=(problem,)))


def on_node_deallocated(state: State, event: NodeDeallocated, now: int) -> None:
    node = _current(state, event.node, event.boot)
    if node is not None and node.state is NodeState.DEALLOCATING:
        state.save_node(_moved(node, NodeTrigger.STOP, now))


def on_node_released(state: State, event: NodeReleased, now: int) -> None:
    node = state.nodes.get(event.node)
    if node is not None and node.state is NodeState.LEAVING_POOL:
        slots = state.node_slots[node.key]
        vacate(state, slots, now)
        job_nodes.on_node_gone(state, slots, now)
        state.remove_node(node.key)


# --- emptied, and what follows -----------------------------------------------------------------------------------


def begin_drain(state: State, node: Node, option: DeallocationOption, then: NodeState, now: int) -> None:
    """Have the node take no more tasks, and go on to the state ``then`` when the option allows."""
    node = replace(node, drain_option=option, drain_then=then)
    if then in AFRESH and option in AT_ONCE:
        node = _moved(node, AFRESH[then], now)
    state.save_node(node)
    clear(state, node, option, now)
    if then is NodeState.LEAVING_POOL and option in AT_ONCE:
        leave(state, state.nodes[node.key], now)


def clear(state: State, node: Node, option: DeallocationOption, now: int) -> None:
    """Do with a node's tasks what the option says."""
    slots = state.node_slots[node.key]
    recall_ahead(state, slots)
    for key in list(slots.running) if option in AT_ONCE else ():
        task = state.tasks[key]
        if option is DeallocationOption.REQUEUE:
            withdraw(state, task, Withdrawal.REQUEUE)
        else:
            end(state, task, now, ENDED_WITH_NODE)


def cancel_drain(state: State, node: Node) -> None:
    """A node that was to leave once its tasks have ended stays; what it was asked for before that is taken up again."""
    is_interrupted = node.state in AFRESH and node.contact_boot == node.boot
    then, option = (node.state, DeallocationOption.REQUEUE) if is_interrupted else (None, None)
    state.save_node(replace(node, drain_option=option, drain_then=then))


def leave(state: State, node: Node, now: int) -> None:
    """Have the provider take the node back. What still runs there has ended when it reports so."""
    if node.state is not NodeState.LEAVING_POOL:
        state.save_node(_moved(node, NodeTrigger.LEAVE, now, drain_option=None, drain_then=None))
        state.order(ReleaseNode(node=node.key))


def reboot(state: State, node: Node, now: int) -> None:
    """Boot the node anew."""
    leave_boot(state, node, NodeTrigger.REBOOT, now)
    state.order(RequestNode(node=state.nodes[node.key]))


def _reimage(state: State, node: Node, now: int) -> None:
    """Boot the node anew on an empty disk."""
    leave_boot(state, node, NodeTrigger.REIMAGE, now, disk=node.disk + 1, retained_until=None)
    state.order(RequestNode(node=state.nodes[node.key]))


def _deallocate(state: State, node: Node, now: int) -> None:
    """Have the provider end the node; it stays in its pool."""
    leave_boot(state, node, NodeTrigger.DEALLOCATE, now)
    state.order(DeallocateNode(node=node.key, boot=node.boot + 1))


def leave_boot(state: State, node: Node, trigger: NodeTrigger, now: int, **fields: Any) -> None:
    """Whatever ran in the node's present boot counts as ended, and what is heard of it is stale from now on."""
    fields |= {"boot": node.boot + 1, "start_task_info": None, "errors": (), "drain_option": None, "drain_then": None}
    state.save_node(_moved(node, trigger, now, **fields))
    state.connect(node.key, False)
    vacate(state, state.node_slots[node.key], now)
    if state.nodes[node.key].disk != node.disk:
        job_nodes.on_wiped(state, state.node_slots[node.key])


def await_machine(state: State, node: Node, now: int) -> None:
    """Have the machine of a preempted node end, or come back when there may be one again."""
    until = node.preempted_until
    if until is None or until <= now:
        state.order(RequestNode(node=node))
    else:
        state.order(DeallocateNode(node=node.key, boot=node.boot))
        state.order(RaiseAt(moment=until, event=PreemptionEnded(node=node.key, boot=node.boot)))


def _is_deallocated(node: Node) -> bool:
    """Whether the provider has ended it, or was asked to."""
    is_going = node.state is NodeState.DEALLOCATING and node.contact_boot < node.boot
    return is_going or node.state is NodeState.DEALLOCATED


def start_deallocated(state: State, node: Node, now: int) -> None:
    """Boot a node that was deallocated."""
    state.save_node(_moved(node, NodeTrigger.START, now, failed_boots=0))
    state.order(RequestNode(node=state.nodes[node.key]))


#: What a node is asked for that may have tasks to end first: the state that it is in from then on, and its trigger.
AFRESH = {
    NodeState.REBOOTING: NodeTrigger.REBOOT,
    NodeState.REIMAGING: NodeTrigger.REIMAGE,
    NodeState.DEALLOCATING: NodeTrigger.DEALLOCATE,
}
#: What is done once that is so.
_WHEN_EMPTY = {
    NodeState.REBOOTING: reboot,
    NodeState.REIMAGING: _reimage,
    NodeState.DEALLOCATING: _deallocate,
    NodeState.LEAVING_POOL: leave,
}


def order_again(state: State, node: Node, now: int) -> None:
    """After a restart of the service: what may not have been carried out, and the node's timer.

    That agents have not come back in time is news as ever (:class:`AgentLost`).
    """
    if node.state is NodeState.LEAVING_POOL:
        state.order(ReleaseNode(node=node.key))
    elif node.state is NodeState.PREEMPTED:
        await_machine(state, node, now)
    elif is_booting(node):
        state.order(RequestNode(node=node))
    elif node.state is NodeState.DEALLOCATING and _is_deallocated(node):
        state.order(DeallocateNode(node=node.key, boot=node.boot))
    elif node.state is NodeState.UNKNOWN:
        _expect_again(state, node, node.state_transition_time)


def on_retention_ended(state: State, event: RetentionEnded, now: int) -> None:
    if event.node in state.nodes:
        state.stirred_nodes[event.node] = None


def settle_node(state: State, key: str, now: int) -> None:
    """Make the moves of a node that follow from its tasks."""
    node = state.nodes.get(key)
    if node is None:
        return
    slots = state.node_slots[key]
    if node.drain_then is not None and _is_drained(state, node, slots, now):
        _WHEN_EMPTY[node.drain_then](state, node, now)
    elif node.state is NodeState.IDLE and slots.running:
        state.save_node(_moved(node, NodeTrigger.OCCUPY, now))
    elif node.state is NodeState.RUNNING and not slots.running and node.scheduling_state is SchedulingState.ENABLED:
        state.save_node(_moved(node, NodeTrigger.EMPTY, now))
    elif node.scheduling_state is SchedulingState.DISABLED and not slots.running:
        if node.state in (NodeState.IDLE, NodeState.RUNNING):
            state.save_node(_moved(node, NodeTrigger.EMPTY_DISABLED, now))
    elif node.state is NodeState.OFFLINE:
        state.save_node(_moved(node, NodeTrigger.READY, now))


def _is_drained(state: State, node: Node, slots: NodeSlots, now: int) -> bool:
    if node.drain_option in AT_ONCE:
        return slots.is_empty or not slots.connected
    if not slots.is_empty:
        return False
    if node.drain_option is DeallocationOption.RETAINED_DATA and (node.retained_until or 0) > now:
        state.order(RaiseAt(moment=node.retained_until or 0, event=RetentionEnded(node=node.key)))
        return False
    return True


def _current(state: State, key: str, boot: int) -> Node | None:
    """The node, if this is its present boot."""
    node = state.nodes.get(key)
    return node if node is not None and node.boot == boot else None
