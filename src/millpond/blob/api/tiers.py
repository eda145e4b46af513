"""The operation on access tiers."""

from __future__ import annotations

from ..errors import error
from ..service import tiering
from . import headers
from .answer import Answer
from .call import Call


async def set_blob_tier(call: Call) -> Answer:
    """200 where the tier is set, 202 where the blob is on its way there from the archive."""
    tier = headers.access_tier(call.request)
    if not tier:
        raise error("MissingRequiredHeader", HeaderName="x-ms-access-tier")
    priority = headers.rehydrate_priority(call.request)
    blob = await call.store.write(tiering.set_tier, call.name, tier, priority, headers.demands(call.request))
    return Answer(202 if blob.tiering.target else 200)
