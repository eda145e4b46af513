"""The working set: frozen records, indexes over them, and what has changed since the store was last told.

Pools, nodes, and unfinished jobs and job schedules are in memory; of the tasks, those that have a place on a node and
a window of those that wait (:mod:`.waiting`). Everything else is read from the archive.

The archive may take the changes so far (:meth:`State.take_changes`) before it answers, so a handler reads from it
before it changes anything, or at a moment when every record it has changed is as it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ..model.changes import SAMPLES_KEPT, Archive, Changes, Dependency, FileDeletion, PoolSample
from ..model.job import Job, JobState
from ..model.job_node import JobNode
from ..model.limits import Limits
from ..model.pool import Node, Pool, SchedulingState
from ..model.schedule import JobSchedule
from ..model.statistics import AccountTotals, JobTotals, PoolUsage, UsageInterval
from ..model.task import Task, TaskResult, TaskState
from .autoscale import PERIOD, History
from .messages import Effect
from .slots import JobOrder, JobWork, NodeSlots, PoolSlots, TaskKey
from .transitions import WORKING

#: Waiting tasks of all jobs together that memory holds, in windows.
WINDOWS_IN_MEMORY = 16

_NO_LIMITS = Limits()
_NO_USAGE = PoolUsage()


class State:
    """Records are read from the dictionaries, and changed by the methods alone."""

    def __init__(self, archive: Archive, *, ready_window: int = 4096, limits: Limits = _NO_LIMITS) -> None:
        self.archive = archive
        self.limits = limits
        self.ready_window = ready_window
        self.pools: dict[str, Pool] = {}
        self.nodes: dict[str, Node] = {}
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, JobSchedule] = {}
        #: By pool, and by account what is gone.
        self.usages: dict[str, PoolUsage] = {}
        self.accounts: dict[str, AccountTotals] = {}
        self.tasks: dict[TaskKey, Task] = {}
        #: The indexes: of every pool that exists or that a job names, every node, every job in memory.
        self.pool_slots: dict[str, PoolSlots] = {}
        self.node_slots: dict[str, NodeSlots] = {}
        self.job_work: dict[str, JobWork] = {}
        #: Per job schedule: its jobs in memory, which are all that have not ended.
        self.scheduled_jobs: dict[str, dict[str, None]] = {}
        #: Per job schedule: the moment for which it is to be looked at again.
        self.alarms: dict[str, int] = {}
        #: Attempts that are being ended though their tasks are over or gone, by task: on which nodes.
        self.dying: dict[TaskKey, tuple[NodeSlots, ...]] = {}
        #: Waiting tasks in memory.
        self.waiting = 0
        #: Samples of the pools that scale by themselves, and whether an event will come that takes the next ones and
        #: sums up what pools have used.
        self.histories: dict[str, History] = {}
        self.is_sampling = False
        #: The newest sample of each.
        self._newest_samples: dict[str, PoolSample] = {}
        #: Entities whose surroundings have changed.
        self.stirred_pools: dict[str, None] = {}
        self.stirred_nodes: dict[str, None] = {}
        self.stirred_jobs: dict[str, None] = {}
        self.stirred_schedules: dict[str, None] = {}
        #: Jobs with ``satisfied`` tasks to look at.
        self.stirred_dependents: dict[str, None] = {}
        self._effects: list[Effect] = []
        self._changes = Changes()

    def take_changes(self) -> Changes:
        """What has changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def order(self, effect: Effect) -> None:
        self._effects.append(effect)

    def take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def delete_files(self, node: str, job_id: str, task_id: str | None) -> None:
        """Have a node remove a task's directory, or a job's."""
        if node in self.nodes:
            self._changes.file_deletions.append(FileDeletion(node, job_id, task_id))

    # --- pools and nodes ---------------------------------------------------------------------------------------------

    def slots_of(self, pool: str) -> PoolSlots:
        slots = self.pool_slots.get(pool)
        if slots is None:
            slots = self.pool_slots[pool] = PoolSlots(pool)
        return slots

    def save_pool(self, pool: Pool) -> None:
        self.pools[pool.key] = pool
        self._changes.pools[pool.key] = pool
        self._index_pool(pool)

    def load_pool(self, pool: Pool) -> None:
        """Take in a pool that is stored."""
        self.pools[pool.key] = pool
        self._index_pool(pool)

    def remove_pool(self, key: str) -> None:
        del self.pools[key]
        self._changes.pools[key] = None
        self.forget_samples(key)
        self._resize_nodes(self.pool_slots[key], 0)
        self._drop_if_unused(self.pool_slots[key])

    def record_sample(self, pool: str, now: int, values: Mapping[str, float]) -> None:
        """Take a sample of a pool's metrics, over what the present period already has of it."""
        moment = now - now % PERIOD
        newest = self._newest_samples.get(pool)
        known = newest.values if newest is not None and newest.moment == moment else {}
        sample = PoolSample(pool, moment, {**known, **values})
        self._changes.samples[pool, moment] = sample
        self.load_sample(sample)

    def load_sample(self, sample: PoolSample) -> None:
        """Take in a sample that is stored; they come in the order of time."""
        self._newest_samples[sample.pool] = sample
        self.histories.setdefault(sample.pool, History(SAMPLES_KEPT)).record(sample.moment, sample.values)

    def forget_samples(self, pool: str) -> None:
        """The pool does not scale by itself any more."""
        self._newest_samples.pop(pool, None)
        if self.histories.pop(pool, None) is not None:
            self._changes.forgotten_samples.add(pool)
            for name in [name for name in self._changes.samples if name[0] == pool]:
                del self._changes.samples[name]

    def save_usage(self, pool: Pool, now: int, **changed: Any) -> PoolUsage:
        """Count what the pool's nodes have come to until now."""
        usage, over = self.usages.get(pool.key, _NO_USAGE).until(now)
        usage = replace(usage, **changed)
        self.usages[pool.key] = self._changes.pool_usages[pool.key] = usage
        self._changes.usage_intervals += [
            UsageInterval(pool.account, pool.id, pool.vm_size, each.start, now, each.core_time) for each in over
        ]
        return usage

    def forget_usage(self, pool: Pool, now: int) -> None:
        """The pool is going: what it has used stays with its account."""
        interval = self.save_usage(pool, now).interval
        if interval.core_time:
            kept = UsageInterval(pool.account, pool.id, pool.vm_size, interval.start, now, interval.core_time)
            self._changes.usage_intervals.append(kept)
        del self.usages[pool.key]
        self._changes.pool_usages[pool.key] = None

    def save_account(self, key: str, totals: AccountTotals) -> None:
        self.accounts[key] = self._changes.accounts[key] = totals

    def _index_pool(self, pool: Pool) -> None:
        slots = self.slots_of(pool.key)
        slots.fill_type = pool.fill_type
        communicates = pool.enable_inter_node_communication
        if slots.slots != pool.task_slots_per_node or slots.communicates != communicates:
            slots.communicates = communicates
            self._resize_nodes(slots, pool.task_slots_per_node)
        self.stirred_pools[pool.key] = None

    def _resize_nodes(self, pool: PoolSlots, slots: int) -> None:
        """Nodes of this pool have this many slots from now on; which tasks fit is to be found out anew."""
        pool.resize_nodes(slots)
        for work in pool.jobs.values():
            self._reopen(work)

    def _reconsider_gangs(self, pool: PoolSlots) -> None:
        """The pool has more or fewer nodes now; which gangs fit is to be found out anew."""
        if pool.communicates:
            for work in pool.jobs.values():
                if work.has_gangs:
                    self._reopen(work)

    def _reopen(self, work: JobWork) -> None:
        self._close(work)
        self._open_if_due(work)

    def _drop_if_unused(self, pool: PoolSlots) -> None:
        if not pool.jobs and pool.key not in self.pools:
            del self.pool_slots[pool.key]

    def save_node(self, node: Node) -> None:
        before = self.nodes.get(node.key)
        self._changes.nodes[node.key] = node
        self.nodes[node.key] = node
        if before is None or _differ_in_placing(before, node):
            self.load_node(node)

    def load_node(self, node: Node) -> None:
        """Take in a node that is stored, or find its place anew."""
        self.nodes[node.key] = node
        if node.key not in self.node_slots:
            pool = self.slots_of(node.pool)
            slots = NodeSlots(node.key, pool, pool.slots)
            self.node_slots[node.key] = pool.nodes[node.key] = slots
            self._reconsider_gangs(pool)
        slots = self.node_slots[node.key]
        slots.count_machine(has_machine=node.has_machine, is_dedicated=node.is_dedicated)
        self.refresh(slots)
        self.stirred_pools[node.pool] = None

    def connect(self, node: str, connected: bool) -> None:
        slots = self.node_slots[node]
        slots.connected = connected
        self.refresh(slots)

    def refresh(self, slots: NodeSlots) -> None:
        """Find out whether a node takes tasks."""
        node = self.nodes[slots.key]
        slots.set_open(
            slots.connected
            and node.state in WORKING
            and node.scheduling_state is SchedulingState.ENABLED
            and node.drain_then is None
        )
        self.stirred_nodes[slots.key] = None
        self.stirred_pools[node.pool] = None
        self.stirred_jobs.update(slots.jobs)

    def remove_node(self, key: str) -> None:
        """The node has no tasks any more."""
        slots = self.node_slots.pop(key)
        slots.count_machine(has_machine=False, is_dedicated=self.nodes[key].is_dedicated)
        slots.set_open(False)
        del slots.pool.nodes[key]
        self._reconsider_gangs(slots.pool)
        self.stirred_pools[slots.pool.key] = None
        del self.nodes[key]
        self._changes.nodes[key] = None

    # --- jobs --------------------------------------------------------------------------------------------------------

    def find_job(self, key: str) -> Job | None:
        """A job, from the archive if need be."""
        return self.jobs.get(key) or self.archive.job(key)

    def save_job(self, job: Job) -> None:
        self._changes.jobs[job.key] = job
        self.load_job(job)

    def load_job(self, job: Job) -> None:
        """Take in a job that is stored, or find its place anew."""
        self.jobs[job.key] = job
        self.stirred_jobs[job.key] = None
        if job.schedule is not None:
            self.scheduled_jobs.setdefault(job.schedule, {})[job.key] = None
        order: JobOrder = (-job.priority, job.creation_time, job.key)
        pool = self.slots_of(job.pool)
        work = self.job_work.get(job.key)
        if work is None:
            work = self.job_work[job.key] = JobWork(job.key, pool, order)
            pool.jobs[job.key] = work
        elif work.pool is not pool or work.order != order:
            self._move_job(work, pool, order)
        work.limit = job.max_parallel_tasks
        work.preparation = job.preparation
        if job.manager is not None:
            work.manager = job.manager.key if job.manager.kill_job_on_completion else None
            work.exclusive = job.manager.key if job.manager.run_exclusive else None
            work.dedicated = None if job.manager.allow_low_priority_node else job.manager.key
        if job.state is JobState.ACTIVE:
            self._open_if_due(work)
        else:
            self._close(work)
        self.touch(work)

    def _move_job(self, work: JobWork, pool: PoolSlots, order: JobOrder) -> None:
        work.pool.reindex(work, frozenset())
        if work.pool is not pool:
            self._close(work)
            self._detach(work)
            work.pool = pool
            pool.jobs[work.key] = work
        work.order = order

    def _detach(self, work: JobWork) -> None:
        del work.pool.jobs[work.key]
        work.pool.stale.pop(work.key, None)
        self._drop_if_unused(work.pool)

    def remove_job(self, key: str) -> None:
        """The job is gone, or is going to be."""
        self.forget_job(key)
        self._changes.jobs[key] = None

    def forget_job(self, key: str) -> None:
        """The job is only in the archive from now on; none of its tasks has a place."""
        work = self.job_work.pop(key)
        for node in work.nodes:
            self.node_slots[node].jobs.pop(key)
        self._close(work)
        work.pool.reindex(work, frozenset())
        self._detach(work)
        schedule = self.jobs.pop(key).schedule
        self.stirred_jobs.pop(key, None)
        if schedule is not None:
            del self.scheduled_jobs[schedule][key]
            if not self.scheduled_jobs[schedule]:
                del self.scheduled_jobs[schedule]
            self.stirred_schedules[schedule] = None

    def save_job_node(self, record: JobNode) -> None:
        """Note how a job's preparation or release stands on a node."""
        self._changes.job_nodes[record.job, record.node] = record
        self.load_job_node(record)

    def load_job_node(self, record: JobNode) -> None:
        """Take in a stored record of a job and a node that are in memory, or find its place anew."""
        work = self.job_work[record.job]
        work.nodes[record.node] = record
        self.node_slots[record.node].jobs[record.job] = None
        for nodes, belongs in ((work.barred, record.is_barred), (work.preparing, record.preparation.attempt > 0)):
            if belongs:
                nodes.add(record.node)
            else:
                nodes.discard(record.node)
        self.touch(work)
        self.stirred_jobs[record.job] = None

    def forget_job_node(self, job: str, node: str) -> None:
        """The node is going: the record is only in the archive from now on."""
        work = self.job_work[job]
        del work.nodes[node]
        work.barred.discard(node)
        work.preparing.discard(node)
        del self.node_slots[node].jobs[job]
        self.stirred_jobs[job] = None

    def touch(self, work: JobWork) -> None:
        """Have the scheduler look at a job again."""
        work.pool.stale[work.key] = work
        self.stirred_pools[work.pool.key] = None

    def _open_if_due(self, work: JobWork) -> None:
        """Let the job's tasks be placed, if its pool has nodes to have."""
        job = self.jobs[work.key]
        if work.is_open or not work.pool.slots or job.state is not JobState.ACTIVE:
            return
        work.is_open = True
        active = sum(self.tasks[work.key, key].state is TaskState.ACTIVE for key in work.placed)
        work.queue.clear(more=job.task_counts.active > active)
        self.touch(work)

    def _close(self, work: JobWork) -> None:
        """Keep the job's tasks from being placed: none that waits is in memory."""
        if work.is_open:
            self._drop_window(work)
            work.is_open = False
            self.touch(work)

    # --- job schedules -----------------------------------------------------------------------------------------------

    def find_schedule(self, key: str) -> JobSchedule | None:
        """A job schedule, from the archive if need be."""
        return self.schedules.get(key) or self.archive.schedule(key)

    def save_schedule(self, schedule: JobSchedule) -> None:
        self._changes.schedules[schedule.key] = schedule
        self.load_schedule(schedule)

    def load_schedule(self, schedule: JobSchedule) -> None:
        """Take in a job schedule that is stored, or have it looked at anew."""
        self.schedules[schedule.key] = schedule
        self.stirred_schedules[schedule.key] = None

    def save_past_totals(self, schedule: JobSchedule) -> None:
        """Note what jobs of a schedule have used that are gone; one that is only in the archive stays there."""
        self._changes.schedules[schedule.key] = schedule
        if schedule.key in self.schedules:
            self.schedules[schedule.key] = schedule

    def forget_schedule(self, key: str) -> None:
        """The job schedule is only in the archive from now on."""
        del self.schedules[key]
        self.alarms.pop(key, None)

    def remove_schedule(self, key: str) -> None:
        self.forget_schedule(key)
        self._changes.schedules[key] = None

    # --- tasks -------------------------------------------------------------------------------------------------------

    def find_task(self, job: str, key: str) -> Task | None:
        """A task, from the archive if need be."""
        return self.tasks.get((job, key)) or self.archive.task(job, key)

    def save_task(self, before: Task | None, task: Task, document: bytes | None = None) -> None:
        """Note what has become of a task; where it is kept in memory, it is kept there as it is now."""
        key = (task.job, task.key)
        self._changes.tasks[key] = task
        if document is not None:
            self._changes.documents[key] = document
        if key in self.tasks:
            self.tasks[key] = task
        if before is None or before.state is not task.state:
            self._recount(before, task)
            if task.state is TaskState.COMPLETED:
                self.job_work[task.job].pool.count_ended(task.result)
        elif before.usage is not task.usage:
            job = self.jobs[task.job]
            self._save_tally(replace(job, totals=_totals(job.totals, before, task)))
        was_held_back = before is not None and before.is_held_back
        if was_held_back is not task.is_held_back:
            self._hold_back(task, -1 if was_held_back else 1)

    def count_added(self, job: Job) -> None:
        """One more task has been added to the job, ever."""
        self._save_tally(replace(job, tasks_added=job.tasks_added + 1))

    def _save_tally(self, job: Job) -> None:
        """Save a change that leaves the job's place as it is."""
        self.jobs[job.key] = self._changes.jobs[job.key] = job

    def save_satisfied(self, job: Job, satisfied: tuple[tuple[str, int], ...]) -> None:
        """Note which tasks' dependents are still to be told."""
        self._save_tally(replace(job, satisfied=satisfied))

    def save_dependency(self, job: str, prerequisite: str, seq: int, *, is_open: bool) -> None:
        self._changes.dependencies[Dependency(job, prerequisite, seq)] = is_open

    def load_placed(self, task: Task) -> None:
        """Take in a stored task that has a place; its nodes and job are there."""
        key = (task.job, task.key)
        self.tasks[key] = task
        work = self.job_work[task.job]
        work.placed[task.key] = None
        size = work.size_of(task)
        for node in task.places:
            slots = self.node_slots[node]
            if task.state is not TaskState.ACTIVE:
                slots.occupy(key, size)
            elif task.withdrawal is None:
                slots.ahead[key] = size
            else:
                slots.recalled[key] = size

    def _hold_back(self, task: Task, count: int) -> None:
        job = self.jobs[task.job]
        slots = job.held_back_slots + count * task.required_slots
        self._save_tally(replace(job, held_back=job.held_back + count, held_back_slots=slots))

    def remove_task(self, task: Task) -> None:
        """The task, which has no place and does not wait in memory, is gone."""
        key = (task.job, task.key)
        self._changes.tasks[key] = None
        self._changes.documents.pop(key, None)
        if task.pending_dependencies:
            unwritten = self._changes.dependencies
            for each in [each for each in unwritten if (each.job, each.seq) == (task.job, task.seq)]:
                del unwritten[each]
        self._recount(task, None)
        if task.is_held_back:
            self._hold_back(task, -1)

    def _recount(self, before: Task | None, after: Task | None) -> None:
        old = before and _column(before)
        new = after and _column(after)
        if old == new:
            return
        task = after or before
        assert task is not None  # noqa: S101 - one of them is
        self.stirred_jobs[task.job] = None
        job = self.jobs[task.job]
        tasks, slots = job.task_counts, job.slot_counts
        tasks_now: dict[str, int] = {}
        slots_now: dict[str, int] = {}
        if old:
            tasks_now[old] = getattr(tasks, old) - 1
            slots_now[old] = getattr(slots, old) - task.required_slots
        if new:
            tasks_now[new] = getattr(tasks, new) + 1
            slots_now[new] = getattr(slots, new) + task.required_slots
        self._save_tally(
            replace(
                job,
                task_counts=replace(tasks, **tasks_now),
                slot_counts=replace(slots, **slots_now),
                totals=job.totals if before is None or after is None else _totals(job.totals, before, after),
            )
        )

    def enqueue(self, task: Task) -> None:
        """A task waits for a place (and is saved as such): keep it in memory if it belongs to its job's window."""
        work = self.job_work[task.job]
        key = (task.job, task.key)
        if task.gang is not None:
            work.has_gangs = True
        fits = work.pool.could_run(task.required_slots, work.size_of(task))
        if not work.is_open or not fits or task.pending_dependencies:
            self.tasks.pop(key, None)
        else:
            self._push(work, task)

    def _push(self, work: JobWork, task: Task) -> None:
        queue = work.queue
        before = queue.length
        has_room = self.waiting < WINDOWS_IN_MEMORY * self.ready_window
        left_out = queue.push(task.seq, work.size_of(task), task.key, self.ready_window if has_room else before)
        self.waiting += queue.length - before
        self.tasks[task.job, task.key] = task
        if left_out is not None:
            del self.tasks[task.job, left_out]
        self.touch(work)

    def dequeue(self, task: Task) -> None:
        """A waiting task no longer waits, or is to get a place."""
        if self.tasks.pop((task.job, task.key), None) is not None:
            work = self.job_work[task.job]
            work.queue.remove(task.seq, work.size_of(task), task.key)
            self.waiting -= 1
            self.touch(work)

    def dequeue_first(self, work: JobWork, size: int) -> Task:
        """Take the job's first waiting task of this size, which is to get a place."""
        key = work.queue.pop(size)
        self.waiting -= 1
        return self.tasks.pop((work.key, key))

    def is_running_low(self, work: JobWork) -> bool:
        return work.queue.more and work.queue.length < max(1, self.ready_window // 2)

    def refill(self, work: JobWork) -> None:
        """Read waiting tasks of the job until its window is full enough, or holds them all."""
        queue = work.queue
        while self.is_running_low(work):
            limit = max(1, self.ready_window - queue.length)
            found = self.archive.waiting(work.key, queue.loaded_to, limit)
            queue.more = len(found) == limit
            if found:
                queue.loaded_to = found[-1].seq
            self._make_room(work, limit)
            for task in found:
                self.enqueue(task)
        self.touch(work)

    def _make_room(self, work: JobWork, needed: int) -> None:
        """Forget windows of other jobs, if memory holds too many waiting tasks."""
        for other in self.job_work.values():
            if self.waiting + needed <= WINDOWS_IN_MEMORY * self.ready_window:
                return
            if other is not work and other.queue.length:
                self._drop_window(other)
                self.touch(other)

    def _drop_window(self, work: JobWork) -> None:
        for key in work.queue.keys():  # noqa: SIM118 - not a mapping
            del self.tasks[work.key, key]
        self.waiting -= work.queue.length
        work.queue.clear(more=True)

    def mourn(self, slots: NodeSlots, key: TaskKey, attempt: int) -> None:
        """The node was told to end an attempt of a task that is over or gone."""
        if key not in slots.dying:
            self.dying[key] = (*self.dying.get(key, ()), slots)
        slots.dying[key] = attempt

    def bury(self, slots: NodeSlots, key: TaskKey) -> None:
        """The attempt has ended, or the task that it is an earlier run of takes care of it."""
        del slots.dying[key]
        others = tuple(other for other in self.dying[key] if other is not slots)
        if others:
            self.dying[key] = others
        else:
            del self.dying[key]
        self.stirred_jobs[key[0]] = None


def _column(task: Task) -> str:
    """Which of the job's counts a task is in."""
    if task.state is TaskState.COMPLETED:
        return "succeeded" if task.result is TaskResult.SUCCESS else "failed"
    return "active" if task.state is TaskState.ACTIVE else "running"


def _totals(totals: JobTotals, before: Task, after: Task) -> JobTotals:
    """A job's totals when a task of it has become another."""
    if after.usage is not None and after.usage is not before.usage:
        totals = totals.with_usage(before.usage, after.usage)
    if after.state is TaskState.COMPLETED and before.state is not TaskState.COMPLETED:
        if after.result is TaskResult.SUCCESS:
            return replace(totals, succeeded=totals.succeeded + 1)
        return replace(totals, failed=totals.failed + 1)
    if after.retry_count > before.retry_count:
        return replace(totals, retries=totals.retries + 1)
    return totals


def _differ_in_placing(one: Node, other: Node) -> bool:
    """Whether what says if a node takes tasks is different."""
    return (
        one.state is not other.state
        or one.drain_then is not other.drain_then
        or one.scheduling_state is not other.scheduling_state
    )
