"""The service's end of the agents' channels: news in, orders and requests out.

The rules are in :mod:`millpond.common.agent_protocol`. A node has one connection: a newer one replaces the older. It
takes orders once it is synced, that is, once the engine has answered the agent's hello; what was ordered before is in
that answer. Nothing here decides anything, and losing all of it costs no more than a new hello from every agent.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import astuple

from millpond.common import agent_protocol
from millpond.common.agent_protocol import (
    CLOSED_FOR_GOOD,
    PROTOCOL_VERSION,
    ActionReply,
    ActionRequest,
    Assignment,
    Attempt,
    Coordinated,
    DeleteFiles,
    Ended,
    FailureInfo,
    FileReply,
    FileRequest,
    FilesDeleted,
    FromAgent,
    Hello,
    Measured,
    Orders,
    Prepared,
    Recovered,
    Report,
    Reports,
    Started,
    StartTaskReport,
    ToAgent,
    Trouble,
    Welcome,
)
from millpond.common.clock import Clock
from millpond.common.config import write_private
from millpond.common.errors import ServiceError

from .engine.messages import (
    AgentConnected,
    AgentLost,
    AttemptRef,
    Event,
    NodeMeasured,
    NodePrepared,
    NodeRecovered,
    NodeTroubled,
    StartTaskReported,
    TaskCoordinated,
    TaskEnded,
    TaskStarted,
)
from .errors import error
from .model.keys import entity_key, task_key
from .model.pool import NodeError, StartTaskInfo, StartTaskState
from .model.statistics import RunUsage
from .model.task import ContainerInfo, ErrorCategory, Failure, TaskResult
from .runtime import ChoreDone, Runtime

_log = logging.getLogger(__name__)

#: Seconds that an agent has for its hello, and for the next part of its answer to a request.
_HELLO_S = 10.0
_ANSWER_S = 30.0
#: Bytes that may wait to be sent to an agent; one that does not take them is cut off, and comes back for a sync.
_MOST_WAITING_BYTES = 256 << 20

#: WebSocket close codes (RFC 6455): a message that was not understood, and "come back".
_UNREADABLE = 1007
_TRY_AGAIN = 1013

_encode = msgspec.msgpack.Encoder().encode
Answer = FileReply | ActionReply
_decoder: msgspec.msgpack.Decoder[Hello | Reports | Answer] = msgspec.msgpack.Decoder(FromAgent)


class ChannelClosed(Exception):  # noqa: N818 - the usual end of every channel
    """The other side has closed the channel."""


class Transport(Protocol):
    """An agent's channel, as the WebSocket endpoint provides it."""

    async def receive(self) -> bytes:
        """The next message. Raises :class:`ChannelClosed`."""
        ...

    async def send(self, message: bytes) -> None:
        """Raises :class:`ChannelClosed`."""
        ...

    async def close(self, code: int, reason: str) -> None: ...


class NodeOrders(msgspec.Struct):
    """What one node is to do, gathered from the effects of a batch."""

    #: With a welcome only: how many the node has.
    task_slots: int = 1
    start: list[tuple[AttemptRef, Assignment]] = []
    stop: list[AttemptRef] = []
    run_primary: list[AttemptRef] = []
    forget: list[AttemptRef] = []
    #: To be forgotten with their files.
    discard: list[AttemptRef] = []
    delete: list[DeleteFiles] = []


class TaskToken(msgspec.Struct, frozen=True, array_like=True):
    """What a task's authentication token says: the keys of its job and its own, and the attempt it was made for."""

    job: str
    task: str
    attempt: int


class NodeTokens:
    """The agents' credentials, and those of tasks: each is derived from whom it is for, so there is nothing to store
    but one secret."""

    def __init__(self, file: Path, clock: Clock) -> None:
        """The secret is read from ``file``, or made there (mode 0600)."""
        if not file.exists():
            write_private(file, clock.token().encode())
        self._secret = file.read_bytes()

    def token(self, node: str) -> str:
        digest = hmac.digest(self._secret, node.encode(), hashlib.sha256)
        return _to_text(digest)

    def admits(self, node: str, token: str) -> bool:
        """Whether the token is the node's; takes as long for any wrong one."""
        return hmac.compare_digest(self.token(node).encode(), token.encode())

    def task_token(self, attempt: AttemptRef) -> str:
        said = _to_text(_encode(TaskToken(attempt.job, attempt.task, attempt.attempt)))
        return f"{said}.{self._task_seal(said)}"

    def read_task_token(self, token: str) -> TaskToken | None:
        """What a token says that was made here, whether or not it still holds."""
        said, _, seal = token.partition(".")
        if not hmac.compare_digest(self._task_seal(said).encode(), seal.encode()):
            return None
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)), type=TaskToken)

    def _task_seal(self, said: str) -> str:
        return _to_text(hmac.digest(self._secret, f"task\0{said}".encode(), hashlib.sha256))  # no node's key has a NUL


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class _Connection:
    """A channel that an agent holds open."""

    def __init__(self, node: str, hello: Hello) -> None:
        self.node = node
        self.boot = hello.boot
        self.account = node.partition("/")[0]
        self.is_synced = False
        self.task_slots = 1
        #: What the agent holds, as it said or was told: by reference, with the ids as given.
        self.attempts = {self.reference(attempt): attempt for attempt in hello.holding}
        #: Requests under way.
        self.requests: dict[int, asyncio.Queue[Answer | None]] = {}
        self._outgoing: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    def reference(self, attempt: Attempt) -> AttemptRef:
        return AttemptRef(entity_key(self.account, attempt.job_id), task_key(attempt.task_id), attempt.attempt)

    def send(self, message: ToAgent) -> None:
        data = _encode(message)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            self.close(_TRY_AGAIN, "the agent does not read")
            return
        self._outgoing.append(data)
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close the channel in place of whatever waits to be sent."""
        self._closing = self._closing or (code, reason)
        self._outgoing.clear()
        self._wake.set()

    async def pump(self, transport: Transport) -> None:
        """Send what is to be sent, until the channel is to be closed."""
        with contextlib.suppress(ChannelClosed):
            while self._closing is None:
                await self._wake.wait()
                self._wake.clear()
                while self._outgoing:
                    data = self._outgoing.popleft()
                    self._waiting_bytes -= len(data)
                    await transport.send(data)
            await transport.close(*self._closing)

    def end(self) -> None:
        for replies in self.requests.values():
            replies.put_nowait(None)


class Agents:
    """All connected agents."""

    def __init__(self, runtime: Runtime, clock: Clock, *, heartbeat_timeout_s: float) -> None:
        self._runtime = runtime
        self._clock = clock
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._connections: dict[str, _Connection] = {}
        #: Nodes without an agent: when they count as lost.
        self._absent: dict[str, asyncio.TimerHandle] = {}
        self._request_numbers = itertools.count(1)
        self._is_open = True

    # --- channels ---

    async def serve(self, node: str, transport: Transport) -> None:
        """Talk with the node's agent, whose token was checked, until the channel closes."""
        try:
            hello = await asyncio.wait_for(self._receive(transport), _HELLO_S)
            if not isinstance(hello, Hello):
                await transport.close(_UNREADABLE, "a hello comes first")
            elif hello.protocol != PROTOCOL_VERSION:
                await transport.close(CLOSED_FOR_GOOD, f"the service speaks protocol {PROTOCOL_VERSION}")
            elif not self._is_open:
                await transport.close(_TRY_AGAIN, "the service is stopping")
            else:
                await self._converse(_Connection(node, hello), hello, transport)
        except TimeoutError:
            await transport.close(_TRY_AGAIN, "no hello came")
        except msgspec.MsgspecError as failure:
            _log.warning("The agent of %s said what cannot be read: %s", node, failure)
            await transport.close(_UNREADABLE, "unreadable")
        except ChannelClosed:
            pass

    async def _converse(self, connection: _Connection, hello: Hello, transport: Transport) -> None:
        node = connection.node
        if older := self._connections.get(node):
            if older.boot > connection.boot:
                await transport.close(CLOSED_FOR_GOOD, "the node has booted again")
                return
            older.close(_TRY_AGAIN, "replaced by a newer channel")
        self._connections[node] = connection
        if timer := self._absent.pop(node, None):
            timer.cancel()
        pump = asyncio.create_task(connection.pump(transport))
        try:
            await self._connect(connection, hello)
            while True:
                await self._runtime.room()
                message = await self._receive(transport)
                if self._connections.get(node) is not connection:
                    continue  # a newer channel speaks for the node; this one only waits for its end
                if isinstance(message, Reports):
                    for report in message.reports:
                        self._runtime.post(_event(connection, report))
                elif isinstance(message, Answer) and message.request in connection.requests:
                    connection.requests[message.request].put_nowait(message)
        finally:
            if self._connections.get(node) is connection:
                del self._connections[node]
                self.expect(node, connection.boot)
            connection.end()
            pump.cancel()

    async def _connect(self, connection: _Connection, hello: Hello) -> None:
        """Tell the engine of the agent; its answer brings the orders (:meth:`order`)."""
        try:
            await self._runtime.submit(
                AgentConnected(
                    node=connection.node,
                    boot=hello.boot,
                    ip_address=hello.ip_address,
                    agent_version=hello.agent_version,
                    start_task=None if hello.start_task is None else _start_task_info(hello.start_task),
                    is_prepared=hello.is_prepared,
                    holding=list(connection.attempts),
                )
            )
        except ServiceError as refusal:
            is_final = refusal.code in ("NodeNotFound", "NodeNotReady")
            connection.close(CLOSED_FOR_GOOD if is_final else _TRY_AGAIN, refusal.code)

    async def _receive(self, transport: Transport) -> Hello | Reports | Answer:
        return _decoder.decode(await transport.receive())

    def expect(self, node: str, boot: int) -> None:
        """An agent should connect, or connect again, within the time that it has for a heartbeat."""
        if self._is_open and node not in self._connections:
            if timer := self._absent.pop(node, None):
                timer.cancel()
            timeout = self._heartbeat_timeout_s
            self._absent[node] = asyncio.get_running_loop().call_later(timeout, self._lose, node, boot)

    def _lose(self, node: str, boot: int) -> None:
        del self._absent[node]
        self._runtime.post(AgentLost(node=node, boot=boot))

    def dismiss(self, node: str, before_boot: int | None = None) -> None:
        """The node's agent (``before_boot``: if it is of an earlier one) is no longer spoken to, or waited for."""
        connection = self._connections.get(node)
        if connection is not None and (before_boot is None or connection.boot < before_boot):
            del self._connections[node]
            connection.close(CLOSED_FOR_GOOD, "the node is given back or boots anew")
        if connection is None and (timer := self._absent.pop(node, None)):
            timer.cancel()

    def reset(self) -> None:
        """News may have been lost: have all agents say hello again."""
        for connection in self._connections.values():
            connection.close(_TRY_AGAIN, "the service starts afresh")

    def close(self) -> None:
        self._is_open = False
        self.reset()
        for timer in self._absent.values():
            timer.cancel()
        self._absent.clear()

    def is_connected(self, node: str) -> bool:
        """Whether the node's agent has a channel, and has said hello."""
        connection = self._connections.get(node)
        return connection is not None and connection.is_synced

    # --- orders ---

    def order(self, node: str, orders: NodeOrders, welcome: Welcome | None = None) -> None:
        """Send a node what it is to do: its first orders, which answer its hello, with the welcome that goes before.

        What has changed is not for a node whose hello is not answered yet: the answer will say it.
        """
        connection = self._connections.get(node)
        if connection is None or not (welcome or connection.is_synced):
            return
        if welcome:
            connection.send(welcome)
            connection.is_synced = True
            connection.task_slots = orders.task_slots
        known = connection.attempts
        known.update((start, assignment.attempt) for start, assignment in orders.start)
        for attempt in orders.stop:
            if attempt not in known:
                self._runtime.post(self._never_started(connection, attempt))
        stop = [known[attempt] for attempt in orders.stop if attempt in known]
        run_primary = [known[attempt] for attempt in orders.run_primary if attempt in known]
        forget = [known.pop(attempt) for attempt in orders.forget if attempt in known]
        discard = [known.pop(attempt) for attempt in orders.discard if attempt in known]
        if welcome:  # what the full orders do not name, the agent holds no longer
            named = {attempt for attempt, _ in orders.start}.union(orders.stop)
            connection.attempts = {attempt: known[attempt] for attempt in named if attempt in known}
        elif not (orders.start or stop or run_primary or forget or discard or orders.delete):
            return
        connection.send(
            Orders(
                task_slots=connection.task_slots,
                full=welcome is not None,
                start=[assignment for _, assignment in orders.start],
                stop=stop,
                run_primary=run_primary,
                forget=forget,
                discard=discard,
                delete=orders.delete,
            )
        )

    def _never_started(self, connection: _Connection, attempt: AttemptRef) -> TaskEnded:
        """The end of an attempt that the node was told to end, and has never heard of."""
        return TaskEnded(
            node=connection.node,
            boot=connection.boot,
            attempt=attempt,
            start_time=None,
            end_time=self._clock.now(),
            exit_code=None,
            result=TaskResult.FAILURE,
        )

    # --- requests ---

    async def ask(self, node: str, request: Callable[[int], FileRequest | ActionRequest]) -> AsyncIterator[Answer]:
        """The parts of the node's answer to the request of the given number.

        Raises ``NodeNotReady`` where none comes.
        """
        connection = self._connections.get(node)
        if connection is None or not connection.is_synced:
            raise error("NodeNotReady", ("Reason", "The node is not connected."))
        number = next(self._request_numbers)
        replies = connection.requests[number] = asyncio.Queue()
        connection.send(request(number))
        try:
            while True:
                reply = await asyncio.wait_for(replies.get(), _ANSWER_S)
                if reply is None:
                    raise error("NodeNotReady", ("Reason", "The node has closed its channel."))
                yield reply
                if isinstance(reply, ActionReply) or reply.last or reply.error is not None:
                    return
        except TimeoutError:
            raise error("NodeNotReady", ("Reason", "The node does not answer.")) from None
        finally:
            del connection.requests[number]


# --- from the protocol to the engine -----------------------------------------------------------------------------


def _event(connection: _Connection, report: Report) -> Event:
    """What a report means to the engine (or, in the case of files, to the store)."""
    node, boot = connection.node, connection.boot
    match report:
        case Ended():
            attempt = connection.reference(report.attempt)
            connection.attempts[attempt] = report.attempt
            has_succeeded = report.exit_code == 0 and report.failure is None
            return TaskEnded(
                node=node,
                boot=boot,
                attempt=attempt,
                start_time=report.start_time,
                end_time=report.end_time,
                exit_code=report.exit_code,
                result=TaskResult.SUCCESS if has_succeeded else TaskResult.FAILURE,
                failure=_failure(report.failure),
                may_retry=report.may_retry,
                container_info=_container_info(report.container_info),
                usage=None if report.usage is None else RunUsage(*astuple(report.usage)),
            )
        case Started():
            attempt = connection.reference(report.attempt)
            return TaskStarted(node=node, boot=boot, attempt=attempt, start_time=report.start_time)
        case Measured():
            return NodeMeasured(node=node, boot=boot, usage=report.usage)
        case Coordinated():
            return TaskCoordinated(node=node, boot=boot, attempt=connection.reference(report.attempt))
        case FilesDeleted():
            return ChoreDone(chore=report.chore)
        case Prepared():
            return NodePrepared(node=node, boot=boot)
        case StartTaskReport():
            return StartTaskReported(node=node, boot=boot, info=_start_task_info(report))
        case Recovered():
            return NodeRecovered(node=node, boot=boot)
        case Trouble():
            return NodeTroubled(node=node, boot=boot, error=NodeError(report.code, report.message, report.details))


def _start_task_info(report: StartTaskReport) -> StartTaskInfo:
    result = None
    if report.state == "completed":
        result = TaskResult.SUCCESS if report.exit_code == 0 and report.failure is None else TaskResult.FAILURE
    return StartTaskInfo(
        state=StartTaskState(report.state),
        start_time=report.start_time,
        end_time=report.end_time,
        exit_code=report.exit_code,
        failure=_failure(report.failure),
        result=result,
        retry_count=report.retry_count,
        last_retry_time=report.last_retry_time,
        container_info=_container_info(report.container_info),
    )


def _failure(info: FailureInfo | None) -> Failure | None:
    return None if info is None else Failure(ErrorCategory(info.category), info.code, info.message, info.details)


def _container_info(info: agent_protocol.ContainerInfo | None) -> ContainerInfo | None:
    return None if info is None else ContainerInfo(info.container_id, info.state, info.error)
