"""What a job's preparation and release tasks did on a node."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .task import ContainerInfo, Failure, TaskResult


class JobTaskKind(StrEnum):
    PREPARATION = "preparation"
    RELEASE = "release"


class JobTaskState(StrEnum):
    """``running`` while it is to be tried again, too."""

    RUNNING = "running"
    COMPLETED = "completed"


class JobTaskRun(msgspec.Struct, frozen=True, kw_only=True):
    """A preparation or release task on one node: its latest try."""

    state: JobTaskState = JobTaskState.RUNNING
    #: Names the try that is under way, as a task's does; 0: none is (it is over, or its node has yet to come back).
    attempt: int
    start_time: int
    end_time: int | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    container_info: ContainerInfo | None = None
    result: TaskResult | None = None
    retry_count: int = 0
    last_retry_time: int | None = None


class JobNode(msgspec.Struct, frozen=True, kw_only=True):
    """A job on a node that ran, or is to run, its preparation task. Outlives the node, and goes with the job."""

    #: Keys, and the ids as given.
    job: str
    node: str
    pool_id: str
    node_id: str
    preparation: JobTaskRun
    release: JobTaskRun | None = None
    #: Whether tasks of the job may run here with no preparation before them.
    is_prepared: bool = False
    #: Whether the preparation task has failed for good, so that no task of the job may run here.
    is_barred: bool = False
    #: Whether there is something to release: it was prepared, or tasks ran here, and nothing has wiped that out.
    needs_release: bool = False
