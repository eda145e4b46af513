"""The store on SQLite: its files, its migrations, its query plans."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, event
from sqlalchemy.dialects import sqlite
from tests.contract.records import ACCOUNT, NOW, added, job, task

from millpond.batch.model.changes import Changes
from millpond.batch.model.keys import entity_key
from millpond.batch.store import migrate, schema
from millpond.batch.store.base import Compare, Query
from millpond.batch.store.dialect import open_engine
from millpond.batch.store.reader import SqlReader
from millpond.batch.store.sql import open_store, prepare
from millpond.batch.store.statements import Statements

JOB = entity_key(ACCOUNT, "Job")


def _url(directory: Path) -> URL:
    return URL.create("sqlite", database=str(directory / "batch.db"))


def _engine(directory: Path) -> Engine:
    return open_engine(_url(directory), writing=True)


def _schema_of(file: Path) -> dict[str, str]:
    """The statements that made a database's tables and indexes, without regard to white space."""
    connection = sqlite3.connect(file)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    finally:
        connection.close()
    return {name: " ".join(sql.split()) for name, sql in rows}


def test_new_database_and_migrated_database_are_the_same(tmp_path: Path) -> None:
    new, migrated = tmp_path / "new", tmp_path / "migrated"
    new.mkdir()
    migrated.mkdir()
    engine = _engine(new)
    prepare(engine)
    engine.dispose()
    engine = _engine(migrated)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()
    made, upgraded = _schema_of(new / "batch.db"), _schema_of(migrated / "batch.db")
    made.pop("alembic_version")
    upgraded.pop("alembic_version")  # Alembic's own, with a constraint that has a name
    assert made == upgraded


def test_newest_revision_is_the_one_that_new_databases_are_stamped_with() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_database_of_an_earlier_revision_is_upgraded_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Engine] = []
    engine = _engine(tmp_path)
    prepare(engine)
    with engine.begin() as connection:
        connection.execute(schema.revision.update().values(version_num="0000"))
    monkeypatch.setattr(migrate, "upgrade", asked.append)
    prepare(engine)
    assert asked == [engine]
    engine.dispose()


def test_alembic_is_not_loaded_for_a_database_that_is_up_to_date(tmp_path: Path) -> None:
    script = (
        "import sys; from sqlalchemy import URL; from millpond.batch.store.sql import open_store\n"
        "for _ in range(2):\n    writer, reader = open_store(URL.create('sqlite', database=sys.argv[1]))\n"
        "    writer.close(); reader.close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "batch.db")], check=False).returncode == 0


_COMMIT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.contract.records import added, job, task
from millpond.batch.model.changes import Changes
from sqlalchemy import URL
from millpond.batch.store.sql import open_store
writer, reader = open_store(URL.create("sqlite", database=sys.argv[1]))
writer.write(Changes(jobs={job().key: job()}))
for number in range(1, 51):
    writer.write(added(task(number)))
    writer.commit()
writer.write(added(task(51)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_committed_outlives_a_killed_process(tmp_path: Path) -> None:
    script = [sys.executable, "-c", _COMMIT_AND_DIE, str(tmp_path / "batch.db")]
    assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
    writer, reader = open_store(_url(tmp_path))
    assert [each.task.seq for each in reader.tasks(JOB, Query(100)).items] == list(range(1, 51))
    writer.close()
    reader.close()


def test_commits_are_synced(tmp_path: Path) -> None:
    engine = _engine(tmp_path)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()


def test_readers_do_not_wait_for_the_writer(tmp_path: Path) -> None:
    writer, reader = open_store(_url(tmp_path))
    writer.write(Changes(jobs={JOB: job()}))
    assert reader.job(JOB) is None
    writer.commit()
    assert reader.job(JOB) == job()
    writer.close()
    reader.close()


_STATEMENTS = Statements(sqlite.dialect(paramstyle="qmark"))


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT * FROM tasks WHERE state = ? AND place >= ? AND place < ? ORDER BY place", "tasks_by_state"),
        ("SELECT * FROM tasks WHERE job = ? AND key >= ? AND key < ?", "tasks_by_key"),
        (f"SELECT * FROM tasks WHERE {schema.PLACED}", "placed_tasks"),
        (f"SELECT node, count(*) FROM tasks WHERE {schema.PLACED} AND node IN (?, ?, ?) GROUP BY node", "placed_tasks"),
        (_STATEMENTS.ready, "ready_tasks"),
        (_STATEMENTS.satisfied_runs, "satisfied_numbers"),
        (_STATEMENTS.satisfying(4), "tasks_by_key"),
        (_STATEMENTS.dependents(4), "sqlite_autoindex_dependencies_1 (job=? AND prerequisite=?"),
        (_STATEMENTS.delete_dependencies_of, "dependencies_by_dependent"),
        (f"SELECT * FROM jobs WHERE {schema.UNFINISHED} ORDER BY number", "unfinished_jobs"),
    ],
)
def test_queries_of_large_tables_have_their_index(tmp_path: Path, statement: str, index: str) -> None:
    engine = _engine(tmp_path)
    prepare(engine)
    with engine.connect() as connection:
        parameters = (NOW,) * statement.count("?")
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert index in " ".join(row.detail for row in plan)
    engine.dispose()


def test_filtered_page_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    """A filter by state among many tasks is answered from the index, not by walking the job."""
    writer, _ = open_store(_url(tmp_path))
    writer.write(Changes(jobs={JOB: job()}))
    writer.write(added(*(task(seq) for seq in range(1, 20_001))))
    writer.commit()
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    engine = open_engine(_url(tmp_path), writing=False)
    event.listen(engine, "connect", lambda connection, _: connection.set_progress_handler(count, 1000))
    reader = SqlReader(engine)
    assert reader.tasks(JOB, Query(10, Compare("exit_code", "eq", 1))).items == []
    walking, steps = steps, 0
    assert reader.tasks(JOB, Query(10, Compare("state", "eq", "running"))).items == []
    assert steps * 20 < walking
    writer.close()
    reader.close()
