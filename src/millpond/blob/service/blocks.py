"""The rules of blocks: put, commit, list."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..errors import error
from ..model import NO_LEASE, Blob, Block, Container, Content, ResourceName, Segment
from ..store import Transaction
from .blobs import BlobDraft, Extent, check_is_no_past, find_blob, find_place, store_blob
from .conditions import NO_DEMANDS, Demands, check_read
from .containers import find_container
from .encryption import check_same, of_new_blob
from .lease import check_use
from .names import check_blob_name

BlockSource = Literal["Committed", "Uncommitted", "Latest"]

#: Most blocks of a committed blob.
MAX_COMMITTED_BLOCKS = 50_000
_MAX_BLOCK_ID = 64


class BlockLists(NamedTuple):
    """``blob`` is ``None`` for a name that has uncommitted blocks only."""

    blob: Blob | None
    committed: list[Segment]
    uncommitted: list[Block]


def check_block_id(block_id: str) -> None:
    """Base64 of 1 to 64 bytes. Raises ``InvalidBlockId``."""
    try:
        size = len(base64.b64decode(block_id, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not 1 <= size <= _MAX_BLOCK_ID:
        raise error("InvalidBlockId")


def check_put_block(transaction: Transaction, name: ResourceName, block_id: str, demands: Demands) -> Container:
    """The container that the block may go to. All block ids of a blob are equally long."""
    check_block_id(block_id)
    check_blob_name(name.blob)
    check_is_no_past(name)
    container = find_container(transaction, name)
    present = transaction.get_blob_head(container.id, name.blob)
    if present:
        check_use(present.lease, demands.lease_id, transaction.now, is_required=True)
        check_is_block_blob(present)
    else:
        check_use(NO_LEASE, demands.lease_id, transaction.now)
    neighbour = transaction.get_any_block(container.id, name.blob)
    if neighbour and len(neighbour.block_id) != len(block_id):
        raise error("InvalidBlobOrBlock")
    return container


def check_is_block_blob(blob: Blob) -> None:
    if blob.type != "BlockBlob":
        raise error("InvalidBlobType")


def put_block(
    transaction: Transaction, name: ResourceName, block_id: str, content: Content, demands: Demands = NO_DEMANDS
) -> Block:
    container = check_put_block(transaction, name, block_id, demands)
    block = Block(block_id, content.size, content.file, of_new_blob(container, demands.encryption))
    transaction.put_block(container.id, name.blob, block)
    return block


def put_block_list(
    transaction: Transaction, name: ResourceName, draft: BlobDraft, blocks: Sequence[tuple[BlockSource, str]]
) -> Blob:
    """Make a blob of blocks: those named, in that order, from where each says; all other blocks are dropped.

    Raises ``BlockListTooLong``, or ``InvalidBlockList`` for a block that is not there.
    """
    if len(blocks) > MAX_COMMITTED_BLOCKS:
        raise error("BlockListTooLong")
    place = find_place(transaction, name, draft)
    if place.present:
        check_is_block_blob(place.present)
    encryption = of_new_blob(place.container, draft.demands.encryption)
    uncommitted = {block.block_id: block for block in transaction.list_blocks(place.container.id, place.name)}
    committed = _committed(transaction, place.present) if place.present else {}
    choices = {
        "Committed": committed,
        "Uncommitted": uncommitted,
        "Latest": committed | uncommitted,
    }
    segments: list[Segment] = []
    size = 0
    for source, block_id in blocks:
        block = choices[source].get(block_id)
        if block is None:
            raise error("InvalidBlockList")
        check_same(block.encryption, encryption)
        segments.append(Segment(size, block.size, block_id, block.file))
        size += block.size
    return store_blob(transaction, place, draft, Extent(size, None if segments else b"", segments))


def _committed(transaction: Transaction, blob: Blob) -> dict[str, Block]:
    return {
        segment.block_id: Block(segment.block_id, segment.size, segment.file, blob.encryption)
        for segment in transaction.list_segments(blob.id)
        if segment.block_id
    }


def get_block_list(transaction: Transaction, name: ResourceName, demands: Demands) -> BlockLists:
    container = find_container(transaction, name)
    if name.snapshot or name.version:
        blob: Blob | None = find_blob(transaction, name)
        uncommitted: list[Block] = []  # which belong to no snapshot
    else:
        blob = transaction.get_blob_head(container.id, name.blob)
        uncommitted = transaction.list_blocks(container.id, name.blob)
    if blob is None:
        if not uncommitted:
            raise error("BlobNotFound")
        return BlockLists(None, [], uncommitted)
    check_is_block_blob(blob)
    check_read(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    committed = [segment for segment in transaction.list_segments(blob.id) if segment.block_id]
    return BlockLists(blob, committed, uncommitted)
