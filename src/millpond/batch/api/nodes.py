"""Operations on compute nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from millpond.common.clock import to_iso

from ..engine.messages import (
    Event,
    NodeDeallocateRequested,
    NodeDisableSchedulingRequested,
    NodeEnableSchedulingRequested,
    NodeRebootRequested,
    NodeReimageRequested,
    NodeStartRequested,
)
from ..errors import error
from ..model.endpoints import Endpoint, endpoints
from ..model.keys import entity_key, node_key
from ..model.pool import DeallocationOption, Node, NodeError, Pool, StartTaskInfo
from .failures import container_info, failure_info
from .http import Answer, Call, entity, listing
from .jobs import job_url
from .lists import stored_page
from .pools import find_pool, pool_url
from .tasks import execution_info
from .wire import nodes as wire
from .wire.common import NameValuePair
from .wire.fields import maybe, maybe_time

if TYPE_CHECKING:
    from ..service import BatchService


async def compute_node_list(service: BatchService, call: Call) -> Answer:
    pool = find_pool(service, call)
    page = await stored_page(call, "nodes", lambda query: service.reader.nodes(pool.key, query))
    contents = await asyncio.to_thread(_contents, service, call, pool, page.items)
    return listing(call, contents, wire.Node, "nodes", page.next)


async def compute_node_get(service: BatchService, call: Call) -> Answer:
    pool, node = find_node(service, call)
    [content] = _contents(service, call, pool, [node])
    return entity(call, content, wire.Node, "nodes")


async def compute_node_reboot(service: BatchService, call: Call) -> Answer:
    request = call.read_optional(wire.NodeReboot)
    return await _ask(service, call, 202, NodeRebootRequested, request.node_reboot_option)


async def compute_node_reimage(service: BatchService, call: Call) -> Answer:
    request = call.read_optional(wire.NodeReimage)
    if not service.provider.capabilities.can_reimage:
        raise error("OperationNotValidOnNode")
    return await _ask(service, call, 202, NodeReimageRequested, request.node_reimage_option)


async def compute_node_deallocate(service: BatchService, call: Call) -> Answer:
    request = call.read_optional(wire.NodeDeallocate)
    if not service.provider.capabilities.can_deallocate:
        raise error("OperationNotValidOnNode")
    return await _ask(service, call, 202, NodeDeallocateRequested, request.node_deallocate_option)


async def compute_node_start(service: BatchService, call: Call) -> Answer:
    return await _ask(service, call, 202, NodeStartRequested)


async def compute_node_disable_scheduling(service: BatchService, call: Call) -> Answer:
    request = call.read_optional(wire.NodeDisableScheduling)
    return await _ask(service, call, 200, NodeDisableSchedulingRequested, request.node_disable_scheduling_option)


async def compute_node_enable_scheduling(service: BatchService, call: Call) -> Answer:
    return await _ask(service, call, 200, NodeEnableSchedulingRequested)


async def _ask(
    service: BatchService, call: Call, status: int, request: type[Event], option: str | UnsetType = UNSET
) -> Answer:
    """Send the engine a request about the node that the path names, and answer when it is on record."""
    pool = entity_key(call.account, call.params["poolId"])
    fields = {"option": DeallocationOption(option)} if option else {}
    await service.runtime.submit(request(pool=pool, node=node_key(pool, call.params["nodeId"]), **fields))
    return Answer(status, {"DataServiceId": call.url})


# --- what handlers share -----------------------------------------------------------------------------------------


def find_node(service: BatchService, call: Call) -> tuple[Pool, Node]:
    """The node that the path names, and its pool. Raises ``PoolNotFound`` or ``NodeNotFound``."""
    pool = find_pool(service, call)
    node = service.reader.node(node_key(pool.key, call.params["nodeId"]))
    if node is None:
        raise error("NodeNotFound")
    return pool, node


def _contents(service: BatchService, call: Call, pool: Pool, nodes: list[Node]) -> list[dict[str, Any]]:
    running = service.reader.running_tasks([node.key for node in nodes])
    return [_content(service, call, pool, node, running[node.key]) for node in nodes]


def _content(service: BatchService, call: Call, pool: Pool, node: Node, running: tuple[int, int]) -> dict[str, Any]:
    """A node as it is answered with; ``running``: its running tasks, and the slots that they take."""
    machine = pool.document.get("virtualMachineConfiguration", {})
    content: dict[str, Any] = {
        "id": node.id,
        "url": f"{pool_url(call, pool.id)}/nodes/{node.id}",
        "state": node.state,
        "schedulingState": node.scheduling_state,
        "stateTransitionTime": to_iso(node.state_transition_time),
        "allocationTime": to_iso(node.allocation_time),
        "ipAddress": node.ip_address,
        "ipv6Address": "",
        "affinityId": f"TVM:{node.id}",
        "vmSize": node.vm_size,
        "totalTasksRun": node.total_tasks_run,
        "totalTasksSucceeded": node.total_tasks_succeeded,
        "runningTasksCount": running[0],
        "runningTaskSlotsCount": running[1],
        "isDedicated": node.is_dedicated,
        "endpointConfiguration": {"inboundEndpoints": [_endpoint(each) for each in endpoints(pool, node.number)]},
        "virtualMachineInfo": {"imageReference": machine.get("imageReference", {})},
    }
    if node.last_boot_time is not None:
        content["lastBootTime"] = to_iso(node.last_boot_time)
    if node.agent_version:
        content["nodeAgentInfo"] = {
            "version": node.agent_version,
            "lastUpdateTime": to_iso(node.last_boot_time or node.allocation_time),
        }
    if "startTask" in pool.document:
        content["startTask"] = pool.document["startTask"]
    if node.start_task_info is not None:
        content["startTaskInfo"] = _start_task_info(node.start_task_info)
    if node.errors:
        content["errors"] = [_error(problem) for problem in node.errors]
    recent = _recent_tasks(service, call, node)
    if recent:
        content["recentTasks"] = recent
    return content


def _endpoint(endpoint: Endpoint) -> wire.InboundEndpoint:
    return wire.InboundEndpoint(
        name=endpoint.name,
        protocol=endpoint.protocol,  # type: ignore[arg-type]
        public_ip_address=endpoint.public_address,
        public_fqdn=endpoint.public_address,
        frontend_port=endpoint.frontend_port,
        backend_port=endpoint.backend_port,
    )


def _start_task_info(info: StartTaskInfo) -> wire.StartTaskInfo:
    return wire.StartTaskInfo(
        state=info.state,
        start_time=to_iso(info.start_time),
        end_time=maybe_time(info.end_time),
        exit_code=maybe(info.exit_code),
        container_info=container_info(info.container_info),
        failure_info=UNSET if info.failure is None else failure_info(info.failure),
        retry_count=info.retry_count,
        last_retry_time=maybe_time(info.last_retry_time),
        result=maybe(info.result),
    )


def _error(problem: NodeError) -> wire.NodeError:
    return wire.NodeError(
        code=problem.code,
        message=problem.message,
        error_details=[NameValuePair(name=name, value=value) for name, value in problem.details],
    )


def _recent_tasks(service: BatchService, call: Call, node: Node) -> list[wire.RecentTask]:
    """The tasks that ran on the node of late, without those that have been deleted."""
    reader = service.reader
    jobs = {key: reader.job(key) for key in {recent.job for recent in node.recent_tasks}}
    found = []
    for recent in node.recent_tasks:
        job, stored = jobs[recent.job], reader.task(recent.job, recent.task)
        if job is None or stored is None:
            continue
        found.append(
            wire.RecentTask(
                task_url=f"{job_url(call, job.id)}/tasks/{stored.task.id}",
                job_id=job.id,
                task_id=stored.task.id,
                subtask_id=maybe(recent.subtask),
                task_state=stored.task.state,
                execution_info=execution_info(stored.task),
            )
        )
    return found
