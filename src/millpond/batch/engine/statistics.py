"""What is counted of tasks, pools and accounts, and when; the sums themselves are in :mod:`..model.statistics`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from ..model.job import Job
from ..model.pool import Pool
from ..model.statistics import AccountTotals, ResourceTotals, RunUsage, TaskUsage
from ..model.task import Task
from .messages import TaskEnded
from .slots import PoolSlots
from .state import State

_NOTHING = RunUsage()
_MIB_PER_GIB = 1024


def usage_after(task: Task, event: TaskEnded) -> TaskUsage | None:
    """What the task has used with a run that has ended, unless that is in it already.

    All instances of a multi-instance task use the processor; its time is that of the first.
    """
    known = task.usage or TaskUsage(0, 0)
    attempt, start = event.attempt.attempt, event.start_time
    if start is None or attempt < known.attempt:
        return task.usage
    is_primary = True
    instances: tuple[int, ...] = ()
    if task.gang is not None and task.gang.instances:
        number, _ = task.gang.find(event.node)
        is_primary = number == 0
        instances = known.instances if attempt == known.attempt else ()
        if number in instances:
            return task.usage
        instances = (*instances, number)
    elif attempt == known.attempt:
        return task.usage
    run = event.usage or _NOTHING
    return TaskUsage(
        attempt,
        event.end_time,
        known.user_cpu_time + run.user_cpu_time,
        known.kernel_cpu_time + run.kernel_cpu_time,
        known.wall_clock_time + (max(0, event.end_time - start) if is_primary else 0),
        known.read_ops + run.read_ops,
        known.write_ops + run.write_ops,
        known.read_bytes + run.read_bytes,
        known.write_bytes + run.write_bytes,
        max(0, start - task.creation_time) if is_primary else known.wait_time,
        instances,
    )


# --- pools -------------------------------------------------------------------------------------------------------


def is_in_use(state: State, pool: Pool) -> bool:
    """Whether the pool has nodes whose time counts, or measurements that wait to be summed up."""
    slots = state.pool_slots[pool.key]
    return any(slots.machines) or slots.measured is not None


def add_measurement(slots: PoolSlots, usage: Mapping[str, float]) -> None:
    """Take in what a node has measured, by the names that formulas have for it."""
    seconds = usage.get("$WallClockSeconds", 0.0)
    memory = usage.get("$MemoryBytes", 0.0) / _MIB_PER_GIB
    disk = usage.get("$DiskBytes", 0.0)
    measured = ResourceTotals(
        seconds=seconds,
        cpu=usage.get("$CPUPercent", 0.0) * seconds,
        memory=memory * seconds,
        disk=disk * seconds,
        peak_memory=memory,
        peak_disk=disk,
        read_ops=int(usage.get("$DiskReadOps", 0)),
        write_ops=int(usage.get("$DiskWriteOps", 0)),
        read_bytes=int(usage.get("$DiskReadBytes", 0)),
        write_bytes=int(usage.get("$DiskWriteBytes", 0)),
    )
    slots.measured = measured if slots.measured is None else slots.measured.plus(measured)


def sum_up(state: State, pool: Pool, now: int) -> None:
    """Put on record what the pool's nodes have come to."""
    if is_in_use(state, pool):
        slots = state.pool_slots[pool.key]
        usage = state.save_usage(pool, now)
        if slots.measured is not None:
            state.save_usage(pool, now, resources=usage.resources.plus(slots.measured))
            slots.measured = None


def keep_pool_usage(state: State, pool: Pool, now: int) -> None:
    """The pool is going, and has no nodes any more."""
    sum_up(state, pool, now)
    usage = state.usages.get(pool.key)
    if usage is None:
        return
    state.forget_usage(pool, now)
    known = state.accounts.get(pool.account, AccountTotals())
    totals = replace(
        known,
        first_pool=_first(known.first_pool, pool.creation_time),
        dedicated_core_time=known.dedicated_core_time + usage.dedicated_core_time,
        resources=known.resources.plus(usage.resources),
        last_pool=now,
    )
    state.save_account(pool.account, totals)


# --- jobs --------------------------------------------------------------------------------------------------------


def keep_job_totals(state: State, job: Job) -> None:
    """The job is going, and its tasks are gone."""
    schedule = None if job.schedule is None else state.find_schedule(job.schedule)
    if schedule is not None:
        state.save_past_totals(replace(schedule, past_totals=schedule.past_totals.plus(job.totals)))
    known = state.accounts.get(job.account, AccountTotals())
    first = _first(known.first_job, job.creation_time)
    state.save_account(job.account, replace(known, first_job=first, jobs=known.jobs.plus(job.totals)))


def _first(known: int | None, moment: int) -> int:
    return moment if known is None else min(known, moment)
