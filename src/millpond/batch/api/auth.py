"""Who asks: Shared Key signatures of the Batch service, and bearer tokens.

Clients of ten years sign slightly different strings for the same request; see :func:`_candidates`.
Nothing here is ever logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from millpond.common.clock import MINUTE, from_http
from millpond.common.config import Accounts
from millpond.common.shared_key import is_signed

from ..agents import TaskToken
from ..errors import error
from .http import Call

#: How far a client's clock may be off, either way.
CLOCK_SKEW = 15 * MINUTE

_AUTHORIZATION = re.compile(r"SharedKey +([^:\s]+):([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
#: Headers in the order in which they are signed, after the verb.
_BEFORE_LENGTH = ("content-encoding", "content-language")
_AFTER_LENGTH = (
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


class Identity(NamedTuple):
    """Who asks: an account, or a task of it that may ask about its own job alone."""

    account: str
    #: The key of that job.
    job: str | None = None


def authenticate(call: Call, accounts: Accounts, task_of: Callable[[str], TaskToken | None]) -> Identity:
    """Who signed the request, or has the token that it bears; ``task_of`` reads the token of a task that runs.

    Raises ``MissingRequiredHeader``, ``InvalidAuthenticationInfo`` or ``AuthenticationFailed``.
    """
    header = call.headers.get("authorization")
    if not header:
        raise error("MissingRequiredHeader", ("HeaderName", "Authorization"))
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return _bearer(token.strip(), accounts, task_of)
    match = _AUTHORIZATION.fullmatch(header.strip())
    if match is None:
        raise error("InvalidAuthenticationInfo", _detail("The header is not 'SharedKey account:signature'."))
    account, signature = match[1].lower(), match[2]
    _check_date(call)
    keys = accounts.keys("batch", account)
    if keys is None or not is_signed(signature, keys, _candidates(call, match[1])):
        raise error("AuthenticationFailed", _detail("The signature does not match, or there is no such account."))
    return Identity(account)


def _bearer(token: str, accounts: Accounts, task_of: Callable[[str], TaskToken | None]) -> Identity:
    if account := accounts.owner(token):
        return Identity(account)
    if task := task_of(token):
        return Identity(task.job.partition("/")[0], task.job)
    reason = "The token is not one of an account, or of a task that runs."
    raise error("AuthenticationFailed", _detail(reason), status=401)


def _detail(text: str) -> tuple[str, str]:
    return ("AuthenticationErrorDetail", text)


def _check_date(call: Call) -> None:
    text = call.headers.get("ocp-date") or call.headers.get("date")
    if not text:
        raise error("AuthenticationFailed", _detail("The request carries no date."))
    try:
        moment = from_http(text)
    except ValueError:
        raise error("AuthenticationFailed", _detail("The date is not in RFC 1123 form.")) from None
    if abs(call.now - moment) > CLOCK_SKEW:
        raise error("AuthenticationFailed", _detail("The date is more than 15 minutes off."))


def _candidates(call: Call, account: str) -> Iterator[str]:
    """The strings that a client may have signed for this request, the likeliest first.

    They differ in the path (as sent; with encoded slashes as slashes, as clients of 2017 do; decoded), in the length
    of an empty body (``0`` or nothing), and in the case of query names.
    """
    headers = call.headers
    length = headers.get("content-length", "")
    if call.method in ("GET", "HEAD"):
        lengths = list(dict.fromkeys(["", length]))
    else:
        lengths = ["0", ""] if length in ("", "0") else [length]
    before = "\n".join([call.method, *(headers.get(name, "") for name in _BEFORE_LENGTH)])
    canonical_headers = "".join(
        f"{name}:{headers[name].strip()}\n"
        for name in sorted(headers)
        if name.startswith("ocp-") and headers[name].strip()
    )
    after = "\n".join(headers.get(name, "") for name in _AFTER_LENGTH)
    slashed = re.sub("%5[Cc]|%2[Ff]", "/", call.raw_path)
    paths = dict.fromkeys([call.raw_path, slashed, unquote(call.raw_path)])
    parameters = _parameters(call.raw_query)
    queries = dict.fromkeys([_canonical(parameters), _canonical([(name.lower(), value) for name, value in parameters])])
    for path in paths:
        for query in queries:
            for size in lengths:
                yield f"{before}\n{size}\n{after}\n{canonical_headers}/{account}{path}{query}"


def _parameters(raw_query: str) -> list[tuple[str, str]]:
    """Decoded query parameters; blank ones are not signed, and of repeated ones the first is."""
    found: dict[str, str] = {}
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        if value:
            found.setdefault(unquote_plus(name), unquote_plus(value))
    return list(found.items())


def _canonical(parameters: list[tuple[str, str]]) -> str:
    return "".join(f"\n{name}:{value}" for name, value in sorted(parameters))
