"""The operations on page blobs."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from ..errors import error, invalid_header, invalid_query
from ..model import Blob, Content, InPlace, ResourceName
from ..moments import from_snapshot
from ..request import Request
from ..service import blobs, pages
from ..service.pages import PAGE_SIZE, PageBlobChange, PageQuery, Pages, SequenceDemands
from . import headers, paging, sources, xml
from .answer import Answer, Headers, in_place_headers, modified, xml_answer
from .blobs import checksum_headers, draft, structured_headers, written
from .call import Call, Checksums, stored, uploaded
from .limits import CRC64_SINCE, MAX_PAGES
from .pieces import MAX_SMALL_PIECE, store_piece

_PREVIOUS_URL = "x-ms-previous-snapshot-url"
_NUMBER = "x-ms-blob-sequence-number"
_SIZE = "x-ms-blob-content-length"
_ACTION = "x-ms-sequence-number-action"


async def put_page_blob(call: Call) -> Answer:
    """One of zeros, of the size that a header tells."""
    request = call.request
    if request.header("content-length", "0") != "0":
        raise invalid_header("content-length", request.header("content-length"))
    size = _size(request, headers.required_number(request, _SIZE))
    in_place = InPlace(sequence_number=headers.number(request, _NUMBER) or 0)
    properties = headers.content_properties(request)
    wanted = draft(call, properties)._replace(type="PageBlob", in_place=in_place)
    blob = await call.store.write(blobs.put_blob, call.name, wanted, Content(size, "", None))
    return Answer(201, written(blob))


def _size(request: Request, size: int) -> int:
    if not pages.check_size(size):
        raise invalid_header(_SIZE, request.header(_SIZE))
    return size


async def put_page(call: Call) -> Answer:
    """Put Page, of either kind: ``update`` or ``clear``."""
    request = call.request
    match request.header("x-ms-page-write").lower():
        case "update":
            return await _update(call)
        case "clear":
            return await _clear(call)
        case "":
            raise error("MissingRequiredHeader", HeaderName="x-ms-page-write")
        case other:
            raise invalid_header("x-ms-page-write", other)


async def _update(call: Call) -> Answer:
    request, target = call.request, _pages(call.request)
    size, pieces = uploaded(call, MAX_PAGES)
    if size != target.size:
        raise invalid_header("content-length", str(size)) if size else error("InvalidPageRange")
    demands = headers.demands(request)
    call.store.read(pages.check_pages, call.name, target, demands)  # fail before all the bytes are here
    crc64 = request.version >= CRC64_SINCE
    expected = Checksums.of(request)
    async with stored(call, pieces, expected, inline_size=MAX_SMALL_PIECE, md5=not crc64, crc64=crc64) as content:
        blob = await store_piece(call, pages.put_pages, content, target, demands)
    return _changed(blob, checksum_headers(content) + structured_headers(call))


async def _clear(call: Call) -> Answer:
    request = call.request
    if request.header("content-length", "0") != "0":
        raise invalid_header("content-length", request.header("content-length"))
    demands = headers.demands(request)
    blob = await call.store.write(pages.put_pages, call.name, None, _pages(request), demands)
    return _changed(blob, [])


async def put_page_from_url(call: Call) -> Answer:
    request, target = call.request, _pages(call.request)
    span = headers.span(request, "x-ms-source-range")
    if span is None:
        raise error("MissingRequiredHeader", HeaderName="x-ms-source-range")
    if span.end is None or span.end - span.begin != target.size:
        raise error("InvalidPageRange")
    if target.size > MAX_PAGES:
        raise error("RequestBodyTooLarge", MaxLimit=str(MAX_PAGES))
    demands = headers.demands(request)
    call.store.read(pages.check_pages, call.name, target, demands)
    expected = Checksums.of(request, "x-ms-source-")
    crc64 = request.version >= CRC64_SINCE
    async with sources.opened(call, span=span) as source:
        if source.size != target.size:
            raise error("InvalidRange")
        async with stored(
            call, source.pieces, expected, inline_size=MAX_SMALL_PIECE, md5=not crc64, crc64=crc64
        ) as content:
            blob = await store_piece(call, pages.put_pages, content, target, demands)
    return _changed(blob, checksum_headers(content))


def _pages(request: Request) -> Pages:
    span = headers.span(request)
    if span is None:
        raise error("MissingRequiredHeader", HeaderName="x-ms-range")
    return Pages.of(span, _sequence_demands(request))


def _sequence_demands(request: Request) -> SequenceDemands:
    return SequenceDemands(
        at_most=headers.number(request, "x-ms-if-sequence-number-le"),
        below=headers.number(request, "x-ms-if-sequence-number-lt"),
        equal=headers.number(request, "x-ms-if-sequence-number-eq"),
    )


def _changed(blob: Blob, more: Headers) -> Answer:
    return Answer(201, [*written(blob), *in_place_headers(blob), *more])


def asks_for_change(request: Request) -> bool:
    """Whether a Set Blob Properties changes what only page blobs have."""
    return _SIZE in request.headers or _ACTION in request.headers


async def set_page_blob_properties(call: Call) -> Answer:
    request = call.request
    properties = None
    if any(name.startswith("x-ms-blob-c") and name != _SIZE for name in request.headers):
        properties = headers.content_properties(request, only_own=True, md5_of_any_size=True)
    change = PageBlobChange()
    size = headers.number(request, _SIZE)
    if size is not None:
        change = change._replace(size=_size(request, size))
    match request.header(_ACTION).lower():
        case "":
            pass
        case "max" | "update" as action:
            change = change._replace(action=action, number=headers.required_number(request, _NUMBER))
        case "increment":
            if _NUMBER in request.headers:
                raise invalid_header(_NUMBER, request.headers[_NUMBER])
            change = change._replace(action="increment")
        case other:
            raise invalid_header(_ACTION, other)
    demands = headers.demands(request)
    blob = await call.store.write(pages.set_page_blob_properties, call.name, properties, change, demands)
    return Answer(200, [*modified(blob.last_modified), *in_place_headers(blob)])


async def get_page_ranges(call: Call) -> Answer:
    request = call.request
    query = PageQuery(
        headers.span(request),
        previous=_previous(call),
        first=_first(request),
        most=paging.page_size(request, most=_MAX_RANGES) if "maxresults" in request.query else 0,
    )
    found = await call.store.read_long(pages.list_pages, call.name, query, headers.demands(request))
    about = [*modified(found.blob.last_modified), (_SIZE, str(found.blob.size))]
    return xml_answer(xml.page_list(found), about)


#: Most ranges in a page of a list.
_MAX_RANGES = 10_000


def _first(request: Request) -> int:
    marker = request.parameter("marker")
    if not marker:
        return 0
    if not marker.isascii() or not marker.isdecimal() or int(marker) % PAGE_SIZE:
        raise invalid_query("marker", marker)
    return int(marker)


def _previous(call: Call) -> ResourceName | None:
    """The snapshot that the blob is compared with."""
    request = call.request
    text, url = request.parameter("prevsnapshot"), request.header(_PREVIOUS_URL)
    try:
        if text:
            return call.name._replace(snapshot=from_snapshot(text))
        if not url:
            return None
        moments = parse_qs(urlsplit(url).query).get("snapshot", [""])
        named = urlsplit(url).path.rpartition("/")[2] == request.raw_path.rpartition("/")[2]
        return call.name._replace(snapshot=from_snapshot(moments[0]), blob=call.name.blob if named else "")
    except ValueError:
        raise invalid_header(_PREVIOUS_URL, url) if url else invalid_query("prevsnapshot", text) from None
