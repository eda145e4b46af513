"""Formulas evaluated over histories that a test writes down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from millpond.batch.engine.autoscale import PERIOD, Evaluation, History, Targets, evaluate
from millpond.common.clock import from_iso

#: A Thursday.
NOW = from_iso("2016-10-13T19:18:47.805Z")


def history(metrics: Mapping[str, Iterable[float | None]], now: int = NOW) -> History:
    """The given samples of each metric, oldest first, the last one taken just now; ``None`` is a missing one."""
    samples = History()
    for name, values in metrics.items():
        numbers = list(values)
        for place, value in enumerate(numbers):
            if value is not None:
                samples.record(now - (len(numbers) - 1 - place) * PERIOD, {name: value})
    return samples


def run(
    formula: str,
    metrics: Mapping[str, Iterable[float | None]] | None = None,
    *,
    now: int = NOW,
    targets: Targets = Targets(),  # noqa: B008
) -> Evaluation:
    return evaluate(formula, history(metrics or {}, now), now, targets)


def variable(evaluation: Evaluation, name: str) -> str:
    """What the results say of a variable."""
    assert evaluation.error is None, evaluation.error
    return dict(item.split("=", 1) for item in evaluation.results.split(";"))[name]


def value(expression: str, metrics: Mapping[str, Iterable[float | None]] | None = None, *, now: int = NOW) -> str:
    """The value of an expression, as results show it."""
    return variable(run(f"x = {expression};", metrics, now=now), "x")


def reason(formula: str, metrics: Mapping[str, Iterable[float | None]] | None = None) -> str:
    """Why a formula fails, with its place."""
    error = run(formula, metrics).error
    assert error is not None, f"{formula} does not fail"
    return error.reason
