"""What a blob's access tier is, and what an archived blob allows. Pure.

https://learn.microsoft.com/rest/api/storageservices/set-blob-tier
"""

from __future__ import annotations

from typing import Final

from millpond.common.clock import MINUTE, SECOND

from ..errors import error
from ..model import NO_TIERING, Blob, BlobType, Tiering

ARCHIVE: Final = "Archive"
DEFAULT_TIER: Final = "Hot"
DEFAULT_PRIORITY: Final = "Standard"
#: The tiers of block blobs.
BLOCK_BLOB_TIERS: Final = frozenset({"Hot", "Cool", "Cold", ARCHIVE, "Smart"})
#: Those of page blobs, which only premium accounts have; here any account has them.
PAGE_BLOB_TIERS: Final = frozenset({"P4", "P6", "P10", "P15", "P20", "P30", "P40", "P50", "P60", "P70", "P80"})
_TIERS: Final[dict[BlobType, frozenset[str]]] = {"BlockBlob": BLOCK_BLOB_TIERS, "PageBlob": PAGE_BLOB_TIERS}
#: How long it takes to bring a blob back from the archive, by priority. (Azure takes up to 1 and 15 hours.)
REHYDRATION: Final = {"High": 10 * SECOND, "Standard": MINUTE}


def rehydration(tier: str, priority: str, now: int) -> Tiering:
    """The way of an archived blob to that tier."""
    priority = priority or DEFAULT_PRIORITY
    return Tiering(now, tier, now + REHYDRATION[priority], priority)


def check_tier(blob_type: BlobType, tier: str) -> None:
    """Raises ``InvalidBlobTier`` for a tier that blobs of this type cannot have; nothing stands for none."""
    if tier and tier not in _TIERS.get(blob_type, ()):
        raise error("InvalidBlobTier")


def arrived(blob: Blob, now: int) -> Blob:
    """The blob as it is at that moment: out of the archive, where it was on its way and is due."""
    tiering = blob.tiering
    if not tiering.target or now < tiering.due_at:
        return blob
    return blob._replace(access_tier=tiering.target, tiering=NO_TIERING._replace(changed_at=tiering.due_at))


def check_online(blob: Blob) -> None:
    """Raises ``BlobArchived`` or ``BlobBeingRehydrated`` for a blob whose bytes are not to be had."""
    if blob.tiering.target:
        raise error("BlobBeingRehydrated")
    if blob.access_tier == ARCHIVE:
        raise error("BlobArchived")
