from __future__ import annotations

from tests.simulation.client import make_pool
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    AgentLost,
    JobDeleteRequested,
    JobTimedOut,
    NodeOverdue,
    PlacementsOverdue,
    PoolAddRequested,
    PurgeJob,
    RaiseAt,
    ReleaseNode,
    RequestNode,
    ResizeRequested,
    ResizeTimedOut,
    RetentionEnded,
    SamplesDue,
    SyncNode,
    TaskDeleteRequested,
)
from millpond.batch.engine.nodes import UNKNOWN_LIMIT
from millpond.batch.model.job import OnAllTasksComplete
from millpond.batch.model.pool import DeallocationOption
from millpond.common.clock import HOUR, MINUTE, SECOND


def timers(bench: Bench) -> dict[type, int]:
    return {type(effect.event): effect.moment for effect in bench.all(RaiseAt)}


def test_orders_that_may_have_been_lost_are_given_again() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 2, 1)))
    nodes = list(bench.archive.nodes)
    bench.connect(nodes[0])
    bench.do(PoolAddRequested(pool=make_pool("small", 0, 1)))
    leaving = bench.pool(nodes=1, key="shrinking")
    shrink = ResizeRequested(
        pool="shrinking", target_dedicated_nodes=0, target_low_priority_nodes=None, resize_timeout=None
    )
    bench.do(shrink)
    bench.job("doomed")
    bench.do(JobDeleteRequested(job="doomed"))
    bench.restart()
    assert [effect.node.key for effect in bench.all(RequestNode)] == [nodes[1]]
    assert [effect.node for effect in bench.all(ReleaseNode)] == leaving
    assert bench.all(PurgeJob) == [PurgeJob(job="doomed")]


def test_timers_are_set_again() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 1, 1)))
    resized = bench.now
    bench.job(max_wall_clock_time=HOUR)
    created = bench.now
    (node,) = bench.pool(nodes=1, key="other")
    bench.do(AgentLost(node=node, boot=1))
    lost = bench.now
    bench.restart()
    assert timers(bench) == {
        ResizeTimedOut: resized + 15 * MINUTE,
        JobTimedOut: created + HOUR,
        NodeOverdue: lost + UNKNOWN_LIMIT,
        SamplesDue: 1_700_000_010 * SECOND,
    }


def test_grace_of_an_empty_job_goes_on() -> None:
    bench = Bench()
    bench.job(on_all_tasks_complete=OnAllTasksComplete.TERMINATE_JOB)
    bench.restart()
    (timer,) = bench.all(RaiseAt)
    bench.do(timer.event, after=MINUTE)
    assert bench.job_record().terminate_reason == "AllTasksComplete"


def test_tasks_run_on_and_others_start_when_agents_are_back() -> None:
    bench = Bench(ready_window=4)
    nodes = bench.pool(nodes=2, slots=2)
    bench.job()
    bench.tasks(*[f"t{n:02}" for n in range(20)])
    running = bench.running()
    bench.restart()
    assert bench.running() == running
    bench.end("t00")  # its agent is not back yet, but has said so before: nothing new is placed there
    assert bench.started() == []
    bench.connect(
        nodes[0], holding=[bench.attempt(t) for t in running if t != "t00" and bench.task(t).node == nodes[0]]
    )
    assert bench.started() == ["t04"]
    (sync,) = bench.all(SyncNode)
    assert len(sync.start) == 1


def test_tasks_placed_ahead_keep_their_order() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("first")
    bench.end("first", ran=1)
    bench.tasks(*[f"t{n}" for n in range(6)])
    before = bench.ahead(node)
    bench.restart()
    assert bench.ahead(node) == before == ["t1", "t2", "t3", "t4", "t5"]
    assert PlacementsOverdue in timers(bench)
    bench.connect(node, holding=[bench.attempt("t0")])
    (sync,) = bench.all(SyncNode)
    assert [start.attempt.task for start in sync.start] == ["t0", "t1", "t2", "t3", "t4", "t5"]


def test_files_kept_on_a_leaving_node_are_kept_over_a_restart() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("a", retention_time=10 * MINUTE)
    event = ResizeRequested(
        pool="pool",
        target_dedicated_nodes=0,
        target_low_priority_nodes=None,
        resize_timeout=None,
        deallocation_option=DeallocationOption.RETAINED_DATA,
    )
    bench.do(event)
    bench.end("a")
    bench.restart()
    assert bench.all(ReleaseNode) == []
    (timer,) = [effect for effect in bench.all(RaiseAt) if isinstance(effect.event, RetentionEnded)]
    bench.do(timer.event, after=10 * MINUTE)
    assert bench.all(ReleaseNode) == [ReleaseNode(node=node)]


def test_new_task_of_a_deleted_one_s_id_gets_another_attempt_over_a_restart() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    bench.tasks("a")
    late = bench.end_event("a")
    bench.do(TaskDeleteRequested(job="job", task="a"))
    bench.restart()
    bench.tasks("a")
    bench.connect(node)
    assert bench.running() == ["a"]
    assert bench.attempt("a") != late.attempt
    bench.do(late, after=SECOND)
    assert bench.running() == ["a"]
