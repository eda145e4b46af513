"""What the service needs of a database, as interfaces over the model. Stores keep rows; rules live above them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from ..model.changes import Archive, Changes, FileDeletion, PoolSample
from ..model.job import Counts, Job
from ..model.job_node import JobNode
from ..model.pool import Node, NodeState, Pool
from ..model.schedule import JobSchedule
from ..model.statistics import AccountTotals, JobTotals, PoolUsage, UsageInterval
from ..model.task import Task

T = TypeVar("T")


class Snapshot(msgspec.Struct, frozen=True):
    """What the working set is rebuilt from: all pools and nodes, jobs and job schedules that are not completed, placed
    tasks.
    """

    pools: list[Pool]
    nodes: list[Node]
    jobs: list[Job]
    schedules: list[JobSchedule]
    #: Tasks that are running, preparing or placed ahead.
    placed: list[Task]
    #: Oldest first.
    samples: list[PoolSample]
    #: Of those jobs.
    job_nodes: list[JobNode] = []
    pool_usages: dict[str, PoolUsage] = {}
    accounts: dict[str, AccountTotals] = {}


class Chore(msgspec.Struct, frozen=True):
    """A file deletion that its node has not done yet."""

    id: int
    deletion: FileDeletion


class Writer(Archive, Protocol):
    """The one writing side of a store, used by one thread."""

    def load(self) -> Snapshot: ...

    def write(self, changes: Changes) -> list[Chore]:
        """Apply changes to the open transaction; returns the chores it recorded."""
        ...

    def commit(self) -> None:
        """Make all that was written durable, in one step."""
        ...

    def rollback(self) -> None: ...

    def purge_tasks(self, job: str, limit: int) -> int:
        """Remove up to ``limit`` tasks of a job that is being deleted; returns how many are left at least (0: none)."""
        ...

    def chore_done(self, chore: int) -> None: ...

    def chores(self, node: str) -> list[Chore]: ...

    def stored_tasks(self, tasks: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StoredTask]:
        """Tasks with their documents, by (job key, task key); those that are gone are left out."""
        ...

    def close(self) -> None: ...


# --- queries -----------------------------------------------------------------------------------------------------


class Moment(int):
    """Marks a filterable field whose values are moments (microseconds)."""


#: What lists can be filtered by: fields of the records (parts of a part flattened, ``start_task_exit_code``) and the
#: type of their values. Text (ids, states, …) is compared without regard to case.
FILTERABLE: dict[str, dict[str, type]] = {
    "pools": {
        "id": str,
        "state": str,
        "state_transition_time": Moment,
        "creation_time": Moment,
        "last_modified": Moment,
        "allocation_state": str,
        "allocation_state_transition_time": Moment,
        "enable_auto_scale": bool,
        "enable_inter_node_communication": bool,
        "vm_size": str,
    },
    "nodes": {
        "id": str,
        "state": str,
        "state_transition_time": Moment,
        "scheduling_state": str,
        "last_boot_time": Moment,
        "allocation_time": Moment,
        "start_task_state": str,
        "start_task_result": str,
        "start_task_exit_code": int,
        "start_task_start_time": Moment,
        "start_task_end_time": Moment,
    },
    "node_counts": {"pool_id": str},
    "jobs": {
        "id": str,
        "state": str,
        "state_transition_time": Moment,
        "previous_state": str,
        "previous_state_transition_time": Moment,
        "creation_time": Moment,
        "last_modified": Moment,
        "start_time": Moment,
        "end_time": Moment,
        "pool_id": str,
        "priority": int,
    },
    "job_schedules": {
        "id": str,
        "state": str,
        "state_transition_time": Moment,
        "previous_state": str,
        "previous_state_transition_time": Moment,
        "creation_time": Moment,
        "last_modified": Moment,
        "end_time": Moment,
        "do_not_run_until": Moment,
        "do_not_run_after": Moment,
    },
    "job_nodes": {
        "pool_id": str,
        "node_id": str,
        "preparation_state": str,
        "preparation_start_time": Moment,
        "preparation_end_time": Moment,
        "preparation_exit_code": int,
        "preparation_result": str,
        "release_state": str,
        "release_start_time": Moment,
        "release_end_time": Moment,
        "release_exit_code": int,
        "release_result": str,
    },
    "tasks": {
        "id": str,
        "state": str,
        "state_transition_time": Moment,
        "previous_state": str,
        "previous_state_transition_time": Moment,
        "creation_time": Moment,
        "last_modified": Moment,
        "start_time": Moment,
        "end_time": Moment,
        "exit_code": int,
        "retry_count": int,
        "requeue_count": int,
        "result": str,
        "pool_id": str,
        "node_id": str,
    },
}

Operator = Literal["eq", "ne", "gt", "ge", "lt", "le"]
Value = str | int | float | bool | None


class Compare(msgspec.Struct, frozen=True):
    """``field`` is one of the entity's :data:`FILTERABLE`.

    A field without a value differs from every value: it satisfies ``ne`` and no other operator. ``None`` stands for
    having no value. Truth values are compared by ``eq`` and ``ne`` only.
    """

    field: str
    operator: Operator
    value: Value


class StartsWith(msgspec.Struct, frozen=True):
    """``field`` is one of the entity's :data:`FILTERABLE` that hold text."""

    field: str
    prefix: str


class Not(msgspec.Struct, frozen=True):
    operand: Filter


class Both(msgspec.Struct, frozen=True):
    left: Filter
    right: Filter


class Either(msgspec.Struct, frozen=True):
    left: Filter
    right: Filter


Filter = Compare | StartsWith | Not | Both | Either


class Query(msgspec.Struct, frozen=True):
    """A page of a list: what to keep, how many, and where the page before ended (its ``next``)."""

    limit: int
    filter: Filter | None = None
    after: str | None = None


class ContinuationError(ValueError):
    """``Query.after`` is not a token that a page of this list ended with."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    #: Continuation token, URL-safe; ``None`` on the last page.
    next: str | None = None


class StoredTask(msgspec.Struct, frozen=True):
    task: Task
    document: bytes


class NodeCounts(msgspec.Struct, frozen=True):
    """How many nodes of a pool are in each state."""

    #: The pool's key, and its id as given.
    pool: str
    pool_id: str
    dedicated: dict[NodeState, int]
    low_priority: dict[NodeState, int]


class PoolInUse(NamedTuple):
    """A pool that there is, and what its nodes have come to."""

    pool_id: str
    vm_size: str
    creation_time: int
    usage: PoolUsage


class Reader(Protocol):
    """The reading side: sees what is committed; any thread may call it.

    Pools, jobs and job schedules are listed by id, a schedule's jobs in the order in which it made them, nodes in the
    order in which they joined, tasks in the order of addition. Lists raise :class:`ContinuationError`. A page's token
    stays good while rows come and go.
    """

    def pool(self, key: str) -> Pool | None: ...

    def pools(self, account: str, query: Query) -> Page[Pool]: ...

    def current_nodes(self, pools: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Per pool key: how many dedicated and low-priority nodes it has now."""
        ...

    def node(self, key: str) -> Node | None: ...

    def nodes(self, pool: str, query: Query) -> Page[Node]: ...

    def nodes_named(self, account: str, prefix: str, limit: int) -> list[Node]:
        """Nodes of the account whose id begins so, in any case."""
        ...

    def running_tasks(self, nodes: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Per node key: how many tasks run there now, and how many slots they take."""
        ...

    def node_counts(self, account: str, query: Query) -> Page[NodeCounts]: ...

    def job(self, key: str) -> Job | None: ...

    def jobs(self, account: str, query: Query) -> Page[Job]: ...

    def schedule(self, key: str) -> JobSchedule | None: ...

    def schedules(self, account: str, query: Query) -> Page[JobSchedule]: ...

    def jobs_of(self, schedule: str, query: Query) -> Page[Job]: ...

    def job_nodes(self, job: str, query: Query) -> Page[JobNode]:
        """How the job's preparation and release tasks stand, by node."""
        ...

    def task_counts(self, job: str) -> tuple[Counts, Counts] | None:
        """Tasks and task slots by state."""
        ...

    def task(self, job: str, task: str) -> StoredTask | None: ...

    def tasks(self, job: str, query: Query) -> Page[StoredTask]: ...

    def prerequisites(self, job: str, seq: int, limit: int) -> list[str]:
        """What the task of this ``seq`` still depends on: keys of tasks, and names of blocks of numbers."""
        ...

    def ready_before(self, job: str, seq: int, limit: int) -> int:
        """How many tasks before the one of this ``seq`` wait for a place; ``limit``: at least so many."""
        ...

    def pool_usages(self, pools: Sequence[str]) -> dict[str, PoolUsage]:
        """By pool key; pools that never had nodes are left out."""
        ...

    def totals_of_schedules(self, schedules: Sequence[str]) -> dict[str, JobTotals]:
        """By key of the job schedule: sums over all jobs that it ever made."""
        ...

    def totals_of_jobs(self, account: str) -> tuple[int | None, JobTotals]:
        """Sums over all jobs that the account ever had, and when the first of them was made."""
        ...

    def usage_of_pools(self, account: str) -> tuple[AccountTotals, list[PoolInUse]]:
        """What the account's pools that are gone have come to, and those that there are."""
        ...

    def usage_intervals(self, account: str, after: int, before: int) -> list[UsageInterval]:
        """Intervals that are over and began between the two moments, both left out, in order of their beginning."""
        ...

    def close(self) -> None: ...
