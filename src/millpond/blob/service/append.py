"""The rules of append blobs: append, seal.

https://learn.microsoft.com/rest/api/storageservices/append-block
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..errors import error
from ..model import Blob, Content, ResourceName
from ..store import Transaction
from . import in_place
from .blobs import check_encryption, find_blob_to_change
from .conditions import Demands

#: How often a blob can be appended to.
MAX_BLOCKS: Final = 50_000


class AppendDemands(NamedTuple):
    """What a request demands of the blob's size: at most so much afterwards, exactly so much before."""

    max_size: int | None = None
    position: int | None = None


NO_APPEND_DEMANDS: Final = AppendDemands()


def check_append(
    transaction: Transaction, name: ResourceName, size: int, demands: Demands, of_size: AppendDemands
) -> Blob:
    """The blob that so many bytes may be appended to. Raises what keeps them from there."""
    blob = _find_append_blob(transaction, name, demands)
    check_encryption(transaction, name, blob, demands)
    if blob.in_place.is_sealed:
        raise error("BlobIsSealed")
    if blob.in_place.committed_blocks >= MAX_BLOCKS:
        raise error("BlockCountExceedsLimit")
    if of_size.max_size is not None and blob.size + size > of_size.max_size:
        raise error("MaxBlobSizeConditionNotMet")
    _check_position(blob, of_size)
    return blob


def append_block(
    transaction: Transaction, name: ResourceName, content: Content, demands: Demands, of_size: AppendDemands
) -> Blob:
    """The blob with the content at its end. Raises ``in_place.TailGoneError``."""
    blob = check_append(transaction, name, content.size, demands, of_size)
    grown = blob._replace(
        size=blob.size + content.size,
        in_place=blob.in_place._replace(committed_blocks=blob.in_place.committed_blocks + 1),
    )
    return in_place.change(transaction, grown, blob.size, grown.size, content)


def seal(transaction: Transaction, name: ResourceName, demands: Demands, of_size: AppendDemands) -> Blob:
    """From now on nothing can be appended. Sealing twice does no harm."""
    blob = _find_append_blob(transaction, name, demands)
    _check_position(blob, of_size)
    if blob.in_place.is_sealed:
        return blob
    sealed = in_place.changed_now(transaction, blob._replace(in_place=blob.in_place._replace(is_sealed=True)))
    transaction.put_blob_head(sealed)
    return sealed


def _find_append_blob(transaction: Transaction, name: ResourceName, demands: Demands) -> Blob:
    blob = find_blob_to_change(transaction, name, demands)
    if blob.type != "AppendBlob":
        raise error("InvalidBlobType")
    in_place.check_may_change(transaction, blob)
    return blob


def _check_position(blob: Blob, of_size: AppendDemands) -> None:
    if of_size.position not in (None, blob.size):
        raise error("AppendPositionConditionNotMet")
