"""The variables that say what a pool should have, and the results."""

from __future__ import annotations

import pytest

from millpond.batch.engine.autoscale import History, Targets, compile, evaluate  # noqa: A004
from millpond.batch.model.pool import DeallocationOption

from .scripted import NOW, history, reason, run, variable

_PRESENT = Targets(2, 5)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("$TargetDedicatedNodes = 3;", Targets(3, 5)),
        ("$TargetLowPriorityNodes = 3;", Targets(2, 3)),
        ("$TargetDedicatedNodes = 1; $TargetLowPriorityNodes = 0;", Targets(1, 0)),
        ("x = 1;", _PRESENT),
        ("$TargetDedicatedNodes = 2.9;", Targets(2, 5)),
        ("$TargetDedicatedNodes = 0.5;", Targets(0, 5)),
        ("$TargetDedicatedNodes = 5 / 2;", Targets(2, 5)),
        ("$TargetDedicatedNodes = -0.5;", Targets(0, 5)),
        ("$TargetDedicatedNodes = -7;", Targets(0, 5)),
        ("$TargetLowPriorityNodes = -7;", Targets(2, 0)),
        ("$TargetDedicatedNodes = $TargetDedicatedNodes + $TargetLowPriorityNodes;", Targets(7, 5)),
        ("$TargetDedicatedNodes = 9; $TargetDedicatedNodes = $TargetDedicatedNodes / 3;", Targets(3, 5)),
        ("$TargetDedicatedNodes = 1 > 0;", Targets(1, 5)),
        ("$TargetDedicatedNodes = $RunningTasks;", Targets(4, 5)),
        # the old names
        ("$TargetDedicated = 1; $TargetLowPriority = 3;", Targets(1, 3)),
        ("$TargetDedicated = $TargetDedicated + $TargetLowPriority;", Targets(7, 5)),
        ("$TargetDedicated = 4; $TargetLowPriorityNodes = $TargetDedicatedNodes;", Targets(4, 4)),
        ("$TargetDedicatedNodes = 4; $TargetLowPriority = $TargetDedicated;", Targets(4, 4)),
        ("$TargetDedicated = 4; $TargetDedicatedNodes = 6;", Targets(6, 5)),
        ("$TargetDedicatedNodes = 6; $TargetDedicated = 4;", Targets(6, 5)),
        ("$TargetLowPriorityNodes = 6; $TargetLowPriority = 4;", Targets(2, 6)),
    ],
)
def test_targets(formula: str, expected: Targets) -> None:
    found = run(formula, {"$RunningTasks": [4]}, targets=_PRESENT)
    assert (found.targets, found.error) == (expected, None)
    assert variable(found, "$TargetDedicatedNodes") == str(expected.dedicated_nodes)
    assert variable(found, "$TargetLowPriorityNodes") == str(expected.low_priority_nodes)


@pytest.mark.parametrize("option", DeallocationOption)
def test_deallocation_option(option: DeallocationOption) -> None:
    found = run(f"$NodeDeallocationOption = {option}; again = $NodeDeallocationOption;")
    assert found.node_deallocation_option is option
    assert variable(found, "$NodeDeallocationOption") == variable(found, "again") == option


def test_deallocation_option_is_requeue_unless_set() -> None:
    assert run("x = $NodeDeallocationOption;").node_deallocation_option is DeallocationOption.REQUEUE


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("$TargetDedicatedNodes = vec(1);", "Line 1, Col 1: $TargetDedicatedNodes is a double, not doubleVec"),
        ('$TargetLowPriority = "1";', "Line 1, Col 1: $TargetLowPriority is a double, not string"),
        (
            "x = 1; $TargetDedicatedNodes = requeue;",
            "Line 1, Col 8: $TargetDedicatedNodes is a double, not deallocation",
        ),
        ("$TargetDedicatedNodes = 3000000000;", "Line 1, Col 1: $TargetDedicatedNodes is at most 2147483647"),
        ("$NodeDeallocationOption = 1;", "Line 1, Col 1: $NodeDeallocationOption is one of requeue, terminate, "),
        ('$NodeDeallocationOption = "requeue";', "$NodeDeallocationOption is one of"),
        ("$RunningTasks = 1;", "Line 1, Col 1: $RunningTasks is read-only"),
        ("$CurrentDedicated = 1;", "Line 1, Col 1: $CurrentDedicated is read-only"),
        ("TimeInterval_Hour = 1;", "Line 1, Col 1: TimeInterval_Hour is a constant"),
        ("requeue = 1;", "Line 1, Col 1: requeue is a constant"),
    ],
)
def test_wrong_assignment_says_where_and_why(formula: str, why: str) -> None:
    assert why in reason(formula)


def test_results_are_targets_option_and_variables_in_order_of_their_names() -> None:
    found = run(
        "$tasks = 0; $maxTasksPerNode = 4; $targetVMs = 1; $round = 3; $samples = 100; totalNodes = 5;"
        "$TargetDedicatedNodes = 2.6; $NodeDeallocationOption = taskcompletion;",
        targets=_PRESENT,
    )
    assert found.results == (
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=5;$NodeDeallocationOption=taskcompletion;"
        "$maxTasksPerNode=4;$round=3;$samples=100;$targetVMs=1;$tasks=0;totalNodes=5"
    )


def test_variable_keeps_the_sample_that_it_was_assigned() -> None:
    assert variable(run("x = $CPUPercent;", {"$CPUPercent": [0.25]}), "x") == "0.25"


def test_error_leaves_the_pool_as_it_is_and_shows_what_was_found_out() -> None:
    found = run(
        "x = 7;\n$TargetDedicatedNodes = 9;\n$NodeDeallocationOption = terminate;\ny = $something_useless;",
        targets=_PRESENT,
    )
    assert found.targets == _PRESENT
    assert found.node_deallocation_option is DeallocationOption.REQUEUE
    assert found.results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=5;$NodeDeallocationOption=requeue;x=7"
    assert found.error is not None
    assert found.error.code == "AutoScalingFormulaEvaluationError"
    assert found.error.message == "The specified auto-scaling formula has evaluation error"
    assert found.error.details == (("Message", "Line 4, Col 5: Undefined symbol: $something_useless"),)


def test_undefined_symbol_as_the_whole_formula() -> None:
    found = run("$something_useless", targets=Targets(2, 0))
    assert found.results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    assert found.error is not None
    assert found.error.details == (("Message", "Line 1, Col 1: Undefined symbol: $something_useless"),)


def test_dry_run_reports_errors_of_syntax_too() -> None:
    found = evaluate("x = ;", History(), NOW, _PRESENT)
    assert found.targets == _PRESENT
    assert found.results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=5;$NodeDeallocationOption=requeue"
    assert found.error is not None
    assert found.error.code == "AutoScalingFormulaSyntaxError"


def test_evaluations_of_one_formula_do_not_know_of_each_other() -> None:
    formula = compile("$TargetDedicatedNodes = $TargetDedicatedNodes + $RunningTasks; seen = $RunningTasks;")
    first, second = (formula.evaluate(history({"$RunningTasks": [tasks]}), NOW, Targets(1)) for tasks in (2, 5))
    assert (first.targets, second.targets) == (Targets(3), Targets(6))
    assert variable(first, "seen") == "2"


def test_pool_without_targets_has_none() -> None:
    assert compile("x = $TargetDedicatedNodes;").evaluate(History(), NOW).targets == Targets(0, 0)
