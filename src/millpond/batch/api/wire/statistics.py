"""Models of statistics. Counts are text: the wire's 64-bit integers."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET

from .fields import Duration, Maybe, Model, Moment, Until


class TaskStatistics(Model, kw_only=True):
    url: str
    start_time: Moment
    last_update_time: Moment
    user_cpu_time: Duration
    kernel_cpu_time: Duration
    wall_clock_time: Duration
    read_iops: str
    write_iops: str
    read_io_gib: float
    write_io_gib: float
    wait_time: Duration


class JobStatistics(TaskStatistics, kw_only=True):
    """Of a job, a job schedule, or all jobs of an account."""

    num_succeeded_tasks: str
    num_failed_tasks: str
    num_task_retries: str


class UsageStatistics(Model, kw_only=True):
    start_time: Moment
    last_update_time: Moment
    dedicated_core_time: Duration


class ResourceStatistics(Model, kw_only=True):
    start_time: Moment
    last_update_time: Moment
    avg_cpu_percentage: float
    avg_memory_gib: float
    peak_memory_gib: float
    avg_disk_gib: float
    peak_disk_gib: float
    disk_read_iops: str
    disk_write_iops: str
    disk_read_gib: float
    disk_write_gib: float
    network_read_gib: float
    network_write_gib: float


class PoolStatistics(Model, kw_only=True):
    """Of a pool, or of all pools of an account."""

    url: str
    start_time: Moment
    last_update_time: Moment
    usage_stats: Maybe[UsageStatistics] = UNSET
    resource_stats: Maybe[ResourceStatistics] = UNSET


class PoolUsageMetrics(Model, kw_only=True):
    """What a pool came to in an aggregation interval."""

    pool_id: str
    start_time: Moment
    end_time: Moment
    vm_size: str
    total_core_hours: float
    data_ingress_gib: Annotated[Maybe[float], Until("2018-08-01")] = UNSET
    data_egress_gib: Annotated[Maybe[float], Until("2018-08-01")] = UNSET
