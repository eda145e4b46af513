"""The rules of an account's properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import ResourceName
from ..properties import ServiceProperties
from ..store import Transaction
from . import containers


def get_service_properties(transaction: Transaction, name: ResourceName) -> ServiceProperties:
    return transaction.get_service_properties(name.account)


def set_service_properties(transaction: Transaction, name: ResourceName, change: Mapping[str, Any]) -> None:
    """Replace the parts that are given, by field of :class:`ServiceProperties`; the others stay as they are.

    Where something is to be logged, the container for it is there from then on.
    """
    properties = transaction.get_service_properties(name.account)._replace(**change)
    transaction.put_service_properties(name.account, properties)
    if properties.logging.read or properties.logging.write or properties.logging.delete:
        containers.ensure_system_containers(transaction, name.account)
