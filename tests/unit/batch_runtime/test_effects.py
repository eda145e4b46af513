"""Effects and agents' channels: orders go out, news come in, and whatever is lost is said again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.records import job, pool
from tests.unit.batch_runtime.simulated import (
    MOMENT_S,
    Channel,
    SimulatedNodes,
    World,
    ended,
    hello,
    reports,
    running_world,
    started,
    until,
)

from millpond.batch.agents import NodeTokens
from millpond.batch.engine.messages import (
    JobTerminateRequested,
    NodeRebootRequested,
    NodesRemoveRequested,
    PoolDeleteRequested,
    TaskDeleteRequested,
    TaskTerminateRequested,
)
from millpond.batch.model.job import Job
from millpond.batch.model.pool import AllocationState, NodeState, Pool
from millpond.batch.model.task import ErrorCategory, TaskResult, TaskState
from millpond.common.agent_protocol import (
    CLOSED_FOR_GOOD,
    Assignment,
    Attempt,
    DeleteFiles,
    Ended,
    FailureInfo,
    FilesDeleted,
    Orders,
    StartTaskReport,
    Trouble,
    Welcome,
)
from millpond.common.clock import SystemClock

JOB, POOL = job().key, pool().key


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A service with a pool of one node, whose agent is not connected yet, and a job."""
    async with running_world(tmp_path, heartbeat_timeout_s=0.2) as world:
        await world.add_pool(task_slots_per_node=4)
        await world.add_job()
        yield world


async def _orders(channel: Channel) -> Orders:
    orders = await channel.hear()
    assert isinstance(orders, Orders)
    return orders


async def _start(channel: Channel) -> Assignment:
    """The one assignment of the next orders."""
    orders = await _orders(channel)
    assert len(orders.start) == 1
    return orders.start[0]


# --- the hello and its answer ------------------------------------------------------------------------------------


async def test_hello_is_answered_with_welcome_and_full_orders(world: World) -> None:
    channel = world.dial(await world.requested_node())
    channel.say(hello())
    welcome = await channel.hear()
    node = world.pool_nodes()[0]
    assert welcome == Welcome(
        account_name="alice",
        account_url="http://127.0.0.1:10100/",
        pool_id="Pool",
        node_id=node.id,
        is_dedicated=True,
        pool=b'{"id":"Pool"}',
    )
    assert await channel.hear() == Orders(task_slots=4, full=True)
    assert world.pool_nodes()[0].state is NodeState.IDLE
    assert world.pool_nodes()[0].ip_address == "127.64.0.1"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (hello(protocol=99), CLOSED_FOR_GOOD),
        (hello(boot=2), CLOSED_FOR_GOOD),
        (hello(boot=0), CLOSED_FOR_GOOD),
        (reports(), 1007),
        (b"\xc1 no MessagePack", 1007),
        (b"", 1007),
        (b"\x81\xa4type\xa5hello", 1007),
    ],
)
async def test_other_greetings_are_turned_away(world: World, first: Any, code: int) -> None:
    channel = world.dial(await world.requested_node())
    channel.say(first)
    assert await channel.hear() is None
    assert channel.closed is not None
    assert channel.closed[0] == code
    assert world.pool_nodes()[0].state is not NodeState.IDLE


async def test_agent_of_an_unknown_node_is_told_to_end(world: World) -> None:
    channel = world.dial(f"{POOL}/no-such-node")
    channel.say(hello())
    assert await channel.hear() is None
    assert channel.closed == (CLOSED_FOR_GOOD, "NodeNotFound")


async def test_later_message_that_cannot_be_read_ends_the_channel(world: World) -> None:
    channel, _ = await world.connected()
    channel.say(b"\xff\xff")
    assert await channel.hear() is None
    again, _ = await world.connected()
    assert again.closed is None


async def test_newer_channel_replaces_the_older(world: World) -> None:
    older, _ = await world.connected()
    newer, _ = await world.connected()
    assert await older.hear() is None
    await world.add_tasks("a")
    assert (await _start(newer)).attempt.task_id == "a"
    older.say(reports(Trouble("DiskFull", "from the past")))
    await asyncio.sleep(MOMENT_S)
    assert world.pool_nodes()[0].state is not NodeState.UNUSABLE


async def test_agent_of_an_earlier_boot_does_not_replace_a_newer_one(world: World) -> None:
    await world.connected()
    node = world.pool_nodes()[0]
    await world.runtime.submit(NodeRebootRequested(pool=POOL, node=node.key))
    await world.requested_node(boot=2)
    newer, _ = await world.connected(node.key, boot=2)
    stale = world.dial(node.key)
    stale.say(hello(boot=1))
    assert await stale.hear() is None
    assert stale.closed is not None
    assert stale.closed[0] == CLOSED_FOR_GOOD
    await newer.hear_nothing()
    assert newer.closed is None


async def test_agent_that_stays_away_is_lost_and_can_come_back(world: World) -> None:
    channel, _ = await world.connected()
    channel.hang_up()
    await until(lambda: world.pool_nodes()[0].state is NodeState.UNKNOWN)
    await world.connected()
    assert world.pool_nodes()[0].state is NodeState.IDLE


async def test_agent_that_comes_back_in_time_was_never_lost(world: World) -> None:
    channel, _ = await world.connected()
    since = world.pool_nodes()[0].state_transition_time
    for _ in range(3):
        channel.hang_up()
        await asyncio.sleep(0.1)
        channel, _ = await world.connected()
    await asyncio.sleep(0.25)
    assert world.pool_nodes()[0].state is NodeState.IDLE
    assert world.pool_nodes()[0].state_transition_time == since


# --- tasks -------------------------------------------------------------------------------------------------------


async def test_task_goes_to_its_node_and_its_end_comes_back(tmp_path: Path) -> None:
    settings = [{"name": "A", "value": "1"}, {"name": "EMPTY"}]
    async with running_world(tmp_path) as world:
        await world.add_pool()
        await world.add_job(document={"id": "Job", "commonEnvironmentSettings": settings})
        channel, _ = await world.connected()
        await world.add_tasks("First", max_wall_clock_time=5_000_000, retention_time=7_000_000)
        assignment = await _start(channel)
        assert assignment == Assignment(
            attempt=Attempt("Job", "First", assignment.attempt.attempt),
            required_slots=1,
            task=b'{"id":"First"}',
            max_wall_clock_time=5_000_000,
            retention_time=7_000_000,
            environment={"A": "1", "EMPTY": ""},
        )
        channel.say(reports(started(assignment.attempt, 111)))
        await until(lambda: world.task("First").start_time == 111)
        assert world.task("First").state is TaskState.RUNNING
        channel.say(reports(Ended(assignment.attempt, 111, 222, 0)))
        assert await channel.hear() == Orders(task_slots=1, forget=[assignment.attempt])
        task = world.task("First")
        assert (task.state, task.result, task.end_time, task.exit_code) == (
            TaskState.COMPLETED,
            TaskResult.SUCCESS,
            222,
            0,
        )


async def test_failure_is_told_as_the_agent_told_it(world: World) -> None:
    channel, _ = await world.connected()
    await world.add_tasks("a")
    attempt = (await _start(channel)).attempt
    failure = FailureInfo("usererror", "BlobNotFound", "It is not there.", (("FilePath", "x"),))
    channel.say(reports(Ended(attempt, None, 5, None, failure)))
    await _orders(channel)
    told = world.task("a").failure
    assert told is not None
    assert (told.category, told.code, told.message, told.details) == (
        ErrorCategory.USER_ERROR,
        "BlobNotFound",
        "It is not there.",
        (("FilePath", "x"),),
    )
    assert world.task("a").result is TaskResult.FAILURE
    assert world.task("a").exit_code is None


async def test_tasks_added_together_are_ordered_together(world: World) -> None:
    channel, _ = await world.connected()
    await world.add_tasks("a", "b", "c")
    assert [each.attempt.task_id for each in (await _orders(channel)).start] == ["a", "b", "c"]


async def test_terminated_task_is_stopped_under_its_own_name(world: World) -> None:
    channel, _ = await world.connected()
    await world.add_tasks("Mixed-Case")
    attempt = (await _start(channel)).attempt
    channel.say(reports(started(attempt)))
    await world.runtime.submit(TaskTerminateRequested(job=JOB, task="mixed-case"))
    assert (await _orders(channel)).stop == [attempt]


async def test_orders_for_an_agent_that_is_away_come_with_its_next_hello(world: World) -> None:
    channel, _ = await world.connected()
    channel.hang_up()
    await world.add_tasks("a")
    again, orders = await world.connected()
    placed = orders.start or (await _orders(again)).start
    assert [each.attempt.task_id for each in placed] == ["a"]


async def test_restart_of_the_service_leaves_running_tasks_alone(tmp_path: Path) -> None:
    nodes = SimulatedNodes()
    async with running_world(tmp_path, nodes, release_nodes=False) as world:
        await world.add_pool()
        await world.add_job()
        channel, _ = await world.connected()
        await world.add_tasks("a")
        attempt = (await _start(channel)).attempt
        channel.say(reports(started(attempt)))
        await until(lambda: world.task("a").state is TaskState.RUNNING)
        node = world.pool_nodes()[0].key
    assert nodes.running
    async with running_world(tmp_path, nodes) as world:
        channel, orders = await world.connected(node, holding=[attempt])
        assert [each.attempt for each in orders.start] == [attempt]
        channel.say(reports(ended(attempt)))
        assert (await _orders(channel)).forget == [attempt]
        assert world.task("a").state is TaskState.COMPLETED
    assert len(nodes.requests) == 1


async def test_end_that_was_recorded_but_not_forgotten_is_forgotten_at_the_next_hello(world: World) -> None:
    channel, _ = await world.connected()
    await world.add_tasks("a")
    attempt = (await _start(channel)).attempt
    channel.say(reports(started(attempt), ended(attempt)))
    await until(lambda: world.task("a").state is TaskState.COMPLETED)
    channel.hang_up()
    again, orders = await world.connected(holding=[attempt])
    assert orders.full
    assert orders.start == []  # a full order that does not name it: the agent lets go of it
    again.say(reports(ended(attempt)))  # and if it says so once more, that changes nothing
    await asyncio.sleep(MOMENT_S)
    assert world.task("a").end_time == 2


async def test_failed_commit_makes_agents_say_again_what_they_hold(world: World) -> None:
    channel, _ = await world.connected()
    await world.add_tasks("a")
    attempt = (await _start(channel)).attempt
    world.store.commit_failures = [OSError("disk full")]
    channel.say(reports(started(attempt), ended(attempt)))
    assert await channel.hear() is None
    assert channel.closed is not None
    assert channel.closed[0] != CLOSED_FOR_GOOD
    assert world.task("a").state is not TaskState.COMPLETED
    again, orders = await world.connected(holding=[attempt])
    assert [each.attempt for each in orders.start] == [attempt]
    again.say(reports(started(attempt), ended(attempt)))
    await until(lambda: world.task("a").state is TaskState.COMPLETED)


async def test_start_task_and_trouble_are_told_to_the_engine(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        await world.add_pool(start_task_wait_for_success=True)
        channel, _ = await world.connected()
        assert world.pool_nodes()[0].state is NodeState.WAITING_FOR_START_TASK
        failed = StartTaskReport(
            state="completed",
            start_time=1,
            end_time=2,
            exit_code=3,
            failure=FailureInfo("usererror", "FailureExitCode", "It failed."),
            retry_count=1,
        )
        channel.say(reports(failed))
        await until(lambda: world.pool_nodes()[0].state is NodeState.START_TASK_FAILED)
        info = world.pool_nodes()[0].start_task_info
        assert info is not None
        assert (info.exit_code, info.retry_count, info.result) == (3, 1, TaskResult.FAILURE)
        channel.say(reports(Trouble("DiskFull", "No space.", (("Disk", "/"),))))
        await until(lambda: world.pool_nodes()[0].state is NodeState.UNUSABLE)
        assert world.pool_nodes()[0].errors[0].code == "DiskFull"


# --- files to delete ---------------------------------------------------------------------------------------------


async def test_deletion_is_ordered_until_the_node_has_done_it(world: World) -> None:
    channel, _ = await world.connected()
    node = world.pool_nodes()[0].key
    await world.add_tasks("Gone")
    attempt = (await _start(channel)).attempt
    channel.say(reports(started(attempt), ended(attempt)))
    await _orders(channel)
    await world.runtime.submit(TaskDeleteRequested(job=JOB, task="gone"))
    orders = await _orders(channel)
    assert [(each.job_id, each.task_id) for each in orders.delete] == [("Job", "Gone")]
    channel.hang_up()
    again, full = await world.connected()
    assert full.delete == orders.delete == [DeleteFiles(orders.delete[0].chore, "Job", "Gone")]
    again.say(reports(FilesDeleted(orders.delete[0].chore)))
    await world.add_tasks("other")  # committed after the deletion was told
    await _orders(again)
    again.hang_up()
    _, full = await world.connected()
    assert full.delete == []
    assert world.pool_nodes()[0].key == node


# --- nodes -------------------------------------------------------------------------------------------------------


async def test_node_is_requested_with_all_that_it_needs(world: World) -> None:
    key = await world.requested_node()
    node, request = world.pool_nodes()[0], world.nodes.requests[0]
    assert (request.key, request.pool_id, request.node_id, request.boot) == (key, "Pool", node.id, 1)
    assert request.vm_size == "standard_d2_v3"
    assert request.pool == {"id": "Pool"}
    assert request.channel_url == f"ws://127.0.0.1:10100/agents/{key}"
    assert world.tokens.admits(key, request.token)


async def test_refused_node_becomes_a_resize_error(tmp_path: Path) -> None:
    nodes = SimulatedNodes()
    nodes.refuse("AllocationFailed", "There are no more machines.")
    async with running_world(tmp_path, nodes) as world:
        await world.add_pool()
        record = await until(lambda: (found := world.reader.pool(POOL)) and found.resize_errors and found)
        assert record.resize_errors[0].code == "AllocationFailed"
        await until(lambda: _allocation(world) is AllocationState.STEADY)


async def test_provider_that_breaks_is_a_resize_error_too(tmp_path: Path) -> None:
    nodes = SimulatedNodes()
    nodes.refusal = OSError("fork: out of memory")
    async with running_world(tmp_path, nodes) as world:
        await world.add_pool()
        record = await until(lambda: (found := world.reader.pool(POOL)) and found.resize_errors and found)
        assert record.resize_errors[0].code == "AllocationFailed"


def _allocation(world: World) -> AllocationState:
    record: Pool | None = world.reader.pool(POOL)
    assert record is not None
    return record.allocation_state


async def test_node_that_ended_boots_again_and_its_tasks_go_back(world: World) -> None:
    channel, _ = await world.connected()
    node = world.pool_nodes()[0]
    await world.add_tasks("a")
    attempt = (await _start(channel)).attempt
    channel.say(reports(started(attempt)))
    await until(lambda: world.task("a").state is TaskState.RUNNING)
    del world.nodes.running[node.key]
    for observation in await world.nodes.observe([node.key]):
        world.effects.notice(observation)
    await world.requested_node(boot=2)
    task = world.task("a")
    assert (task.state, task.retry_count, task.requeue_count) == (TaskState.ACTIVE, 0, 0)
    assert await channel.hear() is None  # the old boot's agent, if it still speaks, is told to end
    assert channel.closed is not None
    assert channel.closed[0] == CLOSED_FOR_GOOD
    again, orders = await world.connected(boot=2)
    placed = orders.start or (await _orders(again)).start
    assert placed[0].attempt.task_id == "a"
    assert placed[0].attempt.attempt > attempt.attempt


async def test_nodes_that_ended_while_the_service_was_down_boot_again(tmp_path: Path) -> None:
    nodes = SimulatedNodes()
    async with running_world(tmp_path, nodes) as world:
        await world.add_pool()
        await world.add_job()
        channel, _ = await world.connected()
        await world.add_tasks("a")
        attempt = (await _start(channel)).attempt
        channel.say(reports(started(attempt)))
        await until(lambda: world.task("a").state is TaskState.RUNNING)
    assert world.task("a").state is TaskState.RUNNING
    world.reader.close()  # which this has opened again
    assert not nodes.running
    async with running_world(tmp_path, nodes) as world:
        await world.requested_node(boot=2)
        assert world.task("a").state is TaskState.ACTIVE
        assert world.task("a").retry_count == 0


async def test_node_is_requested_again_after_a_restart_that_came_too_early(tmp_path: Path) -> None:
    nodes = SimulatedNodes()
    async with running_world(tmp_path, nodes) as world:
        await world.add_pool()
        node = await world.requested_node()
    async with running_world(tmp_path, nodes) as world:
        await until(lambda: len(nodes.requests) == 2)
        assert {each.key for each in nodes.requests} == {node}


async def test_reboot_is_a_request_for_the_next_boot(world: World) -> None:
    await world.connected()
    node = world.pool_nodes()[0]
    await world.runtime.submit(NodeRebootRequested(pool=POOL, node=node.key))
    await world.requested_node(boot=2)


async def test_removed_node_is_released_until_the_provider_has_done_it(world: World) -> None:
    channel, _ = await world.connected()
    node = world.pool_nodes()[0]
    world.nodes.release_failures = [OSError("busy")]
    await world.runtime.submit(NodesRemoveRequested(pool=POOL, nodes=[node.key], resize_timeout=None))
    assert await channel.hear() is None
    await until(lambda: not world.pool_nodes())
    assert world.nodes.released == [node.key]


async def test_deleted_pool_leaves_nothing(world: World) -> None:
    await world.connected()
    await world.runtime.submit(PoolDeleteRequested(pool=POOL))
    await until(lambda: world.reader.pool(POOL) is None)
    assert not world.nodes.running


async def test_job_that_is_terminated_ends_when_its_tasks_have(world: World) -> None:
    channel, _ = await world.connected()
    await world.add_tasks("a")
    attempt = (await _start(channel)).attempt
    channel.say(reports(started(attempt)))
    await world.runtime.submit(JobTerminateRequested(job=JOB))
    orders = await _orders(channel)
    assert orders.stop == [attempt]
    channel.say(reports(ended(attempt, exit_code=-9)))
    record: Job = await until(lambda: (found := world.reader.job(JOB)) and found.end_time and found)
    assert record.terminate_reason == "UserTerminate"


# --- tokens ------------------------------------------------------------------------------------------------------


def test_tokens_are_each_nodes_own_and_last(tmp_path: Path) -> None:
    file = tmp_path / "agent.key"
    tokens = NodeTokens(file, SystemClock())
    assert file.stat().st_mode & 0o777 == 0o600
    assert tokens.token("a/p/n1") != tokens.token("a/p/n2")
    assert tokens.admits("a/p/n1", NodeTokens(file, SystemClock()).token("a/p/n1"))
    assert not tokens.admits("a/p/n1", tokens.token("a/p/n2"))
    assert not tokens.admits("a/p/n1", "")
    assert not tokens.admits("a/p/n1", "ÄÖ")
    other = tmp_path / "other.key"
    assert NodeTokens(other, SystemClock()).token("a/p/n1") != tokens.token("a/p/n1")
