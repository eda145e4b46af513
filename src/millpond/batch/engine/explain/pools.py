"""Why a pool has the nodes that it has, and which of them take no tasks."""

from __future__ import annotations

from collections import defaultdict

from msgspec.structs import replace

from ...model.pool import AllocationState, NodeState, Pool, PoolState
from .facts import NodeFacts, PoolFacts
from .nodes import node_reasons
from .reasons import Explanation, Reason, count, listed, moment

#: Nodes that are named where several are in the same situation.
_NAMED = 5


def explain_pool(pool: Pool, facts: PoolFacts) -> Explanation:
    reasons = [*size_reasons(pool, facts), *idle_hands(pool, facts)]
    if facts.open_nodes:
        reasons.append(_at_work(pool, facts))
    since = pool.state_transition_time
    if pool.state is PoolState.ACTIVE:
        since = max(since, pool.allocation_state_transition_time)
    return Explanation(state=_state(pool), since=since, reasons=tuple(reasons))


def _state(pool: Pool) -> str:
    return pool.state if pool.state is PoolState.DELETING else f"{pool.state}, {pool.allocation_state}"


def size_reasons(pool: Pool, facts: PoolFacts) -> list[Reason]:
    """Why it does not have as many nodes as it should, or should have none."""
    if pool.state is PoolState.DELETING:
        message = f"It is being deleted, and goes once its {count(len(facts.nodes), 'node')} are given back."
        return [Reason(code="PoolBeingDeleted", message=message, values={"nodes": len(facts.nodes)})]
    reasons = []
    if pool.allocation_state is not AllocationState.STEADY:
        reasons.append(_resizing(pool, facts))
    for problem in pool.resize_errors:
        said = "".join(f" ({name}: {value})" for name, value in problem.values)
        message = f"Its last resize did not bring all nodes. {problem.code}: {problem.message}{said}."
        is_over = pool.allocation_state is AllocationState.STEADY and pool.auto_scale is None
        reasons.append(Reason(code="ResizeFailed", message=message, values={"error": problem.code}, needs_help=is_over))
    wanted = pool.target_dedicated_nodes + pool.target_low_priority_nodes
    reasons += _scaling(pool, wanted)
    if not facts.nodes and not wanted and pool.auto_scale is None:
        message = "It has no nodes, for its target is 0. Resize it, or have it scale by a formula."
        reasons.append(Reason(code="PoolEmpty", message=message, needs_help=True))
    elif len(facts.nodes) < wanted and not reasons:
        message = f"It has {len(facts.nodes)} of the {wanted} nodes that it should have. Resize it to try again."
        reasons.append(Reason(code="TooFewNodes", message=message, needs_help=True))
    return reasons


def _resizing(pool: Pool, facts: PoolFacts) -> Reason:
    coming = sum(each.node.state is NodeState.CREATING for each in facts.nodes)
    going = [each for each in facts.nodes if NodeState.LEAVING_POOL in (each.node.state, each.node.drain_then)]
    tasks = sum(each.tasks for each in going)
    steps = []
    if coming:
        steps.append(f"{count(coming, 'machine')} to come up")
    if going:
        held = f", which still have {count(tasks, 'task')}" if tasks else ""
        steps.append(f"{count(len(going), 'node')} to leave{held}")
    wanted = f"{pool.target_dedicated_nodes} dedicated and {pool.target_low_priority_nodes} low-priority nodes"
    what = "stops resizing" if pool.allocation_state is AllocationState.STOPPING else "is being resized"
    waits = f" It waits for {' and '.join(steps)}." if steps else ""
    values: dict[str, object] = {"coming": coming, "leaving": len(going), "tasks": tasks}
    if pool.resize_started is not None:
        values["until"] = moment(pool.resize_started + pool.resize_timeout)
        waits += f" The resize is given up at {values['until']}."
    return Reason(code="PoolResizing", message=f"The pool {what} to {wanted}.{waits}", values=values)


def _scaling(pool: Pool, wanted: int) -> list[Reason]:
    """What its formula has said."""
    scaling = pool.auto_scale
    if scaling is None:
        return []
    following = moment(scaling.next_evaluation)
    again = f"The formula is evaluated again at {following}."
    values = {"next_evaluation": following, "results": "" if scaling.run is None else scaling.run.results}
    if scaling.run is None:
        message = f"Its formula has not been evaluated yet. It is due at {following}."
        return [Reason(code="AutoScaleDue", message=message, values=values)]
    problem = scaling.run.error
    if problem is not None:
        said = "".join(f" ({name}: {value})" for name, value in problem.values)
        message = f"Its formula has failed. {problem.code}: {problem.message}{said} {again}"
        return [Reason(code="AutoScaleFailed", message=message, values=values, needs_help=True)]
    if not wanted:
        message = f"It has no nodes because its formula says so: {scaling.run.results} {again}"
        return [Reason(code="AutoScaleWantsNoNodes", message=message, values=values)]
    return []


def idle_hands(pool: Pool, facts: PoolFacts) -> list[Reason]:
    """Why those of its nodes take no tasks that take none: once for all that have the same reasons."""
    by_reason: defaultdict[tuple[str, ...], list[tuple[NodeFacts, list[Reason]]]] = defaultdict(list)
    for each in facts.nodes:
        if not each.takes_tasks:
            reasons = node_reasons(pool, each)
            by_reason[each.node.state, *(reason.code for reason in reasons)].append((each, reasons))
    found = []
    for group in by_reason.values():
        (first, reasons), size = group[0], len(group)
        ids = [each.node.id for each, _ in group]
        whom = f"Node {first.node.id} is {first.node.state}"
        if size > 1:
            whom = f"{count(size, 'node')} are {first.node.state}; for example {first.node.id}"
        found += [
            replace(
                reason,
                message=f"{whom}: {reason.message}",
                values=reason.values | {"nodes": ids[:_NAMED], "node_count": size, "node_state": first.node.state},
            )
            for reason in reasons
        ]
    return found


def _at_work(pool: Pool, facts: PoolFacts) -> Reason:
    nodes = facts.open_nodes
    tasks = sum(each.tasks for each in nodes)
    used = sum(each.used_slots for each in nodes)
    total = len(nodes) * pool.task_slots_per_node
    busy = sum(each.tasks > 0 for each in nodes)
    message = (
        f"{count(len(nodes), 'node takes', 'nodes take')} tasks: {busy} of them {'runs' if busy == 1 else 'run'} "
        f"{count(tasks, 'task')}, and {max(0, total - used)} of {count(total, 'slot')} are free."
    )
    values = {"open_nodes": len(nodes), "tasks": tasks, "used_slots": used, "total_slots": total}
    return Reason(code="NodesAtWork", message=message, values=values)


def shortage(facts: PoolFacts) -> list[Reason]:
    """Why no task can have a place in a pool; empty where some node takes tasks."""
    pool = facts.pool
    if pool is None:
        message = f"There is no pool {facts.pool_id}. Its tasks wait until there is one."
        return [Reason(code="PoolNotFound", message=message, values={"pool": facts.pool_id}, needs_help=True)]
    if pool.state is PoolState.DELETING:
        message = f"The pool {pool.id} is being deleted. Have the job use another one."
        return [Reason(code="PoolBeingDeleted", message=message, values={"pool": pool.id}, needs_help=True)]
    if facts.open_nodes:
        return []
    states = defaultdict[str, int](int)
    for each in facts.nodes:
        states[each.node.state] += 1
    there = listed([f"{number} {state}" for state, number in sorted(states.items())], most=10)
    what = f"None of the nodes of pool {pool.id} takes tasks: {there}." if states else f"Pool {pool.id} has no nodes."
    rest = [*size_reasons(pool, facts), *idle_hands(pool, facts)]
    is_stuck = bool(rest) and all(reason.needs_help for reason in rest)
    values = {"pool": pool.id, "nodes": dict(states)}
    code = "NoNodeTakesTasks" if states else "PoolHasNoNodes"
    return [Reason(code=code, message=what, values=values, needs_help=is_stuck), *rest]
