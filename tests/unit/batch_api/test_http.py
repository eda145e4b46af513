"""Query parameters, conditions, pages and answers."""

from __future__ import annotations

import json

import pytest
from tests.unit.batch_api.calls import NOW, make_call

from millpond.batch.api.files import read_range
from millpond.batch.api.http import entity, error_answer, listing, next_link, parse_query, select
from millpond.batch.api.lists import page_of
from millpond.batch.api.wire import nodes, pools, tasks
from millpond.batch.errors import error
from millpond.common.clock import SECOND, to_etag, to_http
from millpond.common.conditions import NO_CONDITIONS
from millpond.common.errors import ServiceError

OLDER, NEWER = NOW - 60 * SECOND, NOW + 60 * SECOND


def test_query_parameters_are_found_in_any_case_and_decoded() -> None:
    assert parse_query("timeOut=30&$Filter=a%20b+c&$select=id%2Cstate&&x&timeout=1") == {
        "timeout": "30",
        "$filter": "a b c",
        "$select": "id,state",
        "x": "",
    }


@pytest.mark.parametrize(("value", "size"), [("1", 1), ("1000", 1000), ("5", 5)])
def test_page_sizes(value: str, size: int) -> None:
    assert make_call("GET", f"/pools?maxResults={value}").page_size() == size


@pytest.mark.parametrize("value", ["0", "1001", "-1", "99999999999999999999999", "x", "", "1.5", "٣", "--5", "-"])
def test_page_sizes_out_of_range(value: str) -> None:
    with pytest.raises(ServiceError) as refused:
        make_call("GET", f"/pools?maxresults={value}").page_size()
    assert refused.value.status == 400
    assert ("QueryParameterName", "maxresults") in refused.value.details


def test_flags() -> None:
    assert make_call("GET", "/x?Recursive=TRUE").flag("recursive")
    assert not make_call("GET", "/x?recursive=false").flag("recursive")
    assert not make_call("GET", "/x").flag("recursive")
    with pytest.raises(ServiceError):
        make_call("GET", "/x?recursive=maybe").flag("recursive")


# --- conditions ---


@pytest.mark.parametrize(
    ("headers", "holds"),
    [
        ({}, True),
        ({"If-Match": to_etag(NOW)}, True),
        ({"If-Match": f'"{to_etag(NOW)}"'}, True),
        ({"If-Match": f'W/"{to_etag(NOW)}"'}, True),
        ({"If-Match": "*"}, True),
        ({"If-Match": "0x8D4BCC2E4835CD0"}, False),
        ({"If-None-Match": to_etag(NOW)}, False),
        ({"If-None-Match": "*"}, False),
        ({"If-None-Match": "0x8D4BCC2E4835CD0"}, True),
        ({"If-Modified-Since": to_http(OLDER)}, True),
        ({"If-Modified-Since": to_http(NEWER)}, False),
        ({"If-Unmodified-Since": to_http(NEWER)}, True),
        ({"If-Unmodified-Since": to_http(OLDER)}, False),
        ({"If-Match": to_etag(NOW), "If-Unmodified-Since": to_http(OLDER)}, True),
        ({"If-None-Match": "0x1", "If-Modified-Since": to_http(NEWER)}, True),
    ],
)
def test_conditions_of_a_read(headers: dict[str, str], holds: bool) -> None:
    call = make_call(headers=headers)
    if holds:
        call.check_read(NOW)
        return
    with pytest.raises(ServiceError) as refused:
        call.check_read(NOW)
    is_cached = "If-None-Match" in headers or "If-Modified-Since" in headers
    assert (refused.value.status, refused.value.code) == (304 if is_cached else 412, "ConditionNotMet")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"If-Match": "*", "If-None-Match": "*"}, "MultipleConditionHeadersNotSupported"),
        ({"If-Match": "*", "If-Modified-Since": to_http(NOW)}, "MultipleConditionHeadersNotSupported"),
        (
            {"If-Modified-Since": to_http(NOW), "If-Unmodified-Since": to_http(NOW)},
            "MultipleConditionHeadersNotSupported",
        ),
        ({"If-Modified-Since": "yesterday"}, "InvalidHeaderValue"),
    ],
)
def test_conditions_that_cannot_be_asked(headers: dict[str, str], code: str) -> None:
    with pytest.raises(ServiceError) as refused:
        make_call(headers=headers).conditions()
    assert (refused.value.status, refused.value.code) == (400, code)


def test_no_condition_headers_are_no_conditions() -> None:
    assert make_call().conditions() is NO_CONDITIONS


# --- pages ---


def test_next_links_are_the_same_request_with_a_token() -> None:
    call = make_call("GET", "/jobs?api-version=2017-01-01.4.0&$filter=state%20eq%20%27active%27&maxresults=2")
    assert next_link(call, "abc-_") == (
        "http://127.0.0.1:10100/jobs?api-version=2017-01-01.4.0"
        "&$filter=state%20eq%20%27active%27&maxresults=2&$skiptoken=abc-_"
    )
    following = make_call("GET", next_link(call, "abc").removeprefix("http://127.0.0.1:10100"))
    assert next_link(following, "def").count("skiptoken") == 1
    encoded = make_call("GET", "/jobs?%24skiptoken=abc&maxresults=2")
    assert next_link(encoded, "def") == "http://127.0.0.1:10100/jobs?maxresults=2&$skiptoken=def"


def test_lists_made_here_come_in_pages_that_survive_changes() -> None:
    items = [(name, name.upper()) for name in ("a", "b", "c", "d", "e")]
    first, token = page_of(make_call("GET", "/x?maxresults=2"), items)
    assert first == ["A", "B"]
    without_b = [item for item in items if item[0] != "b"]
    second, token = page_of(make_call("GET", f"/x?maxresults=2&$skiptoken={token}"), without_b)
    assert second == ["C", "D"]
    third, token = page_of(make_call("GET", f"/x?maxresults=2&$skiptoken={token}"), items)
    assert (third, token) == (["E"], None)


@pytest.mark.parametrize("token", ["!", "a", "%ff", "WATV2:1/2="])
def test_tokens_that_no_page_ended_with_are_refused(token: str) -> None:
    with pytest.raises(ServiceError) as refused:
        page_of(make_call("GET", f"/x?$skiptoken={token}"), [("a", 1)])
    assert refused.value.code == "InvalidQueryParameterValue"


# --- answers ---

IMAGE = pools.ImageReference(publisher="p", offer="o", sku="s")


def test_select_keeps_what_it_names() -> None:
    call = make_call("GET", "/x?$select=offer,%20sku")
    body = json.loads(entity(call, IMAGE, pools.ImageReference, "images").body)  # type: ignore[arg-type]
    assert body == {"odata.metadata": "http://127.0.0.1:10100/$metadata#images/@Element", "offer": "o", "sku": "s"}
    listed = json.loads(listing(call, [IMAGE], pools.ImageReference, "images").body)  # type: ignore[arg-type]
    assert listed["value"] == [{"offer": "o", "sku": "s"}]


def test_select_may_name_older_members() -> None:
    assert select(make_call("GET", "/x?$select=id,targetDedicated,maxTasksPerNode"), pools.Pool)


@pytest.mark.parametrize("query", ["$select=colour", "$select=id,colour/red", "$expand=colour", "$expand=stats,x"])
def test_select_and_expand_name_what_there_is(query: str) -> None:
    with pytest.raises(ServiceError) as refused:
        select(make_call("GET", f"/x?{query}"), tasks.Task)
    assert (refused.value.status, refused.value.code) == (400, "InvalidQueryParameterValue")


def test_errors_have_the_services_form() -> None:
    answer = error_answer(error("InvalidPropertyValue", ("PropertyName", "id")), make_call())
    assert isinstance(answer.body, bytes)
    body = json.loads(answer.body)
    assert answer.headers["Content-Type"] == "application/json;odata=minimalmetadata"
    assert body["code"] == "InvalidPropertyValue"
    assert body["message"]["lang"] == "en-US"
    text, request_id, time = body["message"]["value"].split("\n")
    assert text == "The value provided for one of the properties in the request body is invalid."
    assert request_id == "RequestId:0c95a458-e67d-11f1-bd57-02fc00000001"
    assert time == "Time:2026-11-22T14:00:21Z"
    assert body["values"] == [{"key": "PropertyName", "value": "id"}]


def test_errors_of_head_requests_and_unchanged_entities_have_no_body() -> None:
    assert error_answer(error("PoolNotFound"), make_call("HEAD")).body == b""
    assert error_answer(error("ConditionNotMet", status=304), make_call()).body == b""


def test_counts_of_nodes_are_spelled_as_properties() -> None:
    body = entity(
        make_call(version="2018-03-01"), nodes.NodeCounts(start_task_failed=2, total=2), nodes.NodeCounts, "x"
    ).body
    assert isinstance(body, bytes)
    content = json.loads(body)
    assert content["startTaskFailed"] == 2
    assert "upgradingOS" not in content


# --- ranges ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=2-", (2, 8)),
        ("bytes=-3", (7, 3)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-100", (8, 2)),
        ("bytes=9-9", (9, 1)),
    ],
)
@pytest.mark.parametrize("name", ["ocp-range", "Range"])
def test_ranges(name: str, header: str, expected: tuple[int, int]) -> None:
    assert read_range(make_call(headers={name: header}), 10) == expected


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("bytes=10-", 416, "InvalidRange"),
        ("bytes=5-4", 416, "InvalidRange"),
        ("bytes=-0", 416, "InvalidRange"),
        ("bytes=-", 400, "InvalidHeaderValue"),
        ("bytes=a-b", 400, "InvalidHeaderValue"),
        ("lines=1-2", 400, "InvalidHeaderValue"),
        ("bytes=0-1,3-4", 400, "InvalidHeaderValue"),
    ],
)
def test_ranges_that_are_none(header: str, status: int, code: str) -> None:
    with pytest.raises(ServiceError) as refused:
        read_range(make_call(headers={"ocp-range": header}), 10)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_without_a_range_it_is_the_whole() -> None:
    assert read_range(make_call(), 10) == (0, 10)
    assert read_range(make_call(), 0) == (0, 0)
