"""Operations that tell what is wrong with a node's machine: its agent's logs, its extensions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from millpond.common.agent_protocol import UploadLogs
from millpond.common.clock import from_iso, to_iso

from ..errors import error
from ..model.pool import Node, Pool
from .http import Answer, Call, entity, listing
from .lists import page_of
from .nodes import find_node
from .unbuilt import refuse_unbuilt
from .wire import nodes as wire

if TYPE_CHECKING:
    from ..service import BatchService


async def compute_node_upload_batch_service_logs(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.ServiceLogsUpload)
    refuse_unbuilt(request)
    pool, node = find_node(service, call)
    account = hashlib.sha256(call.account.encode()).hexdigest()[:16].upper()
    directory = f"batch-{account}/{pool.id}/{node.id}/{service.clock.guid()}"
    files = await service.actions.upload_logs(
        node.key,
        UploadLogs(
            container_url=request.container_url,
            directory=directory,
            start_time=from_iso(request.start_time),
            end_time=None if request.end_time is UNSET else from_iso(request.end_time),
        ),
    )
    result = wire.ServiceLogsUploaded(virtual_directory_name=directory, number_of_files_uploaded=files)
    return entity(call, result, wire.ServiceLogsUploaded, "Microsoft.Azure.Batch.Protocol.Entities.UploadLogsResult")


async def compute_node_extension_list(service: BatchService, call: Call) -> Answer:
    pool, node = find_node(service, call)
    found = [(extension["name"], extension) for extension in _extensions(pool)]
    page, following = page_of(call, sorted(found, key=lambda item: item[0]))
    contents = [_content(node, extension) for extension in page]
    return listing(call, contents, wire.NodeVmExtension, "nodevmextensions", following)


async def compute_node_extension_get(service: BatchService, call: Call) -> Answer:
    pool, node = find_node(service, call)
    name = call.params["extensionName"].lower()
    extension = next((each for each in _extensions(pool) if each["name"].lower() == name), None)
    if extension is None:
        raise error("ResourceNotFound")
    return entity(call, _content(node, extension), wire.NodeVmExtension, "nodevmextensions")


def _extensions(pool: Pool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pool.document.get("virtualMachineConfiguration", {}).get("extensions", [])
    return found


def _content(node: Node, extension: dict[str, Any]) -> dict[str, Any]:
    """The truth: nodes have no handlers of extensions, so none is ever provisioned."""
    status = {
        "code": "ProvisioningState/failed",
        "displayStatus": "Provisioning failed",
        "level": "Error",
        "message": "Nodes of this service do not run extensions of virtual machines: nothing was installed.",
        "time": to_iso(node.allocation_time),
    }
    return {
        "provisioningState": "Failed",
        "vmExtension": extension,
        "instanceView": {"name": extension["name"], "statuses": [status]},
    }
