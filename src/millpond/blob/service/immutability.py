"""What keeps blobs from being changed and deleted: policies with an end, and legal holds.

https://learn.microsoft.com/azure/storage/blobs/immutable-version-level-worm-policies
"""

from __future__ import annotations

from ..errors import error
from ..model import Blob


def check(blob: Blob, now: int) -> None:
    """Raises ``BlobImmutableDueToLegalHold`` or ``BlobImmutableDueToPolicy``."""
    if blob.immutability.legal_hold:
        raise error("BlobImmutableDueToLegalHold")
    if blob.immutability.until > now:
        raise error("BlobImmutableDueToPolicy")
