"""A store in dictionaries: as honest as a real one about transactions, and simple enough to be obviously right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from millpond.batch.model.changes import Changes, Dependency, FileDeletion, PoolSample
from millpond.batch.model.job import Job, JobState
from millpond.batch.model.job_node import JobNode
from millpond.batch.model.keys import task_number
from millpond.batch.model.pool import Node, Pool
from millpond.batch.model.schedule import JobSchedule, JobScheduleState
from millpond.batch.model.statistics import AccountTotals, PoolUsage, UsageInterval
from millpond.batch.model.task import Task, TaskState

_MISSING = object()


class DictArchive:
    """Pools, nodes, jobs and tasks; what was written since the last commit can be rolled back."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.nodes: dict[str, Node] = {}
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, JobSchedule] = {}
        self.tasks: dict[str, dict[str, Task]] = {}
        self.job_nodes: dict[tuple[str, str], JobNode] = {}
        self.documents: dict[tuple[str, str], bytes] = {}
        #: Open dependencies: by job, prerequisite and seq of who waits.
        self.dependencies: dict[Dependency, bool] = {}
        self.samples: dict[tuple[str, int], PoolSample] = {}
        self.pool_usages: dict[str, PoolUsage] = {}
        self.accounts: dict[str, AccountTotals] = {}
        self.usage_intervals: dict[UsageInterval, bool] = {}
        self.file_deletions: list[FileDeletion] = []
        self.reads = 0
        #: Has the changes that were not written yet written.
        self.flush: Callable[[], None] = lambda: None
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._deletions_committed = 0

    # --- writing

    def write(self, changes: Changes) -> None:
        whole: list[tuple[dict[Any, Any], Mapping[Any, Any]]] = [
            (self.pools, changes.pools),
            (self.nodes, changes.nodes),
            (self.jobs, changes.jobs),
            (self.schedules, changes.schedules),
            (self.pool_usages, changes.pool_usages),
            (self.accounts, changes.accounts),
            (self.usage_intervals, dict.fromkeys(changes.usage_intervals, True)),
        ]
        for table, records in whole:
            for key, record in records.items():
                self._put(table, key, record)
        for dependency, is_open in changes.dependencies.items():
            self._put(self.dependencies, dependency, is_open or None)
        for (job_key, task_key), task in changes.tasks.items():
            if task is None:
                self._close_dependencies_of(job_key, task_key)
            self._put(self.tasks.setdefault(job_key, {}), task_key, task)
            if task is None:
                self._put(self.documents, (job_key, task_key), None)
        for pair, record in changes.job_nodes.items():
            self._put(self.job_nodes, pair, record)
        for key_pair, document in changes.documents.items():
            self._put(self.documents, key_pair, document)
        for name in [name for name in self.samples if name[0] in changes.forgotten_samples]:
            self._put(self.samples, name, None)
        for name, sample in changes.samples.items():
            self._put(self.samples, name, sample)
        self.file_deletions.extend(changes.file_deletions)

    def commit(self) -> None:
        self._undo.clear()
        self._deletions_committed = len(self.file_deletions)

    def rollback(self) -> None:
        while self._undo:
            table, key, old = self._undo.pop()
            if old is _MISSING:
                table.pop(key, None)
            else:
                table[key] = old
        del self.file_deletions[self._deletions_committed :]

    def purge(self, job: str) -> None:
        for key in list(self.tasks.get(job, ())):
            self._close_dependencies_of(job, key)
            self._put(self.tasks[job], key, None)
            self._put(self.documents, (job, key), None)
        for pair in [pair for pair in self.job_nodes if pair[0] == job]:
            self._put(self.job_nodes, pair, None)

    def _close_dependencies_of(self, job: str, task: str) -> None:
        known = self.tasks.get(job, {}).get(task)
        for each in [each for each in self.dependencies if known and (each.job, each.seq) == (job, known.seq)]:
            self._put(self.dependencies, each, None)

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((table, key, table.get(key, _MISSING)))
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value

    # --- what the engine reads

    def job(self, job: str) -> Job | None:
        self._before_read()
        return self.jobs.get(job)

    def schedule(self, schedule: str) -> JobSchedule | None:
        self._before_read()
        return self.schedules.get(schedule)

    def jobs_of(self, schedule: str, limit: int) -> list[Job]:
        self._before_read()
        return [job for job in self.jobs.values() if job.schedule == schedule][:limit]

    def task(self, job: str, task: str) -> Task | None:
        self._before_read()
        return self.tasks.get(job, {}).get(task)

    def existing(self, job: str, tasks: Sequence[str]) -> set[str]:
        self._before_read()
        return {key for key in tasks if key in self.tasks.get(job, {})}

    def waiting(self, job: str, after_seq: int, limit: int) -> list[Task]:
        self._before_read()
        return self.all_waiting(job, after_seq)[:limit]

    def satisfying(self, job: str, tasks: Sequence[str]) -> set[str]:
        self._before_read()
        known = self.tasks.get(job, {})
        return {key for key in tasks if key in known and known[key].satisfies_dependents}

    def satisfied_runs(self, job: str, first: int, last: int) -> list[tuple[int, int]]:
        self._before_read()
        satisfying = (task for task in self.tasks.get(job, {}).values() if task.satisfies_dependents)
        numbers = {number for task in satisfying if (number := task_number(task.key)) is not None}
        return [(number, number) for number in sorted(numbers) if first <= number <= last]

    def dependents(self, job: str, prerequisites: Sequence[str], before_seq: int, limit: int) -> list[tuple[str, Task]]:
        self._before_read()
        wanted = set(prerequisites)
        by_seq = {task.seq: task for task in self.tasks.get(job, {}).values()}
        found = [
            (each.prerequisite, by_seq[each.seq])
            for each in self.dependencies
            if each.job == job and each.prerequisite in wanted and each.seq < before_seq and each.seq in by_seq
        ]
        return found[:limit]

    def holding_files(self, job: str) -> Iterable[str]:
        self._before_read()
        return sorted({node for task in self.tasks.get(job, {}).values() for node in task.nodes})

    def _before_read(self) -> None:
        self.reads += 1
        self.flush()

    # --- what tests and a restart read

    def all_waiting(self, job: str, after_seq: int = -1) -> list[Task]:
        waiting = [t for t in self.tasks.get(job, {}).values() if t.is_ready and t.seq > after_seq]
        return sorted(waiting, key=lambda task: task.seq)

    def unfinished_jobs(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state is not JobState.COMPLETED]

    def unfinished_schedules(self) -> list[JobSchedule]:
        return [one for one in self.schedules.values() if one.state is not JobScheduleState.COMPLETED]

    def all_samples(self) -> list[PoolSample]:
        return sorted(self.samples.values(), key=lambda sample: sample.moment)

    def placed(self) -> list[Task]:
        tasks = (task for tasks in self.tasks.values() for task in tasks.values())
        return [task for task in tasks if task.node is not None and task.state is not TaskState.COMPLETED]
