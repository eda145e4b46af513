"""Operations for people who want into a node: users, remote login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from millpond.common.agent_protocol import PutUser
from millpond.common.clock import DAY, from_iso

from ..errors import error
from ..model.pool import Node, NodeState
from .http import Answer, Call, entity
from .nodes import find_node
from .pools import pool_url
from .wire import nodes as wire

if TYPE_CHECKING:
    from ..service import BatchService

#: States in which users cannot be changed, but by the next boot; in others the node says so itself, if it is away.
_REFUSALS = {
    NodeState.CREATING: "NodeBeingCreated",
    NodeState.REBOOTING: "NodeBeingRebooted",
    NodeState.REIMAGING: "NodeBeingReimaged",
    NodeState.UNUSABLE: "NodeStateUnusable",
    NodeState.LEAVING_POOL: "NodeNotReady",
}


async def compute_node_add_user(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.NodeUserAdd)
    node, url = _find_up(service, call)
    await service.actions.put_user(
        node.key,
        PutUser(
            name=request.name,
            is_admin=request.is_admin is True,
            expiry_time=_expiry(call, request.expiry_time),
            password=request.password or None,
            ssh_public_key=_key(request.ssh_public_key),
        ),
    )
    url = f"{url}/users/{request.name}"
    return Answer(201, {"DataServiceId": url, "Location": url})


async def compute_node_update_user(service: BatchService, call: Call) -> Answer:
    """What the request does not name is reset: no password, no key, a day from now."""
    request = call.read(wire.NodeUserUpdate)
    node, _ = _find_up(service, call)
    await service.actions.put_user(
        node.key,
        PutUser(
            name=call.params["userName"],
            replaces=True,
            expiry_time=_expiry(call, request.expiry_time),
            password=request.password or None,
            ssh_public_key=_key(request.ssh_public_key),
        ),
    )
    return Answer(200, {"DataServiceId": call.url})


async def compute_node_delete_user(service: BatchService, call: Call) -> Answer:
    node, _ = _find_up(service, call)
    await service.actions.delete_user(node.key, call.params["userName"])
    return Answer(200)


async def compute_node_get_remote_login_settings(service: BatchService, call: Call) -> Answer:
    _, node = find_node(service, call)
    port = await service.actions.login_port(node.key)
    settings = wire.RemoteLoginSettings(remote_login_ip_address=node.ip_address, remote_login_port=port)
    return entity(call, settings, wire.RemoteLoginSettings, "Microsoft.Azure.Batch.Protocol.Entities.RemoteLogin")


async def compute_node_get_remote_desktop(service: BatchService, call: Call) -> Answer:
    find_node(service, call)
    raise error("OperationNotValidOnNode", ("Reason", "Only nodes of cloud services have a remote desktop."))


def _find_up(service: BatchService, call: Call) -> tuple[Node, str]:
    """The node that the path names, whose users may be changed now, and its URL."""
    pool, node = find_node(service, call)
    if node.state in _REFUSALS:
        raise error(_REFUSALS[node.state])
    return node, f"{pool_url(call, pool.id)}/nodes/{node.id}"


def _expiry(call: Call, text: str | UnsetType) -> int:
    if text is UNSET:
        return call.now + DAY
    moment = from_iso(text)
    if moment <= call.now:
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "expiryTime"),
            ("PropertyValue", text),
            ("Reason", "The time is over already."),
        )
    return moment


def _key(text: str | UnsetType) -> str | None:
    return text.strip() if text else None
