"""What keeps blobs from being changed and deleted: policies with an end, and legal holds.

https://learn.microsoft.com/azure/storage/blobs/immutable-version-level-worm-policies
"""

from __future__ import annotations

from millpond.common.config import BlobFeatures

from ..errors import error
from ..model import NOT_IMMUTABLE, Blob, Immutability


def check(blob: Blob, now: int) -> None:
    """Raises ``BlobImmutableDueToLegalHold`` or ``BlobImmutableDueToPolicy`` for a blob that may not change."""
    if blob.immutability.legal_hold:
        raise error("BlobImmutableDueToLegalHold")
    if blob.immutability.until > now:
        raise error("BlobImmutableDueToPolicy")


def check_wanted(wanted: Immutability, features: BlobFeatures, now: int) -> None:
    """Raises what is wrong with what a request asks for: the account has no such thing, or it would be over."""
    if wanted == NOT_IMMUTABLE:
        return
    if not features.immutability:
        raise error("FeatureNotSupportedForAccount")
    if 0 < wanted.until <= now:
        raise error("InvalidHeaderValue", HeaderName="x-ms-immutability-policy-until-date")


def with_policy(present: Immutability, until: int, *, is_locked: bool, now: int) -> Immutability:
    """Another policy in place of the present one. A locked one that has not ended can only be extended."""
    if present.is_locked and present.until > now and (not is_locked or until < present.until):
        raise error("BlobImmutableDueToPolicy")
    return present._replace(until=until, is_locked=is_locked)


def without_policy(present: Immutability) -> Immutability:
    """Raises ``ImmutabilityPolicyDeleteOnLockedPolicy``."""
    if present.is_locked:
        raise error("ImmutabilityPolicyDeleteOnLockedPolicy")
    return present._replace(until=0)
