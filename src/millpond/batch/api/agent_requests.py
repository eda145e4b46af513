"""What agents ask for by HTTP, with their nodes' tokens: ``/agents/{node key}/…``.

These are no operations of the Batch API: no account signs them, and they have no version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from millpond.common.agent_protocol import CertificateContent, PackageInfo

from ..applications import PackageError, directory_name
from ..auto_storage import NotLinkedError
from ..service import BatchService
from .wire.codec import encode

_Handler = Callable[[BatchService, str, Request], Awaitable[Response]]


async def _package_info(service: BatchService, account: str, request: Request) -> Response:
    """Which package a reference means now."""
    application_id, version = request.path_params["application"], request.query_params.get("version")
    try:
        application = service.applications.get(account, application_id)
        package = application.package(version or None)
    except PackageError:
        return _refusal(404, "ApplicationPackageNotFound")
    info = PackageInfo(
        application_id=application.id,
        version=package.version,
        digest=package.digest,
        directory=directory_name(application, package),
    )
    return Response(encode(info), media_type="application/json")


async def _package(service: BatchService, account: str, request: Request) -> Response:
    try:
        file = service.applications.file(account, request.path_params["digest"])
    except PackageError:
        return _refusal(404, "ApplicationPackageNotFound")
    return FileResponse(file, media_type="application/zip")


async def _container(service: BatchService, account: str, request: Request) -> Response:
    """The URL of a container of the linked storage account, with a signature to read it."""
    name, now = request.path_params["container"], service.clock.now()
    try:
        url = await asyncio.to_thread(service.auto_storage.container_url, account, name, now)
    except NotLinkedError:
        return _refusal(404, "StorageAccountNotFound")
    return Response(encode(url), media_type="application/json")


async def _storage(service: BatchService, account: str, request: Request) -> Response:
    """Where a storage account's blobs are served: one of ours, or one of Azure's."""
    return Response(
        encode(service.auto_storage.account_url(request.path_params["storage"])), media_type="application/json"
    )


async def _certificate(service: BatchService, account: str, request: Request) -> Response:
    certificate = service.certificates.get(account, request.path_params["thumbprint"])
    if certificate is None:
        return _refusal(404, "CertificateNotFound")
    content = CertificateContent(format=certificate.format, data=certificate.data, password=certificate.password)
    return Response(encode(content), media_type="application/json")


def _refusal(status: int, code: str) -> Response:
    return Response(status_code=status, headers={"x-ms-error-code": code})


def _admitted(handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler, for the agent of the node that the path names, with that node's account."""

    async def answer(request: Request) -> Response:
        service: BatchService = request.scope["state"]["service"]
        node = request.path_params["node"]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not service.tokens.admits(node, token.strip()):
            return _refusal(403, "AuthenticationFailed")
        return await handler(service, node.partition("/")[0], request)

    return answer


ROUTES: list[BaseRoute] = [
    Route("/agents/{node:path}/applications/{application}", _admitted(_package_info)),
    Route("/agents/{node:path}/certificates/{thumbprint}", _admitted(_certificate)),
    Route("/agents/{node:path}/containers/{container}", _admitted(_container)),
    Route("/agents/{node:path}/packages/{digest}", _admitted(_package)),
    Route("/agents/{node:path}/storage/{storage}", _admitted(_storage)),
]
