"""What is counted: sums over runs, tasks, jobs and nodes, whatever happens to them and however often it is told."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    AgentLost,
    JobDeleteRequested,
    JobDisableRequested,
    JobEnableRequested,
    JobPurged,
    JobTerminateRequested,
    NodeDeallocated,
    NodeDeallocateRequested,
    NodeMeasured,
    NodeReleased,
    PoolDeleteRequested,
    RaiseAt,
    SamplesDue,
    TaskDeleteRequested,
    TaskEnded,
    TaskReactivateRequested,
    TaskTerminateRequested,
)
from millpond.batch.model.job import DisableTasks
from millpond.batch.model.statistics import (
    INTERVAL,
    LONGEST_GAP,
    CoreTime,
    PoolUsage,
    RunUsage,
    TaskUsage,
    interval_start,
)
from millpond.batch.model.task import TaskState
from millpond.common.clock import HOUR, MINUTE, SECOND
from millpond.common.errors import ServiceError

RUN = RunUsage(1000, 200, 30, 4, 5000, 600)


def used(bench: Bench, task: str = "a") -> TaskUsage:
    usage = bench.task(task).usage
    assert usage is not None
    return usage


def with_running_tasks(*names: str, **fields: Any) -> Bench:
    bench = Bench()
    bench.pool(nodes=1, slots=4)
    bench.job()
    bench.tasks(*names, **fields)
    return bench


# --- tasks and jobs


def test_run_is_counted_with_its_task_and_its_job() -> None:
    bench = with_running_tasks("a")
    created = bench.task("a").creation_time
    bench.end("a", start_time=created + 3 * SECOND, end_time=created + 5 * SECOND, usage=RUN)
    expected = TaskUsage(used(bench).attempt, created + 5 * SECOND, 1000, 200, 2 * SECOND, 30, 4, 5000, 600, 3 * SECOND)
    assert used(bench) == expected
    assert astuple(bench.job_record().totals) == (*astuple(expected)[1:10], 1, 0, 0)


def test_retries_add_up_and_the_last_one_says_how_long_the_task_waited() -> None:
    bench = with_running_tasks("a", max_task_retry_count=1)
    created = bench.task("a").creation_time
    bench.end("a", code=1, start_time=created + SECOND, end_time=created + 2 * SECOND, usage=RUN)
    bench.end("a", code=1, start_time=created + 7 * SECOND, end_time=created + 9 * SECOND, usage=RUN)
    assert (used(bench).user_cpu_time, used(bench).wall_clock_time, used(bench).wait_time) == (
        2000,
        3 * SECOND,
        7 * SECOND,
    )
    totals = bench.job_record().totals
    assert (totals.wait_time, totals.succeeded, totals.failed, totals.retries) == (7 * SECOND, 0, 1, 1)


def test_report_that_comes_again_is_not_counted_again() -> None:
    bench = with_running_tasks("a")
    report = bench.end_event("a", usage=RUN)
    bench.do(report, report)
    bench.restart()
    # The node was not told to forget the run, and tells of it again when it is told to end it.
    bench.connect(*bench.state.nodes, holding=[report.attempt])
    bench.do(report)
    assert used(bench).user_cpu_time == 1000
    assert bench.job_record().totals.succeeded == 1


def test_what_an_ended_task_used_is_counted_when_its_node_tells_once() -> None:
    bench = with_running_tasks("a")
    report = bench.end_event("a", code=None, usage=RUN)
    bench.do(JobTerminateRequested(job="job", terminate_reason="enough"))
    assert bench.task("a").usage is None
    bench.restart()
    bench.connect(*bench.state.nodes, holding=[report.attempt])
    bench.do(report)
    bench.restart()
    bench.connect(*bench.state.nodes, holding=[report.attempt])
    bench.do(report)
    assert used(bench).user_cpu_time == 1000
    assert bench.job_record().totals.user_cpu_time == 1000


def test_run_of_a_deleted_task_is_not_that_of_a_new_one_with_its_id() -> None:
    bench = with_running_tasks("a")
    late = bench.end_event("a", code=None, usage=RUN)
    bench.do(TaskDeleteRequested(job="job", task="a"))
    bench.tasks("a")
    bench.do(late)
    assert bench.task("a").usage is None


def test_what_is_deleted_stays_with_the_job_the_schedule_and_the_account() -> None:
    bench = with_running_tasks("a", "b")
    bench.end("a", usage=RUN)
    bench.end("b", usage=RUN)
    bench.do(TaskDeleteRequested(job="job", task="a"))
    totals = bench.job_record().totals
    assert (totals.user_cpu_time, totals.succeeded) == (2000, 2)
    created = bench.job_record().creation_time
    account = bench.job_record().account
    bench.do(JobDeleteRequested(job="job"))
    bench.do(JobPurged(job="job"))
    bench.restart()
    bench.do(JobPurged(job="job"))
    gone = bench.archive.accounts[account]
    assert (gone.jobs, gone.first_job) == (totals, created)


STORY = st.lists(
    st.tuples(
        st.sampled_from(
            ["succeed", "fail", "again", "terminate", "reactivate", "disable", "enable", "restart", "lose", "tell"]
        ),
        st.integers(0, 3),
        st.builds(RunUsage, *[st.integers(0, 10**12)] * 6),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STORY)
def test_totals_are_the_sums_of_the_tasks(story: list[tuple[str, int, RunUsage]]) -> None:
    bench = Bench()
    bench.pool(nodes=2, slots=2)
    bench.job()
    names = ["a", "b", "c", "d"]
    bench.tasks(*names, max_task_retry_count=2)
    told: dict[tuple[str, int], TaskEnded] = {}
    for what, which, usage in story:
        _go_on(bench, what, names[which], usage, told)
        _check_sums(bench, names, told)


def _go_on(bench: Bench, what: str, name: str, usage: RunUsage, told: dict[tuple[str, int], TaskEnded]) -> None:
    task = bench.task(name)
    if what in ("succeed", "fail") and task.node is not None and task.state is TaskState.RUNNING:
        report = bench.end_event(name, code=0 if what == "succeed" else 1, usage=usage)
        told[name, report.attempt.attempt] = report
        bench.do(report)
    elif what in ("again", "tell"):
        for report in [report for (other, _), report in told.items() if other == name]:
            bench.do(report)
    elif what == "restart":
        bench.restart()
        for node in list(bench.state.nodes):
            bench.connect(node, holding=[report.attempt for report in told.values() if report.node == node])
    elif what == "lose":
        node = next(iter(bench.state.nodes))
        bench.do(AgentLost(node=node, boot=bench.state.nodes[node].boot))
        bench.connect(node)
    else:
        request = {
            "terminate": TaskTerminateRequested(job="job", task=name),
            "reactivate": TaskReactivateRequested(job="job", task=name),
            "disable": JobDisableRequested(job="job", disable_tasks=DisableTasks.REQUEUE),
            "enable": JobEnableRequested(job="job"),
        }.get(what)
        if request is not None:
            try:
                bench.do(request)
            except ServiceError:
                bench.do()


def _check_sums(bench: Bench, names: list[str], told: dict[tuple[str, int], TaskEnded]) -> None:
    usages = [usage for name in names if (usage := bench.task(name).usage) is not None]
    columns = zip(*(astuple(usage)[2:10] for usage in usages), strict=True)
    assert astuple(bench.job_record().totals)[1:9] == (tuple(map(sum, columns)) if usages else (0,) * 8)
    for name in names:
        most = sum(report.usage.user_cpu_time for (other, _), report in told.items() if other == name and report.usage)
        usage = bench.task(name).usage
        assert (usage.user_cpu_time if usage else 0) <= most


# --- pools


def core_seconds(bench: Bench, key: str = "pool") -> float:
    usage, _ = bench.archive.pool_usages[key].until(bench.now)
    return usage.dedicated_core_time / SECOND


def test_nodes_count_from_when_they_are_up_until_they_are_gone() -> None:
    bench = Bench()
    nodes = bench.pool(nodes=2, vm_size="standard_d4_v3")
    bench.do(after=10 * SECOND)
    assert core_seconds(bench) == 10 * 2 * 4
    for node in nodes:
        bench.do(NodeDeallocateRequested(pool="pool", node=node), after=0)
        bench.do(NodeDeallocated(node=node, boot=bench.state.nodes[node].boot), after=0)
    bench.do(after=HOUR)
    assert core_seconds(bench) == 10 * 2 * 4


def test_time_in_which_the_service_did_not_run_is_not_counted() -> None:
    bench = Bench()
    bench.pool(nodes=1, vm_size="standard_d1_v2")
    bench.do(after=20 * SECOND)
    bench.now += 5 * HOUR
    bench.restart()
    bench.do(SamplesDue(), after=0)
    assert core_seconds(bench) == LONGEST_GAP / SECOND
    bench.do(after=10 * SECOND)
    assert core_seconds(bench) == LONGEST_GAP / SECOND + 10


def tick(bench: Bench) -> None:
    """Have the next moment come for which the pools' usage is summed up."""
    timer = next(effect for effect in reversed(bench.timers) if isinstance(effect.event, SamplesDue))
    bench.do(timer.event, after=timer.moment - bench.now)


def test_pool_with_nodes_is_looked_at_every_half_minute_and_one_without_is_not() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, vm_size="standard_d1_v2")
    began = bench.now
    for _ in range(10):
        tick(bench)
    assert core_seconds(bench) == (bench.now - began) / SECOND
    assert bench.now - began > 4 * MINUTE
    bench.do(PoolDeleteRequested(pool="pool"))
    bench.do(NodeReleased(node=node))
    bench.do(SamplesDue())
    assert not [effect for effect in bench.all(RaiseAt) if isinstance(effect.event, SamplesDue)]


def test_what_a_deleted_pool_came_to_stays() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, vm_size="standard_d2_v3")
    account, created = bench.pool_record().account, bench.pool_record().creation_time
    tick(bench)
    measured = {"$WallClockSeconds": 30.0, "$CPUPercent": 0.5, "$MemoryBytes": 2048.0, "$DiskBytes": 7.0}
    bench.do(NodeMeasured(node=node, boot=1, usage={**measured, "$DiskReadOps": 11.0}), after=0)
    spent = core_seconds(bench)
    bench.do(PoolDeleteRequested(pool="pool"), after=0)
    bench.do(NodeReleased(node=node), after=0)
    bench.restart()
    gone = bench.archive.accounts[account]
    assert (gone.dedicated_core_time, gone.first_pool) == (spent * SECOND, created)
    assert (gone.resources.cpu, gone.resources.peak_memory, gone.resources.read_ops) == (15.0, 2.0, 11)
    assert bench.archive.pool_usages == {}
    [interval] = bench.archive.usage_intervals
    assert (interval.pool_id, interval.start, interval.core_time) == ("pool", interval_start(bench.now), spent * SECOND)


START = 1_700_000_000 * SECOND - 1_700_000_000 * SECOND % INTERVAL


@pytest.mark.parametrize(
    ("began", "until", "over", "under_way"),
    [
        (0, 50 * SECOND, [], 50),
        (-20 * SECOND, 10 * SECOND, [(-INTERVAL, 20)], 10),
        (-20 * SECOND, 0, [(-INTERVAL, 20)], 0),
        (-20 * SECOND, 3 * HOUR, [(-INTERVAL, 20), (0, 40)], 0),
        (0, 3 * HOUR, [(0, 60)], 0),
    ],
)
def test_core_time_falls_into_intervals(began: int, until: int, over: list[tuple[int, int]], under_way: int) -> None:
    usage = PoolUsage(moment=START + began, dedicated_nodes=1, cores=2, low_priority_nodes=1)
    later, ended = usage.until(START + until)
    assert ended == [CoreTime(START + start, 4 * seconds * SECOND) for start, seconds in over]
    assert later.interval == CoreTime(interval_start(START + until), 4 * under_way * SECOND)
    assert later.dedicated_core_time == 2 * SECOND * (sum(map(operator.itemgetter(1), over)) + under_way)


@settings(deadline=None)
@given(st.lists(st.integers(0, LONGEST_GAP), min_size=1, max_size=80))
def test_intervals_add_up_to_the_whole(steps: list[int]) -> None:
    usage = PoolUsage(moment=START - MINUTE, dedicated_nodes=1, cores=1)
    total = 0
    for step in steps:
        usage, over = usage.until(usage.moment + step)
        total += sum(each.core_time for each in over)
    assert total + usage.interval_core_time == usage.dedicated_core_time == sum(steps)
