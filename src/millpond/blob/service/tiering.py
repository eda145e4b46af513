"""The rules of setting a blob's access tier."""

from __future__ import annotations

from ..errors import error
from ..model import Blob, ResourceName, Tiering
from ..store import Transaction
from .blobs import find_blob
from .conditions import Demands, check_tags
from .lease import check_use
from .tier import ARCHIVE, REHYDRATION, check_tier, rehydration


def set_tier(transaction: Transaction, name: ResourceName, tier: str, priority: str, demands: Demands) -> Blob:
    """The blob, its tier set or, where it comes from the archive, on its way: ``tiering.target`` tells."""
    blob = find_blob(transaction, name)
    check_use(blob.lease, demands.lease_id, transaction.now)
    check_tags(demands, blob.tags)
    if blob.type != "BlockBlob":  # those of page blobs are set when they are made
        raise error("InvalidBlobTier")
    check_tier(blob.type, tier)
    if blob.tiering.target:
        changed = _hurry(blob, tier, priority, transaction.now)
    elif blob.access_tier == ARCHIVE and tier != ARCHIVE:
        changed = blob._replace(tiering=rehydration(tier, priority, transaction.now))
    elif tier == blob.access_tier:
        return blob
    else:
        changed = blob._replace(access_tier=tier, tiering=Tiering(changed_at=transaction.now))
    transaction.put_blob_head(changed)
    return changed


def _hurry(blob: Blob, tier: str, priority: str, now: int) -> Blob:
    """A blob on its way can be told to be there sooner, and nothing else."""
    if tier != blob.tiering.target or priority != "High":
        raise error("BlobBeingRehydrated")
    due_at = min(blob.tiering.due_at, now + REHYDRATION["High"])
    return blob._replace(tiering=blob.tiering._replace(due_at=due_at, priority="High"))
