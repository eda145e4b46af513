"""What operators do, by the types that they stand between."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from .errors import Problem
from .values import TimeInterval, Timestamp, Value, Vector, plain, type_name

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
    "!=": operator.ne,
}


def _vector_with_double(function: Callable[[float, float], float]) -> Callable[[Any, Any], Value]:
    return lambda vector, number: tuple(function(each, number) for each in vector)


def _double_with_vector(function: Callable[[float, float], float]) -> Callable[[Any, Any], Value]:
    return lambda number, vector: tuple(function(number, each) for each in vector)


def _elementwise(function: Callable[[float, float], float]) -> Callable[[Any, Any], Value]:
    def apply(left: Vector, right: Vector) -> Value:
        if len(left) != len(right):
            raise Problem(f"vectors of {len(left)} and {len(right)} elements do not match")
        return tuple(map(function, left, right))

    return apply


def _comparison(function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Value]:
    return lambda left, right: float(function(left, right))


def _binary_operators() -> dict[tuple[str, str, str], Callable[[Any, Any], Value]]:
    table: dict[tuple[str, str, str], Callable[[Any, Any], Value]] = {
        ("timeinterval", "*", "double"): lambda left, right: TimeInterval(int(left.ticks * right)),
        ("double", "*", "timeinterval"): lambda left, right: TimeInterval(int(left * right.ticks)),
        ("timeinterval", "/", "double"): lambda left, right: TimeInterval(int(left.ticks / right)),
        ("timeinterval", "+", "timeinterval"): lambda left, right: TimeInterval(left.ticks + right.ticks),
        ("timeinterval", "-", "timeinterval"): lambda left, right: TimeInterval(left.ticks - right.ticks),
        ("timeinterval", "+", "timestamp"): lambda left, right: Timestamp(left.ticks + right.ticks),
        ("timestamp", "+", "timeinterval"): lambda left, right: Timestamp(left.ticks + right.ticks),
        ("timestamp", "-", "timeinterval"): lambda left, right: Timestamp(left.ticks - right.ticks),
        ("timestamp", "-", "timestamp"): lambda left, right: TimeInterval(left.ticks - right.ticks),
    }
    for symbol, function in _ARITHMETIC.items():
        table["double", symbol, "double"] = function
        table["doubleVec", symbol, "double"] = _vector_with_double(function)
        table["double", symbol, "doubleVec"] = _double_with_vector(function)
        table["doubleVec", symbol, "doubleVec"] = _elementwise(function)
    for symbol, comparison in _COMPARISONS.items():
        for type_ in ("double", "string", "timestamp", "timeinterval"):
            table[type_, symbol, type_] = _comparison(comparison)
    return table


_BINARY = _binary_operators()
_UNARY: dict[tuple[str, str], Callable[[Any], Value]] = {
    ("-", "double"): operator.neg,
    ("-", "timeinterval"): lambda operand: TimeInterval(-operand.ticks),
    ("!", "double"): lambda operand: float(not operand),
}


def binary(symbol: str, left: Value, right: Value) -> Value:
    """Raises :class:`Problem` for types that the operator does not stand between."""
    left, right = plain(left), plain(right)
    function = _BINARY.get((type_name(left), symbol, type_name(right)))
    if function is None:
        raise Problem(f"operator {symbol} does not apply to {type_name(left)} and {type_name(right)}")
    return function(left, right)


def unary(symbol: str, operand: Value) -> Value:
    """Raises :class:`Problem` for a type that the operator does not apply to."""
    operand = plain(operand)
    function = _UNARY.get((symbol, type_name(operand)))
    if function is None:
        raise Problem(f"operator {symbol} does not apply to {type_name(operand)}")
    return function(operand)


def truth(value: Value, symbol: str) -> bool:
    """Whether an operator takes a double as true: not zero. Raises :class:`Problem` for other types."""
    value = plain(value)
    if not isinstance(value, float):
        raise Problem(f"operator {symbol} takes a double, not {type_name(value)}")
    return value != 0
