"""What holds for every formula and every history."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.batch.engine.autoscale import (
    METRICS,
    PERIOD,
    FormulaError,
    History,
    Targets,
    compile,  # noqa: A004
    evaluate,
)
from millpond.common.clock import HOUR, to_iso
from millpond.common.durations import parse_duration

from .scripted import NOW, history, run, value

_SCRIPT: dict[str, list[float | None]] = {
    "$PendingTasks": [3.0] * 40,
    "$RunningTasks": [None, 0.0, 1.5, None, 2.0],
    "$CPUPercent": [0.7],
}
_WORDS = [
    *["x", "$y", "$TargetDedicatedNodes", "$TargetLowPriority", "$NodeDeallocationOption", "requeue", "taskcompletion"],
    *["$PendingTasks", "$RunningTasks", "$CPUPercent", "$FailedTasks", "$CurrentDedicated"],
    *["TimeInterval_Minute", "TimeInterval_Hour", "TimeInterval_Zero", "TimeInterval_Year"],
    *["avg", "len", "lg", "max", "std", "percentile", "val", "vec", "time", "rand", "stop", "round", "norm", "nothing"],
    *["GetSample", "GetSamplePercent", "Count", "GetSamplePeriod", "HistoryBeginTime", "weekday"],
    *["0", "1", "2.5", "70", "1e300", '"2016-10-13"', '""', '"a"'],
    *[
        "+",
        "-",
        "*",
        "/",
        "<",
        "<=",
        "==",
        "!=",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "=",
        ".",
        ",",
        ";",
        "(",
        ")",
        "\n",
        "// c\n",
    ],
]
_OPERATORS = ["+", "-", "*", "/", "<", "<=", "==", ">=", ">", "!=", "&&", "||"]
_FUNCTIONS = ["avg", "len", "lg", "ln", "log", "max", "min", "norm", "percentile", "range", "std", "sum", "val", "vec"]
_FUNCTIONS += ["ceil", "floor", "round", "time", "rand", "stop", "nothing"]

_leaves = st.one_of(
    st.sampled_from(["x", "$y", "$TargetDedicatedNodes", "$NodeDeallocationOption", "requeue", "TimeInterval_Minute"]),
    st.sampled_from(["$PendingTasks", "$RunningTasks", "$CPUPercent", "$FailedTasks", "time()", "rand()", "stop()"]),
    st.sampled_from(["TimeInterval_Year", "TimeInterval_Zero", '"2016-10-13"', '"x"', "0", "1e308", "70"]),
    st.integers(0, 10**6).map(str),
)
_expressions = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(_OPERATORS), inner).map(lambda p: f"({' '.join(p)})"),
        st.tuples(st.sampled_from("-!"), inner).map("".join),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} ? {p[1]} : {p[2]})"),
        st.tuples(st.sampled_from(_FUNCTIONS), st.lists(inner, max_size=3)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
        st.tuples(
            st.sampled_from(["$PendingTasks", "$RunningTasks", "$FailedTasks"]),
            st.sampled_from(["GetSample", "GetSamplePercent", "Count", "GetSamplePeriod", "HistoryBeginTime"]),
            st.lists(inner, max_size=3),
        ).map(lambda p: f"{p[0]}.{p[1]}({', '.join(p[2])})"),
        st.tuples(inner, st.sampled_from(["weekday", "hour", "nothing"])).map(lambda p: f"({p[0]}).{p[1]}"),
    ),
    max_leaves=12,
)
_names = st.sampled_from(["x", "$y", "z", "$TargetDedicatedNodes", "$TargetLowPriority", "$NodeDeallocationOption"])
_formulas = st.lists(st.tuples(_names, _expressions).map(" = ".join), min_size=1, max_size=4).map(";\n".join)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_WORDS), max_size=25).map(" ".join)))
def test_no_text_breaks_the_compiler(text: str) -> None:
    try:
        compile(text)
    except FormulaError as error:
        assert error.code == "AutoScalingFormulaSyntaxError"
        assert error.reason.startswith("Line ")


@settings(deadline=None)
@given(st.one_of(_formulas, st.lists(st.sampled_from(_WORDS), max_size=25).map(" ".join)))
def test_no_formula_breaks_the_evaluation(formula: str) -> None:
    present = Targets(2, 5)
    found = evaluate(formula, history(_SCRIPT), NOW, present)
    assert found.results.startswith(
        f"$TargetDedicatedNodes={found.targets.dedicated_nodes}"
        f";$TargetLowPriorityNodes={found.targets.low_priority_nodes}"
        f";$NodeDeallocationOption={found.node_deallocation_option}"
    )
    assert min(found.targets.dedicated_nodes, found.targets.low_priority_nodes) >= 0
    if found.error:
        assert found.targets == present
        assert found.error.code in {
            "AutoScalingFormulaSyntaxError",
            "AutoScalingFormulaEvaluationError",
            "InsufficientSampleData",
        }
    # The same again is the same.
    assert evaluate(formula, history(_SCRIPT), NOW, present).results == found.results


@settings(deadline=None)
@given(_formulas)
def test_error_lies_within_the_formula(formula: str) -> None:
    error = evaluate(formula, history(_SCRIPT), NOW).error
    if error:
        place = error.reason.partition(":")[0].replace(",", "").split()
        line, column = int(place[1]), int(place[3])
        assert column <= len(formula.split("\n")[line - 1])


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_are_written_so_that_they_can_be_read(number: float) -> None:
    written = value(repr(number))
    assert float(written) == number
    assert value(written) == written


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_vectors_are_written_so_that_they_can_be_read(numbers: list[float]) -> None:
    written = value(f"vec({','.join(map(repr, numbers))})")
    assert [float(number) for number in written.strip("[]").split(",") if number] == numbers


@settings(deadline=None)
@given(st.integers(0, 4 * 10**15))
def test_timestamps_are_written_so_that_they_can_be_read(moment: int) -> None:
    written = value(f'time("{to_iso(moment)}")')
    assert value(f'time("{written}")') == written
    assert value(f'time("{to_iso(moment)}") - time("{written}") < TimeInterval_Millisecond') == "1"


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15))
def test_intervals_are_written_as_durations(micros: int) -> None:
    assert parse_duration(value(f"TimeInterval_Microsecond * {micros}")) == micros


_Known = tuple[str, float]
_arithmetic: dict[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_comparisons: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}


def _known(inner: st.SearchStrategy[_Known]) -> st.SearchStrategy[_Known]:
    def combined(left: _Known, symbol: str, right: _Known) -> _Known:
        text = f"({left[0]} {symbol} {right[0]})"
        if symbol in _arithmetic:
            return text, _arithmetic[symbol](left[1], right[1])
        if symbol in _comparisons:
            return text, float(_comparisons[symbol](left[1], right[1]))
        if symbol == "&&":
            return text, float(bool(left[1] and right[1]))
        return text, float(bool(left[1] or right[1]))

    symbols = st.sampled_from([*_arithmetic, *_comparisons, "&&", "||"])
    return st.one_of(
        st.builds(combined, inner, symbols, inner),
        inner.map(lambda known: (f"-{known[0]}", -known[1])),
        inner.map(lambda known: (f"!{known[0]}", float(not known[1]))),
        st.builds(lambda c, a, b: (f"({c[0]} ? {a[0]} : {b[0]})", a[1] if c[1] else b[1]), inner, inner, inner),
        st.builds(lambda a, b: (f"max({a[0]}, {b[0]})", max(a[1], b[1])), inner, inner),
    )


@settings(deadline=None)
@given(st.recursive(st.integers(0, 9).map(lambda number: (str(number), float(number))), _known, max_leaves=20))
def test_expressions_mean_what_they_mean(known: _Known) -> None:
    text, expected = known
    assert float(value(text)) == expected


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2 * HOUR), max_size=60).map(sorted),
    st.integers(0, 3 * HOUR),
    st.integers(0, 3 * HOUR),
)
def test_history_gives_what_was_recorded(moments: list[int], one: int, other: int) -> None:
    recorded = History()
    known: dict[int, float] = {}
    for number, moment in enumerate(moments):
        recorded.record(moment, {"$ActiveTasks": number})
        known[moment // PERIOD] = float(number)
    now = 3 * HOUR
    start, end = sorted((one, other))
    periods = [period for period in range(now // PERIOD + 1) if now - end < period * PERIOD <= now - start]
    available = [known[period] for period in periods if period in known]
    bounds = f"TimeInterval_Microsecond * {one}, TimeInterval_Microsecond * {other}"

    found = evaluate(
        f"v = vec($ActiveTasks.GetSample({bounds}, 0)); p = $ActiveTasks.GetSamplePercent({bounds})", recorded, now
    )
    _, _, _, percent, vector = found.results.split(";")
    assert vector == f"v=[{','.join(str(int(number)) for number in available)}]"
    expected = 100 * len(available) / len(periods) if periods else 0
    assert math.isclose(float(percent.removeprefix("p=")), expected)


@pytest.mark.parametrize("percent", [10, 50, 70, 99, 100])
@settings(deadline=None)
@given(have=st.integers(0, 20))
def test_too_few_samples_are_an_error_and_enough_are_not(percent: int, have: int) -> None:
    found = run(
        f"v = $ActiveTasks.GetSample(TimeInterval_Minute * 10, {percent});",
        {"$ActiveTasks": [1.0] * have},
    )
    assert (found.error is None) == (have * 5 >= percent)


def test_metrics_have_names_with_a_dollar_sign() -> None:
    assert all(name.startswith("$") for name in METRICS)
