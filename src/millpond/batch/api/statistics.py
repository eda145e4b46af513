"""What tasks, jobs, job schedules, pools and the account have used: ``$expand=stats``, and the operations on all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import UNSET

from millpond.common.clock import HOUR, from_iso, to_iso
from millpond.common.durations import format_duration

from ..model.pool import Pool
from ..model.statistics import INTERVAL, JobTotals, PoolUsage, ResourceTotals, TaskUsage, UsageInterval, interval_start
from ..model.task import Task
from ..store.base import PoolInUse
from . import odata
from .http import Answer, Call, entity, listing
from .lists import page_of
from .wire import statistics as wire

if TYPE_CHECKING:
    from ..service import BatchService

_GIB = 1 << 30


# --- of the account ----------------------------------------------------------------------------------------------


async def pool_list_usage_metrics(service: BatchService, call: Call) -> Answer:
    """By aggregation interval, also of pools that are gone, and up to now.

    Where the client names no time: the last interval that is over, and the one under way.
    """
    start = _moment(call, "startTime", interval_start(call.now) - INTERVAL)
    end = _moment(call, "endTime", call.now)
    if end < start:
        raise call.bad_parameter("endTime", "The time must not be earlier than startTime.")
    what = odata.read_filter(call, "usage_metrics")
    found = await asyncio.to_thread(_core_time, service, call, start, end)
    items = [
        (f"{interval:020}/{pool_id}/{vm_size}", _metrics(call, interval, pool_id, vm_size, core_time))
        for (interval, pool_id, vm_size), core_time in sorted(found.items())
        if what is None or odata.holds(what, {"pool_id": pool_id})
    ]
    page, following = page_of(call, items)
    return listing(call, page, wire.PoolUsageMetrics, "poolusagemetrics", following)


def _core_time(service: BatchService, call: Call, start: int, end: int) -> dict[tuple[int, str, str], int]:
    """By beginning of the interval, pool and size of its nodes: of all intervals that have a part in that time."""
    intervals = service.reader.usage_intervals(call.account, start - INTERVAL, end)
    _, pools = service.reader.usage_of_pools(call.account)
    for pool in pools:
        intervals += _under_way(call, pool)
    sums: dict[tuple[int, str, str], int] = {}
    for each in intervals:
        if each.core_time and start - INTERVAL < each.start <= end:
            key = (each.start, each.pool_id, each.vm_size)
            sums[key] = sums.get(key, 0) + each.core_time
    return sums


def _under_way(call: Call, pool: PoolInUse) -> list[UsageInterval]:
    """What a pool has come to that is not on record as an interval that is over."""
    usage, over = pool.usage.until(call.now)
    return [
        UsageInterval(call.account, pool.pool_id, pool.vm_size, each.start, call.now, each.core_time)
        for each in [*over, usage.interval]
    ]


def _metrics(call: Call, interval: int, pool_id: str, vm_size: str, core_time: int) -> wire.PoolUsageMetrics:
    return wire.PoolUsageMetrics(
        pool_id=pool_id,
        start_time=to_iso(interval),
        end_time=to_iso(min(interval + INTERVAL, call.now)),
        vm_size=vm_size,
        total_core_hours=core_time / HOUR,
        data_ingress_gib=0.0,
        data_egress_gib=0.0,
    )


def _moment(call: Call, name: str, default: int) -> int:
    text = call.query.get(name.lower())
    if text is None:
        return default
    try:
        return from_iso(text)
    except ValueError:
        raise call.bad_parameter(name, "The value is not a time in ISO 8601.") from None


async def pool_get_all_lifetime_statistics(service: BatchService, call: Call) -> Answer:
    gone, there = await asyncio.to_thread(service.reader.usage_of_pools, call.account)
    core_time, resources = gone.dedicated_core_time, gone.resources
    latest = gone.last_pool
    for pool in there:
        usage, _ = pool.usage.until(call.now)
        core_time += usage.dedicated_core_time
        resources = resources.plus(usage.resources)
        latest = max(latest, pool.usage.moment)
    first = [pool.creation_time for pool in there] + ([] if gone.first_pool is None else [gone.first_pool])
    content = _pool_statistics(call, call.url, min(first, default=call.now), core_time, resources, latest or call.now)
    return entity(call, content, wire.PoolStatistics, "poolstats")


async def job_get_all_lifetime_statistics(service: BatchService, call: Call) -> Answer:
    first, totals = await asyncio.to_thread(service.reader.totals_of_jobs, call.account)
    content = job_statistics(call.url, call.now if first is None else first, totals)
    return entity(call, content, wire.JobStatistics, "jobstats")


# --- of one entity -----------------------------------------------------------------------------------------------


def is_wanted(call: Call) -> bool:
    """Whether the client asks for the statistics of what it reads."""
    return "stats" in (name.strip() for name in call.query.get("$expand", "").split(","))


def task_statistics(url: str, task: Task, usage: TaskUsage) -> wire.TaskStatistics:
    return wire.TaskStatistics(
        url=stats_url(url),
        start_time=to_iso(task.creation_time),
        last_update_time=to_iso(usage.last_update_time),
        user_cpu_time=format_duration(usage.user_cpu_time),
        kernel_cpu_time=format_duration(usage.kernel_cpu_time),
        wall_clock_time=format_duration(usage.wall_clock_time),
        read_iops=str(usage.read_ops),
        write_iops=str(usage.write_ops),
        read_io_gib=usage.read_bytes / _GIB,
        write_io_gib=usage.write_bytes / _GIB,
        wait_time=format_duration(usage.wait_time),
    )


def job_statistics(url: str, start: int, totals: JobTotals) -> wire.JobStatistics:
    """Of a job, or of many since ``start``."""
    return wire.JobStatistics(
        url=url,
        start_time=to_iso(start),
        last_update_time=to_iso(max(start, totals.last_update_time)),
        user_cpu_time=format_duration(totals.user_cpu_time),
        kernel_cpu_time=format_duration(totals.kernel_cpu_time),
        wall_clock_time=format_duration(totals.wall_clock_time),
        read_iops=str(totals.read_ops),
        write_iops=str(totals.write_ops),
        read_io_gib=totals.read_bytes / _GIB,
        write_io_gib=totals.write_bytes / _GIB,
        wait_time=format_duration(totals.wait_time),
        num_succeeded_tasks=str(totals.succeeded),
        num_failed_tasks=str(totals.failed),
        num_task_retries=str(totals.retries),
    )


def pool_statistics(call: Call, url: str, pool: Pool, usage: PoolUsage) -> wire.PoolStatistics:
    now, _ = usage.until(call.now)
    return _pool_statistics(
        call, stats_url(url), pool.creation_time, now.dedicated_core_time, usage.resources, usage.moment or call.now
    )


def _pool_statistics(  # noqa: PLR0917 - what it is about, then the numbers
    call: Call, url: str, start: int, core_time: int, resources: ResourceTotals, measured: int
) -> wire.PoolStatistics:
    """``measured``: when the resources were summed up last; core time counts up to now."""
    return wire.PoolStatistics(
        url=url,
        start_time=to_iso(start),
        last_update_time=to_iso(call.now),
        usage_stats=wire.UsageStatistics(
            start_time=to_iso(start),
            last_update_time=to_iso(call.now),
            dedicated_core_time=format_duration(core_time),
        ),
        resource_stats=_resource_statistics(start, resources, measured) if resources.seconds else UNSET,
    )


def _resource_statistics(start: int, resources: ResourceTotals, measured: int) -> wire.ResourceStatistics:
    seconds = resources.seconds
    return wire.ResourceStatistics(
        start_time=to_iso(start),
        last_update_time=to_iso(measured),
        avg_cpu_percentage=100 * resources.cpu / seconds,
        avg_memory_gib=resources.memory / seconds,
        peak_memory_gib=resources.peak_memory,
        avg_disk_gib=resources.disk / seconds,
        peak_disk_gib=resources.peak_disk,
        disk_read_iops=str(resources.read_ops),
        disk_write_iops=str(resources.write_ops),
        disk_read_gib=resources.read_bytes / _GIB,
        disk_write_gib=resources.write_bytes / _GIB,
        # Nodes on one machine share its network, so nobody can say what each of them did.
        network_read_gib=0.0,
        network_write_gib=0.0,
    )


def stats_url(url: str) -> str:
    """Where an entity's statistics are."""
    return f"{url}?$expand=stats"
