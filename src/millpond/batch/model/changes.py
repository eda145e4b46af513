"""What passes between the engine and a store: records changed, and tasks looked up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from millpond.common.clock import DAY

from .job import Job
from .job_node import JobNode
from .pool import Node, Pool
from .schedule import JobSchedule
from .statistics import AccountTotals, PoolUsage, UsageInterval
from .task import Task


class Archive(Protocol):
    """Tasks, and completed jobs and job schedules, which are not in memory.

    It sees all changes made before, committed or not.
    """

    def job(self, job: str) -> Job | None: ...

    def schedule(self, schedule: str) -> JobSchedule | None: ...

    def jobs_of(self, schedule: str, limit: int) -> list[Job]:
        """The first jobs that the schedule made, of those that there still are."""
        ...

    def task(self, job: str, task: str) -> Task | None: ...

    def existing(self, job: str, tasks: Sequence[str]) -> set[str]:
        """Which of these task keys the job has."""
        ...

    def waiting(self, job: str, after_seq: int, limit: int) -> list[Task]:
        """The next tasks that are ready for a place, in order of ``seq``."""
        ...

    def satisfying(self, job: str, tasks: Sequence[str]) -> set[str]:
        """Which of these task keys belong to tasks that satisfy their dependents."""
        ...

    def satisfied_runs(self, job: str, first: int, last: int) -> list[tuple[int, int]]:
        """The numbers of tasks that satisfy their dependents, between first and last: runs of them, in order."""
        ...

    def dependents(self, job: str, prerequisites: Sequence[str], before_seq: int, limit: int) -> list[tuple[str, Task]]:
        """Open dependencies on any of these: the prerequisite and the task that waits for it, no matter which first.

        Only those of tasks with a lower ``seq``.
        """
        ...

    def holding_files(self, job: str) -> Iterable[str]:
        """Keys of the nodes on which tasks of the job ran."""
        ...


class FileDeletion(msgspec.Struct, frozen=True):
    """A task's directory is to go from a node (``task_id`` ``None``: the whole job's). Ids as given."""

    node: str
    job_id: str
    task_id: str | None


class Dependency(msgspec.Struct, frozen=True):
    """A task waits for a prerequisite: the key of a task, or the name of a block of numbers that ids may spell."""

    job: str
    prerequisite: str
    #: Of the task that waits.
    seq: int


#: How far back samples are kept, in microseconds.
SAMPLES_KEPT = DAY


class PoolSample(NamedTuple):
    """A pool's metrics at a moment."""

    pool: str
    moment: int
    values: dict[str, float]


class Changes(msgspec.Struct):
    """What a batch of steps changed: records to write, ``None`` for records to remove."""

    pools: dict[str, Pool | None] = {}
    nodes: dict[str, Node | None] = {}
    jobs: dict[str, Job | None] = {}
    schedules: dict[str, JobSchedule | None] = {}
    #: By (job key, task key).
    tasks: dict[tuple[str, str], Task | None] = {}
    #: Documents of the tasks among them that are new.
    documents: dict[tuple[str, str], bytes] = {}
    #: Whether they are open from now on. All dependencies of a task that is removed go with it.
    dependencies: dict[Dependency, bool] = {}
    #: New samples, by (pool key, moment); pools of which none is to be kept any more.
    samples: dict[tuple[str, int], PoolSample] = {}
    forgotten_samples: set[str] = set()
    #: By pool key.
    pool_usages: dict[str, PoolUsage | None] = {}
    usage_intervals: list[UsageInterval] = []
    accounts: dict[str, AccountTotals] = {}
    #: By (job key, node key). They go with their job.
    job_nodes: dict[tuple[str, str], JobNode] = {}
    #: Kept until the node has done it.
    file_deletions: list[FileDeletion] = []
