"""Small rules that hold for every kind of entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millpond.common.conditions import Conditions

from ..errors import error


def next_modification(last: int, now: int) -> int:
    """The moment of a modification, always later than the one before, because the ETag is made of it."""
    return max(now, last + 1)


def require_conditions(conditions: Conditions, last_modified: int) -> None:
    """Raise ``ConditionNotMet`` where a request demands another state of the entity."""
    if not conditions.hold_for(last_modified):
        raise error("ConditionNotMet")


def merged(document: Mapping[str, Any], changes: Mapping[str, Any], drop: Sequence[str]) -> dict[str, Any]:
    """A document with some members replaced and others removed."""
    return {name: value for name, value in {**document, **changes}.items() if name not in drop}
