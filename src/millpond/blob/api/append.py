"""The operations on append blobs."""

from __future__ import annotations

from ..errors import error, invalid_header
from ..model import Blob, Content
from ..request import Request
from ..service import append, blobs
from ..service.append import AppendDemands
from . import headers, sources
from .answer import Answer, in_place_headers, modified
from .blobs import checksum_headers, draft, structured_headers, written
from .call import Call, Checksums, stored, uploaded
from .limits import CRC64_SINCE, appended_limit
from .pieces import MAX_SMALL_PIECE, store_piece


async def put_append_blob(call: Call) -> Answer:
    """An empty one."""
    request = call.request
    if request.header("content-length", "0") != "0":
        raise invalid_header("content-length", request.header("content-length"))
    if request.header("x-ms-access-tier"):
        raise invalid_header("x-ms-access-tier", request.header("x-ms-access-tier"))
    wanted = draft(call, headers.content_properties(request))._replace(type="AppendBlob")
    blob = await call.store.write(blobs.put_blob, call.name, wanted, Content(0, "", None))
    return Answer(201, written(blob))


async def append_block(call: Call) -> Answer:
    request = call.request
    size, pieces = uploaded(call, appended_limit(request.version))
    if size == 0:
        raise invalid_header("content-length", "0")
    demands, of_size = headers.demands(request), _append_demands(request)
    call.store.read(append.check_append, call.name, size, demands, of_size)  # fail before all the bytes are here
    wanted = Checksums.of(request)
    crc64 = request.version >= CRC64_SINCE
    async with stored(call, pieces, wanted, inline_size=MAX_SMALL_PIECE, md5=not crc64, crc64=crc64) as content:
        blob = await store_piece(call, append.append_block, content, demands, of_size)
    return _appended(blob, content, structured_headers(call))


async def append_block_from_url(call: Call) -> Answer:
    request = call.request
    demands, of_size = headers.demands(request), _append_demands(request)
    expected = Checksums.of(request, "x-ms-source-")
    call.store.read(append.check_append, call.name, 0, demands, of_size)
    async with sources.opened(
        call, code="CannotVerifyCopySource", span=headers.span(request, "x-ms-source-range")
    ) as source:
        if not 0 < source.size <= appended_limit(request.version):
            raise error("OutOfRangeInput")
        crc64 = request.version >= CRC64_SINCE
        async with stored(
            call, source.pieces, expected, inline_size=MAX_SMALL_PIECE, md5=not crc64, crc64=crc64
        ) as content:
            blob = await store_piece(call, append.append_block, content, demands, of_size)
    return _appended(blob, content)


def _appended(blob: Blob, content: Content, more: list[tuple[str, str]] | None = None) -> Answer:
    about = [*written(blob), ("x-ms-blob-append-offset", str(blob.size - content.size)), *in_place_headers(blob)]
    return Answer(201, about + checksum_headers(content) + (more or []))


async def seal(call: Call) -> Answer:
    request = call.request
    of_size = AppendDemands(position=headers.number(request, "x-ms-blob-condition-appendpos"))
    blob = await call.store.write(append.seal, call.name, headers.demands(request), of_size)
    return Answer(200, [*modified(blob.last_modified), ("x-ms-blob-sealed", "true")])


def _append_demands(request: Request) -> AppendDemands:
    return AppendDemands(
        max_size=headers.number(request, "x-ms-blob-condition-maxsize"),
        position=headers.number(request, "x-ms-blob-condition-appendpos"),
    )
