"""What is kept of a pool's metrics, and how a formula asks for it."""

from __future__ import annotations

import pytest

from millpond.batch.engine.autoscale import METRICS, PERIOD, History, Targets, over_nodes
from millpond.common.clock import DAY, HOUR, MINUTE, SECOND

from .scripted import NOW, reason, run, value

#: An hour of samples: 1 to 120, of which the last is of this moment.
_HOUR = {"$PendingTasks": range(1, 121)}
#: Ten minutes, of which the last one has no samples yet.
_GAP = {"$CPUPercent": [*[0.5] * 18, None, None]}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("GetSample(1)", "[120]"),
        ("GetSample(3)", "[118,119,120]"),
        ("GetSample(2.9)", "[119,120]"),
        ("GetSample(0)", "[]"),
        ("GetSample(TimeInterval_Minute)", "[119,120]"),
        ("GetSample(TimeInterval_Minute * 2, 100)", "[117,118,119,120]"),
        ("GetSample(time() - TimeInterval_Minute)", "[119,120]"),
        ("GetSample(1 * TimeInterval_Minute, 3 * TimeInterval_Minute)", "[115,116,117,118]"),
        ("GetSample(3 * TimeInterval_Minute, 1 * TimeInterval_Minute)", "[115,116,117,118]"),
        ("GetSample(3 * TimeInterval_Minute, 1 * TimeInterval_Minute, 75)", "[115,116,117,118]"),
        ("GetSample(3 * TimeInterval_Minute, time() - TimeInterval_Minute, 75)", "[115,116,117,118]"),
        ("GetSample(TimeInterval_Minute, TimeInterval_Zero)", "[119,120]"),
        ("GetSamplePercent(TimeInterval_Minute * 10)", "100"),
        ("GetSamplePercent(TimeInterval_Hour * 2)", "50"),
        ("GetSamplePercent(time() - TimeInterval_Hour)", "100"),
        ("GetSamplePercent(TimeInterval_Hour, TimeInterval_Hour * 3)", "0"),
        ("GetSamplePercent(TimeInterval_Hour / 2, TimeInterval_Hour * 2)", "33.333333333333336"),
        ("GetSamplePercent(TimeInterval_Zero)", "0"),
        ("GetSamplePercent(-TimeInterval_Hour)", "0"),
        ("Count()", "120"),
        ("GetSamplePeriod()", "PT30S"),
        ("HistoryBeginTime()", "2016-10-13T18:19:00.000Z"),
    ],
)
def test_samples_of_a_full_hour(call: str, expected: str) -> None:
    assert value(f"$PendingTasks.{call}", _HOUR) == expected


def test_ten_minutes_are_twenty_samples_and_five_minutes_ten() -> None:
    assert value("len($PendingTasks.GetSample(TimeInterval_Minute * 10, 100))", _HOUR) == "20"
    assert value("len($PendingTasks.GetSample(TimeInterval_Minute, TimeInterval_Minute * 6, 100))", _HOUR) == "10"


@pytest.mark.parametrize("offset", range(0, PERIOD // SECOND, 7))
def test_number_of_samples_does_not_depend_on_the_moment(offset: int) -> None:
    assert (
        value("len($PendingTasks.GetSample(TimeInterval_Minute * 10, 100))", _HOUR, now=NOW + offset * SECOND) == "20"
    )


def test_missing_samples_count_against_the_percentage() -> None:
    assert value("$CPUPercent.GetSamplePercent(TimeInterval_Minute * 10)", _GAP) == "90"
    assert value("len($CPUPercent.GetSample(TimeInterval_Minute * 10, 80))", _GAP) == "18"
    assert value("len($CPUPercent.GetSample(TimeInterval_Minute * 10, 90))", _GAP) == "18"
    found = run("$CPUPercent.GetSample(TimeInterval_Minute * 10, 95)", _GAP, targets=Targets(3))
    assert found.error is not None
    assert found.error.code == "InsufficientSampleData"
    assert found.error.message == "Autoscale evaluation failed due to insufficient sample data"
    assert found.error.details == (
        ("Message", "Line 1, Col 22: Insufficient data from data set: $CPUPercent wanted 95%, received 90%"),
    )
    assert found.targets == Targets(3)


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        # places and wordings as the service was seen to give them
        (
            "$RunningTasks.GetSample(10 * TimeInterval_Second, 0 * TimeInterval_Second, 100);",
            "Line 1, Col 24: Insufficient data from data set: $RunningTasks wanted 100%, received 0%",
        ),
        (
            "a = 1;\n\nsamplevecavg = avg($PendingTasks.GetSample(TimeInterval_Minute * 10));",
            "Line 3, Col 43: Insufficient data from data set: $PendingTasks wanted 70%, received 0%",
        ),
        (
            "totalNodes=min($CPUPercent.GetSample(TimeInterval_Minute*10, 10));",
            "Line 1, Col 37: Insufficient data from data set: $CPUPercent wanted 10%, received 0%",
        ),
        (
            "x = $CurrentDedicated * 2;",
            "Line 1, Col 23: Insufficient data from data set: $CurrentDedicated wanted 1 sample, received 0",
        ),
        (
            "x = $RunningTasks.HistoryBeginTime();",
            "Line 1, Col 35: Insufficient data from data set: $RunningTasks wanted 1 sample, received 0",
        ),
    ],
)
def test_without_samples(formula: str, why: str) -> None:
    assert reason(formula) == why


def test_what_works_without_samples() -> None:
    assert value("$PendingTasks.GetSample(1)") == "[]"
    assert value("max(0, $PendingTasks.GetSample(1))") == "0"
    assert value("$PendingTasks.GetSamplePercent(TimeInterval_Minute)") == "0"
    assert value("$PendingTasks.GetSample(TimeInterval_Minute, 0)") == "[]"
    assert value("$PendingTasks.Count()") == "0"
    assert value("$PendingTasks.GetSamplePeriod()") == "PT30S"


def test_without_a_percentage_seventy_is_wanted() -> None:
    call = "len($RunningTasks.GetSample(TimeInterval_Minute * 5))"
    assert value(call, {"$RunningTasks": [1] * 7}) == "7"
    assert "wanted 70%, received 60%" in reason(f"x = {call}", {"$RunningTasks": [1] * 6})


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_asked_for(metric: str) -> None:
    expression = f"vec({metric}, {metric}.GetSample(TimeInterval_Minute, 100), {metric}.Count())"
    assert value(expression, {metric: [1.5, 2.5]}) == "[2.5,1.5,2.5,2]"


@pytest.mark.parametrize(
    ("alias", "metric"),
    [
        ("$CurrentDedicated", "$CurrentDedicatedNodes"),
        ("$CurrentLowPriority", "$CurrentLowPriorityNodes"),
    ],
)
def test_old_names_of_metrics(alias: str, metric: str) -> None:
    assert value(f"{alias} + max({alias}.GetSample(2))", {metric: [7, 3]}) == "10"


def test_history_takes_one_sample_each_period() -> None:
    history = History()
    history.record(90 * SECOND, {"$ActiveTasks": 1})
    history.record(119 * SECOND, {"$ActiveTasks": 2, "$RunningTasks": 5})
    history.record(120 * SECOND, {"$ActiveTasks": 3})
    assert [list(part) for part in history.samples("$ActiveTasks")] == [[90 * SECOND, 120 * SECOND], [2, 3]]
    assert [list(part) for part in history.samples("$RunningTasks")] == [[90 * SECOND], [5]]
    assert [list(part) for part in history.samples("$FailedTasks")] == [[], []]


def test_history_drops_what_comes_too_late() -> None:
    history = History()
    history.record(HOUR, {"$ActiveTasks": 1})
    history.record(HOUR - MINUTE, {"$ActiveTasks": 9})
    assert list(history.samples("$ActiveTasks").values) == [1]


def test_history_keeps_a_day() -> None:
    history = History()
    for period in range(3000):
        history.record(period * PERIOD, {"$ActiveTasks": period})
    times, values = history.samples("$ActiveTasks")
    assert len(times) == len(values) == DAY // PERIOD
    assert values[-1] == 2999
    assert times[-1] - times[0] == DAY - PERIOD


def test_history_keeps_as_much_as_it_is_told() -> None:
    history = History(kept=2 * MINUTE)
    for period in range(10):
        history.record(period * PERIOD, {"$ActiveTasks": period})
    assert list(history.samples("$ActiveTasks").values) == [6, 7, 8, 9]


def test_history_knows_only_metrics() -> None:
    with pytest.raises(KeyError):
        History().record(0, {"$ActiveTask": 1})


def test_measurements_of_nodes_become_one_sample() -> None:
    sample = over_nodes(
        [
            {"$CPUPercent": 0.2, "$MemoryBytes": 100, "$DiskBytes": 7, "$NetworkInBytes": 10},
            {"$CPUPercent": 0.6, "$MemoryBytes": 300, "$NetworkInBytes": 5},
        ]
    )
    assert sample == {
        "$SampleNodeCount": 2,
        "$CPUPercent": 0.4,
        "$MemoryBytes": 200,
        "$DiskBytes": 7,
        "$NetworkInBytes": 15,
    }
    assert over_nodes([]) == {"$SampleNodeCount": 0}
    assert sample.keys() <= METRICS.keys()
