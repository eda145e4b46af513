"""Connections to the database, and its tables as they should be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import create_engine, insert, inspect, select
from sqlalchemy.pool import NullPool

from . import schema


def connect(path: Path) -> sqlite3.Connection:
    """A connection that begins a transaction where it is told to, and that one thread at a time may use."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def bring_up_to_date(path: Path) -> None:
    """Make the tables of a new database, or migrate those of an older one.

    Raises ``sqlite3.Error`` for what is no database, and ``RuntimeError`` for one of a newer version.
    """
    connect(path).close()  # SQLAlchemy would wrap the error
    engine = create_engine("sqlite://", creator=lambda: connect(path), poolclass=NullPool)
    with engine.begin() as connection:
        if not inspect(connection).has_table(schema.revision.name):
            connection.exec_driver_sql("BEGIN")
            schema.metadata.create_all(connection)
            connection.execute(insert(schema.revision).values(version_num=schema.REVISION))
        current = connection.execute(select(schema.revision.c.version_num)).scalar()
    if current != schema.REVISION:
        from .migrations import upgrade  # Alembic takes longer to import than everything else to start

        upgrade(engine)
