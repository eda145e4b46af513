"""What the agent waits for: its channel, its children, and its threads. One thread runs it all; nothing polls."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")
_CHILD = int(signal.SIGCHLD)


class Loop:
    """Waits and wakes. To be made and used in the main thread, because it listens to SIGCHLD."""

    def __init__(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._watched: tuple[int, int] = (-1, 0)
        self._posted: deque[Callable[[], None]] = deque()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def watch(self, file: int, *, writable: bool) -> None:
        """The one file besides its own that it waits for (-1: none)."""
        events = select.POLLIN | (select.POLLOUT if writable else 0)
        if (file, events) == self._watched:
            return
        with contextlib.suppress(KeyError, OSError, ValueError):
            self._poll.unregister(self._watched[0])
        if file >= 0:
            self._poll.register(file, events)
        self._watched = (file, events)

    def wait(self, timeout_s: float) -> tuple[bool, int]:
        """Wait for something to happen. Returns whether children may have ended, and the events of the watched file.

        What threads have posted is called before it returns.
        """
        children, events = False, 0
        for file, event in self._poll.poll(max(0.0, timeout_s) * 1000):
            if file == self._wake_read:
                children = _CHILD in self._drain()
            else:
                events = event
        while self._posted:
            self._posted.popleft()()
        return children, events

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop call this; for threads."""
        self._posted.append(call)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def in_thread(self, pool: str, threads: int, work: Callable[[], _T], then: Callable[[_T], None]) -> None:
        """Run ``work`` in one of a pool's threads, then ``then`` with its result in the loop.

        ``work`` raises nothing that it can foresee; anything else ends the agent, by way of the loop.
        """
        executor = self._pools.get(pool) or self._pools.setdefault(pool, ThreadPoolExecutor(threads, pool))
        executor.submit(work).add_done_callback(lambda done: self.post(lambda: then(done.result())))

    def _drain(self) -> bytes:
        woken = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._wake_read, 4096):
                woken += piece
        return woken


def _ignore(*_: Any) -> None:
    """SIGCHLD only has to wake the loop, which an ignored signal would not."""
