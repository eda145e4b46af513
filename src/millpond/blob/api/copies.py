"""The operations that take their bytes from another blob of this service."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from millpond.common.errors import ServiceError

from ..auth import READ_BLOB, authorize
from ..errors import error, invalid_header
from ..model import Blob, ContentProperties, CopyState, ResourceName
from ..request import Request
from ..service import blocks, copying
from ..service.blobs import BlobDraft
from ..service.conditions import Demands
from . import headers
from .answer import Answer, modified
from .blobs import draft, written
from .blocks import block_answer, block_id
from .call import Call, Checksums, stored
from .download import files, read_pieces
from .limits import CRC64_SINCE, body_limits

_SOURCE = "x-ms-copy-source"
_PORTS = {"http": 80, "https": 443}


async def copy_blob(call: Call) -> Answer:
    """Copy Blob, and Copy Blob From URL: within one service both have ended when they are answered."""
    wanted = draft(call, ContentProperties())

    def draft_from(source: Blob) -> BlobDraft:
        return wanted._replace(properties=source.properties, metadata=wanted.metadata or source.metadata)

    clock = call.service.clock
    copy = CopyState(clock.guid(), call.request.header(_SOURCE).partition("?")[0], clock.now())
    blob = await _copy(call, draft_from, copy)
    return Answer(202, [*modified(blob.last_modified), ("x-ms-copy-id", copy.id), ("x-ms-copy-status", "success")])


async def put_blob_from_url(call: Call) -> Answer:
    request = call.request
    wanted = draft(call, headers.content_properties(request, only_own=True))
    takes_properties = headers.flag(request, "x-ms-copy-source-blob-properties", default=True)
    expected = Checksums.of(request, "x-ms-source-")

    def draft_from(source: Blob) -> BlobDraft:
        found = source.properties.content_md5
        if expected.crc64 or (expected.md5 and not found):
            raise error("NotImplemented")  # nobody has computed it, and a copy reads no bytes
        expected.compare(found, b"")
        if not takes_properties:
            return wanted._replace(properties=wanted.properties._replace(content_md5=found))
        chosen = [
            own if own != default else from_source
            for own, default, from_source in zip(wanted.properties, ContentProperties(), source.properties, strict=True)
        ]
        return wanted._replace(properties=ContentProperties._make(chosen))

    blob = await _copy(call, draft_from, None)
    return Answer(201, written(blob))


async def _copy(call: Call, draft_from: Callable[[Blob], BlobDraft], copy: CopyState | None) -> Blob:
    # Long: its source may have thousands of segments.
    return await call.store.write_long(
        copying.copy_blob,
        _source(call),
        call.name,
        source_demands=_source_demands(call),
        draft_from=draft_from,
        copy=copy,
    )


async def put_block_from_url(call: Call) -> Answer:
    request, content_store = call.request, call.service.content
    source, block, demands = _source(call), block_id(call), headers.demands(request)
    call.store.read(blocks.check_put_block, call.name, block, demands)
    span = headers.span(request, "x-ms-source-range")
    reading = call.store.read(copying.read_source, source, _source_demands(call), span)
    with content_store.pinned(files(reading)):
        if not 0 < reading.end - reading.begin <= body_limits(request.version).block:
            raise error("OutOfRangeInput")
        expected = Checksums.of(request, "x-ms-source-")
        gives_crc64 = request.version >= CRC64_SINCE and not expected.md5
        pieces = read_pieces(content_store, reading)
        async with stored(call, pieces, expected, md5=not gives_crc64, crc64=gives_crc64) as content:
            await call.store.write(blocks.put_block, call.name, block, content, demands)
    return block_answer(call, content)


def _source_demands(call: Call) -> Demands:
    return Demands(headers.conditions(call.request, "x-ms-source-"), call.request.header("x-ms-source-lease-id"))


def _source(call: Call) -> ResourceName:
    """The blob that ``x-ms-copy-source`` names, which the requester may read.

    Raises ``CannotVerifyCopySource`` where it may not, and ``NotImplemented`` for a URL of another service.
    """
    url = call.request.header(_SOURCE)
    own = urlsplit(f"{call.request.scheme}://{call.request.header('host')}")
    try:
        parts = urlsplit(url)
        is_here = (parts.port or _PORTS[parts.scheme]) == (own.port or _PORTS[own.scheme])
    except (ValueError, KeyError):
        raise invalid_header(_SOURCE, url) from None
    source = Request(
        {
            "method": "GET",
            "scheme": parts.scheme,
            "client": (call.request.client_address, 0),
            "raw_path": parts.path.encode("latin-1"),
            "headers": [(b"host", parts.netloc.encode("latin-1"))],
        }
    )
    try:
        source.read(parts.query.encode("latin-1"), call.service.accounts)
    except ServiceError:
        is_here = False
    if not is_here:
        raise error("NotImplemented", Reason="The source of a copy is a blob of this service.")
    if call.access.by != "key" or source.resource.account != call.name.account:
        try:
            authorize(source, READ_BLOB, call.service.accounts, call.store, call.service.clock.now())
        except ServiceError as failure:
            raise ServiceError(failure.status, "CannotVerifyCopySource", failure.message) from None
    return source.resource
