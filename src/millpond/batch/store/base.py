"""What the service needs of a database, as interfaces over the model. Stores keep rows; rules live above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from ..model.changes import Archive, Changes, FileDeletion
from ..model.job import Counts, Job
from ..model.pool import Node, NodeState, Pool
from ..model.task import Task

T = TypeVar("T")


class Snapshot(msgspec.Struct, frozen=True):
    """What the working set is rebuilt from: all pools and nodes, the jobs that are not completed, placed tasks."""

    pools: list[Pool]
    nodes: list[Node]
    jobs: list[Job]
    #: Tasks that are running, preparing or placed ahead.
    placed: list[Task]


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

    def close(self) -> None: ...


# --- queries -----------------------------------------------------------------------------------------------------

Operator = Literal["eq", "ne", "gt", "ge", "lt", "le"]
Value = str | int | float | bool | None


class Compare(msgspec.Struct, frozen=True):
    """``field`` is a name that the entity's table can filter by (see the store's column tables)."""

    field: str
    operator: Operator
    value: Value


class StartsWith(msgspec.Struct, frozen=True):
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


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    #: Continuation token, URL-safe; ``None`` on the last page.
    next: str | None = None


class StoredTask(msgspec.Struct, frozen=True):
    task: Task
    document: bytes


class NodeCounts(msgspec.Struct, frozen=True):
    """How many nodes of a pool are in each state."""

    pool: str
    dedicated: dict[NodeState, int]
    low_priority: dict[NodeState, int]


class Reader(Protocol):
    """The reading side: sees what is committed; any thread may call it."""

    def pool(self, key: str) -> Pool | None: ...

    def pools(self, account: str, query: Query) -> Page[Pool]: ...

    def current_nodes(self, pools: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Per pool key: how many dedicated and low-priority nodes it has now."""
        ...

    def node(self, key: str) -> Node | None: ...

    def nodes(self, pool: str, query: Query) -> Page[Node]: ...

    def running_tasks(self, nodes: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Per node key: how many tasks run there now, and how many slots they take."""
        ...

    def node_counts(self, account: str, query: Query) -> Page[NodeCounts]: ...

    def job(self, key: str) -> Job | None: ...

    def jobs(self, account: str, query: Query) -> Page[Job]: ...

    def task_counts(self, job: str) -> tuple[Counts, Counts] | None:
        """Tasks and task slots by state."""
        ...

    def task(self, job: str, task: str) -> StoredTask | None: ...

    def tasks(self, job: str, query: Query) -> Page[StoredTask]: ...

    def task_documents(self, tasks: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]: ...
