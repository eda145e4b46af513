"""The operations on immutability policies and legal holds."""

from __future__ import annotations

from ..errors import error
from ..service import holding
from . import headers
from .answer import Answer, immutability_headers
from .call import Call


async def set_policy(call: Call) -> Answer:
    wanted = headers.immutability(call.request)
    if not wanted.until:
        raise error("MissingRequiredHeader", HeaderName=headers.UNTIL)
    demands = headers.demands(call.request)
    blob = await call.store.write(holding.set_policy, call.name, wanted, demands, call.features)
    return Answer(200, immutability_headers(blob.immutability._replace(legal_hold=False)))


async def delete_policy(call: Call) -> Answer:
    await call.store.write(holding.delete_policy, call.name, headers.demands(call.request), call.features)
    return Answer(200)


async def set_legal_hold(call: Call) -> Answer:
    if headers.LEGAL_HOLD not in call.request.headers:
        raise error("MissingRequiredHeader", HeaderName=headers.LEGAL_HOLD)
    wanted = headers.immutability(call.request)
    await call.store.write(holding.set_legal_hold, call.name, wanted, call.features)
    return Answer(200, [(headers.LEGAL_HOLD, str(wanted.legal_hold).lower())])
