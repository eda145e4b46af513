"""Where compute nodes come from. A provider reports facts, never states of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Capabilities(msgspec.Struct, frozen=True):
    #: Whether one node can be given back while others stay.
    releases_single_nodes: bool
    can_reboot: bool
    can_reimage: bool
    #: Whether a node can be ended and started again later.
    can_deallocate: bool
    has_low_priority: bool


class NodeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a node, or for it to boot anew; asking twice for the same boot changes nothing."""

    key: str
    pool_id: str
    node_id: str
    number: int
    boot: int
    #: Which disk it boots on: another number than at the last boot means an empty one.
    disk: int = 1
    vm_size: str
    #: The agent's credential and the URL of its channel.
    token: str
    channel_url: str
    #: The pool's document: image, user accounts, mounts.
    pool: dict[str, Any]


class Observation(msgspec.Struct, frozen=True):
    """What is known of a node: ``running``, or ended with a reason that names the agent's last words."""

    key: str
    running: bool
    reason: str = ""


class NotGranted(Exception):  # noqa: N818 - it is a refusal by the machine, shown to users as a resize error
    """A node cannot be had. ``code`` is a resize error code (``AllocationFailed``, …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Provider(Protocol):
    capabilities: Capabilities

    async def request(self, node: NodeRequest) -> None:
        """Start the node (or start it again for a later boot). Raises :class:`NotGranted`."""
        ...

    async def observe(self, nodes: Sequence[str]) -> list[Observation]:
        """Facts about nodes that were requested, also by an earlier process of the service."""
        ...

    async def stop(self, node: str) -> None:
        """End the node with all it runs, and keep its disk. Nothing happens where it has ended already."""
        ...

    async def release(self, node: str) -> None:
        """End the node with all it runs and remove what it left. Nothing happens where it is gone already."""
        ...

    async def close(self, *, release_all: bool) -> None:
        """The service stops; ``release_all``: end all nodes with their tasks' processes."""
        ...
