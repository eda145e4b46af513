"""The one writer of the database, which commits in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from millpond.common.clock import Clock

from .connections import connect
from .transaction import Concern, Transaction

#: Most works that share a transaction.
_GROUP_SIZE = 256


class Work(NamedTuple):
    """A function of a transaction, and what else it is given. It may run again, so it changes nothing but rows."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    #: Whether it takes its time (thousands of rows), so that its statements run in a thread too.
    is_long: bool

    def run(self, transaction: Transaction) -> Any:
        return self.function(transaction, *self.args, **self.kwargs)


class Writes(Protocol):
    """Whatever has works run in the process that writes."""

    def write(self, work: Work) -> Awaitable[Any]:
        """Run a work, and return what it returned once its changes are safe on disk."""
        ...


class Writer:
    """Writes that come together share a transaction and its sync to disk.

    Their statements run on the event loop, for they take microseconds, and a thread would have to wait for the
    interpreter at each of them; the commit, which waits for the disk, runs in a thread.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._connection = connect(path)
        self._committer = ThreadPoolExecutor(1, "blob-commit")
        self._waiting: list[_Write] = []
        self._writing: asyncio.Task[None] | None = None
        self._watchers: dict[Concern, Callable[[], None]] = {}

    async def close(self) -> None:
        """Let the writes under way end, and close the database."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._committer.shutdown()
        self._connection.close()

    def watch(self, concern: Concern, call: Callable[[], None]) -> None:
        """Have ``call`` called on the event loop whenever something has been committed that is of that concern."""
        self._watchers[concern] = call

    def write(self, work: Work) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        write = _Write(work, loop.create_future())
        self._waiting.append(write)
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        return write.done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_GROUP_SIZE], self._waiting[_GROUP_SIZE:]
                await self._write_group(group)
        finally:
            self._writing = None

    async def _write_group(self, group: list[_Write]) -> None:
        in_thread = asyncio.get_running_loop().run_in_executor
        try:
            if any(write.work.is_long for write in group):
                await in_thread(self._committer, self._run, group)
            else:
                self._run(group)
            if any(write.has_written for write in group):
                await in_thread(self._committer, self._connection.commit)
        except Exception as failure:  # the database's own, such as a full disk: nothing of the group is stored
            for write in group:
                write.forget(failure)
        finally:
            self._connection.rollback()
        for write in group:
            write.answer()
        for concern in {concern for write in group for concern in write.concerns} & self._watchers.keys():
            self._watchers[concern]()

    def _run(self, group: list[_Write]) -> None:
        """Run the works in one transaction. One that fails halfway is left out, and the others run again."""
        whole = group
        while True:
            self._connection.execute("BEGIN")
            for write in whole:
                write.run(Transaction(self._connection, self._clock.now()))
            spoilt = [write for write in whole if write.error and write.has_written]
            if not spoilt:
                return
            self._connection.rollback()
            for write in spoilt:
                write.forget(write.error)
            whole = [write for write in whole if write not in spoilt]


class _Write:
    """A work that waits for its turn, and then for its commit."""

    def __init__(self, work: Work, done: asyncio.Future[Any]) -> None:
        self.work = work
        self.done = done
        self.result: Any = None
        self.error: Exception | None = None
        self.has_written = False
        self.concerns: set[Concern] = set()

    def run(self, transaction: Transaction) -> None:
        self.error = None
        try:
            self.result = self.work.run(transaction)
        except Exception as error:
            self.error = error
        self.has_written = transaction.has_written
        self.concerns = transaction.concerns

    def forget(self, error: Exception | None) -> None:
        """Note that nothing of what it did is stored."""
        self.error = error
        self.has_written = False
        self.concerns = set()

    def answer(self) -> None:
        if self.done.done():  # whoever waited has been cancelled
            return
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)
