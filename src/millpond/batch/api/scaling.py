"""Operations on pools that scale by themselves, and what a pool's content says of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from millpond.common.clock import DAY, SECOND, to_iso
from millpond.common.durations import format_duration, parse_duration

from ..engine.autoscale import compile  # noqa: A004
from ..engine.messages import AutoScaleDisableRequested, AutoScaleEnableRequested, AutoScaleEvaluateRequested
from ..engine.scaling import DEFAULT_EVALUATION_INTERVAL
from ..errors import error
from ..model.keys import entity_key
from ..model.limits import limits_of
from ..model.pool import AutoScale, AutoScaleRun, Pool
from .http import Answer, Call, changed, entity
from .wire import scaling as wire
from .wire.common import NameValuePair
from .wire.pools import PoolSpecification

if TYPE_CHECKING:
    from ..service import BatchService

_LONGEST_INTERVAL = 7 * DAY


async def pool_enable_auto_scale(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.PoolEnableAutoScale)
    await check_formula(request.auto_scale_formula)
    check_evaluation_interval(service, request.auto_scale_evaluation_interval)
    interval = request.auto_scale_evaluation_interval
    pool: Pool = await service.runtime.submit(
        AutoScaleEnableRequested(
            pool=_key(call),
            formula=None if request.auto_scale_formula is UNSET else request.auto_scale_formula,
            evaluation_interval=None if interval is UNSET else parse_duration(interval),
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, pool.last_modified)


async def pool_disable_auto_scale(service: BatchService, call: Call) -> Answer:
    pool: Pool = await service.runtime.submit(AutoScaleDisableRequested(pool=_key(call)))
    return changed(call, 200, pool.last_modified)


async def pool_evaluate_auto_scale(service: BatchService, call: Call) -> Answer:
    """What is wrong with the formula is part of the answer."""
    request = call.read(wire.PoolEvaluateAutoScale)
    pool, run = await service.runtime.submit(
        AutoScaleEvaluateRequested(pool=_key(call), formula=request.auto_scale_formula)
    )
    metadata = "Microsoft.Azure.Batch.Protocol.Entities.AutoScaleRun"
    answer = entity(call, _run(run), wire.AutoScaleRun, metadata, pool.last_modified)
    answer.headers["DataServiceId"] = call.url
    return answer


def _key(call: Call) -> str:
    return entity_key(call.account, call.params["poolId"])


# --- what pools have of it ---------------------------------------------------------------------------------------


async def check_formula(formula: str | UnsetType) -> None:
    """Refuse a formula that is none. Compiling the first one takes a moment, which others need not wait for."""
    if formula is not UNSET:
        await asyncio.to_thread(compile, formula)


def check_evaluation_interval(service: BatchService, interval: str | UnsetType) -> None:
    if interval is UNSET:
        return
    shortest = limits_of(service.settings).shortest_evaluation_interval
    if not shortest <= parse_duration(interval) <= _LONGEST_INTERVAL:
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "autoScaleEvaluationInterval"),
            ("PropertyValue", interval),
            ("Reason", f"The interval must be from {shortest / SECOND:g} seconds to 168 hours."),
        )


def auto_scale(request: PoolSpecification) -> AutoScale | None:
    """How the pool that a request describes scales by itself."""
    if request.enable_auto_scale is not True or request.auto_scale_formula is UNSET:
        return None
    interval = request.auto_scale_evaluation_interval
    return AutoScale(
        formula=request.auto_scale_formula,
        evaluation_interval=DEFAULT_EVALUATION_INTERVAL if interval is UNSET else parse_duration(interval),
    )


def auto_scale_content(scaling: AutoScale | None) -> dict[str, Any]:
    if scaling is None:
        return {"enableAutoScale": False}
    content: dict[str, Any] = {
        "enableAutoScale": True,
        "autoScaleFormula": scaling.formula,
        "autoScaleEvaluationInterval": format_duration(scaling.evaluation_interval),
    }
    if scaling.run is not None:
        content["autoScaleRun"] = _run(scaling.run)
    return content


def _run(run: AutoScaleRun) -> wire.AutoScaleRun:
    problem = run.error
    return wire.AutoScaleRun(
        timestamp=to_iso(run.timestamp),
        results=run.results,
        error=UNSET
        if problem is None
        else wire.AutoScaleRunError(
            code=problem.code,
            message=problem.message,
            values=[NameValuePair(name=name, value=value) for name, value in problem.values],
        ),
    )
