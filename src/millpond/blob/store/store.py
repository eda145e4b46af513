"""The rows of one data directory, as a process that serves requests sees them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from millpond.common.clock import Clock

from .connections import connect
from .transaction import Transaction
from .writer import Work, Writes

T = TypeVar("T")
P = ParamSpec("P")


class Store:
    """Reads see what is committed; they are this process's own. Writes go to the one writer that there is.

    A *work* is a function of a :class:`Transaction`. One that writes may be run again, so it changes nothing but rows;
    and it may be run in another process, so it belongs to a module or a class, and its arguments can be pickled.
    """

    def __init__(self, path: Path, clock: Clock, writer: Writes) -> None:
        self._clock = clock
        self._writer = writer
        self._reader, self._long_reader = connect(path), connect(path)
        self._lister = ThreadPoolExecutor(1, "blob-list")

    def close(self) -> None:
        self._lister.shutdown()
        for connection in (self._reader, self._long_reader):
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
        result: T = await self._writer.write(Work(work, args, kwargs, is_long=False))
        return result

    async def write_long(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """:meth:`write` for a work that takes its time (thousands of rows): its statements run in a thread too."""
        result: T = await self._writer.write(Work(work, args, kwargs, is_long=True))
        return result
