"""The database: opening it, reading from it, and writing to it in groups."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import create_engine, insert, inspect, select
from sqlalchemy.pool import NullPool

from millpond.common.clock import Clock

from . import schema
from .transaction import Transaction

T = TypeVar("T")
P = ParamSpec("P")

#: Most works that share a transaction.
_GROUP_SIZE = 256


class Store:
    """The rows of one data directory.

    A *work* is a function of a :class:`Transaction`. Reads see what is committed. Writes that come together share a
    transaction and its sync to disk: their statements run on the event loop, for they take microseconds, and a
    thread would have to wait for the interpreter at each of them; the commit, which waits for the disk, runs in a
    thread. A work may be run again, so it changes nothing but rows.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        _bring_up_to_date(path)
        self._writer, self._reader, self._long_reader = (_connect(path) for _ in range(3))
        self._committer = ThreadPoolExecutor(1, "blob-commit")
        self._lister = ThreadPoolExecutor(1, "blob-list")
        self._waiting: list[_Write] = []
        self._writing: asyncio.Task[None] | None = None
        #: Called on the event loop when something to collect has been committed.
        self.on_leftovers: Callable[[], None] = lambda: None

    async def close(self) -> None:
        """Let the writes under way end, and close the database."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        for threads in (self._committer, self._lister):
            threads.shutdown()
        for connection in (self._reader, self._long_reader, self._writer):
            connection.close()

    def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short work on the calling thread, which is the event loop's."""
        return self._read_by(self._reader, work, *args, **kwargs)

    async def read_long(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a work that takes its time (a page of a list) in a thread."""
        return await asyncio.get_running_loop().run_in_executor(
            self._lister, lambda: self._read_by(self._long_reader, work, *args, **kwargs)
        )

    def _read_by(
        self,
        connection: sqlite3.Connection,
        work: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        connection.execute("BEGIN")
        try:
            return work(Transaction(connection, self._clock.now()), *args, **kwargs)
        finally:
            connection.rollback()

    async def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short work, and return what it returned once its changes are safe on disk."""
        result: T = await self._enqueue(lambda transaction: work(transaction, *args, **kwargs), is_long=False)
        return result

    async def write_long(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """:meth:`write` for a work that takes its time (thousands of rows): its statements run in a thread too."""
        result: T = await self._enqueue(lambda transaction: work(transaction, *args, **kwargs), is_long=True)
        return result

    def _enqueue(self, work: Callable[[Transaction], Any], *, is_long: bool) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        write = _Write(work, is_long, loop.create_future())
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
            if any(write.is_long for write in group):
                await in_thread(self._committer, self._run, group)
            else:
                self._run(group)
            if any(write.has_written for write in group):
                await in_thread(self._committer, self._writer.commit)
        except Exception as failure:  # the database's own, such as a full disk: nothing of the group is stored
            for write in group:
                write.forget(failure)
        finally:
            self._writer.rollback()
        for write in group:
            write.answer()
        if any(write.has_leftovers for write in group):
            self.on_leftovers()

    def _run(self, group: list[_Write]) -> None:
        """Run the works in one transaction. One that fails halfway is left out, and the others run again."""
        whole = group
        while True:
            self._writer.execute("BEGIN")
            for write in whole:
                write.run(Transaction(self._writer, self._clock.now()))
            spoilt = [write for write in whole if write.error and write.has_written]
            if not spoilt:
                return
            self._writer.rollback()
            for write in spoilt:
                write.forget(write.error)
            whole = [write for write in whole if write not in spoilt]


class _Write:
    """A work that waits for its turn, and then for its commit."""

    def __init__(self, work: Callable[[Transaction], Any], is_long: bool, done: asyncio.Future[Any]) -> None:
        self.work = work
        self.is_long = is_long
        self.done = done
        self.result: Any = None
        self.error: Exception | None = None
        self.has_written = False
        self.has_leftovers = False

    def run(self, transaction: Transaction) -> None:
        self.error = None
        try:
            self.result = self.work(transaction)
        except Exception as error:
            self.error = error
        self.has_written = transaction.has_written
        self.has_leftovers = transaction.has_leftovers

    def forget(self, error: Exception | None) -> None:
        """Note that nothing of what it did is stored."""
        self.error = error
        self.has_written = self.has_leftovers = False

    def answer(self) -> None:
        if self.done.done():  # whoever waited has been cancelled
            return
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that begins a transaction where it is told to, and that one thread at a time may use."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _bring_up_to_date(path: Path) -> None:
    """Make the tables of a new database, or migrate those of an older one.

    Raises ``sqlite3.Error`` for what is no database, and ``RuntimeError`` for one of a newer version.
    """
    _connect(path).close()  # SQLAlchemy would wrap the error
    engine = create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)
    with engine.begin() as connection:
        if not inspect(connection).has_table(schema.revision.name):
            connection.exec_driver_sql("BEGIN")
            schema.metadata.create_all(connection)
            connection.execute(insert(schema.revision).values(version_num=schema.REVISION))
        current = connection.execute(select(schema.revision.c.version_num)).scalar()
    if current != schema.REVISION:
        from .migrations import upgrade  # Alembic takes longer to import than everything else to start

        upgrade(engine)
