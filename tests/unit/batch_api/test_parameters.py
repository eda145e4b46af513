"""Query parameters and conditional headers: held against the published operations, and refused where there are none."""

from __future__ import annotations

import pytest
from tests.unit.batch_api import reference
from tests.unit.batch_api.calls import make_call

from millpond.batch.api.http import CONDITION_HEADERS
from millpond.batch.api.operations import OPERATIONS
from millpond.batch.api.parameters import check_parameters, parameters_of
from millpond.batch.api.routes import Operation
from millpond.common.errors import ServiceError


def _operation(name: str) -> Operation:
    about = reference.operations()[name]
    [operation] = [one for one in OPERATIONS if (one.method, one.path) == (about["method"], about["path"])]
    return operation


@pytest.mark.parametrize("name", sorted(reference.operations()))
def test_operations_take_what_is_published_and_nothing_else(name: str) -> None:
    about = reference.operations()[name]
    operation = _operation(name)
    taken = parameters_of(operation)
    pages = {"$skiptoken"} if "maxresults" in about["query"] else set()
    assert taken.query == {query.lower() for query in about["query"]} - {"timeout"} | pages
    headers = {header.lower() for header in about["requestHeaders"]}
    assert taken.conditions == headers & set(CONDITION_HEADERS)


@pytest.mark.parametrize(
    ("name", "query", "code"),
    [
        ("Pool_Get", "$filter=x", "UnsupportedQueryParameter"),
        ("Pool_List", "$fitler=x", "UnsupportedQueryParameter"),
        ("Pool_List", "filter=x", "UnsupportedQueryParameter"),
        ("Pool_List", "recursive=true", "UnsupportedQueryParameter"),
        ("Pool_Add", "$select=id", "UnsupportedQueryParameter"),
        ("Pool_List", "timeout=soon", "InvalidQueryParameterValue"),
        ("Pool_List", "timeout=-1", "InvalidQueryParameterValue"),
    ],
)
def test_parameters_that_an_operation_does_not_take_are_named(name: str, query: str, code: str) -> None:
    call = make_call("GET", f"/x?api-version=2025-06-01&{query}")
    with pytest.raises(ServiceError) as refused:
        check_parameters(call, _operation(name))
    assert (refused.value.status, refused.value.code) == (400, code)
    assert dict(refused.value.details)["QueryParameterName"] == query.partition("=")[0]


@pytest.mark.parametrize("query", ["timeout=30", "timeOut=0", "TIMEOUT=300", "timeout=", "maxresults=1&$Select=id"])
def test_parameters_are_taken_in_any_case(query: str) -> None:
    check_parameters(make_call("GET", f"/x?api-version=2025-06-01&{query}"), _operation("Task_List"))


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Pool_Add", "If-None-Match"),
        ("Task_List", "If-Match"),
        ("ComputeNode_Reboot", "If-Unmodified-Since"),
        ("File_GetFromTask", "If-Match"),
    ],
)
def test_conditions_that_an_operation_does_not_take_are_refused(name: str, header: str) -> None:
    with pytest.raises(ServiceError) as refused:
        check_parameters(make_call(headers={header: "x"}), _operation(name))
    assert (refused.value.status, refused.value.code) == (400, "UnsupportedHeader")
    assert refused.value.details == (("HeaderName", header.lower()), ("HeaderValue", "x"))
