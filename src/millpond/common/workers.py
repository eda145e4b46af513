"""One service as several processes: a first one, and *workers* that are forked from it before it begins.

The first listens. It gives each connection to the process that has the fewest, itself included, and keeps whatever only
one may do; workers ask it for that by a channel (:mod:`millpond.common.channel`). All end together: what one of them
held when it was killed is for the next start to sort out, as after a kill of a single process.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import mmap
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_log = logging.getLogger(__name__)

#: Connections that wait to be accepted.
_BACKLOG: Final = 1024
#: Connections that are accepted before anything else has its turn.
_AT_ONCE: Final = 64
#: Seconds until the next try where the system gives no connection.
_PAUSE_S: Final = 0.5
#: So that a descriptor is not for the programs that a process starts.
_CLOSE_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Counts:
    """How many connections each worker has had and no longer has, in memory that all processes share."""

    def __init__(self, count: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, max(count, 1) * 8)).cast("Q")

    def __getitem__(self, number: int) -> int:
        return self._counts[number]

    def __setitem__(self, number: int, count: int) -> None:
        self._counts[number] = count


@dataclass
class Worker:
    """A worker, as it sees itself."""

    number: int
    channel: socket.socket
    #: Brings connections, one with each byte.
    connections: socket.socket
    ended: Counts
    taken: int = 0

    def tell(self, open_connections: int) -> None:
        """Let the first process know how many connections there are still."""
        self.ended[self.number] = self.taken - open_connections


@dataclass
class WorkerLink:
    """A worker, as the first process sees it."""

    pid: int
    channel: socket.socket
    connections: socket.socket
    #: How many connections it was given.
    given: int = 0


@dataclass
class First:
    """The first process, with its workers."""

    workers: Sequence[WorkerLink]
    ended: Counts
    is_stopping: bool = False
    #: Whether a worker ended by itself, which ends the others as well.
    has_lost_one: bool = False

    def stop_workers(self) -> None:
        """Ask them to stop. They are children that nobody has waited for yet, so their ids are theirs."""
        self.is_stopping = True
        for worker in self.workers:
            os.kill(worker.pid, signal.SIGTERM)

    def lose(self, worker: WorkerLink) -> None:
        """Stop all processes, this one included, where a worker has ended that was not asked to."""
        if self.is_stopping:
            return
        _log.error("the worker with process id %d has ended; all begin anew", worker.pid)
        self.has_lost_one = True
        os.kill(os.getpid(), signal.SIGTERM)

    def end_workers(self) -> None:
        """Kill those that have not stopped, and wait for all."""
        for worker in self.workers:
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
        self.workers = ()


def alone() -> First:
    """A service that is one process."""
    return First([], Counts(0))


def fork_workers(count: int) -> First | Worker:
    """Fork so many workers; returns in each process, as which it is.

    To be called before there is any thread, event loop or database.
    """
    gc.freeze()  # so that no collection writes to what the processes share
    ended = Counts(count)
    links: list[WorkerLink] = []
    for number in range(count):
        (channel, its_channel), (connections, its_connections) = socket.socketpair(), socket.socketpair()
        pid = os.fork()
        if not pid:
            # The ends of the first process, which must be the only one that has them.
            for ours in (channel, connections, *(end for link in links for end in (link.channel, link.connections))):
                ours.close()
            return Worker(number, its_channel, its_connections, ended)
        its_channel.close()
        its_connections.close()
        connections.setblocking(False)
        links.append(WorkerLink(pid, channel, connections))
    return First(links, ended)


class Dealer:
    """Accepts the connections of the first process, and gives them away."""

    def __init__(
        self,
        listener: socket.socket,
        first: First,
        own_count: Callable[[], int],
        serve: Callable[[socket.socket], None],
    ) -> None:
        """``own_count``: how many connections this process has; ``serve``: gives it one more."""
        self._listener = listener
        self._first = first
        self._own_count = own_count
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:  # as where there are no descriptors left
                _log.error("cannot take a connection: %s", failure.strerror)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_S, self._resume)
                return
            self._deal(connection)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _deal(self, connection: socket.socket) -> None:
        fewest, chosen = self._own_count(), None
        for number, worker in enumerate(self._first.workers):
            count = worker.given - self._first.ended[number]
            if count < fewest:
                fewest, chosen = count, worker
        if chosen is not None:
            with suppress(OSError):  # its queue is full, or it is gone
                socket.send_fds(chosen.connections, [b"."], [connection.fileno()])
                chosen.given += 1
                connection.close()
                return
        self._serve(connection)


class Taker:
    """Takes the connections that a worker is given."""

    def __init__(self, worker: Worker, serve: Callable[[socket.socket], None]) -> None:
        self._worker = worker
        self._source = worker.connections
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._source.setblocking(False)
        self._loop.add_reader(self._source, self._take)

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        self._source.close()

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                said, descriptors, _flags, _address = socket.recv_fds(self._source, 1, 1, _CLOSE_ON_EXEC)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                said = b""
            if not said:  # the first process is gone; the channel says so, too
                self._loop.remove_reader(self._source)
                return
            for descriptor in descriptors:
                self._worker.taken += 1
                self._serve(socket.socket(fileno=descriptor))
