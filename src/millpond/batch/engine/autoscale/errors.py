"""What can be wrong with a formula, in the service's codes and messages."""

from __future__ import annotations

from typing import NamedTuple

from millpond.common.errors import ServiceError


class Position(NamedTuple):
    """A place in the formula's text, both counted from 1."""

    line: int
    column: int


class FormulaError(ServiceError):
    """A formula that cannot be compiled or evaluated; its one detail, ``Message``, says where and why."""

    def __init__(self, code: str, message: str, reason: str) -> None:
        super().__init__(400, code, message, ("Message", reason))

    @property
    def reason(self) -> str:
        return self.details[0][1]


class Problem(Exception):  # noqa: N818
    """Why a step of an evaluation is impossible; the evaluation adds where."""

    code = "AutoScalingFormulaEvaluationError"
    message = "The specified auto-scaling formula has evaluation error"


class InsufficientData(Problem):
    code = "InsufficientSampleData"
    message = "Autoscale evaluation failed due to insufficient sample data"


def too_long(most: int) -> FormulaError:
    return FormulaError(
        "AutoScaleFormulaTooLong",
        "The specified auto-scaling formula exceeds the length limit.",
        f"A formula has at most {most} characters.",
    )


def syntax_error(position: Position, reason: str) -> FormulaError:
    return FormulaError(
        "AutoScalingFormulaSyntaxError",
        "The specified auto-scaling formula has a syntax error.",
        _at(position, reason),
    )


def evaluation_error(position: Position, problem: Problem) -> FormulaError:
    return FormulaError(problem.code, problem.message, _at(position, str(problem)))


def _at(position: Position, reason: str) -> str:
    return f"Line {position.line}, Col {position.column}: {reason}"
