"""The HTTP server that both services run in."""

from __future__ import annotations

import ctypes
import gc
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from .zerocopy import ZeroCopyProtocol

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
) -> None:
    """Serve an ASGI application on a bound socket until SIGTERM or SIGINT; ``ready`` is called once it accepts.

    With a ``certificate`` (PEM: the private key and the chain) it speaks https.

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
        ws_max_size=MAX_MESSAGE_SIZE,
        ws_per_message_deflate=False,  # agents are near; compression would only cost time
        # After a stall of the service the deadline fires before the waiting pong is read, hence so long.
        ws_ping_interval=20,
        ws_ping_timeout=60,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    _Server(config, ready).run(sockets=[sock])


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
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _spare_long_lived_objects()
        if self._ready is not None:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second SIGINT does not wait. Unlike uvicorn's own, the signal does not end the process after that."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
