"""The operations that take their bytes from another blob, or from anywhere."""

from __future__ import annotations

import re

from ..errors import error, invalid_header
from ..model import Blob, ContentProperties, CopyState, ResourceName
from ..service import blobs, blocks, copying
from ..service.blobs import BlobDraft
from . import headers, sources
from .answer import Answer, modified, version_headers
from .blobs import INLINE_SIZE, checksum_headers, draft, written
from .blocks import block_answer, block_id
from .call import Call, Checksums, stored
from .limits import CRC64_SINCE, body_limits

_SEAL = "x-ms-seal-blob"
#: Largest source of a copy that is made while its request waits.
_MAX_SYNC_COPY = 256 << 20
#: A name, and maybe a password, before the host of a URL.
_USER = re.compile(r"(https?://)[^/#]*@", re.IGNORECASE)


async def copy_blob(call: Call) -> Answer:
    """Copy Blob and Copy Blob From URL.

    Within this service both have ended when they are answered. From elsewhere the first goes on in the background.
    """
    request = call.request
    is_sync = headers.flag(request, "x-ms-requires-sync")
    wanted = draft(call, ContentProperties())
    source = sources.find_source(call, by_key=not is_sync)
    clock = call.service.clock
    copy = CopyState(clock.guid(), shown_source(sources.url_of(request)), clock.now())
    if source:
        return _copied(await _copy_own(call, source, wanted, copy))
    if is_sync:
        return await _copy_now(call, wanted, copy)
    return await _start_copy(call, wanted, copy)


async def _copy_own(call: Call, source: ResourceName, wanted: BlobDraft, copy: CopyState) -> Blob:
    request = call.request
    taking = copying.Taking(
        headers.flag(request, _SEAL) if _SEAL in request.headers else None,
        headers.copies_tags(request),
        headers.rehydrate_priority(request),
    )
    # Long: its source may have thousands of segments.
    return await call.store.write_long(
        copying.copy_blob,
        source,
        call.name,
        wanted,
        copy,
        source_demands=sources.source_demands(request),
        taking=taking,
    )


async def _copy_now(call: Call, wanted: BlobDraft, copy: CopyState) -> Answer:
    async with sources.opened(call) as source:
        if source.size > _MAX_SYNC_COPY:
            raise error("RequestBodyTooLarge", MaxLimit=str(_MAX_SYNC_COPY))
        wanted = _with_tags(call, copying.taken_over(wanted, source.properties, source.metadata), source)
        expected = Checksums.of(call.request, "x-ms-source-")
        async with stored(call, source.pieces, expected, md5=True, crc64=True) as content:
            copy = copy._replace(copied=content.size, total=content.size)
            blob = await call.store.write(blobs.put_blob, call.name, wanted, content, copy)
    answer = _copied(blob)
    return answer._replace(headers=[*answer.headers, *checksum_headers(content)])


def _with_tags(call: Call, wanted: BlobDraft, source: sources.Opened) -> BlobDraft:
    """The draft with the tags of its source, where the request asks for these."""
    if not headers.copies_tags(call.request):
        return wanted
    if source.tags is None:
        raise error("CannotVerifyCopySource", Reason="The source is elsewhere, where its tags cannot be read.")
    return wanted._replace(tags=source.tags)


async def _start_copy(call: Call, wanted: BlobDraft, copy: CopyState) -> Answer:
    """Look at the source, and leave the rest to the copier."""
    if sources.AUTHORIZATION in call.request.headers:  # which is for copies that are made at once
        raise error("InvalidHeaderValue", HeaderName=sources.AUTHORIZATION)
    url = sources.url_of(call.request)
    call.store.read(blobs.find_place, call.name, wanted, code="TargetConditionNotMet")
    async with sources.opened(call) as source:
        wanted = copying.taken_over(wanted, source.properties, source.metadata)
        copy = copy._replace(status="pending", completed_at=0, total=source.size)
    blob = await call.store.write(copying.start_copy, call.name, wanted, copy, url)
    return _copied(blob)


def _copied(blob: Blob) -> Answer:
    about = [("x-ms-copy-id", blob.copy.id), ("x-ms-copy-status", blob.copy.status)] if blob.copy else []
    return Answer(202, [*modified(blob.last_modified), *version_headers(blob), *about])


def shown_source(url: str) -> str:
    """The URL of a source as everybody may see it: with the snapshot or version, and no signature and no password."""
    path, _, query = url.partition("?")
    if user := _USER.match(path):
        path = user[1] + path[user.end() :]
    kept = [part for part in query.split("&") if part.partition("=")[0].lower() in ("snapshot", "versionid")]
    return f"{path}?{'&'.join(kept)}" if kept else path


async def incremental_copy(call: Call) -> Answer:
    """Incremental Copy Blob, of a snapshot of a page blob of this service.

    It has ended when it is answered, but clients count on an answer that says ``pending`` and look again.
    """
    wanted = draft(call, ContentProperties())
    source = sources.find_source(call, by_key=True)
    if source is None:
        raise error("CannotVerifyCopySource", Reason="Only snapshots of this service can be copied incrementally.")
    clock = call.service.clock
    copy = CopyState(clock.guid(), shown_source(sources.url_of(call.request)), clock.now(), is_incremental=True)
    blob = await call.store.write_long(copying.copy_incrementally, source, call.name, wanted, copy)
    return _copied(blob._replace(copy=copy._replace(status="pending")))


async def abort_copy(call: Call) -> Answer:
    request = call.request
    if request.header("x-ms-copy-action").lower() != "abort":
        raise invalid_header("x-ms-copy-action", request.header("x-ms-copy-action"))
    copy_id = request.parameter("copyid")
    await call.store.write(copying.abort_copy, call.name, copy_id, headers.demands(request))
    return Answer(204)


async def put_blob_from_url(call: Call) -> Answer:
    request = call.request
    wanted = draft(call, headers.content_properties(request, only_own=True))
    takes_properties = headers.flag(request, "x-ms-copy-source-blob-properties", default=True)
    expected = Checksums.of(request, "x-ms-source-")
    call.store.read(blobs.find_place, call.name, wanted)  # fail before all the bytes are here
    async with sources.opened(call, code="CannotVerifyCopySource") as source:
        wanted = _with_tags(call, wanted, source)
        if takes_properties:
            wanted = wanted._replace(properties=copying.merged(wanted.properties, source.properties))
        async with stored(
            call, source.pieces, expected, inline_size=INLINE_SIZE, md5=True, crc64=request.version >= CRC64_SINCE
        ) as content:
            wanted = wanted._replace(properties=wanted.properties._replace(content_md5=content.md5))
            blob = await call.store.write(blobs.put_blob, call.name, wanted, content)
    return Answer(201, written(blob) + checksum_headers(content))


async def put_block_from_url(call: Call) -> Answer:
    request = call.request
    block, demands = block_id(call), headers.demands(request)
    call.store.read(blocks.check_put_block, call.name, block, demands)
    expected = Checksums.of(request, "x-ms-source-")
    async with sources.opened(call, span=headers.span(request, "x-ms-source-range")) as source:
        if not 0 < source.size <= body_limits(request.version).block:
            raise error("OutOfRangeInput")
        gives_crc64 = request.version >= CRC64_SINCE
        gives_md5 = not gives_crc64 or bool(expected.md5)
        async with stored(call, source.pieces, expected, md5=gives_md5, crc64=gives_crc64) as content:
            stored_block = await call.store.write(blocks.put_block, call.name, block, content, demands)
    return block_answer(call, content, stored_block)
