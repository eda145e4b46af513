"""Operations on pools."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from millpond.common.clock import MINUTE, to_etag, to_iso
from millpond.common.durations import format_duration, parse_duration

from ..engine.messages import (
    NodesRemoveRequested,
    PoolAddRequested,
    PoolDeleteRequested,
    PoolPatchRequested,
    ResizeRequested,
    StopResizeRequested,
)
from ..errors import error
from ..model.keys import entity_key, node_key
from ..model.pool import DeallocationOption, FillType, Pool, ResizeError
from ..model.statistics import PoolUsage
from ..model.vm_size import most_task_slots
from ..model.vm_size import vm_size as find_vm_size
from .applications import check_pool_references
from .certificates import check_certificates
from .http import Answer, Call, changed, created, entity, entity_headers, listing
from .lists import stored_page
from .scaling import auto_scale, auto_scale_content, check_evaluation_interval, check_formula
from .statistics import is_wanted, pool_statistics
from .unbuilt import refuse_unbuilt
from .wire import pools as wire

if TYPE_CHECKING:
    from ..service import BatchService

_RESIZE_TIMEOUT = 15 * MINUTE


async def pool_add(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.PoolAdd)
    refuse_unbuilt(request)
    await check_formula(request.auto_scale_formula)
    pool: Pool = await service.runtime.submit(PoolAddRequested(pool=new_pool(service, call, request, request.id)))
    url = pool_url(call, pool.id)
    return created(url, pool.last_modified, url)


async def pool_list(service: BatchService, call: Call) -> Answer:
    page = await stored_page(call, "pools", lambda query: service.reader.pools(call.account, query))
    current = await asyncio.to_thread(service.reader.current_nodes, [pool.key for pool in page.items])
    usages = await _usages(service, call, page.items)
    contents = [pool_content(call, pool, current[pool.key], usages.get(pool.key)) for pool in page.items]
    return listing(call, contents, wire.Pool, "pools", page.next)


async def pool_get(service: BatchService, call: Call) -> Answer:
    pool = find_pool(service, call)
    call.check_read(pool.last_modified)
    current = service.reader.current_nodes([pool.key])[pool.key]
    usage = (await _usages(service, call, [pool])).get(pool.key)
    return entity(call, pool_content(call, pool, current, usage), wire.Pool, "pools", pool.last_modified)


async def _usages(service: BatchService, call: Call, pools: Sequence[Pool]) -> dict[str, PoolUsage]:
    """What the pools' nodes have come to, by pool, if the client asks for it."""
    if not is_wanted(call):
        return {}
    return await asyncio.to_thread(service.reader.pool_usages, [pool.key for pool in pools])


async def pool_exists(service: BatchService, call: Call) -> Answer:
    pool = find_pool(service, call)
    call.check_read(pool.last_modified)
    return Answer(200, entity_headers(pool.last_modified))


async def pool_patch(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.PoolPatch)
    refuse_unbuilt(request)
    check_pool_references(service, call, request.application_package_references)
    check_certificates(service, call, request.certificate_references)
    vm_size = find_pool(service, call).vm_size if request.vm_size is UNSET else request.vm_size
    _check_task_slots(service, vm_size, request.task_slots_per_node)
    start_task = request.start_task
    policy = request.task_scheduling_policy
    document = msgspec.to_builtins(request)
    pool: Pool = await service.runtime.submit(
        PoolPatchRequested(
            pool=_key(call),
            document=document,
            start_task_wait_for_success=UNSET if start_task is UNSET else start_task.wait_for_success is not False,
            vm_size=UNSET if request.vm_size is UNSET else request.vm_size.lower(),
            task_slots_per_node=request.task_slots_per_node,
            enable_inter_node_communication=request.enable_inter_node_communication,
            fill_type=UNSET if policy is UNSET else policy.node_fill_type,
            needs_empty_pool=not _ANY_TIME.issuperset(document),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, pool.last_modified)


def _check_task_slots(service: BatchService, vm_size: str, slots: int | UnsetType) -> None:
    """Refuse more task slots than a node of this size may have."""
    most = most_task_slots(find_vm_size(vm_size, service.settings.vm_sizes))
    if slots is not UNSET and slots > most:
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "taskSlotsPerNode"),
            ("PropertyValue", str(slots)),
            ("Reason", f"A node of size {vm_size} has at most {most} task slots: four for each core, and 256."),
        )


#: What may change while a pool has nodes.
_ANY_TIME = frozenset(
    (
        "displayName",
        "startTask",
        "certificateReferences",
        "applicationPackageReferences",
        "metadata",
        "targetNodeCommunicationMode",
        "upgradePolicy",
    )
)


async def pool_update_properties(service: BatchService, call: Call) -> Answer:
    """What the request does not name of the properties that it replaces is removed."""
    request = call.read(wire.PoolReplace)
    refuse_unbuilt(request)
    check_pool_references(service, call, request.application_package_references)
    check_certificates(service, call, request.certificate_references)
    start_task = request.start_task
    document = msgspec.to_builtins(request)
    pool: Pool = await service.runtime.submit(
        PoolPatchRequested(
            pool=_key(call),
            document=document,
            drop=[name for name in ("startTask", "certificateReferences") if name not in document],
            start_task_wait_for_success=None if start_task is UNSET else start_task.wait_for_success is not False,
        )
    )
    return changed(call, 204, pool.last_modified)


async def pool_delete(service: BatchService, call: Call) -> Answer:
    await service.runtime.submit(PoolDeleteRequested(pool=_key(call), conditions=call.conditions()))
    return Answer(202)


async def pool_resize(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.PoolResize)
    pool: Pool = await service.runtime.submit(
        ResizeRequested(
            pool=_key(call),
            target_dedicated_nodes=_or_none(request.target_dedicated_nodes),
            target_low_priority_nodes=_or_none(request.target_low_priority_nodes),
            resize_timeout=_micros(request.resize_timeout),
            deallocation_option=request.node_deallocation_option or DeallocationOption.REQUEUE,
            conditions=call.conditions(),
        )
    )
    return changed(call, 202, pool.last_modified)


async def pool_stop_resize(service: BatchService, call: Call) -> Answer:
    pool: Pool = await service.runtime.submit(StopResizeRequested(pool=_key(call), conditions=call.conditions()))
    return changed(call, 202, pool.last_modified)


async def pool_upgrade_os(service: BatchService, call: Call) -> Answer:
    """The operating system of nodes is this machine's own: as on Azure for nodes that are made of images."""
    call.read(wire.PoolUpgradeOs)
    find_pool(service, call)
    raise error("PoolNotEligibleForOSVersionUpgrade")


async def pool_remove_nodes(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.NodesRemove)
    key = _key(call)
    pool: Pool = await service.runtime.submit(
        NodesRemoveRequested(
            pool=key,
            nodes=list(dict.fromkeys(node_key(key, node_id) for node_id in request.node_list)),
            resize_timeout=_micros(request.resize_timeout),
            deallocation_option=request.node_deallocation_option or DeallocationOption.REQUEUE,
            conditions=call.conditions(),
        )
    )
    return changed(call, 202, pool.last_modified)


# --- what handlers share -----------------------------------------------------------------------------------------


def new_pool(service: BatchService, call: Call, specification: wire.PoolSpecification, pool_id: str) -> Pool:
    """The pool that a client specified, for itself or for a job; the engine fills in what it decides on."""
    _check_node_agent(specification)
    _check_task_slots(service, specification.vm_size, specification.task_slots_per_node)
    check_pool_references(service, call, specification.application_package_references)
    check_certificates(service, call, specification.certificate_references)
    check_evaluation_interval(service, specification.auto_scale_evaluation_interval)
    policy = specification.task_scheduling_policy
    start_task = specification.start_task
    document = msgspec.to_builtins(specification)
    for name in ("enableAutoScale", "autoScaleFormula", "autoScaleEvaluationInterval"):
        document.pop(name, None)
    return Pool(
        key=entity_key(call.account, pool_id),
        account=call.account,
        id=pool_id,
        state_transition_time=call.now,
        allocation_state_transition_time=call.now,
        creation_time=call.now,
        last_modified=call.now,
        vm_size=specification.vm_size.lower(),
        task_slots_per_node=specification.task_slots_per_node or 1,
        enable_inter_node_communication=specification.enable_inter_node_communication or False,
        fill_type=FillType.SPREAD if policy is UNSET else policy.node_fill_type,
        target_dedicated_nodes=specification.target_dedicated_nodes or 0,
        target_low_priority_nodes=specification.target_low_priority_nodes or 0,
        auto_scale=auto_scale(specification),
        resize_timeout=_micros(specification.resize_timeout) or _RESIZE_TIMEOUT,
        start_task_wait_for_success=None if start_task is UNSET else start_task.wait_for_success is not False,
        document=document,
    )


def _check_node_agent(specification: wire.PoolSpecification) -> None:
    """Those of all ages and systems are taken, whatever runs here. Raises ``NodeAgentSKUNotFound``."""
    machine = specification.virtual_machine_configuration
    if machine is not UNSET and not machine.node_agent_sku_id.lower().startswith("batch.node."):
        raise error(
            "NodeAgentSKUNotFound",
            ("PropertyName", "virtualMachineConfiguration.nodeAgentSKUId"),
            ("PropertyValue", machine.node_agent_sku_id),
            ("Reason", "The id of a node agent begins with 'batch.node.'."),
        )


def find_pool(service: BatchService, call: Call) -> Pool:
    """The pool that the path names. Raises ``PoolNotFound``."""
    pool = service.reader.pool(_key(call))
    if pool is None:
        raise error("PoolNotFound")
    return pool


def pool_url(call: Call, pool_id: str) -> str:
    return f"{call.base_url}/pools/{pool_id}"


def pool_content(call: Call, pool: Pool, current: tuple[int, int], usage: PoolUsage | None = None) -> dict[str, Any]:
    """A pool as it is answered with; ``current``: how many dedicated and low-priority nodes it has."""
    content = {
        **pool.document,
        "enableInterNodeCommunication": pool.enable_inter_node_communication,
        **auto_scale_content(pool.auto_scale),
        "id": pool.id,
        "url": pool_url(call, pool.id),
        "eTag": to_etag(pool.last_modified),
        "lastModified": to_iso(pool.last_modified),
        "creationTime": to_iso(pool.creation_time),
        "state": pool.state,
        "stateTransitionTime": to_iso(pool.state_transition_time),
        "allocationState": pool.allocation_state,
        "allocationStateTransitionTime": to_iso(pool.allocation_state_transition_time),
        "vmSize": pool.vm_size,
        "resizeTimeout": format_duration(pool.resize_timeout),
        "currentDedicatedNodes": current[0],
        "currentLowPriorityNodes": current[1],
        "targetDedicatedNodes": pool.target_dedicated_nodes,
        "targetLowPriorityNodes": pool.target_low_priority_nodes,
        "taskSlotsPerNode": pool.task_slots_per_node,
        "taskSchedulingPolicy": {**pool.document.get("taskSchedulingPolicy", {}), "nodeFillType": pool.fill_type},
    }
    mode = pool.document.get("targetNodeCommunicationMode", "default")
    content["currentNodeCommunicationMode"] = "simplified" if mode == "default" else mode
    if is_wanted(call):
        content["stats"] = pool_statistics(call, content["url"], pool, usage or PoolUsage())
    if pool.resize_errors:
        content["resizeErrors"] = [_resize_error(problem) for problem in pool.resize_errors]
    return content


def _resize_error(problem: ResizeError) -> dict[str, Any]:
    content: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.values:
        content["values"] = [{"name": name, "value": value} for name, value in problem.values]
    return content


def _key(call: Call) -> str:
    return entity_key(call.account, call.params["poolId"])


def _or_none(value: int | UnsetType) -> int | None:
    return None if value is UNSET else value


def _micros(duration: str | UnsetType) -> int | None:
    return None if duration is UNSET else parse_duration(duration)
