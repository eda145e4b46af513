"""``$filter``: what it means, and what it may not say."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.batch_api.calls import make_call

from millpond.batch.api.odata import filterable, holds, parse_filter, read_filter
from millpond.batch.store.base import FILTERABLE, Both, Compare, Either, Filter, Not, StartsWith
from millpond.common.clock import from_iso, to_iso
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


_COMPARISONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_STATES = st.sampled_from(["active", "ACTIVE", "deleting", "deletefailed", "", "it's"])
_MOMENTS = st.sampled_from([_YEAR_2020 - 1, _YEAR_2020, _YEAR_2020 + 10])
#: What a filter says of a state and the moment of its transition, as Python.
_Meaning = Callable[[str, int], bool]


@st.composite
def _conditions(draw: st.DrawFn) -> tuple[str, _Meaning]:
    name, state, moment = draw(st.sampled_from(sorted(_COMPARISONS))), draw(_STATES), draw(_MOMENTS)
    compare, quoted = _COMPARISONS[name], state.replace("'", "''")
    found: tuple[str, _Meaning] = draw(
        st.sampled_from(
            [
                (f"state {name} '{quoted}'", lambda has, _: bool(compare(has.lower(), state.lower()))),
                (f"'{quoted}' {name} state", lambda has, _: bool(compare(state.lower(), has.lower()))),
                (f"startswith(state,'{quoted}')", lambda has, _: has.lower().startswith(state.lower())),
                (f"stateTransitionTime {name} DateTime'{to_iso(moment)}'", lambda _, at: bool(compare(at, moment))),
                ("state ne null", lambda _has, _at: True),
                ("stateTransitionTime eq null", lambda _has, _at: False),
            ]
        )
    )
    return found


def _combined(inner: st.SearchStrategy[tuple[str, _Meaning]]) -> st.SearchStrategy[tuple[str, _Meaning]]:
    pairs = st.tuples(inner, inner)
    return (
        inner.map(lambda one: (f"not ({one[0]})", lambda has, at: not one[1](has, at)))
        | pairs.map(
            lambda two: (f"({two[0][0]}) and {two[1][0]}", lambda has, at: two[0][1](has, at) and two[1][1](has, at))
        )
        | pairs.map(
            lambda two: (f"({two[0][0]} or {two[1][0]})", lambda has, at: two[0][1](has, at) or two[1][1](has, at))
        )
    )


@given(st.recursive(_conditions(), _combined, max_leaves=6), _STATES, _MOMENTS)
def test_filters_keep_what_python_keeps(condition: tuple[str, _Meaning], state: str, moment: int) -> None:
    text, meaning = condition
    values: dict[str, str | int] = {"state": state, "state_transition_time": moment}
    assert holds(parse_filter(text, "certificates"), values) == meaning(state, moment)
