"""Ready tasks × free slots → placements.

**Order.** Jobs go by priority, the higher first, then by age; within a job tasks go in the order of addition. The
first task in that order that fits on some node is placed: on the node that it asks for, if that has room, else on the
emptiest node (*spread*) or the fullest one that has room (*pack*). A task that fits nowhere at the moment is passed
over, so a task that needs many slots does not hold up smaller ones behind it; the price is that a steady stream of
small tasks can keep a big one waiting. The search looks at tasks in the job's window only (:mod:`.waiting`). A task
needing more slots than a node of the pool has at all is never placed and never in the way.

**Gangs.** A multi-instance task takes as many free nodes at once as it has instances, or waits. While the first one in
order for which the pool has nodes enough waits for them to become free, nothing that comes after it in order is
placed: the free nodes are kept for it, and it gets its place when enough others have ended their tasks. As only the
first in order has nodes kept for it, two gangs never wait for each other's; as nothing is kept but what is free, and
that follows from the order alone, there is nothing to remember. What comes before it in order is placed as ever. A
gang that needs more nodes than the pool has working is passed over. (Nodes of a pool that takes gangs have one slot.)

**Placing ahead.** When no node has room, short tasks are sent to a node before its slots are free, so that the next
one starts there without a round trip through the service and its commit. How many, follows from the job's recent run
times: :data:`AHEAD_HORIZON` of work for each slot, which is several such round trips, but at most
:data:`AHEAD_LIMIT` tasks for each node, which bounds what its death returns and how much is dealt out when the
service, not the nodes, is what tasks wait for. Jobs whose tasks run for longer than the
horizon, or of which nothing is known yet, are not placed ahead. Only the job that is first in order is, so nothing
overtakes a task of higher priority; a job of higher priority that comes later waits for the horizon at most.
If a task that was taken for short runs on, what waits behind it is recalled (:func:`recall_overdue`).

**Choosy jobs** may not have every node: a job whose preparation task has failed on some, or whose manager task wants a
dedicated one. For these the nodes with free slots are looked at one by one. They are never placed ahead; nor are tasks
of a job that is preparing a node, which would start there before those that wait for that.

Each placement costs a few look-ups, whatever the number of nodes and of waiting tasks.
"""

from __future__ import annotations

from millpond.common.clock import SECOND

from ..model.keys import node_key
from ..model.pool import NodeState
from ..model.task import Task
from .job_nodes import is_prepared
from .messages import PlacementsOverdue, RaiseAt
from .placement import place, place_ahead, place_gang, place_unprepared, recall_ahead
from .slots import GANG, JobWork, NodeSlots, PoolSlots
from .state import State

#: Work placed ahead for each slot, in microseconds.
AHEAD_HORIZON = SECOND // 20
#: Most tasks placed ahead on a node.
AHEAD_LIMIT = 64
#: How long tasks placed ahead wait on a node where nothing starts or ends.
AHEAD_PATIENCE = SECOND


def schedule(state: State, pool: PoolSlots, now: int) -> None:
    """Place all that can be placed in a pool."""
    _reindex_stale(state, pool)
    _fill_free_slots(state, pool, now)
    if pool.thirsty and not (pool.communicates and pool.first_gang()):
        _place_ahead(state, pool, now)


def _fill_free_slots(state: State, pool: PoolSlots, now: int) -> None:
    set_aside: dict[str, JobWork] = {}
    while pool.mask:
        largest = pool.most_free
        job = pool.first_job(largest)
        size = None if job is None else _first_size(state, job, largest)
        if job is not None and size is None:
            continue
        if pool.communicates and (gang := pool.first_gang()) and is_first(gang, job, size):
            if not _place_gang(state, pool, *gang, now):
                break
            continue
        if job is None or size is None:
            break
        if job.is_choosy:
            chosen = choose(state, job)
            if chosen is None:
                pool.reindex(job, frozenset(size for size in job.indexed if size > GANG))
                set_aside[job.key] = job
                continue
            task, node = chosen
            size = job.size_of(task)
            state.dequeue(task)
        else:
            found = pool.pick(size)
            if found is None:
                raise AssertionError(f"pool {pool.key}: no node has {size} free slots, though one has {largest}")
            node = found
            task = state.dequeue_first(job, size)
        node = _wanted(state, job, task, size) or node
        if job.preparation is None or is_prepared(state, job, node, now):
            place(state, task, node, now)
        else:
            place_unprepared(state, task, node, now)
        _reindex_if_due(state, job, size)
    # Nothing that they may have is free; they are looked at again when something moves.
    pool.stale.update(set_aside)


def _wanted(state: State, job: JobWork, task: Task, size: int) -> NodeSlots | None:
    """The node that the task asks for, if there is one that it may have and that has room."""
    node = None if task.affinity is None else job.pool.nodes.get(node_key(job.pool.key, task.affinity))
    if node is None or not node.is_open or node.free < size or node.key in job.barred:
        return None
    if task.key == job.dedicated and not state.nodes[node.key].is_dedicated:
        return None
    return node


def choose(state: State, job: JobWork) -> tuple[Task, NodeSlots] | None:
    """The first task that fits on a node that it may have, and that node; for jobs that may not have all."""
    for node in job.pool.choices():
        if node.key not in job.barred:
            may_not = None if state.nodes[node.key].is_dedicated else job.dedicated
            first = job.queue.first_but(node.free, may_not)
            if first is not None:
                return state.tasks[job.key, first[1]], node
    return None


def is_first(gang: tuple[JobWork, int], job: JobWork | None, size: int | None) -> bool:
    """Whether a gang comes before the job's first task of a size, if there is one."""
    if job is None or size is None:
        return True
    work, gang_size = gang
    return (work.order, work.queue.first_seq(gang_size)) < (job.order, job.queue.first_seq(size))


def _place_gang(state: State, pool: PoolSlots, job: JobWork, size: int, now: int) -> bool:
    """Place a job's first gang of a size, if there are nodes enough that are free."""
    nodes = pool.nodes_for(job)[: size - GANG]
    if len(nodes) < size - GANG:
        return False
    nodes.sort(key=lambda slots: state.nodes[slots.key].number)
    task = state.dequeue_first(job, size)
    prepared = [job.preparation is None or is_prepared(state, job, node, now) for node in nodes]
    place_gang(state, task, nodes, now, is_prepared=all(prepared))
    _reindex_if_due(state, job, size)
    return True


def _place_ahead(state: State, pool: PoolSlots, now: int) -> None:
    """Deal tasks of the first job out to nodes without free slots, one to each in turn."""
    passed_over: list[NodeSlots] = []
    while pool.thirsty:
        job = pool.first_job(pool.slots)
        if job is None:
            break
        size = _first_size(state, job, pool.slots)
        if size is None:
            continue
        depth = _depth(job)
        if not depth:
            break
        _, node = pool.thirsty.popitem(last=False)
        if not node.takes_ahead(job.key, size):
            passed_over.append(node)
        elif len(node.ahead) < min(AHEAD_LIMIT, depth * (node.total // size)):
            place_ahead(state, state.dequeue_first(job, size), node, now)
            pool.thirsty[node.key] = node
            _reindex_if_due(state, job, size)
            _watch(state, pool, now)
    for node in passed_over:
        pool.thirsty[node.key] = node


def _depth(job: JobWork) -> int:
    """How many of the job's tasks to place ahead for each slot."""
    if job.average_run is None or job.preparing or job.is_choosy:
        return 0
    return AHEAD_HORIZON // max(1, job.average_run)


def _watch(state: State, pool: PoolSlots, now: int) -> None:
    """See to it that tasks placed ahead are not forgotten behind one that runs on."""
    if not pool.ahead_watched:
        pool.ahead_watched = True
        state.order(RaiseAt(moment=now + AHEAD_PATIENCE, event=PlacementsOverdue(pool=pool.key)))


def recall_overdue(state: State, event: PlacementsOverdue, now: int) -> None:
    """Take tasks placed ahead back from nodes where nothing has moved for too long."""
    pool = state.pool_slots.get(event.pool)
    if pool is None:
        return
    pool.ahead_watched = False
    for slots in pool.nodes.values():
        if not slots.ahead:
            continue
        waited = now - slots.last_progress
        if waited >= AHEAD_PATIENCE and state.nodes[slots.key].state is not NodeState.UNKNOWN:
            for job, _ in slots.running:
                state.job_work[job].note_run(waited)
            recall_ahead(state, slots)
        else:
            _watch(state, pool, now)


def watch_restored(state: State, pool: PoolSlots, now: int) -> None:
    """After a restart of the service: see to the tasks that were placed ahead before it."""
    if any(slots.ahead for slots in pool.nodes.values()):
        _watch(state, pool, now)


def _first_size(state: State, job: JobWork, largest: int) -> int | None:
    """The size of the job's first task that fits; ``None`` where its window had to be refilled to find out."""
    if 0 in job.indexed:
        state.refill(job)
        _reindex_stale(state, job.pool)
        return None
    return job.queue.first(largest)


def _reindex_stale(state: State, pool: PoolSlots) -> None:
    for job in pool.stale.values():
        _reindex(state, job)
    pool.stale.clear()


def _reindex_if_due(state: State, job: JobWork, size: int) -> None:
    """After a placement: put the job where it belongs now, if that is elsewhere."""
    if not job.queue.by_size[size] or job.is_full or state.is_running_low(job):
        _reindex(state, job)


def _reindex(state: State, job: JobWork) -> None:
    sizes: set[int] = set()
    if job.is_open and not job.is_full:
        sizes = {size for size, tasks in job.queue.by_size.items() if tasks}
        if state.is_running_low(job):
            sizes.add(0)
    if sizes != job.indexed:
        job.pool.reindex(job, frozenset(sizes))
