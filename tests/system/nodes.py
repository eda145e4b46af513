"""Real local nodes for tests, with a test's own end of their channels."""

from __future__ import annotations

import asyncio
import ctypes.util
import functools
import importlib.util
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.system.agent_server import TOKEN, AgentServer, agent_server, task

from millpond.batch.providers.base import NodeRequest, NotGranted, Observation
from millpond.batch.providers.local import LocalProvider
from millpond.common.agent_launch import AgentRecord
from millpond.common.agent_protocol import Assignment, Ended, Orders
from millpond.common.config import Isolation, Settings

KEY = "account/pool/tvmps_0123456789abcdef_d"


class Node:
    """One node, by the service's name for it, and the two ways to it: its provider and its channel."""

    def __init__(self, data: Path, isolation: Isolation, server: AgentServer) -> None:
        self.settings = Settings(data=data, isolation=isolation)
        self.server = server
        self.ended_unasked: list[Observation] = []
        self.provider = LocalProvider(self.settings, self.ended_unasked.append)
        self.directory = data / "batch" / "nodes" / KEY.replace("/", ".")

    def request(self, boot: int = 1, number: int = 1, key: str = KEY, disk: int = 1) -> NodeRequest:
        return NodeRequest(
            key=key,
            pool_id="pool",
            node_id=key.rpartition("/")[2],
            number=number,
            boot=boot,
            disk=disk,
            vm_size="standard_d2s_v3",
            token=TOKEN,
            channel_url=self.server.url(key),
            pool=self.server.pool,
        )

    async def boot(self, boot: int = 1, disk: int = 1) -> None:
        """Start it, and wait for its hello of that boot."""
        before = len(self.server.hellos.get(KEY, []))
        await self.provider.request(self.request(boot, disk=disk))
        hello = await self.server.hello(KEY, before + 1)
        assert hello.boot == boot

    @property
    def record(self) -> AgentRecord:
        return msgspec.json.decode((self.directory / "agent.json").read_bytes(), type=AgentRecord)

    async def order(self, *tasks: Assignment) -> None:
        await self.server.run(KEY, *tasks)

    async def run(self, command_line: str, task_id: str = "task", **rest: Any) -> Ended:
        """Run a task to its end."""
        await self.order(task(task_id, command_line, **rest))
        return await self.server.ended(KEY, task_id, rest.get("attempt", 1))

    async def output(self, command_line: str, task_id: str = "task", **rest: Any) -> str:
        """What a task that succeeds writes."""
        end = await self.run(command_line, task_id, **rest)
        assert end.exit_code == 0, (end, await self.text(f"workitems/job/job-1/{task_id}/stderr.txt"))
        return await self.text(f"workitems/job/job-1/{task_id}/stdout.txt")

    async def text(self, path: str) -> str:
        return await self.server.text(KEY, path)

    async def full_orders(self, *start: Assignment) -> None:
        self.server.wanted[KEY] = list(start)
        await self.server.send(KEY, Orders(task_slots=self.server.task_slots, full=True, start=list(start)))


@asynccontextmanager
async def local_node(
    data: Path, isolation: Isolation, *, pool: dict[str, Any] | None = None, task_slots: int = 1, boots: bool = True
) -> AsyncIterator[Node]:
    """A node that has booted, and whose end leaves nothing behind."""
    async with agent_server() as server:
        server.pool = pool or {}
        server.task_slots = task_slots
        node = Node(data, isolation, server)
        try:
            if boots:
                await node.boot()
            yield node
        finally:
            await node.provider.close(release_all=True)


@functools.cache
def sandbox_problem() -> str:
    """Why this machine allows its user no sandbox; empty where it does."""

    async def try_it() -> str:
        with tempfile.TemporaryDirectory() as data:
            provider = LocalProvider(Settings(data=Path(data), isolation="sandbox"), lambda _: None)
            try:
                await provider.isolation()
            except NotGranted as refusal:
                return refusal.message
            finally:
                await provider.close(release_all=True)
            return ""

    return asyncio.run(try_it())


def fuse_problem() -> str:
    """Why nodes on this machine cannot mount containers; empty where they can."""
    if sandbox_problem():
        return f"file systems are mounted in sandboxes, and there is none: {sandbox_problem()}"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "the machine does not let its user open /dev/fuse"
    if not importlib.util.find_spec("mfusepy"):
        return "mfusepy is not installed here (pip install -r requirements/runtime.txt)"
    if not ctypes.util.find_library("fuse3"):
        return "there is no libfuse 3 (libfuse3-3)"
    return ""


async def until(condition: Any, timeout_s: float = 20) -> None:
    """Wait for something to be true that nobody tells us of."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
