"""Tasks: what the scheduler needs to place one, and what came of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .exit_conditions import ExitConditions


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
    #: It is an earlier run, of this task before it was reactivated or of a deleted one with its id, that is being
    #: ended; the task itself has not got a place yet.
    EARLIER = "earlier"


class Failure(msgspec.Struct, frozen=True):
    """The ``failureInfo`` of a task or a start task."""

    category: ErrorCategory
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


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
    retry_count: int = 0
    last_retry_time: int | None = None
    requeue_count: int = 0
    last_requeue_time: int | None = None

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
