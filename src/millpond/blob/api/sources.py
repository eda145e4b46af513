"""Where a copy takes its bytes from: a blob of this service, or anything that HTTP reaches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from millpond.common.clock import to_http
from millpond.common.conditions import Conditions
from millpond.common.errors import ServiceError

from ..auth import READ_BLOB, authorize
from ..content import checksums
from ..errors import ERRORS, CopySourceError, error, invalid_header
from ..model import ContentProperties, Encryption, Metadata, ResourceName, Tags
from ..remote import RemoteError
from ..request import Request
from ..service import copying
from ..service.blobs import Span
from ..service.conditions import Demands
from . import headers
from .call import Call
from .download import files, read_pieces

HEADER: Final = "x-ms-copy-source"
AUTHORIZATION: Final = "x-ms-copy-source-authorization"
_IF_TAGS: Final = "x-ms-source-if-tags"
_PORTS = {"http": 80, "https": 443}
_AZURE = ".blob.core.windows.net"
_META = "x-ms-meta-"


class Opened(NamedTuple):
    """A source that is being read."""

    size: int
    properties: ContentProperties
    metadata: Metadata
    pieces: AsyncIterator[bytes]
    #: ``None`` where they are not to be had.
    tags: Tags | None = None


def source_demands(request: Request) -> Demands:
    """What is demanded of the source, and the key that it needs."""
    return Demands(
        headers.conditions(request, "x-ms-source-"),
        request.header("x-ms-source-lease-id"),
        encryption=Encryption(headers.key_of(request, "x-ms-source-")),
        if_tags=headers.if_tags(request, _IF_TAGS),
    )


def find_source(call: Call, *, by_key: bool = False) -> ResourceName | None:
    """The blob of this service that the request names and its sender may read; ``None`` for one elsewhere.

    ``by_key``: the key that signed the request opens sources in the same account. Raises :class:`CopySourceError`
    for a source that may not be read.
    """
    parts = _split(url_of(call.request))
    source = _request(call, parts)
    if source is None:
        return None
    is_same_account = source.resource.account == call.name.account
    if by_key and call.access.is_owner and is_same_account:
        return source.resource
    if AUTHORIZATION in call.request.headers:
        source.headers["authorization"] = call.request.headers[AUTHORIZATION]
        source.scheme = call.request.scheme  # what the token came over
    try:
        tells_tags = headers.copies_tags(call.request) or _IF_TAGS in call.request.headers
        need = READ_BLOB._replace(also="t") if tells_tags else READ_BLOB
        authorize(source, need, call.service.accounts, call.store, call.service.clock.now())
    except ServiceError as failure:
        if "sig" in source.query or AUTHORIZATION in call.request.headers:
            raise CopySourceError(failure.status, failure.code, failure.message) from None
        status, message = ERRORS["NoAuthenticationInformation"]
        raise CopySourceError(status, "NoAuthenticationInformation", message) from None
    return source.resource


def url_of(request: Request) -> str:
    """The URL of the source. What is not ASCII should be encoded; old clients send it as UTF-8, or as Latin-1."""
    text = request.header(HEADER)
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or (parts.port is not None and parts.port < 1):
            raise ValueError(url)
    except ValueError:
        raise invalid_header(HEADER, url) from None
    return parts


def _request(call: Call, parts: SplitResult) -> Request | None:
    """The request that a URL stands for, where it is one of this service."""
    host = parts.hostname or ""
    is_azure = host.endswith(_AZURE)
    if not is_azure and not _is_here(call.request, parts):
        return None
    request = Request(
        {
            "method": "GET",
            "scheme": parts.scheme,
            "client": (call.request.client_address, 0),
            "raw_path": parts.path.encode(),
            "headers": [(b"host", parts.netloc.encode())],
        }
    )
    if is_azure and not call.service.accounts.keys("storage", host.removesuffix(_AZURE)):
        return None
    try:
        request.read(parts.query.encode(), call.service.accounts)
    except ServiceError as failure:
        raise CopySourceError(failure.status, failure.code, failure.message) from None
    return request


def _is_here(request: Request, parts: SplitResult) -> bool:
    """Whether a URL leads to this service: by the host and port of this request, or another name of the machine."""
    own = urlsplit(f"{request.scheme}://{request.header('host')}")
    if (parts.port or _PORTS[parts.scheme]) != (own.port or _PORTS[own.scheme]):
        return False
    host, own_host = parts.hostname or "", own.hostname or ""
    if host == own_host or host.partition(".")[2] == own_host or host == own_host.partition(".")[2]:
        return True
    if host.partition(".")[2] == own_host.partition(".")[2] != "":
        return True
    return _is_loopback(host) and _is_loopback(own_host)


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.") or host == "localhost" or host.endswith(".localhost")


@asynccontextmanager
async def opened(call: Call, *, code: str = "SourceConditionNotMet", span: Span | None = None) -> AsyncIterator[Opened]:
    """The source that a request names, to be read now. ``code`` is for a condition of the source that fails.

    Raises :class:`CopySourceError` where it cannot be read.
    """
    demands = source_demands(call.request)
    name = find_source(call)
    if name:
        content = call.service.content
        try:
            reading = call.store.read(copying.read_source, name, demands, span, code=code)
        except ServiceError as failure:
            if failure.code in (code, "ConditionNotMet", "InvalidRange"):
                raise
            raise CopySourceError(failure.status, failure.code, failure.message) from None
        with content.pinned(files(reading)):
            blob = reading.blob
            size = reading.end - reading.begin
            yield Opened(size, blob.properties, blob.metadata, read_pieces(content, reading), blob.tags)
        return
    wanted = _conditional(demands.conditions)
    if AUTHORIZATION in call.request.headers:
        wanted["authorization"] = call.request.headers[AUTHORIZATION]
    if span:
        wanted["range"] = f"bytes={span.begin}-{'' if span.end is None else span.end - 1}"
    try:
        async with call.service.remote.opened(url_of(call.request), wanted) as body:
            if span and body.status != 206:
                raise RemoteError(0, "The source does not serve ranges.")
            yield Opened(body.size, properties_of(body.headers), metadata_of(body.headers), body.pieces)
    except RemoteError as failure:
        if failure.status in (304, 412):
            raise error(code) from None
        raise remote_failure(failure) from None


def remote_failure(failure: RemoteError) -> ServiceError:
    """The service's error for a source elsewhere that cannot be read."""
    if not failure.status:
        return error("CannotVerifyCopySource", Reason=failure.message)
    status = failure.status if 400 <= failure.status < 500 else 404
    return CopySourceError(status, failure.code, failure.message, source_status=failure.status)


def _conditional(conditions: Conditions) -> dict[str, str]:
    """Conditions of the source, as headers of the request for it."""
    found = {}
    for name, tags in (("if-match", conditions.if_match), ("if-none-match", conditions.if_none_match)):
        if tags:
            found[name] = ", ".join(tag if tag == "*" else f'"{tag}"' for tag in tags)
    for name, moment in (
        ("if-modified-since", conditions.if_modified_since),
        ("if-unmodified-since", conditions.if_unmodified_since),
    ):
        if moment is not None:
            found[name] = to_http(moment)
    return found


def properties_of(found: Mapping[str, str]) -> ContentProperties:
    """What another service says of its content."""
    try:
        md5 = checksums.decode(found.get("content-md5", ""), checksums.MD5_SIZE)
    except ValueError:
        md5 = b""
    return ContentProperties(
        content_type=found.get("content-type") or ContentProperties().content_type,
        content_encoding=found.get("content-encoding", ""),
        content_language=found.get("content-language", ""),
        content_disposition=found.get("content-disposition", ""),
        cache_control=found.get("cache-control", ""),
        content_md5=md5,
    )


def metadata_of(found: Mapping[str, str]) -> Metadata:
    return {name.removeprefix(_META): value for name, value in found.items() if name.startswith(_META)}
