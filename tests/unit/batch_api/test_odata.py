"""``$filter``: what it means, and what it may not say."""

from __future__ import annotations

import pytest
from tests.unit.batch_api.calls import make_call

from millpond.batch.api.odata import filterable, holds, parse_filter, read_filter
from millpond.batch.store.base import FILTERABLE, Both, Compare, Either, Filter, Not, StartsWith
from millpond.common.clock import from_iso
from millpond.common.errors import ServiceError

_YEAR_2020 = from_iso("2020-01-01T00:00:00Z")
_ACTIVE = Compare("state", "eq", "active")
_A = Compare("id", "eq", "a")
_B = Compare("id", "eq", "b")


@pytest.mark.parametrize(
    ("kind", "text", "meaning"),
    [
        ("tasks", "state eq 'active'", _ACTIVE),
        ("tasks", "  state  EQ  'active'  ", _ACTIVE),
        ("tasks", "STATE eq 'active'", _ACTIVE),
        ("tasks", "'active' eq state", _ACTIVE),
        ("tasks", "(((state eq 'active')))", _ACTIVE),
        ("tasks", "id ne 'a'", Compare("id", "ne", "a")),
        ("tasks", "id gt 'a'", Compare("id", "gt", "a")),
        ("tasks", "id ge 'a'", Compare("id", "ge", "a")),
        ("tasks", "id lt 'a'", Compare("id", "lt", "a")),
        ("tasks", "id le 'a'", Compare("id", "le", "a")),
        ("tasks", "'a' lt id", Compare("id", "gt", "a")),
        ("tasks", "'a' ge id", Compare("id", "le", "a")),
        ("tasks", "id eq 'it''s'", Compare("id", "eq", "it's")),
        ("tasks", "id eq ''", Compare("id", "eq", "")),
        ("tasks", "id eq 'a' and id eq 'b'", Both(_A, _B)),
        ("tasks", "id eq 'a' or id eq 'b'", Either(_A, _B)),
        ("tasks", "id eq 'a' or id eq 'b' and state eq 'active'", Either(_A, Both(_B, _ACTIVE))),
        ("tasks", "(id eq 'a' or id eq 'b') and state eq 'active'", Both(Either(_A, _B), _ACTIVE)),
        ("tasks", "not id eq 'a' and id eq 'b'", Both(Not(_A), _B)),
        ("tasks", "not (id eq 'a' and id eq 'b')", Not(Both(_A, _B))),
        ("tasks", "not not id eq 'a'", Not(Not(_A))),
        ("tasks", "startswith(id,'it''s')", StartsWith("id", "it's")),
        ("tasks", "startswith( id , 'a' ) eq true", StartsWith("id", "a")),
        ("tasks", "startswith(id,'a') eq false", Not(StartsWith("id", "a"))),
        ("tasks", "executionInfo/exitCode ne 0", Compare("exit_code", "ne", 0)),
        ("tasks", "executionInfo/exitCode lt -1", Compare("exit_code", "lt", -1)),
        ("tasks", "executionInfo/exitCode eq null", Compare("exit_code", "eq", None)),
        ("tasks", "nodeInfo/nodeId eq 'n'", Compare("node_id", "eq", "n")),
        ("tasks", "creationTime gt DateTime'2020-01-01T00:00:00Z'", Compare("creation_time", "gt", _YEAR_2020)),
        ("tasks", "creationTime gt datetime'2020-01-01'", Compare("creation_time", "gt", _YEAR_2020)),
        ("tasks", "creationTime gt '2020-01-01T00:00:00Z'", Compare("creation_time", "gt", _YEAR_2020)),
        (
            "tasks",
            "creationTime gt DateTime'Wed, 01 Jan 2020 00:00:00 GMT'",
            Compare("creation_time", "gt", _YEAR_2020),
        ),
        ("pools", "enableAutoScale eq true", Compare("enable_auto_scale", "eq", True)),
        ("pools", "vmSize eq 'standard_a1'", Compare("vm_size", "eq", "standard_a1")),
        ("nodes", "startTaskInfo/result eq 'failure'", Compare("start_task_result", "eq", "failure")),
        ("jobs", "startswith(executionInfo/poolId,'p')", StartsWith("pool_id", "p")),
        ("jobs", "priority ge 10", Compare("priority", "ge", 10)),
        ("node_counts", "poolId eq 'p'", Compare("pool_id", "eq", "p")),
        ("files", "startswith(name,'wd/')", StartsWith("name", "wd/")),
        ("images", "nodeAgentSKUId eq 'x'", Compare("node_agent_sku_id", "eq", "x")),
    ],
)
def test_filters_mean_what_they_say(kind: str, text: str, meaning: Filter) -> None:
    assert parse_filter(text, kind) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "state",
        "'active'",
        "state eq",
        "state 'active'",
        "state == 'active'",
        "state eq active",
        "state eq 'active",
        "state eq 'active' and",
        "state eq 'active' xor id eq 'a'",
        "(state eq 'active'",
        "state eq 'active')",
        "and",
        "stateeq 'active'",
        "colour eq 'red'",
        "executionInfo eq 'x'",
        "executionInfo/colour eq 'x'",
        "exitCode eq 0",
        "id eq 5",
        "id eq id",
        "5 eq 5",
        "executionInfo/exitCode eq '0'",
        "creationTime gt 5",
        "creationTime gt DateTime'yesterday'",
        "creationTime gt DateTime'2020-13-01'",
        "startswith(executionInfo/exitCode,'1')",
        "startswith('a',id)",
        "startswith(id)",
        "endswith(id,'a')",
        "substringof('a',id)",
        "id eq 'a'; drop table tasks",
        " or ".join(["id eq 'a'"] * 101),
        "not " * 5000 + "id eq 'a'",
        "\0",
        "é eq 'a'",
    ],
)
def test_filters_that_say_something_else_are_refused(text: str) -> None:
    call = make_call()
    call.query["$filter"] = text
    with pytest.raises(ServiceError) as refused:
        read_filter(call, "tasks")
    assert (refused.value.status, refused.value.code) == (400, "InvalidQueryParameterValue")
    values = dict(refused.value.details)
    assert values["QueryParameterName"] == "$filter"
    assert values["QueryParameterValue"] == text
    assert values["Reason"]


def test_no_filter_keeps_everything() -> None:
    assert read_filter(make_call(), "tasks") is None
    assert read_filter(make_call("GET", "/pools?$filter=%20"), "tasks") is None


def test_every_field_of_the_store_has_a_name_on_the_wire() -> None:
    for kind, fields in FILTERABLE.items():
        assert {field for field, _ in filterable(kind).values()} == set(fields)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("startswith(name,'wd/')", ["wd/a.txt"]),
        ("name eq 'STDOUT.txt'", ["stdout.txt"]),
        ("not startswith(name,'wd/')", ["stdout.txt", "wd"]),
        ("name ge 'wd'", ["wd", "wd/a.txt"]),
        ("name eq 'wd' or name eq 'stdout.txt'", ["stdout.txt", "wd"]),
        ("startswith(name,'wd') and name ne 'wd'", ["wd/a.txt"]),
        ("name eq null", []),
        ("name ne null", ["stdout.txt", "wd", "wd/a.txt"]),
    ],
)
def test_lists_that_are_not_the_stores_are_filtered_here(text: str, names: list[str]) -> None:
    what = parse_filter(text, "files")
    assert [name for name in ("stdout.txt", "wd", "wd/a.txt") if holds(what, {"name": name})] == names
