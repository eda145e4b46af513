"""A service's end of the agents' channel, for tests of agents without the service: says exactly what it is told to."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from millpond.common.agent_protocol import (
    ActionReply,
    ActionRequest,
    Assignment,
    Attempt,
    Ended,
    FileReply,
    FileRequest,
    FromAgent,
    Hello,
    Orders,
    Report,
    Reports,
    Started,
    StartTaskReport,
    ToAgent,
    Welcome,
)
from millpond.common.durations import UNLIMITED

TOKEN = "token-of-the-node"

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[Any], FromAgent] = msgspec.msgpack.Decoder(FromAgent).decode
_R = TypeVar("_R")


class AgentServer:
    """Keeps what it heard; one for any number of agents."""

    def __init__(self) -> None:
        self.port = 0
        self.hellos: dict[str, list[Hello]] = {}
        self.reports: dict[str, list[Report]] = {}
        self.replies: list[FileReply] = []
        self.actions: list[ActionReply] = []
        self.connections: dict[str, ServerConnection] = {}
        self.pool: dict[str, Any] = {}
        self.task_slots = 1
        #: What each node should run.
        self.wanted: dict[str, list[Assignment]] = {}
        self.forgets = True
        self.news = asyncio.Condition()
        self._server: Server | None = None
        self._requests = 0

    def url(self, key: str) -> str:
        return f"ws://127.0.0.1:{self.port}/agents/{urllib.parse.quote(key, safe='')}"

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", self.port, compression=None, max_size=16 << 20)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Close all channels and stop listening."""
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request
        assert connection.request.headers["Authorization"] == f"Bearer {TOKEN}"
        key = urllib.parse.unquote(connection.request.path.removeprefix("/agents/"))
        while True:
            try:
                message = _decode(await connection.recv())
            except ConnectionClosed:
                return
            if isinstance(message, Hello):
                self.connections[key] = connection
                self.hellos.setdefault(key, []).append(message)
                await self._greet(key, connection)
            elif isinstance(message, Reports):
                self.reports.setdefault(key, []).extend(message.reports)
                ended = [report.attempt for report in message.reports if isinstance(report, Ended)]
                if ended and self.forgets:
                    over = set(ended)
                    self.wanted[key] = [want for want in self.wanted.get(key, []) if want.attempt not in over]
                    await self.send(key, Orders(task_slots=self.task_slots, forget=ended))
            elif isinstance(message, ActionReply):
                self.actions.append(message)
            else:
                self.replies.append(message)
            async with self.news:
                self.news.notify_all()

    async def _greet(self, key: str, connection: ServerConnection) -> None:
        welcome = Welcome(
            account_name="millpond",
            account_url="http://127.0.0.1:1/",
            pool_id="pool",
            node_id=key.rpartition("/")[2],
            is_dedicated=True,
            pool=msgspec.json.encode(self.pool),
        )
        await connection.send(_encode(welcome))
        orders = Orders(task_slots=self.task_slots, full=True, start=self.wanted.get(key, []))
        await connection.send(_encode(orders))

    async def send(self, key: str, message: ToAgent) -> None:
        await self.connections[key].send(_encode(message))

    async def run(self, key: str, *tasks: Assignment) -> None:
        self.wanted.setdefault(key, []).extend(tasks)
        await self.send(key, Orders(task_slots=self.task_slots, start=list(tasks)))

    async def until(self, condition: Callable[[], _R | None], timeout_s: float = 20) -> _R:
        """Wait for something to be true of what was heard."""
        async with asyncio.timeout(timeout_s), self.news:
            while not (found := condition()):
                await self.news.wait()
            return found

    async def hello(self, key: str, number: int = 1) -> Hello:
        await self.until(lambda: len(self.hellos.get(key, [])) >= number)
        return self.hellos[key][number - 1]

    async def ended(self, key: str, task: str, attempt: int = 1) -> Ended:
        def find() -> Ended | None:
            for report in self.reports.get(key, []):
                if isinstance(report, Ended) and (report.attempt.task_id, report.attempt.attempt) == (task, attempt):
                    return report
            return None

        return await self.until(find)

    async def started(self, key: str, task: str, attempt: int = 1) -> Started:
        def find() -> Started | None:
            for report in self.reports.get(key, []):
                if isinstance(report, Started) and (report.attempt.task_id, report.attempt.attempt) == (task, attempt):
                    return report
            return None

        return await self.until(find)

    async def start_task(self, key: str) -> StartTaskReport:
        def find() -> StartTaskReport | None:
            for report in self.reports.get(key, []):
                if isinstance(report, StartTaskReport) and report.state == "completed":
                    return report
            return None

        return await self.until(find)

    async def file(self, key: str, operation: Any, path: str, **arguments: Any) -> list[FileReply]:
        self._requests += 1
        number = self._requests
        await self.send(key, FileRequest(request=number, operation=operation, path=path, **arguments))
        await self.until(lambda: any(reply.request == number and reply.last for reply in self.replies))
        return [reply for reply in self.replies if reply.request == number]

    async def act(self, key: str, action: Any) -> ActionReply:
        """Have a node do something, and wait for its answer."""
        self._requests += 1
        number = self._requests
        await self.send(key, ActionRequest(request=number, action=action))
        return await self.until(lambda: next((each for each in self.actions if each.request == number), None))

    async def text(self, key: str, path: str) -> str:
        replies = await self.file(key, "read", path)
        assert replies[0].error is None, replies[0].error
        return b"".join(reply.data for reply in replies).decode()


def task(
    task_id: str,
    command_line: str = "true",
    *,
    attempt: int = 1,
    job_id: str = "job",
    slots: int = 1,
    max_wall_clock_time: int = UNLIMITED,
    retention_time: int = UNLIMITED,
    environment: dict[str, str] | None = None,
    **document: Any,
) -> Assignment:
    """A placement of a task; the document's members are the API's."""
    return Assignment(
        attempt=Attempt(job_id, task_id, attempt),
        required_slots=slots,
        task=msgspec.json.encode({"id": task_id, "commandLine": command_line, **document}),
        max_wall_clock_time=max_wall_clock_time,
        retention_time=retention_time,
        environment=environment or {},
    )


@asynccontextmanager
async def agent_server() -> AsyncIterator[AgentServer]:
    server = AgentServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def now() -> int:
    return time.time_ns() // 1000
