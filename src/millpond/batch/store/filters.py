"""Filters as SQL conditions. Each condition is either true or false, never NULL, so that ``Not`` means what it says."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, not_, or_

from .base import Both, Compare, Either, Filter, Not, StartsWith, Value

_OPERATORS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}

#: How to compare a field: an expression (of lower-case text, where it holds text), and whether it may be NULL.
Fields = Mapping[str, ColumnElement[Any]]


def condition(what: Filter, fields: Fields) -> ColumnElement[bool]:
    """The condition of a filter over ``fields``: expressions by the names that the filter may use.

    Text expressions must be in lower case already.
    """
    match what:
        case Compare():
            return _compare(fields[what.field], what.operator, what.value)
        case StartsWith():
            field = fields[what.field]
            return and_(field.is_not(None), _starts_with(field, what.prefix.lower()))
        case Not():
            return not_(condition(what.operand, fields))
        case Both():
            return and_(condition(what.left, fields), condition(what.right, fields))
        case Either():
            return or_(condition(what.left, fields), condition(what.right, fields))


def _compare(field: ColumnElement[Any], op: str, value: Value) -> ColumnElement[bool]:
    if value is None:
        return {"eq": field.is_(None), "ne": field.is_not(None)}.get(op, false())
    if isinstance(value, str):
        value = value.lower()
    compared = _OPERATORS[op](field, value)
    return or_(field.is_(None), compared) if op == "ne" else and_(field.is_not(None), compared)


def _starts_with(field: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """A range, which an index can serve, where the prefix has a successor that is sure to be valid text."""
    if prefix and prefix.isascii():
        return and_(field >= prefix, field < prefix[:-1] + chr(ord(prefix[-1]) + 1))
    return func.substr(field, 1, len(prefix)) == prefix
