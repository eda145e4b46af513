"""Ending, from the loop, what a thread waits for."""

from __future__ import annotations

import contextlib
import socket
import threading


class CancelledError(Exception):
    """The task was ended meanwhile."""


class Cancellation:
    """Set once, from any thread; then waits on the sockets that were entrusted to it end at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._sockets: list[socket.socket] = []

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()
        for connection in self._sockets:
            _interrupt(connection)

    def wait(self, timeout_s: float) -> bool:
        """Wait for it, for so long at most. Returns whether it is set."""
        return self._event.wait(timeout_s)

    def covers(self, connection: socket.socket) -> None:
        """Have waits on this socket end with the cancellation."""
        self._sockets.append(connection)
        if self._event.is_set():
            _interrupt(connection)


def _interrupt(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
