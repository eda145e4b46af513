"""Requests that mean nothing in particular: every operation has an answer of its own to each, and goes on."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import Server
from tests.unit.batch_api import reference
from tests.wire.batch.make import job, pool, task
from tests.wire.batch.raw import RawClient

#: Codes that the API has and the list of codes has not.
_OTHERS = {"JobNotDisabled": [409], "PoolNotBeingResized": [409], "NodeNotReady": [409]}


@pytest.fixture(scope="module", autouse=True)
def _things(raw: RawClient) -> None:
    for target, body in [
        ("/pools", pool("a")),
        ("/jobs", job("a")),
        ("/jobs/a/tasks", task("a")),
        ("/jobschedules", {"id": "b", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "a"}}}),
    ]:
        assert raw.send("POST", target, body).status == 201


_TEXTS = st.text(max_size=20) | st.sampled_from(
    ["a", "x", "P1D", "PT0S", "2020-01-01T00:00:00Z", "active", "a/b", ".."]
)
_NUMBERS = st.integers(-3, 300) | st.sampled_from([2**31, 2**63, 2**64, 10**400, -(10**400), 0.5, 1e308])
_SCALARS = st.none() | st.booleans() | _NUMBERS | _TEXTS
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=8
)
#: Bodies that are right but for what is done to them.
_RIGHT: dict[str, dict[str, Any]] = {
    "Pool_Add": pool("p"),
    "Job_Add": job("j"),
    "Task_Add": task("t"),
    "Task_AddCollection": {"value": [task("t")]},
    "JobSchedule_Add": {"id": "s", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "a"}}},
}
_NO_JSON = st.sampled_from(
    [
        b"",
        b"\xef\xbb\xbf{}",
        b'{"id":"\xff"}',
        b'{"id":"x","id":"y"}',
        b'{"id":1e999}',
        b'{"id":NaN}',
        b"{'id':'x'}",
        b'{"a":' * 20_000,
        b'{"metadata":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        '{"id":"x"}'.encode("utf-16"),
        b'{"id":"x"} {"id":"y"}',
        b"\0" * 10,
    ]
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "Content-Encoding",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "ocp-range",
            "Range",
            "client-request-id",
            "return-client-request-id",
            "Accept",
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
    | st.sampled_from(["application/xml", "bytes=0-", "true", "*", "Wed, 01 Jan 2020 00:00:00 GMT", "gzip"]),
    max_size=2,
)


def _fields(model: str) -> list[str]:
    variants = reference.models()["models"].get(model, [{"fields": {}}])
    return list(variants[-1]["fields"])


def _bodies(name: str) -> st.SearchStrategy[bytes]:
    """Members of the request's model and others, with values of any kind, over a body that is right."""
    models = [model for model in reference.operations()[name]["requestBody"] or {} if not model.startswith("[")]
    members = sorted({member for model in models for member in _fields(model)} | {"odata.x", "colour"})
    changed = st.dictionaries(st.sampled_from(members), _JSON, max_size=4)
    return changed.map(lambda some: json.dumps(_RIGHT.get(name, {}) | some).encode()) | _NO_JSON


_PARTS = st.sampled_from(["a", "b", "nothing", "A"]) | _TEXTS.filter(bool)


@st.composite
def _requests(draw: st.DrawFn) -> tuple[str, str, bytes | None, dict[str, str], str]:
    name = draw(st.sampled_from(sorted(reference.operations())))
    about = reference.operations()[name]
    path = about["path"]
    while "{" in path:
        before, _, rest = path.partition("{")
        path = f"{before}{quote(draw(_PARTS), safe='')}{rest.partition('}')[2]}"
    names = [*about["query"], "$skiptoken", "colour"]
    query = draw(st.dictionaries(st.sampled_from(names), _TEXTS.filter(bool), max_size=2))
    target = path + "?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    has_body = about["method"] in ("POST", "PUT", "PATCH")
    body = draw(_bodies(name)) if has_body else None
    version = draw(st.sampled_from([about["lastSeen"], about["introduced"].partition(" ")[0], "2025-06-01"]))
    return about["method"], target.rstrip("?"), body, draw(_HEADERS), version


@given(_requests())
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_request_has_an_answer_of_the_services_own(
    server: Server, raw: RawClient, request_: tuple[str, str, bytes | None, dict[str, str], str]
) -> None:
    method, target, body, headers, version = request_
    reply = raw.send(method, target, body, headers=headers, version=version)
    assert reply.status < 500
    if reply.status >= 400 and method != "HEAD":
        statuses = _OTHERS.get(reply.code) or reference.error_codes()["api"][reply.code]["http"]
        assert reply.status in statuses
    assert "Traceback" not in server.log.read_text()
