"""Why a node is in its state, and takes no tasks if it does not."""

from __future__ import annotations

from collections.abc import Callable

from ...model.pool import DeallocationOption, Node, NodeState, Pool, SchedulingState, StartTaskInfo, StartTaskState
from ...model.task import TaskResult
from ..nodes import UNKNOWN_LIMIT, is_booting
from .facts import NodeFacts
from .reasons import Explanation, Log, Reason, count, moment, told

_FOLLOWS = {
    NodeState.REBOOTING: "boot anew",
    NodeState.REIMAGING: "boot anew on an empty disk",
    NodeState.DEALLOCATING: "be deallocated",
    NodeState.LEAVING_POOL: "leave the pool",
}


def explain_node(pool: Pool, facts: NodeFacts) -> Explanation:
    node = facts.node
    return Explanation(state=node.state, since=node.state_transition_time, reasons=tuple(node_reasons(pool, facts)))


def node_reasons(pool: Pool, facts: NodeFacts) -> list[Reason]:
    """What keeps a node from taking tasks; where nothing does, what it has."""
    node = facts.node
    if node.drain_then is not None:
        return [_draining(facts)]
    rule = _BY_STATE.get(node.state)
    if rule is not None:
        return [rule(facts)]
    reasons = []
    if node.state in _MAY_BOOT and is_booting(node):
        reasons.append(_booting(facts))
    elif not facts.is_connected:
        reasons.append(_disconnected(facts))
    elif node.state is NodeState.STARTING:
        reasons.append(_being_prepared(pool, facts))
    if node.scheduling_state is SchedulingState.DISABLED:
        reasons.append(_disabled(facts))
    reasons += _start_task(node)
    return [_in_order(pool, facts), *reasons] if facts.takes_tasks or not reasons else reasons


_MAY_BOOT = frozenset({NodeState.REBOOTING, NodeState.REIMAGING, NodeState.STARTING, NodeState.CREATING})


def _draining(facts: NodeFacts) -> Reason:
    node = facts.node
    follows = _FOLLOWS[node.drain_then] if node.drain_then else ""
    values: dict[str, object] = {"option": node.drain_option, "tasks": facts.tasks}
    if node.drain_option is DeallocationOption.RETAINED_DATA and not facts.tasks and node.retained_until:
        values["until"] = moment(node.retained_until)
        message = f"It is to {follows} once the files of its tasks are no longer kept, at {values['until']}."
        return Reason(code="KeepsFiles", message=message, values=values)
    have = "has" if facts.tasks == 1 else "have"
    how = f"{have} ended" if node.drain_option not in _AT_ONCE else f"{have} been stopped"
    message = f"It takes no more tasks: it is to {follows} once its {count(facts.tasks, 'task')} {how}."
    return Reason(code="Draining", message=message, values=values)


_AT_ONCE = frozenset({DeallocationOption.REQUEUE, DeallocationOption.TERMINATE})


def _booting(facts: NodeFacts) -> Reason:
    node = facts.node
    words = {
        NodeState.CREATING: "The machine was asked for and has not come up yet",
        NodeState.REIMAGING: "It boots anew on an empty disk, and its agent has not come up yet",
    }
    message = f"{words.get(node.state, 'It boots, and its agent has not come up yet')}."
    if node.failed_boots:
        message += f" It has failed to boot {count(node.failed_boots, 'time')} in a row."
    return Reason(code="Booting", message=message, values={"boot": node.boot, "failed_boots": node.failed_boots})


def _disconnected(facts: NodeFacts) -> Reason:
    message = "Its agent is not connected: the service has just started, or the connection was lost a moment ago."
    return Reason(code="AgentNotConnected", message=message)


def _being_prepared(pool: Pool, facts: NodeFacts) -> Reason:
    packages = [
        f"{each.get('applicationId')} {each.get('version', '')}".strip()
        for each in pool.document.get("applicationPackageReferences", ())
    ]
    what = f"its application packages ({', '.join(packages)})" if packages else "what the pool's nodes are to have"
    message = f"It is up and gets {what}, before its start task and any task."
    return Reason(code="GettingReady", message=message, values={"application_packages": packages})


def _disabled(facts: NodeFacts) -> Reason:
    since = moment(facts.node.state_transition_time)
    if facts.tasks:
        message = f"Its scheduling is disabled: it takes no new tasks. {count(facts.tasks, 'task')} still there."
    else:
        message = f"Its scheduling is disabled, so it takes no tasks (offline since {since}). Enable its scheduling."
    return Reason(code="SchedulingDisabled", message=message, values={"tasks": facts.tasks}, needs_help=True)


def _start_task(node: Node) -> list[Reason]:
    """What the start task of a node that is up does, or did, as far as it matters."""
    info = node.start_task_info
    if info is None:
        return []
    said = dict(info.failure.details).get("StandardError") if info.failure else None
    values = {"exit_code": info.exit_code, "retry_count": info.retry_count, "last_stderr_line": said}
    log = Log(node.key)
    if info.state is StartTaskState.RUNNING:
        waits = "Tasks wait until it succeeds." if node.start_task_wait_for_success else "Tasks do not wait for it."
        tried = f", tried again {count(info.retry_count, 'time')}{_last_try(info)}" if info.retry_count else ""
        message = f"Its start task runs since {moment(info.start_time)}{tried}. {waits}"
        return [Reason(code="StartTaskRunning", message=message, values=values, log=log)]
    if info.result is not TaskResult.FAILURE:
        return []
    fails = node.state is NodeState.START_TASK_FAILED
    help_ = " Mend the pool's start task, then reboot or reimage the node." if fails else ""
    tried = f" after {count(info.retry_count + 1, 'try', 'tries')}" if info.retry_count else ""
    message = f"Its start task has failed{tried}: {told(info.failure, info.exit_code)}.{help_}"
    return [Reason(code="StartTaskFailed", message=message, values=values, needs_help=fails, log=log)]


def _last_try(info: StartTaskInfo) -> str:
    return f" ({told(info.failure, info.exit_code)})" if info.failure or info.exit_code is not None else ""


def _unusable(facts: NodeFacts) -> Reason:
    node = facts.node
    problems = [f"{problem.code}: {problem.message}" for problem in node.errors]
    details = [f"{name}: {value}" for problem in node.errors for name, value in problem.details]
    full = any(problem.code == "DiskFull" for problem in node.errors)
    help_ = "It recovers by itself once there is room." if full else "Reboot or reimage it, or remove it from the pool."
    said = f" ({'; '.join(details)})" if details else ""
    message = f"It cannot work: {' '.join(problems) or 'no reason is known.'}{said} {help_}"
    return Reason(
        code="NodeUnusable", message=message, values={"errors": [each.code for each in node.errors]}, needs_help=True
    )


def _unknown(facts: NodeFacts) -> Reason:
    node = facts.node
    until = moment(node.state_transition_time + UNKNOWN_LIMIT)
    message = (
        f"Nothing was heard of it since {moment(node.state_transition_time)}. If nothing is until {until}, its tasks "
        "go elsewhere and it is booted anew."
    )
    return Reason(code="NodeNotHeardOf", message=message, values={"until": until, "tasks": facts.tasks})


def _preempted(facts: NodeFacts) -> Reason:
    until = facts.node.preempted_until
    when = f"There may be a machine for it again at {moment(until)}." if until else "A machine was asked for."
    values = {"until": moment(until)} if until else {}
    return Reason(code="Preempted", message=f"Its machine was taken away. {when}", values=values)


def _leaving(facts: NodeFacts) -> Reason:
    return Reason(code="Leaving", message="It leaves the pool: its machine is being given back.")


def _deallocating(facts: NodeFacts) -> Reason:
    return Reason(code="Deallocating", message="Its machine is being ended; its disk is kept.")


def _deallocated(facts: NodeFacts) -> Reason:
    message = "It was deallocated: there is no machine for it until it is started."
    return Reason(code="Deallocated", message=message, needs_help=True)


def _in_order(pool: Pool, facts: NodeFacts) -> Reason:
    total = pool.task_slots_per_node
    values = {"tasks": facts.tasks, "used_slots": facts.used_slots, "total_slots": total}
    if facts.tasks:
        message = f"It runs {count(facts.tasks, 'task')}, which take {facts.used_slots} of its {count(total, 'slot')}."
        return Reason(code="RunningTasks", message=message, values=values)
    message = f"It is ready and waits for tasks: its {count(total, 'slot')} {'is' if total == 1 else 'are'} free."
    return Reason(code="WaitingForTasks", message=message, values=values)


_BY_STATE: dict[NodeState, Callable[[NodeFacts], Reason]] = {
    NodeState.UNUSABLE: _unusable,
    NodeState.UNKNOWN: _unknown,
    NodeState.PREEMPTED: _preempted,
    NodeState.LEAVING_POOL: _leaving,
    NodeState.DEALLOCATING: _deallocating,
    NodeState.DEALLOCATED: _deallocated,
}
