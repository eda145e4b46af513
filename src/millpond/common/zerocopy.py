"""uvicorn's HTTP/1.1 protocol, with files sent by the kernel and a limit to the size of headers.

An application that finds ``http.response.zerocopysend`` among its scope's extensions may send, after an
``http.response.start`` with a ``Content-Length``, any number of

    {"type": "http.response.zerocopysend", "file": <descriptor or file object>, "offset": int, "count": int,
     "more_body": bool}

(https://asgi.readthedocs.io/en/latest/extensions.html#zero-copy-send). ``offset`` is where the file stands and
``count`` is what is left of it, unless given; the message is done with the file when ``send`` returns. Without the
extension (TLS, other servers) an application sends the bytes itself.

``millpond.header_names`` among the extensions are the names of the request's headers in the case they were sent in,
which ASGI itself drops. ``millpond.reason`` in an ``http.response.start`` is the reason phrase of the status line;
other servers pass it over.

uvloop has no ``sendfile`` and lets nobody watch the descriptor of its transport. So the file goes to a duplicate of
that descriptor, which the loop may watch, once the transport has written everything that it holds itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: Most bytes of a request line and headers: a URL of 64 KiB and headers of 16 KiB fit several times over.
MAX_HEAD_SIZE = 256 << 10
#: Files up to this size are sent from the event loop; a longer one may have to wait for the disk, so a thread does.
INLINE_SIZE = 128 << 10
#: Most bytes for one call of ``sendfile``, which sends no more than the socket has room for anyway.
SLICE_SIZE = 8 << 20

_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
# Not the loop's own pool: uploads that wait for fsync there would hold up the downloads.
_threads = ThreadPoolExecutor(4, "sendfile")

_NOT_A_PHRASE = re.compile(r"[\x00-\x1f\x7f]+")

#: Headers that are about the connection and its upgrade alone.
_OF_AN_UPGRADE = frozenset({b"connection", b"upgrade", b"http2-settings"})

_Message = MutableMapping[str, Any]


class _WithReason:
    """A transport for the head of a response, whose reason phrase it replaces."""

    def __init__(self, transport: asyncio.Transport, reason: str) -> None:
        self._transport = transport
        self._reason = _NOT_A_PHRASE.sub(" ", reason).encode("latin-1", "replace")

    def write(self, head: bytes) -> None:
        line, _, rest = head.partition(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        self._transport.write(b"%s %s %s\r\n%s" % (version, status, self._reason, rest))


class ZeroCopyProtocol(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_size: int | None = None  # None: not within the head of a request
        self._has_room = asyncio.Event()  # or the connection is over

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._has_room.set()

    def data_received(self, data: bytes) -> None:
        self._piece = data
        super().data_received(data)
        if self._head_size is not None:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD_SIZE and not self.transport.is_closing():
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Begin the request again without its offer of an upgrade, which HTTP lets a server pass over.

        The parser has ended it with its head, so that its body would be lost, or read as the next request. It is
        uvicorn that calls this, where the parser says so.
        """
        reached = cast(httptools.HttpParserUpgrade, sys.exception()).args[0]
        rest = self._piece[reached:]
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, (low, value) in zip(self._header_names, self.headers, strict=True):
            if low not in _OF_AN_UPGRADE:
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def _is_passed_over(self) -> bool:
        """Whether the request offers an upgrade that is not taken."""
        return self.parser.should_upgrade() and self._get_upgrade() is not None and not self._should_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_size = 0
        self._header_names: list[bytes] = []
        extensions: dict[str, object] = {"millpond.header_names": self._header_names}
        if self.scheme == "http":
            extensions["http.response.zerocopysend"] = {}
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_names.append(name)

    def on_headers_complete(self) -> None:
        self._head_size = None
        if self._is_passed_over():
            self.scope["method"] = self.parser.get_method().decode("ascii")
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_passed_over():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        super()._start_asgi_task(cycle, partial(self._run, cycle, app))

    async def _run(
        self,
        cycle: RequestResponseCycle,
        app: Callable[..., Any],
        scope: _Message,
        receive: Callable[..., Any],
        _: object,
    ) -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.zerocopysend":
                await self._send_file(cycle, message)
            elif message.get("millpond.reason"):
                await self._send_start(cycle, message)
            else:
                await cycle.send(message)

        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops and this request took too long: hang up, without a traceback in the log.
            cycle.disconnected = True
            self.transport.close()

    async def _send_start(self, cycle: RequestResponseCycle, message: _Message) -> None:
        """Send the head of a response with a reason phrase of its own, which uvicorn has no way to give."""
        cycle.transport = cast(asyncio.Transport, _WithReason(self.transport, message["millpond.reason"]))
        try:
            await cycle.send(cast(Any, message))
        finally:
            cycle.transport = self.transport

    async def _send_file(self, cycle: RequestResponseCycle, message: _Message) -> None:
        file = message["file"]
        source = file if isinstance(file, int) else file.fileno()
        offset, count = message.get("offset"), message.get("count")
        if offset is None:
            offset = os.lseek(source, 0, os.SEEK_CUR)
        if count is None:
            count = os.fstat(source).st_size - offset
        if not cycle.response_started or cycle.chunked_encoding is not False:
            raise RuntimeError("http.response.zerocopysend follows an http.response.start with a Content-Length")
        if cycle.scope["method"] != "HEAD":
            if count > cycle.expected_content_length:
                raise RuntimeError("Response content longer than Content-Length")
            cycle.expected_content_length -= count
            if not await self._copy_to_socket(cycle, source, offset, count):
                cycle.disconnected = True
                self.transport.abort()
                return
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    async def _copy_to_socket(self, cycle: RequestResponseCycle, source: int, offset: int, count: int) -> bool:
        """Whether the client was there to take it all. Raises ``RuntimeError`` where the file ends too early."""
        if cycle.disconnected or self.transport.is_closing() or not await self._flush():
            return False
        sink = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            while count:
                if cycle.disconnected or self.transport.is_closing():
                    return False
                try:
                    sent = await self._sendfile(sink, source, offset, min(count, SLICE_SIZE))
                except BlockingIOError:
                    await self._until_writable(sink)
                    continue
                except (ConnectionError, TimeoutError):
                    return False
                if not sent:
                    raise RuntimeError(f"file ends {count} bytes before the end of the response")
                offset += sent
                count -= sent
        finally:
            os.close(sink)
        return True

    async def _flush(self) -> bool:
        """Wait until the transport holds nothing; whether it is still open then."""
        self.transport.set_write_buffer_limits(high=0)
        await self.flow.drain()
        if self.transport.is_closing():
            return False
        self.transport.set_write_buffer_limits()
        return True

    async def _sendfile(self, sink: int, source: int, offset: int, count: int) -> int:
        if count <= INLINE_SIZE:
            return os.sendfile(sink, source, offset, count)
        call = self.loop.run_in_executor(_threads, os.sendfile, sink, source, offset, count)
        try:
            return await asyncio.shield(call)
        finally:
            if not call.done():  # cancelled: the descriptors must outlive the call
                await asyncio.wait([call])

    async def _until_writable(self, sink: int) -> None:
        """Wait for room in the socket's buffer, or for the end of the connection.

        A client that has ended its half of the connection ends all of it, which the duplicate does not show.
        """
        self._has_room.clear()
        if self.transport.is_closing():
            return
        self.loop.add_writer(sink, self._has_room.set)
        try:
            await self._has_room.wait()
        finally:
            self.loop.remove_writer(sink)
