"""The operations on blobs as wholes."""

from __future__ import annotations

from collections.abc import Mapping

from millpond.common.clock import DAY

from ..content import checksums
from ..errors import error, invalid_header, invalid_query
from ..model import Blob, Content, ContentProperties
from ..moments import to_snapshot
from ..service import blobs
from ..service.blobs import BlobDraft
from . import headers, structured
from .answer import (
    Answer,
    Headers,
    blob_headers,
    encryption_headers,
    in_place_headers,
    metadata_headers,
    modified,
    version_headers,
)
from .call import Call, Checksums, stored, uploaded
from .download import files, read_pieces
from .limits import CRC64_SINCE, MAX_CHECKED_RANGE, body_limits

#: A blob up to this size is kept in its row. (Blocks never are: a blob may have 50,000 of them.)
INLINE_SIZE = 32 << 10
#: Reads within so long after another one are not noted.
_ACCESS_PERIOD = DAY


def draft(call: Call, properties: ContentProperties) -> BlobDraft:
    """What the headers say of the blob that a request makes."""
    return BlobDraft(
        properties=properties,
        metadata=headers.metadata(call.request),
        access_tier=headers.access_tier(call.request),
        demands=headers.demands(call.request),
        may_overwrite=call.access.may_overwrite,
        features=call.features,
        immutability=headers.immutability(call.request),
        tags=headers.tags(call.request),
    )


async def put_blob(call: Call) -> Answer:
    size, pieces = uploaded(call, body_limits(call.request.version).blob)
    wanted = draft(call, headers.content_properties(call.request))
    if size > INLINE_SIZE:
        call.store.read(blobs.find_place, call.name, wanted)  # fail before all the bytes are here
    gives_crc64 = call.request.version >= CRC64_SINCE
    async with stored(
        call, pieces, Checksums.of(call.request), inline_size=INLINE_SIZE, md5=True, crc64=gives_crc64
    ) as content:
        sent = wanted.properties.content_md5
        if sent and sent != content.md5:
            raise error("Md5Mismatch")
        wanted = wanted._replace(properties=wanted.properties._replace(content_md5=content.md5))
        blob = await call.store.write(blobs.put_blob, call.name, wanted, content)
    return Answer(201, written(blob) + checksum_headers(content) + structured_headers(call))


def written(blob: Blob) -> Headers:
    return [
        *modified(blob.last_modified),
        ("x-ms-request-server-encrypted", "true"),
        *encryption_headers(blob.encryption),
        *version_headers(blob),
    ]


def checksum_headers(content: Content) -> Headers:
    return _checksum_headers(content.md5, content.crc64)


def _checksum_headers(md5: bytes, crc64: bytes) -> Headers:
    found = (("content-md5", md5), ("x-ms-content-crc64", crc64))
    return [(name, checksums.encode(value)) for name, value in found if value]


def structured_headers(call: Call) -> Headers:
    """What tells the client that its structured message was understood as one."""
    return [(structured.HEADER, structured.KIND)] if structured.is_structured(call.request) else []


async def get_blob(call: Call) -> Answer:
    request = call.request
    span = headers.span(request)
    with_md5 = headers.flag(request, "x-ms-range-get-content-md5")
    with_crc64 = headers.flag(request, "x-ms-range-get-content-crc64")
    if (with_md5 or with_crc64) and not span:
        raise error("MissingRequiredHeader", HeaderName="x-ms-range")
    reading = call.store.read(blobs.read_blob, call.name, headers.demands(request), span)
    blob, begin, end, _ = reading
    now = call.service.clock.now()
    if call.features.last_access_tracking and blob.accessed_at < now - _ACCESS_PERIOD:
        await call.store.write(blobs.note_access, blob)
    about = _overridden(
        blob_headers(blob, now, whole=span is None, tags=call.access.may_read_tags), call.access.overrides
    )
    if span:
        about.append(("content-range", f"bytes {begin}-{end - 1}/{blob.size}"))
    status = 206 if span else 200
    if structured.is_structured(request):
        about += [(structured.HEADER, structured.KIND), (structured.LENGTH_HEADER, str(end - begin))]
        return Answer(status, about, reading=reading, is_structured=True)
    if not with_md5 and not with_crc64:
        return Answer(status, about, reading=reading)
    if end - begin > MAX_CHECKED_RANGE:
        raise error("OutOfRangeInput", Reason="A checksum is given for at most 4 MiB.")
    with call.service.content.pinned(files(reading)):
        data = b"".join([piece async for piece in read_pieces(call.service.content, reading)])
    md5 = checksums.md5(data) if with_md5 else b""
    crc64 = checksums.crc64(data) if with_crc64 else b""
    return Answer(206, about + _checksum_headers(md5, crc64), data)


def _overridden(about: Headers, overrides: Mapping[str, str]) -> Headers:
    return [header for header in about if header[0] not in overrides] + list(overrides.items())


async def get_blob_properties(call: Call) -> Answer:
    blob = call.store.read(blobs.get_blob_properties, call.name, headers.demands(call.request))
    about = blob_headers(blob, call.service.clock.now(), whole=True, tags=call.access.may_read_tags)
    about = _overridden(about, call.access.overrides)
    return Answer(200, about, size=blob.size)


async def get_blob_metadata(call: Call) -> Answer:
    blob = call.store.read(blobs.get_blob_properties, call.name, headers.demands(call.request))
    return Answer(200, modified(blob.last_modified) + version_headers(blob) + metadata_headers(blob.metadata))


async def set_blob_properties(call: Call) -> Answer:
    properties = headers.content_properties(call.request, only_own=True, md5_of_any_size=True)
    blob = await call.store.write(blobs.set_blob_properties, call.name, properties, headers.demands(call.request))
    return Answer(200, modified(blob.last_modified) + in_place_headers(blob))


async def set_blob_metadata(call: Call) -> Answer:
    metadata, demands = headers.metadata(call.request), headers.demands(call.request)
    blob = await call.store.write(blobs.set_blob_metadata, call.name, metadata, demands, call.features)
    return Answer(200, written(blob))


async def delete_blob(call: Call) -> Answer:
    request, demands = call.request, headers.demands_of_deletion(call.request)
    match request.header("x-ms-delete-snapshots").lower():
        case "" | "include" | "only" as snapshots:
            pass
        case other:
            raise invalid_header("x-ms-delete-snapshots", other)
    if snapshots and (call.name.snapshot or call.name.version):
        raise invalid_header("x-ms-delete-snapshots", snapshots)
    match request.parameter("deletetype").lower():
        case "":
            is_permanent = await call.store.write(
                blobs.delete_blob,
                call.name,
                demands,
                snapshots,
                call.features,
            )
        case "permanent":
            is_permanent = True
            await call.store.write(blobs.delete_permanently, call.name, demands)
        case other:
            raise invalid_query("deletetype", other)
    return Answer(202, [("x-ms-delete-type-permanent", str(is_permanent).lower())])


async def undelete_blob(call: Call) -> Answer:
    await call.store.write(blobs.undelete_blob, call.name)
    return Answer(200)


async def snapshot_blob(call: Call) -> Answer:
    request = call.request
    # Long: the blob may have thousands of segments.
    snapshot = await call.store.write_long(
        blobs.snapshot_blob, call.name, headers.metadata(request), headers.demands(request), call.features
    )
    return Answer(201, [("x-ms-snapshot", to_snapshot(snapshot.snapshot)), *written(snapshot)])
