"""Shared Key, as clients of every age sign, and everything that is wrong with a signature."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from tests.unit.batch_api import reference
from tests.unit.batch_api.calls import NOW, make_call

from millpond.batch.agents import NodeTokens, TaskToken
from millpond.batch.api.auth import CLOCK_SKEW, authenticate
from millpond.batch.api.http import Call
from millpond.batch.engine.messages import AttemptRef
from millpond.common.clock import SystemClock, from_http, to_http
from millpond.common.config import AccountKeys, Accounts
from millpond.common.errors import ServiceError
from millpond.common.shared_key import sign

RECORDED_KEY = base64.b64encode(b"k" * 64).decode()
OTHER_KEY = base64.b64encode(b"o" * 64).decode()


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    accounts = Accounts(tmp_path)
    accounts.put("batch", "myacct", AccountKeys(OTHER_KEY, RECORDED_KEY))
    return accounts


def _admitted(call: Call, accounts: Accounts, task: TaskToken | None = None) -> str:
    """The account that is let in; ``task`` is what every token of a task says."""
    identity = authenticate(call, accounts, lambda _: task)
    assert identity.job == (task and task.job)
    return identity.account


def _call(request: dict[str, Any], **changes: str) -> Call:
    headers = request["headers"] | changes
    return make_call(request["method"], request["path"], headers=headers, now=from_http(request["headers"]["ocp-date"]))


@pytest.mark.parametrize("version", list(reference.requests()))
def test_requests_that_sdks_sent_are_let_in_by_the_second_key(version: str, accounts: Accounts) -> None:
    for request in reference.requests()[version]:
        assert _admitted(_call(request), accounts) == "myacct", request["path"]


@pytest.mark.parametrize("version", list(reference.requests()))
def test_requests_that_were_changed_on_the_way_are_not_let_in(version: str, accounts: Accounts) -> None:
    for request in reference.requests()[version]:
        changed = [
            request | {"path": request["path"].replace("api-version=20", "api-version=19")},
            request | {"path": "/x" + request["path"]},
            request | {"method": {"GET": "DELETE"}.get(request["method"], "GET")},
            request | {"headers": request["headers"] | {"content-type": "text/plain"}},
            request | {"headers": request["headers"] | {"if-match": "*"}},
            request | {"headers": request["headers"] | {"ocp-range": "bytes=1-"}},
        ]
        for other in changed:
            assert _refusal(_call(other), accounts) == (403, "AuthenticationFailed"), other


def _refusal(call: Call, accounts: Accounts) -> tuple[int, str]:
    with pytest.raises(ServiceError) as refused:
        _admitted(call, accounts)
    return refused.value.status, refused.value.code


def _signed(*, date: str, path: str = "/pools", account: str = "myacct", key: bytes = b"k" * 64) -> Call:
    text = f"GET\n\n\n\n\n\n\n\n\n\n\n\nocp-date:{date}\n/{account}{path}\napi-version:2025-06-01"
    headers = {"ocp-date": date, "Authorization": f"SharedKey {account}:{sign(key, text)}"}
    return make_call("GET", f"{path}?api-version=2025-06-01", headers=headers)


def test_clocks_may_be_fifteen_minutes_off_either_way(accounts: Accounts) -> None:
    for moment in (NOW - CLOCK_SKEW, NOW, NOW + CLOCK_SKEW):
        assert _admitted(_signed(date=to_http(moment)), accounts) == "myacct"
    for moment in (NOW - CLOCK_SKEW - 10**6, NOW + CLOCK_SKEW + 10**6):
        assert _refusal(_signed(date=to_http(moment)), accounts) == (403, "AuthenticationFailed")


@pytest.mark.parametrize("date", ["", "yesterday", "2026-11-22T14:00:21Z"])
def test_a_date_must_be_there_and_in_rfc_1123_form(date: str, accounts: Accounts) -> None:
    assert _refusal(_signed(date=date), accounts) == (403, "AuthenticationFailed")


def test_a_date_header_serves_where_there_is_no_ocp_date(accounts: Accounts) -> None:
    date = to_http(NOW)
    text = f"GET\n\n\n\n\n\n{date}\n\n\n\n\n\n/myacct/pools\napi-version:2025-06-01"
    call = make_call(headers={"Date": date, "Authorization": f"SharedKey myacct:{sign(b'k' * 64, text)}"})
    assert _admitted(call, accounts) == "myacct"


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        (None, 400, "MissingRequiredHeader"),
        ("", 400, "MissingRequiredHeader"),
        ("SharedKey", 400, "InvalidAuthenticationInfo"),
        ("SharedKey myacct", 400, "InvalidAuthenticationInfo"),
        ("SharedKey myacct:not base64", 400, "InvalidAuthenticationInfo"),
        ("Basic bXlhY2N0OmtleQ==", 400, "InvalidAuthenticationInfo"),
        ("Bearer eyJ0eXAiOiJKV1QifQ.e30.c2ln", 401, "AuthenticationFailed"),
        ("SharedKey myacct:AAAA", 403, "AuthenticationFailed"),
        ("SharedKey nobody:AAAA", 403, "AuthenticationFailed"),
    ],
)
def test_what_is_wrong_with_the_header_is_told(
    authorization: str | None, status: int, code: str, accounts: Accounts
) -> None:
    headers = {"ocp-date": to_http(NOW)} | ({} if authorization is None else {"Authorization": authorization})
    assert _refusal(make_call(headers=headers), accounts) == (status, code)


def test_a_key_of_another_account_does_not_serve(accounts: Accounts) -> None:
    accounts.put("batch", "second", AccountKeys(OTHER_KEY, OTHER_KEY))
    assert _refusal(_signed(date=to_http(NOW), account="second"), accounts) == (403, "AuthenticationFailed")
    assert _admitted(_signed(date=to_http(NOW), account="second", key=b"o" * 64), accounts) == "second"


def test_a_key_that_was_replaced_no_longer_serves(accounts: Accounts) -> None:
    accounts.put("batch", "myacct", AccountKeys(OTHER_KEY, OTHER_KEY))
    assert _refusal(_signed(date=to_http(NOW)), accounts) == (403, "AuthenticationFailed")


def test_no_refusal_says_what_was_signed_or_with_what(accounts: Accounts) -> None:
    with pytest.raises(ServiceError) as refused:
        _admitted(_signed(date=to_http(NOW), key=b"x" * 64), accounts)
    said = repr(refused.value.details) + str(refused.value)
    assert RECORDED_KEY not in said
    assert OTHER_KEY not in said


def _bearing(token: str) -> Call:
    return make_call(headers={"Authorization": f"Bearer {token}"})


def test_an_account_is_let_in_by_its_newest_token(accounts: Accounts) -> None:
    accounts.put_token("myacct", "first")
    assert _admitted(_bearing("first"), accounts) == "myacct"
    accounts.put_token("myacct", "second")
    assert Accounts(accounts.path.parent).owner("second") == "myacct"
    assert _admitted(_bearing("second"), accounts) == "myacct"
    for token in ("first", "", "seconds", "Bearer second", "ü"):
        assert _refusal(_bearing(token), accounts) == (401, "AuthenticationFailed")
    accounts.put_token("gone", "of-nobody")
    assert _refusal(_bearing("of-nobody"), accounts) == (401, "AuthenticationFailed")


def test_a_task_is_let_in_for_its_own_job(accounts: Accounts) -> None:
    assert _admitted(_bearing("any"), accounts, TaskToken("myacct/job", "task", 3)) == "myacct"


def test_tokens_of_tasks_say_what_they_were_made_for(tmp_path: Path) -> None:
    tokens = NodeTokens(tmp_path / "key", SystemClock())
    attempt = AttemptRef("myacct/job", "task", 3)
    token = tokens.task_token(attempt)
    assert tokens.read_task_token(token) == TaskToken("myacct/job", "task", 3)
    said, _, seal = token.partition(".")
    other = tokens.task_token(AttemptRef("myacct/other", "task", 3)).partition(".")
    for wrong in (
        "",
        ".",
        said,
        f"{other[0]}.{seal}",
        f"{said}.{other[2]}",
        f"{said}.{seal}x",
        tokens.token(said),
        "ü.ü",
    ):
        assert tokens.read_task_token(wrong) is None
    assert NodeTokens(tmp_path / "another", SystemClock()).read_task_token(token) is None
    assert not tokens.admits("node", token)
