"""What must hold of a working set between batches, that is after ``machine.settle``."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from ..model.job import JobState
from ..model.pool import AllocationState, NodeState, SchedulingState
from ..model.schedule import JobSchedule, JobScheduleState
from ..model.task import Task, TaskState, Withdrawal
from .placement import has_place
from .scheduler import choose, is_first
from .slots import GANG, JobWork, NodeSlots, PoolSlots
from .state import State


class InvariantViolated(AssertionError):  # noqa: N818 - it is named for what happened
    """The engine has contradicted itself; the message names where."""


def check(state: State) -> None:
    """Raise :class:`InvariantViolated` where records or indexes disagree, or a rule of the service is broken."""
    by_node, by_job, waiting = _sort_tasks(state)
    for key, slots in state.node_slots.items():
        _check_node(state, key, slots, by_node.get(key, []))
    for key, work in state.job_work.items():
        _check_job(state, key, work, by_job.get(key, []), waiting.get(key, []))
    for key, pool in state.pool_slots.items():
        _check_pool(state, key, pool)
    for key, schedule in state.schedules.items():
        _check_schedule(state, key, schedule)
    _require(state.waiting == sum(map(len, waiting.values())), "the count of waiting tasks in memory is wrong")
    stirred = state.stirred_jobs or state.stirred_schedules or state.stirred_nodes or state.stirred_pools
    _require(not stirred, "something is not settled")
    _require(set(state.node_slots) == set(state.nodes), "nodes and their slots differ")
    _require(set(state.job_work) == set(state.jobs), "jobs and their work differ")
    scaled = {key for key, pool in state.pools.items() if pool.auto_scale is not None}
    _require(set(state.histories) <= scaled, "samples are kept of pools that do not scale by themselves")
    _require(state.is_sampling or not scaled, "no moment will come at which pools that scale are sampled")
    for task, nodes in state.dying.items():
        told = all(task in node.dying for node in nodes)
        _require(told, f"attempts at {task} are being ended, and their nodes do not know")


def _require(holds: bool, claim: str) -> None:
    if not holds:
        raise InvariantViolated(claim)


def _sort_tasks(state: State) -> tuple[dict[str, list[Task]], dict[str, list[Task]], dict[str, list[Task]]]:
    """Placed tasks by node and by job, waiting tasks by job."""
    by_node: dict[str, list[Task]] = {}
    by_job: dict[str, list[Task]] = {}
    waiting: dict[str, list[Task]] = {}
    for key, task in state.tasks.items():
        _require((task.job, task.key) == key, f"task {key} is filed under another's key")
        _require(task.job in state.jobs, f"task {key} is in memory, its job is not")
        held_back = task.pending_dependencies and task.withdrawal is not Withdrawal.EARLIER
        _require(not held_back, f"task {key} is {task.state} and in memory, and still depends on others")
        if has_place(task):
            for node in task.places:
                by_node.setdefault(node, []).append(task)
            by_job.setdefault(task.job, []).append(task)
        else:
            _require(task.is_waiting, f"task {key} is in memory, though {task.state}")
            waiting.setdefault(task.job, []).append(task)
    for node in by_node:
        _require(node in state.nodes, f"tasks are placed on node {node}, which is not there")
    return by_node, by_job, waiting


def _check_node(state: State, key: str, slots: NodeSlots, tasks: list[Task]) -> None:
    node = state.nodes[key]
    placed = [task for task in tasks if task.state is not TaskState.ACTIVE]
    running = {(t.job, t.key): state.job_work[t.job].size_of(t) for t in placed}
    ahead = {(t.job, t.key) for t in tasks if t.state is TaskState.ACTIVE and t.withdrawal is None}
    recalled = {(t.job, t.key) for t in tasks if t.state is TaskState.ACTIVE and t.withdrawal is not None}
    used = sum(1 if size > GANG else size for size in running.values())
    _require(used <= slots.total, f"node {key} is oversold: {used} of {slots.total} slots, {running}")
    _require(slots.running == running, f"node {key} counts other running tasks than there are")
    _require(slots.free == slots.total - used, f"node {key} counts {slots.free} free slots")
    _require(set(slots.ahead) == ahead, f"node {key} counts other tasks placed ahead than there are")
    _require(set(slots.recalled) == recalled, f"node {key} counts other recalled tasks than there are")
    kinds = Counter((job, size) for (job, _), size in running.items())
    _require(slots.kinds == kinds, f"node {key} counts other kinds of tasks than there are")
    attempts = [task.attempt for task in tasks]
    _require(len(set(attempts)) == len(attempts), f"node {key} has two tasks with one attempt number")
    _require(max(attempts, default=0) <= node.attempts, f"node {key} has given out attempts that it does not count")
    for job, size in {(job, size) for (job, _), size in slots.ahead.items()}:
        _require(
            slots.free == 0 and slots.total % size == 0 and set(kinds) == {(job, size)},
            f"node {key} holds tasks ahead that it may not start next",
        )
    open_states = (NodeState.IDLE, NodeState.RUNNING)
    takes = slots.connected and node.state in open_states and node.drain_then is None
    takes = takes and node.scheduling_state is SchedulingState.ENABLED
    _require(not slots.is_open or takes, f"node {key} takes tasks though {node.state}, {node.drain_then}")
    _require(slots.shelf == (slots.free if slots.is_open else 0), f"node {key} lies in the wrong bucket")
    gone = (NodeState.DEALLOCATED, NodeState.REIMAGING, NodeState.CREATING)
    _require(node.state not in gone or node.drain_then is not None or slots.is_empty, f"node {key} is {node.state}")
    idle_disabled = node.state is NodeState.IDLE and node.scheduling_state is SchedulingState.DISABLED
    _require(not idle_disabled, f"node {key} is idle and takes no tasks")
    _require(node.state is not NodeState.RUNNING or bool(running), f"node {key} is running nothing")
    _require(node.state not in (NodeState.IDLE, NodeState.OFFLINE) or not running, f"node {key} is {node.state}")


def _check_job(state: State, key: str, work: JobWork, placed: list[Task], waiting: list[Task]) -> None:
    job, queue = state.jobs[key], work.queue
    _require(set(work.placed) == {task.key for task in placed}, f"job {key} counts other placed tasks than there are")
    running = [task for task in placed if task.state is not TaskState.ACTIVE]
    _require(len(running) == job.task_counts.running, f"job {key} counts {job.task_counts.running} running tasks")
    slots = sum(task.required_slots for task in running)
    _require(slots == job.slot_counts.running, f"job {key} counts {job.slot_counts.running} running slots")
    ahead = len(placed) - len(running)
    _require(ahead + len(waiting) <= job.task_counts.active, f"job {key} counts too few active tasks")
    total = job.task_counts.active + job.task_counts.running + job.task_counts.completed
    _require(total <= job.tasks_added, f"job {key} has more tasks than were added")
    in_queue = sorted((seq, name) for tasks in queue.by_size.values() for seq, name in tasks)
    _require(in_queue == sorted((-t.seq, t.key) for t in waiting), f"the queue of job {key} holds other tasks")
    _require(all(tasks == sorted(tasks) for tasks in queue.by_size.values()), f"the queue of job {key} is unsorted")
    _require(queue.length == len(waiting) <= state.ready_window, f"the window of job {key} is {queue.length} long")
    if queue.more:
        _require(all(t.seq <= queue.loaded_to for t in waiting), f"the window of job {key} is no prefix")
    is_open = job.state is JobState.ACTIVE and work.pool.slots > 0
    _require(work.is_open == is_open, f"job {key} is {job.state} and open: {work.is_open}")
    _require(is_open or not waiting, f"job {key} cannot run tasks, and keeps some in memory")
    _require(not job.state.startswith("complet"), f"job {key} is completed and in memory")
    _check_preparation(state, work, placed)
    _require(work.limit < 0 or len(running) <= max(work.limit, 0) or work.is_full, f"job {key} exceeds its parallelism")


def _check_schedule(state: State, key: str, schedule: JobSchedule) -> None:
    jobs = {job.key for job in state.jobs.values() if job.schedule == key}
    _require(jobs == set(state.scheduled_jobs.get(key, ())), f"job schedule {key} has other jobs than it knows")
    _require(schedule.state is not JobScheduleState.COMPLETED, f"job schedule {key} is completed and in memory")
    if schedule.state is JobScheduleState.DELETING:
        _require(all(state.jobs[job].state is JobState.DELETING for job in jobs), f"job schedule {key} keeps jobs")
        return
    _require(len(jobs) <= 1, f"job schedule {key} has several jobs that have not ended: {jobs}")
    waits = schedule.state is JobScheduleState.ACTIVE and not jobs
    _require(not waits or key in state.alarms, f"job schedule {key} has no job, and nothing will wake it")
    _require(schedule.state is not JobScheduleState.TERMINATING or bool(jobs), f"job schedule {key} does not end")


def _check_preparation(state: State, work: JobWork, placed: list[Task]) -> None:
    name, preparation = work.key, work.preparation
    for node, record in work.nodes.items():
        _require(node in state.nodes, f"job {name} keeps a record of node {node}, which is not there")
        _require(name in state.node_slots[node].jobs, f"node {node} does not know of the preparation of {name}")
        _require((node in work.barred) == record.is_barred, f"job {name} is wrong about being barred from {node}")
        runs = record.preparation.attempt > 0
        _require((node in work.preparing) == runs, f"job {name} is wrong about {node} being prepared")
        _require(not (record.is_barred and record.is_prepared), f"{node} is both barred from and prepared for {name}")
    for task in placed:
        found = [work.nodes.get(place) for place in task.places]
        if task.state is TaskState.PREPARING and task.withdrawal is None:
            waits = any(record is not None and record.preparation.attempt > 0 for record in found)
            _require(waits, f"{task.key} of {name} waits for nothing")
        elif task.state is TaskState.RUNNING and preparation is not None and preparation.wait_for_success:
            ready = all(record is not None and record.is_prepared for record in found)
            _require(ready, f"{task.key} of {name} runs where nothing is prepared")


def _check_pool(state: State, key: str, pool: PoolSlots) -> None:
    record = state.pools.get(key)
    _require(pool.slots == (record.task_slots_per_node if record else 0), f"pool {key} has nodes of another size")
    _require(record is not None or not pool.nodes, f"pool {key} is gone and has nodes")
    for size, bucket in enumerate(pool.buckets):
        _require(bool(bucket) == bool(pool.mask >> size & 1), f"the mask of pool {key} is wrong about bucket {size}")
        _require(all(node.shelf == size for node in bucket.values()), f"bucket {size} of pool {key} holds others")
    indexed = Counter(order for orders in pool.index.values() for order in orders)
    _require(
        indexed == Counter({job.order: len(job.indexed) for job in pool.jobs.values() if job.indexed}),
        f"the index of pool {key} holds other jobs",
    )
    for size, orders in pool.index.items():
        _require(orders == sorted(orders), f"the index of pool {key} is unsorted")
        _require(all(size in pool.jobs[order[2]].indexed for order in orders), f"the index of pool {key} is wrong")
    if record is not None and record.allocation_state is AllocationState.STEADY:
        moving = (NodeState.CREATING, NodeState.LEAVING_POOL)
        restless = [name for name in pool.nodes if state.nodes[name].state in moving]
        _require(not restless, f"pool {key} is steady, and these nodes join or leave: {restless}")
    open_nodes = sum(node.is_open for node in pool.nodes.values())
    _require(pool.open_nodes == open_nodes, f"pool {key} counts {pool.open_nodes} open nodes")
    _check_gangs(state, pool)
    _check_all_is_placed(state, pool)


def _check_gangs(state: State, pool: PoolSlots) -> None:
    """Every gang has all its nodes or none; none waits beside nodes enough for it."""
    for job in pool.jobs.values():
        for task in (state.tasks[job.key, key] for key in job.placed):
            if task.gang is None or task.state is TaskState.ACTIVE:
                continue
            nodes = {instance.node for instance in task.gang.instances}
            _require(len(nodes) == task.gang.size, f"task {task.key} has {len(nodes)} of {task.gang.size} nodes")
            whole = len(task.places) == task.gang.size
            _require(whole or task.withdrawal is not None, f"task {task.key} has lost some of its nodes, and runs on")
    gang = pool.first_gang() if pool.communicates else None
    _require(gang == _first_gang(pool), f"the first gang of pool {pool.key} is not {gang}")
    if gang is not None:
        free = len(pool.nodes_for(gang[0]))
        _require(free < gang[1] - GANG, f"a gang of job {gang[0].key} waits beside nodes enough")


def _first_gang(pool: PoolSlots) -> tuple[JobWork, int] | None:
    """As the jobs' windows have it."""
    found = [
        (job.order, job.queue.first_seq(size), size)
        for job in pool.jobs.values()
        if pool.communicates and job.is_open and not job.is_full
        for size, tasks in job.queue.by_size.items()
        if tasks and GANG < size <= GANG + pool.open_nodes - len(job.barred)
    ]
    return (pool.jobs[min(found)[0][2]], min(found)[2]) if found else None


def _check_all_is_placed(state: State, pool: PoolSlots) -> None:
    """No slot is free beside a task in a window that would fit there, and comes before the gang it is kept for."""
    gang = pool.first_gang() if pool.communicates else None
    for job in pool.jobs.values():
        if job.is_open and not job.is_full:
            if job.is_choosy:
                chosen = choose(state, job)
                kept = chosen is None or (gang is not None and is_first(gang, job, job.size_of(chosen[0])))
                _require(kept, f"a task of job {job.key} waits beside slots that it may have")
                continue
            size = job.queue.first(pool.most_free)
            kept = gang is not None and is_first(gang, job, size)
            _require(size is None or kept, f"a task of job {job.key} needing {size} slots waits beside free ones")
            for orders in (pool.index[size] for size in job.indexed):
                _require(orders[bisect_left(orders, job.order)] == job.order, f"job {job.key} is not where it belongs")
