"""The operations on the tags of blobs."""

from __future__ import annotations

from ..errors import error, invalid_query
from ..service import tagging
from ..tags import read_search
from . import headers, paging, xml
from .answer import Answer, version_headers, xml_answer
from .call import Call, read_document


async def get_blob_tags(call: Call) -> Answer:
    tags = call.store.read(tagging.get_tags, call.name, headers.demands_on_tagged(call.request))
    return xml_answer(f"{xml.DECLARATION}{xml.tags(tags)}")


async def set_blob_tags(call: Call) -> Answer:
    if call.name.snapshot:
        raise invalid_query("snapshot", call.request.parameter("snapshot"), "The tags of a snapshot stay as they are.")
    tags = xml.read_tags(await read_document(call))
    blob = await call.store.write(tagging.set_tags, call.name, tags, headers.demands_on_tagged(call.request))
    return Answer(204, version_headers(blob))


async def find_blobs_by_tags(call: Call) -> Answer:
    """In the account, or in the container that is named."""
    request = call.request
    where = request.parameter("where")
    if not where:
        raise error("MissingRequiredQueryParameter", QueryParameterName="where")
    try:
        search = read_search(where)
    except ValueError as problem:
        raise invalid_query("where", where, str(problem)) from None
    container, _, name = paging.position(request).name.partition("/")
    page = await call.store.read_long(
        tagging.find_blobs, call.name, search, first=(container, name), count=paging.page_size(request)
    )
    return xml_answer(xml.tagged_page(page, request))
