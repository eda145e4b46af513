"""The rules of setting immutability policies and legal holds, of blobs, snapshots and versions. ETags stay."""

from __future__ import annotations

from collections.abc import Callable

from millpond.common.config import BlobFeatures

from ..errors import error
from ..model import Blob, Immutability, ResourceName
from ..store import Transaction
from .blobs import find_blob
from .conditions import Demands, check_conditions
from .immutability import check_wanted, with_policy, without_policy


def set_policy(
    transaction: Transaction, name: ResourceName, wanted: Immutability, demands: Demands, features: BlobFeatures
) -> Blob:
    check_wanted(wanted, features, transaction.now)

    def change(present: Immutability) -> Immutability:
        return with_policy(present, wanted.until, is_locked=wanted.is_locked, now=transaction.now)

    return _change(transaction, name, change, demands, features)


def delete_policy(transaction: Transaction, name: ResourceName, demands: Demands, features: BlobFeatures) -> Blob:
    return _change(transaction, name, without_policy, demands, features)


def set_legal_hold(transaction: Transaction, name: ResourceName, wanted: Immutability, features: BlobFeatures) -> Blob:
    def change(present: Immutability) -> Immutability:
        return present._replace(legal_hold=wanted.legal_hold)

    return _change(transaction, name, change, Demands(), features)


def _change(
    transaction: Transaction,
    name: ResourceName,
    change: Callable[[Immutability], Immutability],
    demands: Demands,
    features: BlobFeatures,
) -> Blob:
    if not features.immutability:
        raise error("FeatureNotSupportedForAccount")
    blob = find_blob(transaction, name)
    check_conditions(demands, blob.last_modified)
    changed = blob._replace(immutability=change(blob.immutability))
    transaction.put_blob_head(changed)
    return changed
