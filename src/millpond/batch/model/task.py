"""Tasks: what the scheduler needs to place one, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from .exit_conditions import ExitConditions
from .statistics import TaskUsage


class TaskState(StrEnum):
    ACTIVE = "active"
    PREPARING = "preparing"
    RUNNING = "running"
    COMPLETED = "completed"


class TaskResult(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


class ErrorCategory(StrEnum):
    USER_ERROR = "usererror"
    SERVER_ERROR = "servererror"


class Withdrawal(StrEnum):
    """How a task that its node was told to end goes back to waiting, once the node has confirmed the end."""

    #: Its client asked for it, by way of its job or node: counts in ``requeue_count``.
    REQUEUE = "requeue"
    #: The service needs the place: counts nowhere.
    RETURN = "return"
    #: It failed, and the rest of its gang is being ended before it runs again: counts in ``retry_count``.
    RETRY = "retry"
    #: It is an earlier run, of this task before it was reactivated or of a deleted one with its id, that is being
    #: ended; the task itself has not got a place yet.
    EARLIER = "earlier"


class Failure(msgspec.Struct, frozen=True):
    """The ``failureInfo`` of a task or a start task."""

    category: ErrorCategory
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


class ContainerInfo(msgspec.Struct, frozen=True):
    """What became of the container that a task ran in, as its runtime says it."""

    container_id: str
    state: str
    error: str = ""


class SubtaskState(StrEnum):
    PREPARING = "preparing"
    RUNNING = "running"
    COMPLETED = "completed"


ENDED_WITH_TASK = Failure(ErrorCategory.SERVER_ERROR, "TaskEnded", "The subtask was ended with its task.")


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one node does for a multi-instance task. It has its place there until it is ``completed``."""

    node: str
    node_id: str
    ip_address: str
    state: SubtaskState = SubtaskState.PREPARING
    state_transition_time: int
    previous_state: SubtaskState | None = None
    previous_state_transition_time: int | None = None
    start_time: int | None = None
    end_time: int | None = None
    #: Of its coordination command; the primary's ends up in the task.
    exit_code: int | None = None
    result: TaskResult | None = None
    failure: Failure | None = None
    container_info: ContainerInfo | None = None
    #: Its coordination command has succeeded.
    is_coordinated: bool = False

    def moved(self, state: SubtaskState, now: int, **fields: Any) -> Instance:
        return replace(
            self,
            state=state,
            state_transition_time=now,
            previous_state=self.state,
            previous_state_transition_time=self.state_transition_time,
            **fields,
        )


class Gang(msgspec.Struct, frozen=True, gc=False):
    """The nodes that a multi-instance task takes all at once."""

    #: ``numberOfInstances``.
    size: int
    #: Of the latest run, by number: 0 is the primary, the others are the subtasks.
    instances: tuple[Instance, ...] = ()

    def find(self, node: str) -> tuple[int, Instance]:
        """The instance on a node, with its number. Raises ``LookupError``."""
        for number, instance in enumerate(self.instances):
            if instance.node == node:
                return number, instance
        raise LookupError(f"no instance is on node {node}")

    def with_instance(self, number: int, instance: Instance) -> Gang:
        return Gang(self.size, (*self.instances[:number], instance, *self.instances[number + 1 :]))

    @property
    def is_coordinated(self) -> bool:
        """Whether all coordination commands have succeeded, so that the primary may run its own."""
        return bool(self.instances) and all(instance.is_coordinated for instance in self.instances)

    def closed(self, now: int) -> Gang:
        """As it is when the task is over, whatever its nodes have still to end."""
        return Gang(self.size, tuple(_closed(instance, now) for instance in self.instances))


def _closed(instance: Instance, now: int) -> Instance:
    if instance.state is SubtaskState.COMPLETED:
        return instance
    if instance.is_coordinated:
        return instance.moved(SubtaskState.COMPLETED, now, end_time=now, result=TaskResult.SUCCESS)
    outcome = {"result": TaskResult.FAILURE, "failure": ENDED_WITH_TASK}
    return instance.moved(SubtaskState.COMPLETED, now, end_time=now, **outcome)


class Task(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task without its document (command line, files, environment), which only its node needs.

    There are many, and none refers to anything that could refer back: the garbage collector need not look at them.
    """

    #: Key of its job, its own key within the job, and its id as given.
    job: str
    key: str
    id: str
    #: Its place in the order of addition within its job; tasks start in this order.
    seq: int
    state: TaskState = TaskState.ACTIVE
    state_transition_time: int
    previous_state: TaskState | None = None
    previous_state_transition_time: int | None = None
    creation_time: int
    last_modified: int
    required_slots: int = 1
    #: -1: without limit.
    max_task_retry_count: int = 0
    max_wall_clock_time: int
    retention_time: int
    exit_conditions: ExitConditions | None = None
    #: The id (in lower case) of the node that it goes to if there is room when it is its turn.
    affinity: str | None = None
    #: Dependencies that are open; it runs only without any.
    pending_dependencies: int = 0
    #: Whether its end has satisfied those that depend on it; only where its job uses task dependencies.
    satisfies_dependents: bool = False
    #: Names its latest placement, higher than those before, and than all earlier ones on the same node (so a task
    #: that is deleted and added again is not taken for the old one). Reports about another attempt are dropped.
    attempt: int = 0
    #: Set while its node is to end this attempt and the task is to go back to waiting.
    withdrawal: Withdrawal | None = None
    #: Key of the node it is placed on or ran on last. An active task with a node waits there, placed ahead.
    node: str | None = None
    pool_id: str | None = None
    node_id: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    exit_code: int | None = None
    result: TaskResult | None = None
    failure: Failure | None = None
    container_info: ContainerInfo | None = None
    retry_count: int = 0
    last_retry_time: int | None = None
    requeue_count: int = 0
    last_requeue_time: int | None = None
    #: Of a multi-instance task; ``node`` is its primary's then.
    gang: Gang | None = None
    #: ``None`` before a run has ended.
    usage: TaskUsage | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Keys of the nodes on which it has a place."""
        if self.node is None or self.state is TaskState.COMPLETED:
            return ()
        if self.gang is None or not self.gang.instances:
            return (self.node,)
        return tuple(i.node for i in self.gang.instances if i.state is not SubtaskState.COMPLETED)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Keys of the nodes on which its latest run is or was."""
        if self.gang is not None and self.gang.instances:
            return tuple(instance.node for instance in self.gang.instances)
        return () if self.node is None else (self.node,)

    @property
    def is_waiting(self) -> bool:
        """Whether it is active and has no place on a node, not even ahead of its turn."""
        return self.state is TaskState.ACTIVE and self.node is None

    @property
    def is_held_back(self) -> bool:
        """Whether it is active and waits for others to end."""
        return self.pending_dependencies > 0 and self.state is TaskState.ACTIVE

    @property
    def is_ready(self) -> bool:
        """Whether all that it waits for is a place."""
        return self.is_waiting and not self.pending_dependencies
