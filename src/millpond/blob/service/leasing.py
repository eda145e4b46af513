"""The rules of leases on blobs and containers. No action on a lease changes an ETag."""

from __future__ import annotations

from collections.abc import Callable

from ..model import Blob, Container, Lease, ResourceName
from ..store import Transaction
from .blobs import check_is_no_past, find_blob
from .conditions import Demands, check_conditions, check_tags
from .containers import find_container

#: What an action makes of a lease at a moment.
Action = Callable[[Lease, int], Lease]


def lease_blob(transaction: Transaction, name: ResourceName, action: Action, demands: Demands) -> Blob:
    check_is_no_past(name)
    blob = find_blob(transaction, name)
    check_tags(demands, blob.tags)
    check_conditions(demands, blob.last_modified)
    changed = blob._replace(lease=action(blob.lease, transaction.now))
    transaction.put_blob_head(changed)
    return changed


def lease_container(transaction: Transaction, name: ResourceName, action: Action, demands: Demands) -> Container:
    container = find_container(transaction, name)
    check_conditions(demands, container.last_modified)
    changed = container._replace(lease=action(container.lease, transaction.now))
    transaction.put_container(changed)
    return changed
