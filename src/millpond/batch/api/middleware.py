"""What every request passes through, outermost first: answers, authentication, API version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from millpond.common.clock import Clock
from millpond.common.config import Accounts
from millpond.common.errors import ServiceError

from ..errors import error
from ..service import BatchService
from .auth import authenticate
from .http import BODY_LIMIT, Answer, Call, error_answer, parse_query
from .versions import parse_version

_log = logging.getLogger(__name__)


def call_of(scope: Scope) -> Call:
    """The call that :class:`Answers` has made of the request."""
    return cast(Call, scope["millpond.call"])


class Answers:
    """Makes a :class:`Call` of each request, and an answer of whatever goes wrong with it."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = scope["millpond.call"] = self._call(scope)
        try:
            await self._app(scope, receive, send)
        except ServiceError as problem:
            await send_answer(call, error_answer(problem, call), receive, send)
        except Exception:
            _log.exception("%s %s failed (request %s)", call.method, call.raw_path, call.request_id)
            await send_answer(call, error_answer(error("InternalError"), call), receive, send)

    def _call(self, scope: Scope) -> Call:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        raw_query = scope["query_string"].decode("latin-1")
        host = headers.get("host") or "{}:{}".format(*scope["server"])
        return Call(
            method=scope["method"],
            raw_path=scope["raw_path"].decode("latin-1"),
            query=parse_query(raw_query),
            raw_query=raw_query,
            headers=headers,
            base_url=f"{scope['scheme']}://{host}",
            request_id=self._clock.guid(),
            now=self._clock.now(),
        )


class Authentication:
    """Lets in who signs with a key of an account, or has its token or that of a task that runs."""

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            call = call_of(scope)
            service: BatchService = scope["state"]["service"]
            call.account, call.own_job = authenticate(call, self._accounts, service.task_of)
        await self._app(scope, receive, send)


class ApiVersion:
    """Reads the API version that the client speaks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            call = call_of(scope)
            call.version = parse_version(call.query.get("api-version"))
        await self._app(scope, receive, send)


async def read_body(call: Call, receive: Receive) -> bytes:
    """Raises ``MissingContentLengthHeader`` or ``RequestBodyTooLarge``."""
    length = call.headers.get("content-length")
    if length is None:
        if "transfer-encoding" not in call.headers:
            raise error("MissingContentLengthHeader")
        length = "0"
    if length.isdigit() and int(length[:19]) > BODY_LIMIT:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise error("InvalidRequestBody", ("Reason", "The connection was closed within the body."))
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large() -> ServiceError:
    return error("RequestBodyTooLarge", ("MaxLimit", str(BODY_LIMIT)))


async def send_answer(call: Call, answer: Answer, receive: Receive, send: Send) -> None:
    """Write an answer, with the headers that every answer has."""
    headers = {
        "request-id": call.request_id,
        "DataServiceVersion": "3.0",
        "X-Content-Type-Options": "nosniff",
        **answer.headers,
    }
    if call.headers.get("return-client-request-id", "").lower() == "true" and "client-request-id" in call.headers:
        headers["client-request-id"] = call.headers["client-request-id"]
    if answer.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = answer.body
    if isinstance(body, bytes) and answer.status not in (204, 304):
        headers.setdefault("Content-Length", str(len(body)))
    raw_headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": answer.status, "headers": raw_headers}
    if answer.reason:
        start["millpond.reason"] = answer.reason
    await send(start)
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body})
    else:
        await _send_parts(call, body, receive, send)


async def _send_parts(call: Call, parts: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Send content as it comes, for as long as the client is there.

    Where it breaks off, the answer stays incomplete, and the server closes the connection: the status is sent, and
    there is no other way left to tell.
    """
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        async for part in parts:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except ServiceError as problem:
        _log.warning("%s %s broke off: %s (request %s)", call.method, call.raw_path, problem, call.request_id)
        return
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
