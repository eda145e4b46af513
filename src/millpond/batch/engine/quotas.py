"""What an account may have at most: pools, jobs, nodes."""

from __future__ import annotations

from ..errors import error
from ..model.endpoints import room
from ..model.job import JobState
from ..model.pool import Pool, ResizeError
from ..model.schedule import JobScheduleState
from .state import State

_OVER_JOB = frozenset({JobState.COMPLETED, JobState.DELETING})
_OVER_SCHEDULE = frozenset({JobScheduleState.COMPLETED, JobScheduleState.DELETING})


def require_room_for_pool(state: State, account: str) -> None:
    """Raise ``PoolQuotaReached`` where the account has as many pools as it may."""
    quota = state.limits.quotas.pools
    if quota is not None and sum(pool.account == account for pool in state.pools.values()) >= quota:
        raise error("PoolQuotaReached")


def require_room_for_job(state: State, account: str) -> None:
    """Raise ``ActiveJobAndScheduleQuotaReached`` where the account has as many jobs and job schedules as it may.

    What is over, or is going, does not count. Jobs that a schedule makes are not asked for, and count.
    """
    quota = state.limits.quotas.active_jobs_and_schedules
    if quota is None:
        return
    jobs = sum(job.account == account and job.state not in _OVER_JOB for job in state.jobs.values())
    schedules = sum(one.account == account and one.state not in _OVER_SCHEDULE for one in state.schedules.values())
    if jobs + schedules >= quota:
        raise error("ActiveJobAndScheduleQuotaReached")


def grant(state: State, pool: Pool, is_dedicated: bool, wanted: int) -> tuple[int, list[ResizeError]]:
    """How many of the nodes that a pool wants in addition it may have, and why not all of them."""
    quotas = state.limits.quotas
    granted, problems = wanted, []
    cores = quotas.dedicated_cores if is_dedicated else quotas.low_priority_cores
    if wanted > 0 and cores is not None:
        granted = _grant_cores(state, pool, is_dedicated, wanted, cores)
        if granted < wanted:
            kind, code = ("dedicated", "Core") if is_dedicated else ("low priority", "LowPriorityCore")
            problems.append(
                ResizeError(f"Account{code}QuotaReached", f"The specified account has reached {kind} core quota")
            )
    most = quotas.communicating_nodes
    if granted > 0 and most is not None and pool.document.get("enableInterNodeCommunication"):
        left = max(0, most - len(state.pool_slots[pool.key].nodes))
        if granted > left:
            granted = left
            problems.append(
                ResizeError(
                    "CommunicationEnabledPoolReachedMaxVMCount",
                    f"A pool whose nodes may communicate with each other has at most {most} nodes",
                )
            )
    places = room(pool)
    if granted > 0 and places is not None:
        left = max(0, places - len(state.pool_slots[pool.key].nodes))
        if granted > left:
            granted = left
            problems.append(
                ResizeError(
                    "AllocationFailed",
                    f"The frontend port ranges of the pool's inbound endpoints are enough for {places} nodes",
                )
            )
    return granted, problems


def _grant_cores(state: State, pool: Pool, is_dedicated: bool, wanted: int, quota: int) -> int:
    used = sum(
        state.limits.cores(node.vm_size)
        for node in state.nodes.values()
        if node.is_dedicated is is_dedicated and state.pools[node.pool].account == pool.account
    )
    return min(wanted, max(0, quota - used) // state.limits.cores(pool.vm_size))
