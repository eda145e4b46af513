"""The tables, and how records become rows.

Pools, nodes, jobs and job schedules are kept whole, as MessagePack, beside the columns that lists are filtered by.
Tasks have a column for every field, because they are written by the hundred thousand; their documents lie in a table
of their own, so that a change of state does not write them again.

A task's row is found by its ``place``: the number of its job in the upper bits and its ``seq`` in the lower, so that
a job's tasks lie together in the order of addition and no index is needed to walk them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text
from sqlalchemy.types import TypeEngine

from ..model.exit_conditions import ExitConditions
from ..model.job import Job
from ..model.job_node import JobNode, JobTaskKind
from ..model.keys import task_number
from ..model.pool import Node, Pool
from ..model.schedule import JobSchedule
from ..model.statistics import AccountTotals, PoolUsage, TaskUsage
from ..model.task import ContainerInfo, Failure, Gang, Task, TaskResult, TaskState, Withdrawal
from .base import FILTERABLE, Moment

#: The newest revision in ``migrations/versions``.
REVISION = "0001"

metadata = MetaData()

#: Text compared and ordered by its bytes, whatever the database's language.
_Text = Text().with_variant(Text(collation="C"), "postgresql")
#: SQLite's row id must be declared INTEGER; it has 64 bits.
_Number = BigInteger().with_variant(Integer(), "sqlite")

_COLUMN_TYPES: dict[type, TypeEngine[Any]] = {str: _Text, int: BigInteger(), Moment: BigInteger(), bool: Boolean()}


def _filter_columns(kind: str) -> list[Column[Any]]:
    return [Column(name, _COLUMN_TYPES[kind_of_value]) for name, kind_of_value in FILTERABLE[kind].items()]


revision = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))

pools = Table(
    "pools",
    metadata,
    Column("key", _Text, primary_key=True),
    Column("account", _Text, nullable=False),
    *_filter_columns("pools"),
    Column("record", LargeBinary, nullable=False),
    Index("pools_by_account", "account", "key"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("key", _Text, primary_key=True),
    Column("pool", _Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("is_dedicated", Boolean, nullable=False),
    *_filter_columns("nodes"),
    Column("record", LargeBinary, nullable=False),
    Index("nodes_by_pool", "pool", "number"),
)

#: Samples of the pools that scale by themselves, by the moments of their periods.
samples = Table(
    "samples",
    metadata,
    Column("pool", _Text, primary_key=True),
    Column("moment", BigInteger, primary_key=True, autoincrement=False),
    Column("sample", LargeBinary, nullable=False),
)

#: What the nodes of pools that exist have come to.
pool_usages = Table(
    "pool_usages",
    metadata,
    Column("pool", _Text, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

#: What the nodes of a pool, which may be gone, came to in an aggregation interval.
usage_intervals = Table(
    "usage_intervals",
    metadata,
    Column("account", _Text, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("pool_id", _Text, primary_key=True),
    Column("recorded", BigInteger, primary_key=True, autoincrement=False),
    Column("vm_size", _Text, nullable=False),
    Column("core_time", BigInteger, nullable=False),
)

#: What pools and jobs have come to that are gone.
accounts = Table(
    "accounts",
    metadata,
    Column("key", _Text, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

#: A job or a job schedule that belongs to the working set.
UNFINISHED = text("state <> 'completed'")
#: A job that a job schedule has made.
SCHEDULED = text("schedule IS NOT NULL")

jobs = Table(
    "jobs",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("key", _Text, nullable=False, unique=True),
    Column("account", _Text, nullable=False),
    Column("schedule", _Text),
    *_filter_columns("jobs"),
    Column("record", LargeBinary, nullable=False),
    Index("jobs_by_account", "account", "key"),
    Index("jobs_by_schedule", "schedule", "number", sqlite_where=SCHEDULED, postgresql_where=SCHEDULED),
    Index("unfinished_jobs", "number", sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
)

job_schedules = Table(
    "job_schedules",
    metadata,
    Column("key", _Text, primary_key=True),
    Column("account", _Text, nullable=False),
    *_filter_columns("job_schedules"),
    Column("record", LargeBinary, nullable=False),
    Index("job_schedules_by_account", "account", "key"),
)

#: Placed ahead, preparing or running: what the working set is rebuilt from, and what runs on a node.
PLACED = text("node IS NOT NULL AND state <> 'completed'")

#: Multi-instance tasks among them, which are on more nodes than the column names.
PLACED_GANGS = text("gang IS NOT NULL AND node IS NOT NULL AND state <> 'completed'")
#: Active, without a place and without open dependencies: what windows are refilled from. (Were it said as
#: ``state = 'active'``, SQLite would rather take the index by state, and walk through all that wait for others.)
READY = text("node IS NULL AND state <> 'completed' AND pending_dependencies = 0")
#: Numbers that ranges of prerequisites need not wait for.
SATISFIED_NUMBER = text("satisfies_dependents AND number IS NOT NULL")

tasks = Table(
    "tasks",
    metadata,
    Column("place", _Number, primary_key=True, autoincrement=False),
    Column("job", BigInteger, nullable=False),
    Column("key", _Text, nullable=False),
    Column("id", _Text, nullable=False),
    Column("creation_time", BigInteger, nullable=False),
    Column("number", Integer),
    Column("exit_conditions", LargeBinary),
    Column("affinity", _Text),
    Column("state", _Text, nullable=False),
    Column("state_transition_time", BigInteger, nullable=False),
    Column("previous_state", _Text),
    Column("previous_state_transition_time", BigInteger),
    Column("last_modified", BigInteger, nullable=False),
    Column("required_slots", Integer, nullable=False),
    Column("max_task_retry_count", Integer, nullable=False),
    Column("max_wall_clock_time", BigInteger, nullable=False),
    Column("retention_time", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node", _Text),
    Column("pool_id", _Text),
    Column("node_id", _Text),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("exit_code", Integer),
    Column("result", _Text),
    Column("failure", LargeBinary),
    Column("retry_count", Integer, nullable=False),
    Column("last_retry_time", BigInteger),
    Column("requeue_count", Integer, nullable=False),
    Column("last_requeue_time", BigInteger),
    Column("withdrawal", _Text),
    Column("pending_dependencies", Integer, nullable=False),
    Column("satisfies_dependents", Boolean, nullable=False),
    Column("gang", LargeBinary),
    Column("container_info", LargeBinary),
    Column("usage", LargeBinary),
    Index("tasks_by_key", "job", "key", unique=True),
    Index("tasks_by_state", "state", "place"),
    Index("placed_tasks", "node", sqlite_where=PLACED, postgresql_where=PLACED),
    Index("placed_gangs", "place", sqlite_where=PLACED_GANGS, postgresql_where=PLACED_GANGS),
    Index("ready_tasks", "place", sqlite_where=READY, postgresql_where=READY),
    Index("satisfied_numbers", "job", "number", sqlite_where=SATISFIED_NUMBER, postgresql_where=SATISFIED_NUMBER),
)

#: The open dependencies of tasks. A prerequisite is the key of a task or the name of a block of numbers.
dependencies = Table(
    "dependencies",
    metadata,
    Column("job", BigInteger, primary_key=True, autoincrement=False),
    Column("prerequisite", _Text, primary_key=True),
    #: Place of the task that waits.
    Column("dependent", _Number, primary_key=True, autoincrement=False),
    Index("dependencies_by_dependent", "dependent"),
)

task_documents = Table(
    "task_documents",
    metadata,
    Column("place", _Number, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
)

#: Where a job's tasks were placed: the nodes that may hold files of it.
job_nodes = Table(
    "job_nodes",
    metadata,
    Column("job", BigInteger, primary_key=True, autoincrement=False),
    Column("node", _Text, primary_key=True),
    Index("job_nodes_by_node", "node"),
)

#: How a job's preparation and release tasks stand on a node, or stood on one that is gone.
preparations = Table(
    "preparations",
    metadata,
    Column("job", BigInteger, primary_key=True, autoincrement=False),
    Column("node", _Text, primary_key=True),
    *_filter_columns("job_nodes"),
    Column("record", LargeBinary, nullable=False),
)

#: File deletions that a node has not done yet.
chores = Table(
    "chores",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("node", _Text, nullable=False),
    Column("job_id", _Text, nullable=False),
    Column("task_id", _Text),
    Index("chores_by_node", "node"),
)


# --- records and rows --------------------------------------------------------------------------------------------

encode = msgspec.msgpack.Encoder().encode
decode_pool = msgspec.msgpack.Decoder(Pool).decode
decode_node = msgspec.msgpack.Decoder(Node).decode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_schedule = msgspec.msgpack.Decoder(JobSchedule).decode
_decode_exit_conditions = msgspec.msgpack.Decoder(ExitConditions).decode
decode_job_node = msgspec.msgpack.Decoder(JobNode).decode
decode_sample = msgspec.msgpack.Decoder(dict[str, float]).decode
decode_gang = msgspec.msgpack.Decoder(Gang).decode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_container_info = msgspec.msgpack.Decoder(ContainerInfo).decode
_decode_usage = msgspec.msgpack.Decoder(TaskUsage).decode
decode_pool_usage = msgspec.msgpack.Decoder(PoolUsage).decode
decode_account = msgspec.msgpack.Decoder(AccountTotals).decode


def pool_row(pool: Pool) -> dict[str, Any]:
    return _row(pools, pool)


def node_row(node: Node) -> dict[str, Any]:
    info = node.start_task_info
    return _row(
        nodes,
        node,
        start_task_state=info and info.state,
        start_task_result=info and info.result,
        start_task_exit_code=info and info.exit_code,
        start_task_start_time=info and info.start_time,
        start_task_end_time=info and info.end_time,
    )


def job_row(job: Job, number: int) -> dict[str, Any]:
    return _row(jobs, job, number=number)


def schedule_row(schedule: JobSchedule) -> dict[str, Any]:
    return _row(job_schedules, schedule)


def preparation_row(record: JobNode, job_number: int) -> dict[str, Any]:
    runs = {JobTaskKind.PREPARATION: record.preparation, JobTaskKind.RELEASE: record.release}
    names = ("state", "start_time", "end_time", "exit_code", "result")
    derived = {f"{kind}_{name}": run and getattr(run, name) for kind, run in runs.items() for name in names}
    return _row(preparations, record, job=job_number, **derived)


def _row(table: Table, record: Pool | Node | Job | JobNode | JobSchedule, **derived: Any) -> dict[str, Any]:
    """The record's row: attributes by the columns' names, but for the derived columns and the record itself."""
    derived["record"] = encode(record)
    row = {c.name: derived[c.name] if c.name in derived else getattr(record, c.name) for c in table.columns}
    return {name: str(value) if isinstance(value, StrEnum) else value for name, value in row.items()}


def place_of(job_number: int, seq: int) -> int:
    """Where a job's task lies; for ``seq`` 0, also where the job's range begins."""
    return (job_number << 32) + seq


#: The columns of ``tasks``: those that never change once the task is added, and those that may.
TASK_COLUMNS = tuple(column.name for column in tasks.columns)
TASK_STATE_COLUMNS = TASK_COLUMNS[8:]

INTERVAL_COLUMNS = tuple(column.name for column in usage_intervals.columns)

_STATES: dict[str, TaskState] = {state.value: state for state in TaskState}
_RESULTS: dict[str, TaskResult] = {result.value: result for result in TaskResult}


def task_row(task: Task, place: int, job_number: int) -> tuple[Any, ...]:
    """Values of ``TASK_COLUMNS``."""
    conditions = None if task.exit_conditions is None else encode(task.exit_conditions)
    fixed = (place, job_number, task.key, task.id, task.creation_time, task_number(task.key), conditions, task.affinity)
    return fixed + task_state(task)


def task_state(task: Task) -> tuple[Any, ...]:
    """Values of ``TASK_STATE_COLUMNS``. Written out, because every change of every task passes here."""
    return (
        task.state.value,
        task.state_transition_time,
        None if task.previous_state is None else task.previous_state.value,
        task.previous_state_transition_time,
        task.last_modified,
        task.required_slots,
        task.max_task_retry_count,
        task.max_wall_clock_time,
        task.retention_time,
        task.attempt,
        task.node,
        task.pool_id,
        task.node_id,
        task.start_time,
        task.end_time,
        task.exit_code,
        None if task.result is None else task.result.value,
        None if task.failure is None else encode(task.failure),
        task.retry_count,
        task.last_retry_time,
        task.requeue_count,
        task.last_requeue_time,
        None if task.withdrawal is None else task.withdrawal.value,
        task.pending_dependencies,
        task.satisfies_dependents,
        None if task.gang is None else encode(task.gang),
        None if task.container_info is None else encode(task.container_info),
        None if task.usage is None else encode(task.usage),
    )


def task_from_row(job: str, row: Sequence[Any]) -> Task:
    """The task of a row that starts with ``TASK_COLUMNS``; ``job`` is its job's key."""
    conditions, previous, result, failure, withdrawal, gang = row[6], row[10], row[24], row[25], row[30], row[33]
    return Task(
        job=job,
        seq=row[0] & 0xFFFFFFFF,
        key=row[2],
        id=row[3],
        creation_time=row[4],
        state=_STATES[row[8]],
        state_transition_time=row[9],
        previous_state=None if previous is None else _STATES[previous],
        previous_state_transition_time=row[11],
        last_modified=row[12],
        required_slots=row[13],
        max_task_retry_count=row[14],
        max_wall_clock_time=row[15],
        retention_time=row[16],
        attempt=row[17],
        node=row[18],
        pool_id=row[19],
        node_id=row[20],
        start_time=row[21],
        end_time=row[22],
        exit_code=row[23],
        result=None if result is None else _RESULTS[result],
        failure=None if failure is None else _decode_failure(failure),
        retry_count=row[26],
        last_retry_time=row[27],
        requeue_count=row[28],
        last_requeue_time=row[29],
        withdrawal=None if withdrawal is None else Withdrawal(withdrawal),
        affinity=row[7],
        exit_conditions=None if conditions is None else _decode_exit_conditions(conditions),
        pending_dependencies=row[31],
        satisfies_dependents=bool(row[32]),
        gang=None if gang is None else decode_gang(gang),
        container_info=None if row[34] is None else _decode_container_info(row[34]),
        usage=None if row[35] is None else _decode_usage(row[35]),
    )
