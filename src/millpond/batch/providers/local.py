"""Nodes on this machine: each is an agent process with a directory of its own, in a sandbox where that is possible.

Agents are no children of the service: they outlive it, and its next process finds them by the record in each node's
directory (``DATA/batch/nodes/<node>/agent.json``). A node's end is noticed at once, by a pidfd.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from millpond.common.agent_launch import AgentLaunch, AgentRecord, LaunchReply, process_start
from millpond.common.authority import authority_file
from millpond.common.config import Settings
from millpond.common.container_leftovers import remove_leftovers

from .base import Capabilities, NodeRequest, NotGranted, Observation
from .trash import Trash

log = logging.getLogger(__name__)

_LAUNCHER = "millpond.node.launcher"
#: How long a launch may take, and an end.
_LAUNCH_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
#: How often a process is looked at where its end cannot be waited for.
_LOOK_AGAIN_S = 0.2
_LAST_WORDS = 2000
_ADDRESSES = 1 << 16
#: What the launcher needs of the service's environment; the rest may hold secrets.
_ENVIRONMENT = re.compile(r"PYTHON\w+|LANG|LC_\w+|TZ")

_decode_reply = msgspec.json.Decoder(LaunchReply).decode
_decode_record = msgspec.json.Decoder(AgentRecord).decode


class _Node:
    """A node that was launched, by this process or by an earlier one of the service."""

    def __init__(self, directory: Path, record: AgentRecord) -> None:
        self.directory = directory
        self.record = record
        self.ended = asyncio.Event()
        #: It was set up, and nobody has asked for its end: an end is news.
        self.is_wanted = False


class LocalProvider:
    """``on_end`` is told of every node that ends unasked."""

    capabilities = Capabilities(
        releases_single_nodes=True, can_reboot=True, can_reimage=True, can_deallocate=True, has_low_priority=True
    )

    def __init__(self, settings: Settings, on_end: Callable[[Observation], None]) -> None:
        self._settings = settings
        self._on_end = on_end
        self._directory = settings.data / "batch" / "nodes"
        self._trash = Trash(settings.data / "batch" / "trash")
        self._trash.start()  # also where nobody will ask for a node
        self._nodes: dict[str, _Node] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._launcher = _Launcher(self._launched)
        self._isolation: Literal["sandbox", "process"] | None = None
        self._finding_isolation = asyncio.Lock()
        #: Nodes that count among those that this machine carries.
        self._carried: set[str] = set()
        #: Addresses given to nodes, by key.
        self._addresses: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_restored = False
        if settings.isolation == "process":
            log.warning("nodes run as plain processes, as asked for: their tasks can do what this process may do")

    async def isolation(self) -> Literal["sandbox", "process"]:
        """How nodes are kept apart from the machine; found out by trying, where the settings leave it open."""
        async with self._finding_isolation:
            if self._isolation is None:
                self._isolation = await self._find_isolation()
            return self._isolation

    async def request(self, node: NodeRequest) -> None:
        self._restore()
        async with self._locks.setdefault(node.key, asyncio.Lock()):
            present = self._nodes.get(node.key)
            if present and not present.ended.is_set():
                if present.record.boot >= node.boot:
                    return
                await self._end(present)
            self._admit(node.key)
            await self._launch(node)
            # Where it has ended since, that was before anybody could be told.
            launched = self._nodes[node.key]
            launched.is_wanted = True
            if launched.ended.is_set():
                self._ended(node.key, launched)

    async def observe(self, nodes: Sequence[str]) -> list[Observation]:
        self._restore()
        observations = []
        for key in nodes:
            node = self._nodes.get(key)
            if node and not node.ended.is_set():
                observations.append(Observation(key, True))
            else:
                observations.append(Observation(key, False, _last_words(self._directory_of(key))))
        return observations

    async def stop(self, node: str) -> None:
        self._restore()
        async with self._locks.setdefault(node, asyncio.Lock()):
            if present := self._nodes.get(node):
                await self._end(present)
        self._carried.discard(node)

    async def release(self, node: str) -> None:
        self._restore()
        async with self._locks.setdefault(node, asyncio.Lock()):
            present = self._nodes.get(node)
            if present:
                await self._end(present)
                del self._nodes[node]
            self._trash.put(self._directory_of(node))
        self._locks.pop(node, None)
        self._addresses.pop(node, None)
        self._carried.discard(node)

    async def close(self, *, release_all: bool) -> None:
        await self._launcher.close()  # first: nodes that were about to start are told of before it returns
        if release_all:
            self._restore()
            await asyncio.gather(*(self._end(node) for node in self._nodes.values()))
        for task in self._tasks:
            task.cancel()
        self._trash.close()

    # --- launching

    def _admit(self, node: str) -> None:
        """Raises :class:`NotGranted` where this machine carries as many nodes as it should."""
        most = self._settings.most_nodes
        if most is not None and len(self._carried - {node}) >= most:
            raise NotGranted("AllocationFailed", f"This machine carries at most {most} nodes (most_nodes)")
        self._carried.add(node)

    async def _launch(self, node: NodeRequest) -> None:
        directory = self._directory_of(node.key)
        isolation = await self.isolation()
        address = self._address(node, directory)
        record = _read_record(directory)
        if record and record.disk != node.disk:
            self._addresses[node.key] = address
            self._trash.put(directory)
        launch = AgentLaunch(
            key=node.key,
            node_id=node.node_id,
            boot=node.boot,
            token=node.token,
            channel_url=node.channel_url,
            authority=authority_file(self._settings.data).read_text() if self._settings.tls else "",
            disk=node.disk,
            ip_address=address,
            directory=str(directory),
            isolation=isolation,
            container_runtime=self._settings.container_runtime,
            hidden=[str(self._settings.data.absolute())],
        )
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            await self._launcher.launch(launch)
        except LaunchFailedError as error:
            raise NotGranted("AllocationFailed", f"The node could not be started: {error}") from error

    def _launched(self, key: str) -> None:
        """A node has become a process: watch it from now on."""
        directory = self._directory_of(key)
        record = _read_record(directory)
        if record:
            self._adopt(key, directory, record)

    async def _find_isolation(self) -> Literal["sandbox", "process"]:
        wanted = self._settings.isolation
        if wanted == "process":
            return "process"
        problem = await self._try_sandbox()
        if not problem:
            return "sandbox"
        if wanted == "sandbox":
            raise NotGranted("AllocationFailed", f"Nodes cannot have a sandbox on this machine: {problem}")
        log.warning("nodes run as plain processes, because this machine allows no sandbox: %s", problem)
        return "process"

    async def _try_sandbox(self) -> str:
        """Build a sandbox and end it. Returns what is wrong with it, or nothing."""
        if sys.platform != "linux":
            return "sandboxes need Linux"
        directory = self._directory.parent / "sandbox-trial"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        launch = AgentLaunch(
            key="sandbox-trial",
            node_id="trial",
            boot=0,
            token="",
            channel_url="ws://127.0.0.1",
            directory=str(directory),
            isolation="sandbox",
            is_trial=True,
        )
        try:
            await self._launcher.launch(launch)
        except LaunchFailedError as error:
            return str(error)
        finally:
            self._trash.put(directory)
        return ""

    def _address(self, node: NodeRequest, directory: Path) -> str:
        """A loopback address of the node's own: by its number, or the next that no other node of this machine has."""
        if sys.platform != "linux":
            return "127.0.0.1"  # elsewhere the loopback interface has this one only
        record = _read_record(directory)
        if record:
            return record.ip_address
        if node.key in self._addresses:
            return self._addresses[node.key]
        taken = {other.record.ip_address for other in self._nodes.values()} | set(self._addresses.values())
        for offset in range(_ADDRESSES - 2):
            number = (node.number + offset - 1) % (_ADDRESSES - 2) + 1
            address = f"127.64.{number >> 8}.{number & 0xFF}"
            if address not in taken:
                self._addresses[node.key] = address
                return address
        raise NotGranted("AllocationFailed", "This machine has no loopback addresses left for nodes")

    # --- watching and ending

    def _restore(self) -> None:
        """Find the nodes that are there, once."""
        if self._is_restored:
            return
        self._is_restored = True
        if not self._directory.is_dir():
            return
        for directory in self._directory.iterdir():
            record = _read_record(directory)
            if record:
                self._adopt(record.key, directory, record).is_wanted = True
                self._carried.add(record.key)

    def _adopt(self, key: str, directory: Path, record: AgentRecord) -> _Node:
        """Watch a node's process until it ends."""
        node = self._nodes[key] = _Node(directory, record)
        pidfd = _open_pidfd(record)
        if pidfd is None:
            node.ended.set()
        elif pidfd >= 0:
            loop = asyncio.get_running_loop()

            def ended() -> None:
                loop.remove_reader(pidfd)
                os.close(pidfd)
                self._ended(key, node)

            loop.add_reader(pidfd, ended)
        else:
            task = asyncio.create_task(self._look_until_ended(key, node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return node

    async def _look_until_ended(self, key: str, node: _Node) -> None:
        while process_start(node.record.pid) == node.record.started:
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._ended(key, node)

    def _ended(self, key: str, node: _Node) -> None:
        node.ended.set()
        if node.is_wanted:
            node.is_wanted = False
            reason = _last_words(node.directory)
            log.warning("node %s ended: %s", key, reason)
            self._on_end(Observation(key, False, reason))

    async def _end(self, node: _Node) -> None:
        """End a node with all that it runs. Raises ``TimeoutError`` where it does not end."""
        node.is_wanted = False
        if not node.ended.is_set():
            await self._end_process(node)
        await asyncio.to_thread(remove_leftovers, node.directory)
        if node.record.isolation == "process":
            await asyncio.to_thread(_end_strays, node.directory / "root")

    async def _end_process(self, node: _Node) -> None:
        # A sandbox goes with its first process; a keeper must have the time to end what is below it.
        number = signal.SIGKILL if node.record.isolation == "sandbox" else signal.SIGTERM
        if process_start(node.record.pid) == node.record.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(node.record.pid, number)
        async with asyncio.timeout(_END_TIMEOUT_S):
            await node.ended.wait()

    def _directory_of(self, key: str) -> Path:
        return self._directory / urllib.parse.quote(key.replace("/", "."), safe="")


class LaunchFailedError(Exception):
    """The launcher could not start an agent; the message says why."""


class _Launcher:
    """The process that forks agents (:mod:`millpond.node.launcher`), started when it is needed.

    ``on_launched`` is called with the key of each node that has become a process.
    """

    def __init__(self, on_launched: Callable[[str], None]) -> None:
        self._on_launched = on_launched
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[tuple[str, int], asyncio.Future[None]] = {}

    async def start(self) -> asyncio.StreamWriter:
        """Start it unless it runs. Returns where its orders go."""
        async with self._starting:
            if self._process and self._process.stdin and self._process.returncode is None:
                return self._process.stdin
            environment = {name: value for name, value in os.environ.items() if _ENVIRONMENT.match(name)}
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _LAUNCHER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
            stdin, stdout = self._process.stdin, self._process.stdout
            if stdin is None or stdout is None:
                raise RuntimeError("the launcher was started without pipes")
            self._reading = asyncio.create_task(self._read_replies(stdout))
            return stdin

    async def launch(self, launch: AgentLaunch) -> None:
        """Start an agent and wait until it is set up. Raises :class:`LaunchFailedError`."""
        orders = await self.start()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        name = (launch.key, launch.boot)
        self._waiting[name] = done
        try:
            orders.write(msgspec.json.encode(launch) + b"\n")
            async with asyncio.timeout(_LAUNCH_TIMEOUT_S):
                await done
        except (TimeoutError, ConnectionError) as error:
            raise LaunchFailedError(str(error) or "it takes too long") from error
        finally:
            self._waiting.pop(name, None)

    async def close(self) -> None:
        """End it, and wait for what it has begun. The agents stay."""
        if process := self._process:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading:
            await self._reading  # ends when the last agent that was being set up has said how that went

    async def _read_replies(self, replies: asyncio.StreamReader) -> None:
        async for line in replies:
            reply = _decode_reply(line)
            if reply.stage == "launched":
                self._on_launched(reply.key)
                continue
            done = self._waiting.get((reply.key, reply.boot))
            if done is None or done.done():
                continue
            if reply.stage == "ready":
                done.set_result(None)
            else:
                done.set_exception(LaunchFailedError(reply.message))
        self._process = None
        for done in self._waiting.values():
            if not done.done():
                done.set_exception(LaunchFailedError("the launcher ended"))


def _open_pidfd(record: AgentRecord) -> int | None:
    """A handle on the process of a record; ``None``: it is gone; -1: this system has no such handles."""
    if not hasattr(os, "pidfd_open"):
        return -1 if process_start(record.pid) == record.started else None
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return None
    if record.started and process_start(record.pid) == record.started:
        return pidfd
    os.close(pidfd)
    return None


def _read_record(directory: Path) -> AgentRecord | None:
    try:
        return _decode_record((directory / "agent.json").read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def _last_words(directory: Path) -> str:
    """The end of a node's log."""
    try:
        with (directory / "agent.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
            words = file.read().decode(errors="replace").strip()
    except OSError:
        words = ""
    return words or "The agent ended without a word."


def _end_strays(root: Path) -> None:
    """End processes of a node without a sandbox whose keeper did not live to do it: its environment tells them."""
    mark = b"AZ_BATCH_NODE_ROOT_DIR=" + os.fsencode(root)
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)
