"""Which state follows which, as tables.

An entity moves for one of two reasons:

* **A trigger.** Something happened to it: a client asked, a node reported, a moment came. The handler of the event
  calls :func:`move` with the trigger; the table of the entity's kind says which state follows. A pair that the
  table does not hold is a move that must not happen. What a client may not ask for *now* is refused by the handler
  beforehand, as the service's own error, so a missing pair is a fault of the engine: it raises
  :class:`IllegalMove`, which carries the record as it was.
* **Its surroundings.** Some moves follow from other entities: a job that is being disabled is disabled once none of
  its tasks has a place; a resize is over once no node joins or leaves; a node with a task is running. These are not
  caused by one event, so no handler makes them: after each batch of events ``machine.settle`` looks at every entity
  whose surroundings have changed, until nothing moves any more. The triggers of such moves are marked below.

So every state change of an entity goes through a row here, and the rows are the state machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from ..model.job import Job, JobState
from ..model.pool import AllocationState, Node, NodeState, Pool, PoolState
from ..model.schedule import JobSchedule, JobScheduleState
from ..model.task import Task, TaskState


class IllegalMove(Exception):  # noqa: N818 - it is named for what was tried
    """A state change that no table allows. Its text tells the entity's story so far."""

    def __init__(self, record: msgspec.Struct, state: StrEnum, trigger: StrEnum) -> None:
        story = {
            name: value
            for name, value in msgspec.structs.asdict(record).items()
            if name != "document" and value not in (None, (), "")
        }
        super().__init__(f"{type(record).__name__} in state {state!s} cannot be {trigger!s}: {story}")


class PoolTrigger(StrEnum):
    DELETE = "deleted"


class AllocationTrigger(StrEnum):
    RESIZE = "resized"
    STOP = "stopped"
    #: From its surroundings: no node is on its way in or out.
    SETTLE = "settled"


class NodeTrigger(StrEnum):
    CONNECT = "connected for the first time in this boot"
    AWAIT_START_TASK = "left to its start task"
    START_TASK_FAIL = "failed by its start task"
    READY = "ready"
    #: From its surroundings: it has its first task, or its last one is gone.
    OCCUPY = "occupied"
    EMPTY = "emptied"
    EMPTY_DISABLED = "emptied while it takes no tasks"
    LOSE = "lost"
    FIND = "found again"
    TROUBLE = "troubled"
    RECOVER = "recovered"
    REBOOT = "rebooted"
    REIMAGE = "reimaged"
    DEALLOCATE = "deallocated"
    STOP = "stopped by its provider"
    START = "started"
    PREEMPT = "preempted"
    LEAVE = "removed"


class JobTrigger(StrEnum):
    DISABLE = "disabled"
    ENABLE = "enabled"
    TERMINATE = "terminated"
    DELETE = "deleted"
    #: From its surroundings: what the client asked for is done.
    SETTLE = "settled"


class JobScheduleTrigger(StrEnum):
    DISABLE = "disabled"
    ENABLE = "enabled"
    TERMINATE = "terminated"
    DELETE = "deleted"
    #: From its surroundings: no job runs, and none is to come.
    SETTLE = "settled"


class TaskTrigger(StrEnum):
    PREPARE = "left to wait for its node to be prepared"
    START = "started"
    END = "ended"
    RETRY = "retried"
    REQUEUE = "requeued"
    LOSE = "lost with its node"
    TERMINATE = "terminated"
    REACTIVATE = "reactivated"


POOL: Mapping[tuple[PoolState, PoolTrigger], PoolState] = {
    (PoolState.ACTIVE, PoolTrigger.DELETE): PoolState.DELETING,
}

_A, _AT = AllocationState, AllocationTrigger
ALLOCATION: Mapping[tuple[AllocationState, AllocationTrigger], AllocationState] = {
    (_A.STEADY, _AT.RESIZE): _A.RESIZING,
    (_A.RESIZING, _AT.STOP): _A.STOPPING,
    (_A.RESIZING, _AT.SETTLE): _A.STEADY,
    (_A.STOPPING, _AT.SETTLE): _A.STEADY,
    # Deletion of the pool begins a resize to nothing, whatever is under way.
    (_A.RESIZING, _AT.RESIZE): _A.RESIZING,
    (_A.STOPPING, _AT.RESIZE): _A.RESIZING,
}

_N, _NT = NodeState, NodeTrigger
#: States of a node whose agent has connected since it last booted; one that was deallocated is starting before that.
UP = frozenset(
    {
        _N.STARTING,
        _N.WAITING_FOR_START_TASK,
        _N.START_TASK_FAILED,
        _N.IDLE,
        _N.RUNNING,
        _N.OFFLINE,
        _N.UNKNOWN,
    }
)
#: States of a node that waits for its agent to connect for the first time since it was asked to boot.
BOOTING = frozenset({_N.CREATING, _N.REBOOTING, _N.REIMAGING, _N.PREEMPTED})
#: States in which a node takes tasks.
WORKING = frozenset({_N.IDLE, _N.RUNNING})

NODE: Mapping[tuple[NodeState, NodeTrigger], NodeState] = {
    # Starting: it was deallocated before.
    **{(state, _NT.CONNECT): _N.STARTING for state in BOOTING | {_N.STARTING}},
    (_N.STARTING, _NT.AWAIT_START_TASK): _N.WAITING_FOR_START_TASK,
    (_N.STARTING, _NT.START_TASK_FAIL): _N.START_TASK_FAILED,
    (_N.WAITING_FOR_START_TASK, _NT.START_TASK_FAIL): _N.START_TASK_FAILED,
    (_N.STARTING, _NT.READY): _N.IDLE,
    (_N.WAITING_FOR_START_TASK, _NT.READY): _N.IDLE,
    (_N.OFFLINE, _NT.READY): _N.IDLE,
    (_N.IDLE, _NT.OCCUPY): _N.RUNNING,
    (_N.RUNNING, _NT.EMPTY): _N.IDLE,
    (_N.RUNNING, _NT.EMPTY_DISABLED): _N.OFFLINE,
    (_N.IDLE, _NT.EMPTY_DISABLED): _N.OFFLINE,
    **{(state, _NT.LOSE): _N.UNKNOWN for state in UP - {_N.UNKNOWN}},
    # Its start task, its tasks and its scheduling state say what it is beyond that.
    (_N.UNKNOWN, _NT.FIND): _N.STARTING,
    (_N.UNUSABLE, _NT.RECOVER): _N.STARTING,
    **{(state, _NT.TROUBLE): _N.UNUSABLE for state in UP | BOOTING},
    **{(state, _NT.REBOOT): _N.REBOOTING for state in UP | {_N.UNUSABLE, _N.REBOOTING}},
    # A node that ends before it was ever there is still being created, reimaged, or got back.
    (_N.CREATING, _NT.REBOOT): _N.CREATING,
    (_N.REIMAGING, _NT.REBOOT): _N.REIMAGING,
    (_N.PREEMPTED, _NT.REBOOT): _N.PREEMPTED,
    # First while it is emptied, then when it is done, which changes nothing more.
    **{(state, _NT.REIMAGE): _N.REIMAGING for state in UP | {_N.UNUSABLE, _N.REIMAGING}},
    **{(state, _NT.DEALLOCATE): _N.DEALLOCATING for state in UP | {_N.UNUSABLE, _N.DEALLOCATING}},
    (_N.DEALLOCATING, _NT.STOP): _N.DEALLOCATED,
    (_N.DEALLOCATED, _NT.START): _N.STARTING,
    **{(state, _NT.PREEMPT): _N.PREEMPTED for state in UP | {_N.UNUSABLE, _N.REBOOTING, _N.REIMAGING}},
    **{(state, _NT.LEAVE): _N.LEAVING_POOL for state in UP | BOOTING | {_N.UNUSABLE, _N.DEALLOCATING, _N.DEALLOCATED}},
}

_J, _JT = JobState, JobTrigger
JOB: Mapping[tuple[JobState, JobTrigger], JobState] = {
    (_J.ACTIVE, _JT.DISABLE): _J.DISABLING,
    (_J.ENABLING, _JT.DISABLE): _J.DISABLING,
    (_J.DISABLING, _JT.DISABLE): _J.DISABLING,
    (_J.DISABLED, _JT.DISABLE): _J.DISABLING,
    (_J.DISABLING, _JT.SETTLE): _J.DISABLED,
    (_J.DISABLED, _JT.ENABLE): _J.ENABLING,
    (_J.DISABLING, _JT.ENABLE): _J.ENABLING,
    (_J.ENABLING, _JT.SETTLE): _J.ACTIVE,
    **{(state, _JT.TERMINATE): _J.TERMINATING for state in (_J.ACTIVE, _J.DISABLING, _J.DISABLED, _J.ENABLING)},
    (_J.TERMINATING, _JT.SETTLE): _J.COMPLETED,
    **{(state, _JT.DELETE): _J.DELETING for state in _J if state is not _J.DELETING},
}

_S, _ST = JobScheduleState, JobScheduleTrigger
JOB_SCHEDULE: Mapping[tuple[JobScheduleState, JobScheduleTrigger], JobScheduleState] = {
    (_S.ACTIVE, _ST.DISABLE): _S.DISABLED,
    (_S.DISABLED, _ST.ENABLE): _S.ACTIVE,
    (_S.ACTIVE, _ST.TERMINATE): _S.TERMINATING,
    (_S.DISABLED, _ST.TERMINATE): _S.TERMINATING,
    (_S.ACTIVE, _ST.SETTLE): _S.COMPLETED,
    (_S.TERMINATING, _ST.SETTLE): _S.COMPLETED,
    **{(state, _ST.DELETE): _S.DELETING for state in _S if state is not _S.DELETING},
}

_T, _TT = TaskState, TaskTrigger
TASK: Mapping[tuple[TaskState, TaskTrigger], TaskState] = {
    (_T.ACTIVE, _TT.START): _T.RUNNING,
    (_T.ACTIVE, _TT.PREPARE): _T.PREPARING,
    (_T.PREPARING, _TT.START): _T.RUNNING,
    (_T.PREPARING, _TT.TERMINATE): _T.COMPLETED,
    (_T.PREPARING, _TT.REQUEUE): _T.ACTIVE,
    # Also where the preparation has failed.
    (_T.PREPARING, _TT.LOSE): _T.ACTIVE,
    (_T.ACTIVE, _TT.TERMINATE): _T.COMPLETED,
    (_T.RUNNING, _TT.END): _T.COMPLETED,
    (_T.RUNNING, _TT.TERMINATE): _T.COMPLETED,
    (_T.RUNNING, _TT.RETRY): _T.ACTIVE,
    (_T.RUNNING, _TT.REQUEUE): _T.ACTIVE,
    (_T.RUNNING, _TT.LOSE): _T.ACTIVE,
    (_T.COMPLETED, _TT.REACTIVATE): _T.ACTIVE,
}

State = TypeVar("State", bound=StrEnum)
Trigger = TypeVar("Trigger", bound=StrEnum)


def move(
    table: Mapping[tuple[State, Trigger], State],
    record: Pool | Node | Job | JobSchedule | Task,
    state: State,
    trigger: Trigger,
) -> State:
    """The state that follows. Raises :class:`IllegalMove` with the record's story where there is none."""
    try:
        return table[state, trigger]
    except KeyError:
        raise IllegalMove(record, state, trigger) from None


def moved_node(node: Node, trigger: NodeTrigger, now: int, **fields: Any) -> Node:
    """The node in the state that follows, since now where that is another one."""
    state = move(NODE, node, node.state, trigger)
    changed = {} if state is node.state else {"state": state, "state_transition_time": now}
    return replace(node, **changed, **fields)
