"""What a formula may cost."""

from __future__ import annotations

import pytest

from millpond.batch.engine.autoscale import FormulaError, compile  # noqa: A004

from .scripted import reason, run, value, variable


def test_formula_has_at_most_8192_characters() -> None:
    longest = "x = 1;".ljust(8192)
    assert run(longest).error is None
    with pytest.raises(FormulaError) as caught:
        compile(longest + " ")
    assert (caught.value.status, caught.value.code) == (400, "AutoScaleFormulaTooLong")
    assert caught.value.details == (("Message", "A formula has at most 8192 characters."),)


def test_formula_has_at_most_100_statements() -> None:
    assert run("x = 1;" * 100).error is None
    assert run("x = 1;" * 100 + ";;// no more\n;").error is None
    assert reason("x = 1;" * 100 + "\ny = 2;") == "Line 2, Col 1: a formula has at most 100 statements"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("+".join(["1"] * 4000), "4000"),
        ("1" + "-1" * 4000, "-3999"),
        ("(" * 4000 + "7" + ")" * 4000, "7"),
        ("!" * 8000 + "1", "1"),
        ("-" * 8001 + "1", "-1"),
        ("0?1:" * 2000 + "5", "5"),
        ("1?" * 1300 + "6" + ":0" * 1300, "6"),
        ("&&".join(["1"] * 2700), "1"),
        ("||".join(["0"] * 2700), "0"),
        ("max(" * 1600 + "3" + ")" * 1600, "3"),
        ("max(" + ",".join(["3"] * 4000) + ")", "3"),
    ],
)
def test_no_depth_is_too_deep(expression: str, expected: str) -> None:
    assert value(expression) == expected


def test_vectors_cannot_grow_without_bound() -> None:
    found = run("v = vec(1, 2, 3);" + "v = vec(v, v);" * 99)
    assert found.error is not None
    assert found.error.code == "AutoScalingFormulaEvaluationError"
    assert found.error.reason.endswith("the formula handles more than 500000 elements of vectors")
    assert len(found.results) < 1000


def test_work_on_vectors_is_bounded() -> None:
    day = {"$PendingTasks": range(2880)}
    assert "more than 500000 elements" in reason("v = $PendingTasks.GetSample(9999); v" + "+v" * 3000, day)


def test_every_statement_can_use_all_samples_of_a_day() -> None:
    found = run("x = avg($PendingTasks.GetSample(TimeInterval_Day));" * 100, {"$PendingTasks": range(2880)})
    assert variable(found, "x") == "1439.5"


def test_long_vectors_are_shortened_in_results() -> None:
    written = value("$PendingTasks.GetSample(1000)", {"$PendingTasks": [1] * 300})
    assert written == f"[{','.join(['1'] * 256)},...]"
    assert value("$PendingTasks.GetSample(1000)", {"$PendingTasks": [1] * 256}) == f"[{','.join(['1'] * 256)}]"
