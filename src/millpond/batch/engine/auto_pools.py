"""Pools that are made for a job, or for the jobs of a schedule, and that go with them."""

from __future__ import annotations

import uuid

from msgspec.structs import replace

from millpond.common.errors import ServiceError

from ..model.job import Job, PoolLifetime
from ..model.keys import entity_key
from ..model.pool import PoolState
from ..model.schedule import JobSchedule
from ..model.task import ErrorCategory, Failure
from .pools import add_pool, delete_pool
from .state import State


def provide_pool(state: State, job: Job, now: int) -> Job:
    """The job with the pool that it asks for; where that cannot be made, with the reason."""
    auto = job.auto_pool
    if auto is None or auto.pool is None:
        return job
    # A name that nobody else has, and the same whenever this is told again: it is made of who asks, and when.
    guid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"millpond:{job.key}:{now}")).upper()
    pool_id = f"{auto.id_prefix}_{guid}" if auto.id_prefix else guid
    key = entity_key(job.account, pool_id)
    job = replace(job, auto_pool=replace(auto, pool=None))
    try:
        add_pool(state, replace(auto.pool, key=key, account=job.account, id=pool_id), now)
    except ServiceError as refusal:
        failure = Failure(ErrorCategory.USER_ERROR, scheduling_error(refusal), refusal.message, refusal.details)
        return replace(job, scheduling_error=failure)
    return replace(job, pool=key, pool_id=pool_id)


def scheduling_error(refusal: ServiceError) -> str:
    """The code that a job is told for a refusal of its pool."""
    if refusal.code == "PoolQuotaReached":
        return "AutoPoolCreationFailedWithQuotaReached"
    return "InvalidAutoScaleFormulaInAutoPool" if refusal.code.startswith("AutoScal") else "InvalidAutoPoolSettings"


def release_pool_of_job(state: State, job: Job, now: int) -> None:
    """The job has ended, or runs elsewhere from now on."""
    auto = job.auto_pool
    if auto is not None and auto.lifetime is PoolLifetime.JOB and not auto.keep_alive:
        _delete(state, job.pool, now)


def release_pool_of_schedule(state: State, schedule: JobSchedule, now: int) -> None:
    """The job schedule has ended, and its last job with it."""
    auto = schedule.template.auto_pool
    keeps = auto is not None and auto.lifetime is PoolLifetime.JOB_SCHEDULE and auto.keep_alive
    if schedule.pool is not None and not keeps:
        _delete(state, schedule.pool[0], now)


def _delete(state: State, key: str, now: int) -> None:
    """Delete a pool, unless its client has been quicker."""
    pool = state.pools.get(key)
    if pool is not None and pool.state is PoolState.ACTIVE:
        delete_pool(state, pool, now)
