"""An operation of Millpond's own: a person plays the cloud, which takes machines away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millpond.common.clock import SECOND

from ..engine.messages import NodePreemptRequested
from .http import Answer, Call

if TYPE_CHECKING:
    from ..service import BatchService

#: How long a preempted node has no machine, in seconds: unless the request says so, and at most.
_DEFAULT_S = 30
_LONGEST_S = 30 * 24 * 3600


async def node_preempt(service: BatchService, call: Call) -> Answer:
    """Take the machine of a low-priority node away, for ``seconds``."""
    text = call.query.get("seconds", str(_DEFAULT_S))
    if not (text.isascii() and text.isdigit() and int(text[:10]) <= _LONGEST_S):
        raise call.bad_parameter("seconds", f"The value must be a number from 0 to {_LONGEST_S}.")
    await service.runtime.submit(
        NodePreemptRequested(account=call.account, node_id=call.params["nodeId"], duration=int(text) * SECOND)
    )
    return Answer(202)
