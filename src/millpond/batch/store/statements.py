"""The writer's statements as the driver's own text, made once: SQLAlchemy writes them, but does not stand in the way.

Their parameters are positional, so that rows go to the driver as plain tuples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Dialect,
    Integer,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.elements import CompilerElement

from .schema import (
    INTERVAL_COLUMNS,
    READY,
    SATISFIED_NUMBER,
    TASK_COLUMNS,
    TASK_STATE_COLUMNS,
    accounts,
    chores,
    dependencies,
    job_nodes,
    job_schedules,
    jobs,
    nodes,
    pool_usages,
    pools,
    preparations,
    samples,
    task_documents,
    tasks,
    usage_intervals,
)

#: Most keys in one query; longer lists are asked for in parts.
KEYS_PER_QUERY = 512

#: Said because SQLite's dialect would say it with one more parameter.
_NONE = literal_column("0", Integer)
DEPENDENCY_COLUMNS = tuple(column.name for column in dependencies.columns)


class Statements:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        one_task = tasks.c.job == bindparam("job_"), tasks.c.key == bindparam("key_")
        self.upsert_pools = self._upsert(pools)
        self.upsert_nodes = self._upsert(nodes)
        self.upsert_jobs = self._upsert(jobs)
        self.upsert_schedules = self._upsert(job_schedules)
        self.upsert_pool_usages = self._upsert(pool_usages, "pool")
        self.upsert_accounts = self._upsert(accounts)
        self.insert_usage_intervals = self._text(insert(usage_intervals), INTERVAL_COLUMNS)
        self.upsert_samples = self._upsert(samples, "pool", "moment")
        self.delete_old_samples = self._text(
            delete(samples).where(samples.c.pool == bindparam("pool_"), samples.c.moment <= bindparam("moment_")),
            ("pool_", "moment_"),
        )
        self.upsert_preparations = self._upsert(preparations, "job", "node")
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
        self.delete_dependencies_of = self._text(
            delete(dependencies).where(dependencies.c.dependent.in_(select(tasks.c.place).where(*one_task))),
            ("job_", "key_"),
        )
        self.insert_dependencies = self._text(insert(dependencies), DEPENDENCY_COLUMNS)
        self.delete_dependencies = self._text(
            delete(dependencies).where(*(dependencies.c[name] == bindparam(name) for name in DEPENDENCY_COLUMNS)),
            DEPENDENCY_COLUMNS,
        )
        self.delete_tasks = self._text(delete(tasks).where(*one_task), ("job_", "key_"))
        self.task = self._text(select(tasks).where(*one_task), ("job_", "key_"))
        self.ready = self._text(
            select(tasks)
            .where(READY, tasks.c.place > bindparam("after_"), tasks.c.place < bindparam("end_"))
            .order_by(tasks.c.place)
            .limit(bindparam("limit_"))
            .offset(_NONE),
            ("after_", "end_", "limit_"),
        )
        self.satisfied_runs = self._text(_satisfied_runs(), ("job_", "first_", "last_"))
        #: By name of the keyed statement and number of keys.
        self._by_count: dict[str, dict[int, str]] = {}

    def existing(self, count: int) -> str:
        """Which of ``count`` keys a job's tasks have. Parameters: the job's number, the keys."""
        return self._with_keys(_EXISTING, count)

    def satisfying(self, count: int) -> str:
        """Which of ``count`` keys tasks have that satisfy their dependents. Parameters: the job's number, the keys."""
        return self._with_keys(_SATISFYING, count)

    def stored(self, count: int) -> str:
        """The tasks of a job with ``count`` keys, and their documents. Parameters: the job's number, the keys."""
        return self._with_keys(_STORED, count)

    def dependents(self, count: int) -> str:
        """Who waits for ``count`` prerequisites. Parameters: the place that the dependents lie before, the job's
        number, the prerequisites, the limit."""
        return self._with_keys(_DEPENDENTS, count)

    def _with_keys(self, keyed: _Keyed, count: int) -> str:
        known = self._by_count.setdefault(keyed.name, {})
        if count not in known:
            names = [f"key_{number}" for number in range(count)]
            of_job = keyed.key.table.c.job == bindparam("job_")
            statement = keyed.statement.where(of_job, keyed.key.in_([bindparam(name) for name in names]))
            known[count] = self._text(statement, (*keyed.first, "job_", *names, *keyed.last))
        return known[count]

    def _upsert(self, table: Table, *key: str) -> str:
        """Insert rows, or replace those of the same key: in words that SQLite and PostgreSQL share."""
        key = key or ("key",)
        names = tuple(column.name for column in table.columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        return f"{self._text(insert(table), names)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"

    def _text(self, statement: CompilerElement, parameters: Sequence[str]) -> str:
        compiled = statement.compile(dialect=self._dialect)
        order = getattr(compiled, "positiontup", None)
        if order != list(parameters):
            raise TypeError(f"parameters come as {order}, not as {parameters}")
        return str(compiled)


def _satisfied_runs() -> Select[Any]:
    """First and last of each run of numbers: those that are as far ahead of their rank among all belong together."""
    number = tasks.c.number
    ranked = (
        select(number, (number - func.dense_rank().over(order_by=number)).label("run"))
        .where(SATISFIED_NUMBER, tasks.c.job == bindparam("job_"))
        .where(number >= bindparam("first_"), number <= bindparam("last_"))
        .subquery()
    )
    first = func.min(ranked.c.number)
    return select(first, func.max(ranked.c.number)).group_by(ranked.c.run).order_by(first)


#: A task's columns, then its document.
STORED_TASKS = select(tasks, task_documents.c.document).join(task_documents, task_documents.c.place == tasks.c.place)


class _Keyed(NamedTuple):
    """A statement that will be about some keys of a job."""

    name: str
    statement: Select[Any]
    key: Column[Any]
    #: Its parameters before the job's number, and after the keys.
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


_EXISTING = _Keyed("existing", select(tasks.c.key), tasks.c.key)
_SATISFYING = _Keyed("satisfying", select(tasks.c.key).where(tasks.c.satisfies_dependents), tasks.c.key)
_STORED = _Keyed("stored", STORED_TASKS, tasks.c.key)
_DEPENDENTS = _Keyed(
    "dependents",
    select(tasks, dependencies.c.prerequisite)
    .join(dependencies, dependencies.c.dependent == tasks.c.place)
    .where(dependencies.c.dependent < bindparam("before_"))
    .limit(bindparam("limit_"))
    .offset(_NONE),
    dependencies.c.prerequisite,
    ("before_",),
    ("limit_",),
)


def in_parts(keys: Sequence[str]) -> list[list[str]]:
    """Keys in parts of a few lengths only (powers of two, the last key repeated), so that few statements serve all."""
    parts = []
    for start in range(0, len(keys), KEYS_PER_QUERY):
        part = list(keys[start : start + KEYS_PER_QUERY])
        length = 1 << (len(part) - 1).bit_length()
        parts.append(part + part[-1:] * (length - len(part)))
    return parts
