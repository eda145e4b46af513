"""The Batch service as an ASGI application: its middleware, its routes, its life."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from millpond.common.clock import Clock, SystemClock
from millpond.common.config import Accounts, Settings

from ..errors import error
from ..service import open_service
from . import agent_requests
from .agents import agent_channel
from .http import Call
from .jobs import job_key
from .middleware import Answers, ApiVersion, Authentication, call_of, read_body, send_answer
from .operations import EXTENSIONS, OPERATIONS
from .parameters import check_parameters
from .routes import Operation, Routes


def create_app(settings: Settings, accounts: Accounts, base_url: str, clock: Clock | None = None) -> ASGIApp:
    """The application that serves clients and agents; the service lives as long as the application does.

    ``base_url`` is where agents and tasks reach the service. Clients may know it by other names: the URLs in
    answers are made of those that they use.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        service = open_service(settings, accounts, base_url)
        await service.start()
        try:
            yield {"service": service}
        finally:
            await service.stop()

    app = Starlette(
        routes=[WebSocketRoute("/agents/{node:path}", _agents), *agent_requests.ROUTES],
        lifespan=lifespan,
    )
    operations = ApiVersion(_Operations([*OPERATIONS, *EXTENSIONS]))
    answers = Answers(Authentication(operations, accounts=accounts), clock=clock or SystemClock())
    nowhere = app.router.default

    async def clients(scope: Scope, receive: Receive, send: Send) -> None:
        """All other requests, whatever their paths: no pattern of Starlette's matches every one."""
        await (answers if scope["type"] == "http" else nowhere)(scope, receive, send)

    app.router.default = clients
    app.router.redirect_slashes = False
    return app


async def _agents(websocket: WebSocket) -> None:
    await agent_channel(websocket.scope["state"]["service"], websocket, websocket.path_params["node"])


def _check_own_job(call: Call, operation: Operation) -> None:
    """A task may ask about its own job, and about nothing else. Raises ``InsufficientAccountPermissions``."""
    if call.own_job is None:
        return
    is_own = operation.path.startswith("/jobs/{jobId}") and job_key(call) == call.own_job
    if not is_own:
        raise error("InsufficientAccountPermissions")


class _Operations:
    """Has the operation that a request is for carried out. Paths are matched as sent, which Starlette does not do."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._routes = Routes(operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = call_of(scope)
        operation = self._routes.find(call)
        _check_own_job(call, operation)
        check_parameters(call, operation)
        if call.method not in ("GET", "HEAD", "DELETE"):
            call.body = await read_body(call, receive)
        answer = await operation.handler(scope["state"]["service"], call)
        await send_answer(call, answer, receive, send)
