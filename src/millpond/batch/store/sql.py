"""The writing side of the store on an SQL database, and how to open both sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import URL, Column, Connection, Engine, delete, func, select

from ..model.changes import SAMPLES_KEPT, Changes, Dependency, FileDeletion, PoolSample
from ..model.job import Job
from ..model.schedule import JobSchedule
from ..model.statistics import INTERVALS_KEPT
from ..model.task import Task
from . import schema
from .base import Chore, Snapshot, StoredTask
from .dialect import open_engine
from .reader import SqlReader
from .schema import (
    chores,
    dependencies,
    job_nodes,
    job_schedules,
    jobs,
    nodes,
    place_of,
    pool_usages,
    pools,
    preparations,
    samples,
    task_documents,
    tasks,
    usage_intervals,
)
from .statements import Statements, in_parts


def open_store(url: URL) -> tuple[SqlWriter, SqlReader]:
    """Both sides of a store; its tables are made, or brought to the newest revision, where that is needed."""
    engine = open_engine(url, writing=True)
    prepare(engine)
    return SqlWriter(engine), SqlReader(open_engine(url, writing=False))


def prepare(engine: Engine) -> None:
    """Bring a database to the newest revision. A new one gets its tables at once; Alembic is for those in between."""
    with engine.begin() as connection:
        known = engine.dialect.has_table(connection, schema.revision.name)
        if not known:
            schema.metadata.create_all(connection)
            connection.execute(schema.revision.insert().values(version_num=schema.REVISION))
            return
        current = connection.execute(select(schema.revision.c.version_num)).scalar_one_or_none()
    if current != schema.REVISION:
        from .migrate import upgrade

        upgrade(engine)


class SqlWriter:
    """:class:`~millpond.batch.store.base.Writer` on one connection; a transaction is open from the first statement
    after a commit on.

    It is the only one that writes, so it may count rows' numbers by itself, and remember what it has read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection = engine.connect()
        self._statements = Statements(engine.dialect)
        self._forget()

    def _forget(self) -> None:
        """Drop what is remembered of the database, which a rollback may have made wrong."""
        #: Numbers of jobs by key.
        self._job_numbers: dict[str, int] = {}
        self._next_job: int | None = None
        self._next_chore: int | None = None
        #: By job number: nodes of which ``job_nodes`` knows already.
        self._job_nodes: dict[int, set[str]] = {}

    # --- transactions ---

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()
        self._forget()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def load(self) -> Snapshot:
        run = self._connection.execute
        keys: dict[int, str] = {}
        records: list[Job] = []
        for row in run(select(jobs).where(schema.UNFINISHED).order_by(jobs.c.number)):
            keys[row.number] = row.key
            records.append(schema.decode_job(row.record))
        self._job_numbers.update((key, number) for number, key in keys.items())
        placed = run(select(tasks).where(schema.PLACED)).all()  # in SQL, the order would cost a walk through the table
        return Snapshot(
            pools=[schema.decode_pool(row[0]) for row in run(select(pools.c.record).order_by(pools.c.key))],
            nodes=[schema.decode_node(row[0]) for row in run(select(nodes.c.record).order_by(nodes.c.key))],
            jobs=records,
            schedules=[
                schema.decode_schedule(row[0])
                for row in run(select(job_schedules.c.record).where(schema.UNFINISHED).order_by(job_schedules.c.key))
            ],
            placed=[
                schema.task_from_row(keys[row.job], row)
                for row in sorted(placed, key=lambda row: row.place)
                if row.job in keys
            ],
            samples=[
                PoolSample(row.pool, row.moment, schema.decode_sample(row.sample))
                for row in run(select(samples).order_by(samples.c.moment))
            ],
            pool_usages={row.pool: schema.decode_pool_usage(row.record) for row in run(select(schema.pool_usages))},
            accounts={row.key: schema.decode_account(row.record) for row in run(select(schema.accounts))},
            job_nodes=[
                schema.decode_job_node(row.record)
                for row in run(
                    select(preparations.c.record)
                    .join(jobs, jobs.c.number == preparations.c.job)
                    .where(schema.UNFINISHED)
                    .order_by(preparations.c.job, preparations.c.node)
                )
            ],
        )

    # --- writing ---

    def write(self, changes: Changes) -> list[Chore]:
        pool_rows = [tuple(schema.pool_row(pool).values()) for pool in changes.pools.values() if pool is not None]
        self._run_many(self._statements.upsert_pools, pool_rows)
        self._remove(pools.c.key, [key for key, pool in changes.pools.items() if pool is None])
        node_rows = [tuple(schema.node_row(node).values()) for node in changes.nodes.values() if node is not None]
        self._run_many(self._statements.upsert_nodes, node_rows)
        self._remove_nodes([key for key, node in changes.nodes.items() if node is None])
        schedules = changes.schedules.items()
        schedule_rows = [tuple(schema.schedule_row(one).values()) for _, one in schedules if one is not None]
        self._run_many(self._statements.upsert_schedules, schedule_rows)
        self._remove(job_schedules.c.key, [key for key, one in schedules if one is None])
        self._write_jobs({key: job for key, job in changes.jobs.items() if job is not None})
        self._write_dependencies(changes.dependencies)
        self._write_tasks(changes)
        rows = [
            tuple(schema.preparation_row(record, self._known_job(job)).values())
            for (job, _), record in changes.job_nodes.items()
        ]
        self._run_many(self._statements.upsert_preparations, rows)
        self._remove_jobs([key for key, job in changes.jobs.items() if job is None])
        self._write_samples(changes)
        self._write_usage(changes)
        return self._record_chores(changes.file_deletions)

    def _remove_nodes(self, keys: Sequence[str]) -> None:
        for column in (nodes.c.key, job_nodes.c.node, chores.c.node):
            self._remove(column, keys)
        for known in self._job_nodes.values():
            known.difference_update(keys)

    def _write_jobs(self, records: dict[str, Job]) -> None:
        rows = []
        for key, job in records.items():
            number = self._job_number(key)
            if number is None:
                number = self._job_numbers[key] = self._new_job_number()
            rows.append(tuple(schema.job_row(job, number).values()))
        self._run_many(self._statements.upsert_jobs, rows)

    def _remove_jobs(self, keys: Sequence[str]) -> None:
        for key in keys:
            number = self._job_number(key)
            if number is not None:
                self._connection.execute(delete(job_nodes).where(job_nodes.c.job == number))
                self._connection.execute(delete(preparations).where(preparations.c.job == number))
                self._connection.execute(delete(jobs).where(jobs.c.number == number))
                del self._job_numbers[key]
                self._job_nodes.pop(number, None)

    def _write_dependencies(self, dependencies: dict[Dependency, bool]) -> None:
        rows: dict[bool, list[tuple[Any, ...]]] = {True: [], False: []}
        for each, is_open in dependencies.items():
            number = self._known_job(each.job)
            rows[is_open].append((number, each.prerequisite, place_of(number, each.seq)))
        self._run_many(self._statements.delete_dependencies, rows[False])
        self._run_many(self._statements.insert_dependencies, rows[True])

    def _write_tasks(self, changes: Changes) -> None:
        added, documents, changed, gone, ran = [], [], [], [], set()
        for (job, key), task in changes.tasks.items():
            number = self._job_numbers.get(job) or self._known_job(job)
            if task is None:
                gone.append((number, key))
                continue
            place = place_of(number, task.seq)
            document = changes.documents.get((job, key))
            if document is None:
                changed.append((*schema.task_state(task), place))
            else:
                added.append(schema.task_row(task, place, number))
                documents.append((place, document))
            if task.node is not None:
                ran.add((number, task.node))
                if task.gang is not None:
                    ran.update((number, node) for node in task.nodes)
        self._run_many(self._statements.delete_documents, gone)
        self._run_many(self._statements.delete_dependencies_of, gone)
        self._run_many(self._statements.delete_tasks, gone)
        self._run_many(self._statements.insert_tasks, added)
        self._run_many(self._statements.insert_documents, documents)
        if self._run_many(self._statements.update_tasks, changed) != len(changed):
            raise LookupError("a task to change is not in the store")
        self._note_nodes(ran)

    def _note_nodes(self, ran: set[tuple[int, str]]) -> None:
        new = []
        for number, node in ran:
            known = self._nodes_of(number)
            if node not in known:
                known.add(node)
                new.append((number, node))
        self._run_many(self._statements.insert_job_nodes, new)

    def _write_samples(self, changes: Changes) -> None:
        """Keep new samples, and none that is so old that nobody looks back as far."""
        for pool in changes.forgotten_samples:
            self._connection.execute(delete(samples).where(samples.c.pool == pool))
        rows = [(pool, moment, schema.encode(sample.values)) for (pool, moment), sample in changes.samples.items()]
        self._run_many(self._statements.upsert_samples, rows)
        for pool, moment in changes.samples:
            self._run(self._statements.delete_old_samples, pool, moment - SAMPLES_KEPT)

    def _write_usage(self, changes: Changes) -> None:
        """Keep what pools have come to, and no interval that is over for so long that nobody asks for it."""
        usages = changes.pool_usages.items()
        rows = [(pool, schema.encode(usage)) for pool, usage in usages if usage is not None]
        self._run_many(self._statements.upsert_pool_usages, rows)
        self._remove(pool_usages.c.pool, [pool for pool, usage in usages if usage is None])
        accounts = [(key, schema.encode(totals)) for key, totals in changes.accounts.items()]
        self._run_many(self._statements.upsert_accounts, accounts)
        over = [tuple(getattr(each, name) for name in schema.INTERVAL_COLUMNS) for each in changes.usage_intervals]
        self._run_many(self._statements.insert_usage_intervals, over)
        if over:
            newest = max(each.start for each in changes.usage_intervals)
            self._connection.execute(delete(usage_intervals).where(usage_intervals.c.start < newest - INTERVALS_KEPT))

    def _record_chores(self, deletions: Iterable[FileDeletion]) -> list[Chore]:
        recorded = []
        for deletion in deletions:
            if self._next_chore is None:
                self._next_chore = self._highest(chores.c.id) + 1
            recorded.append(Chore(self._next_chore, deletion))
            self._next_chore += 1
        rows = [(chore.id, chore.deletion.node, chore.deletion.job_id, chore.deletion.task_id) for chore in recorded]
        self._run_many(self._statements.insert_chores, rows)
        return recorded

    def chore_done(self, chore: int) -> None:
        self._connection.execute(delete(chores).where(chores.c.id == chore))

    def purge_tasks(self, job: str, limit: int) -> int:
        number = self._job_number(job)
        if number is None:
            return 0
        begin, end = place_of(number, 0), place_of(number + 1, 0)
        of_job = select(tasks.c.place).where(tasks.c.place >= begin, tasks.c.place < end).order_by(tasks.c.place)
        left = self._connection.execute(of_job.offset(limit).limit(1)).scalar_one_or_none()
        for column in (tasks.c.place, task_documents.c.place, dependencies.c.dependent):
            part = delete(column.table).where(column >= begin, column < (end if left is None else left))
            self._connection.execute(part)
        return 0 if left is None else 1

    # --- reading ---

    def job(self, job: str) -> Job | None:
        record = self._connection.execute(select(jobs.c.record).where(jobs.c.key == job)).scalar_one_or_none()
        return None if record is None else schema.decode_job(record)

    def schedule(self, schedule: str) -> JobSchedule | None:
        query = select(job_schedules.c.record).where(job_schedules.c.key == schedule)
        record = self._connection.execute(query).scalar_one_or_none()
        return None if record is None else schema.decode_schedule(record)

    def jobs_of(self, schedule: str, limit: int) -> list[Job]:
        query = select(jobs.c.record).where(jobs.c.schedule == schedule).order_by(jobs.c.number).limit(limit)
        return [schema.decode_job(row[0]) for row in self._connection.execute(query)]

    def task(self, job: str, task: str) -> Task | None:
        number = self._job_number(job)
        if number is None:
            return None
        row = self._run(self._statements.task, number, task).one_or_none()
        return None if row is None else schema.task_from_row(job, row)

    def existing(self, job: str, tasks: Sequence[str]) -> set[str]:
        number = self._job_number(job)
        if number is None:
            return set()
        found: set[str] = set()
        for keys in in_parts(tasks):
            found.update(row[0] for row in self._run(self._statements.existing(len(keys)), number, *keys))
        return found

    def waiting(self, job: str, after_seq: int, limit: int) -> list[Task]:
        number = self._job_number(job)
        if number is None:
            return []
        rows = self._run(self._statements.ready, place_of(number, after_seq), place_of(number + 1, 0), limit)
        return [schema.task_from_row(job, row) for row in rows.all()]

    def satisfying(self, job: str, tasks: Sequence[str]) -> set[str]:
        number = self._job_number(job)
        if number is None:
            return set()
        found: set[str] = set()
        for keys in in_parts(tasks):
            found.update(row[0] for row in self._run(self._statements.satisfying(len(keys)), number, *keys))
        return found

    def satisfied_runs(self, job: str, first: int, last: int) -> list[tuple[int, int]]:
        number = self._job_number(job)
        rows = () if number is None else self._run(self._statements.satisfied_runs, number, first, last)
        return [(row[0], row[1]) for row in rows]

    def dependents(self, job: str, prerequisites: Sequence[str], before_seq: int, limit: int) -> list[tuple[str, Task]]:
        number = self._job_number(job)
        if number is None:
            return []
        found: list[tuple[str, Task]] = []
        for keys in in_parts(prerequisites):
            statement = self._statements.dependents(len(keys))
            rows = self._run(statement, place_of(number, before_seq), number, *keys, limit - len(found)).all()
            found += [(row[-1], schema.task_from_row(job, row)) for row in rows]
        return found

    def holding_files(self, job: str) -> Iterable[str]:
        number = self._job_number(job)
        return () if number is None else tuple(self._nodes_of(number))

    def chores(self, node: str) -> list[Chore]:
        rows = self._connection.execute(select(chores).where(chores.c.node == node).order_by(chores.c.id))
        return [Chore(row.id, FileDeletion(row.node, row.job_id, row.task_id)) for row in rows]

    def stored_tasks(self, tasks: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StoredTask]:
        wanted: defaultdict[str, list[str]] = defaultdict(list)
        for job, task in tasks:
            wanted[job].append(task)
        found = {}
        for job, task_keys in wanted.items():
            number = self._job_number(job)
            for keys in in_parts(task_keys) if number is not None else ():
                for row in self._run(self._statements.stored(len(keys)), number, *keys).all():
                    stored = StoredTask(schema.task_from_row(job, row), row[-1])
                    found[job, stored.task.key] = stored
        return found

    # --- what it remembers ---

    def _job_number(self, job: str) -> int | None:
        number = self._job_numbers.get(job)
        if number is None:
            number = self._connection.execute(select(jobs.c.number).where(jobs.c.key == job)).scalar_one_or_none()
            if number is not None:
                self._job_numbers[job] = number
        return number

    def _known_job(self, job: str) -> int:
        number = self._job_number(job)
        if number is None:
            raise LookupError(f"a task's job is not in the store: {job}")
        return number

    def _new_job_number(self) -> int:
        if self._next_job is None:
            self._next_job = self._highest(jobs.c.number) + 1
        self._next_job += 1
        return self._next_job - 1

    def _nodes_of(self, job_number: int) -> set[str]:
        if job_number not in self._job_nodes:
            rows = self._connection.execute(select(job_nodes.c.node).where(job_nodes.c.job == job_number))
            self._job_nodes[job_number] = {row[0] for row in rows}
        return self._job_nodes[job_number]

    def _highest(self, column: Column[Any]) -> int:
        return int(self._connection.execute(select(func.coalesce(func.max(column), 0))).scalar_one())

    # --- statements ---

    def _run(self, statement: str, *parameters: Any) -> Any:
        return self._connection.exec_driver_sql(statement, parameters)

    def _run_many(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        """Run a statement for each row; returns how many rows of the table it touched."""
        return self._connection.exec_driver_sql(statement, rows).rowcount if rows else 0

    def _remove(self, column: Column[Any], values: Sequence[str]) -> None:
        for value in values:
            self._connection.execute(delete(column.table).where(column == value))
