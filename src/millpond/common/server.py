"""The HTTP server that both services run in."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from .workers import Dealer, First, Taker, Worker, alone
from .zerocopy import ZeroCopyProtocol

_log = logging.getLogger(__name__)

#: Longest message on a WebSocket, in bytes.
MAX_MESSAGE_SIZE = 16 << 20
#: Seconds that an idle connection is kept; longer than clients keep theirs, so that they rarely meet a closed one.
KEEP_ALIVE_S = 120
#: Seconds that a stop waits for requests under way.
GRACE_S = 2

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def run(
    app: Callable[..., Any],
    sock: socket.socket,
    *,
    certificate: Path | None = None,
    ready: Callable[[], None] | None = None,
    process: First | Worker | None = None,
    websockets: bool = True,
) -> None:
    """Serve an ASGI application on a bound socket until SIGTERM or SIGINT; ``ready`` is called once it accepts.

    With a ``certificate`` (PEM: the private key and the chain) it speaks https. ``process``: which this one is of
    those that serve the application, if it is not the only one; a stop of the first is one of all. Without
    ``websockets`` a request for one is a request like any other.

    A stop closes the listener, lets requests end for ``GRACE_S`` seconds, cancels what is left, runs the
    application's shutdown, and returns. The application must have a lifespan; where its startup fails, ``SystemExit``
    is raised. Responses carry a ``Date``; a ``Server`` header is the application's own. Paths arrive unquoted in
    ``path`` and as sent in ``raw_path``; files are sent as :mod:`millpond.common.zerocopy` says.
    """
    _keep_freed_memory()
    config = uvicorn.Config(
        app,
        http=ZeroCopyProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=certificate,
        ws="auto" if websockets else "none",
        ws_max_size=MAX_MESSAGE_SIZE,
        ws_per_message_deflate=False,  # agents are near; compression would only cost time
        # After a stall of the service the deadline fires before the waiting pong is read, hence so long.
        ws_ping_interval=20,
        ws_ping_timeout=60,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    _Server(config, sock, process or alone(), ready).run(sockets=[])


def _keep_freed_memory() -> None:
    """Make an upload five times as fast where the C library is glibc.

    A read from a socket takes a block of 256 KiB. glibc gets blocks of that size from the kernel one by one and gives
    them back at once, so every page of every read is a page fault. Other C libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 4 << 20)
        mallopt(_M_TRIM_THRESHOLD, 16 << 20)


def _spare_long_lived_objects() -> None:
    """Let the garbage collector pass over what is there from the start, and look at the rest less often.

    A service under load makes and drops many records at a time, hardly any of them in cycles: at its usual pace, the
    collector can take a third of the Batch service's time.
    """
    gc.enable()  # where it was off for the start
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class _Server(uvicorn.Server):
    """uvicorn's server, with connections that come from a dealer instead of a listener of its own."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, process: First | Worker, ready: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._process = process
        self._ready = ready
        self._source: Dealer | Taker
        self._opening: set[asyncio.Task[None]] = set()
        self.server_state.connections = _Connections(self._tell)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _spare_long_lived_objects()
        if isinstance(self._process, First):
            self._source = Dealer(self._listener, self._process, self._count, self._take)
        else:
            self._listener.close()
            self._source = Taker(self._process, self._take)
        if self._ready is not None:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._source.close()
        await super().shutdown(sockets)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._is_open)

    def _is_open(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._tell()

    async def _open(self, connection: socket.socket) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol, connection, ssl=self.config.ssl
            )
        except OSError as failure:  # it is gone already, or does not speak TLS
            _log.debug("a connection does not begin: %s", failure)
            connection.close()

    def _make_protocol(self) -> asyncio.Protocol:
        return ZeroCopyProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
        )

    def _count(self) -> int:
        """How many connections this process has."""
        return len(self.server_state.connections) + len(self._opening)

    def _tell(self) -> None:
        if isinstance(self._process, Worker):
            self._process.tell(self._count())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second SIGINT does not wait. Unlike uvicorn's own, the signal does not end the process after that."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if isinstance(self._process, First):
            self._process.stop_workers()


class _Connections(set[Any]):
    """uvicorn's set of open connections; ``tell`` is called whenever one has left it."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def discard(self, connection: object) -> None:
        super().discard(connection)
        self._tell()
