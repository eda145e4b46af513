"""The autoscale formula language: what a pool's formula says, given the samples of its metrics.

``compile`` checks a formula's syntax; ``Formula.evaluate`` says which targets it sets, and never does anything else:
the same formula, samples and moment give the same result. ``evaluate`` does both at once and reports every error
inside its result, as the dry run of the service does. ``History`` keeps the samples that a formula can ask for.

Wiring it to a pool takes four calls::

    compile(text)                                          # enable: raises the service's error for a bad formula
    history.record(now, {"$PendingTasks": 7, ...})         # every PERIOD, and right before an evaluation
    run = compile(text).evaluate(history, now, targets)    # on the pool's timer, while it is active and steady
    run = evaluate(text, history, now, targets)            # the dry run
"""

from __future__ import annotations

from .errors import FormulaError
from .formula import Evaluation, Formula, Targets, compile, evaluate  # noqa: A004
from .samples import PERIOD, History, SampleHistory, Samples
from .variables import METRICS, over_nodes

__all__ = [
    "METRICS",
    "PERIOD",
    "Evaluation",
    "Formula",
    "FormulaError",
    "History",
    "SampleHistory",
    "Samples",
    "Targets",
    "compile",
    "evaluate",
    "over_nodes",
]
