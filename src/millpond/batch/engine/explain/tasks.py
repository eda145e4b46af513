"""Why a task waits, and for what; or what it does, or how it has ended."""

from __future__ import annotations

from ...model.job import Job, JobState
from ...model.job_node import JobNode, JobTaskState
from ...model.pool import Pool
from ...model.task import Task, TaskResult, TaskState, Withdrawal
from .facts import JobFacts, NodeFacts, Prerequisite, TaskFacts, ready_tasks
from .gangs import coordinating, for_nodes, unfit_pool
from .jobs import disabled, ended
from .nodes import node_reasons
from .pools import idle_hands, shortage
from .reasons import Explanation, Log, Reason, count, listed, moment, told


def explain_task(facts: TaskFacts) -> Explanation:
    task = facts.task
    if task.state is TaskState.COMPLETED:
        reasons = [_over(facts)]
    elif task.state is TaskState.ACTIVE:
        reasons = _waiting(facts)
    else:
        reasons = _placed(facts)
    return Explanation(state=task.state, since=task.state_transition_time, reasons=tuple(reasons))


# --- on a node ---------------------------------------------------------------------------------------------------


def _over(facts: TaskFacts) -> Reason:
    task = facts.task
    values = {"result": task.result, "exit_code": task.exit_code, "retry_count": task.retry_count}
    if task.result is TaskResult.SUCCESS:
        return Reason(code="TaskSucceeded", message="It has ended well.", values=values)
    tried = f" after {count(task.retry_count + 1, 'try', 'tries')}" if task.retry_count else ""
    message = f"It has failed{tried}: {told(task.failure, task.exit_code)}. It runs again only if it is reactivated."
    return Reason(code="TaskFailed", message=message, values=values, log=_log(facts), needs_help=True)


def _log(facts: TaskFacts) -> Log | None:
    task = facts.task
    return None if task.node is None or task.start_time is None else Log(task.node, (facts.job.job.id, task.id))


def _placed(facts: TaskFacts) -> list[Reason]:
    """A task that runs, or waits for the preparation of its node."""
    task, pool = facts.task, facts.job.pool
    node = pool.node(task.node)
    values: dict[str, object] = {"node": task.node_id, "since": moment(task.state_transition_time)}
    if task.withdrawal is not None:
        message = f"Node {task.node_id} was told to end it; then it waits for a place again."
        reasons = [Reason(code="BeingWithdrawn", message=message, values=values)]
    elif task.state is TaskState.PREPARING:
        reasons = [_preparing(facts, values)]
    else:
        message = f"It runs on node {task.node_id} since {moment(task.start_time or task.state_transition_time)}."
        if task.retry_count or task.requeue_count:
            message += f" It was tried again {count(task.retry_count, 'time')} and requeued "
            message += f"{count(task.requeue_count, 'time')} before."
        reasons = [Reason(code="Running", message=message, values=values), *coordinating(task, facts.job.job.id)]
    if node is not None and pool.pool is not None and not node.takes_tasks:
        reasons += _of_node(pool.pool, node)
    return reasons


def _of_node(pool: Pool, node: NodeFacts) -> list[Reason]:
    return [
        Reason(
            code=reason.code,
            message=f"Its node is {node.node.state}: {reason.message}",
            values=reason.values | {"node": node.node.id},
            log=reason.log,
        )
        for reason in node_reasons(pool, node)
    ]


def _preparing(facts: TaskFacts, values: dict[str, object]) -> Reason:
    job, task = facts.job.job, facts.task
    run = next((each.preparation for each in facts.job.records if each.node == task.node), None)
    log = None
    message = f"It waits for the job preparation task on node {task.node_id}"
    if run is not None:
        message += f", which runs since {moment(run.start_time)}"
        if run.retry_count:
            message += f" and has failed {count(run.retry_count, 'time')}"
    if job.preparation is not None and task.node is not None:
        log = Log(task.node, (job.id, job.preparation.id))
    return Reason(code="JobPreparationRunning", message=f"{message}.", values=values, log=log)


# --- waiting -----------------------------------------------------------------------------------------------------


def _waiting(facts: TaskFacts) -> list[Reason]:
    task, job = facts.task, facts.job.job
    reasons = _job_reasons(job)
    if task.node is not None:
        reasons.append(_on_its_node(task))
        return reasons
    reasons += _dependencies(facts)
    pool = facts.job.pool.pool
    if pool is not None and task.required_slots > pool.task_slots_per_node:
        needed, there = count(task.required_slots, "slot"), count(pool.task_slots_per_node, "slot")
        message = f"It needs {needed} on one node, and nodes of pool {pool.id} have {there}: it can never run there."
        values = {"needed_slots": task.required_slots, "slots_per_node": pool.task_slots_per_node}
        reasons.append(Reason(code="NeedsMoreSlotsThanNodesHave", message=message, values=values, needs_help=True))
    if 0 <= job.max_parallel_tasks <= job.task_counts.running:
        message = (
            f"{count(job.task_counts.running, 'task')} of its job run, and no more than {job.max_parallel_tasks} may "
            "at once (maxParallelTasks)."
        )
        values = {"max_parallel_tasks": job.max_parallel_tasks, "running": job.task_counts.running}
        reasons.append(Reason(code="MaxParallelTasksReached", message=message, values=values))
    reasons += [*(unfit_pool(task, pool) if pool is not None else []), *shortage(facts.job.pool)]
    return reasons or _for_a_place(facts)


def _job_reasons(job: Job) -> list[Reason]:
    """What of its job keeps a task from running."""
    if job.state is JobState.ACTIVE:
        return []
    if job.state in (JobState.DISABLED, JobState.DISABLING):
        return [disabled(job)]
    if job.state is JobState.ENABLING:
        return [Reason(code="JobBeingEnabled", message="Its job is being enabled.")]
    return [ended(job)]


def _on_its_node(task: Task) -> Reason:
    values = {"node": task.node_id}
    if task.withdrawal is Withdrawal.EARLIER:
        message = f"An earlier run of it is still being ended on node {task.node_id}; it waits for that."
        return Reason(code="EarlierRunEnding", message=message, values=values)
    if task.withdrawal is not None:
        message = f"It was sent ahead to node {task.node_id}, and is being taken back."
        return Reason(code="BeingWithdrawn", message=message, values=values)
    message = f"It is on node {task.node_id} already, which starts it as soon as a task of its job ends there."
    return Reason(code="NextOnItsNode", message=message, values=values)


def _dependencies(facts: TaskFacts) -> list[Reason]:
    reasons = [_dependency(facts.job.job, each) for each in facts.prerequisites]
    more = facts.task.pending_dependencies - len(reasons)
    if reasons and more > 0:
        message = f"It depends on {count(more, 'other')} besides, not listed here."
        reasons.append(Reason(code="DependsOnMore", message=message, values={"count": more}))
    return reasons


def _dependency(job: Job, of: Prerequisite) -> Reason:
    due = {key for key, _ in job.satisfied}
    values: dict[str, object] = {"task" if not of.is_range else "tasks": of.name}
    whom = f"tasks {of.name}" if of.is_range else f"task {of.name}"
    blocking = [task for task in of.tasks if task.state is TaskState.COMPLETED and not task.satisfies_dependents]
    pending = [task for task in of.tasks if task.state is not TaskState.COMPLETED]
    if blocking:
        first = blocking[0]
        message = (
            f"It depends on task {first.id}, which has failed ({told(first.failure, first.exit_code)}) and blocks it "
            "for ever, unless that one is reactivated and succeeds."
        )
        if of.is_range:
            message += f" (One of {whom}.)"
        values |= {"task": first.id, "exit_code": first.exit_code}
        return Reason(code="DependencyFailed", message=message, values=values, needs_help=True)
    if pending:
        each = listed([f"{task.id} ({task.state})" for task in pending], most=3)
        message = f"It depends on {whom}, not done yet: {each}."
        return Reason(code="DependencyNotDone", message=message, values=values | {"state": pending[0].state})
    if any(task.key in due for task in of.tasks):
        message = f"It depends on {whom}, just done; those that depend on it are being told."
        return Reason(code="DependencyJustDone", message=message, values=values)
    message = f"It depends on {whom}, which the job does not have. It waits until there is one and it is done."
    return Reason(code="DependencyNotFound", message=message, values=values, needs_help=True)


# --- for a place -------------------------------------------------------------------------------------------------


def _for_a_place(facts: TaskFacts) -> list[Reason]:
    """A task that could run if there were room: some nodes take tasks."""
    pool = facts.job.pool.pool
    assert pool is not None  # noqa: S101 - some of its nodes take tasks
    nodes = [each for each in facts.job.pool.open_nodes if _admits(facts, each)]
    if not nodes:
        return [*_barred(facts), *idle_hands(pool, facts.job.pool)]
    before = _before(facts)
    if facts.task.gang is not None:
        total = len(facts.job.pool.nodes)
        reason = for_nodes(facts.task.gang.size, pool, nodes, total, before)
        return [reason, *idle_hands(pool, facts.job.pool)]
    needed = _needed(facts, pool)
    free = [max(0, pool.task_slots_per_node - each.used_slots) for each in nodes]
    values = {
        "needed_slots": needed,
        "most_free_slots": max(free),
        "free_slots": sum(free),
        "total_slots": len(nodes) * pool.task_slots_per_node,
        "nodes": len(nodes),
        "before_in_job": facts.before_in_job,
        "jobs_before": [
            {"id": job.id, "priority": job.priority, "tasks": ready_tasks(job)} for job in facts.jobs_before
        ],
    }
    if max(free) >= needed:
        kept = ", or free nodes are kept for a multi-instance task before it" if _may_be_kept(facts, pool) else ""
        message = f"There is room for it, and it is about to get a place{kept}.{before}"
        if facts.job.job.max_parallel_tasks >= 0:
            message += " (Tasks of its job that are next on busy nodes count for maxParallelTasks, too.)"
        return [Reason(code="AboutToBePlaced", message=message, values=values)]
    message = (
        f"No node has room: it needs {count(needed, 'slot')} on one node, and of the {count(len(nodes), 'node')} that "
        f"take tasks none has more than {max(free)} free ({sum(free)} of {values['total_slots']} in all).{before}"
    )
    return [Reason(code="NoFreeSlots", message=message, values=values), *idle_hands(pool, facts.job.pool)]


def _may_be_kept(facts: TaskFacts, pool: Pool) -> bool:
    return pool.enable_inter_node_communication and bool(facts.before_in_job or facts.jobs_before)


def _needed(facts: TaskFacts, pool: Pool) -> int:
    manager, task = facts.job.job.manager, facts.task
    is_alone = manager is not None and manager.run_exclusive and manager.key == task.key
    return max(task.required_slots, pool.task_slots_per_node) if is_alone else task.required_slots


def _before(facts: TaskFacts) -> str:
    parts = []
    if facts.before_in_job:
        parts.append(f"{count(facts.before_in_job, 'task')} of its own job")
    parts += [
        f"{count(ready_tasks(job), 'task')} of job {job.id} (priority {job.priority})" for job in facts.jobs_before
    ]
    return f" Before it: {listed(parts)}." if parts else " It is the first in order."


def _admits(facts: TaskFacts, each: NodeFacts) -> bool:
    manager = facts.job.job.manager
    is_manager = manager is not None and manager.key == facts.task.key
    wants_dedicated = is_manager and manager is not None and not manager.allow_low_priority_node
    return (each.node.is_dedicated or not wants_dedicated) and each.node.key not in _barring(facts.job)


def _barring(job: JobFacts) -> dict[str, JobNode]:
    return {record.node: record for record in job.records if record.is_barred}


def _barred(facts: TaskFacts) -> list[Reason]:
    barring = _barring(facts.job)
    job = facts.job.job
    failed = [barring[each.node.key] for each in facts.job.pool.open_nodes if each.node.key in barring]
    if not failed or job.preparation is None:
        message = "It is a job manager task that runs on dedicated nodes only, and none of those takes tasks."
        return [Reason(code="NeedsDedicatedNode", message=message)]
    first = failed[0]
    run = first.preparation
    message = (
        f"The job preparation task has failed on every node that takes tasks ({count(len(failed), 'node')}), so no "
        f"task of the job runs there. On {first.node_id}: {told(run.failure, run.exit_code)}. Reimage nodes or add "
        "others to have it tried again."
    )
    values = {"nodes": [each.node_id for each in failed], "exit_code": run.exit_code}
    log = Log(first.node, (job.id, job.preparation.id)) if run.state is JobTaskState.COMPLETED else None
    return [Reason(code="JobPreparationFailed", message=message, values=values, needs_help=True, log=log)]
