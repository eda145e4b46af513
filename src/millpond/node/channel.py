"""The agent's end of the channel: a WebSocket that opens itself again for as long as the agent lives.

It never blocks: the agent's loop waits for the socket (:meth:`Channel.fileno`) and says when it is ready.
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
from websockets.uri import WebSocketURI, parse_uri

from millpond.common.agent_protocol import CLOSED_FOR_GOOD, FromAgent, ToAgent

log = logging.getLogger(__name__)

_FIRST_BACK_OFF_S = 0.05
_LONGEST_BACK_OFF_S = 1.0
_CONNECT_TIMEOUT_S = 5.0
#: How often the channel says that it is alive, and how long it believes in a silent peer.
_HEARTBEAT_S = 10.0
_SILENCE_S = 45.0
_READ = 1 << 18

_encode: Callable[[FromAgent], bytes] = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], ToAgent] = msgspec.msgpack.Decoder(ToAgent).decode


class _Link:
    """One connection: a socket that does not block, and the protocol on it. Methods raise ``OSError``,
    ``WebSocketException``."""

    def __init__(self, uri: WebSocketURI, token: str) -> None:
        self._uri = uri
        self._token = token
        self.protocol = ClientProtocol(uri, max_size=None)
        self._outgoing: deque[memoryview] = deque()
        self._fragments: list[bytes] = []
        self._buffer = bytearray(_READ)
        self.is_connected = False
        self.expires_at = monotonic() + _CONNECT_TIMEOUT_S
        family, kind, _, _, address = socket.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)[0]
        self.socket = socket.socket(family, kind)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self.socket.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, errno.errorcode.get(code, str(code)))
        except OSError:
            self.socket.close()
            raise

    @property
    def is_open(self) -> bool:
        return self.protocol.state is State.OPEN

    @property
    def has_unsent(self) -> bool:
        return bool(self._outgoing)

    def connected(self) -> None:
        """The connection has come about, or failed: begin with the handshake."""
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, errno.errorcode.get(code, str(code)))
        if self._uri.secure:
            self.socket.settimeout(_CONNECT_TIMEOUT_S)  # the one place that waits: this handshake is short and rare
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=self._uri.host)
            self.socket.setblocking(False)
        self.is_connected = True
        request = self.protocol.connect()
        request.headers["Authorization"] = f"Bearer {self._token}"
        self.protocol.send_request(request)
        self.flush()

    def receive(self) -> list[Response | bytes]:
        """What has come in: the answer to the handshake, whole messages."""
        while True:
            try:
                count = self.socket.recv_into(self._buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if not count:
                self.protocol.receive_eof()
                break
            self.protocol.receive_data(self._buffer[:count])
            if count < _READ and not isinstance(self.socket, ssl.SSLSocket):
                break
        received: list[Response | bytes] = []
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                received.append(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._fragments.append(bytes(event.data))
                if event.fin:
                    received.append(b"".join(self._fragments))
                    self._fragments = []
        self.flush()  # answers to pings
        return received

    def flush(self) -> None:
        """Send what the protocol has to send, as far as the peer takes it."""
        self._outgoing += [memoryview(data) for data in self.protocol.data_to_send() if data]
        while self._outgoing:
            data = self._outgoing[0]
            try:
                sent = self.socket.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            if sent < len(data):
                self._outgoing[0] = data[sent:]
            else:
                self._outgoing.popleft()


class Channel:
    """Connects, keeps connected, and turns frames into messages.

    :attr:`generation` counts the connections that were opened: whoever sends must first say hello on each.
    """

    def __init__(self, url: str, token: str) -> None:
        self._uri = parse_uri(url)
        self._token = token
        self._link: _Link | None = None
        self._back_off_s = _FIRST_BACK_OFF_S
        self._connect_at = 0.0
        self._heard_at = 0.0
        self._beat_at = 0.0
        self.generation = 0
        #: The service has no use for this agent any more.
        self.is_dismissed = False

    @property
    def is_open(self) -> bool:
        return self._link is not None and self._link.is_open

    @property
    def is_congested(self) -> bool:
        """Whether the peer has not yet taken what was sent before."""
        return self._link is not None and self._link.has_unsent

    def fileno(self) -> int:
        """The socket to wait for; -1: none."""
        return self._link.socket.fileno() if self._link else -1

    @property
    def wants_to_write(self) -> bool:
        return self._link is not None and (self._link.has_unsent or not self._link.is_connected)

    def tend(self) -> float:
        """Do what is due by time: connect, give up, keep alive. Returns seconds until it wants to be called again."""
        now = monotonic()
        link = self._link
        if link is None:
            if now < self._connect_at:
                return self._connect_at - now
            try:
                self._link = _Link(self._uri, self._token)
            except OSError as error:
                self._lose(str(error))
                return self._back_off_s
            return _CONNECT_TIMEOUT_S
        if not link.is_open:
            if now >= link.expires_at:
                self._lose("no answer")
                return self._back_off_s
            return link.expires_at - now
        if now - self._heard_at > _SILENCE_S:
            self._lose("silence")
            return self._back_off_s
        if now >= self._beat_at:
            self._beat_at = now + _HEARTBEAT_S
            link.protocol.send_ping(b"")
            self._flush(link)
        return self._beat_at - now

    def send(self, message: FromAgent) -> None:
        """Send a message; it is lost where the channel is not open, which the next hello settles."""
        link = self._link
        if link is not None and link.is_open:
            link.protocol.send_binary(_encode(message))
            self._flush(link)

    def ready(self, events: int) -> list[ToAgent]:
        """The socket is ready (the events of ``select.poll``): carry on. Returns the messages that have come in."""
        link = self._link
        if link is None:
            return []
        messages: list[ToAgent] = []
        try:
            if not link.is_connected:
                link.connected()
            elif events & ~select.POLLOUT:
                self._receive(link, messages)
            else:
                link.flush()
        except (OSError, WebSocketException, msgspec.MsgspecError) as error:
            self._lose(str(error) or type(error).__name__)
        return messages

    def _receive(self, link: _Link, messages: list[ToAgent]) -> None:
        for received in link.receive():
            if isinstance(received, Response):
                self.generation += 1
                self._beat_at = monotonic() + _HEARTBEAT_S
            else:
                messages.append(_decode(received))
                self._back_off_s = _FIRST_BACK_OFF_S  # a service that speaks, not just a server that accepts
        self._heard_at = monotonic()
        if link.protocol.handshake_exc:
            raise link.protocol.handshake_exc
        if link.protocol.close_rcvd:
            self.is_dismissed = link.protocol.close_rcvd.code == CLOSED_FOR_GOOD
        if link.protocol.state in (State.CLOSING, State.CLOSED):
            raise ConnectionError(f"closed by the service ({link.protocol.close_rcvd or 'without a word'})")

    def _flush(self, link: _Link) -> None:
        try:
            link.flush()
        except OSError as error:
            self._lose(str(error))

    def _lose(self, why: str) -> None:
        is_news = self._back_off_s == _FIRST_BACK_OFF_S
        log.log(logging.INFO if is_news else logging.DEBUG, "no channel: %s", why)
        if self._link is not None:
            self._link.socket.close()
        self._link = None
        self._connect_at = monotonic() + self._back_off_s
        self._back_off_s = min(2 * self._back_off_s, _LONGEST_BACK_OFF_S)
