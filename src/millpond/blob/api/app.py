"""The Blob service as an ASGI application."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from millpond.common.clock import Clock, SystemClock, to_iso
from millpond.common.config import Accounts, Settings
from millpond.common.errors import ServiceError
from millpond.common.workers import First, Worker, alone

from ..auth import authorize
from ..errors import error, is_full
from ..processes import FirstProcess, Process, WorkerProcess
from ..properties import ServiceProperties
from ..request import Request, is_served
from ..service.conditions import NotModifiedError
from ..store import Transaction
from . import cross_origin, headers
from .answer import Answer, error_answer
from .call import Call, DisconnectError, Receive, Service
from .download import Send, files, send_reading, send_structured
from .operations import find_operation

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]


def create_app(
    settings: Settings, accounts: Accounts, clock: Clock | None = None, process: First | Worker | None = None
) -> BlobApp:
    """The service on the data directory ``settings.data / "blob"``, which it opens when the server starts it.

    ``process``: which this one is of those that serve it, if it is not the only one.
    """
    return BlobApp(settings, accounts, clock or SystemClock(), process or alone())


class BlobApp:
    def __init__(self, settings: Settings, accounts: Accounts, clock: Clock, process: First | Worker) -> None:
        self._data = settings.data / "blob"
        self._accounts = accounts
        self._clock = clock
        self._process: Process = (
            FirstProcess(self._data, clock, process)
            if isinstance(process, First)
            else WorkerProcess(self._data, clock, process)
        )
        self._service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            raise ValueError(f"the Blob service has no {scope['type']}")

    # From start to end

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            parts = await self._process.open()
        except (OSError, RuntimeError, sqlite3.Error) as failure:
            await send({"type": "lifespan.startup.failed", "message": f"cannot use {self._data}: {failure}"})
            return
        self._service = Service(parts.store, parts.content, self._clock, self._accounts, parts.remote)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._process.close()
        await send({"type": "lifespan.shutdown.complete"})

    # One request

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        request_id = self._clock.guid()
        try:
            answer = await self._carry_out(request, scope["query_string"], receive)
        except (ServiceError, NotModifiedError) as failure:
            answer = error_answer(failure, request_id, to_iso(self._clock.now()))
        except DisconnectError:
            return
        except Exception as failure:
            answer = error_answer(_answerable(failure, request, request_id), request_id, to_iso(self._clock.now()))
        if "origin" in request.headers and request.method != "OPTIONS" and request.resource.account:
            answer = cross_origin.with_grant(answer, request, self._properties(request))
        start = _start(request, request_id, answer)
        if answer.reading is None:
            await send(start)
            await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else answer.body})
            return
        # No await lies between the reading and this, so that none of its files can be gone yet.
        with self._service.content.pinned(files(answer.reading)):
            await send(start)
            if answer.is_structured:
                await send_structured(send, self._service.content, answer.reading)
            else:
                await send_reading(send, scope.get("extensions") or {}, self._service.content, answer.reading)

    async def _carry_out(self, request: Request, query_string: bytes, receive: Receive) -> Answer:
        request.read(query_string, self._accounts)
        if not request.names_version:
            default = self._properties(request).default_version
            if is_served(default):
                request.version = default
        if request.method == "OPTIONS":
            return cross_origin.preflight(request, self._properties(request))
        operation = find_operation(request)
        if request.method == "PUT":
            headers.metadata(request)  # a name that is wrong cannot be signed in a way that both sides agree on
        access = authorize(request, operation.need, self._accounts, self._service.store, self._clock.now())
        return await operation.handler(Call(self._service, request, access, receive))

    def _properties(self, request: Request) -> ServiceProperties:
        return self._service.store.read(Transaction.get_service_properties, request.resource.account)


def _answerable(failure: Exception, request: Request, request_id: str) -> ServiceError:
    """The service's error for one of this machine: where a disk is full, one that clients come back after."""
    if is_full(failure):
        _log.error("%s %s, request %s: the disk is full", request.method, request.raw_path, request_id)
        return error("ServerBusy", Reason="The disk of the service is full.")
    _log.error("%s %s, request %s", request.method, request.raw_path, request_id, exc_info=failure)
    return error("InternalError")


def _start(request: Request, request_id: str, answer: Answer) -> dict[str, Any]:
    """The head of an answer, with the headers that all of them have."""
    headers = [*answer.headers, ("x-ms-request-id", request_id), ("x-ms-version", request.version)]
    if client_request_id := request.header("x-ms-client-request-id"):
        headers.append(("x-ms-client-request-id", client_request_id))
    if answer.status != 304:
        headers.append(("content-length", str(answer.length)))
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(_encode_name(name), _encode(value)) for name, value in headers],
    }


class _CaseKept(bytes):
    """The name of a header which the server leaves as it is, where it would put others in lower case."""

    def lower(self) -> bytes:
        return self


@lru_cache(1024)
def _encode_name(name: str) -> bytes:
    encoded = name.encode("latin-1")
    return _CaseKept(encoded) if encoded.startswith(b"x-ms-meta-") else encoded


def _encode(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()
