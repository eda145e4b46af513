"""A task's way through its places: onto a node, off it, back to waiting, to its end.

These are the only functions that change a task's state. Each leaves the record, the job's counts, the node's slots
and the job's window in agreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ..model.pool import Node, RecentTask
from ..model.task import (
    ErrorCategory,
    Failure,
    Gang,
    Instance,
    SubtaskState,
    Task,
    TaskResult,
    TaskState,
    Withdrawal,
)
from . import dependencies
from .exit_conditions import satisfies
from .messages import AttemptRef, StartTask, StopTask
from .slots import NodeSlots, TaskKey
from .state import State
from .transitions import TASK, TaskTrigger, move

#: How many tasks a node remembers.
RECENT_TASKS = 10

ENDED_BY_USER = Failure(ErrorCategory.USER_ERROR, "TaskEnded", "Task Was Ended by User Request")
ENDED_WITH_JOB = Failure(ErrorCategory.SERVER_ERROR, "TaskEnded", "The task was ended because its job has ended.")
ENDED_WITH_NODE = Failure(
    ErrorCategory.SERVER_ERROR,
    "TaskEnded",
    "The task was ended because its compute node takes no tasks any more.",
)


def place(state: State, task: Task, slots: NodeSlots, now: int) -> None:
    """Have a task that was taken from its window run on a node with enough free slots."""
    node = _assign_attempt(state, task, slots, recent=True)
    started = _moved(task, TaskTrigger.START, now, **_placed_on(state, node), **_fresh_run(now))
    _take_places(state, task, started, (slots,), now)
    state.order(start_order(state, (task.job, task.key), slots.key))


def place_unprepared(state: State, task: Task, slots: NodeSlots, now: int) -> None:
    """Have a task that was taken from its window wait on a node with enough free slots, which is being prepared."""
    node = _assign_attempt(state, task, slots, recent=False)
    waits = {**_fresh_run(now), "start_time": None}
    preparing = _moved(task, TaskTrigger.PREPARE, now, **_placed_on(state, node), **waits)
    _take_places(state, task, preparing, (slots,), now)


def place_gang(state: State, task: Task, nodes: Sequence[NodeSlots], now: int, *, is_prepared: bool) -> None:
    """Have a gang that was taken from its window run on free nodes, as many as it needs; the first is the primary's.

    It has one attempt number on all of them. Where any of them is still being prepared, it waits there.
    """
    attempt = max(task.attempt, *(state.nodes[slots.key].attempts for slots in nodes)) + 1
    for slots in nodes:
        state.save_node(replace(state.nodes[slots.key], attempts=attempt))
    gang = Gang(len(nodes), tuple(_instance(state, slots, now) for slots in nodes))
    fields = {**_placed_on(state, state.nodes[nodes[0].key]), **_fresh_run(now), "start_time": None, "gang": gang}
    preparing = _moved(task, TaskTrigger.PREPARE, now, **fields)
    _take_places(state, task, preparing, nodes, now)
    if is_prepared:
        start_prepared(state, preparing, now)


def _take_places(state: State, before: Task, task: Task, nodes: Sequence[NodeSlots], now: int) -> None:
    key = (task.job, task.key)
    state.tasks[key] = task
    state.save_task(before, task)
    work = state.job_work[task.job]
    work.placed[task.key] = None
    size = work.size_of(task)
    for slots in nodes:
        slots.occupy(key, size)
        slots.last_progress = now
        state.stirred_nodes[slots.key] = None


def start_prepared(state: State, task: Task, now: int) -> None:
    """The nodes of a task that waited for it are prepared."""
    started = _moved(task, TaskTrigger.START, now, **_fresh_run(now))
    state.save_task(task, started)
    for number, key in enumerate(task.places):
        node = state.nodes[key]
        state.save_node(replace(node, recent_tasks=_with_recent(node, task, number or None)))
        state.order(start_order(state, (task.job, task.key), key))


def place_ahead(state: State, task: Task, slots: NodeSlots, now: int) -> None:
    """Have a node start a task that was taken from its window as soon as it has slots for it."""
    node = _assign_attempt(state, task, slots, recent=False)
    placed = replace(task, **_placed_on(state, node))
    key = (task.job, task.key)
    state.tasks[key] = placed
    state.save_task(task, placed)
    work = state.job_work[task.job]
    work.placed[task.key] = None
    if not slots.ahead:
        slots.last_progress = now
    slots.ahead[key] = work.size_of(task)
    state.order(start_order(state, key, slots.key))


def start_placed(state: State, slots: NodeSlots, key: TaskKey, start_time: int, now: int) -> None:
    """A task that was placed ahead has got its slots."""
    task = state.tasks[key]
    started = _moved(task, TaskTrigger.START, now, **_fresh_run(start_time))
    size = slots.ahead[key]
    slots.vacate(key)
    slots.occupy(key, size)
    slots.last_progress = now
    state.save_task(task, started)
    node = state.nodes[slots.key]
    state.save_node(replace(node, recent_tasks=_with_recent(node, task)))


def complete(state: State, task: Task, trigger: TaskTrigger, now: int, *, result: TaskResult, **fields: Any) -> Task:
    """The task is over, wherever it was. ``fields``: what else its record is to say."""
    if trigger is TaskTrigger.END and task.state is TaskState.ACTIVE:
        # Placed ahead, and its end came before anything said that it had started.
        started = _moved(task, TaskTrigger.START, now)
    else:
        started = task
    if task.gang is not None:
        fields["gang"] = task.gang.closed(now)
    done = _moved(started, trigger, now, result=result, withdrawal=None, **fields)
    lets_go_on = state.jobs[task.job].uses_task_dependencies and satisfies(done)
    if lets_go_on:
        done = replace(done, satisfies_dependents=True)
    if task.is_waiting:
        state.dequeue(task)
    state.save_task(task, done)
    if lets_go_on:
        dependencies.note_satisfied(state, task)
    if not task.is_waiting:
        _leave_place(state, task, now)
    if task.key == state.job_work[task.job].manager:
        state.save_job(replace(state.jobs[task.job], is_manager_done=True))
    return done


def end(state: State, task: Task, now: int, failure: Failure) -> Task:
    """The service ends a task that is not over, on behalf of a user or its own; it fails with this."""
    stop_for_good(state, task)
    return complete(
        state,
        task,
        TaskTrigger.TERMINATE,
        now,
        result=TaskResult.FAILURE,
        failure=failure,
        exit_code=None,
        end_time=now,
    )


def stop_for_good(state: State, task: Task) -> None:
    """Have the task's nodes, if it has any, end an attempt that nobody asks about any more."""
    for node in task.places:
        state.mourn(state.node_slots[node], (task.job, task.key), task.attempt)
        state.order(StopTask(node=node, attempt=attempt_of(task)))


def give_back(state: State, task: Task, trigger: TaskTrigger, now: int, **fields: Any) -> None:
    """A task that had a place waits for another one, in its old rank."""
    state.enqueue(_unplace(state, task, trigger, now, **fields))


def _unplace(state: State, task: Task, trigger: TaskTrigger, now: int, **fields: Any) -> Task:
    """Have a task no place any more; it is saved as one that waits for one."""
    unplaced: dict[str, Any] = {"node": None, "node_id": None, "pool_id": None, "withdrawal": None}
    if task.gang is not None:
        unplaced["gang"] = Gang(task.gang.size)
    if trigger is TaskTrigger.REQUEUE:
        fields |= {"requeue_count": task.requeue_count + 1, "last_requeue_time": now}
    elif trigger is TaskTrigger.RETRY:
        fields |= {"retry_count": task.retry_count + 1, "last_retry_time": now}
    if task.state is TaskState.ACTIVE:
        waiting = replace(task, **unplaced)
    else:
        waiting = _moved(task, trigger, now, **unplaced, **fields)
    state.save_task(task, waiting)
    _leave_place(state, task, now)
    return waiting


#: What it counts as that a task goes back to waiting.
_TRIGGERS = {Withdrawal.REQUEUE: TaskTrigger.REQUEUE, Withdrawal.RETRY: TaskTrigger.RETRY}


def return_withdrawn(state: State, task: Task, now: int) -> None:
    """Its nodes have ended what they were told to end, and the task goes back to waiting."""
    trigger = TaskTrigger.LOSE if task.withdrawal is None else _TRIGGERS.get(task.withdrawal, TaskTrigger.LOSE)
    wait_for_place(state, _unplace(state, task, trigger, now), now)


def withdraw(state: State, task: Task, kind: Withdrawal) -> None:
    """Have the task's nodes end it; it goes back to waiting when they have confirmed that."""
    if task.withdrawal is not None:
        return
    slots = state.node_slots[task.places[0]]
    key = (task.job, task.key)
    if key in slots.ahead:
        kind = Withdrawal.RETURN
        slots.recalled[key] = slots.ahead.pop(key)
    state.save_task(task, replace(task, withdrawal=kind))
    for node in task.places:
        state.order(StopTask(node=node, attempt=attempt_of(task)))


def give_up(state: State, task: Task, slots: NodeSlots, now: int) -> None:
    """Nothing of the task runs on that node any more: it is lost, or was withdrawn and has ended."""
    if task.gang is not None and task.gang.instances:
        task = leave(state, task, slots, now, result=TaskResult.FAILURE)
        if task.places:
            withdraw(state, task, Withdrawal.RETURN)
            return
    return_withdrawn(state, task, now)


def leave(state: State, task: Task, slots: NodeSlots, now: int, **outcome: Any) -> Task:
    """A gang has one place less, with this outcome of the instance there. Returns the task as it is now."""
    assert task.gang is not None  # noqa: S101 - it is a gang
    number, instance = task.gang.find(slots.key)
    outcome = {"end_time": now, **outcome}
    ended = instance.moved(SubtaskState.COMPLETED, now, **outcome)
    after = replace(task, gang=task.gang.with_instance(number, ended))
    state.save_task(task, after)
    _free(state, (task.job, task.key), slots, now)
    return after


def outlive(state: State, task: Task, nodes: Sequence[NodeSlots], attempt: int, now: int) -> None:
    """Have a waiting task, which is not in memory, wait until its earlier run on these nodes has ended.

    Of a task that is no gang, it is one node.
    """
    fields = {**_placed_on(state, state.nodes[nodes[0].key]), "attempt": attempt, "withdrawal": Withdrawal.EARLIER}
    if task.gang is not None:
        instances = tuple(_instance(state, slots, now) for slots in nodes)
        fields["gang"] = Gang(task.gang.size, instances)
    bound = replace(task, **fields)
    key = (task.job, task.key)
    work = state.job_work[task.job]
    for slots in nodes:
        slots.recalled[key] = work.size_of(task)
    state.tasks[key] = bound
    state.save_task(task, bound)
    work.placed[task.key] = None
    state.touch(work)


def wait_for_place(state: State, task: Task, now: int) -> None:
    """A task that is new, or new again, waits for a place; first for the end of an earlier run, where there is one."""
    key = (task.job, task.key)
    dying = state.dying.get(key)
    if dying is None:
        state.enqueue(task)
        return
    attempt = dying[0].dying[key]
    nodes = [slots for slots in dying if slots.dying[key] == attempt] if task.gang is not None else [dying[0]]
    for slots in nodes:
        state.bury(slots, key)
    outlive(state, task, nodes, attempt, now)


def _instance(state: State, slots: NodeSlots, now: int) -> Instance:
    node = state.nodes[slots.key]
    return Instance(node=node.key, node_id=node.id, ip_address=node.ip_address, state_transition_time=now)


def recall_ahead(state: State, slots: NodeSlots) -> None:
    """Take back all that is placed ahead on a node."""
    for key in list(slots.ahead):
        withdraw(state, state.tasks[key], Withdrawal.RETURN)


def return_tasks(state: State, slots: NodeSlots, now: int) -> None:
    """Nothing runs on the node any more: all tasks that have a place there wait for another one."""
    for key in slots.tasks():
        give_up(state, state.tasks[key], slots, now)
    bury_dead(state, slots)


def bury_dead(state: State, slots: NodeSlots) -> None:
    """None of the attempts that the node was told to end for good is left."""
    for key in list(slots.dying):
        state.bury(slots, key)


def has_place(task: Task) -> bool:
    return task.node is not None and task.state is not TaskState.COMPLETED


def attempt_of(task: Task) -> AttemptRef:
    return AttemptRef(task.job, task.key, task.attempt)


def start_order(state: State, key: TaskKey, node: str) -> StartTask:
    """The order to run a task that has a place on a node, given again."""
    task = state.tasks[key]
    required = 1 if task.gang is not None else state.job_work[task.job].size_of(task)
    return StartTask(node=node, attempt=attempt_of(task), required_slots=required)


def _leave_place(state: State, task: Task, now: int) -> None:
    """Free all of a task's places."""
    key = (task.job, task.key)
    del state.tasks[key]
    work = state.job_work[task.job]
    del work.placed[task.key]
    state.touch(work)
    state.stirred_jobs[task.job] = None
    for node in task.places if task.gang is not None else (task.node or "",):
        _free(state, key, state.node_slots[node], now)


def _free(state: State, key: TaskKey, slots: NodeSlots, now: int) -> None:
    """Free a task's place on a node; what was placed ahead there starts where there are slots now."""
    slots.vacate(key)
    slots.last_progress = now
    state.stirred_nodes[slots.key] = None
    while slots.ahead:
        first, size = next(iter(slots.ahead.items()))
        if size > slots.free:
            break
        start_placed(state, slots, first, now, now)


def _assign_attempt(state: State, task: Task, slots: NodeSlots, *, recent: bool) -> Node:
    """Give the node the next attempt, higher than any of the task's and any of its own."""
    node = state.nodes[slots.key]
    attempts = max(task.attempt, node.attempts) + 1
    node = replace(node, attempts=attempts, recent_tasks=_with_recent(node, task) if recent else node.recent_tasks)
    state.save_node(node)
    return node


def _placed_on(state: State, node: Node) -> dict[str, Any]:
    return {
        "attempt": node.attempts,
        "node": node.key,
        "node_id": node.id,
        "pool_id": state.pools[node.pool].id,
    }


def _fresh_run(start_time: int) -> dict[str, Any]:
    """What a record says of a run that has just begun; until then it tells of the one before."""
    return {
        "start_time": start_time,
        "end_time": None,
        "exit_code": None,
        "result": None,
        "failure": None,
        "container_info": None,
    }


def _with_recent(node: Node, task: Task, subtask: int | None = None) -> tuple[RecentTask, ...]:
    recent = RecentTask(task.job, task.key, subtask)
    others = node.recent_tasks
    if recent in others:
        others = tuple(other for other in others if other != recent)
    return (recent, *others[: RECENT_TASKS - 1])


def _moved(task: Task, trigger: TaskTrigger, now: int, **fields: Any) -> Task:
    return replace(
        task,
        state=move(TASK, task, task.state, trigger),
        state_transition_time=now,
        previous_state=task.state,
        previous_state_transition_time=task.state_transition_time,
        **fields,
    )
