"""Operations on an account: what its pools may be made of, and how many nodes they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.pool import NodeState
from . import odata
from .http import Answer, Call, listing
from .images import IMAGES, Image, end_of_life
from .lists import page_of, stored_page
from .wire.fields import maybe
from .wire.images import NodeAgentSku, SupportedImage
from .wire.nodes import NodeCounts, PoolNodeCounts
from .wire.pools import ImageReference

if TYPE_CHECKING:
    from ..service import BatchService


async def account_list_supported_images(_service: BatchService, call: Call) -> Answer:
    what = odata.read_filter(call, "images")
    found = [
        (f"{number:04}", image)
        for number, image in enumerate(IMAGES)
        if what is None
        or odata.holds(what, {"os_type": "linux", "verification_type": "verified", "node_agent_sku_id": image.sku_id})
    ]
    page, following = page_of(call, found)
    contents = [
        SupportedImage(
            node_agent_sku_id=image.sku_id,
            image_reference=_reference(image),
            os_type="linux",
            batch_support_end_of_life=maybe(end_of_life(image)),
            verification_type="verified",
        )
        for image in page
    ]
    return listing(call, contents, SupportedImage, "supportedimages", following)


async def account_list_node_agent_skus(_service: BatchService, call: Call) -> Answer:
    """The same images, by the agents that nodes made of them run."""
    what = odata.read_filter(call, "node_agent_skus")
    sku_ids = [
        sku_id
        for sku_id in dict.fromkeys(image.sku_id for image in IMAGES)
        if what is None or odata.holds(what, {"os_type": "linux", "id": sku_id})
    ]
    page, following = page_of(call, [(f"{number:04}", sku_id) for number, sku_id in enumerate(sku_ids)])
    contents = [
        NodeAgentSku(
            id=sku_id,
            verified_image_references=[_reference(image) for image in IMAGES if image.sku_id == sku_id],
            os_type="linux",
        )
        for sku_id in page
    ]
    return listing(call, contents, NodeAgentSku, "nodeagentskus", following)


def _reference(image: Image) -> ImageReference:
    return ImageReference(publisher=image.publisher, offer=image.offer, sku=image.sku, version="latest")


#: States as node counts spell them, where that is not in lower case.
_COUNTED_AS = {
    NodeState.START_TASK_FAILED: "start_task_failed",
    NodeState.LEAVING_POOL: "leaving_pool",
    NodeState.WAITING_FOR_START_TASK: "waiting_for_start_task",
    NodeState.UPGRADING_OS: "upgrading_os",
}


async def account_list_pool_node_counts(service: BatchService, call: Call) -> Answer:
    page = await stored_page(call, "node_counts", lambda query: service.reader.node_counts(call.account, query))
    contents = [
        PoolNodeCounts(
            pool_id=counts.pool_id,
            dedicated=_counts(counts.dedicated),
            low_priority=_counts(counts.low_priority),
        )
        for counts in page.items
    ]
    return listing(call, contents, PoolNodeCounts, "poolnodecounts", page.next)


def _counts(by_state: dict[NodeState, int]) -> NodeCounts:
    counts = {_COUNTED_AS.get(state, state.value): count for state, count in by_state.items()}
    return NodeCounts(**counts, total=sum(by_state.values()))
