"""What tasks, jobs, pools and accounts have used: the numbers behind ``stats``.

Each number has one place. A task's record says what its runs have used, a job's the sum over all tasks that it has
had, a pool's usage what its nodes have; what is deleted leaves its sums with its job schedule and its account. So the
sum over a life is that of what there is and what is gone, and nothing is counted twice however often a report comes.
Durations are microseconds.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple, replace

from millpond.common.clock import MINUTE

#: For how long the core hours of a pool are summed up: the service's ``poolusagemetrics``.
INTERVAL = 30 * MINUTE
#: Pools are looked at every half minute: where nobody has for longer than this, the service did not run.
LONGEST_GAP = MINUTE
#: For how long past intervals are kept.
INTERVALS_KEPT = 31 * 24 * 60 * MINUTE


class RunUsage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the processes of one run have used, as its node has measured it."""

    user_cpu_time: int = 0
    kernel_cpu_time: int = 0
    read_ops: int = 0
    write_ops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


class TaskUsage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a task's runs have used that have ended."""

    #: The attempt of the last one. A report of an attempt that is not later adds nothing.
    attempt: int
    last_update_time: int
    user_cpu_time: int = 0
    kernel_cpu_time: int = 0
    wall_clock_time: int = 0
    read_ops: int = 0
    write_ops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    #: From the task's creation to the start of its last run.
    wait_time: int = 0
    #: Of a multi-instance task: the instances of that attempt that are in it.
    instances: tuple[int, ...] = ()


class JobTotals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sums over the tasks of a job, or of many jobs, also over tasks that are gone."""

    last_update_time: int = 0
    user_cpu_time: int = 0
    kernel_cpu_time: int = 0
    wall_clock_time: int = 0
    read_ops: int = 0
    write_ops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    wait_time: int = 0
    #: How often a task has come to this end.
    succeeded: int = 0
    failed: int = 0
    retries: int = 0

    def with_usage(self, before: TaskUsage | None, after: TaskUsage) -> JobTotals:
        """As it is when a task's usage has become another."""
        old = before or _NOTHING
        return JobTotals(
            max(self.last_update_time, after.last_update_time),
            self.user_cpu_time + after.user_cpu_time - old.user_cpu_time,
            self.kernel_cpu_time + after.kernel_cpu_time - old.kernel_cpu_time,
            self.wall_clock_time + after.wall_clock_time - old.wall_clock_time,
            self.read_ops + after.read_ops - old.read_ops,
            self.write_ops + after.write_ops - old.write_ops,
            self.read_bytes + after.read_bytes - old.read_bytes,
            self.write_bytes + after.write_bytes - old.write_bytes,
            self.wait_time + after.wait_time - old.wait_time,
            self.succeeded,
            self.failed,
            self.retries,
        )

    def plus(self, other: JobTotals) -> JobTotals:
        latest = max(self.last_update_time, other.last_update_time)
        return JobTotals(latest, *map(operator.add, astuple(self)[1:], astuple(other)[1:]))


_NOTHING = TaskUsage(0, 0)


class ResourceTotals(msgspec.Struct, frozen=True, array_like=True):
    """Sums over measurements of nodes, weighted by their length where they say how things are."""

    #: Node seconds that were measured, and of those: in use of all processors, in GiB of memory, in GiB of disk.
    seconds: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    #: Of one node, in GiB.
    peak_memory: float = 0.0
    peak_disk: float = 0.0
    read_ops: int = 0
    write_ops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0

    def plus(self, other: ResourceTotals) -> ResourceTotals:
        return ResourceTotals(
            self.seconds + other.seconds,
            self.cpu + other.cpu,
            self.memory + other.memory,
            self.disk + other.disk,
            max(self.peak_memory, other.peak_memory),
            max(self.peak_disk, other.peak_disk),
            self.read_ops + other.read_ops,
            self.write_ops + other.write_ops,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
        )


class CoreTime(NamedTuple):
    """What the cores of a pool's nodes have come to in an aggregation interval."""

    start: int
    core_time: int


class PoolUsage(msgspec.Struct, frozen=True, array_like=True):
    """What a pool's nodes have come to until a moment, and how many there are since."""

    moment: int = 0
    dedicated_nodes: int = 0
    low_priority_nodes: int = 0
    #: Of each node.
    cores: int = 0
    #: Core microseconds of dedicated nodes.
    dedicated_core_time: int = 0
    #: Those of all nodes, in the aggregation interval that ``moment`` is in.
    interval_core_time: int = 0
    resources: ResourceTotals = ResourceTotals()

    @property
    def nodes(self) -> tuple[int, int]:
        return self.dedicated_nodes, self.low_priority_nodes

    @property
    def interval(self) -> CoreTime:
        """The aggregation interval that is under way."""
        return CoreTime(interval_start(self.moment), self.interval_core_time)

    def until(self, now: int) -> tuple[PoolUsage, list[CoreTime]]:
        """As it is at ``now``, with the aggregation intervals that have come to their end.

        Time in which the service did not run is not counted: it does not know what became of the nodes.
        """
        if now <= self.moment:
            return self, []
        end = min(now, self.moment + LONGEST_GAP)
        cores = self.cores * (self.dedicated_nodes + self.low_priority_nodes)
        boundary = interval_start(self.moment) + INTERVAL
        present = CoreTime(
            boundary - INTERVAL, self.interval_core_time + cores * max(0, min(end, boundary) - self.moment)
        )
        over: list[CoreTime] = []
        if now >= boundary:
            over.append(present)
            present = CoreTime(boundary, cores * max(0, end - boundary))
        if now >= present.start + INTERVAL:
            over.append(present)
            present = CoreTime(interval_start(now), 0)
        dedicated = self.cores * self.dedicated_nodes * (end - self.moment)
        later = replace(
            self,
            moment=now,
            dedicated_core_time=self.dedicated_core_time + dedicated,
            interval_core_time=present.core_time,
        )
        return later, [each for each in over if each.core_time]


def interval_start(moment: int) -> int:
    """When the aggregation interval began that a moment is in."""
    return moment - moment % INTERVAL


class UsageInterval(NamedTuple):
    """A pool's core time in an aggregation interval that is over, or in which the pool was deleted."""

    account: str
    pool_id: str
    vm_size: str
    start: int
    #: When that was known: tells apart pools that had one id within one interval.
    recorded: int
    core_time: int


class AccountTotals(msgspec.Struct, frozen=True):
    """Sums over the pools and jobs of an account that are gone."""

    #: When the first of each was made.
    first_pool: int | None = None
    first_job: int | None = None
    jobs: JobTotals = JobTotals()
    dedicated_core_time: int = 0
    resources: ResourceTotals = ResourceTotals()
    #: When the last pool went.
    last_pool: int = 0
