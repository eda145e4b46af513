"""What happens (events) and what is to be done (effects).

Events are past tense, or end in ``Requested`` where a client asks for something the engine may refuse with a
:class:`~millpond.common.errors.ServiceError`. Effects are orders; each may be carried out twice without harm.
All names of entities are keys (:mod:`millpond.batch.model.keys`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from millpond.common.conditions import NO_CONDITIONS, Conditions

from ..model.exit_conditions import ExitConditions
from ..model.job import DisableTasks, Job, OnAllTasksComplete
from ..model.job_node import JobTaskKind
from ..model.pool import DeallocationOption, FillType, Node, NodeError, Pool, StartTaskInfo
from ..model.schedule import JobSchedule, Timetable
from ..model.statistics import RunUsage
from ..model.task import ContainerInfo, Failure, Task, TaskResult

# --- Events: requests of clients ---------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""


class PoolAddRequested(Event, frozen=True, kw_only=True):
    """Reply: the :class:`Pool`. The engine fills in what it decides on (states and times are its own)."""

    pool: Pool


class PoolPatchRequested(Event, frozen=True, kw_only=True):
    """Members of ``document`` replace those of the pool; ``drop`` names members to remove. Reply: the pool.

    ``UNSET`` fields stay as they are.
    """

    pool: str
    document: dict[str, Any]
    drop: Sequence[str] = ()
    start_task_wait_for_success: bool | msgspec.UnsetType | None = msgspec.UNSET
    vm_size: str | msgspec.UnsetType = msgspec.UNSET
    task_slots_per_node: int | msgspec.UnsetType = msgspec.UNSET
    enable_inter_node_communication: bool | msgspec.UnsetType = msgspec.UNSET
    fill_type: FillType | msgspec.UnsetType = msgspec.UNSET
    #: The request changes what may change only while the pool has no nodes.
    needs_empty_pool: bool = False
    conditions: Conditions = NO_CONDITIONS


class PoolDeleteRequested(Event, frozen=True, kw_only=True):
    pool: str
    conditions: Conditions = NO_CONDITIONS


class ResizeRequested(Event, frozen=True, kw_only=True):
    """Reply: the pool."""

    pool: str
    target_dedicated_nodes: int | None
    target_low_priority_nodes: int | None
    resize_timeout: int | None
    deallocation_option: DeallocationOption = DeallocationOption.REQUEUE
    conditions: Conditions = NO_CONDITIONS


class StopResizeRequested(Event, frozen=True, kw_only=True):
    """Reply: the pool."""

    pool: str
    conditions: Conditions = NO_CONDITIONS


class NodesRemoveRequested(Event, frozen=True, kw_only=True):
    """Reply: the pool."""

    pool: str
    nodes: Sequence[str]
    resize_timeout: int | None
    deallocation_option: DeallocationOption = DeallocationOption.REQUEUE
    conditions: Conditions = NO_CONDITIONS


class AutoScaleEnableRequested(Event, frozen=True, kw_only=True):
    """Have a pool scale by itself, or change how it does; ``None``: as before, or the default. Reply: the pool."""

    pool: str
    formula: str | None
    evaluation_interval: int | None
    conditions: Conditions = NO_CONDITIONS


class AutoScaleDisableRequested(Event, frozen=True, kw_only=True):
    """Reply: the pool."""

    pool: str
    conditions: Conditions = NO_CONDITIONS


class AutoScaleEvaluateRequested(Event, frozen=True, kw_only=True):
    """What would a formula say? Reply: the pool, and the :class:`AutoScaleRun` that it would be."""

    pool: str
    formula: str
    conditions: Conditions = NO_CONDITIONS


class NodePreemptRequested(Event, frozen=True, kw_only=True):
    """The cloud, played by a person, takes the machine of a low-priority node away for so long. Reply: the node."""

    account: str
    node_id: str
    duration: int


class NodeRebootRequested(Event, frozen=True, kw_only=True):
    """Reply: the node."""

    pool: str
    node: str
    option: DeallocationOption = DeallocationOption.REQUEUE


class NodeReimageRequested(Event, frozen=True, kw_only=True):
    """Reply: the node."""

    pool: str
    node: str
    option: DeallocationOption = DeallocationOption.REQUEUE


class NodeDeallocateRequested(Event, frozen=True, kw_only=True):
    """Reply: the node."""

    pool: str
    node: str
    option: DeallocationOption = DeallocationOption.REQUEUE


class NodeStartRequested(Event, frozen=True, kw_only=True):
    """Reply: the node, which was deallocated."""

    pool: str
    node: str


class NodeDisableSchedulingRequested(Event, frozen=True, kw_only=True):
    """Reply: the node. The option is not ``RETAINED_DATA``."""

    pool: str
    node: str
    option: DeallocationOption = DeallocationOption.REQUEUE


class NodeEnableSchedulingRequested(Event, frozen=True, kw_only=True):
    """Reply: the node."""

    pool: str
    node: str


class JobAddRequested(Event, frozen=True, kw_only=True):
    """Reply: the :class:`Job`. The engine fills in what it decides on."""

    job: Job


class JobChangeRequested(Event, frozen=True, kw_only=True):
    """A patch or a replacement of a job. Reply: the job. ``UNSET`` fields and unnamed members stay as they are."""

    job: str
    document: dict[str, Any]
    drop: Sequence[str] = ()
    priority: int | msgspec.UnsetType = msgspec.UNSET
    max_parallel_tasks: int | msgspec.UnsetType = msgspec.UNSET
    max_task_retry_count: int | msgspec.UnsetType = msgspec.UNSET
    max_wall_clock_time: int | msgspec.UnsetType = msgspec.UNSET
    on_all_tasks_complete: OnAllTasksComplete | msgspec.UnsetType = msgspec.UNSET
    #: Key and id of another pool; may change only while the job is disabled.
    pool: tuple[str, str] | msgspec.UnsetType = msgspec.UNSET
    #: Whether the pool that was made for the job stays after it.
    keep_pool: bool | msgspec.UnsetType = msgspec.UNSET
    conditions: Conditions = NO_CONDITIONS


class JobDeleteRequested(Event, frozen=True, kw_only=True):
    """``force``: nodes that do not answer are not waited for; a job that is being deleted may be told so, too."""

    job: str
    force: bool = False
    conditions: Conditions = NO_CONDITIONS


class JobTerminateRequested(Event, frozen=True, kw_only=True):
    """Reply: the job. ``force``: as for a deletion."""

    job: str
    terminate_reason: str = "UserTerminate"
    force: bool = False
    conditions: Conditions = NO_CONDITIONS


class JobDisableRequested(Event, frozen=True, kw_only=True):
    """Reply: the job."""

    job: str
    disable_tasks: DisableTasks
    conditions: Conditions = NO_CONDITIONS


class JobEnableRequested(Event, frozen=True, kw_only=True):
    """Reply: the job."""

    job: str
    conditions: Conditions = NO_CONDITIONS


class JobScheduleAddRequested(Event, frozen=True, kw_only=True):
    """Reply: the :class:`JobSchedule`. The engine fills in what it decides on."""

    schedule: JobSchedule


class JobScheduleChangeRequested(Event, frozen=True, kw_only=True):
    """A patch or a replacement. Reply: the job schedule. ``UNSET`` fields and unnamed members stay as they are."""

    schedule: str
    document: dict[str, Any]
    drop: Sequence[str] = ()
    timetable: Timetable | msgspec.UnsetType = msgspec.UNSET
    template: Job | msgspec.UnsetType = msgspec.UNSET
    conditions: Conditions = NO_CONDITIONS


class JobScheduleDeleteRequested(Event, frozen=True, kw_only=True):
    schedule: str
    #: As for each of its jobs.
    force: bool = False
    conditions: Conditions = NO_CONDITIONS


class JobScheduleTerminateRequested(Event, frozen=True, kw_only=True):
    """Reply: the job schedule."""

    schedule: str
    #: As for its job.
    force: bool = False
    conditions: Conditions = NO_CONDITIONS


class JobScheduleDisableRequested(Event, frozen=True, kw_only=True):
    """Reply: the job schedule."""

    schedule: str
    conditions: Conditions = NO_CONDITIONS


class JobScheduleEnableRequested(Event, frozen=True, kw_only=True):
    """Reply: the job schedule."""

    schedule: str
    conditions: Conditions = NO_CONDITIONS


class Prerequisites(msgspec.Struct, frozen=True):
    """What a task depends on: keys of tasks, and ranges of the numbers that ids spell (first and last)."""

    tasks: Sequence[str] = ()
    ranges: Sequence[tuple[int, int]] = ()


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task to add. ``document`` is its JSON in the newest form, never decoded on its way to the node."""

    id: str
    document: bytes
    required_slots: int = 1
    #: ``None``: as the job says.
    max_task_retry_count: int | None = None
    max_wall_clock_time: int
    retention_time: int
    depends_on: Prerequisites | None = None
    exit_conditions: ExitConditions | None = None
    affinity: str | None = None
    #: Of a multi-instance task: how many nodes it takes.
    number_of_instances: int | None = None


class TasksAddRequested(Event, frozen=True, kw_only=True):
    """Reply: for each task, the :class:`Task` or the :class:`ServiceError` that refuses it.

    What is wrong with the job refuses the whole.
    """

    job: str
    tasks: Sequence[NewTask]


class TaskChangeRequested(Event, frozen=True, kw_only=True):
    """New constraints. Reply: the task. ``UNSET`` fields stay as they are; ``None`` retries: as the job says."""

    job: str
    task: str
    max_task_retry_count: int | msgspec.UnsetType | None = msgspec.UNSET
    max_wall_clock_time: int | msgspec.UnsetType = msgspec.UNSET
    retention_time: int | msgspec.UnsetType = msgspec.UNSET
    conditions: Conditions = NO_CONDITIONS


class TaskTerminateRequested(Event, frozen=True, kw_only=True):
    """Reply: the task."""

    job: str
    task: str
    conditions: Conditions = NO_CONDITIONS


class TaskDeleteRequested(Event, frozen=True, kw_only=True):
    job: str
    task: str
    conditions: Conditions = NO_CONDITIONS


class TaskReactivateRequested(Event, frozen=True, kw_only=True):
    """Reply: the task."""

    job: str
    task: str
    conditions: Conditions = NO_CONDITIONS


# --- Events: news from nodes and providers, and of time ----------------------------------------------------------


class AttemptRef(msgspec.Struct, frozen=True, array_like=True):
    """One placement of a task."""

    job: str
    task: str
    attempt: int


class AgentConnected(Event, frozen=True, kw_only=True):
    """An agent opened its channel. ``holding``: the attempts it has to run, runs, or has ended and not yet reported.

    Reply: the node; the effect :class:`SyncNode` follows, the whole of what the node should run. Refused with
    ``NodeNotFound`` where there is no such node, and ``NodeNotReady`` where the boot is not the node's present one
    or the node is leaving: the agent should end.
    """

    node: str
    boot: int
    ip_address: str
    agent_version: str
    start_task: StartTaskInfo | None
    #: Whether what the pool's nodes are to have before their start task is there (:class:`NodePrepared`).
    is_prepared: bool = True
    holding: Sequence[AttemptRef] = ()


class AgentLost(Event, frozen=True, kw_only=True):
    """No word from the agent of this boot for too long; it may come back."""

    node: str
    boot: int


class NodePrepared(Event, frozen=True, kw_only=True):
    """A node has what its pool's nodes are to have before their start task: users, application packages."""

    node: str
    boot: int


class StartTaskReported(Event, frozen=True, kw_only=True):
    node: str
    boot: int
    info: StartTaskInfo


class TaskStarted(Event, frozen=True, kw_only=True):
    node: str
    boot: int
    attempt: AttemptRef
    start_time: int


class TaskCoordinated(Event, frozen=True, kw_only=True):
    """A multi-instance task's coordination command has succeeded on a node."""

    node: str
    boot: int
    attempt: AttemptRef


class TaskEnded(Event, frozen=True, kw_only=True):
    """An attempt is over: its process ended, or it could not be started (then there is no exit code)."""

    node: str
    boot: int
    attempt: AttemptRef
    #: ``None`` where it ended before anything started.
    start_time: int | None
    end_time: int
    exit_code: int | None
    result: TaskResult
    failure: Failure | None = None
    container_info: ContainerInfo | None = None
    #: A non-zero exit code may be retried; a failed download, upload or time limit may not.
    may_retry: bool = False
    usage: RunUsage | None = None


class NodeTroubled(Event, frozen=True, kw_only=True):
    """The node or its agent reports that it cannot work (disk full, mount failed, …): it becomes unusable."""

    node: str
    boot: int
    error: NodeError


class NodeRecovered(Event, frozen=True, kw_only=True):
    """The node is in no trouble, or no longer."""

    node: str
    boot: int


class NodeNotGranted(Event, frozen=True, kw_only=True):
    """The provider could not start a node it was asked for."""

    node: str
    boot: int
    code: str
    message: str


class NodeEnded(Event, frozen=True, kw_only=True):
    """The provider saw a node's machine or agent end, unasked for. It boots again."""

    node: str
    boot: int
    message: str


class NodeReleased(Event, frozen=True, kw_only=True):
    """The provider has given a node back: nothing of it is left."""

    node: str


class NodeDeallocated(Event, frozen=True, kw_only=True):
    """The provider has ended a node; its disk is kept."""

    node: str
    boot: int


class NodeOverdue(Event, frozen=True, kw_only=True):
    """The agent of this boot may have been away for too long."""

    node: str
    boot: int


class NodeMeasured(Event, frozen=True, kw_only=True):
    """What a node used in the last half minute, by the names that formulas have for it."""

    node: str
    boot: int
    usage: Mapping[str, float]


class PreemptionEnded(Event, frozen=True, kw_only=True):
    """There may be a machine again for a node that was preempted."""

    node: str
    boot: int


class RetentionEnded(Event, frozen=True, kw_only=True):
    """The files on a node that is to go once nobody needs them may be needed no longer."""

    node: str


class PlacementsOverdue(Event, frozen=True, kw_only=True):
    """Tasks placed ahead on nodes of this pool may have waited there for too long."""

    pool: str


class ResizeTimedOut(Event, frozen=True, kw_only=True):
    """The time of the resize that started then is over."""

    pool: str
    resize_started: int


class AutoScaleDue(Event, frozen=True, kw_only=True):
    """The pool's formula may be due for evaluation."""

    pool: str


class SamplesDue(Event, frozen=True, kw_only=True):
    """It is time to sample the metrics of the pools that scale by themselves, and to sum up what pools have used."""


class JobTimedOut(Event, frozen=True, kw_only=True):
    """A job's maximum wall-clock time, the time that an empty one waits for its first task, or the time that an ending
    one waits for its nodes, may be over."""

    job: str


class JobScheduleDue(Event, frozen=True, kw_only=True):
    """A job of the schedule may be due, or its time over."""

    schedule: str


class DependentsDue(Event, frozen=True, kw_only=True):
    """Tasks of the job have ended, and not all that depend on them have been told yet."""

    job: str


class JobPurged(Event, frozen=True, kw_only=True):
    """The tasks of a job that is being deleted are gone from the store."""

    job: str


# --- Effects -----------------------------------------------------------------------------------------------------


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do, after the records that led to it are committed."""


class RequestNode(Effect, frozen=True, kw_only=True):
    """Have the provider start this node, or start it again for its present boot, on its present disk."""

    node: Node


class ReleaseNode(Effect, frozen=True, kw_only=True):
    """Have the provider end this node and remove what it left; :class:`NodeReleased` follows."""

    node: str


class DeallocateNode(Effect, frozen=True, kw_only=True):
    """Have the provider end this node and keep its disk; :class:`NodeDeallocated` follows."""

    node: str
    boot: int


class StartTask(Effect, frozen=True, kw_only=True):
    """Have the node run this attempt as soon as slots are free there, after those ordered before.

    ``kind``: it is the job's preparation or release task, which takes no slots and waits for none.
    """

    node: str
    attempt: AttemptRef
    required_slots: int
    kind: JobTaskKind | None = None


class RunPrimary(Effect, frozen=True, kw_only=True):
    """Have the primary's node run a multi-instance task's own command: all coordination commands have succeeded."""

    node: str
    attempt: AttemptRef


class StopTask(Effect, frozen=True, kw_only=True):
    """Have the node end this attempt, or not start it.

    :class:`TaskEnded` follows in any case: without a start time where it was not started, or never heard of.
    """

    node: str
    attempt: AttemptRef


class ForgetTask(Effect, frozen=True, kw_only=True):
    """The attempt's end is on record: the node need not report it again.

    ``discard``: nobody will ask for its files either, since the task is to run anew.
    """

    node: str
    attempt: AttemptRef
    discard: bool = False


class SyncNode(Effect, frozen=True, kw_only=True):
    """Tell the node all that it should run; what else it runs, it ends. What it holds besides, it forgets.

    :class:`StopTask` orders for attempts in ``start`` may follow it.
    """

    node: str
    start: Sequence[StartTask]
    forget: Sequence[AttemptRef] = ()


class PurgeJob(Effect, frozen=True, kw_only=True):
    """Remove the tasks of a job that is being deleted from the store, part by part; :class:`JobPurged` follows."""

    job: str


class RaiseAt(Effect, frozen=True, kw_only=True):
    """Bring the event back at that moment."""

    moment: int
    event: Event


Reply = Pool | Node | Job | JobSchedule | Task | None
