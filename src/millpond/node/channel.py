"""The agent's end of the channel: a WebSocket that opens itself again for as long as the agent lives.

It never blocks: the agent's loop waits for :attr:`Channel.socket` and says when it is ready.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from time import monotonic

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from millpond.common.agent_protocol import CLOSED_FOR_GOOD, FromAgent, ToAgent

log = logging.getLogger(__name__)

_FIRST_BACK_OFF_S = 0.05
_LONGEST_BACK_OFF_S = 1.0
_CONNECT_TIMEOUT_S = 5.0
#: How often the channel says that it is alive, and how long it believes in a silent peer.
_HEARTBEAT_S = 10.0
_SILENCE_S = 45.0

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], ToAgent] = msgspec.msgpack.Decoder(ToAgent).decode


class Channel:
    """Connects, keeps connected, and turns frames into messages.

    :attr:`generation` counts the connections that were opened: whoever sends must first say hello on each.
    """

    def __init__(self, url: str, token: str) -> None:
        self._uri = parse_uri(url)
        self._token = token
        self._protocol: ClientProtocol | None = None
        self.socket: socket.socket | None = None
        self._outgoing: deque[memoryview] = deque()
        self._back_off_s = _FIRST_BACK_OFF_S
        self._connect_at = 0.0
        self._connecting_until = 0.0
        self._connected = False
        self._heard_at = 0.0
        self._beat_at = 0.0
        self.generation = 0
        #: The service has no use for this agent any more.
        self.is_dismissed = False

    @property
    def is_open(self) -> bool:
        return self._protocol is not None and self._protocol.state is State.OPEN

    @property
    def wants_to_write(self) -> bool:
        return bool(self._outgoing) or (self.socket is not None and not self._connected)

    @property
    def is_congested(self) -> bool:
        """Whether the peer has not yet taken what was sent before."""
        return bool(self._outgoing)

    def tend(self) -> float:
        """Do what is due by time: connect, give up, keep alive. Returns seconds until it wants to be called again."""
        now = monotonic()
        if self.socket is None:
            if now >= self._connect_at:
                self._connect(now)
            return max(0.0, self._connect_at - now) if self.socket is None else _CONNECT_TIMEOUT_S
        if not self.is_open:
            if now >= self._connecting_until:
                self._lost("no answer")
                return self._back_off_s
            return self._connecting_until - now
        if now - self._heard_at > _SILENCE_S:
            self._lost("silence")
            return self._back_off_s
        if now >= self._beat_at:
            self._beat_at = now + _HEARTBEAT_S
            assert self._protocol
            self._protocol.send_ping(b"")
            self._flush()
        return self._beat_at - now

    def send(self, message: FromAgent) -> None:
        """Send a message; it is lost where the channel is not open, which the next hello settles."""
        if not self.is_open:
            return
        assert self._protocol
        self._protocol.send_binary(_encode(message))
        self._beat_at = monotonic() + _HEARTBEAT_S
        self._flush()

    def ready(self, events: int) -> list[ToAgent]:
        """The socket is ready (the events of ``select.poll``): carry on. Returns the messages that have come in."""
        messages: list[ToAgent] = []
        try:
            if not self._connected:
                self._finish_connect()
            elif events & ~select.POLLOUT:
                self._receive(messages)
            if events & select.POLLOUT:
                self._write()
        except (OSError, WebSocketException, msgspec.MsgspecError) as error:
            self._lost(str(error) or type(error).__name__)
        return messages

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None
        self._protocol = None
        self._outgoing.clear()

    def _connect(self, now: float) -> None:
        self._connecting_until = now + _CONNECT_TIMEOUT_S
        self._connected = False
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                self._uri.host, self._uri.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )[0]
            self.socket = socket.socket(family, kind)
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self.socket.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError as error:
            self._lost(str(error))

    def _finish_connect(self) -> None:
        assert self.socket
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect")
        if self._uri.secure:
            self.socket.settimeout(_CONNECT_TIMEOUT_S)  # the one place that waits: a handshake is short and rare
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=self._uri.host)
            self.socket.setblocking(False)
        self._connected = True
        self._protocol = ClientProtocol(self._uri, max_size=None)
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {self._token}"
        self._protocol.send_request(request)
        self._flush()

    def _receive(self, messages: list[ToAgent]) -> None:
        assert self._protocol
        while self.socket:
            try:
                data = self.socket.recv(1 << 18)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if not data:
                self._protocol.receive_eof()
                raise ConnectionError("the service closed the channel")
            self._protocol.receive_data(data)
            self._heard_at = monotonic()
            if len(data) < 1 << 18 and not isinstance(self.socket, ssl.SSLSocket):
                break
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                if self._protocol.handshake_exc:
                    raise self._protocol.handshake_exc
                self._back_off_s = _FIRST_BACK_OFF_S
                self.generation += 1
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                messages.append(_decode(event.data))
        if self._protocol.close_rcvd:
            self.is_dismissed = self._protocol.close_rcvd.code == CLOSED_FOR_GOOD
            raise ConnectionError(f"the service closed the channel: {self._protocol.close_rcvd}")
        self._flush()  # answers to pings

    def _flush(self) -> None:
        assert self._protocol
        self._outgoing += [memoryview(data) for data in self._protocol.data_to_send() if data]
        try:
            self._write()
        except OSError as error:
            self._lost(str(error))

    def _write(self) -> None:
        while self._outgoing and self.socket and self._connected:
            data = self._outgoing[0]
            try:
                sent = self.socket.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            if sent < len(data):
                self._outgoing[0] = data[sent:]
            else:
                self._outgoing.popleft()

    def _lost(self, why: str) -> None:
        if self.generation and self.is_open:
            log.info("channel lost: %s", why)
        else:
            log.debug("no channel: %s", why)
        self.close()
        self._connect_at = monotonic() + self._back_off_s
        self._back_off_s = min(2 * self._back_off_s, _LONGEST_BACK_OFF_S)
