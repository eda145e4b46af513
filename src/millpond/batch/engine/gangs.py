"""Multi-instance tasks on their way from the first node's word to the last: what makes a gang more than one task.

All nodes of a gang run the coordination command; once it has succeeded everywhere, the primary's node runs the task's
own, and its end is the task's. The end of any other instance before that is the failure of the whole. How a gang gets
its places and loses them is in :mod:`.placement` and :mod:`.scheduler`.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..model.task import SubtaskState, Task
from .messages import RunPrimary, TaskCoordinated, TaskEnded, TaskStarted
from .placement import attempt_of, leave
from .slots import NodeSlots
from .state import State


def note_start(state: State, task: Task, event: TaskStarted, now: int) -> None:
    """A node has begun with its instance."""
    assert task.gang is not None  # noqa: S101 - it is a gang
    number, instance = task.gang.find(event.node)
    if instance.state is SubtaskState.PREPARING:
        running = instance.moved(SubtaskState.RUNNING, now, start_time=event.start_time)
        state.save_task(task, replace(task, gang=task.gang.with_instance(number, running)))


def note_coordination(state: State, task: Task, event: TaskCoordinated) -> None:
    """The coordination command has succeeded on a node."""
    assert task.gang is not None  # noqa: S101 - it is a gang
    number, instance = task.gang.find(event.node)
    if instance.is_coordinated:
        return
    coordinated = replace(instance, is_coordinated=True, exit_code=0)
    after = replace(task, gang=task.gang.with_instance(number, coordinated))
    state.save_task(task, after)
    assert after.node is not None  # noqa: S101 - it has places
    run_if_coordinated(state, after, after.node)


def run_if_coordinated(state: State, task: Task, node: str) -> None:
    """If this is the node of a gang's primary, and all are ready, have it run the task's own command."""
    if task.gang is not None and task.node == node and task.gang.is_coordinated and task.withdrawal is None:
        state.order(RunPrimary(node=node, attempt=attempt_of(task)))


def note_end(state: State, task: Task, slots: NodeSlots, event: TaskEnded, now: int) -> Task:
    """An instance is over. Returns the task without its place there."""
    assert task.gang is not None  # noqa: S101 - it is a gang
    _, instance = task.gang.find(event.node)
    exit_code = instance.exit_code if event.exit_code is None else event.exit_code
    outcome = {
        "exit_code": exit_code,
        "result": event.result,
        "failure": event.failure,
        "container_info": event.container_info,
    }
    return leave(state, task, slots, now, end_time=event.end_time, **outcome)
