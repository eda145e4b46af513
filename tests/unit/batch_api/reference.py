"""The published models and operations of the Batch API, as data."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import msgspec

_DIRECTORY = Path(__file__).parents[2] / "reference"


@functools.cache
def models() -> dict[str, Any]:
    return _read("models.json")


@functools.cache
def operations() -> dict[str, Any]:
    published: dict[str, Any] = _read("operations.json")["operations"]
    return published


@functools.cache
def error_codes() -> dict[str, Any]:
    """``api``: codes of refusals by name; and the codes of what goes wrong with pools, jobs and tasks."""
    return _read("error-codes.json")


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode((_DIRECTORY / name).read_bytes())
    return content


def versions() -> list[str]:
    """All published versions, oldest first, with their ``.major.minor``."""
    return list(models()["apiVersions"])


def fields(model: str, version: str) -> dict[str, Any] | None:
    """The members of a model in a version; ``None`` where that version does not have it."""
    variant = _variant(models()["models"].get(model, []), version)
    return None if variant is None else variant["fields"]


def values(enumeration: str, version: str) -> list[str] | None:
    """The values of an enumeration in a version."""
    variant = _variant(models()["enums"].get(enumeration, []), version)
    return None if variant is None else variant["values"]


def _variant(variants: list[Any], version: str) -> Any:
    order = versions()
    for variant in variants:
        if order.index(variant["from"]) <= order.index(version) <= order.index(variant["to"]):
            return variant
    return None


def type_name(field: dict[str, Any]) -> str:
    """The type of a member without what says that it is a list of them."""
    name = str(field["type"])
    if match := re.fullmatch(r"Union\[str, _enums\.(\w+)\]", name):
        return match[1]
    return name.strip("[]")


def is_list(field: dict[str, Any]) -> bool:
    return str(field["type"]).startswith("[")


@functools.cache
def requests() -> dict[str, list[dict[str, Any]]]:
    """Requests as SDKs sent them, by the version of ``azure-batch``: operation, method, path, headers, body."""
    recorded: dict[str, list[dict[str, Any]]] = _read("batch-requests.json")["requests"]
    return recorded
