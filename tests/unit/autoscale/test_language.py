"""Types, operators, functions, statements and their errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from millpond.batch.engine.autoscale import FormulaError, compile  # noqa: A004

from .scripted import NOW, reason, run, value, variable

_VECTORS: dict[str, list[float | None]] = {"$RunningTasks": [1, 2, 3], "$ActiveTasks": [4, 5, 6], "$CPUPercent": [0.5]}
_V = "$RunningTasks.GetSample(3)"
_W = "$ActiveTasks.GetSample(3)"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # double
        ("1 + 2", "3"),
        ("5 - 7", "-2"),
        ("3 * 0.5", "1.5"),
        ("5 / 2", "2.5"),
        ("-3", "-3"),
        ("--3", "3"),
        ("!0", "1"),
        ("!7", "0"),
        ("!!7", "1"),
        (".5", "0.5"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1e3", "1000"),
        ("2.5e-7", "2.5E-07"),
        ("1e300", "1E+300"),
        ("0 * -1", "0"),
        # doubleVec
        (f"{_V} + 1", "[2,3,4]"),
        (f"{_V} - 1", "[0,1,2]"),
        (f"{_V} * 2", "[2,4,6]"),
        (f"{_V} / 2", "[0.5,1,1.5]"),
        (f"10 - {_V}", "[9,8,7]"),
        (f"6 / {_V}", "[6,3,2]"),
        (f"{_V} + {_W}", "[5,7,9]"),
        (f"{_W} - {_V}", "[3,3,3]"),
        (f"{_V} * {_W}", "[4,10,18]"),
        (f"{_W} / {_V}", "[4,2.5,2]"),
        # timeinterval
        ("TimeInterval_Minute * 5", "PT5M"),
        ("5 * TimeInterval_Minute", "PT5M"),
        ("TimeInterval_Hour / 4", "PT15M"),
        ("TimeInterval_Day + TimeInterval_Second", "P1DT1S"),
        ("TimeInterval_Minute - TimeInterval_Hour", "-PT59M"),
        ("-TimeInterval_Week", "-P7D"),
        ("TimeInterval_Zero", "PT0S"),
        ("TimeInterval_100ns * 10", "PT0.000001S"),
        ("TimeInterval_Microsecond * 1000 == TimeInterval_Millisecond", "1"),
        ("TimeInterval_Millisecond * 1000 == TimeInterval_Second", "1"),
        ("TimeInterval_Second * 60 == TimeInterval_Minute", "1"),
        ("TimeInterval_Minute * 60 == TimeInterval_Hour", "1"),
        ("TimeInterval_Hour * 24 == TimeInterval_Day", "1"),
        ("TimeInterval_Day * 7 == TimeInterval_Week", "1"),
        ("TimeInterval_Day * 365 == TimeInterval_Year", "1"),
        # timestamp
        ("time()", "2016-10-13T19:18:47.805Z"),
        ('time("")', "2016-10-13T19:18:47.805Z"),
        ('time("2016-10-13T19:18:47Z")', "2016-10-13T19:18:47.000Z"),
        ('time("2016-10-13T21:18:47.5+02:00")', "2016-10-13T19:18:47.500Z"),
        ('time("2016-10-13T21:18+02:00")', "2016-10-13T19:18:00.000Z"),
        ('time("2016-10-13T19:18:47.1234567Z")', "2016-10-13T19:18:47.123Z"),
        ('time("2016-10-13")', "2016-10-13T00:00:00.000Z"),
        ('time("2016-10")', "2016-10-01T00:00:00.000Z"),
        ('time("2016")', "2016-01-01T00:00:00.000Z"),
        ('time("Thu, 13 Oct 2016 19:18:47 GMT")', "2016-10-13T19:18:47.000Z"),
        ('time("2016-10-13") + TimeInterval_Day', "2016-10-14T00:00:00.000Z"),
        ('TimeInterval_Day + time("2016-10-13")', "2016-10-14T00:00:00.000Z"),
        ('time("2016-10-13") - TimeInterval_Day', "2016-10-12T00:00:00.000Z"),
        ('time("2016-10-13") - time("2016-10-12T23:00Z")', "PT1H"),
        ("time().year", "2016"),
        ("time().month", "10"),
        ("time().day", "13"),
        ("time().weekday", "4"),
        ("time().hour", "19"),
        ("time().minute", "18"),
        ("time().second", "47"),
        ('time("2016-10-10").weekday', "1"),
        ('time("2016-10-16").weekday', "7"),
        # comparisons
        ("1 < 2", "1"),
        ("2 <= 2", "1"),
        ("1 == 2", "0"),
        ("1 >= 2", "0"),
        ("2 > 1", "1"),
        ("1 != 1", "0"),
        ('"a" < "b"', "1"),
        ('"a" == "a"', "1"),
        ('"a" != "a"', "0"),
        ('time("2016-01-01") < time()', "1"),
        ('time("2016-01-01") >= time()', "0"),
        ("time() == time()", "1"),
        ("TimeInterval_Hour > TimeInterval_Minute", "1"),
        ("TimeInterval_Hour != TimeInterval_Minute * 60", "0"),
        # logic, which asks no more than it must
        ("2 && 3", "1"),
        ("2 && 0", "0"),
        ("0 || 3", "1"),
        ("5 || 0", "1"),
        ("0 || 0", "0"),
        ("0 && 1/0", "0"),
        ("1 || 1/0", "1"),
        ("1 ? 2 : 1/0", "2"),
        ("0 ? 1/0 : 2", "2"),
        ("1 ? TimeInterval_Hour : 2", "PT1H"),
        # strings and options
        ('"so"', '"so"'),
        ("1 ? taskcompletion : requeue", "taskcompletion"),
        # a metric where a number is wanted is its last sample
        ("$RunningTasks", "3"),
        ("$RunningTasks * 1.5 + $ActiveTasks", "10.5"),
        ("-$RunningTasks", "-3"),
        ("$RunningTasks > 2 && !$CPUPercent", "0"),
        ("$CPUPercent ? 1 : 2", "1"),
        ("max($RunningTasks, $ActiveTasks)", "6"),
        ("$ActiveTasks.GetSample($RunningTasks)", "[4,5,6]"),
    ],
)
def test_expression_has_value(expression: str, expected: str) -> None:
    assert value(expression, _VECTORS) == expected


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("8 - 4 - 2", "(8 - 4) - 2"),
        ("8 / 4 / 2", "(8 / 4) / 2"),
        ("2 - 3 < 4 + 5", "(2 - 3) < (4 + 5)"),
        ("1 < 2 == 2 > 1", "(1 < 2) == (2 > 1)"),
        ("3 > 2 > 1", "(3 > 2) > 1"),
        ("1 == 1 && 0 == 0", "(1 == 1) && (0 == 0)"),
        ("1 || 1 && 0", "1 || (1 && 0)"),
        ("0 ? 1 : 0 ? 2 : 3", "0 ? 1 : (0 ? 2 : 3)"),
        ("1 ? 0 ? 4 : 5 : 6", "1 ? (0 ? 4 : 5) : 6"),
        ("0 || 0 ? 7 : 8", "(0 || 0) ? 7 : 8"),
        ("-2 * -3", "(-2) * (-3)"),
        ("!0 + 1", "(!0) + 1"),
        ("-time().hour", "-(time().hour)"),
    ],
)
def test_precedence_is_that_of_c(expression: str, same: str) -> None:
    assert value(expression) == value(same)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"avg({_V})", "2"),
        (f"avg({_V}, 10)", "4"),
        ("avg(1, 2, 6)", "3"),
        (f"len({_V})", "3"),
        (f"len({_V}, 1, {_W})", "7"),
        ("len()", "0"),
        ("lg(8)", "3"),
        (f"lg({_V} * {_V} + 3)", "[2,2.807354922057604,3.584962500721156]"),
        ("lg(vec(8))", "[3]"),
        ("lg(1, 2, 4)", "[0,1,2]"),
        ("ln(1)", "0"),
        ("ln(vec(1))", "[0]"),
        ("log(1000)", "3"),
        ("log(10, 100)", "[1,2]"),
        (f"max({_V})", "3"),
        (f"max(9, {_V})", "9"),
        (f"min({_V}, 0.5)", "0.5"),
        ("norm(3, 4)", "5"),
        ("norm()", "0"),
        (f"percentile({_V}, 0)", "1"),
        (f"percentile({_V}, 34)", "2"),
        (f"percentile({_V}, 50)", "2"),
        (f"percentile({_V}, 100)", "3"),
        ("percentile(vec(9, 1, 5, 3), 75)", "5"),
        (f"range({_V}, 11)", "10"),
        ("std(2, 4, 4, 4, 5, 5, 7, 9)", "2.138089935299395"),
        (f"std({_V})", "1"),
        (f"sum({_V}, 4)", "10"),
        ("sum()", "0"),
        (f"val({_V}, 0)", "1"),
        (f"val({_V}, 2.9)", "3"),
        ("vec(1, 2)", "[1,2]"),
        (f"vec(0, {_V})", "[0,1,2,3]"),
        ("ceil(1.1)", "2"),
        ("ceil(-1.1)", "-1"),
        ("floor(1.9)", "1"),
        ("floor(-1.1)", "-2"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.4)", "2"),
        ("round(0.49999999999999994)", "0"),
        (f"ceil({_V} / 2)", "[1,1,2]"),
        (f"floor({_V} / 2)", "[0,1,1]"),
        (f"round({_V} / 2)", "[1,1,2]"),
    ],
)
def test_function_has_value(expression: str, expected: str) -> None:
    assert value(expression, _VECTORS) == expected


def test_rand_is_between_0_and_1_and_the_same_for_the_same_moment() -> None:
    formula = "a = rand(); b = rand();"
    first = run(formula)
    numbers = [float(variable(first, name)) for name in "ab"]
    assert numbers[0] != numbers[1]
    assert all(0 <= number < 1 for number in numbers)
    assert run(formula) == first
    assert run(formula, now=NOW + 1).results != first.results


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1 + time()", "Line 1, Col 7: operator + does not apply to double and timestamp"),
        ('"a" + "b"', "Line 1, Col 9: operator + does not apply to string and string"),
        ("time() + time()", "operator + does not apply to timestamp and timestamp"),
        ("TimeInterval_Hour - time()", "operator - does not apply to timeinterval and timestamp"),
        ("TimeInterval_Hour * TimeInterval_Hour", "operator * does not apply to timeinterval and timeinterval"),
        ("TimeInterval_Hour / TimeInterval_Hour", "operator / does not apply to timeinterval and timeinterval"),
        ("2 / TimeInterval_Hour", "operator / does not apply to double and timeinterval"),
        (f"{_V} * TimeInterval_Hour", "operator * does not apply to doubleVec and timeinterval"),
        (f"{_V} > 1", "operator > does not apply to doubleVec and double"),
        (f"{_V} == {_V}", "operator == does not apply to doubleVec and doubleVec"),
        ('1 == "1"', "operator == does not apply to double and string"),
        ("requeue == requeue", "operator == does not apply to deallocation option and deallocation option"),
        ('requeue == "requeue"', "operator == does not apply to deallocation option and string"),
        (f"-{_V}", "Line 1, Col 5: operator - does not apply to doubleVec"),
        ("-time()", "operator - does not apply to timestamp"),
        ("!TimeInterval_Hour", "operator ! does not apply to timeinterval"),
        (f"{_V} ? 1 : 2", "operator ? takes a double, not doubleVec"),
        ('"a" && 1', "Line 1, Col 9: operator && takes a double, not string"),
        ("1 && time()", "operator && takes a double, not timestamp"),
        ("0 || time()", "operator || takes a double, not timestamp"),
        (f"{_V} + {_W} * vec(1, 2)", "vectors of 3 and 2 elements do not match"),
        ("1 / 0", "Line 1, Col 7: division by zero"),
        (f"{_V} / 0", "division by zero"),
        ("TimeInterval_Hour / 0", "division by zero"),
        ("1e308 * 10", "the result is not a finite number"),
        ("vec(1e308) * 10", "an element of the result is not a finite number"),
        ("TimeInterval_Year * 1e9", "the result is out of the range of time intervals"),
        ("TimeInterval_Year * 1e300", "the result is too large"),
        ("time() + TimeInterval_Year * 9000", "the result is out of the range of timestamps"),
        ("time() - TimeInterval_Year * 3000", "the result is out of the range of timestamps"),
        ("avg()", "Line 1, Col 8: avg of no values"),
        ("max()", "max of no values"),
        ("min(vec())", "min of no values"),
        ("range()", "range of no values"),
        ("std(1)", "std needs at least two values"),
        ("lg(0)", "a logarithm is of a number above zero"),
        ("ln(1, -1)", "a logarithm is of a number above zero"),
        ("lg()", "lg does not take ()"),
        ("log(time())", "log takes doubles and vectors, not timestamp"),
        ('max(1, "a")', "max takes doubles and vectors, not string"),
        ("sum(requeue)", "sum takes doubles and vectors, not deallocation option"),
        ("percentile(1, 50)", "percentile does not take (double, double)"),
        ("percentile(vec(), 50)", "percentile of no values"),
        (f"percentile({_V}, 101)", "a percentile is between 0 and 100"),
        ("val(1, 0)", "val does not take (double, double)"),
        (f"val({_V})", "val does not take (doubleVec)"),
        (f"val({_V}, 3)", "val: there is no element 3 in a vector of 3"),
        (f"val({_V}, -1)", "val: there is no element -1 in a vector of 3"),
        ("rand(1)", "rand does not take (double)"),
        ("stop(1)", "stop does not take (double)"),
        ("time(5)", "time does not take (double)"),
        ('time("yesterday")', 'time: "yesterday" is not a date and time in W3C-DTF or RFC 1123'),
        ('time("2016-13-01")', "is not a date and time"),
        ('time("2023-04-14T09:08:07.123456789Z")', "is not a date and time"),
        ("time().century", "Line 1, Col 12: Undefined symbol: century"),
        ("(5).hour", "double has no field hour"),
        ("$RunningTasks.hour", "metric has no field hour"),
        ("now()", "Line 1, Col 8: Undefined symbol: now"),
        ("$nothing", "Line 1, Col 5: Undefined symbol: $nothing"),
        ("Requeue", "Undefined symbol: Requeue"),
        ("$runningtasks", "Undefined symbol: $runningtasks"),
        ("$RunningTasks.Get(1)", "Line 1, Col 22: Undefined symbol: Get"),
        ("time().GetSample(1)", "timestamp has no method GetSample"),
        ("$TargetDedicatedNodes.GetSample(1)", "double has no method GetSample"),
        ("$RunningTasks.GetSample()", "GetSample does not take ()"),
        ('$RunningTasks.GetSample("1")', "GetSample does not take (string)"),
        ("$RunningTasks.GetSample(1, 2)", "GetSample does not take (double, double)"),
        (
            "$RunningTasks.GetSample(time(), time(), time())",
            "GetSample does not take (timestamp, timestamp, timestamp)",
        ),
        ("$RunningTasks.GetSample(-1)", "GetSample takes a count of zero or more"),
        ("$RunningTasks.GetSamplePercent(5)", "GetSamplePercent does not take (double)"),
        ("$RunningTasks.GetSamplePercent()", "GetSamplePercent does not take ()"),
        ("$RunningTasks.Count(1)", "Count does not take (double)"),
        ("$RunningTasks.GetSamplePeriod(1)", "GetSamplePeriod does not take (double)"),
        ("$RunningTasks.HistoryBeginTime(1)", "HistoryBeginTime does not take (double)"),
    ],
)
def test_wrong_expression_says_where_and_why(expression: str, why: str) -> None:
    found = reason(f"x = {expression};", _VECTORS)
    assert found == why if why.startswith("Line") else found.endswith(why) or why in found


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("x=1 $y=2", "Line 1, Col 5: unexpected '$y'; is there a ';' missing before it?"),
        ("x = 1;\ny = 2\nz = 3;", "Line 3, Col 1: unexpected 'z'; is there a ';' missing before it?"),
        ("x = 1;\r\n\ty = * 2;", "Line 2, Col 6: unexpected '*'"),
        ("x = (1 + 2;", "Line 1, Col 11: unexpected ';'"),
        ("x = max(1, 2", "Line 1, Col 13: the formula ends in the middle of a statement"),
        ("x =", "Line 1, Col 4: the formula ends in the middle of a statement"),
        ("x = 1 +\n", "Line 2, Col 1: the formula ends in the middle of a statement"),
        ("x = 1 % 2;", "Line 1, Col 7: unexpected character '%'"),
        ("x = {y};", "Line 1, Col 5: unexpected character '{'"),
        ("x = 'a';", "Line 1, Col 5: unexpected character '''"),
        ('x = "a', "Line 1, Col 5: unexpected character '\"'"),
        ("x = a & b;", "Line 1, Col 7: unexpected character '&'"),
        ("x = $;", "Line 1, Col 5: unexpected character '$'"),
        ("x = y = 1;", "Line 1, Col 7: unexpected '='"),
        ("5 = x;", "Line 1, Col 3: unexpected '='"),
        ("x = v[0];", "Line 1, Col 6: unexpected character '['"),
        ("x = +1;", "Line 1, Col 5: unexpected '+'"),
        ("x = 1 ? 2;", "Line 1, Col 10: unexpected ';'"),
        ("x = max(1,);", "Line 1, Col 11: unexpected ')'"),
        ("x = 5x;", "Line 1, Col 6: unexpected 'x'; is there a ';' missing before it?"),
        ("x = 1e999;", "Line 1, Col 5: the number is too large"),
        ("x = 1; /* y */", "Line 1, Col 8: unexpected '/'"),
        ("", "Line 1, Col 1: the formula has no statement"),
        (" ;\n; // nothing", "Line 1, Col 1: the formula has no statement"),
    ],
)
def test_no_formula_says_where_and_why(formula: str, why: str) -> None:
    with pytest.raises(FormulaError) as caught:
        compile(formula)
    assert (caught.value.status, caught.value.code) == (400, "AutoScalingFormulaSyntaxError")
    assert caught.value.message == "The specified auto-scaling formula has a syntax error."
    assert caught.value.details == (("Message", why),)


@pytest.mark.parametrize(
    "formula",
    [
        "x=1;y=2",
        "x=1;y=2;",
        ";;x=1;;y=2;;",
        "\n x =\n\t1 ;\r\n y = 2 // the end\n",
        "// first\nx = 1; // $z = 3;\ny // second\n= 2;",
        "1 + 1; x = 1; y = 2;",
        "x = 3; x = 1; y = x + 1;",
    ],
)
def test_statements_are_separated_by_semicolons(formula: str) -> None:
    found = run(formula)
    assert (variable(found, "x"), variable(found, "y")) == ("1", "2")


def test_names_are_case_sensitive_and_the_dollar_sign_is_part_of_them() -> None:
    found = run("x = 1; X = 2; $x = 3; _1 = 4; round = 5; $max = 6; y = max(round, 1);")
    assert found.results.split(";")[3:] == ["$max=6", "$x=3", "X=2", "_1=4", "round=5", "x=1", "y=5"]


def test_stop_ends_the_evaluation_and_keeps_what_was_set() -> None:
    found = run("$TargetDedicatedNodes = 3; x = 1; x > 0 ? stop() : 0; $TargetDedicatedNodes = 9; y = $nothing;")
    assert found.error is None
    assert found.results == "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;x=1"


def test_stop_within_an_assignment_assigns_nothing() -> None:
    assert "x" not in run("x = stop();").results.split(";")[-1]


def test_parser_is_loaded_with_the_first_formula() -> None:
    script = (
        "import sys; from millpond.batch.engine import autoscale; assert 'lark' not in sys.modules;"
        "autoscale.compile('x = 1'); assert 'lark' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_formulas_are_compiled_once() -> None:
    assert compile("once = 1") is compile("once = 1")
