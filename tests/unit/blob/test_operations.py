"""The tables of operations and errors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.blob.requests import make_request

import millpond.blob
from millpond.blob.api.operations import (
    NOT_IMPLEMENTED,
    OPERATIONS,
    Route,
    find_operation,
)
from millpond.blob.errors import ERRORS
from millpond.blob.model import ResourceName
from millpond.common.errors import ServiceError

NAMES = {
    "account": ResourceName("acct"),
    "container": ResourceName("acct", "cont"),
    "blob": ResourceName("acct", "cont", "b"),
}


def code_of(method: str, level: str, query: dict[str, str], **headers: str) -> str:
    request = make_request(method, headers=headers)
    request.resource = NAMES[level]
    request.query = {name: [value] for name, value in query.items()}
    with pytest.raises(ServiceError) as failure:
        find_operation(request)
    return failure.value.code


def test_no_operation_is_in_both_tables() -> None:
    assert not set(OPERATIONS) & set(NOT_IMPLEMENTED)


@pytest.mark.parametrize("route", NOT_IMPLEMENTED, ids=str)
def test_a_missing_operation_says_that_it_is(route: Route) -> None:
    headers = {}
    if route.variant:
        if not route.variant.startswith("from"):
            headers["x-ms-blob-type"] = route.variant
        else:
            headers["x-ms-copy-source"] = "http://127.0.0.1/acct/c/b"
    query = {"restype": route.restype, "comp": route.comp}
    assert code_of(route.method, route.level, query, **headers) == "NotImplemented"


@pytest.mark.parametrize(
    ("method", "level", "query", "headers", "code"),
    [
        ("PATCH", "blob", {}, {}, "UnsupportedHttpVerb"),
        ("DELETE", "account", {}, {}, "UnsupportedHttpVerb"),
        ("POST", "container", {"restype": "container"}, {}, "UnsupportedHttpVerb"),
        ("GET", "blob", {"comp": "nothing"}, {}, "InvalidQueryParameterValue"),
        ("GET", "container", {"restype": "directory", "comp": "list"}, {}, "InvalidQueryParameterValue"),
        ("PUT", "blob", {}, {}, "MissingRequiredHeader"),
        ("PUT", "blob", {}, {"x-ms-blob-type": "Blob"}, "InvalidHeaderValue"),
    ],
)
def test_a_request_that_is_no_operation_fails(
    method: str, level: str, query: dict[str, str], headers: dict[str, str], code: str
) -> None:
    assert code_of(method, level, query, **headers) == code


def raised_codes() -> Iterator[tuple[str, str]]:
    """Every literal code that is given to ``error(…)`` in the service's own modules."""
    for path in Path(millpond.blob.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "error":
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path.name, part.value


def test_every_code_that_is_raised_is_in_the_table_and_the_other_way_round() -> None:
    raised = {code for _, code in raised_codes()}
    indirect = {"TargetConditionNotMet", "SourceConditionNotMet", "InvalidRange"}
    indirect |= {"Md5Mismatch", "Crc64Mismatch"}
    assert raised <= set(ERRORS)
    assert set(ERRORS) - raised - indirect == set()
