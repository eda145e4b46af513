"""A Batch service whose nodes are simulated, and a store that fails when it is told to.

Everything between the runtime's inbox and an agent's channel is real: engine, store, effects, agent protocol.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL
from tests.contract.records import job, pool

from millpond.batch.agents import Agents, ChannelClosed, NodeTokens
from millpond.batch.effects import Effects
from millpond.batch.engine.messages import JobAddRequested, NewTask, PoolAddRequested, TasksAddRequested
from millpond.batch.model.changes import Changes
from millpond.batch.model.job import Job
from millpond.batch.model.pool import Node, Pool
from millpond.batch.model.schedule import JobSchedule
from millpond.batch.model.task import Task
from millpond.batch.providers.base import Capabilities, NodeRequest, NotGranted, Observation
from millpond.batch.runtime import Runtime
from millpond.batch.service import BatchService
from millpond.batch.store.base import Chore, Query, Snapshot, StoredTask, Writer
from millpond.batch.store.sql import open_store
from millpond.common.agent_protocol import (
    PROTOCOL_VERSION,
    Attempt,
    Ended,
    FileReply,
    FromAgent,
    Hello,
    Orders,
    Report,
    Reports,
    Started,
    ToAgent,
)
from millpond.common.clock import SystemClock
from millpond.common.config import Accounts, Settings
from millpond.common.durations import UNLIMITED

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ToAgent).decode

#: For what must happen soon, and for what must not have happened by then.
PATIENCE_S = 10.0
MOMENT_S = 0.05


async def until(is_so: Callable[[], Any], what: str = "it") -> Any:
    """Wait until something is so; returns what was truthy."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := is_so()):
            await asyncio.sleep(0.002)
    return found


class Channel:
    """Both ends of an agent's channel: the service's as a transport, the agent's as methods."""

    def __init__(self) -> None:
        self._to_service: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._to_agent: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None

    async def receive(self) -> bytes:
        message = await self._to_service.get()
        if message is None:
            raise ChannelClosed
        return message

    async def send(self, message: bytes) -> None:
        if self.closed is not None:
            raise ChannelClosed
        self._to_agent.put_nowait(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self._to_service.put_nowait(None)
        self._to_agent.put_nowait(None)

    def say(self, message: FromAgent | bytes) -> None:
        self._to_service.put_nowait(message if isinstance(message, bytes) else _encode(message))

    def hang_up(self) -> None:
        self.closed = self.closed or (1006, "")
        self._to_service.put_nowait(None)

    async def hear(self) -> ToAgent | None:
        """The next message; ``None`` once the service has closed the channel."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self._to_agent.get()
        return None if message is None else _decode(message)

    async def hear_nothing(self) -> None:
        """Assert that no message waits or comes soon."""
        await asyncio.sleep(MOMENT_S)
        assert self._to_agent.empty(), await self.hear()


class SimulatedNodes:
    """A provider of nodes that exist in name only: a test speaks for their agents."""

    capabilities = Capabilities(
        releases_single_nodes=True, can_reboot=True, can_reimage=True, can_deallocate=True, has_low_priority=True
    )

    def __init__(self) -> None:
        self.requests: list[NodeRequest] = []
        self.running: dict[str, NodeRequest] = {}
        self.released: list[str] = []
        self.stopped: list[str] = []
        self.refusal: Exception | None = None
        self.release_failures: list[Exception] = []

    async def request(self, node: NodeRequest) -> None:
        self.requests.append(node)
        if self.refusal is not None:
            raise self.refusal
        self.running[node.key] = node

    async def observe(self, nodes: Sequence[str]) -> list[Observation]:
        return [Observation(node, node in self.running, "" if node in self.running else "last words") for node in nodes]

    async def stop(self, node: str) -> None:
        self.running.pop(node, None)
        self.stopped.append(node)

    async def release(self, node: str) -> None:
        if self.release_failures:
            raise self.release_failures.pop()
        self.running.pop(node, None)
        self.released.append(node)

    async def close(self, *, release_all: bool) -> None:
        if release_all:
            self.running.clear()

    def refuse(self, code: str, message: str) -> None:
        self.refusal = NotGranted(code, message)


class FailingStore:
    """A writer that passes everything on to a real one, and fails where a test says so."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.commits = 0
        #: Raised by the next calls, one each.
        self.commit_failures: list[Exception] = []
        self.write_failures: list[Exception] = []
        self.load_failures: list[Exception] = []
        #: Commits wait while it is cleared.
        self.may_commit = threading.Event()
        self.may_commit.set()

    def write(self, changes: Changes) -> list[Chore]:
        if self.write_failures and changes != Changes():
            raise self.write_failures.pop(0)
        return self._writer.write(changes)

    def commit(self) -> None:
        self.may_commit.wait(PATIENCE_S)
        if self.commit_failures:
            raise self.commit_failures.pop(0)
        self._writer.commit()
        self.commits += 1

    def load(self) -> Snapshot:
        if self.load_failures:
            raise self.load_failures.pop(0)
        return self._writer.load()

    def rollback(self) -> None:
        self._writer.rollback()

    def purge_tasks(self, job: str, limit: int) -> int:
        return self._writer.purge_tasks(job, limit)

    def chore_done(self, chore: int) -> None:
        self._writer.chore_done(chore)

    def chores(self, node: str) -> list[Chore]:
        return self._writer.chores(node)

    def stored_tasks(self, tasks: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StoredTask]:
        return self._writer.stored_tasks(tasks)

    def job(self, job: str) -> Job | None:
        return self._writer.job(job)

    def schedule(self, schedule: str) -> JobSchedule | None:
        return self._writer.schedule(schedule)

    def jobs_of(self, schedule: str, limit: int) -> list[Job]:
        return self._writer.jobs_of(schedule, limit)

    def task(self, job: str, task: str) -> Task | None:
        return self._writer.task(job, task)

    def existing(self, job: str, tasks: Sequence[str]) -> set[str]:
        return self._writer.existing(job, tasks)

    def waiting(self, job: str, after_seq: int, limit: int) -> list[Task]:
        return self._writer.waiting(job, after_seq, limit)

    def satisfying(self, job: str, tasks: Sequence[str]) -> set[str]:
        return self._writer.satisfying(job, tasks)

    def satisfied_runs(self, job: str, first: int, last: int) -> list[tuple[int, int]]:
        return self._writer.satisfied_runs(job, first, last)

    def dependents(self, job: str, prerequisites: Sequence[str], before_seq: int, limit: int) -> list[tuple[str, Task]]:
        return self._writer.dependents(job, prerequisites, before_seq, limit)

    def holding_files(self, job: str) -> Iterable[str]:
        return self._writer.holding_files(job)

    def close(self) -> None:
        self._writer.close()


class World:
    """A running service with simulated nodes, and short words for what tests do with it."""

    def __init__(self, directory: Path, nodes: SimulatedNodes, heartbeat_timeout_s: float) -> None:
        writer, reader = open_store(URL.create("sqlite", database=str(directory / "batch.db")))
        self.store = FailingStore(writer)
        self.reader = reader
        self.nodes = nodes
        clock = SystemClock()
        self.tokens = NodeTokens(directory / "agent.key", clock)
        self.runtime = Runtime(self.store, clock)
        self.agents = Agents(self.runtime, clock, heartbeat_timeout_s=heartbeat_timeout_s)
        self.effects = Effects(self.runtime, self.agents, nodes, self.tokens, base_url="http://127.0.0.1:10100")
        self.service = BatchService(
            clock=clock,
            runtime=self.runtime,
            reader=reader,
            agents=self.agents,
            effects=self.effects,
            provider=nodes,
            tokens=self.tokens,
            settings=Settings(data=directory),
            accounts=Accounts(directory),
        )
        self._serving: list[asyncio.Task[None]] = []

    async def close(self, *, release_nodes: bool) -> None:
        await self.service.stop(release_nodes=release_nodes)
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    # --- clients ---

    async def add_pool(self, nodes: int = 1, pool_id: str = "Pool", **fields: Any) -> Pool:
        record = pool(pool_id, target_dedicated_nodes=nodes, **fields)
        added: Pool = await self.runtime.submit(PoolAddRequested(pool=record))
        return added

    async def add_job(self, job_id: str = "Job", **fields: Any) -> Job:
        added: Job = await self.runtime.submit(JobAddRequested(job=job(job_id, **fields)))
        return added

    async def add_tasks(self, *names: str, job_id: str = "Job", **fields: Any) -> list[Task]:
        values = {"max_wall_clock_time": UNLIMITED, "retention_time": 604_800_000_000, **fields}
        tasks = [NewTask(id=name, document=f'{{"id":"{name}"}}'.encode(), **values) for name in names]
        added: list[Task] = await self.runtime.submit(TasksAddRequested(job=job(job_id).key, tasks=tasks))
        return added

    def task(self, name: str, job_id: str = "Job") -> Task:
        stored = self.reader.task(job(job_id).key, name.lower())
        assert stored is not None, f"there is no task {name}"
        return stored.task

    def pool_nodes(self, pool_id: str = "Pool") -> list[Node]:
        return self.reader.nodes(pool(pool_id).key, Query(1000)).items

    # --- agents ---

    def dial(self, node: str) -> Channel:
        """Open a channel for a node's agent; what the agent says first is up to the test."""
        channel = Channel()
        self._serving.append(asyncio.create_task(self.agents.serve(node, channel)))
        return channel

    async def requested_node(self, boot: int = 1) -> str:
        """The key of the first node that was requested, in this boot."""
        found = await until(lambda: [each for each in self.nodes.requests if each.boot == boot])
        return str(found[0].key)

    async def connected(self, node: str | None = None, **fields: Any) -> tuple[Channel, Orders]:
        """An agent that has said hello, and the full orders it was answered with after the welcome."""
        channel = self.dial(node or await self.requested_node())
        channel.say(hello(**fields))
        await channel.hear()  # the welcome
        orders = await channel.hear()
        assert isinstance(orders, Orders)
        return channel, orders


def hello(**fields: Any) -> Hello:
    values = {
        "protocol": PROTOCOL_VERSION,
        "agent_version": "1.0",
        "boot": 1,
        "ip_address": "127.64.0.1",
        "start_task": None,
        "holding": [],
        **fields,
    }
    return Hello(**values)


def reports(*each: Report) -> Reports:
    return Reports(list(each))


def started(attempt: Attempt, moment: int = 1) -> Started:
    return Started(attempt, moment)


def ended(attempt: Attempt, exit_code: int = 0) -> Ended:
    return Ended(attempt, 1, 2, exit_code)


def file_reply(request: int, **fields: Any) -> FileReply:
    return FileReply(request=request, **fields)


@asynccontextmanager
async def running_world(
    directory: Path,
    nodes: SimulatedNodes | None = None,
    *,
    heartbeat_timeout_s: float = 30.0,
    release_nodes: bool = True,
) -> AsyncIterator[World]:
    world = World(directory, nodes or SimulatedNodes(), heartbeat_timeout_s)
    await world.service.start()
    try:
        yield world
    finally:
        await world.close(release_nodes=release_nodes)
