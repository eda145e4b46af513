"""From the bytes of a request to a model, or to the service's error that names the culprit."""

from __future__ import annotations

import functools
import re
from typing import Any, TypeVar

import msgspec

from millpond.common.errors import ServiceError

from ...errors import error
from .. import versions
from .fields import PATTERN_REASONS, Model, PropertyError
from .shape import members

M = TypeVar("M", bound=Model)

_encoder = msgspec.json.Encoder()
encode = _encoder.encode

#: Longest piece of a wrong value that an error repeats.
_SHOWN = 200


@functools.cache
def _decoder(model: type[M]) -> msgspec.json.Decoder[M]:
    return msgspec.json.Decoder(model)


def decode_body(body: bytes, model: type[M], version: str, round_trip: type[Model] | None = None) -> M:
    """The body of a request as a model in the newest form.

    ``round_trip`` is the model that the entity is answered with, where clients send that back changed: what the
    request's model does not have of it is read-only and ignored.

    Raises ``InvalidRequestBody``, ``MissingRequiredProperty``, ``InvalidPropertyValue`` or another error of a rule.
    """
    if (quickly := try_decode(body, model, version)) is not None:
        return quickly
    value = versions.upgrade(decode_json(body), model)
    if round_trip is not None and isinstance(value, dict):
        own, read_only = members(model), members(round_trip)
        value = {name: item for name, item in value.items() if name in own or name not in read_only}
    return from_json(value, model)


def try_decode(body: bytes, model: type[M], version: str) -> M | None:
    """The body of a request that is right and in the newest form already; ``None`` of any other."""
    if versions.has_changed(model, version):
        return None
    try:
        decoded: M = _decoder(model).decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return decoded


def decode_json(body: bytes) -> Any:
    """Raises ``InvalidRequestBody``."""
    if not body.strip():
        raise error("InvalidRequestBody", ("Reason", "The request has no body."))
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise error("InvalidRequestBody", ("Reason", str(problem))) from None
    except RecursionError:
        raise error("InvalidRequestBody", ("Reason", "The body is nested too deeply.")) from None


def from_json(value: Any, model: type[M]) -> M:
    """JSON in the newest form as a model."""
    try:
        return msgspec.convert(value, model)
    except msgspec.ValidationError as problem:
        raise _explain(problem, value) from None


_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISMATCH = re.compile(r"Expected `.*`, got `.*`")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")


def _explain(problem: msgspec.ValidationError, value: Any) -> ServiceError:
    """The service's error for what msgspec found. Types and unknown members are the body's, values a property's."""
    what, _, path = str(problem).partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    if isinstance(problem.__cause__, PropertyError):
        rule = problem.__cause__
        name = _join(path, rule.name)
        return error(rule.code, *_named(name, value), ("Reason", rule.reason))
    if missing := _MISSING.fullmatch(what):
        return error("MissingRequiredProperty", ("PropertyName", _join(path, missing[1])))
    if unknown := _UNKNOWN.fullmatch(what):
        name = _join(path, unknown[1])
        reason = f"The property '{unknown[1]}' does not exist in an object of this kind."
        return error("InvalidRequestBody", ("PropertyName", name), ("Reason", reason))
    if _MISMATCH.fullmatch(what):
        return error("InvalidRequestBody", *_named(path, value), ("Reason", what.replace("`", "'")))
    if pattern := _PATTERN.fullmatch(what):
        what = PATTERN_REASONS.get(pattern[1].replace("\\\\", "\\"), what)
    code = "OutOfRangePriority" if path == "priority" else "InvalidPropertyValue"
    return error(code, *_named(path, value), ("Reason", what.replace("`", "'")))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _named(path: str, value: Any) -> list[tuple[str, str]]:
    """The ``PropertyName`` and ``PropertyValue`` of what is at the path; the latter only where there is something."""
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = None
    named = [("PropertyName", path)] if path else []
    if path and value is not None:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        named.append(("PropertyValue", text[:_SHOWN]))
    return named
