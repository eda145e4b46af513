"""Who has a place on which node, and where slots are free.

These are indexes over the records, kept so that the scheduler finds a node at a cost that does not depend on how many
nodes or tasks there are. A pool's nodes with free slots lie in buckets by their number of free slots; a bit mask says
which buckets hold any.

Besides the tasks that run, a node may hold tasks *placed ahead*: it starts them by itself as slots become free. They
take no slots here until then. Only nodes without a free slot hold any, and only behind tasks of the same job and size,
a divisor of the node's slots: so whenever one ends the next one fits, and both sides know which one that is.

A *gang* (a multi-instance task) has a place on several nodes, one slot on each; nodes that take gangs have one slot.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from ..model.job import PreparationTask
from ..model.job_node import JobNode
from ..model.pool import FillType
from ..model.statistics import ResourceTotals
from ..model.task import Task, TaskResult
from .waiting import JobQueue

#: Above the slots of any node: the size of a gang is this and its number of nodes.
GANG = 1 << 16
#: (job key, task key).
TaskKey = tuple[str, str]
#: Sorts jobs by the order in which their tasks are placed: falling priority, then age.
JobOrder = tuple[int, int, str]


class NodeSlots:
    """One node's tasks and slots."""

    __slots__ = (
        "ahead",
        "connected",
        "dying",
        "free",
        "has_machine",
        "is_open",
        "jobs",
        "key",
        "kinds",
        "last_progress",
        "measured",
        "pool",
        "recalled",
        "running",
        "shelf",
        "total",
        "usage",
    )

    def __init__(self, key: str, pool: PoolSlots, total: int) -> None:
        self.key = key
        self.pool = pool
        self.total = total
        self.free = total
        #: Sizes by task; tasks whose end was ordered and not confirmed are among them.
        self.running: dict[TaskKey, int] = {}
        #: How many tasks of each job and size run.
        self.kinds: dict[tuple[str, int], int] = {}
        #: Tasks placed ahead, in the order in which the node starts them.
        self.ahead: OrderedDict[TaskKey, int] = OrderedDict()
        #: Tasks that do not run here and wait for the node to confirm it: they were placed ahead and are to come back,
        #: or an earlier run of theirs is being ended.
        self.recalled: dict[TaskKey, int] = {}
        #: Attempts that the node was told to end, of tasks that are over or gone.
        self.dying: dict[TaskKey, int] = {}
        #: Jobs that have a record of their preparation here (:class:`JobNode`).
        self.jobs: dict[str, None] = {}
        #: Whether its agent has a channel.
        self.connected = False
        #: Whether its pool counts it among :attr:`PoolSlots.machines`.
        self.has_machine = False
        #: Whether it takes tasks.
        self.is_open = False
        #: The bucket that it lies in; 0: none.
        self.shelf = 0
        #: When a task last started or ended here.
        self.last_progress = 0
        #: What its agent measured last, by names of metrics, and when that came.
        self.usage: Mapping[str, float] | None = None
        self.measured = 0

    def count_machine(self, *, has_machine: bool, is_dedicated: bool) -> None:
        """Have the pool know whether the node has a machine."""
        if has_machine is not self.has_machine:
            self.has_machine = has_machine
            self.pool.machines[is_dedicated] += 1 if has_machine else -1

    @property
    def is_empty(self) -> bool:
        """Whether no task has a place here."""
        return not (self.running or self.ahead or self.recalled)

    def tasks(self) -> list[TaskKey]:
        """All that have a place here, in the order in which they got it as far as that matters."""
        return [*self.running, *self.ahead, *self.recalled]

    def takes_ahead(self, job: str, size: int) -> bool:
        """Whether such tasks may be placed ahead here (see the head of this module)."""
        kinds = self.kinds
        return self.is_open and self.free == 0 and self.total % size == 0 and len(kinds) == 1 and (job, size) in kinds

    def occupy(self, task: TaskKey, size: int) -> None:
        self.running[task] = size
        kind = (task[0], size)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.free -= 1 if size > GANG else size
        self.shelve()

    def vacate(self, task: TaskKey) -> None:
        """Give up a task's place, of whichever kind."""
        size = self.running.pop(task, 0)
        if size:
            self.free += 1 if size > GANG else size
            kind = (task[0], size)
            self.kinds[kind] -= 1
            if not self.kinds[kind]:
                del self.kinds[kind]
        elif self.ahead.pop(task, None) is None:
            del self.recalled[task]
        self.shelve()

    def set_open(self, is_open: bool) -> None:
        self.pool.open_nodes += is_open - self.is_open
        self.is_open = is_open
        self.shelve()

    def shelve(self) -> None:
        """Put it into the bucket where it belongs now."""
        pool = self.pool
        shelf = self.free if self.is_open else 0
        if self.shelf:
            bucket = pool.buckets[self.shelf]
            del bucket[self.key]
            if not bucket:
                pool.mask &= ~(1 << self.shelf)
        if shelf:
            pool.buckets[shelf][self.key] = self
            pool.mask |= 1 << shelf
        self.shelf = shelf
        if self.is_open and not shelf:
            pool.thirsty[self.key] = self
        else:
            pool.thirsty.pop(self.key, None)


class JobWork:
    """What the scheduler needs of a job."""

    __slots__ = (
        "average_run",
        "barred",
        "dedicated",
        "exclusive",
        "has_gangs",
        "indexed",
        "is_open",
        "key",
        "limit",
        "manager",
        "nodes",
        "order",
        "placed",
        "pool",
        "preparation",
        "preparing",
        "queue",
    )

    def __init__(self, key: str, pool: PoolSlots, order: JobOrder) -> None:
        self.key = key
        self.pool = pool
        self.order = order
        self.queue = JobQueue()
        #: Keys of its tasks that have a place, running or ahead.
        self.placed: dict[str, None] = {}
        #: Most of its tasks that may have one; -1: any number.
        self.limit = -1
        #: Whether its tasks may be placed.
        self.is_open = False
        #: Whether there were gangs among its waiting tasks: which of them fit depends on how many nodes there are.
        self.has_gangs = False
        #: Sizes under which the pool's index has it; 0: its window is to be refilled first.
        self.indexed: frozenset[int] = frozenset()
        #: A cautious moving average of its tasks' run times in microseconds: up at once, down slowly.
        self.average_run: int | None = None
        #: What is to run on a node before its first task there, and how that went, by node.
        self.preparation: PreparationTask | None = None
        self.nodes: dict[str, JobNode] = {}
        #: Nodes where it runs now, and nodes where it has failed for good.
        self.preparing: set[str] = set()
        self.barred: set[str] = set()
        #: Key of the job manager task: whose end is the job's, who wants a node for itself, and a dedicated one.
        self.manager: str | None = None
        self.exclusive: str | None = None
        self.dedicated: str | None = None

    @property
    def is_choosy(self) -> bool:
        """Whether it may not have every node for every task."""
        return bool(self.barred) or self.dedicated is not None

    def size_of(self, task: Task) -> int:
        """Where a task fits: how many slots it takes, which are all of a node's if it wants to be alone there; or how
        many nodes, of a gang, above :data:`GANG`."""
        if task.gang is not None:
            return GANG + task.gang.size
        return task.required_slots if task.key != self.exclusive else max(task.required_slots, self.pool.slots)

    @property
    def is_full(self) -> bool:
        return 0 <= self.limit <= len(self.placed)

    def note_run(self, duration: int) -> None:
        known = self.average_run
        self.average_run = duration if known is None or duration > known else known + (duration - known) // 8


class PoolSlots:
    """A pool's nodes by free slots, and its jobs by the sizes of their first waiting tasks."""

    __slots__ = (
        "ahead_watched",
        "buckets",
        "communicates",
        "failed",
        "fill_type",
        "index",
        "jobs",
        "key",
        "machines",
        "mask",
        "measured",
        "nodes",
        "open_nodes",
        "slots",
        "stale",
        "succeeded",
        "thirsty",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        #: Slots of a node; 0 where the pool does not exist.
        self.slots = 0
        #: Whether its nodes may talk to each other.
        self.communicates = False
        self.fill_type = FillType.SPREAD
        self.nodes: dict[str, NodeSlots] = {}
        #: How many of them take tasks.
        self.open_nodes = 0
        #: How many low-priority and how many dedicated nodes have a machine.
        self.machines = [0, 0]
        #: What nodes have measured, and the pool's usage does not hold yet.
        self.measured: ResourceTotals | None = None
        self.jobs: dict[str, JobWork] = {}
        self.buckets: list[OrderedDict[str, NodeSlots]] = []
        #: Bit n is set where bucket n is not empty.
        self.mask = 0
        #: Nodes that may have room for tasks placed ahead; those tried longest ago come first.
        self.thirsty: OrderedDict[str, NodeSlots] = OrderedDict()
        #: By size, the orders of jobs with such a task waiting, sorted.
        self.index: dict[int, list[JobOrder]] = {}
        #: Jobs whose place in the index is to be found anew.
        self.stale: dict[str, JobWork] = {}
        #: Whether an event will come that looks for tasks placed ahead which wait for too long.
        self.ahead_watched = False
        #: Tasks that have ended well, or failed, since the pool's last sample.
        self.succeeded = 0
        self.failed = 0

    def count_ended(self, result: TaskResult | None) -> None:
        if result is TaskResult.SUCCESS:
            self.succeeded += 1
        else:
            self.failed += 1

    def resize_nodes(self, slots: int) -> None:
        """The pool came to be, went, or its nodes have another number of slots now (it has no nodes then)."""
        self.slots = slots
        self.buckets = [OrderedDict() for _ in range(slots + 1)]
        self.mask = 0

    def could_run(self, slots: int, size: int) -> bool:
        """Whether a task of this size fits on its nodes, if they are free and in order."""
        if size < GANG:
            return slots <= self.slots
        return self.communicates and self.slots == 1 and size <= GANG + len(self.nodes)

    def nodes_for(self, job: JobWork) -> list[NodeSlots]:
        """The nodes that a gang of a job could have now."""
        free = self.buckets[1].values() if self.slots == 1 else ()
        return [node for node in free if node.key not in job.barred]

    @property
    def most_free(self) -> int:
        """Free slots of the emptiest node."""
        return self.mask.bit_length() - 1 if self.mask else 0

    def pick(self, size: int) -> NodeSlots | None:
        """The node for a task of this size, by the pool's fill type; among equals the one not used for longest."""
        fitting = self.mask >> size
        if not fitting:
            return None
        if self.fill_type is FillType.SPREAD:
            free = self.mask.bit_length() - 1
        else:
            free = size + (fitting & -fitting).bit_length() - 1
        return next(iter(self.buckets[free].values()))

    def choices(self) -> Iterator[NodeSlots]:
        """Nodes with free slots, those to be used first before the others."""
        order = range(self.slots, 0, -1) if self.fill_type is FillType.SPREAD else range(1, self.slots + 1)
        for free in order:
            if self.mask >> free & 1:
                yield from self.buckets[free].values()

    def first_job(self, largest: int) -> JobWork | None:
        """The first job in order that has a waiting task of at most this size, or must look for one in the store."""
        best: JobOrder | None = None
        for size, orders in self.index.items():
            if size <= largest and orders and (best is None or orders[0] < best):
                best = orders[0]
        return self.jobs[best[2]] if best is not None else None

    def first_gang(self) -> tuple[JobWork, int] | None:
        """The first job in order with a gang waiting that the pool has enough nodes for, busy or not; and its size."""
        best: tuple[JobOrder, int, int] | None = None
        for size, orders in self.index.items():
            if size > GANG:
                able = (self.jobs[order[2]] for order in orders)
                job = next((job for job in able if size <= GANG + self.open_nodes - len(job.barred)), None)
                found = job and (job.order, job.queue.first_seq(size), size)
                if found and (best is None or found < best):
                    best = found
        return None if best is None else (self.jobs[best[0][2]], best[2])

    def reindex(self, job: JobWork, sizes: frozenset[int]) -> None:
        """Have the index hold the job under these sizes."""
        for size in job.indexed - sizes:
            orders = self.index[size]
            del orders[bisect_left(orders, job.order)]
        for size in sizes - job.indexed:
            insort(self.index.setdefault(size, []), job.order)
        job.indexed = sizes
