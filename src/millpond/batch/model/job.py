"""Jobs and the counts of their tasks."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from .keys import task_key
from .pool import Pool
from .statistics import JobTotals
from .task import Failure


class JobState(StrEnum):
    ACTIVE = "active"
    DISABLING = "disabling"
    DISABLED = "disabled"
    ENABLING = "enabling"
    TERMINATING = "terminating"
    COMPLETED = "completed"
    DELETING = "deleting"


class OnAllTasksComplete(StrEnum):
    NO_ACTION = "noaction"
    TERMINATE_JOB = "terminatejob"


class OnTaskFailure(StrEnum):
    NO_ACTION = "noaction"
    PERFORM_EXIT_OPTIONS_JOB_ACTION = "performexitoptionsjobaction"


class DisableTasks(StrEnum):
    """What becomes of the running tasks of a job that is disabled."""

    REQUEUE = "requeue"
    TERMINATE = "terminate"
    WAIT = "wait"


class PoolLifetime(StrEnum):
    """Whose end a pool shares that was made for a job."""

    JOB_SCHEDULE = "jobschedule"
    JOB = "job"


class AutoPool(msgspec.Struct, frozen=True, kw_only=True):
    """How the service makes a pool for a job, and whether it removes it afterwards."""

    id_prefix: str = ""
    lifetime: PoolLifetime
    keep_alive: bool = False
    #: What the pool is made of: a pool without an id. ``None`` once there is one.
    pool: Pool | None


class Counts(msgspec.Struct, frozen=True):
    """Tasks (or task slots) of a job by state; preparing ones count as running, completed = succeeded + failed."""

    active: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0

    @property
    def completed(self) -> int:
        return self.succeeded + self.failed


class PreparationTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a job runs on a node before its first task there; its id as given. The document is in the job's."""

    id: str
    #: Whether tasks wait for it, and never run where it has failed.
    wait_for_success: bool = True
    rerun_on_node_reboot_after_success: bool = True
    #: -1: without limit.
    max_task_retry_count: int = 0
    max_wall_clock_time: int
    retention_time: int

    @property
    def key(self) -> str:
        return task_key(self.id)


class ReleaseTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a job runs, when it ends, on each node that it was prepared on."""

    id: str
    max_wall_clock_time: int
    retention_time: int

    @property
    def key(self) -> str:
        return task_key(self.id)


class ManagerTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task that a job begins with, and may end with."""

    id: str
    document: bytes
    kill_job_on_completion: bool = True
    #: Whether nothing else runs on its node meanwhile.
    run_exclusive: bool = True
    allow_low_priority_node: bool = True
    required_slots: int = 1
    #: ``None``: as the job says.
    max_task_retry_count: int | None = None
    max_wall_clock_time: int
    retention_time: int

    @property
    def key(self) -> str:
        return task_key(self.id)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    account: str
    id: str
    state: JobState = JobState.ACTIVE
    state_transition_time: int
    previous_state: JobState | None = None
    previous_state_transition_time: int | None = None
    creation_time: int
    last_modified: int
    #: Key of the job schedule that made it.
    schedule: str | None = None
    #: Key of the pool it runs on (which need not exist yet), and the id as given.
    pool: str
    pool_id: str
    #: Where the pool was, or is to be, made for it.
    auto_pool: AutoPool | None = None
    priority: int = 0
    #: -1: without limit.
    max_parallel_tasks: int = -1
    max_task_retry_count: int = 0
    #: From its creation on.
    max_wall_clock_time: int
    on_all_tasks_complete: OnAllTasksComplete = OnAllTasksComplete.NO_ACTION
    on_task_failure: OnTaskFailure = OnTaskFailure.NO_ACTION
    uses_task_dependencies: bool = False
    preparation: PreparationTask | None = None
    release: ReleaseTask | None = None
    manager: ManagerTask | None = None
    #: The job manager task has ended, and that ends the job.
    is_manager_done: bool = False
    #: The end of the job does not wait for nodes that do not answer.
    is_forced: bool = False
    #: The job is being deleted, and all that its nodes had to do for that is done.
    is_purging: bool = False
    #: The option of the disable under way.
    disable_tasks: DisableTasks | None = None
    start_time: int
    end_time: int | None = None
    terminate_reason: str | None = None
    #: Why it could not begin.
    scheduling_error: Failure | None = None
    task_counts: Counts = Counts()
    slot_counts: Counts = Counts()
    #: What its tasks have used, and how often they have ended.
    totals: JobTotals = JobTotals()
    #: Of the active tasks, those that wait for others to end, and the slots that they need.
    held_back: int = 0
    held_back_slots: int = 0
    #: Tasks ever added: the next one's ``seq``.
    tasks_added: int = 0
    #: Keys of tasks whose end satisfies dependents that have not been told yet, each with ``tasks_added`` as it was
    #: then: tasks added later know by themselves.
    satisfied: tuple[tuple[str, int], ...] = ()
    #: The job as its client specified it, with defaults filled in.
    document: dict[str, Any]
