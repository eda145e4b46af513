"""The processes of the Blob service: the first, which alone writes, and its workers, which have it write for them.

Every process answers requests, reads rows by itself, and writes and reads files. Only the first changes rows, collects
garbage and copies in the background. So there is one order of all changes, and one sync to disk for those that come
together.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from millpond.common.channel import Channel
from millpond.common.clock import Clock
from millpond.common.workers import First, Worker

from .collector import Collector
from .content import ContentStore
from .copier import Copier
from .remote import Remote
from .store import Store, Work, Writer, bring_up_to_date

_DATABASE = "blob.db"
#: Seconds that a stop waits for workers, which have as long as the server gives requests, and a little more.
_STOP_S = 3


class Parts(NamedTuple):
    """What requests need, in any process."""

    store: Store
    content: ContentStore
    remote: Remote


class Process(Protocol):
    async def open(self) -> Parts:
        """Begin. Raises ``OSError``, ``sqlite3.Error`` or ``RuntimeError`` where the data cannot be used."""
        ...

    async def close(self) -> None: ...


class _Hello(NamedTuple):
    """Asks whether the data directory is ready for workers."""


class _InUse(NamedTuple):
    """Asks a worker which of these files it is sending."""

    files: list[str]


class FirstProcess:
    def __init__(self, data: Path, clock: Clock, first: First) -> None:
        self._data = data
        self._clock = clock
        self._first = first
        self._channels: list[Channel] = []
        self._parts: Parts
        self._writer: Writer
        self._collector: Collector
        self._copier: Copier

    async def open(self) -> Parts:
        content = ContentStore(self._data, self._clock)
        bring_up_to_date(self._data / _DATABASE)
        self._writer = Writer(self._data / _DATABASE, self._clock)
        store = Store(self._data / _DATABASE, self._clock, self._writer)
        self._parts = Parts(store, content, Remote())
        self._copier = Copier(store, self._writer, content, self._clock, self._parts.remote)
        self._collector = Collector(store, self._writer, content, self._clock, self._in_use)
        self._collector.recover()
        self._collector.start()
        self._copier.look()
        for worker in self._first.workers:
            channel = Channel(self._answer, partial(self._first.lose, worker))
            await channel.open(worker.channel)
            self._channels.append(channel)
        return self._parts

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                for channel in self._channels:
                    await channel.has_ended.wait()
        self._first.end_workers()
        await self._copier.stop()
        self._parts.remote.close()
        await self._collector.stop()
        await self._writer.close()
        self._parts.store.close()
        self._parts.content.close()

    def _answer(self, question: Any) -> asyncio.Future[Any]:
        return self._writer.write(question) if isinstance(question, Work) else _done(None)

    async def _in_use(self, files: Sequence[str]) -> set[str]:
        used = self._parts.content.pinned_of(files)
        for channel in self._channels:
            try:
                used |= await channel.ask(_InUse(list(files)))
            except ConnectionError:
                continue  # who has ended uses nothing
        return used


class WorkerProcess:
    def __init__(self, data: Path, clock: Clock, worker: Worker) -> None:
        self._data = data
        self._clock = clock
        self._worker = worker
        self._channel = Channel(self._answer, self._has_lost_the_first)
        self._is_closing = False
        self._content: ContentStore
        self._parts: Parts

    async def open(self) -> Parts:
        self._content = ContentStore(
            self._data, self._clock
        )  # first: from the hello on, the first process asks about it
        await self._channel.open(self._worker.channel)
        await self._channel.ask(_Hello())
        self._parts = Parts(Store(self._data / _DATABASE, self._clock, self), self._content, Remote())
        return self._parts

    async def close(self) -> None:
        self._is_closing = True
        self._parts.remote.close()
        self._parts.store.close()
        self._parts.content.close()
        self._channel.close()

    def write(self, work: Work) -> Awaitable[Any]:
        """Have the first process run it, with those of all others that come together."""
        return self._channel.ask(work)

    def _answer(self, question: _InUse) -> asyncio.Future[Any]:
        return _done(self._content.pinned_of(question.files))

    def _has_lost_the_first(self) -> None:
        if not self._is_closing:
            os._exit(1)  # at once: the next first one must not find anybody at work on its files


def _done(result: object) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
