"""What differs between databases: how to connect, and the statements for speed that SQLAlchemy does not write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool, StaticPool


def open_engine(url: URL, *, writing: bool) -> Engine:
    """An engine for the writer (one connection) or for readers (many). The database is made where it is missing."""
    if url.get_backend_name() != "sqlite":
        raise ValueError(f"no such store: {url.get_backend_name()}")
    return _open_sqlite(url, writing=writing)


def _open_sqlite(url: URL, *, writing: bool) -> Engine:
    """SQLite with a write-ahead log: readers see what is committed and never wait for the writer, nor it for them.

    ``synchronous=FULL`` syncs the log at every commit. Python's own handling of transactions is switched off, so
    that a transaction begins where SQLAlchemy says so, the writer's as a writing one at once.
    """
    engine = create_engine(
        url,
        poolclass=StaticPool if writing else QueuePool,
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 30, "cached_statements": 512},
        **({} if writing else {"pool_size": 16, "max_overflow": -1}),
    )

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        if writing:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA cache_size=-65536")
        else:
            cursor.execute("PRAGMA query_only=ON")
            cursor.execute("PRAGMA cache_size=-8192")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine
