"""The formulas that the service's documentation gives as examples, and others as they are in use, over scripted
histories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from millpond.batch.engine.autoscale import Targets
from millpond.batch.model.pool import DeallocationOption
from millpond.common.clock import HOUR, MINUTE, from_iso

from .scripted import NOW, run, variable

Script = Mapping[str, Iterable[float | None]]

_WORKING_HOURS = """
    $curTime = time();
    $workHours = $curTime.hour >= 8 && $curTime.hour < 18;
    $isWeekday = $curTime.weekday >= 1 && $curTime.weekday <= 5;
    $isWorkingWeekdayHour = $workHours && $isWeekday;
    $TargetDedicatedNodes = $isWorkingWeekdayHour ? 20:10;
    $NodeDeallocationOption = taskcompletion;
"""


def test_working_hours_in_the_evening() -> None:
    found = run(_WORKING_HOURS)
    assert found.results == (
        "$TargetDedicatedNodes=10;$TargetLowPriorityNodes=0;$NodeDeallocationOption=taskcompletion;"
        "$curTime=2016-10-13T19:18:47.805Z;$isWeekday=1;$isWorkingWeekdayHour=0;$workHours=0"
    )


@pytest.mark.parametrize(
    ("moment", "nodes"),
    [
        ("2016-10-13T07:59:59Z", 10),
        ("2016-10-13T08:00:00Z", 20),
        ("2016-10-13T17:59:59Z", 20),
        ("2016-10-13T18:00:00Z", 10),
        ("2016-10-14T12:00:00Z", 20),
        ("2016-10-15T12:00:00Z", 10),
        ("2016-10-16T12:00:00Z", 10),
        ("2016-10-17T12:00:00Z", 20),
    ],
)
def test_working_hours(moment: str, nodes: int) -> None:
    assert run(_WORKING_HOURS, now=from_iso(moment)).targets.dedicated_nodes == nodes


@pytest.mark.parametrize(("moment", "nodes"), [("2016-10-17T00:00:00Z", 5), ("2016-10-18T00:00:00Z", 1)])
def test_more_nodes_on_mondays(moment: str, nodes: int) -> None:
    formula = "$TargetDedicatedNodes = (time().weekday == 1 ? 5:1);"
    assert run(formula, now=from_iso(moment)).targets == Targets(nodes)


_PENDING = """
    startingNumberOfVMs = 1;
    maxNumberofVMs = 25;
    pendingTaskSamplePercent = $PendingTasks.GetSamplePercent(180 * TimeInterval_Second);
    pendingTaskSamples = pendingTaskSamplePercent < 70 ? startingNumberOfVMs
                                                       : avg($PendingTasks.GetSample(180 * TimeInterval_Second));
    $TargetDedicatedNodes=min(maxNumberofVMs, pendingTaskSamples);
    $NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("pending", "nodes"),
    [
        ([], 1),
        ([40], 1),
        ([40] * 4, 1),
        ([40] * 5, 25),
        ([40] * 6, 25),
        ([3, 3, 3, 3, 3, 5.4], 3),
        ([100, 0, 0, 0, 0, 0, 0], 0),
        ([0] * 20 + [12] * 6, 12),
    ],
)
def test_pending_tasks(pending: list[float], nodes: int) -> None:
    found = run(_PENDING, {"$PendingTasks": pending}, targets=Targets(9))
    assert (found.targets, found.error) == (Targets(nodes), None)
    assert found.node_deallocation_option is DeallocationOption.TASK_COMPLETION


@pytest.mark.parametrize(
    ("preempted", "targets"),
    [
        ([0] * 6, Targets(0, 25)),
        ([0, 0, 0, 2, 3, 3], Targets(0, 25)),
        ([4, 3, 3, 3, 3, 5], Targets(3, 22)),
        ([30] * 6, Targets(25, 0)),
    ],
)
def test_preempted_nodes_are_replaced_by_dedicated_ones(preempted: list[float], targets: Targets) -> None:
    formula = """
        maxNumberofVMs = 25;
        $TargetDedicatedNodes = min(maxNumberofVMs, $PreemptedNodeCount.GetSample(180 * TimeInterval_Second));
        $TargetLowPriorityNodes = min(maxNumberofVMs , maxNumberofVMs - $TargetDedicatedNodes);
        $NodeDeallocationOption = taskcompletion;
    """
    assert run(formula, {"$PreemptedNodeCount": preempted}).targets == targets


_CPU = """
    $totalDedicatedNodes =
        (min($CPUPercent.GetSample(TimeInterval_Minute * 10)) > 0.7) ?
        ($CurrentDedicatedNodes * 1.1) : $CurrentDedicatedNodes;
    $totalDedicatedNodes =
        (avg($CPUPercent.GetSample(TimeInterval_Minute * 60)) < 0.2) ?
        ($CurrentDedicatedNodes * 0.9) : $totalDedicatedNodes;
    $TargetDedicatedNodes = min(400, $totalDedicatedNodes)
"""


@pytest.mark.parametrize(
    ("nodes", "cpu", "expected"),
    [
        (10, [0.8] * 120, 11),
        (10, [0.05] * 120, 9),
        (10, [0.5] * 120, 10),
        (10, [0.9] * 119 + [0.6], 10),
        (10, [0.1] * 100 + [0.8] * 20, 11),
        (390, [0.8] * 120, 400),
    ],
)
def test_cpu_use(nodes: int, cpu: list[float], expected: int) -> None:
    script: Script = {"$CPUPercent": cpu, "$CurrentDedicatedNodes": [nodes]}
    assert run(_CPU, script, targets=Targets(nodes)).targets == Targets(expected)


def test_cpu_use_of_a_new_pool_is_not_known() -> None:
    found = run(_CPU, {"$CPUPercent": [0.9] * 10, "$CurrentDedicatedNodes": [10]}, targets=Targets(10))
    assert found.targets == Targets(10)
    assert found.error is not None
    assert found.error.reason == "Line 3, Col 35: Insufficient data from data set: $CPUPercent wanted 70%, received 50%"


def test_cpu_use_by_the_old_names_on_a_new_pool() -> None:
    formula = (
        "totalNodes=($CPUPercent.GetSamplePercent(TimeInterval_Minute*0,TimeInterval_Minute*10)<0.7?5:"
        "(min($CPUPercent.GetSample(TimeInterval_Minute*0, TimeInterval_Minute*10))>0.8?($CurrentDedicated*1.1):"
        "$CurrentDedicated));$TargetDedicated=min(100,totalNodes);"
    )
    assert run(formula).results == (
        "$TargetDedicatedNodes=5;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;totalNodes=5"
    )
    assert run(formula, {"$CPUPercent": [0.9] * 20, "$CurrentDedicatedNodes": [20]}).targets == Targets(22)


_TASKS = """
    // Get pending tasks for the past 15 minutes.
    $samples = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 15);
    // Few samples: the last one; otherwise the larger of the last one and the average.
    $tasks = $samples < 70 ? max(0, $PendingTasks.GetSample(1)) :
        max( $PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 15)));
    // No tasks: half of the nodes.
    $targetVMs = $tasks > 0 ? $tasks : max(0, $TargetDedicatedNodes / 2);
    cappedPoolSize = 20;
    $TargetDedicatedNodes = max(0, min($targetVMs, cappedPoolSize));
    $NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("pending", "present", "nodes"),
    [
        ([], 10, 5),
        ([0] * 30, 10, 5),
        ([0] * 30, 5, 2),
        ([0] * 30, 2, 1),
        ([0] * 30, 1, 0),
        ([7], 0, 7),
        ([7] * 10, 0, 7),
        ([6] * 29 + [1], 0, 5),
        ([0] * 29 + [15], 0, 15),
        ([100] * 30, 3, 20),
    ],
)
def test_tasks_of_the_last_quarter_of_an_hour(pending: list[float], present: int, nodes: int) -> None:
    found = run(_TASKS, {"$PendingTasks": pending}, targets=Targets(present))
    assert (found.targets, found.error) == (Targets(nodes), None)


@pytest.mark.parametrize(
    ("active", "present", "nodes"),
    [(0, 2, 0), (0, 0, 0), (9, 0, 3), (9, 1, 3), (8, 2, 2), (12, 2, 3), (13, 2, 3), (100, 3, 3)],
)
def test_parallel_tasks_on_a_node(active: int, present: int, nodes: int) -> None:
    """Four tasks run at once on a node, and three nodes are the most."""
    formula = """
        $samples = $ActiveTasks.GetSamplePercent(TimeInterval_Minute * 15);
        $tasks = $samples < 70 ? max(0,$ActiveTasks.GetSample(1)) :
            max( $ActiveTasks.GetSample(1),avg($ActiveTasks.GetSample(TimeInterval_Minute * 15)));
        $cores = $TargetDedicatedNodes * 4;
        $extraVMs = (($tasks - $cores) + 3) / 4;
        $targetVMs = ($TargetDedicatedNodes + $extraVMs);
        $TargetDedicatedNodes = max(0,min($targetVMs,3));
        $NodeDeallocationOption = taskcompletion;
    """
    found = run(formula, {"$ActiveTasks": [active] * 30}, targets=Targets(present))
    assert (found.targets, found.error) == (Targets(nodes), None)


_CREATED = NOW - 6 * MINUTE
_START = """
    $TargetDedicatedNodes = 4;
    lifespan         = time() - time("Thu, 13 Oct 2016 19:12:47 GMT");
    span             = TimeInterval_Minute * 60;
    startup          = TimeInterval_Minute * 10;
    ratio            = 50;
    $TargetDedicatedNodes = (lifespan > startup
        ? (max($RunningTasks.GetSample(span, ratio), $ActiveTasks.GetSample(span, ratio)) == 0
            ? 0 : $TargetDedicatedNodes)
        : 4);
"""


@pytest.mark.parametrize(
    ("age", "script", "targets"),
    [
        (6 * MINUTE, {}, Targets(4)),
        (9 * MINUTE, {}, Targets(4)),
        (2 * HOUR, {"$RunningTasks": [0] * 60, "$ActiveTasks": [0] * 60}, Targets(0)),
        (2 * HOUR, {"$RunningTasks": [1] + [0] * 119, "$ActiveTasks": [0] * 60}, Targets(4)),
        (2 * HOUR, {"$RunningTasks": [0] * 60, "$ActiveTasks": [0] * 59 + [3]}, Targets(4)),
    ],
)
def test_four_nodes_at_the_start_and_none_when_idle(age: int, script: Script, targets: Targets) -> None:
    found = run(_START, script, now=_CREATED + age, targets=Targets(7))
    assert (found.targets, found.error) == (targets, None)


def test_four_nodes_at_the_start_and_then_not_enough_samples() -> None:
    found = run(_START, {"$RunningTasks": [0] * 30}, now=_CREATED + 2 * HOUR, targets=Targets(7))
    assert found.targets == Targets(7)
    assert found.error is not None
    assert (
        found.error.reason == "Line 8, Col 39: Insufficient data from data set: $RunningTasks wanted 50%, received 25%"
    )


def test_last_sample_weighs_more_and_preempted_nodes_move() -> None:
    """The shape of formulas that programs write: many variables without a dollar sign."""
    formula = """
        perNode = 4; maxDedicated = 10; maxLowPriority = 16777216;
        span = TimeInterval_Second * 600.0;
        percent = $PendingTasks.GetSamplePercent(span);
        last = val($PendingTasks.GetSample(1), 0);
        mean = percent < 70 ? max(0, last) : avg($PendingTasks.GetSample(span));
        tasks = percent < 70 ? max(0, last) : (last < mean ? avg(last, mean) : max(last, mean));
        wanted = tasks / perNode;
        wanted = (tasks > 0 && wanted < 1) ? 1 : wanted;
        lost = avg($PreemptedNodeCount.GetSample(span, 70));
        total = $CurrentDedicatedNodes + $CurrentLowPriorityNodes;
        rebalance = total > 0 ? lost / total >= 0.5 : 0;
        divisor = (maxDedicated == 0 || maxLowPriority == 0) ? 1 : 2;
        dedicated = max(0, min(wanted / divisor, maxDedicated));
        moved = (rebalance && wanted > dedicated) ? min(lost, wanted - dedicated) : 0;
        dedicated = min(dedicated + moved, maxDedicated);
        $TargetDedicatedNodes = dedicated;
        $TargetLowPriorityNodes = max(0, min(wanted - dedicated, maxLowPriority));
        $NodeDeallocationOption = taskcompletion;
    """
    script = {
        "$PendingTasks": [40] * 19 + [20],
        "$PreemptedNodeCount": [3] * 20,
        "$CurrentDedicatedNodes": [2],
        "$CurrentLowPriorityNodes": [4],
    }
    found = run(formula, script)
    # mean 39, tasks 29.5, wanted 7.375, dedicated 3.6875 + 3 moved
    assert found.targets == Targets(6, 0)
    assert variable(found, "tasks") == "29.5"


def test_slots_are_what_is_scaled_by() -> None:
    """Two tasks of one slot and two of two slots, on nodes of two slots: three nodes, where tasks would say two."""
    script = {"$PendingTasks": [4], "$PendingTaskSlots": [6], "$TaskSlotsPerNode": [2]}
    assert run("$TargetDedicatedNodes = $PendingTasks / $TaskSlotsPerNode + 0.9;", script).targets == Targets(2)
    assert run("$TargetDedicatedNodes = ceil($PendingTaskSlots / $TaskSlotsPerNode);", script).targets == Targets(3)


def test_ratio_is_read_out_of_the_results_of_a_dry_run() -> None:
    formula = """
        $span = 15 * TimeInterval_Minute;
        $pendingVector = $PendingTasks.GetSample(TimeInterval_Minute, $span);
        $runningVector = $RunningTasks.GetSample(TimeInterval_Minute, $span);
        $pending = avg($pendingVector);
        $ratio = avg($runningVector) / ($pending > 0 ? $pending : 1);
        $ratioResult = $pending > 0 ? $ratio : -1;
    """
    script = {"$PendingTasks": [8] * 30, "$RunningTasks": [2] * 30}
    found = run(formula, script, targets=Targets(2))
    assert variable(found, "$ratioResult") == "0.25"
    assert variable(found, "$pendingVector") == f"[{','.join(['8'] * 28)}]"
    assert variable(run(formula, {"$PendingTasks": [0] * 30, "$RunningTasks": [0] * 30}), "$ratioResult") == "-1"


@pytest.mark.parametrize(("pending", "nodes"), [([], 7), ([3], 3), ([12] * 5, 7)])
def test_count_as_a_guard(pending: list[float], nodes: int) -> None:
    formula = """
        counted = $PendingTasks.Count();
        calculated = min(7, $PendingTasks.GetSample(1));
        $TargetDedicatedNodes = (counted > 0) ? calculated : 7;
    """
    assert run(formula, {"$PendingTasks": pending}).targets == Targets(nodes)


def test_needed_nodes_from_single_samples() -> None:
    formula = (
        "$limit=1;$least = 0;$active =$ActiveTasks.GetSample(1);$running =$RunningTasks.GetSample(1);"
        "$both = max($active, 0) + max($running, 0);$needed =$both >= 1;"
        "$nodes =$both >$limit ?$limit:$both;$TargetDedicated =$needed ?$nodes:$least;"
    )
    assert run(formula).targets == Targets(0)
    assert run(formula, {"$ActiveTasks": [3], "$RunningTasks": [1]}).targets == Targets(1)
