"""The reading side of the store on an SQL database."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, Connection, Engine, Row, Select, String, Table, func, literal, select

from ..model.job import Counts, Job
from ..model.job_node import JobNode
from ..model.pool import Node, NodeState, Pool
from ..model.schedule import JobSchedule
from ..model.statistics import AccountTotals, JobTotals, PoolUsage, UsageInterval
from . import schema
from .base import FILTERABLE, ContinuationError, NodeCounts, Page, PoolInUse, Query, StoredTask
from .filters import Fields, condition
from .schema import (
    accounts,
    dependencies,
    job_schedules,
    jobs,
    nodes,
    place_of,
    pool_usages,
    pools,
    preparations,
    tasks,
    usage_intervals,
)
from .statements import STORED_TASKS

T = TypeVar("T")


def _fields(kind: str, table: Table) -> Fields:
    """What filters compare: the columns, those with text in lower case (states and results are already)."""
    return {
        name: func.lower(table.c[name]) if type_ is str and not name.endswith(("state", "result")) else table.c[name]
        for name, type_ in FILTERABLE[kind].items()
    }


_POOL_FIELDS = _fields("pools", pools)
_NODE_FIELDS = _fields("nodes", nodes)
_JOB_FIELDS = _fields("jobs", jobs)
_SCHEDULE_FIELDS = _fields("job_schedules", job_schedules)
_JOB_NODE_FIELDS = _fields("job_nodes", preparations)
#: A task's key is its id in lower case, and has an index.
_TASK_FIELDS = {**_fields("tasks", tasks), "id": tasks.c.key}
_COUNTS_FIELDS = {"pool_id": _POOL_FIELDS["id"]}


class _JobCounts(msgspec.Struct):
    """The part of a job's record that holds its counts; the rest is passed over."""

    task_counts: Counts
    slot_counts: Counts


class _JobTotals(msgspec.Struct):
    """The part that holds what the job's tasks have used."""

    totals: JobTotals


class _PastTotals(msgspec.Struct):
    """The part of a job schedule that holds what jobs have used that are gone."""

    past_totals: JobTotals


_decode_past_totals = msgspec.msgpack.Decoder(_PastTotals).decode
_decode_totals = msgspec.msgpack.Decoder(_JobTotals).decode
_decode_counts = msgspec.msgpack.Decoder(_JobCounts).decode


class SqlReader:
    """:class:`~millpond.batch.store.base.Reader` on a pool of connections."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.dispose()

    # --- pools and nodes ---

    def pool(self, key: str) -> Pool | None:
        record = self._record(pools, key)
        return None if record is None else schema.decode_pool(record)

    def pools(self, account: str, query: Query) -> Page[Pool]:
        statement = select(pools.c.key, pools.c.record).where(pools.c.account == account)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, pools.c.key, _POOL_FIELDS)
        return Page([schema.decode_pool(row.record) for row in rows], token)

    def current_nodes(self, pools: Sequence[str]) -> dict[str, tuple[int, int]]:
        counts = {pool: [0, 0] for pool in pools}
        statement = (
            select(nodes.c.pool, nodes.c.is_dedicated, func.count())
            .where(nodes.c.pool.in_(pools))
            .group_by(nodes.c.pool, nodes.c.is_dedicated)
        )
        with self._engine.connect() as connection:
            for pool, is_dedicated, count in connection.execute(statement):
                counts[pool][0 if is_dedicated else 1] = count
        return {pool: (dedicated, low_priority) for pool, (dedicated, low_priority) in counts.items()}

    def node(self, key: str) -> Node | None:
        record = self._record(nodes, key)
        return None if record is None else schema.decode_node(record)

    def nodes(self, pool: str, query: Query) -> Page[Node]:
        statement = select(nodes.c.number, nodes.c.record).where(nodes.c.pool == pool)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, nodes.c.number, _NODE_FIELDS)
        return Page([schema.decode_node(row.record) for row in rows], token)

    def nodes_named(self, account: str, prefix: str, limit: int) -> list[Node]:
        statement = (
            select(nodes.c.record)
            .join(pools, pools.c.key == nodes.c.pool)
            .where(pools.c.account == account, func.lower(nodes.c.id).startswith(prefix.lower(), autoescape=True))
            .order_by(nodes.c.key)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [schema.decode_node(record) for record in connection.execute(statement).scalars()]

    def running_tasks(self, nodes: Sequence[str]) -> dict[str, tuple[int, int]]:
        statement = (
            select(tasks.c.node, func.count(), func.sum(tasks.c.required_slots))
            .where(schema.PLACED, tasks.c.node.in_(nodes), tasks.c.state != "active")
            .group_by(tasks.c.node)
        )
        with self._engine.connect() as connection:
            counts = {node: (count, slots) for node, count, slots in connection.execute(statement)}
            gangs = connection.execute(select(tasks.c.node, tasks.c.gang).where(schema.PLACED_GANGS)).all()
        for primary, gang in gangs:
            # One slot on each of its nodes; the primary's is counted.
            for instance in schema.decode_gang(gang).instances:
                if instance.node != primary:
                    count, slots = counts.get(instance.node, (0, 0))
                    counts[instance.node] = (count + 1, slots + 1)
        return {node: counts.get(node, (0, 0)) for node in nodes}

    def node_counts(self, account: str, query: Query) -> Page[NodeCounts]:
        statement = select(pools.c.key, pools.c.id).where(pools.c.account == account)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, pools.c.key, _COUNTS_FIELDS)
            by_state = connection.execute(
                select(nodes.c.pool, nodes.c.is_dedicated, nodes.c.state, func.count())
                .where(nodes.c.pool.in_([row.key for row in rows]))
                .group_by(nodes.c.pool, nodes.c.is_dedicated, nodes.c.state)
            )
            counts: defaultdict[tuple[str, bool], dict[NodeState, int]] = defaultdict(dict)
            for pool, is_dedicated, state, count in by_state:
                counts[pool, bool(is_dedicated)][NodeState(state)] = count
        items = [
            NodeCounts(row.key, row.id, dedicated=counts[row.key, True], low_priority=counts[row.key, False])
            for row in rows
        ]
        return Page(items, token)

    # --- jobs and tasks ---

    def job(self, key: str) -> Job | None:
        record = self._record(jobs, key)
        return None if record is None else schema.decode_job(record)

    def jobs(self, account: str, query: Query) -> Page[Job]:
        statement = select(jobs.c.key, jobs.c.record).where(jobs.c.account == account)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, jobs.c.key, _JOB_FIELDS)
        return Page([schema.decode_job(row.record) for row in rows], token)

    def schedule(self, key: str) -> JobSchedule | None:
        record = self._record(job_schedules, key)
        return None if record is None else schema.decode_schedule(record)

    def schedules(self, account: str, query: Query) -> Page[JobSchedule]:
        statement = select(job_schedules.c.key, job_schedules.c.record).where(job_schedules.c.account == account)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, job_schedules.c.key, _SCHEDULE_FIELDS)
        return Page([schema.decode_schedule(row.record) for row in rows], token)

    def jobs_of(self, schedule: str, query: Query) -> Page[Job]:
        statement = select(jobs.c.number, jobs.c.record).where(jobs.c.schedule == schedule)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, jobs.c.number, _JOB_FIELDS)
        return Page([schema.decode_job(row.record) for row in rows], token)

    def job_nodes(self, job: str, query: Query) -> Page[JobNode]:
        number = select(jobs.c.number).where(jobs.c.key == job).scalar_subquery()
        statement = select(preparations.c.node, preparations.c.record).where(preparations.c.job == number)
        with self._engine.connect() as connection:
            rows, token = _page(connection, statement, query, preparations.c.node, _JOB_NODE_FIELDS)
        return Page([schema.decode_job_node(row.record) for row in rows], token)

    def task_counts(self, job: str) -> tuple[Counts, Counts] | None:
        record = self._record(jobs, job)
        if record is None:
            return None
        counts = _decode_counts(record)
        return counts.task_counts, counts.slot_counts

    def task(self, job: str, task: str) -> StoredTask | None:
        statement = STORED_TASKS.where(
            tasks.c.job == select(jobs.c.number).where(jobs.c.key == job).scalar_subquery(), tasks.c.key == task
        )
        with self._engine.connect() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else _stored_task(job, row)

    def tasks(self, job: str, query: Query) -> Page[StoredTask]:
        with self._engine.connect() as connection:
            number = connection.execute(select(jobs.c.number).where(jobs.c.key == job)).scalar_one_or_none()
            if number is None:
                return Page([])
            statement = STORED_TASKS.where(
                tasks.c.place >= place_of(number, 0), tasks.c.place < place_of(number + 1, 0)
            )
            rows, token = _page(connection, statement, query, tasks.c.place, _TASK_FIELDS)
        return Page([_stored_task(job, row) for row in rows], token)

    def prerequisites(self, job: str, seq: int, limit: int) -> list[str]:
        with self._engine.connect() as connection:
            number = connection.execute(select(jobs.c.number).where(jobs.c.key == job)).scalar_one_or_none()
            if number is None:
                return []
            statement = select(dependencies.c.prerequisite).where(dependencies.c.dependent == place_of(number, seq))
            found = connection.execute(statement.order_by(dependencies.c.prerequisite).limit(limit))
            return list(found.scalars())

    def ready_before(self, job: str, seq: int, limit: int) -> int:
        with self._engine.connect() as connection:
            number = connection.execute(select(jobs.c.number).where(jobs.c.key == job)).scalar_one_or_none()
            if number is None:
                return 0
            first, end = place_of(number, 0), place_of(number, seq)
            ready = select(tasks.c.place).where(schema.READY, tasks.c.place >= first, tasks.c.place < end).limit(limit)
            return connection.execute(select(func.count()).select_from(ready.subquery())).scalar_one()

    # --- statistics: each in one statement, so that what goes meanwhile is seen once ---

    def pool_usages(self, pools: Sequence[str]) -> dict[str, PoolUsage]:
        statement = select(pool_usages).where(pool_usages.c.pool.in_(pools))
        with self._engine.connect() as connection:
            return {row.pool: schema.decode_pool_usage(row.record) for row in connection.execute(statement)}

    def totals_of_schedules(self, schedules: Sequence[str]) -> dict[str, JobTotals]:
        statement = (
            select(literal(0).label("kind"), job_schedules.c.key.label("schedule"), job_schedules.c.record)
            .where(job_schedules.c.key.in_(schedules))
            .union_all(select(literal(1), jobs.c.schedule, jobs.c.record).where(jobs.c.schedule.in_(schedules)))
        )
        totals: defaultdict[str, JobTotals] = defaultdict(JobTotals)
        with self._engine.connect() as connection:
            for kind, schedule, record in connection.execute(statement):
                part = _decode_totals(record).totals if kind else _decode_past_totals(record).past_totals
                totals[schedule] = totals[schedule].plus(part)
        return totals

    def totals_of_jobs(self, account: str) -> tuple[int | None, JobTotals]:
        statement = (
            select(literal(0).label("creation_time"), accounts.c.record)
            .where(accounts.c.key == account)
            .union_all(select(jobs.c.creation_time, jobs.c.record).where(jobs.c.account == account))
        )
        first: list[int] = []
        totals = JobTotals()
        with self._engine.connect() as connection:
            for creation_time, record in connection.execute(statement):
                if creation_time:
                    first.append(creation_time)
                    totals = totals.plus(_decode_totals(record).totals)
                else:
                    gone = schema.decode_account(record)
                    first += [] if gone.first_job is None else [gone.first_job]
                    totals = totals.plus(gone.jobs)
        return min(first, default=None), totals

    def usage_of_pools(self, account: str) -> tuple[AccountTotals, list[PoolInUse]]:
        nothing = literal(None, String)
        statement = (
            select(nothing.label("id"), nothing.label("vm_size"), literal(0).label("creation_time"), accounts.c.record)
            .where(accounts.c.key == account)
            .union_all(
                select(pools.c.id, pools.c.vm_size, pools.c.creation_time, pool_usages.c.record)
                .join(pool_usages, pool_usages.c.pool == pools.c.key)
                .where(pools.c.account == account)
            )
        )
        gone, there = AccountTotals(), []
        with self._engine.connect() as connection:
            for row in connection.execute(statement):
                if row.id is None:
                    gone = schema.decode_account(row.record)
                else:
                    usage = schema.decode_pool_usage(row.record)
                    there.append(PoolInUse(row.id, row.vm_size, row.creation_time, usage))
        return gone, there

    def usage_intervals(self, account: str, after: int, before: int) -> list[UsageInterval]:
        columns = usage_intervals.c
        statement = (
            select(usage_intervals)
            .where(columns.account == account, columns.start > after, columns.start < before)
            .order_by(columns.start, columns.pool_id, columns.recorded)
        )
        with self._engine.connect() as connection:
            return [UsageInterval(**row._mapping) for row in connection.execute(statement)]

    def _record(self, table: Table, key: str) -> bytes | None:
        with self._engine.connect() as connection:
            return connection.execute(select(table.c.record).where(table.c.key == key)).scalar_one_or_none()


def _stored_task(job: str, row: Sequence[Any]) -> StoredTask:
    return StoredTask(schema.task_from_row(job, row), row[-1])


def _page(
    connection: Connection,
    statement: Select[Any],
    query: Query,
    position: Column[Any],
    fields: Fields,
) -> tuple[list[Row[Any]], str | None]:
    """The rows of a page in the order of ``position``, a column of the statement, and the token of the next."""
    if query.filter is not None:
        statement = statement.where(condition(query.filter, fields))
    if query.after is not None:
        statement = statement.where(position > _position(query.after, position.type.python_type))
    rows = list(connection.execute(statement.order_by(position).limit(query.limit + 1)))
    if len(rows) <= query.limit:
        return rows, None
    rows.pop()
    return rows, _token(getattr(rows[-1], position.name))


def _token(position: str | int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _position(token: str, python_type: type) -> str | int:
    try:
        if "=" in token:
            raise ValueError("padded")
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
        if python_type is not int:
            return text
        if len(text) > 18:
            raise ValueError("not a row's number")
        return int(text)
    except ValueError as error:
        raise ContinuationError(token) from error
