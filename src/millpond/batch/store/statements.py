"""The writer's statements as the driver's own text, made once: SQLAlchemy writes them, but does not stand in the way.

Their parameters are positional, so that rows go to the driver as plain tuples.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Dialect, Select, Table, bindparam, delete, insert, select, update
from sqlalchemy.sql.elements import CompilerElement

from .schema import (
    TASK_COLUMNS,
    TASK_STATE_COLUMNS,
    chores,
    job_nodes,
    job_schedules,
    jobs,
    nodes,
    pools,
    task_documents,
    tasks,
)

#: Most keys in one query; longer lists are asked for in parts.
KEYS_PER_QUERY = 512


class Statements:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        one_task = tasks.c.job == bindparam("job_"), tasks.c.key == bindparam("key_")
        self.upsert_pools = self._upsert(pools)
        self.upsert_nodes = self._upsert(nodes)
        self.upsert_jobs = self._upsert(jobs)
        self.upsert_schedules = self._upsert(job_schedules)
        self.insert_tasks = self._text(insert(tasks), TASK_COLUMNS)
        self.insert_documents = self._text(insert(task_documents), ("place", "document"))
        self.insert_job_nodes = self._text(insert(job_nodes), ("job", "node"))
        self.insert_chores = self._text(insert(chores), ("id", "node", "job_id", "task_id"))
        self.update_tasks = self._text(
            update(tasks)
            .where(tasks.c.place == bindparam("place_"))
            .values({name: bindparam(name) for name in TASK_STATE_COLUMNS}),
            (*TASK_STATE_COLUMNS, "place_"),
        )
        self.delete_documents = self._text(
            delete(task_documents).where(task_documents.c.place.in_(select(tasks.c.place).where(*one_task))),
            ("job_", "key_"),
        )
        self.delete_tasks = self._text(delete(tasks).where(*one_task), ("job_", "key_"))
        self.task = self._text(select(tasks).where(*one_task), ("job_", "key_"))
        self._existing: dict[int, str] = {}
        self._stored: dict[int, str] = {}

    def existing(self, count: int) -> str:
        """Which of ``count`` keys a job's tasks have. Parameters: the job's number, the keys."""
        if count not in self._existing:
            self._existing[count] = self._with_keys(select(tasks.c.key), count)
        return self._existing[count]

    def stored(self, count: int) -> str:
        """The tasks of a job with ``count`` keys, and their documents. Parameters: the job's number, the keys."""
        if count not in self._stored:
            self._stored[count] = self._with_keys(STORED_TASKS, count)
        return self._stored[count]

    def _with_keys(self, statement: Select[tuple[object, ...]], count: int) -> str:
        names = [f"key_{number}" for number in range(count)]
        keys = tasks.c.key.in_([bindparam(name) for name in names])
        return self._text(statement.where(tasks.c.job == bindparam("job_"), keys), ("job_", *names))

    def _upsert(self, table: Table) -> str:
        """Insert rows, or replace those of the same key: in words that SQLite and PostgreSQL share."""
        names = tuple(column.name for column in table.columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != "key")
        return f"{self._text(insert(table), names)} ON CONFLICT (key) DO UPDATE SET {changes}"

    def _text(self, statement: CompilerElement, parameters: Sequence[str]) -> str:
        compiled = statement.compile(dialect=self._dialect)
        order = getattr(compiled, "positiontup", None)
        if order != list(parameters):
            raise TypeError(f"parameters come as {order}, not as {parameters}")
        return str(compiled)


#: A task's columns, then its document.
STORED_TASKS = select(tasks, task_documents.c.document).join(task_documents, task_documents.c.place == tasks.c.place)


def in_parts(keys: Sequence[str]) -> list[list[str]]:
    """Keys in parts of a few lengths only (powers of two, the last key repeated), so that few statements serve all."""
    parts = []
    for start in range(0, len(keys), KEYS_PER_QUERY):
        part = list(keys[start : start + KEYS_PER_QUERY])
        length = 1 << (len(part) - 1).bit_length()
        parts.append(part + part[-1:] * (length - len(part)))
    return parts
