"""The rules of what is kept of a blob that is overwritten or deleted: an earlier version, or a deleted blob.

https://learn.microsoft.com/azure/storage/blobs/versioning-overview
https://learn.microsoft.com/azure/storage/blobs/soft-delete-blob-overview
"""

from __future__ import annotations

from millpond.common.clock import DAY
from millpond.common.config import BlobFeatures

from ..model import CURRENT, NO_LEASE, Blob, BlobType
from ..store import Transaction
from . import immutability


def new_version(transaction: Transaction, newest: Blob | None, moment: int, features: BlobFeatures) -> int:
    """What names the version that a write makes, after all that is kept of its name; 0 without versioning."""
    if not features.versioning:
        return 0
    return max(moment, transaction.next_generation(newest)) if newest else moment


def keep_overwritten(
    transaction: Transaction, account: str, blob: Blob, new_type: BlobType, features: BlobFeatures
) -> bool:
    """Keep what a write is about to replace, where the account keeps that; whether it did."""
    if features.versioning or blob.version:
        _keep_version(transaction, blob)
        return True
    immutability.check(blob, transaction.now)
    days = _retention_days(transaction, account)
    if not days or blob.type != new_type:
        return False
    moment = transaction.next_generation(blob)
    transaction.put_blob_head(_deleted(blob, transaction.now, days)._replace(generation=moment, snapshot=moment))
    return True


def keep_before_change(transaction: Transaction, blob: Blob, features: BlobFeatures) -> None:
    """Keep an earlier version of a blob whose row is about to change while its bytes stay."""
    if features.versioning or blob.version:
        version = blob.version or transaction.next_generation(blob)
        earlier = blob._replace(generation=version, version=version, lease=NO_LEASE)
        transaction.put_twin(earlier, blob.id)


def keep_deleted(transaction: Transaction, account: str, blob: Blob, features: BlobFeatures) -> bool:
    """Delete the blob itself, a snapshot or an earlier version; whether that is for good."""
    immutability.check(blob, transaction.now)
    if blob.is_current and (features.versioning or blob.version):
        _keep_version(transaction, blob)
        return False
    days = _retention_days(transaction, account)
    if not days:
        transaction.delete_blob(blob.id)
        return True
    kept = _deleted(blob, transaction.now, days)
    if blob.is_current:
        kept = kept._replace(generation=transaction.next_generation(blob))
    transaction.put_blob_head(kept)
    return False


def keep_deleted_as_snapshots(transaction: Transaction, newest: Blob) -> None:
    """A deleted blob whose name is taken by a new one can be brought back as a snapshot of that."""
    for blob in transaction.list_history(newest.container_id, newest.name):
        if is_deleted_blob(blob):
            transaction.put_blob_head(blob._replace(snapshot=blob.generation))


def is_earlier_version(blob: Blob) -> bool:
    return 0 < blob.version == blob.generation


def is_deleted_blob(blob: Blob) -> bool:
    """Whether it was the blob itself before it was deleted."""
    return bool(blob.deleted_at) and not blob.snapshot and not is_earlier_version(blob)


def undelete(transaction: Transaction, container_id: int, name: str) -> bool:
    """Bring back all that is deleted of a name; whether there is anything of that name."""
    history = transaction.list_history(container_id, name)
    current = transaction.get_blob_head(container_id, name)
    for blob in reversed(history):
        if not blob.deleted_at:
            continue
        restored = blob._replace(deleted_at=0, purge_at=0)
        if is_deleted_blob(blob):
            if current is None:
                current = restored = restored._replace(generation=CURRENT)
            else:
                restored = restored._replace(snapshot=blob.generation)
        transaction.put_blob_head(restored)
    return bool(history) or current is not None


def _keep_version(transaction: Transaction, blob: Blob) -> None:
    version = blob.version or transaction.next_generation(blob)
    transaction.put_blob_head(blob._replace(generation=version, version=version, lease=NO_LEASE))


def _retention_days(transaction: Transaction, account: str) -> int:
    """How long the account keeps what is deleted; 0 where it does not."""
    retention = transaction.get_service_properties(account).delete_retention
    return retention.days if retention.enabled else 0


def _deleted(blob: Blob, now: int, days: int) -> Blob:
    return blob._replace(deleted_at=now, purge_at=now + days * DAY, lease=NO_LEASE)
