"""The operations on blocks."""

from __future__ import annotations

from ..errors import error, invalid_header, invalid_query
from ..model import Block, Content
from ..service import blocks
from . import headers, xml
from .answer import Answer, encryption_headers, modified, xml_answer
from .blobs import checksum_headers, draft, structured_headers, written
from .call import Call, Checksums, read_document, stored, uploaded
from .limits import CRC64_SINCE, body_limits

_BLOCK_LIST_TYPES = {
    "": ("committed",),
    "committed": ("committed",),
    "uncommitted": ("uncommitted",),
    "all": ("committed", "uncommitted"),
}
#: Blocks in a list from which on it is committed in a thread.
_LONG_LIST = 100


def block_id(call: Call) -> str:
    text = call.request.parameter("blockid").replace(" ", "+")  # a plus sign that was not encoded
    if not text:
        raise error("MissingRequiredQueryParameter", QueryParameterName="blockid")
    return text


async def put_block(call: Call) -> Answer:
    request = call.request
    size, pieces = uploaded(call, body_limits(request.version).block)
    if size == 0:
        raise invalid_header("content-length", "0")
    block, demands = block_id(call), headers.demands(request)
    call.store.read(blocks.check_put_block, call.name, block, demands)  # fail before all the bytes are here
    gives_crc64 = request.version >= CRC64_SINCE
    async with stored(call, pieces, Checksums.of(request), md5=not gives_crc64, crc64=gives_crc64) as content:
        stored_block = await call.store.write(blocks.put_block, call.name, block, content, demands)
    return block_answer(call, content, stored_block)


def block_answer(call: Call, content: Content, block: Block) -> Answer:
    encrypted = [("x-ms-request-server-encrypted", "true"), *encryption_headers(block.encryption)]
    return Answer(201, [*checksum_headers(content), *encrypted, *structured_headers(call)])


async def put_block_list(call: Call) -> Answer:
    wanted = draft(call, headers.content_properties(call.request, only_own=True))
    listed = xml.read_block_list(await read_document(call))
    write = call.store.write if len(listed) < _LONG_LIST else call.store.write_long
    blob = await write(blocks.put_block_list, call.name, wanted, listed)
    return Answer(201, written(blob))


async def get_block_list(call: Call) -> Answer:
    kind = call.request.parameter("blocklisttype").lower()
    if kind not in _BLOCK_LIST_TYPES:
        raise invalid_query("blocklisttype", kind)
    lists = call.store.read(blocks.get_block_list, call.name, headers.demands(call.request))
    about = modified(lists.blob.last_modified) if lists.blob else []
    about.append(("x-ms-blob-content-length", str(lists.blob.size if lists.blob else 0)))
    return xml_answer(xml.block_lists(lists, _BLOCK_LIST_TYPES[kind]), about)
