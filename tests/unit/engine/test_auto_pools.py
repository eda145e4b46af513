from __future__ import annotations

import re
from typing import Any

import pytest
from tests.simulation.client import make_job, make_pool
from tests.unit.engine.bench import Bench
from tests.unit.engine.test_schedules import make_schedule

from millpond.batch.engine.auto_pools import scheduling_error
from millpond.batch.engine.messages import (
    JobAddRequested,
    JobChangeRequested,
    JobDeleteRequested,
    JobDisableRequested,
    JobPurged,
    JobScheduleAddRequested,
    JobScheduleChangeRequested,
    JobScheduleDeleteRequested,
    JobScheduleTerminateRequested,
    JobTerminateRequested,
    NodeReleased,
    PoolAddRequested,
    PoolDeleteRequested,
    PurgeJob,
    ReleaseNode,
    RequestNode,
    ResizeRequested,
)
from millpond.batch.model.job import AutoPool, DisableTasks, Job, JobState, PoolLifetime
from millpond.batch.model.pool import PoolState
from millpond.common.clock import HOUR, SECOND
from millpond.common.errors import ServiceError

GUID = r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}"


def auto(lifetime: PoolLifetime = PoolLifetime.JOB, nodes: int = 1, **fields: Any) -> AutoPool:
    return AutoPool(lifetime=lifetime, pool=make_pool("", nodes, 2), **fields)


def own_pool_job(key: str = "job", **fields: Any) -> Job:
    return make_job(key, "", auto_pool=auto(**fields))


def release_nodes(bench: Bench) -> None:
    bench.do(*[NodeReleased(node=effect.node) for effect in bench.all(ReleaseNode)])


def test_a_pool_is_made_with_the_job_and_goes_with_it() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job()))
    job = bench.job_record()
    assert re.fullmatch(GUID, job.pool_id)
    assert job.pool == f"a/{job.pool_id}".lower()
    pool = bench.pool_record(job.pool)
    assert (pool.id, pool.target_dedicated_nodes, pool.task_slots_per_node) == (job.pool_id, 1, 2)
    assert pool.creation_time == job.creation_time
    bench.connect(*[effect.node.key for effect in bench.all(RequestNode)])
    bench.tasks("t")
    assert bench.running() == ["t"]
    bench.do(JobTerminateRequested(job="job"))
    assert bench.job_record().state is JobState.COMPLETED
    assert bench.pool_record(job.pool).state is PoolState.DELETING
    bench.restart()
    release_nodes(bench)
    assert job.pool not in bench.archive.pools
    assert bench.job_record().pool_id == job.pool_id


def test_a_prefix_comes_before_the_rest_of_the_id_and_ids_differ() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job("one", id_prefix="mine")), JobAddRequested(job=own_pool_job("two")))
    one, two = bench.job_record("one").pool_id, bench.job_record("two").pool_id
    assert re.fullmatch(f"mine_{GUID}", one)
    assert one[5:] != two


def test_the_pool_of_a_deleted_job_goes_when_the_job_does() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job(nodes=0)))
    pool = bench.job_record().pool
    bench.do(JobDeleteRequested(job="job"))
    bench.restart()
    [purge] = bench.all(PurgeJob)
    bench.do(JobPurged(job=purge.job))
    assert not bench.archive.jobs
    assert pool not in bench.archive.pools


def test_a_pool_that_is_kept_alive_stays() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job(keep_alive=True)))
    bench.do(JobTerminateRequested(job="job"))
    pool = bench.job_record().pool
    bench.do(JobDeleteRequested(job="job"))
    bench.do(JobPurged(job="job"))
    assert bench.pool_record(pool).state is PoolState.ACTIVE


def test_whether_a_pool_is_kept_alive_can_be_changed() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job()))
    bench.do(JobChangeRequested(job="job", document={}, keep_pool=True))
    bench.do(JobTerminateRequested(job="job"))
    assert bench.pool_record(bench.job_record().pool).state is PoolState.ACTIVE
    bench.job("other")
    assert bench.refused(JobChangeRequested(job="other", document={}, keep_pool=True)) == "InvalidPropertyValue"


def test_a_job_that_moves_to_another_pool_leaves_none_behind() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job(nodes=0)))
    pool = bench.job_record().pool
    bench.do(JobDisableRequested(job="job", disable_tasks=DisableTasks.REQUEUE))
    bench.do(JobChangeRequested(job="job", document={}, pool=("other", "other")))
    assert bench.job_record().auto_pool is None
    assert pool not in bench.archive.pools


def test_clients_may_resize_and_delete_the_pool() -> None:
    bench = Bench()
    bench.do(JobAddRequested(job=own_pool_job(nodes=0)))
    pool = bench.job_record().pool
    bench.do(ResizeRequested(pool=pool, target_dedicated_nodes=2, target_low_priority_nodes=None, resize_timeout=None))
    bench.connect(*[effect.node.key for effect in bench.all(RequestNode)])
    bench.tasks("a", "b", "c")
    assert len(bench.running()) == 3
    bench.do(PoolDeleteRequested(pool=pool))
    bench.do(JobTerminateRequested(job="job"))
    assert bench.pool_record(pool).state is PoolState.DELETING


def test_a_job_whose_pool_cannot_be_made_is_over() -> None:
    bench, rehearsal = Bench(), Bench()
    rehearsal.do(JobAddRequested(job=own_pool_job()), after=2 * SECOND)
    # The same job at the same moment gets a pool of the same id, which is taken now.
    bench.do(PoolAddRequested(pool=make_pool(rehearsal.job_record().pool, 0, 1)))
    bench.do(JobAddRequested(job=own_pool_job()))
    job = bench.job_record()
    assert job.scheduling_error is not None
    assert (job.scheduling_error.code, job.scheduling_error.category) == ("InvalidAutoPoolSettings", "usererror")
    assert (job.state, job.pool_id) == (JobState.COMPLETED, "")
    assert (job.end_time, job.terminate_reason) == (bench.now, None)
    assert len(bench.archive.pools) == 1


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ("PoolQuotaReached", "AutoPoolCreationFailedWithQuotaReached"),
        ("AutoScalingFormulaSyntaxError", "InvalidAutoScaleFormulaInAutoPool"),
        ("InvalidPropertyValue", "InvalidAutoPoolSettings"),
    ],
)
def test_a_job_is_told_why_its_pool_cannot_be_made(refusal: str, expected: str) -> None:
    assert scheduling_error(ServiceError(409, refusal, "No.")) == expected


# --- of schedules ---


def _scheduled(bench: Bench, lifetime: PoolLifetime, **fields: Any) -> None:
    template = own_pool_job("", lifetime=lifetime, nodes=0, **fields)
    bench.do(JobScheduleAddRequested(schedule=make_schedule(template=template, recurrence_interval=HOUR)))


def test_each_job_of_a_schedule_has_a_pool_of_its_own() -> None:
    bench = Bench()
    _scheduled(bench, PoolLifetime.JOB)
    first = bench.job_record("a/s:job-1").pool
    bench.now += HOUR
    bench.do(JobTerminateRequested(job="a/s:job-1"))
    assert first not in bench.archive.pools
    assert bench.job_record("a/s:job-2").pool in bench.archive.pools


def test_jobs_of_a_schedule_share_its_pool_until_it_ends() -> None:
    bench = Bench()
    _scheduled(bench, PoolLifetime.JOB_SCHEDULE, id_prefix="shared")
    pool = bench.job_record("a/s:job-1").pool
    bench.now += HOUR
    bench.do(JobTerminateRequested(job="a/s:job-1"))
    bench.restart()
    second = bench.job_record("a/s:job-2")
    assert (second.pool, second.pool_id) == (pool, bench.pool_record(pool).id)
    bench.do(JobDeleteRequested(job="a/s:job-2"))
    bench.do(JobPurged(job="a/s:job-2"))
    assert bench.pool_record(pool).state is PoolState.ACTIVE
    bench.do(JobScheduleTerminateRequested(schedule="a/s"))
    assert pool not in bench.archive.pools


@pytest.mark.parametrize("keep_alive", [False, True])
def test_the_pool_of_a_deleted_schedule_goes_unless_it_is_kept_alive(keep_alive: bool) -> None:
    bench = Bench()
    _scheduled(bench, PoolLifetime.JOB_SCHEDULE, keep_alive=keep_alive)
    pool = bench.job_record("a/s:job-1").pool
    bench.do(JobScheduleDeleteRequested(schedule="a/s"))
    assert pool in bench.archive.pools
    bench.do(JobPurged(job="a/s:job-1"))
    assert not bench.archive.schedules
    assert (pool in bench.archive.pools) is keep_alive


def test_a_shared_pool_that_was_deleted_is_made_anew() -> None:
    bench = Bench()
    _scheduled(bench, PoolLifetime.JOB_SCHEDULE)
    pool = bench.job_record("a/s:job-1").pool
    bench.do(PoolDeleteRequested(pool=pool))
    bench.now += HOUR
    bench.do(JobTerminateRequested(job="a/s:job-1"))
    second = bench.job_record("a/s:job-2").pool
    assert second != pool
    bench.do(JobScheduleTerminateRequested(schedule="a/s"))
    assert not bench.archive.pools


def test_a_schedule_whose_jobs_go_elsewhere_still_removes_its_pool_in_the_end() -> None:
    bench = Bench()
    _scheduled(bench, PoolLifetime.JOB_SCHEDULE, keep_alive=True)
    pool = bench.job_record("a/s:job-1").pool
    bench.do(JobScheduleChangeRequested(schedule="a/s", document={}, template=make_job("", "elsewhere")))
    bench.now += HOUR
    bench.do(JobTerminateRequested(job="a/s:job-1"))
    assert bench.job_record("a/s:job-2").pool == "elsewhere"
    assert pool in bench.archive.pools
    bench.do(JobScheduleTerminateRequested(schedule="a/s"))
    assert pool not in bench.archive.pools
