"""What the models say about their members, read from their annotations once."""

from __future__ import annotations

import functools
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from .fields import Model, Secret, Since, Until


class Member(NamedTuple):
    """A member of a model."""

    #: As the wire spells it.
    name: str
    #: The model it holds, or a list of them.
    model: type[Model] | None
    is_list: bool
    #: The values of an enumeration by their lower case.
    values: dict[str, str]
    since: str
    until: str
    is_secret: bool


@functools.cache
def members(model: type[Model]) -> dict[str, Member]:
    """The members of a model by their names on the wire."""
    hints = get_type_hints(model, include_extras=True)
    return {field.encode_name: _member(field.encode_name, hints[field.name]) for field in msgspec.structs.fields(model)}


def _member(name: str, hint: object) -> Member:
    since, until, is_secret = "", "9999", False
    nested: type[Model] | None = None
    is_list = False
    values: dict[str, str] = {}
    pending = [hint]
    while pending:
        part = pending.pop()
        origin = get_origin(part)
        if origin is Annotated:
            inner, *notes = get_args(part)
            pending.append(inner)
            for note in notes:
                if isinstance(note, Since):
                    since = note.date
                elif isinstance(note, Until):
                    until = note.date
                elif isinstance(note, Secret):
                    is_secret = True
        elif origin in (Union, UnionType):
            pending.extend(get_args(part))
        elif origin is list:
            is_list = True
            pending.extend(get_args(part))
        elif origin is Literal:
            values = {value.lower(): value for value in get_args(part)}
        elif isinstance(part, type) and issubclass(part, StrEnum):
            values = {item.value.lower(): item.value for item in part}
        elif isinstance(part, type) and issubclass(part, Model):
            nested = part
    return Member(name, nested, is_list, values, since, until, is_secret)


def normalise(value: Any, model: type[Model]) -> Any:
    """A copy of decoded JSON without nulls and ``odata.`` members, its enumerations in the newest spelling."""
    if not isinstance(value, dict):
        return value
    known = members(model)
    result: dict[str, Any] = {}
    for name, item in value.items():
        if item is None or name.startswith("odata."):
            continue
        member = known.get(name)
        result[name] = item if member is None else _normalise_member(item, member)
    return result


def _normalise_member(item: Any, member: Member) -> Any:
    if member.model is not None:
        if member.is_list and isinstance(item, list):
            return [normalise(part, member.model) for part in item]
        return normalise(item, member.model)
    if member.values:
        if isinstance(item, list):
            return [member.values.get(part.lower(), part) if isinstance(part, str) else part for part in item]
        return member.values.get(item.lower(), item) if isinstance(item, str) else item
    return item
