"""Rows, and how they are measured: contenders in turn, several times, medians."""

from __future__ import annotations

import statistics
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

from .environments import NotInstallableError, scratch

#: Does the work once; figures by their names.
Contender = Callable[[], Mapping[str, float]]
#: Prepares the contenders, by name, ours first; what is entered in the stack is left after the last measurement.
Prepare = Callable[[ExitStack, Path], Mapping[str, Contender]]

OURS = "Millpond"


class Goal(NamedTuple):
    """What a figure should be: a number, or a multiple of a peer's."""

    figure: str
    relation: Literal[">=", "<="]
    number: float
    peer: str | None = None

    def __str__(self) -> str:
        sign = "≥" if self.relation == ">=" else "≤"
        return f"{sign} {self.number:,g}" + (f" × {self.peer}" if self.peer else "")

    def is_met(self, medians: Mapping[str, float]) -> bool | None:
        """By the contenders' medians; ``None`` where the peer is missing."""
        if OURS not in medians or (self.peer and self.peer not in medians):
            return None
        bound = self.number * (medians[self.peer] if self.peer else 1)
        return medians[OURS] >= bound if self.relation == ">=" else medians[OURS] <= bound


class Row(NamedTuple):
    name: str
    prepare: Prepare
    goals: Sequence[Goal]
    #: How often each contender has its turn.
    turns: int
    #: Takes minutes; measured only when asked for by its name.
    is_long: bool

    @property
    def summary(self) -> str:
        return (self.prepare.__doc__ or "").strip().partition("\n")[0]


ROWS: dict[str, Row] = {}


def row(name: str, *goals: Goal, turns: int = 3, is_long: bool = False) -> Callable[[Prepare], Prepare]:
    """Register a function that prepares a row's contenders."""

    def register(prepare: Prepare) -> Prepare:
        ROWS[name] = Row(name, prepare, goals, turns, is_long)
        return prepare

    return register


class Result(NamedTuple):
    row: Row
    #: All measurements, in order: by figure and contender.
    runs: Mapping[str, Mapping[str, Sequence[float]]]
    #: Contenders that did not take part, and why.
    absent: Mapping[str, str]

    def medians(self, figure: str) -> dict[str, float]:
        return {contender: statistics.median(values) for contender, values in self.runs[figure].items()}


def measure(measured: Row, say: Callable[[str], None]) -> Result:
    """A contender that fails takes no more turns; the others go on."""
    runs: dict[str, dict[str, list[float]]] = {}
    absent: dict[str, str] = {}
    with scratch() as directory, ExitStack() as stack:
        try:
            contenders = measured.prepare(stack, Path(directory))
        except Exception as failure:
            return Result(measured, {}, {OURS: _described(failure)})
        for turn in range(measured.turns):
            for name, contender in contenders.items():
                if name in absent:
                    continue
                say(f"{measured.name}: {name}, {turn + 1} of {measured.turns}")
                try:
                    figures = contender()
                except Exception as failure:
                    absent[name] = _described(failure)
                    continue
                for figure, value in figures.items():
                    runs.setdefault(figure, {}).setdefault(name, []).append(value)
    return Result(measured, runs, absent)


def _described(failure: Exception) -> str:
    if isinstance(failure, NotInstallableError):
        return str(failure)
    traceback.print_exception(failure, file=sys.stderr)
    return f"{type(failure).__name__}: {failure}"
