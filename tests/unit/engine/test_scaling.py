from __future__ import annotations

from msgspec.structs import replace
from tests.simulation.client import make_pool
from tests.unit.engine.bench import Bench

from millpond.batch.engine.autoscale import PERIOD
from millpond.batch.engine.messages import (
    AutoScaleDisableRequested,
    AutoScaleDue,
    AutoScaleEnableRequested,
    AutoScaleEvaluateRequested,
    JobDisableRequested,
    NodeMeasured,
    NodeNotGranted,
    NodeReleased,
    NodesRemoveRequested,
    PoolAddRequested,
    PoolDeleteRequested,
    Prerequisites,
    RaiseAt,
    RequestNode,
    ResizeRequested,
    ResizeTimedOut,
    SamplesDue,
)
from millpond.batch.model.job import DisableTasks
from millpond.batch.model.limits import Limits
from millpond.batch.model.pool import AllocationState, AutoScale, AutoScaleRun, DeallocationOption, Pool
from millpond.common.clock import HOUR, MINUTE, SECOND, to_etag
from millpond.common.conditions import Conditions

#: As many nodes as there are tasks that run or are ready to.
BY_TASKS = "$TargetDedicatedNodes = min(5, $PendingTasks); $NodeDeallocationOption = taskcompletion;"


def scaled(bench: Bench, formula: str, *, slots: int = 1, interval: int = 5 * MINUTE) -> Pool:
    """A pool that scales by itself."""
    scaling = AutoScale(formula=formula, evaluation_interval=interval)
    bench.do(PoolAddRequested(pool=replace(make_pool("pool", 0, slots), auto_scale=scaling)))
    return bench.pool_record()


def enable(
    formula: str | None = BY_TASKS, interval: int | None = None, **fields: Conditions
) -> AutoScaleEnableRequested:
    return AutoScaleEnableRequested(pool="pool", formula=formula, evaluation_interval=interval, **fields)


def pass_time(bench: Bench, duration: int) -> None:
    """Have the moments come that were asked for, one after the other."""
    end = bench.now + duration
    while timers := sorted((timer for timer in bench.timers if timer.moment <= end), key=lambda timer: timer.moment):
        timer = timers[0]
        bench.timers.remove(timer)
        bench.do(timer.event, after=max(0, timer.moment - bench.now))
    bench.now = end


def come_up(bench: Bench) -> None:
    """All nodes that were asked for connect."""
    bench.connect(*[key for key, node in bench.archive.nodes.items() if node.last_boot_time is None])


def run_of(bench: Bench) -> AutoScaleRun:
    scaling = bench.pool_record().auto_scale
    assert scaling is not None
    assert scaling.run is not None
    return scaling.run


def evaluated(bench: Bench, formula: str) -> str:
    """What the results of a dry run say of the variable ``x``."""
    _, run = bench.do(AutoScaleEvaluateRequested(pool="pool", formula=formula))
    assert run.error is None, run.error
    return str(dict(part.split("=", 1) for part in run.results.split(";"))["x"])


# --- evaluating


def test_formula_is_evaluated_when_the_pool_is_made() -> None:
    bench = Bench()
    pool = scaled(bench, "$TargetDedicatedNodes = 2; $TargetLowPriorityNodes = 1;")
    assert (pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (2, 1)
    assert pool.allocation_state is AllocationState.RESIZING
    assert [effect.node.is_dedicated for effect in bench.all(RequestNode)] == [True, True, False]
    assert run_of(bench) == AutoScaleRun(
        bench.now, "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=1;$NodeDeallocationOption=requeue"
    )
    assert pool.last_modified == pool.creation_time  # what the formula does is no modification


def test_pool_grows_and_shrinks_with_its_tasks() -> None:
    bench = Bench()
    scaled(bench, BY_TASKS)
    bench.job()
    bench.tasks("a", "b", "c")
    pass_time(bench, 5 * MINUTE)
    assert len(bench.archive.nodes) == 3
    come_up(bench)
    assert bench.running() == ["a", "b", "c"]
    bench.end("a")
    bench.end("b")
    pass_time(bench, 5 * MINUTE)
    leaving = [key for key, node in bench.archive.nodes.items() if node.state == "leavingpool"]
    assert len(leaving) == 2
    bench.do(*[NodeReleased(node=key) for key in leaving])
    assert bench.running() == ["c"]
    pool = bench.pool_record()
    assert (pool.allocation_state, pool.target_dedicated_nodes) == (AllocationState.STEADY, 1)
    assert pool.deallocation_option is DeallocationOption.TASK_COMPLETION


def test_evaluations_come_at_their_interval() -> None:
    bench = Bench()
    scaled(bench, "x = time();")
    began = bench.now
    pass_time(bench, 12 * MINUTE)
    assert run_of(bench).timestamp == began + 10 * MINUTE
    scaling = bench.pool_record().auto_scale
    assert scaling is not None
    assert scaling.next_evaluation == began + 15 * MINUTE


def test_evaluation_that_is_due_waits_until_the_pool_is_steady() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 1;")
    began = bench.now
    pass_time(bench, 7 * MINUTE)
    assert run_of(bench).timestamp == began
    come_up(bench)
    assert run_of(bench).timestamp == bench.now
    pass_time(bench, 5 * MINUTE)
    assert run_of(bench).timestamp == began + 10 * MINUTE


def test_pool_stays_as_it_is_where_the_formula_fails() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 1;")
    come_up(bench)
    bench.do(enable("$TargetDedicatedNodes = 3;\n$TargetLowPriorityNodes = $Nothing;"), after=MINUTE)
    run = run_of(bench)
    assert run.error is not None
    assert (run.error.code, run.error.values) == (
        "AutoScalingFormulaEvaluationError",
        (("Message", "Line 2, Col 27: Undefined symbol: $Nothing"),),
    )
    pool = bench.pool_record()
    assert (pool.target_dedicated_nodes, pool.allocation_state) == (1, AllocationState.STEADY)


def test_what_an_earlier_resize_did_not_bring_is_tried_again() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 1;")
    (node,) = [effect.node.key for effect in bench.all(RequestNode)]
    bench.do(NodeNotGranted(node=node, boot=1, code="AllocationFailed", message="No room."))
    bench.do(NodeReleased(node=node))
    assert [problem.code for problem in bench.pool_record().resize_errors] == ["AllocationFailed"]
    pass_time(bench, 5 * MINUTE)
    assert bench.pool_record().allocation_state is AllocationState.RESIZING
    assert bench.pool_record().resize_errors == ()


def test_pools_own_resize_timeout_is_for_resizes_by_hand() -> None:
    bench = Bench()
    scaling = AutoScale(formula="$TargetDedicatedNodes = 1;", evaluation_interval=HOUR)
    pool = replace(make_pool("pool", 0, 1), auto_scale=scaling, resize_timeout=HOUR)
    bench.do(PoolAddRequested(pool=pool))
    (timer,) = [effect for effect in bench.all(RaiseAt) if isinstance(effect.event, ResizeTimedOut)]
    assert timer.moment == bench.now + 15 * MINUTE


def test_size_is_not_changed_by_hand() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 1;")
    come_up(bench)
    resize = ResizeRequested(pool="pool", target_dedicated_nodes=2, target_low_priority_nodes=None, resize_timeout=None)
    remove = NodesRemoveRequested(pool="pool", nodes=list(bench.archive.nodes), resize_timeout=None)
    for event in (resize, remove):
        assert bench.refused(event) == "OperationInvalidForCurrentState"


# --- enabling and disabling


def test_enabling_evaluates_at_once_and_changes_the_etag() -> None:
    bench = Bench()
    bench.pool(nodes=1)
    before = bench.pool_record()
    pool = bench.do(enable("$TargetDedicatedNodes = 2;"))
    assert pool.last_modified > before.last_modified
    assert pool.auto_scale.evaluation_interval == 15 * MINUTE
    assert bench.pool_record().target_dedicated_nodes == 2


def test_enabling_needs_a_formula_unless_it_is_enabled() -> None:
    bench = Bench()
    bench.pool(nodes=0)
    assert bench.refused(enable(None, HOUR)) == "InvalidAutoScalingSettings"
    bench.do(enable())
    bench.do(enable(None, HOUR), after=MINUTE)
    scaling = bench.pool_record().auto_scale
    assert scaling is not None
    assert (scaling.formula, scaling.evaluation_interval) == (BY_TASKS, HOUR)
    assert scaling.next_evaluation == bench.now + HOUR


def test_enabling_is_refused() -> None:
    bench = Bench()
    assert bench.refused(enable()) == "PoolNotFound"
    bench.do(PoolAddRequested(pool=make_pool("pool", 1, 1)))
    assert bench.refused(enable()) == "PoolBeingResized"
    come_up(bench)
    assert bench.refused(enable("x = ")) == "AutoScalingFormulaSyntaxError"
    assert bench.refused(enable("x" * 9000)) == "AutoScaleFormulaTooLong"
    assert bench.refused(enable(conditions=Conditions(if_match=(to_etag(1),)))) == "ConditionNotMet"
    bench.do(PoolDeleteRequested(pool="pool"))
    assert bench.refused(enable()) == "PoolBeingDeleted"


def test_enabling_twice_within_thirty_seconds_is_refused() -> None:
    bench = Bench()
    bench.pool(nodes=0)
    bench.do(enable())
    bench.now += 20 * SECOND
    assert bench.refused(enable()) == "TooManyEnableAutoScaleRequests"
    bench.do(enable(), after=15 * SECOND)


def test_spacing_shrinks_with_the_shortest_interval() -> None:
    bench = Bench(limits=Limits(shortest_evaluation_interval=2 * SECOND))
    bench.pool(nodes=0)
    bench.do(enable())
    bench.do(enable(), after=2 * SECOND)


def test_bad_formula_refuses_a_new_pool() -> None:
    scaling = AutoScale(formula="x = 1 y = 2;", evaluation_interval=HOUR)
    event = PoolAddRequested(pool=replace(make_pool("pool", 0, 1), auto_scale=scaling))
    assert Bench().refused(event) == "AutoScalingFormulaSyntaxError"


def test_disabled_pool_keeps_its_size_and_is_resized_by_hand() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 2;")
    come_up(bench)
    bench.do(AutoScaleDisableRequested(pool="pool"))
    assert not bench.archive.samples
    pass_time(bench, HOUR)
    pool = bench.pool_record()
    assert (pool.auto_scale, pool.target_dedicated_nodes, len(bench.archive.nodes)) == (None, 2, 2)
    bench.grow(3)
    bench.do(AutoScaleDisableRequested(pool="pool"))  # it is already


def test_dry_run_changes_nothing_and_needs_a_pool_that_scales() -> None:
    bench = Bench()
    bench.pool(nodes=0)
    dry_run = AutoScaleEvaluateRequested(pool="pool", formula="$TargetDedicatedNodes = 7;")
    assert bench.refused(dry_run) == "OperationInvalidForCurrentState"
    bench.do(enable("$TargetDedicatedNodes = 0;"))
    before = bench.pool_record()
    pool, run = bench.do(dry_run)
    assert run.results == "$TargetDedicatedNodes=7;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    assert pool == before == bench.pool_record()
    _, run = bench.do(AutoScaleEvaluateRequested(pool="pool", formula="x = 1 y"))
    assert run.error.code == "AutoScalingFormulaSyntaxError"


# --- samples


def test_samples_say_how_the_pool_is() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 1; $TargetLowPriorityNodes = 1;", slots=2)
    come_up(bench)
    bench.job()
    bench.tasks("a", "b", required_slots=2)
    bench.tasks("c", "d", "e")
    bench.job("disabled")
    bench.tasks("f", job="disabled")
    bench.do(JobDisableRequested(job="disabled", disable_tasks=DisableTasks.REQUEUE))
    bench.job("chain", uses_task_dependencies=True)
    bench.tasks("after", job="chain", depends_on=Prerequisites(["nothing"]))
    names = {
        "$ActiveTasks": "3",
        "$RunningTasks": "2",
        "$PendingTasks": "5",
        "$RunningTaskSlots": "4",
        "$PendingTaskSlots": "7",
        "$TaskSlotsPerNode": "2",
        "$CurrentDedicatedNodes": "1",
        "$CurrentLowPriorityNodes": "1",
        "$PreemptedNodeCount": "0",
        "$UsableNodeCount": "2",
        "$SampleNodeCount": "0",
    }
    assert {name: evaluated(bench, f"x = {name};") for name in names} == names


def test_ended_tasks_are_counted_in_the_sample_of_their_half_minute() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 1;", interval=HOUR)
    come_up(bench)
    bench.job()
    bench.tasks("a", "b", "c")
    pass_time(bench, PERIOD - bench.now % PERIOD)
    bench.end("a")
    bench.end("b", code=1)
    evaluated(bench, "x = $ActiveTasks;")  # takes a sample, and must not take the counts away
    pass_time(bench, PERIOD)
    pass_time(bench, PERIOD)
    assert evaluated(bench, "x = $SucceededTasks.GetSample(2);") == "[1,0]"
    assert evaluated(bench, "x = $FailedTasks.GetSample(2);") == "[1,0]"


def test_nodes_measurements_are_gathered_while_they_are_fresh() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 2;", interval=HOUR)
    come_up(bench)
    first, second = bench.archive.nodes
    bench.do(NodeMeasured(node=first, boot=1, usage={"$CPUPercent": 0.5, "$DiskReadBytes": 10}))
    bench.do(NodeMeasured(node=second, boot=1, usage={"$CPUPercent": 1.0, "$DiskReadBytes": 20}))
    bench.do(NodeMeasured(node=second, boot=7, usage={"$CPUPercent": 0.0}))
    assert evaluated(bench, "x = $CPUPercent;") == "0.75"
    assert evaluated(bench, "x = $DiskReadBytes;") == "30"
    pass_time(bench, 2 * PERIOD)
    assert evaluated(bench, "x = $SampleNodeCount;") == "0"


def test_samples_are_taken_every_half_minute_and_outlive_a_restart() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 0;", interval=HOUR)
    pass_time(bench, 5 * MINUTE)
    assert evaluated(bench, "x = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5);") == "100"
    bench.restart()
    assert evaluated(bench, "x = $PendingTasks.Count();") == "11"
    pass_time(bench, 5 * MINUTE)
    assert evaluated(bench, "x = $PendingTasks.Count();") == "21"


def test_evaluation_that_a_restart_has_missed_is_made_up_for() -> None:
    bench = Bench()
    scaled(bench, BY_TASKS)
    bench.job()
    bench.tasks("a")
    bench.now += 7 * MINUTE
    bench.restart()
    assert bench.pool_record().target_dedicated_nodes == 1
    assert run_of(bench).timestamp == bench.now


def test_deleted_pool_leaves_no_samples() -> None:
    bench = Bench()
    scaled(bench, "$TargetDedicatedNodes = 0;")
    bench.do(PoolDeleteRequested(pool="pool"))
    assert not bench.archive.samples
    bench.do(SamplesDue(), AutoScaleDue(pool="pool"))
    assert not bench.archive.samples
