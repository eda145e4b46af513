"""Inbound endpoints: which port of the pool's public address leads to which port of which node.

All of it follows from the pool's specification and the node's number, so nothing of it is kept. A pool with endpoints
gives its nodes numbers that lead to different ports, and has no more nodes than its smallest range has ports.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection
from typing import Any, NamedTuple

from .pool import Pool


class Endpoint(NamedTuple):
    name: str
    protocol: str
    public_address: str
    frontend_port: int
    backend_port: int


def room(pool: Pool) -> int | None:
    """How many nodes the pool's ranges of ports are enough for; ``None``: it has no endpoints."""
    sizes = [nat["frontendPortRangeEnd"] - nat["frontendPortRangeStart"] + 1 for nat in _nat_pools(pool)]
    return min(sizes, default=None)


def next_number(pool: Pool, taken: Collection[int]) -> int:
    """The number for a new node; ``taken``: those of the nodes that the pool has, less than it has room for."""
    number, places = pool.nodes_created + 1, room(pool)
    if places is not None:
        used = {other % places for other in taken}
        while number % places in used:
            number += 1
    return number


def endpoints(pool: Pool, number: int) -> list[Endpoint]:
    """The endpoints of the pool's node of that number."""
    places = room(pool)
    if places is None:
        return []
    index, address = (number - 1) % places, public_address(pool)
    return [
        Endpoint(
            f"{nat['name']}.{index}",
            nat["protocol"],
            address,
            nat["frontendPortRangeStart"] + index,
            nat["backendPort"],
        )
        for nat in _nat_pools(pool)
    ]


def public_address(pool: Pool) -> str:
    """A loopback address of the pool's own, so that its ports are not those of other pools."""
    if sys.platform != "linux":
        return "127.0.0.1"  # elsewhere the loopback interface has this one only
    digest = hashlib.sha256(f"{pool.key}|{pool.creation_time}".encode()).digest()
    return f"127.{128 + digest[0] % 64}.{digest[1]}.{1 + digest[2] % 254}"


def _nat_pools(pool: Pool) -> list[dict[str, Any]]:
    network = pool.document.get("networkConfiguration", {})
    nat_pools: list[dict[str, Any]] = network.get("endpointConfiguration", {}).get("inboundNATPools", [])
    return nat_pools
