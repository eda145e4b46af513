"""``$filter``: parsed by a grammar, checked against what a list can be filtered by, and evaluated here where the list
is not the store's."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millpond.common.clock import from_http, from_iso

from ..store.base import FILTERABLE, Both, Compare, Either, Filter, Moment, Not, Operator, StartsWith, Value
from .http import Call
from .wire.fields import wire_name

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

#: What stands inside of another property on the wire, by the field of the store.
_NESTED: dict[str, dict[str, str]] = {
    "nodes": {
        "start_task_state": "startTaskInfo/state",
        "start_task_result": "startTaskInfo/result",
        "start_task_exit_code": "startTaskInfo/exitCode",
        "start_task_start_time": "startTaskInfo/startTime",
        "start_task_end_time": "startTaskInfo/endTime",
    },
    "jobs": {
        "start_time": "executionInfo/startTime",
        "end_time": "executionInfo/endTime",
        "pool_id": "executionInfo/poolId",
    },
    "job_schedules": {
        "end_time": "executionInfo/endTime",
        "do_not_run_until": "schedule/doNotRunUntil",
        "do_not_run_after": "schedule/doNotRunAfter",
    },
    "job_nodes": {
        f"{kind}_{name}": f"job{kind.capitalize()}TaskExecutionInfo/{wire_name(name)}"
        for kind in ("preparation", "release")
        for name in ("state", "start_time", "end_time", "exit_code", "result")
    },
    "tasks": {
        "start_time": "executionInfo/startTime",
        "end_time": "executionInfo/endTime",
        "exit_code": "executionInfo/exitCode",
        "retry_count": "executionInfo/retryCount",
        "requeue_count": "executionInfo/requeueCount",
        "result": "executionInfo/result",
        "pool_id": "nodeInfo/poolId",
        "node_id": "nodeInfo/nodeId",
    },
}
#: Lists that are not the store's.
_OTHERS: dict[str, dict[str, type]] = {
    "certificates": {"state": str, "state_transition_time": Moment},
    "files": {"name": str},
    "images": {"os_type": str, "verification_type": str, "node_agent_sku_id": str},
    "node_agent_skus": {"os_type": str, "id": str},
    "usage_metrics": {"pool_id": str},
}
#: Databases refuse conditions that are nested deeper than some hundreds.
_MOST_CONDITIONS = 100


@functools.cache
def filterable(kind: str) -> dict[str, tuple[str, type]]:
    """The field and the type of what a list can be filtered by, by the property's path on the wire in lower case."""
    nested = _NESTED.get(kind, {})
    fields = FILTERABLE.get(kind) or _OTHERS[kind]
    return {nested.get(name, wire_name(name)).lower(): (name, type_) for name, type_ in fields.items()}


def read_filter(call: Call, kind: str) -> Filter | None:
    """The filter of a request for a list. Raises ``InvalidQueryParameterValue``."""
    text = call.query.get("$filter", "").strip()
    if not text:
        return None
    try:
        return parse_filter(text, kind)
    except ValueError as problem:
        raise call.bad_parameter("$filter", str(problem)) from None


def parse_filter(text: str, kind: str) -> Filter:
    """Raises ``ValueError`` that says what is wrong."""
    from lark.exceptions import UnexpectedInput

    try:
        tree = _grammar().parse(text)
        if sum(1 for _ in tree.find_data("path")) > _MOST_CONDITIONS:
            raise ValueError(f"A filter has at most {_MOST_CONDITIONS} conditions.")
        return _build(tree, kind)
    except UnexpectedInput as problem:
        raise ValueError(f"The filter cannot be understood at position {problem.column}.") from None
    except RecursionError:
        raise ValueError("The filter is nested too deeply.") from None


@functools.cache
def _grammar() -> Lark:
    from lark import Lark

    return Lark(Path(__file__).with_name("odata.lark").read_text(), parser="lalr", start="expression")


def _build(tree: Tree[Token], kind: str) -> Filter:
    parts: Any = tree.children
    match tree.data:
        case "both":
            return Both(_build(parts[0], kind), _build(parts[1], kind))
        case "either":
            return Either(_build(parts[0], kind), _build(parts[1], kind))
        case "negated":
            return Not(_build(parts[0], kind))
        case "starts_with":
            return _starts_with(parts, kind)
        case "compared":
            return _compared(parts, kind)
    raise ValueError("The filter is not a condition.")


#: An operator, and the one that says the same with its sides exchanged.
_SYMBOLS: dict[str, tuple[Operator, Operator]] = {
    "eq": ("eq", "eq"),
    "ne": ("ne", "ne"),
    "gt": ("gt", "lt"),
    "ge": ("ge", "le"),
    "lt": ("lt", "gt"),
    "le": ("le", "ge"),
}


def _compared(parts: Any, kind: str) -> Compare:
    left, symbol, right = parts
    name, mirrored = _SYMBOLS[symbol.lower()]
    if left.data != "path":
        left, right, name = right, left, mirrored
    if left.data != "path" or right.data == "path":
        raise ValueError("A comparison is between a property and a value.")
    field, type_ = _field(left, kind)
    value = _value(right, type_)
    if type_ is bool and name not in ("eq", "ne"):
        raise ValueError("Only eq and ne compare with true and false.")
    return Compare(field, name, value)


def _starts_with(parts: Any, kind: str) -> Filter:
    path, prefix, truth = parts
    field, type_ = _field(path, kind)
    if type_ is not str or prefix.data != "text":
        raise ValueError("startswith is between a property that holds text and a text.")
    found = StartsWith(field, _text(prefix.children[0]))
    return Not(found) if truth is not None and truth.lower() == "false" else found


def _field(path: Tree[Token], kind: str) -> tuple[str, type]:
    name = "/".join(str(part) for part in path.children)
    try:
        return filterable(kind)[name.lower()]
    except KeyError:
        raise ValueError(f"The list cannot be filtered by '{name}'.") from None


def _text(token: Any) -> str:
    return str(token)[1:-1].replace("''", "'")


def _value(literal: Any, type_: type) -> Value:
    """A literal as a value of the field's type."""
    if literal.data == "null":
        return None
    token = literal.children[0]
    if type_ is Moment and literal.data in ("moment", "text"):
        return _moment(_text(token))
    if type_ is str and literal.data == "text":
        return _text(token)
    if type_ is int and literal.data == "number":
        number = float(token)
        return int(token) if token.lstrip("-").isdigit() and abs(number) < 2**63 else number
    if type_ is bool and literal.data == "boolean":
        return bool(token.lower() == "true")
    raise ValueError(f"{token} is not a value of this property.")


def _moment(text: str) -> int:
    for parse in (from_iso, from_http):
        try:
            return parse(text)
        except ValueError:
            pass
    raise ValueError(f"'{text}' is not a time.")


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def holds(what: Filter, values: Mapping[str, str | int]) -> bool:
    """Whether a filter holds for an entity with these values. Text is compared without regard to case."""
    match what:
        case Compare():
            return _compares(values[what.field], what)
        case StartsWith():
            return str(values[what.field]).lower().startswith(what.prefix.lower())
        case Not():
            return not holds(what.operand, values)
        case Both():
            return holds(what.left, values) and holds(what.right, values)
        case Either():
            return holds(what.left, values) or holds(what.right, values)


def _compares(has: str | int, what: Compare) -> bool:
    if what.value is None:
        return what.operator == "ne"
    if isinstance(has, str):
        return _OPERATORS[what.operator](has.lower(), str(what.value).lower())
    return _OPERATORS[what.operator](has, what.value)
