"""What every store must do: the suite runs for each backend."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import URL
from tests.contract.records import ACCOUNT, NOW, added, changed, document_of, job, node, pool, schedule, task

from millpond.batch.model.changes import SAMPLES_KEPT, Changes, Dependency, FileDeletion, PoolSample
from millpond.batch.model.job import Counts, Job, JobState
from millpond.batch.model.keys import entity_key, node_key
from millpond.batch.model.pool import AutoScale, Node, NodeState, Pool, StartTaskInfo, StartTaskState
from millpond.batch.model.schedule import JobSchedule, JobScheduleState, Timetable
from millpond.batch.model.statistics import (
    INTERVALS_KEPT,
    AccountTotals,
    JobTotals,
    PoolUsage,
    ResourceTotals,
    UsageInterval,
)
from millpond.batch.model.task import Task, TaskResult, TaskState
from millpond.batch.store.base import (
    FILTERABLE,
    Both,
    Compare,
    ContinuationError,
    Either,
    Filter,
    Not,
    Page,
    PoolInUse,
    Query,
    Reader,
    Snapshot,
    StartsWith,
    StoredTask,
    Writer,
)
from millpond.batch.store.sql import open_store
from millpond.common.durations import UNLIMITED

JOB = entity_key(ACCOUNT, "Job")
SCHEDULE = entity_key(ACCOUNT, "Schedule")
POOL = entity_key(ACCOUNT, "Pool")
NODE = node_key(POOL, "Node")


class Store:
    """A store of one of the backends, which can be closed and opened again."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self.writer: Writer
        self.reader: Reader
        self.open()

    def open(self) -> None:
        self.writer, self.reader = open_store(self._url)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()

    def write(self, *all_changes: Changes) -> None:
        for changes in all_changes:
            self.writer.write(changes)
        self.writer.commit()


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = Store(URL.create(request.param, database=str(tmp_path / "batch.db")))
    yield store
    store.close()


@pytest.fixture
def jobs_store(store: Store) -> Store:
    """A store with one job."""
    store.write(Changes(jobs={JOB: job()}))
    return store


# --- records -----------------------------------------------------------------------------------------------------


def _anything(type_: Any, **fixed: Any) -> st.SearchStrategy[Any]:
    """Values of a type, structs with every field drawn at random, as far as a database can hold them."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        fields = {name: _anything(hint) for name, hint in get_type_hints(type_).items() if name not in fixed}
        return st.builds(type_, **fields, **{name: st.just(value) for name, value in fixed.items()})
    if type_ is int:
        return st.integers(-(2**31), 2**31 - 1)
    members = get_args(type_)
    if get_origin(type_) is dict:
        return st.just({"id": "x", "list": [1, "two", None]})
    if get_origin(type_) is tuple and members[-1] is Ellipsis:
        return st.lists(_anything(members[0]), max_size=3).map(tuple)
    if get_origin(type_) is tuple:
        return st.tuples(*map(_anything, members))
    return st.one_of(*map(_anything, members)) if members else st.from_type(type_)


SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(record=_anything(Pool, key=POOL, account=ACCOUNT))
def test_pool_is_read_as_it_was_written(store: Store, record: Pool) -> None:
    store.write(Changes(pools={POOL: record}))
    assert store.reader.pool(POOL) == record
    assert store.reader.pools(ACCOUNT, Query(10)).items == [record]


@SLOW
@given(record=_anything(Node, key=NODE, pool=POOL))
def test_node_is_read_as_it_was_written(store: Store, record: Node) -> None:
    store.write(Changes(nodes={NODE: record}))
    assert store.reader.node(NODE) == record
    assert store.reader.nodes(POOL, Query(10)).items == [record]


@SLOW
@given(record=_anything(Job, key=JOB, account=ACCOUNT))
def test_job_is_read_as_it_was_written(store: Store, record: Job) -> None:
    store.write(Changes(jobs={JOB: record}))
    assert store.reader.job(JOB) == store.writer.job(JOB) == record
    assert store.reader.jobs(ACCOUNT, Query(10)).items == [record]


@SLOW
@given(record=_anything(JobSchedule, key=SCHEDULE, account=ACCOUNT))
def test_job_schedule_is_read_as_it_was_written(store: Store, record: JobSchedule) -> None:
    store.write(Changes(schedules={SCHEDULE: record}))
    assert store.reader.schedule(SCHEDULE) == store.writer.schedule(SCHEDULE) == record
    assert store.reader.schedules(ACCOUNT, Query(10)).items == [record]


def test_jobs_of_a_schedule_are_found_in_the_order_of_their_making(store: Store) -> None:
    made = [job(f"Schedule:job-{number}", schedule=SCHEDULE) for number in range(1, 12)]
    others = [job(), job("Other:job-1", schedule=entity_key(ACCOUNT, "Other"))]
    store.write(Changes(jobs={each.key: each for each in others}), *(Changes(jobs={each.key: each}) for each in made))
    assert store.writer.jobs_of(SCHEDULE, 3) == made[:3]
    pages = _ids(lambda query: store.reader.jobs_of(SCHEDULE, query), 4)
    assert [name for page in pages for name in page] == [each.id for each in made]
    ten = Compare("id", "eq", "schedule:JOB-10")
    assert store.reader.jobs_of(SCHEDULE, Query(10, ten)).items == [made[9]]
    store.write(Changes(jobs={each.key: None for each in made}))
    assert store.writer.jobs_of(SCHEDULE, 3) == store.reader.jobs_of(SCHEDULE, Query(10)).items == []


_TASKS = _anything(Task, job=JOB, key="task-1", id="Task-1", seq=1, max_wall_clock_time=UNLIMITED)


@SLOW
@given(record=_TASKS, later=_TASKS)
def test_task_is_read_as_it_was_written_and_changed(jobs_store: Store, record: Task, later: Task) -> None:
    fixed = ("creation_time", "exit_conditions", "affinity")
    later = replace(later, **{name: getattr(record, name) for name in fixed})
    jobs_store.write(added(record))
    assert jobs_store.reader.task(JOB, "task-1") == StoredTask(record, document_of(record))
    jobs_store.write(changed(later))
    assert jobs_store.reader.task(JOB, "task-1") == StoredTask(later, document_of(record))
    assert jobs_store.writer.task(JOB, "task-1") == later
    jobs_store.write(Changes(tasks={(JOB, "task-1"): None}))
    assert jobs_store.reader.task(JOB, "task-1") is None


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.reader.pool(POOL) is None
    assert store.reader.node(NODE) is None
    assert store.reader.job(JOB) is None
    assert store.reader.schedule(SCHEDULE) is None
    assert store.reader.jobs_of(SCHEDULE, Query(10)) == Page([])
    assert store.reader.task(JOB, "task-1") is None
    assert store.reader.task_counts(JOB) is None
    assert store.reader.tasks(JOB, Query(10)) == Page([])
    assert store.writer.job(JOB) is None
    assert store.writer.task(JOB, "task-1") is None
    assert store.writer.existing(JOB, ["task-1"]) == set()
    assert store.writer.waiting(JOB, 0, 10) == []
    assert store.writer.stored_tasks([(JOB, "task-1")]) == {}
    assert list(store.writer.holding_files(JOB)) == []
    assert store.writer.purge_tasks(JOB, 10) == 0


def test_removed_records_are_gone(store: Store) -> None:
    store.write(Changes(pools={POOL: pool()}, nodes={NODE: node()}, jobs={JOB: job()}))
    store.write(Changes(schedules={SCHEDULE: schedule()}))
    store.write(Changes(pools={POOL: None}, nodes={NODE: None}, jobs={JOB: None}, schedules={SCHEDULE: None}))
    assert store.reader.schedule(SCHEDULE) is None
    assert store.reader.pool(POOL) is None
    assert store.reader.node(NODE) is None
    assert store.reader.job(JOB) is None


# --- transactions ------------------------------------------------------------------------------------------------


def test_open_transaction_is_seen_by_the_writer_alone(jobs_store: Store) -> None:
    jobs_store.writer.write(added(task(1)))
    assert jobs_store.writer.task(JOB, "task-1") == task(1)
    assert jobs_store.reader.task(JOB, "task-1") is None
    jobs_store.writer.commit()
    assert jobs_store.reader.task(JOB, "task-1") is not None


def test_rollback_undoes_all_since_the_commit(jobs_store: Store) -> None:
    second = entity_key(ACCOUNT, "Second")
    jobs_store.write(added(task(1)))
    jobs_store.writer.write(Changes(jobs={second: job("Second"), JOB: None}))
    jobs_store.writer.write(added(task(1, job_id="Second", node=NODE)))
    jobs_store.writer.write(Changes(file_deletions=[FileDeletion(NODE, "Job", None)]))
    jobs_store.writer.rollback()
    assert jobs_store.reader.job(JOB) == job()
    assert jobs_store.reader.job(second) is None
    assert jobs_store.writer.task(second, "task-1") is None
    assert jobs_store.writer.chores(NODE) == []
    # What the writer remembers of numbers and nodes is undone as well.
    jobs_store.write(Changes(jobs={second: job("Second")}), added(task(1, job_id="Second", node=NODE)))
    assert jobs_store.reader.tasks(second, Query(10)).items[0].task.node == NODE
    assert list(jobs_store.writer.holding_files(second)) == [NODE]
    assert jobs_store.reader.tasks(JOB, Query(10)).items[0].task == task(1)


def test_committed_data_is_there_after_opening_again(jobs_store: Store) -> None:
    jobs_store.write(added(task(1)), Changes(file_deletions=[FileDeletion(NODE, "Job", "Gone")]))
    jobs_store.writer.write(added(task(2)))
    jobs_store.close()
    jobs_store.open()
    assert [each.task for each in jobs_store.reader.tasks(JOB, Query(10)).items] == [task(1)]
    chores = jobs_store.writer.write(Changes(file_deletions=[FileDeletion(NODE, "Job", "Gone too")]))
    assert [chore.id for chore in jobs_store.writer.chores(NODE)] == [1, chores[0].id]


def test_change_of_a_task_that_is_not_stored_is_an_error(jobs_store: Store) -> None:
    with pytest.raises(LookupError):
        jobs_store.writer.write(changed(task(1)))


def test_task_of_a_job_that_is_not_stored_is_an_error(store: Store) -> None:
    with pytest.raises(LookupError):
        store.writer.write(added(task(1)))


# --- what the engine asks for ------------------------------------------------------------------------------------


def test_existing_names_the_keys_that_are_taken(jobs_store: Store) -> None:
    jobs_store.write(added(*(task(seq) for seq in range(1, 1201))))
    wanted = [f"task-{seq}" for seq in range(600, 1800)]
    assert jobs_store.writer.existing(JOB, wanted) == {f"task-{seq}" for seq in range(600, 1201)}
    assert jobs_store.writer.existing(JOB, ["other"]) == set()
    assert jobs_store.writer.existing(JOB, []) == set()


def test_waiting_lists_no_tasks_that_wait_for_others(jobs_store: Store) -> None:
    jobs_store.write(added(*(task(seq, pending_dependencies=seq % 3) for seq in range(7))))
    assert [each.seq for each in jobs_store.writer.waiting(JOB, -1, 10)] == [0, 3, 6]


def _dependencies(*edges: tuple[str, int], job: str = JOB, is_open: bool = True) -> Changes:
    return Changes(dependencies={Dependency(job, prerequisite, seq): is_open for prerequisite, seq in edges})


def _waiting_for(store: Store, *prerequisites: str, job: str = JOB, before: int = 100, limit: int = 100) -> list[Any]:
    found = store.writer.dependents(job, prerequisites, before, limit)
    return sorted((prerequisite, dependent.seq) for prerequisite, dependent in found)


def test_prerequisites_that_are_open_are_told(jobs_store: Store) -> None:
    jobs_store.write(added(*map(task, range(3))), _dependencies(("b", 2), ("a", 2), ("3:1", 2), ("c", 1)))
    assert jobs_store.reader.prerequisites(JOB, 2, 10) == ["3:1", "a", "b"]
    assert jobs_store.reader.prerequisites(JOB, 2, 2) == ["3:1", "a"]
    assert jobs_store.reader.prerequisites(JOB, 0, 10) == jobs_store.reader.prerequisites("a/none", 2, 10) == []


def test_tasks_before_one_are_counted_up_to_a_limit(jobs_store: Store) -> None:
    jobs_store.write(added(*(task(seq, pending_dependencies=int(seq == 1)) for seq in range(6))))
    assert [jobs_store.reader.ready_before(JOB, seq, 3) for seq in range(6)] == [0, 1, 1, 2, 3, 3]
    assert jobs_store.reader.ready_before("a/none", 3, 10) == 0


def test_nodes_are_found_by_the_beginning_of_their_ids(store: Store) -> None:
    nodes: dict[str, Node | None] = {each.key: each for each in (node("Tvm_1"), node("tvm_2"), node("tvmX3"))}
    store.write(Changes(pools={POOL: pool()}, nodes=nodes))
    found = [each.id for each in store.reader.nodes_named(ACCOUNT, "TVM_", 10)]
    assert found == ["Tvm_1", "tvm_2"]
    assert len(store.reader.nodes_named(ACCOUNT, "", 2)) == 2
    assert store.reader.nodes_named("other", "tvm", 10) == []


def test_dependents_are_found_by_what_they_wait_for(jobs_store: Store) -> None:
    other = entity_key(ACCOUNT, "Other")
    jobs_store.write(Changes(jobs={other: job("Other")}), added(*map(task, range(6))), added(task(2, job_id="Other")))
    edges = [("a", 2), ("a", 3), ("b", 3), ("3:1", 4), ("a", 5)]
    jobs_store.write(_dependencies(*edges), _dependencies(("a", 2), job=other))
    assert _waiting_for(jobs_store, "a", "3:1", "c") == [("3:1", 4), ("a", 2), ("a", 3), ("a", 5)]
    assert _waiting_for(jobs_store, "a", before=5) == [("a", 2), ("a", 3)]
    assert len(_waiting_for(jobs_store, *"abcd", limit=2)) == 2
    assert _waiting_for(jobs_store, *map(str, range(2000)), "b") == [("b", 3)]
    assert _waiting_for(jobs_store, "a", job=other) == [("a", 2)]
    jobs_store.write(_dependencies(("a", 3), ("a", 5), is_open=False))
    assert _waiting_for(jobs_store, "a", "b") == [("a", 2), ("b", 3)]


def test_dependencies_go_with_the_task_that_waits_and_with_the_job(jobs_store: Store) -> None:
    jobs_store.write(added(*map(task, range(4))))
    jobs_store.write(_dependencies(("a", 1), ("b", 1), ("a", 2), ("a", 3)))
    jobs_store.write(Changes(tasks={(JOB, "task-1"): None}))
    jobs_store.write(added(task(7, "Task-1")))
    assert _waiting_for(jobs_store, "a", "b") == [("a", 2), ("a", 3)]
    assert jobs_store.writer.purge_tasks(JOB, 100) == 0
    jobs_store.write(added(*map(task, range(4))))
    assert _waiting_for(jobs_store, "a", "b") == []


def test_what_satisfies_dependents_is_found_by_key_and_by_number(jobs_store: Store) -> None:
    names = ["1", "02", "2", "3", "5", "-4", "x", "8", "99999999999"]
    records = [task(seq, name, satisfies_dependents=name != "8") for seq, name in enumerate(names)]
    jobs_store.write(added(*records))
    assert jobs_store.writer.satisfying(JOB, ["1", "2", "x", "8", "nothing"]) == {"1", "2", "x"}
    assert jobs_store.writer.satisfying("nothing", ["1"]) == set()
    assert jobs_store.writer.satisfied_runs(JOB, 0, 10) == [(1, 3), (5, 5)]
    assert jobs_store.writer.satisfied_runs(JOB, -10, 2) == [(-4, -4), (1, 2)]
    assert jobs_store.writer.satisfied_runs(JOB, 6, 10) == []
    assert jobs_store.writer.satisfied_runs("nothing", 0, 10) == []
    jobs_store.write(changed(replace(records[3], satisfies_dependents=False)))
    assert jobs_store.writer.satisfied_runs(JOB, 0, 10) == [(1, 2), (5, 5)]


def test_waiting_lists_tasks_without_a_place_in_order(jobs_store: Store) -> None:
    jobs_store.write(
        Changes(jobs={entity_key(ACCOUNT, "Other"): job("Other")}),
        added(task(0, job_id="Other"), task(1, job_id="Other")),
        added(task(0), task(1), task(2, node=NODE), task(3, state=TaskState.RUNNING, node=NODE), task(4), task(5)),
        added(task(6, state=TaskState.COMPLETED), task(7)),
    )
    assert [each.seq for each in jobs_store.writer.waiting(JOB, -1, 10)] == [0, 1, 4, 5, 7]
    assert [each.seq for each in jobs_store.writer.waiting(JOB, 0, 10)] == [1, 4, 5, 7]
    other = entity_key(ACCOUNT, "Other")
    assert [each.seq for each in jobs_store.writer.waiting(other, -1, 10)] == [0, 1]
    assert [each.seq for each in jobs_store.writer.waiting(JOB, 4, 1)] == [5]
    assert jobs_store.writer.waiting(JOB, 7, 10) == []


def test_stored_tasks_come_with_their_documents(jobs_store: Store) -> None:
    other = entity_key(ACCOUNT, "Other")
    jobs_store.write(
        Changes(jobs={other: job("Other")}), added(task(1), task(2), task(3)), added(task(1, job_id="Other"))
    )
    found = jobs_store.writer.stored_tasks([(JOB, "task-1"), (JOB, "task-3"), (JOB, "none"), (other, "task-1")])
    assert found == {
        (JOB, "task-1"): StoredTask(task(1), document_of(task(1))),
        (JOB, "task-3"): StoredTask(task(3), document_of(task(3))),
        (other, "task-1"): StoredTask(task(1, job_id="Other"), document_of(task(1))),
    }


def test_load_gives_the_working_set(store: Store) -> None:
    done = entity_key(ACCOUNT, "Done")
    placed = [
        task(2, node=NODE),
        task(3, state=TaskState.RUNNING, node=NODE),
        task(4, state=TaskState.PREPARING, node=NODE),
    ]
    store.write(
        Changes(
            pools={POOL: pool()},
            nodes={NODE: node()},
            jobs={JOB: job(), done: job("Done", state=JobState.COMPLETED)},
            schedules={
                SCHEDULE: schedule(),
                done: schedule("Done", state=JobScheduleState.COMPLETED),
            },
        ),
        added(task(1), *placed, task(5, state=TaskState.COMPLETED, node=NODE)),
    )
    assert store.writer.load() == Snapshot(
        pools=[pool()], nodes=[node()], jobs=[job()], schedules=[schedule()], placed=placed, samples=[]
    )


def test_usage_is_read_as_it_was_written(store: Store) -> None:
    usage = PoolUsage(NOW, 2, 1, 4, 5_000_000, 6_000, ResourceTotals(seconds=30.0, cpu=0.5))
    gone = AccountTotals(first_job=7, jobs=JobTotals(succeeded=3), dedicated_core_time=11)
    store.write(
        Changes(
            pools={POOL: pool()},
            pool_usages={POOL: usage},
            accounts={ACCOUNT: gone},
            jobs={JOB: job(schedule=SCHEDULE, totals=JobTotals(succeeded=2, retries=1), creation_time=NOW)},
            schedules={SCHEDULE: schedule(past_totals=JobTotals(succeeded=5))},
        )
    )
    store.close()
    store.open()
    found = store.writer.load()
    assert (found.pool_usages, found.accounts) == ({POOL: usage}, {ACCOUNT: gone})
    assert store.reader.pool_usages([POOL, "other"]) == {POOL: usage}
    assert store.reader.usage_of_pools(ACCOUNT) == (gone, [PoolInUse("Pool", "standard_d2_v3", NOW, usage)])
    assert store.reader.usage_of_pools("bob") == (AccountTotals(), [])
    assert store.reader.totals_of_schedules([SCHEDULE]) == {SCHEDULE: JobTotals(succeeded=7, retries=1)}
    assert store.reader.totals_of_jobs(ACCOUNT) == (7, JobTotals(succeeded=5, retries=1))
    assert store.reader.totals_of_jobs("bob") == (None, JobTotals())
    store.write(Changes(pools={POOL: None}, pool_usages={POOL: None}))
    assert store.writer.load().pool_usages == {}


def test_usage_intervals_are_kept_for_a_month(store: Store) -> None:
    def interval(start: int, recorded: int = 0, account: str = ACCOUNT) -> UsageInterval:
        return UsageInterval(account, "Pool", "standard_d2_v3", start, recorded, 1)

    first, again, other, later = interval(NOW), interval(NOW, 1), interval(NOW, 0, "bob"), interval(NOW + 10)
    store.write(Changes(usage_intervals=[later, again]), Changes(usage_intervals=[first, other]))
    assert store.reader.usage_intervals(ACCOUNT, NOW - 1, NOW + 11) == [first, again, later]
    assert store.reader.usage_intervals(ACCOUNT, NOW, NOW + 10) == []
    newest = interval(NOW + INTERVALS_KEPT + 5)
    store.write(Changes(usage_intervals=[newest]))
    assert store.reader.usage_intervals(ACCOUNT, 0, 2 * NOW) == [later, newest]


def test_samples_are_kept_for_a_day_or_until_the_pool_no_longer_scales(store: Store) -> None:
    other = entity_key(ACCOUNT, "Other")

    def sampled(pool: str, moment: int, value: float) -> Changes:
        return Changes(samples={(pool, moment): PoolSample(pool, moment, {"$ActiveTasks": value, "$CPUPercent": 0.5})})

    store.write(sampled(POOL, NOW, 1), sampled(other, NOW + 1, 2))
    store.write(sampled(POOL, NOW + 2, 3), sampled(POOL, NOW + 2, 4))
    store.close()
    store.open()
    assert [(found.pool, found.values["$ActiveTasks"]) for found in store.writer.load().samples] == [
        (POOL, 1),
        (other, 2),
        (POOL, 4),
    ]
    store.write(sampled(POOL, NOW + SAMPLES_KEPT, 5))
    store.write(Changes(forgotten_samples={other}))
    assert [found.values["$ActiveTasks"] for found in store.writer.load().samples] == [4, 5]


def test_nodes_that_may_hold_files_are_those_a_task_was_placed_on(store: Store) -> None:
    second, third = node_key(POOL, "second"), node_key(POOL, "third")
    store.write(Changes(jobs={JOB: job()}), added(task(1, node=NODE), task(2, node=second), task(3)))
    store.write(changed(task(1), task(3, node=third, state=TaskState.COMPLETED)))
    assert sorted(store.writer.holding_files(JOB)) == [NODE, second, third]
    store.close()
    store.open()
    assert sorted(store.writer.holding_files(JOB)) == [NODE, second, third]
    store.write(Changes(nodes={second: None}), changed(task(1, node=NODE)))
    assert sorted(store.writer.holding_files(JOB)) == [NODE, third]


def test_chores_last_until_done_or_until_their_node_is_gone(store: Store) -> None:
    other = node_key(POOL, "other")
    deletions = [FileDeletion(NODE, "Job", "a"), FileDeletion(other, "Job", None), FileDeletion(NODE, "Job", "b")]
    recorded = store.writer.write(Changes(file_deletions=deletions))
    store.writer.commit()
    assert [chore.deletion for chore in recorded] == deletions
    assert store.writer.chores(NODE) == [recorded[0], recorded[2]]
    store.writer.chore_done(recorded[0].id)
    store.writer.chore_done(12345)
    assert store.writer.chores(NODE) == [recorded[2]]
    store.write(Changes(nodes={other: None}))
    assert store.writer.chores(other) == []
    assert store.writer.chores(NODE) == [recorded[2]]


def test_purge_removes_a_jobs_tasks_in_parts(jobs_store: Store) -> None:
    other = entity_key(ACCOUNT, "Other")
    jobs_store.write(
        Changes(jobs={other: job("Other")}),
        added(*(task(seq) for seq in range(1, 26))),
        added(task(1, job_id="Other")),
    )
    sizes = []
    while jobs_store.writer.purge_tasks(JOB, 10):
        jobs_store.writer.commit()
        sizes.append(len(jobs_store.reader.tasks(JOB, Query(100)).items))
    jobs_store.writer.commit()
    assert sizes == [15, 5]
    assert jobs_store.reader.tasks(JOB, Query(100)).items == []
    assert len(jobs_store.reader.tasks(other, Query(100)).items) == 1


def test_job_added_again_under_its_id_starts_empty(jobs_store: Store) -> None:
    jobs_store.write(added(task(1, node=NODE)))
    assert jobs_store.writer.purge_tasks(JOB, 10) == 0
    jobs_store.write(Changes(jobs={JOB: None}))
    jobs_store.write(Changes(jobs={JOB: job()}))
    assert jobs_store.reader.tasks(JOB, Query(10)).items == []
    assert list(jobs_store.writer.holding_files(JOB)) == []
    jobs_store.write(added(task(1)))
    assert jobs_store.reader.tasks(JOB, Query(10)).items == [StoredTask(task(1), document_of(task(1)))]


# --- counts ------------------------------------------------------------------------------------------------------


def test_nodes_are_counted_by_kind_and_state(store: Store) -> None:
    records = [
        node("a", number=1, state=NodeState.IDLE),
        node("b", number=2, state=NodeState.IDLE),
        node("c", number=3, state=NodeState.RUNNING, is_dedicated=False),
    ]
    other, foreign = entity_key(ACCOUNT, "Other"), entity_key("bob", "Pool")
    store.write(
        Changes(
            pools={POOL: pool(), other: pool("Other"), foreign: pool(account="bob")},
            nodes={each.key: each for each in records},
        )
    )
    assert store.reader.current_nodes([POOL, other]) == {POOL: (2, 1), other: (0, 0)}
    counts = store.reader.node_counts(ACCOUNT, Query(10)).items
    assert [(each.pool, each.pool_id) for each in counts] == [(other, "Other"), (POOL, "Pool")]
    assert counts[1].dedicated == {NodeState.IDLE: 2}
    assert counts[1].low_priority == {NodeState.RUNNING: 1}
    assert counts[0].dedicated == counts[0].low_priority == {}
    only = store.reader.node_counts(ACCOUNT, Query(10, Compare("pool_id", "eq", "pool"))).items
    assert [each.pool for each in only] == [POOL]
    page = store.reader.node_counts(ACCOUNT, Query(1))
    assert [each.pool for each in store.reader.node_counts(ACCOUNT, Query(1, after=page.next)).items] == [POOL]


def test_running_tasks_are_counted_by_node(jobs_store: Store) -> None:
    other = node_key(POOL, "other")
    jobs_store.write(
        added(
            task(1, node=NODE, state=TaskState.RUNNING, required_slots=2),
            task(2, node=NODE, state=TaskState.PREPARING),
            task(3, node=NODE),
            task(4, node=NODE, state=TaskState.COMPLETED),
            task(5),
        )
    )
    assert jobs_store.reader.running_tasks([NODE, other]) == {NODE: (2, 3), other: (0, 0)}


def test_task_counts_are_the_jobs(store: Store) -> None:
    counts, slots = Counts(active=1, running=2, succeeded=3, failed=4), Counts(active=5)
    store.write(Changes(jobs={JOB: job(task_counts=counts, slot_counts=slots)}))
    assert store.reader.task_counts(JOB) == (counts, slots)


# --- pages -------------------------------------------------------------------------------------------------------


def _ids(fetch: Callable[[Query], Page[Any]], limit: int, what: Filter | None = None) -> list[list[str]]:
    """The ids on each page of a list."""
    pages: list[list[str]] = []
    after = None
    while True:
        page = fetch(Query(limit, what, after))
        pages.append([getattr(item, "task", item).id for item in page.items])
        after = page.next
        if after is None:
            return pages
        assert re.fullmatch(r"[A-Za-z0-9_-]+", after)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
def test_pages_cover_a_list_once_and_in_order(store: Store, limit: int) -> None:
    names = ["B", "a", "C", "e", "D"]
    pools = [pool(name) for name in names]
    nodes = [node(name, number=number) for number, name in enumerate(names)]
    jobs = [job(name) for name in names]
    tasks = [task(number + 1, name) for number, name in enumerate(names)]
    store.write(
        Changes(
            pools={each.key: each for each in pools},
            nodes={each.key: each for each in nodes},
            jobs={**{each.key: each for each in jobs}, JOB: replace(job(), account="bob")},
        ),
        added(*tasks),
    )
    for fetch, expected in (
        (lambda query: store.reader.pools(ACCOUNT, query), ["a", "B", "C", "D", "e"]),
        (lambda query: store.reader.nodes(POOL, query), names),
        (lambda query: store.reader.jobs(ACCOUNT, query), ["a", "B", "C", "D", "e"]),
        (lambda query: store.reader.tasks(JOB, query), names),
    ):
        pages = _ids(fetch, limit)
        assert [name for page in pages for name in page] == expected
        assert all(len(page) == limit for page in pages[:-1])


def test_token_stays_good_while_rows_come_and_go(jobs_store: Store) -> None:
    jobs_store.write(added(*(task(seq) for seq in range(1, 7))))
    first = jobs_store.reader.tasks(JOB, Query(3))
    gone: dict[tuple[str, str], Task | None] = {(JOB, f"task-{seq}"): None for seq in (1, 3, 4)}
    jobs_store.write(Changes(tasks=gone), added(task(7)))
    second = jobs_store.reader.tasks(JOB, Query(10, after=first.next))
    assert [each.task.seq for each in second.items] == [5, 6, 7]
    assert second.next is None


@pytest.mark.parametrize("token", ["", "!", "YWJj", "ÅÄÖ", "a" * 1001, "MTEx" * 100, "MTIz=", "-", "//"])
def test_foreign_token_is_refused(jobs_store: Store, token: str) -> None:
    jobs_store.write(added(task(1)))
    with pytest.raises(ContinuationError):
        jobs_store.reader.tasks(JOB, Query(1, after=token))
    with pytest.raises(ContinuationError):
        jobs_store.reader.nodes(POOL, Query(1, after=token))


# --- filters -----------------------------------------------------------------------------------------------------

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
}


def _holds(what: Filter, values: dict[str, Any]) -> bool:
    """What a filter means, said a second time."""
    match what:
        case Compare(field, operator, value):
            mine, other = (each.lower() if isinstance(each, str) else each for each in (values[field], value))
            if mine is None or other is None:
                return {"eq": mine is other, "ne": mine is not other}.get(operator, False)
            return _OPERATORS[operator](mine, other)
        case StartsWith(field, prefix):
            return values[field] is not None and values[field].lower().startswith(prefix.lower())
        case Not(operand):
            return not _holds(operand, values)
        case Both(left, right):
            return _holds(left, values) and _holds(right, values)
        case Either(left, right):
            return _holds(left, values) or _holds(right, values)
    raise AssertionError(what)


def _values(kind: str, record: Any) -> dict[str, Any]:
    """A record's filterable fields."""
    info = getattr(record, "start_task_info", None)
    derived: dict[str, Any] = {
        f"start_task_{name}": getattr(info, name, None)
        for name in ("state", "result", "exit_code", "start_time", "end_time")
    }
    return {name: derived[name] if name in derived else getattr(record, name) for name in FILTERABLE[kind]}


def _filters(kind: str) -> st.SearchStrategy[Filter]:
    words = st.sampled_from(
        ["", "a", "A", "ab", "AB-c", "b%", "b_", "idle", "Active", "running", "success", "ä", "\x7f", "𐀀"]
    )
    numbers = st.sampled_from([NOW - 1, NOW, NOW + 1, -1, 0, 1, 2, 1.5])
    drawn: dict[type, st.SearchStrategy[Any]] = {str: words, int: numbers, bool: st.booleans()}

    def compare(field: str, type_: type) -> st.SearchStrategy[Filter]:
        values = st.none() | drawn.get(type_, numbers)
        operators = ["eq", "ne"] if type_ is bool else list(_OPERATORS)
        return st.builds(Compare, st.just(field), st.sampled_from(operators), values)

    fields = FILTERABLE[kind].items()
    leaves = [compare(*item) for item in fields]
    leaves += [st.builds(StartsWith, st.just(field), words) for field, type_ in fields if type_ is str]
    return st.recursive(
        st.one_of(leaves),
        lambda inner: st.builds(Not, inner) | st.builds(Both, inner, inner) | st.builds(Either, inner, inner),
        max_leaves=6,
    )


def _some_records() -> dict[str, list[Any]]:
    started = StartTaskInfo(state=StartTaskState.RUNNING, start_time=NOW)
    failed = StartTaskInfo(
        state=StartTaskState.COMPLETED, start_time=NOW - 1, end_time=NOW, exit_code=1, result=TaskResult.FAILURE
    )
    return {
        "pools": [
            pool("a", auto_scale=AutoScale(formula="$TargetDedicatedNodes = 1;", evaluation_interval=1)),
            pool("AB-c", vm_size="ab", enable_inter_node_communication=True),
            pool("b_1", creation_time=NOW + 1),
        ],
        "nodes": [
            node("A", number=1),
            node("ab", number=2, state=NodeState.IDLE, start_task_info=started, last_boot_time=NOW),
            node("b-1", number=3, state=NodeState.RUNNING, start_task_info=failed),
        ],
        "jobs": [
            job("a", priority=1),
            job("AB-c", pool_id="ab", state=JobState.COMPLETED, previous_state=JobState.ACTIVE, end_time=NOW + 1),
            job("b_1", priority=-1, previous_state_transition_time=NOW),
        ],
        "job_schedules": [
            schedule("a", timetable=Timetable(do_not_run_until=NOW)),
            schedule("AB-c", state=JobScheduleState.COMPLETED, end_time=NOW + 1),
            schedule("b_1", timetable=Timetable(do_not_run_after=NOW), previous_state=JobScheduleState.DISABLED),
        ],
        "tasks": [
            task(1, "a"),
            task(2, "AB-c", state=TaskState.RUNNING, node=NODE, node_id="ab", pool_id="A", start_time=NOW),
            task(3, "b_1", state=TaskState.COMPLETED, exit_code=0, result=TaskResult.SUCCESS, end_time=NOW),
            task(4, "b1", state=TaskState.COMPLETED, exit_code=1, result=TaskResult.FAILURE, retry_count=2),
        ],
    }


@pytest.mark.parametrize("kind", ["pools", "nodes", "jobs", "job_schedules", "tasks"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_filters_mean_what_they_say(store: Store, kind: str, data: st.DataObject) -> None:
    records = _some_records()
    if not store.reader.pools(ACCOUNT, Query(1)).items:
        keyed = {name: {each.key: each for each in records[name]} for name in records}
        jobs = {**keyed["jobs"], JOB: replace(job(), account="bob")}
        changes = Changes(keyed["pools"], keyed["nodes"], jobs, keyed["job_schedules"])
        store.write(changes, added(*records["tasks"]))
    what = data.draw(_filters(kind))
    fetches: dict[str, Callable[[Query], Page[Any]]] = {
        "pools": lambda query: store.reader.pools(ACCOUNT, query),
        "nodes": lambda query: store.reader.nodes(POOL, query),
        "jobs": lambda query: store.reader.jobs(ACCOUNT, query),
        "job_schedules": lambda query: store.reader.schedules(ACCOUNT, query),
        "tasks": lambda query: store.reader.tasks(JOB, query),
    }
    expected = [each.id for each in records[kind] if _holds(what, _values(kind, each))]
    assert [name for page in _ids(fetches[kind], 2, what) for name in page] == expected


def test_every_filterable_field_is_part_of_a_record() -> None:
    for kind, records in _some_records().items():
        for record in records:
            assert set(_values(kind, record)) == set(FILTERABLE[kind])


def test_sequence_numbers_stay_within_their_job(jobs_store: Store) -> None:
    following = entity_key(ACCOUNT, "Next")
    jobs_store.write(
        Changes(jobs={following: job("Next")}),
        added(task(0), task(2**32 - 1, "last")),
        added(task(0, job_id="Next")),
    )
    for owner, expected in ((JOB, [0, 2**32 - 1]), (following, [0])):
        seqs = [each.task.seq for each in jobs_store.reader.tasks(owner, Query(10)).items]
        assert seqs == expected
        assert all(first < second for first, second in pairwise(seqs))
        assert [each.seq for each in jobs_store.writer.waiting(owner, -1, 10)] == expected


def test_records_are_stored_in_a_form_that_other_versions_can_read() -> None:
    """A record's members are stored by name, so that a later version may add some."""
    from millpond.batch.store.schema import encode

    names = msgspec.msgpack.decode(encode(pool()))
    assert names["id"] == "Pool"
