from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.client import make_task
from tests.unit.engine.bench import Bench

from millpond.batch.engine import dependencies
from millpond.batch.engine.messages import (
    DependentsDue,
    JobDisableRequested,
    JobEnableRequested,
    JobTerminateRequested,
    Prerequisites,
    RaiseAt,
    TaskDeleteRequested,
    TaskReactivateRequested,
    TasksAddRequested,
    TaskTerminateRequested,
)
from millpond.batch.engine.number_blocks import (
    block_named,
    blocks_between,
    blocks_missing,
    blocks_with,
    blocks_without,
    name_of,
)
from millpond.batch.model.exit_conditions import DependencyAction, ExitConditions, ExitOptions
from millpond.batch.model.job import DisableTasks, JobState, OnAllTasksComplete
from millpond.batch.model.keys import task_number
from millpond.batch.model.task import TaskState
from millpond.common.errors import ServiceError

SATISFIED_ANYWAY = ExitConditions(default=ExitOptions(dependency_action=DependencyAction.SATISFY))


def bench_with_job(nodes: int = 1, slots: int = 8, **fields: Any) -> Bench:
    bench = Bench(ready_window=4)
    bench.pool(nodes=nodes, slots=slots)
    bench.job(uses_task_dependencies=True, **fields)
    return bench


def add(bench: Bench, task: str, *ids: str, ranges: list[tuple[int, int]] | None = None, **fields: Any) -> Any:
    """Add a task that depends on others; what came of it."""
    given = Prerequisites(ids, ranges or [])
    (reply,) = bench.do(TasksAddRequested(job="job", tasks=[make_task(task, depends_on=given, **fields)]))
    return reply


# --- by id


def test_task_waits_until_all_that_it_depends_on_have_succeeded() -> None:
    bench = bench_with_job()
    bench.tasks("a", "b")
    add(bench, "after", "a", "b")
    assert bench.running() == ["a", "b"]
    bench.end("a")
    assert bench.running() == ["b"]
    bench.end("b")
    assert bench.started() == ["after"]


def test_dependent_that_waits_is_active_and_counted_so() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    add(bench, "after", "a")
    assert bench.task("after").state is TaskState.ACTIVE
    assert bench.job_record().task_counts.active == 1


def test_dependency_on_a_task_that_is_added_later() -> None:
    bench = bench_with_job()
    add(bench, "after", "a")
    bench.tasks("a")
    bench.end("a")
    assert bench.started() == ["after"]


def test_dependency_on_a_task_that_has_succeeded_already() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    bench.end("a")
    add(bench, "after", "a")
    assert bench.started() == ["after"]


def test_duplicate_and_differently_spelled_ids_are_one_dependency() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    add(bench, "after", "a", "a")
    bench.end("a")
    assert bench.started() == ["after"]


def test_task_that_depends_on_itself_and_those_in_a_circle_wait_for_ever() -> None:
    bench = bench_with_job()
    add(bench, "self", "self")
    add(bench, "one", "other")
    add(bench, "other", "one")
    assert bench.running() == []
    bench.do(TaskTerminateRequested(job="job", task="one"))
    assert bench.states()["other"] is TaskState.ACTIVE


def test_failed_task_blocks_until_it_is_reactivated_and_succeeds() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    add(bench, "after", "a")
    bench.end("a", code=1)
    assert bench.running() == []
    bench.do(TaskReactivateRequested(job="job", task="a"))
    assert bench.running() == ["a"]
    bench.end("a")
    assert bench.started() == ["after"]


def test_terminated_task_blocks_unless_its_default_says_otherwise() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    bench.tasks("b", exit_conditions=SATISFIED_ANYWAY)
    add(bench, "after-a", "a")
    add(bench, "after-b", "b")
    bench.do(TaskTerminateRequested(job="job", task="a"), TaskTerminateRequested(job="job", task="b"))
    assert bench.started() == ["after-b"]


def test_retries_are_over_before_dependents_go_on() -> None:
    bench = bench_with_job()
    bench.tasks("a", max_task_retry_count=1, exit_conditions=SATISFIED_ANYWAY)
    add(bench, "after", "a")
    bench.end("a", code=1)
    assert bench.running() == ["a"]
    bench.end("a", code=1)
    assert bench.started() == ["after"]


# --- what is satisfied stays so


def test_satisfied_dependency_stays_so_when_its_task_is_added_again() -> None:
    bench = bench_with_job()
    bench.tasks("a", "b")
    add(bench, "after", "a", "b")
    bench.end("a")
    bench.do(TaskDeleteRequested(job="job", task="a"))
    bench.tasks("a")
    bench.end("b")
    assert bench.started() == ["after"]


def test_satisfied_dependency_stays_so_when_its_task_is_reactivated() -> None:
    bench = bench_with_job()
    bench.tasks("a", exit_conditions=SATISFIED_ANYWAY)
    bench.tasks("b")
    add(bench, "after", "a", "b")
    bench.end("a", code=1)
    bench.do(TaskReactivateRequested(job="job", task="a"))
    bench.end("b")
    assert "after" in bench.running()
    add(bench, "later", "a")  # it sees a task that has still to end
    assert "later" not in bench.running()


def test_task_added_after_its_prerequisite_was_deleted_waits_for_a_new_one() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    bench.end("a")
    bench.do(TaskDeleteRequested(job="job", task="a"))
    add(bench, "after", "a")
    assert bench.running() == []
    bench.tasks("a")
    bench.end("a")
    assert bench.started() == ["after"]


def test_deleting_a_task_that_has_not_ended_keeps_its_dependents_waiting() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    add(bench, "after", "a")
    bench.do(TaskDeleteRequested(job="job", task="a"))
    assert bench.states() == {"after": TaskState.ACTIVE}


def test_end_concerns_only_those_that_were_there() -> None:
    """In one batch, a task ends and is deleted, added again, and a new task depends on the new one."""
    bench = bench_with_job()
    bench.tasks("a")
    add(bench, "before", "a")
    again = [make_task("a"), make_task("later", depends_on=Prerequisites(["a"]))]
    bench.do(
        bench.end_event("a"),
        TaskDeleteRequested(job="job", task="a"),
        TasksAddRequested(job="job", tasks=again),
    )
    assert bench.running() == ["before", "a"]
    bench.end("a")
    assert bench.started() == ["later"]


def test_ends_of_one_batch_concern_those_that_were_there_at_each() -> None:
    bench = bench_with_job()
    bench.tasks("a", "b")
    late = make_task("late", depends_on=Prerequisites(["b"]))
    bench.do(bench.end_event("a"), TasksAddRequested(job="job", tasks=[late]), bench.end_event("b"))
    assert bench.running() == ["late"]


# --- what becomes of the dependent


def test_dependent_that_is_deleted_leaves_nothing_behind() -> None:
    bench = bench_with_job()
    add(bench, "after", "a", ranges=[(1, 100)])
    bench.do(TaskDeleteRequested(job="job", task="after"))
    assert not bench.archive.dependencies
    add(bench, "after", "b")
    bench.tasks("a", "b")
    bench.end("a")
    assert "after" not in bench.running()


def test_dependent_that_is_terminated_and_reactivated_waits_for_the_rest() -> None:
    bench = bench_with_job()
    bench.tasks("a", "b")
    add(bench, "after", "a", "b")
    bench.do(TaskTerminateRequested(job="job", task="after"))
    bench.end("a")
    assert bench.states()["after"] is TaskState.COMPLETED
    bench.do(TaskReactivateRequested(job="job", task="after"))
    assert bench.running() == ["b"]
    bench.end("b")
    assert bench.started() == ["after"]


def test_dependent_added_over_a_dying_run_waits_for_both() -> None:
    bench = bench_with_job()
    bench.tasks("a", "x")
    dying = bench.stopped_event("x")
    bench.do(TaskDeleteRequested(job="job", task="x"))
    add(bench, "x", "a")
    bench.do(dying)
    assert bench.running() == ["a"]
    bench.end("a")
    assert bench.started() == ["x"]


def test_dependents_of_a_disabled_job_run_when_it_is_enabled() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    add(bench, "after", "a")
    bench.do(JobDisableRequested(job="job", disable_tasks=DisableTasks.WAIT))
    bench.end("a")
    assert bench.running() == []
    bench.do(JobEnableRequested(job="job"))
    assert bench.running() == ["after"]


def test_job_with_blocked_tasks_does_not_end_with_its_tasks() -> None:
    bench = bench_with_job(on_all_tasks_complete=OnAllTasksComplete.TERMINATE_JOB)
    bench.tasks("a")
    add(bench, "after", "a")
    bench.end("a", code=1)
    assert bench.job_record().state is JobState.ACTIVE
    bench.do(TaskDeleteRequested(job="job", task="after"))
    assert bench.job_record().terminate_reason == "AllTasksComplete"


def test_dependents_of_a_terminated_job_never_run() -> None:
    bench = bench_with_job()
    bench.tasks("a", exit_conditions=SATISFIED_ANYWAY)
    add(bench, "after", "a")
    bench.do(JobTerminateRequested(job="job"))
    bench.do(bench.stopped_event("a"))
    assert bench.job_record().state is JobState.COMPLETED
    assert bench.states()["after"] is TaskState.ACTIVE


def test_blocked_tasks_do_not_fill_the_window() -> None:
    bench = bench_with_job(slots=2)
    for number in range(20):
        add(bench, f"blocked{number}", "a")
    bench.tasks("x", "y", "z", "a")
    assert bench.running() == ["x", "y"]
    bench.end("x")
    bench.end("y")
    assert bench.running() == ["z", "a"]
    bench.end("a")
    assert bench.running() == ["blocked0", "z"]


def test_dependencies_survive_a_restart() -> None:
    bench = bench_with_job()
    bench.tasks("a", "1")
    add(bench, "after", "a", ranges=[(1, 2)])
    bench.restart()
    bench.connect(*bench.state.nodes, holding=[bench.attempt("a"), bench.attempt("1")])
    bench.end("a")
    bench.end("1")
    bench.restart()
    bench.connect(*bench.state.nodes)
    bench.tasks("2")
    bench.end("2")
    assert bench.started() == ["after"]


# --- many dependents


def test_many_dependents_are_told_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "CLOSED_AT_ONCE", 3)
    bench = bench_with_job(slots=16)
    bench.tasks("a")
    for number in range(8):
        add(bench, f"after{number}", "a")
    bench.end("a")
    assert len(bench.running()) == 3
    assert DependentsDue(job="job") in [each.event for each in bench.all(RaiseAt)]
    bench.restart()
    assert DependentsDue(job="job") in [each.event for each in bench.all(RaiseAt)]
    bench.connect(*bench.state.nodes)
    assert len(bench.running()) == 6
    add(bench, "later", "a")
    bench.do(DependentsDue(job="job"))
    assert len(bench.running()) == 9
    assert bench.job_record().satisfied == ()


# --- refusals


def test_job_must_use_task_dependencies() -> None:
    bench = Bench()
    bench.job()
    reply = add(bench, "a", "b")
    assert isinstance(reply, ServiceError)
    assert (reply.status, reply.code) == (400, "TaskDependenciesNotSpecifiedOnJob")
    assert reply.details == (("PropertyName", "dependsOn"),)


# --- ranges


def test_range_waits_for_every_number_in_it() -> None:
    bench = bench_with_job()
    add(bench, "after", ranges=[(9, 12)])
    bench.tasks("9", "10", "11", "12", "13")
    for number in ("9", "12", "10", "13"):
        bench.end(number)
        assert "after" not in bench.running()
    bench.end("11")
    assert bench.started() == ["after"]


def test_leading_zeros_make_no_difference_and_the_first_to_end_satisfies() -> None:
    bench = bench_with_job()
    add(bench, "after", ranges=[(4, 5)])
    bench.tasks("4", "004", "05")
    bench.end("004")
    bench.end("4")
    assert "after" not in bench.running()
    bench.end("05")
    assert bench.started() == ["after"]


def test_range_of_tasks_that_have_succeeded_in_part() -> None:
    bench = bench_with_job()
    bench.tasks("1", "2", "3", "5")
    for number in ("1", "3"):
        bench.end(number)
    add(bench, "after", ranges=[(1, 5)])
    bench.tasks("4")
    bench.end("2")
    bench.end("4")
    assert "after" not in bench.running()
    bench.end("5")
    assert bench.started() == ["after"]


def test_ranges_of_several_new_tasks_over_tasks_that_have_succeeded() -> None:
    bench = bench_with_job()
    bench.tasks(*map(str, range(8)))
    for number in (0, 1, 2, 5, 6):
        bench.end(str(number))
    ranges = {"a": (1, 2), "b": (0, 3), "c": (2, 5), "d": (5, 6), "e": (6, 7), "f": (6, 6)}
    tasks = [make_task(name, depends_on=Prerequisites((), [given])) for name, given in ranges.items()]
    bench.do(TasksAddRequested(job="job", tasks=tasks))
    assert [name for name in ranges if not bench.task(name).pending_dependencies] == ["a", "d", "f"]


def test_ids_and_overlapping_ranges_together() -> None:
    bench = bench_with_job()
    add(bench, "after", "1", "x", ranges=[(0, 2), (1, 3), (3, 3)])
    bench.tasks("0", "1", "2", "3", "x")
    for task in ("3", "1", "x", "0"):
        bench.end(task)
        assert "after" not in bench.running()
    bench.end("2")
    assert bench.started() == ["after"]


def test_wide_range_costs_a_few_rows() -> None:
    bench = bench_with_job()
    add(bench, "after", ranges=[(-(2**31), 2**31 - 1), (1, 1_000_000)])
    assert len(bench.archive.dependencies) < 50
    bench.tasks("77")
    bench.end("77")
    assert len(bench.archive.dependencies) < 100


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("-12", -12),
        ("2147483647", 2147483647),
        ("2147483648", None),
        ("-2147483648", -2147483648),
        ("9" * 64, None),
        ("", None),
        ("-", None),
        ("1_000", None),
        ("a1", None),
        ("1a", None),
        ("--1", None),
    ],
)
def test_number_of_a_key(key: str, number: int | None) -> None:
    assert task_number(key) == number


NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.integers(-40, 40)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_blocks_of_a_range_hold_its_numbers_and_no_others(one: int, other: int, number: int) -> None:
    first, last = min(one, other), max(one, other)
    blocks = list(blocks_between(first, last))
    assert len(blocks) <= 64
    names = {name_of(block) for block in blocks}
    assert len(names & {name_of(block) for block in blocks_with(number)}) == (first <= number <= last)
    assert [block_named(name) for name in map(name_of, blocks)] == blocks


@given(st.integers(-5, 5), st.integers(0, 6), st.sets(st.integers(0, 63)))
def test_block_without_some_of_its_numbers(index: int, level: int, offsets: set[int]) -> None:
    numbers = sorted((index << level) + offset for offset in offsets if offset < 1 << level)
    left = [n for lvl, i in blocks_without((level, index), numbers) for n in range(i << lvl, (i + 1) << lvl)]
    assert left == [n for n in range(index << level, (index + 1) << level) if n not in numbers]


def test_blocks_missing_beside_runs() -> None:
    missing = blocks_missing(0, 9, [(0, 2), (5, 5), (8, 9)])
    assert [n for level, i in missing for n in range(i << level, (i + 1) << level)] == [3, 4, 6, 7]


# --- whatever the graph


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, list[str], list[tuple[int, int]]]]:
    """Tasks in any order of addition, depending on lower numbers by id and by range: no circles."""
    count = draw(st.integers(1, 14))
    tasks = []
    for number in range(count):
        lower = st.integers(0, number - 1) if number else st.nothing()
        ids = draw(st.lists(lower.map(str), max_size=4)) if number else []
        pairs = draw(st.lists(st.tuples(lower, lower), max_size=3)) if number else []
        ranges = [(min(pair), max(pair)) for pair in pairs]
        tasks.append((str(number), ids, ranges))
    return draw(st.permutations(tasks))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_any_graph_runs_in_order_and_to_its_end(graph: list[tuple[str, list[str], Any]], data: st.DataObject) -> None:
    """Nothing starts before what it depends on is satisfied; in the end, all has run but what is blocked."""
    bench = bench_with_job(slots=data.draw(st.integers(1, 4)))
    wants = {
        task: {*ids, *(str(n) for first, last in ranges for n in range(first, last + 1))} for task, ids, ranges in graph
    }
    satisfied: set[str] = set()
    failed: set[str] = set()
    waiting = list(graph)
    while True:
        running = bench.running()
        assert all(wants[task] <= satisfied for task in running)
        if waiting and (not running or data.draw(st.booleans())):
            task, ids, ranges = waiting.pop(0)
            add(bench, task, *ids, ranges=ranges)
        elif running:
            task = data.draw(st.sampled_from(running))
            code = data.draw(st.sampled_from([0, 0, 0, 1]))
            (failed if code else satisfied).add(task)
            bench.end(task, code=code)
        elif not waiting:
            break
        if data.draw(st.integers(0, 9)) == 0:
            bench.restart()
            held = [bench.attempt(task) for task in bench.running()]
            bench.connect(*bench.state.nodes, holding=held)
    left = {task for task, state in bench.states().items() if state is TaskState.ACTIVE}
    assert left == {task for task in wants if task not in satisfied | failed}
    assert all(wants[task] - satisfied for task in left)
    counts = bench.job_record().task_counts
    assert (counts.active, counts.succeeded, counts.failed) == (len(left), len(satisfied), len(failed))
