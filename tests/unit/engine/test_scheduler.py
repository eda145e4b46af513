from __future__ import annotations

import pytest
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    JobChangeRequested,
    NodeDisableSchedulingRequested,
    PlacementsOverdue,
    RaiseAt,
    StopTask,
    TaskTerminateRequested,
)
from millpond.batch.engine.scheduler import AHEAD_LIMIT, AHEAD_PATIENCE
from millpond.batch.model.pool import FillType
from millpond.batch.model.task import TaskState
from millpond.common.clock import SECOND

MILLISECOND = SECOND // 1000


def names(first: int, last: int) -> list[str]:
    return [f"t{n:03}" for n in range(first, last + 1)]


def test_tasks_start_in_order_of_addition() -> None:
    bench = Bench()
    bench.pool(nodes=1, slots=2)
    bench.job()
    bench.tasks(*names(1, 5))
    assert bench.started() == ["t001", "t002"]
    bench.end("t002")
    assert bench.started() == ["t003"]


def test_higher_priority_goes_first_then_the_older_job() -> None:
    bench = Bench()
    for key, priority in (("low", -1), ("old", 0), ("new", 0), ("high", 1)):
        bench.job(key, priority=priority)
        bench.tasks("t", job=key)
    bench.pool(nodes=1, slots=3)
    assert [bench.states(key)["t"] is TaskState.RUNNING for key in ("high", "old", "new", "low")] == [1, 1, 1, 0]


def test_changed_priority_counts_from_then_on() -> None:
    bench = Bench()
    bench.pool(nodes=1, slots=1)
    for key in ("a", "b", "c"):
        bench.job(key)
        bench.tasks("t", job=key)
    bench.do(JobChangeRequested(job="c", document={}, priority=7))
    bench.end("t", job="a")
    assert bench.running("c") == ["t"]
    assert bench.running("b") == []


def test_max_parallel_tasks_limits_a_job_and_not_others() -> None:
    bench = Bench()
    bench.pool(nodes=2, slots=4)
    bench.job("limited", max_parallel_tasks=2)
    bench.tasks("a", "b", "c", job="limited")
    bench.job("free")
    bench.tasks("a", "b", "c", job="free")
    assert bench.running("limited") == ["a", "b"]
    assert bench.running("free") == ["a", "b", "c"]
    bench.end("a", job="limited")
    assert bench.running("limited") == ["b", "c"]


def test_raised_parallelism_takes_effect_at_once() -> None:
    bench = Bench()
    bench.pool(nodes=1, slots=4)
    bench.job(max_parallel_tasks=1)
    bench.tasks("a", "b", "c")
    bench.do(JobChangeRequested(job="job", document={}, max_parallel_tasks=-1))
    assert bench.running() == ["a", "b", "c"]


def test_task_that_fits_nowhere_now_does_not_block_smaller_ones() -> None:
    bench = Bench()
    bench.pool(nodes=1, slots=4)
    bench.job()
    bench.tasks("small1", "small2")
    bench.tasks("big", required_slots=4)
    bench.tasks("small3")
    assert bench.running() == ["small1", "small2", "small3"]
    for task in ("small1", "small2", "small3"):
        bench.end(task)
    assert bench.running() == ["big"]


def test_task_too_big_for_the_pool_never_runs_and_blocks_nothing() -> None:
    bench = Bench(ready_window=4)
    bench.pool(nodes=1, slots=2)
    bench.job()
    bench.tasks(*names(1, 20), required_slots=3)
    bench.tasks("fits")
    assert bench.running() == ["fits"]
    assert bench.state.waiting == 0
    assert bench.job_record().task_counts.active == 20


def test_tasks_that_wait_for_a_pool_are_not_in_memory() -> None:
    bench = Bench()
    bench.job()
    bench.tasks(*names(1, 50))
    assert bench.state.tasks == {}
    bench.pool(nodes=1, slots=2)
    assert bench.running() == ["t001", "t002"]


@pytest.mark.parametrize(("fill", "used"), [(FillType.SPREAD, [1, 1, 1]), (FillType.PACK, [0, 0, 3])])
def test_fill_type_spreads_or_packs(fill: FillType, used: list[int]) -> None:
    bench = Bench()
    nodes = bench.pool(nodes=3, slots=4, fill_type=fill)
    bench.job()
    bench.tasks(*names(1, 3))
    assert sorted(len(bench.state.node_slots[node].running) for node in nodes) == used


def test_window_is_refilled_in_order_from_the_store() -> None:
    bench = Bench(ready_window=4)
    bench.pool(nodes=1, slots=1)
    bench.job()
    bench.tasks(*names(1, 30))
    ran = []
    while running := bench.running():
        ran += running
        assert bench.state.waiting <= 4
        bench.end(running[0])
    assert ran == names(1, 30)


def test_memory_holds_a_bounded_number_of_waiting_tasks_of_all_jobs() -> None:
    bench = Bench(ready_window=4)
    bench.pool(nodes=1, slots=1)
    for number in range(40):
        bench.job(f"job{number}")
        bench.tasks(*names(1, 10), job=f"job{number}")
    assert bench.state.waiting <= 64


def test_requeued_task_goes_back_to_its_place() -> None:
    bench = Bench(ready_window=3)
    bench.pool(nodes=1, slots=1)
    bench.job(max_task_retry_count=1)
    bench.tasks(*names(1, 10))
    bench.end("t001", code=1)
    assert bench.started() == ["t001"]


# --- placing ahead


def short_job(bench: Bench, nodes: int, slots: int, *, ran: int = MILLISECOND) -> list[str]:
    """A pool that is full of tasks of a job which has had one short task."""
    keys = bench.pool(nodes=nodes, slots=slots)
    bench.job()
    bench.tasks("first")
    bench.end("first", ran=ran)
    bench.tasks(*names(1, nodes * slots))
    return keys


def test_nothing_is_placed_ahead_of_unknown_or_long_tasks() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, slots=1)
    bench.job()
    bench.tasks(*names(1, 9))
    assert bench.ahead(node) == []
    bench.end("t001", ran=2 * SECOND)
    assert bench.ahead(node) == []


def test_short_tasks_are_placed_ahead_as_far_as_the_horizon() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 2, ran=10 * MILLISECOND)
    bench.tasks(*names(10, 99))
    assert bench.ahead(node) == names(10, 19)  # 50 ms of work for each of two slots
    assert bench.states()["t010"] is TaskState.ACTIVE
    assert bench.task("t010").node == node


@pytest.mark.parametrize("slots", [1, 4])
def test_no_more_than_the_limit_is_placed_ahead_on_a_node(slots: int) -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, slots, ran=1)
    bench.tasks(*[f"x{n}" for n in range(200)])
    assert len(bench.ahead(node)) == AHEAD_LIMIT


def test_tasks_are_dealt_out_evenly_ahead() -> None:
    bench = Bench()
    nodes = short_job(bench, 3, 2, ran=5 * MILLISECOND)
    bench.tasks(*names(10, 24))
    assert [len(bench.ahead(node)) for node in nodes] == [5, 5, 5]


def test_free_slots_are_preferred_to_placing_ahead() -> None:
    bench = Bench()
    nodes = short_job(bench, 2, 1)
    bench.end("t001", ran=MILLISECOND)
    bench.tasks("next", "after")
    assert "next" in bench.running()
    assert sum(len(bench.ahead(node)) for node in nodes) == 1


def test_task_placed_ahead_runs_when_the_one_before_it_ends() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 1)
    bench.tasks("next", "after")
    assert bench.ahead(node) == ["next", "after"]
    bench.end("t001", ran=MILLISECOND)
    assert bench.running() == ["next"]
    assert bench.ahead(node) == ["after"]
    assert bench.started() == []
    assert bench.node(node).recent_tasks[0].task == "next"


def test_end_of_a_task_placed_ahead_counts_though_its_start_was_not_told() -> None:
    bench = Bench()
    short_job(bench, 1, 1)
    bench.tasks("next")
    bench.end("next", ran=MILLISECOND)
    task = bench.task("next")
    assert (task.state, task.previous_state, task.start_time) == (
        TaskState.COMPLETED,
        TaskState.RUNNING,
        bench.now - SECOND - MILLISECOND,
    )


def test_early_news_of_a_start_does_not_oversell_slots() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 1)
    bench.tasks("next")
    bench.start("next")
    assert bench.running() == ["t001"]
    assert bench.ahead(node) == ["next"]


def test_parallelism_counts_tasks_placed_ahead() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, slots=1)
    bench.job(max_parallel_tasks=2)
    bench.tasks("first")
    bench.end("first", ran=MILLISECOND)
    bench.tasks("a", "b", "c")
    assert bench.ahead(node) == ["b"]


def test_lowered_parallelism_recalls_tasks_placed_ahead() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, slots=2)
    bench.job()
    bench.tasks("first")
    bench.end("first", ran=5 * MILLISECOND)
    bench.tasks(*names(1, 8))
    assert bench.ahead(node) == names(3, 8)
    bench.do(JobChangeRequested(job="job", document={}, max_parallel_tasks=3))
    assert bench.ahead(node) == ["t003"]
    assert [stop.attempt.task for stop in bench.all(StopTask)] == names(4, 8)
    bench.do(JobChangeRequested(job="job", document={}, max_parallel_tasks=1))
    assert (bench.ahead(node), bench.running()) == ([], ["t001", "t002"])


def test_only_the_first_job_in_order_is_placed_ahead() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 1)
    bench.job("urgent", priority=1)
    bench.tasks("u", job="urgent")
    bench.tasks("next")
    assert bench.ahead(node) == []


def test_tasks_placed_ahead_are_recalled_when_nothing_moves() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 1)
    bench.tasks("next", "after")
    timers = [e for e in bench.all(RaiseAt) if isinstance(e.event, PlacementsOverdue)]
    assert [timer.moment for timer in timers] == [bench.now + AHEAD_PATIENCE]
    bench.do(timers[0].event, after=AHEAD_PATIENCE)
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["next", "after"]
    assert bench.ahead(node) == []
    assert not bench.task("next").is_waiting  # the node has not confirmed it yet
    bench.do(bench.stopped_event("next"), bench.stopped_event("after"))
    task = bench.task("next")
    assert task.is_waiting
    assert (task.retry_count, task.requeue_count, task.start_time) == (0, 0, None)
    assert bench.ahead(node) == []  # what runs there is not short


def test_tasks_placed_ahead_stay_while_the_node_moves_on() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 1)
    bench.tasks("next", "after")
    (timer,) = bench.all(RaiseAt)
    bench.do(timer.event, after=AHEAD_PATIENCE // 2)
    assert bench.ahead(node) == ["next", "after"]
    assert [e.event for e in bench.all(RaiseAt)] == [timer.event]


def test_ended_task_that_was_placed_ahead_leaves_the_others_there() -> None:
    bench = Bench()
    (node,) = short_job(bench, 1, 1)
    bench.tasks("next", "after")
    bench.do(TaskTerminateRequested(job="job", task="next"))
    assert bench.ahead(node) == ["after"]
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["next"]
    assert bench.task("next").state is TaskState.COMPLETED
    assert bench.task("next").start_time is None


@pytest.mark.parametrize("fill", list(FillType))
def test_task_goes_to_the_node_it_asks_for_if_that_has_room(fill: FillType) -> None:
    bench = Bench()
    nodes = bench.pool(nodes=3, slots=2, fill_type=fill)
    bench.job()
    wanted = bench.node(nodes[2])
    for number in range(2):
        bench.tasks(f"t{number}", affinity=wanted.id.lower())
        assert bench.task(f"t{number}").node == wanted.key
    bench.tasks("elsewhere", affinity=wanted.id.lower())
    assert bench.task("elsewhere").node in nodes[:2]
    bench.tasks("nowhere", affinity="no-such-node")
    assert bench.task("nowhere").node in nodes[:2]


def test_node_that_takes_no_tasks_is_not_had_by_asking() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=2)
    bench.job()
    bench.do(NodeDisableSchedulingRequested(pool="pool", node=nodes[1]))
    bench.tasks("t", affinity=bench.node(nodes[1]).id.lower())
    assert bench.task("t").node == nodes[0]
