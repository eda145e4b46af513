"""The rules of containers."""

from __future__ import annotations

import re
from typing import NamedTuple

from millpond.common.clock import DAY
from millpond.common.config import NO_FEATURES, BlobFeatures
from millpond.common.errors import ServiceError

from ..errors import error
from ..model import NO_LEASE, Container, Metadata, PublicAccess, ResourceName, StoredPolicy
from ..store import Transaction
from . import immutability
from .conditions import NO_DEMANDS, Demands, check_conditions, check_read
from .lease import check_use
from .names import LOGS_CONTAINER, after_prefix, check_container_name

#: Most stored access policies of a container.
MAX_POLICIES = 5
_MAX_POLICY_ID = 64
_VERSION = re.compile("[0-9A-F]{16}")


class ScopePolicy(NamedTuple):
    """The encryption scope of blobs that name none, and whether all must have it."""

    default: str = ""
    denies_others: bool = False


ACCOUNT_SCOPE_POLICY = ScopePolicy()


class ContainerPage(NamedTuple):
    """A page of a list; ``following`` is where the next one starts."""

    containers: list[Container]
    following: Container | None


def find_container(transaction: Transaction, name: ResourceName) -> Container:
    """Raises ``ContainerNotFound``, or what is wrong with the name."""
    container = transaction.get_container(name.account, name.container)
    if container is None:
        check_container_name(name.container)
        raise error("ContainerNotFound")
    return container


def create_container(
    transaction: Transaction,
    name: ResourceName,
    metadata: Metadata,
    public_access: PublicAccess,
    scope: ScopePolicy = ACCOUNT_SCOPE_POLICY,
) -> Container:
    check_container_name(name.container)
    if transaction.get_container(name.account, name.container):
        raise error("ContainerAlreadyExists")
    now = transaction.now
    container = Container(0, name.account, name.container, now, now, public_access, metadata, ())
    container = container._replace(default_scope=scope.default, denies_other_scopes=scope.denies_others)
    transaction.put_container(container)
    return container


def get_container(transaction: Transaction, name: ResourceName, demands: Demands = NO_DEMANDS) -> Container:
    container = find_container(transaction, name)
    _check_lease(transaction, container, demands)
    check_read(demands._replace(lease_id=""), container.last_modified)
    return container


def set_container_metadata(
    transaction: Transaction, name: ResourceName, metadata: Metadata, demands: Demands
) -> Container:
    container = _container_for_change(transaction, name, demands)
    return _change(transaction, container._replace(metadata=metadata))


def set_container_acl(
    transaction: Transaction,
    name: ResourceName,
    policies: tuple[StoredPolicy, ...],
    public_access: PublicAccess,
    demands: Demands,
) -> Container:
    """Replace the stored access policies (at most five, each with an id of its own) and the public access."""
    ids = {policy.id for policy in policies}
    if len(policies) > MAX_POLICIES or len(ids) < len(policies):
        raise error("InvalidXmlDocument")
    if any(not 1 <= len(policy_id) <= _MAX_POLICY_ID for policy_id in ids):
        raise error("InvalidXmlDocument")
    container = _container_for_change(transaction, name, demands)
    return _change(transaction, container._replace(policies=policies, public_access=public_access))


def delete_container(
    transaction: Transaction, name: ResourceName, demands: Demands, features: BlobFeatures = NO_FEATURES
) -> None:
    container = find_container(transaction, name)
    _check_lease(transaction, container, demands, is_required=True)
    check_conditions(demands, container.last_modified)
    if features.immutability:
        _check_has_nothing_immutable(transaction, container)
    if not features.container_retention_days:
        transaction.delete_container(container.id)
        return
    purge_at = transaction.now + features.container_retention_days * DAY
    transaction.put_container(container._replace(deleted_at=transaction.now, purge_at=purge_at, lease=NO_LEASE))


def _check_has_nothing_immutable(transaction: Transaction, container: Container) -> None:
    for blob in transaction.list_immutable_blobs(container.id):
        try:
            immutability.check(blob, transaction.now)
        except ServiceError:
            raise error("ContainerImmutableStorageWithVersioningEnabled") from None


def restore_container(transaction: Transaction, name: ResourceName, deleted_name: str, version: str) -> Container:
    """Bring a deleted container back under that name, which may be another one."""
    check_container_name(name.container)
    if transaction.get_container(name.account, name.container):
        raise error("ContainerAlreadyExists")
    deleted_at = int(version, 16) if _VERSION.fullmatch(version) else 0
    container = transaction.get_container(name.account, deleted_name, deleted_at) if deleted_at else None
    if container is None:
        raise error("ContainerNotFound")
    now = transaction.later_than(container.last_modified)
    restored = container._replace(name=name.container, deleted_at=0, purge_at=0, last_modified=now)
    transaction.put_container(restored)
    return restored


def version_of(container: Container) -> str:
    """What tells deleted containers of one name apart."""
    return f"{container.deleted_at:016X}"


def list_containers(
    transaction: Transaction,
    account: str,
    *,
    prefix: str,
    first: str,
    count: int,
    first_deleted_at: int = 0,
    with_deleted: bool = False,
    with_system: bool = False,
) -> ContainerPage:
    """At most ``count`` containers whose names have the prefix, from ``first`` on."""
    before = after_prefix(prefix)
    found = transaction.list_containers(
        account,
        max(prefix, first),
        count + 2,
        first_deleted_at=first_deleted_at if first >= prefix else 0,
        with_deleted=with_deleted,
    )
    found = [
        container
        for container in found
        if (before is None or container.name < before) and (with_system or container.name != LOGS_CONTAINER)
    ]
    return ContainerPage(found[:count], found[count] if len(found) > count else None)


def ensure_system_containers(transaction: Transaction, account: str) -> None:
    """Make the container that the service itself owns, which is there as soon as anybody looks for it."""
    if transaction.get_container(account, LOGS_CONTAINER) is None:
        now = transaction.now
        transaction.put_container(Container(0, account, LOGS_CONTAINER, now, now, "", {}, ()))


def _check_lease(
    transaction: Transaction, container: Container, demands: Demands, *, is_required: bool = False
) -> None:
    check_use(container.lease, demands.lease_id, transaction.now, is_required=is_required, is_container=True)


def _container_for_change(transaction: Transaction, name: ResourceName, demands: Demands) -> Container:
    container = find_container(transaction, name)
    _check_lease(transaction, container, demands)
    check_conditions(demands, container.last_modified)
    return container


def _change(transaction: Transaction, changed: Container) -> Container:
    changed = changed._replace(last_modified=transaction.later_than(changed.last_modified))
    transaction.put_container(changed)
    return changed
