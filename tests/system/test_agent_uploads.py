"""Agents that upload output files to a server that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.agent_server import task
from tests.system.nodes import KEY, local_node

from millpond.common.agent_protocol import Attempt, Ended, Orders
from millpond.common.clock import SECOND


class Stalled:
    """A server that takes connections and answers when it is told to."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.url = ""
        self._released = asyncio.Event()

    def let_go(self) -> None:
        """Refuse what is there, and what comes."""
        self._released.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrived.set()
        with contextlib.suppress(ConnectionError):
            await self._released.wait()
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def stalled() -> AsyncIterator[Stalled]:
    stalled = Stalled()
    server = await asyncio.start_server(stalled.accept, "127.0.0.1", 0)
    async with server:
        stalled.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/container?sig=x"
        yield stalled
        stalled.let_go()


def output_to(stalled: Stalled) -> list[dict[str, Any]]:
    return [
        {
            "filePattern": "../stdout.txt",
            "destination": {"container": {"containerUrl": stalled.url}},
            "uploadOptions": {"uploadCondition": "taskcompletion"},
        }
    ]


async def test_upload_holds_up_no_other_task_and_is_ended_with_its_own(tmp_path: Path, stalled: Stalled) -> None:
    async with local_node(tmp_path / "data", "process", task_slots=2) as node:
        await node.order(task("uploads", "echo x", outputFiles=output_to(stalled)))
        await stalled.arrived.wait()
        for number in range(20):
            assert (await node.run("true", f"short{number}")).exit_code == 0
        attempt = Attempt("job", "uploads", 1)
        await node.server.send(KEY, Orders(task_slots=2, stop=[attempt]))
        end = await node.server.ended(KEY, "uploads")
        assert (end.exit_code, end.failure and end.failure.code) == (None, "TaskEnded")


async def test_task_that_is_ended_by_order_uploads_nothing(tmp_path: Path, stalled: Stalled) -> None:
    async with local_node(tmp_path / "data", "process") as node:
        await node.order(task("endless", "sleep 4120", outputFiles=output_to(stalled)))
        await node.server.started(KEY, "endless")
        await node.server.send(KEY, Orders(task_slots=1, stop=[Attempt("job", "endless", 1)]))
        end = await node.server.ended(KEY, "endless")
        assert (end.exit_code, end.failure and end.failure.code) == (None, "TaskEnded")
        assert not stalled.arrived.is_set()


async def test_time_limit_is_over_with_the_process(tmp_path: Path, stalled: Stalled) -> None:
    limit = SECOND // 2
    async with local_node(tmp_path / "data", "process", task_slots=3) as node:
        await node.order(task("long", "sleep 4121", max_wall_clock_time=limit, outputFiles=output_to(stalled)))
        await stalled.arrived.wait()  # the files of what ran for too long are wanted most
        stalled.arrived.clear()
        await node.order(task("short", "true", max_wall_clock_time=limit, outputFiles=output_to(stalled)))
        await stalled.arrived.wait()
        assert (await node.run("sleep 1", "later")).exit_code == 0
        ended = [report for report in node.server.reports[KEY] if isinstance(report, Ended)]
        assert [report.attempt.task_id for report in ended] == ["later"]
        stalled.let_go()
        ends = [await node.server.ended(KEY, name) for name in ("long", "short")]
        assert [end.exit_code for end in ends] == [-9, 0]
        assert [end.failure and end.failure.code for end in ends] == ["TaskEnded", "FileUploadMiscError"]
