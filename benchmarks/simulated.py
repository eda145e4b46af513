"""Nodes without machines: a Batch service whose provider starts nothing, and agents that only say what agents say.

The agents are one process; each has a channel of its own, speaks the agents' protocol over it, and reports every task
as started and ended, with exit code 0, as soon as it is told to start it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from millpond.batch.providers import local
from millpond.batch.providers.base import Capabilities, NodeRequest, Observation
from millpond.common.agent_protocol import (
    PROTOCOL_VERSION,
    Attempt,
    Ended,
    FromAgent,
    Hello,
    Orders,
    Report,
    Reports,
    RunUsage,
    Started,
    ToAgent,
)
from millpond.common.config import Accounts, Settings

from .environments import ROOT

_encode = msgspec.msgpack.Encoder().encode
#: What every run has used.
_USAGE = RunUsage(1500, 900, 12, 3, 0, 4096)
_decode: Callable[[Any], ToAgent] = msgspec.msgpack.Decoder(ToAgent).decode


class SimulatedProvider:
    """Starts nothing: says on standard output which nodes are asked for, and the agents take them up."""

    capabilities = Capabilities(
        releases_single_nodes=True, can_reboot=True, can_reimage=True, can_deallocate=True, has_low_priority=True
    )

    def __init__(self, settings: Settings, on_end: Callable[[Observation], None]) -> None:
        pass

    async def request(self, node: NodeRequest) -> None:
        sys.stdout.buffer.write(msgspec.json.encode([node.channel_url, node.token, node.boot]) + b"\n")
        sys.stdout.buffer.flush()

    async def observe(self, nodes: Sequence[str]) -> list[Observation]:
        return [Observation(node, True) for node in nodes]

    async def stop(self, node: str) -> None:
        pass

    async def release(self, node: str) -> None:
        pass

    async def close(self, *, release_all: bool) -> None:
        pass


def _serve(data: str, listener: int) -> None:
    vars(local)["LocalProvider"] = SimulatedProvider  # where the service takes its nodes from
    from millpond.batch.api.app import create_app
    from millpond.common.server import run

    sock = socket.socket(fileno=listener)
    settings = Settings(data=Path(data))
    run(create_app(settings, Accounts(settings.data), f"http://127.0.0.1:{sock.getsockname()[1]}"), sock)


async def _run_agents() -> None:
    """Take up nodes from standard input until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    agents = set()
    while line := await reader.readline():
        url, token, boot = msgspec.json.decode(line)
        agents.add(loop.create_task(_run_agent(url, token, boot)))


async def _run_agent(url: str, token: str, boot: int) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, compression=None, max_size=None) as channel:
        await _send(
            channel,
            Hello(
                protocol=PROTOCOL_VERSION,
                agent_version="simulated",
                boot=boot,
                ip_address="127.0.0.1",
                start_task=None,
                holding=[],
            ),
        )
        done: set[Attempt] = set()
        async for message in channel:
            orders = _decode(message)
            if isinstance(orders, Orders):
                done.difference_update(orders.forget)
                begun = [assignment.attempt for assignment in orders.start if assignment.attempt not in done]
                done.update(begun)
                if begun:
                    await _send(channel, Reports([report for attempt in begun for report in _life(attempt)]))


def _life(attempt: Attempt) -> Iterator[Report]:
    now = time.time_ns() // 1000
    yield Started(attempt, now)
    yield Ended(attempt, now, now, 0, usage=_USAGE)


async def _send(channel: ClientConnection, message: FromAgent) -> None:
    await channel.send(_encode(message))


@contextmanager
def simulated_service(data: Path) -> Iterator[Mapping[str, str]]:
    """The service on a data directory and its agents, each a process; what a client needs to know of it."""
    accounts = Accounts(data)
    accounts.ensure_defaults()
    name = accounts.names("batch")[0]
    keys = accounts.get("batch", name)
    assert keys is not None
    module = [sys.executable, "-m", __spec__.name]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        descriptor = listener.fileno()
        service = subprocess.Popen(
            [*module, "serve", data, str(descriptor)], cwd=ROOT, pass_fds=[descriptor], stdout=subprocess.PIPE
        )
        agents = subprocess.Popen([*module, "agents"], cwd=ROOT, stdin=service.stdout)
        assert service.stdout is not None
        service.stdout.close()  # the agents have it
        try:
            yield {
                "BATCH_ACCOUNT_NAME": name,
                "BATCH_ACCOUNT_KEY": keys.key1,
                "BATCH_ACCOUNT_URL": f"http://127.0.0.1:{listener.getsockname()[1]}",
            }
        finally:
            for process in (agents, service):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2], int(sys.argv[3]))
    else:
        asyncio.run(_run_agents())
