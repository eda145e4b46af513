"""The single writer: what is answered is committed, and what fails takes nothing else with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.records import job, pool
from tests.unit.batch_runtime.simulated import World, running_world, until

from millpond.batch.engine.messages import (
    Event,
    JobAddRequested,
    JobDeleteRequested,
    JobTerminateRequested,
    PoolAddRequested,
    TaskTerminateRequested,
)
from millpond.batch.model.job import JobState
from millpond.batch.model.task import TaskState
from millpond.batch.store.base import Query
from millpond.common.clock import SECOND, SystemClock
from millpond.common.errors import ServiceError

JOB = job().key


class Poison(Event, frozen=True, kw_only=True):
    """An event that no engine knows: it fails with something else than a refusal."""

    job: str = "a/poisoned"
    secret: str = "the client's password"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


async def _refused(world: World, event: Event) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await world.runtime.submit(event)
    return caught.value


async def test_reply_comes_after_the_commit(world: World) -> None:
    added = await world.add_job()
    assert world.reader.job(JOB) == added
    await world.add_tasks("a", "b")
    assert [each.task.id for each in world.reader.tasks(JOB, Query(10)).items] == ["a", "b"]


async def test_refusal_reaches_its_caller_alone(world: World) -> None:
    results = await asyncio.gather(
        *(world.add_job(name) for name in ("a", "b", "A", "c")),
        return_exceptions=True,
    )
    assert isinstance(results[2], ServiceError)
    assert results[2].code == "JobExists"
    assert [each.id for each in world.reader.jobs("alice", Query(10)).items] == ["a", "b", "c"]


async def test_events_that_wait_share_a_commit(world: World) -> None:
    world.store.may_commit.clear()
    first = asyncio.create_task(world.add_job("first"))
    await asyncio.sleep(0.05)  # the writer waits in the commit of the first
    others = [asyncio.create_task(world.add_job(f"job-{number}")) for number in range(200)]
    await asyncio.sleep(0)
    before = world.store.commits
    world.store.may_commit.set()
    await asyncio.gather(first, *others)
    assert world.store.commits - before <= 50  # on an idle machine it is one or two
    assert len(world.reader.jobs("alice", Query(1000)).items) == 201


async def test_poison_event_takes_no_other_down(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store.may_commit.clear()
    first = asyncio.create_task(world.add_job("first"))
    await asyncio.sleep(0.05)
    before = asyncio.create_task(world.add_job("before"))
    poison = asyncio.create_task(_refused(world, Poison()))
    after = asyncio.create_task(world.add_job("after"))
    duplicate = asyncio.create_task(_refused(world, JobAddRequested(job=job("first"))))
    await asyncio.sleep(0)
    world.store.may_commit.set()
    await asyncio.gather(first, before, after)
    poisoned, refused = await poison, await duplicate
    assert (poisoned.status, poisoned.code) == (500, "InternalError")
    assert refused.code == "JobExists"
    assert [each.id for each in world.reader.jobs("alice", Query(10)).items] == ["after", "before", "first"]
    await world.add_tasks("a", job_id="after")
    assert "Poison(job=a/poisoned)" in caplog.text
    assert "password" not in caplog.text


async def test_poison_that_nobody_waits_for_is_dropped(world: World) -> None:
    world.runtime.post(Poison())
    await world.add_job()
    assert world.reader.job(JOB) is not None


async def test_failed_write_loses_nothing_that_can_be_written(world: World) -> None:
    world.store.write_failures = [RuntimeError("the first write fails")]
    added = await world.add_job()
    assert world.reader.job(JOB) == added


async def test_failed_commit_is_an_error_and_leaves_the_state_as_stored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.add_job("kept")
    world.store.commit_failures = [OSError("No space left on device")]
    with caplog.at_level(logging.CRITICAL), pytest.raises(ServiceError) as caught:
        await world.add_job()
    assert caught.value.code == "InternalError"
    assert "No space left on device" in caplog.text
    assert world.reader.job(JOB) is None
    await world.add_job()  # not JobExists
    with pytest.raises(ServiceError, match="JobExists"):
        await world.add_job("kept")


async def test_store_that_cannot_be_read_is_tried_again(world: World) -> None:
    await world.add_job("kept")
    world.store.commit_failures = [OSError("gone")]
    world.store.load_failures = [OSError("still gone"), OSError("and still")]
    for _ in range(2):
        with pytest.raises(ServiceError, match="InternalError"):
            await world.add_job()
    await until(lambda: not world.store.load_failures)
    await world.add_job()
    assert [each.id for each in world.reader.jobs("alice", Query(10)).items] == ["Job", "kept"]


async def test_too_many_waiting_requests_are_told_that_the_server_is_busy(world: World) -> None:
    world.store.may_commit.clear()
    first = asyncio.create_task(world.add_job("first"))
    await asyncio.sleep(0.05)
    waiting = [
        asyncio.create_task(world.runtime.submit(JobTerminateRequested(job=f"a/none-{number}")))
        for number in range(4096)
    ]
    await asyncio.sleep(0)
    with pytest.raises(ServiceError) as caught:
        await world.add_job("one too many")
    assert (caught.value.status, caught.value.code) == (503, "ServerBusy")
    world.store.may_commit.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {each.code for each in results if isinstance(each, ServiceError)} == {"JobNotFound"}
    await world.add_job("now there is room")


async def test_caller_that_goes_away_does_not_undo_its_request(world: World) -> None:
    world.store.may_commit.clear()
    request = asyncio.create_task(world.add_job())
    await asyncio.sleep(0.05)
    request.cancel()
    world.store.may_commit.set()
    await until(lambda: world.reader.job(JOB))


async def test_timer_brings_its_event_back(world: World) -> None:
    await world.add_job(max_wall_clock_time=SECOND // 5)
    ended = await until(lambda: (found := world.reader.job(JOB)) and found.state is JobState.COMPLETED and found)
    assert ended.terminate_reason == "MaxWallClockTimeExpiry"
    assert ended.end_time >= ended.creation_time + SECOND // 5


async def test_timer_outlives_a_restart(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        await world.add_job(max_wall_clock_time=SECOND // 2)
    async with running_world(tmp_path) as world:
        await until(lambda: (found := world.reader.job(JOB)) and found.state is JobState.COMPLETED)


async def test_restart_finds_all_that_was_acknowledged(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        await world.add_pool(0)
        await world.add_job()
        await world.add_tasks(*(f"task-{number}" for number in range(100)))
        await world.runtime.submit(TaskTerminateRequested(job=JOB, task="task-7"))
        stored = world.reader.job(JOB)
    async with running_world(tmp_path) as world:
        assert world.reader.job(JOB) == stored
        assert world.task("task-7").state is TaskState.COMPLETED
        with pytest.raises(ServiceError, match="JobExists"):
            await world.add_job()
        again = await world.add_tasks("task-0", "new")
        assert isinstance(again[0], ServiceError)
        assert again[1].seq == 100
        assert await _refused(world, PoolAddRequested(pool=pool()))


async def test_deleted_job_is_purged_while_others_are_served(world: World) -> None:
    await world.add_job("other")
    await world.add_job()
    for part in range(50):
        await world.add_tasks(*(f"task-{part}-{number}" for number in range(100)))
    await world.runtime.submit(JobDeleteRequested(job=JOB))
    await world.add_tasks("a", job_id="other")
    await until(lambda: world.reader.job(JOB) is None)
    await world.add_job()
    assert world.reader.tasks(JOB, Query(10)).items == []
    assert world.task("a", "other").id == "a"


async def test_purge_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        await world.add_job()
        for part in range(50):
            await world.add_tasks(*(f"task-{part}-{number}" for number in range(100)))
        await world.runtime.submit(JobDeleteRequested(job=JOB))
    async with running_world(tmp_path) as world:
        await until(lambda: world.reader.job(JOB) is None)


async def test_stop_finishes_what_was_taken(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        requests = [asyncio.create_task(world.add_job(f"job-{number}")) for number in range(100)]
        await asyncio.sleep(0)
    assert all(request.done() and request.result() for request in requests)
    async with running_world(tmp_path) as world:
        assert len(world.reader.jobs("alice", Query(1000)).items) == 100


async def test_stopped_runtime_takes_no_request(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        pass
    with pytest.raises(ServiceError, match="ServerBusy"):
        await world.add_job()


async def test_moments_are_those_of_the_clock(world: World) -> None:
    before = SystemClock().now()
    added = await world.add_job()
    assert before <= added.creation_time <= SystemClock().now()
