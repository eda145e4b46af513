"""The rules of containers."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import error
from ..model import Container, Metadata, PublicAccess, ResourceName, StoredPolicy
from ..store import Transaction
from .conditions import NO_DEMANDS, Demands, check_read, check_write
from .names import after_prefix, check_container_name

#: Most stored access policies of a container.
MAX_POLICIES = 5
_MAX_POLICY_ID = 64


class ContainerPage(NamedTuple):
    """A page of a list; ``following`` is where the next one starts."""

    containers: list[Container]
    following: str | None


def find_container(transaction: Transaction, name: ResourceName) -> Container:
    """Raises ``ContainerNotFound``, or what is wrong with the name."""
    container = transaction.get_container(name.account, name.container)
    if container is None:
        check_container_name(name.container)
        raise error("ContainerNotFound")
    return container


def create_container(
    transaction: Transaction, name: ResourceName, metadata: Metadata, public_access: PublicAccess
) -> Container:
    check_container_name(name.container)
    if transaction.get_container(name.account, name.container):
        raise error("ContainerAlreadyExists")
    now = transaction.now
    container = Container(0, name.account, name.container, now, now, public_access, metadata, ())
    transaction.put_container(container)
    return container


def get_container(transaction: Transaction, name: ResourceName, demands: Demands = NO_DEMANDS) -> Container:
    container = find_container(transaction, name)
    _check_lease(demands)
    check_read(demands, container.last_modified)
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


def delete_container(transaction: Transaction, name: ResourceName, demands: Demands) -> None:
    transaction.delete_container(_container_for_change(transaction, name, demands).id)


def list_containers(transaction: Transaction, account: str, *, prefix: str, first: str, count: int) -> ContainerPage:
    """At most ``count`` containers whose names have the prefix, from ``first`` on."""
    before = after_prefix(prefix)
    found = [
        container
        for container in transaction.list_containers(account, max(prefix, first), count + 1)
        if before is None or container.name < before
    ]
    return ContainerPage(found[:count], found[count].name if len(found) > count else None)


def _container_for_change(transaction: Transaction, name: ResourceName, demands: Demands) -> Container:
    container = find_container(transaction, name)
    _check_lease(demands)
    check_write(demands, container.last_modified)
    return container


def _change(transaction: Transaction, changed: Container) -> Container:
    changed = changed._replace(last_modified=transaction.later_than(changed.last_modified))
    transaction.put_container(changed)
    return changed


def _check_lease(demands: Demands) -> None:
    if demands.lease_id:  # no container has one
        raise error("LeaseNotPresentWithContainerOperation")
