"""Pools and their compute nodes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from .task import ContainerInfo, Failure, TaskResult


class PoolState(StrEnum):
    ACTIVE = "active"
    DELETING = "deleting"


class AllocationState(StrEnum):
    STEADY = "steady"
    RESIZING = "resizing"
    STOPPING = "stopping"


class NodeState(StrEnum):
    IDLE = "idle"
    REBOOTING = "rebooting"
    REIMAGING = "reimaging"
    RUNNING = "running"
    UNUSABLE = "unusable"
    CREATING = "creating"
    STARTING = "starting"
    WAITING_FOR_START_TASK = "waitingforstarttask"
    START_TASK_FAILED = "starttaskfailed"
    UNKNOWN = "unknown"
    LEAVING_POOL = "leavingpool"
    OFFLINE = "offline"
    PREEMPTED = "preempted"
    UPGRADING_OS = "upgradingos"
    DEALLOCATED = "deallocated"
    DEALLOCATING = "deallocating"


class SchedulingState(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


class DeallocationOption(StrEnum):
    """What becomes of the tasks on a node that leaves, reboots or is reimaged (``states.md`` 1.3)."""

    REQUEUE = "requeue"
    TERMINATE = "terminate"
    TASK_COMPLETION = "taskcompletion"
    RETAINED_DATA = "retaineddata"


class FillType(StrEnum):
    SPREAD = "spread"
    PACK = "pack"


class ResizeError(msgspec.Struct, frozen=True):
    code: str
    message: str
    values: tuple[tuple[str, str], ...] = ()


class AutoScaleProblem(msgspec.Struct, frozen=True):
    """Why an evaluation failed."""

    code: str
    message: str
    values: tuple[tuple[str, str], ...] = ()


class AutoScaleRun(msgspec.Struct, frozen=True):
    """What came of an evaluation of a pool's formula."""

    timestamp: int
    results: str
    error: AutoScaleProblem | None = None


class AutoScale(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool scales by itself."""

    formula: str
    evaluation_interval: int
    #: When a client enabled it last, and since when evaluations are due every interval.
    enabled: int = 0
    started: int = 0
    #: When the formula is to be evaluated next; past where the pool is not steady, which it waits for.
    next_evaluation: int = 0
    run: AutoScaleRun | None = None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    account: str
    id: str
    state: PoolState = PoolState.ACTIVE
    state_transition_time: int
    allocation_state: AllocationState = AllocationState.STEADY
    allocation_state_transition_time: int
    creation_time: int
    last_modified: int
    vm_size: str
    task_slots_per_node: int = 1
    enable_inter_node_communication: bool = False
    fill_type: FillType = FillType.SPREAD
    target_dedicated_nodes: int = 0
    target_low_priority_nodes: int = 0
    #: ``None`` where the pool does not scale by itself.
    auto_scale: AutoScale | None = None
    #: How long a resize may take.
    resize_timeout: int
    resize_errors: tuple[ResizeError, ...] = ()
    #: The resize under way: when it started, and what becomes of the tasks on nodes that it removes.
    resize_started: int | None = None
    deallocation_option: DeallocationOption = DeallocationOption.REQUEUE
    #: Whether nodes wait for their start task; ``None`` where the pool has none.
    start_task_wait_for_success: bool | None = None
    #: Nodes that ever joined, so that each gets an id and an address of its own.
    nodes_created: int = 0
    #: The pool as its client specified it, with defaults filled in.
    document: dict[str, Any]

    @property
    def enable_auto_scale(self) -> bool:
        return self.auto_scale is not None

    def target(self, is_dedicated: bool) -> int:
        """How many dedicated, or low-priority, nodes it should have."""
        return self.target_dedicated_nodes if is_dedicated else self.target_low_priority_nodes


#: States of a node that has no machine.
WITHOUT_MACHINE = frozenset({NodeState.CREATING, NodeState.PREEMPTED, NodeState.DEALLOCATED})


class NodeError(msgspec.Struct, frozen=True):
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


class StartTaskState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"


class StartTaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    state: StartTaskState
    start_time: int
    end_time: int | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    container_info: ContainerInfo | None = None
    result: TaskResult | None = None
    retry_count: int = 0
    last_retry_time: int | None = None


class RecentTask(msgspec.Struct, frozen=True):
    """A task that ran on a node, as the node's ``recentTasks`` names it."""

    job: str
    task: str
    #: Of a multi-instance task, where this node is not its primary.
    subtask: int | None = None


class Node(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    pool: str
    id: str
    #: The how-many-th node of its pool: gives local nodes their address.
    number: int
    state: NodeState = NodeState.CREATING
    state_transition_time: int
    scheduling_state: SchedulingState = SchedulingState.ENABLED
    is_dedicated: bool = True
    allocation_time: int
    last_boot_time: int | None = None
    #: How many times it has booted; what an agent of an earlier boot says is stale.
    boot: int = 1
    #: The boot in which its agent first connected of late; 0: none yet.
    contact_boot: int = 0
    #: Which disk it has: every reimage gives it a new, empty one.
    disk: int = 1
    #: Boots in a row that ended soon and without a task coming to its end.
    failed_boots: int = 0
    #: The highest attempt that was placed on it.
    attempts: int = 0
    ip_address: str = ""
    vm_size: str
    agent_version: str = ""
    total_tasks_run: int = 0
    total_tasks_succeeded: int = 0
    start_task_info: StartTaskInfo | None = None
    #: As the pool's when it booted: a start task that is new or changed since then takes effect at the next boot.
    start_task_wait_for_success: bool | None = None
    errors: tuple[NodeError, ...] = ()
    recent_tasks: tuple[RecentTask, ...] = ()
    #: Set while it takes no new tasks because it will leave or boot anew, or end: what becomes of its tasks, and which
    #: state follows.
    drain_option: DeallocationOption | None = None
    drain_then: NodeState | None = None
    #: While it is preempted: from when on there may be a machine for it again.
    preempted_until: int | None = None
    #: Until when the files of tasks that ended here are to be kept.
    retained_until: int | None = None

    @property
    def has_machine(self) -> bool:
        return self.state not in WITHOUT_MACHINE
