"""Handlers: pools that scale by themselves. A formula says their targets, over samples of what they do.

Samples are taken every 30 seconds, of all such pools at once, and right before each evaluation. They are stored, so a
formula that looks back over an hour does so after a restart too; what the service has missed meanwhile is missing.

An evaluation is due at once when scaling is enabled, then every interval. It follows from the pool's record alone: an
evaluation that is due waits for the pool to be steady, and :func:`settle_scaling` makes it.
"""

from __future__ import annotations

from msgspec.structs import replace

from millpond.common.clock import MINUTE

from ..errors import error
from ..model.pool import AllocationState, AutoScale, AutoScaleProblem, AutoScaleRun, Pool, PoolState
from .autoscale import Evaluation, Targets, compile, evaluate  # noqa: A004
from .messages import (
    AutoScaleDisableRequested,
    AutoScaleDue,
    AutoScaleEnableRequested,
    AutoScaleEvaluateRequested,
    RaiseAt,
)
from .metrics import FLOWS, sample
from .pools import DEFAULT_RESIZE_TIMEOUT, begin_resize, require_active
from .rules import next_modification
from .sampling import watch
from .state import State

DEFAULT_EVALUATION_INTERVAL = 15 * MINUTE


def on_auto_scale_enable_requested(state: State, event: AutoScaleEnableRequested, now: int) -> Pool:
    pool = require_active(state, event.pool, event.conditions)
    before = pool.auto_scale
    formula = event.formula or (before.formula if before else None)
    if formula is None:
        raise error(
            "InvalidAutoScalingSettings",
            ("PropertyName", "autoScaleFormula"),
            ("Reason", "A formula must be specified where automatic scaling is enabled."),
        )
    if before is None and pool.allocation_state is not AllocationState.STEADY:
        raise error("PoolBeingResized")
    if before is not None and now < before.enabled + state.limits.enable_spacing:
        raise error("TooManyEnableAutoScaleRequests")
    compile(formula)
    interval = event.evaluation_interval or (before.evaluation_interval if before else DEFAULT_EVALUATION_INTERVAL)
    scaling = AutoScale(
        formula=formula,
        evaluation_interval=interval,
        enabled=now,
        started=now,
        next_evaluation=now,
        run=before.run if before else None,
    )
    pool = replace(pool, auto_scale=scaling, last_modified=next_modification(pool.last_modified, now))
    state.save_pool(pool)
    return pool


def on_auto_scale_disable_requested(state: State, event: AutoScaleDisableRequested, now: int) -> Pool:
    pool = require_active(state, event.pool, event.conditions)
    if pool.auto_scale is not None:
        pool = replace(pool, auto_scale=None, last_modified=next_modification(pool.last_modified, now))
        state.save_pool(pool)
        state.forget_samples(pool.key)
    return pool


def on_auto_scale_evaluate_requested(
    state: State, event: AutoScaleEvaluateRequested, now: int
) -> tuple[Pool, AutoScaleRun]:
    pool = require_active(state, event.pool, event.conditions)
    if pool.auto_scale is None:
        raise error(
            "OperationInvalidForCurrentState",
            message="A formula can be evaluated only on a pool whose automatic scaling is enabled.",
        )
    _take_sample(state, pool, now)
    found = evaluate(event.formula, state.histories[pool.key], now, _targets(pool))
    return pool, _run(found, now)


def on_auto_scale_due(state: State, event: AutoScaleDue, now: int) -> None:
    if event.pool in state.pools:
        state.stirred_pools[event.pool] = None


def settle_scaling(state: State, key: str, now: int) -> None:
    """Evaluate a pool's formula if it is time, and resize the pool to what it says."""
    pool = state.pools.get(key)
    if pool is None or pool.auto_scale is None or pool.auto_scale.next_evaluation > now:
        return
    if pool.state is not PoolState.ACTIVE or pool.allocation_state is not AllocationState.STEADY:
        return
    scaling = pool.auto_scale
    watch(state, now)
    _take_sample(state, pool, now)
    found = compile(scaling.formula).evaluate(state.histories[key], now, _targets(pool))
    periods = (now - scaling.started) // scaling.evaluation_interval + 1
    scaling = replace(
        scaling, next_evaluation=scaling.started + periods * scaling.evaluation_interval, run=_run(found, now)
    )
    pool = replace(pool, auto_scale=scaling)
    state.order(RaiseAt(moment=scaling.next_evaluation, event=AutoScaleDue(pool=key)))
    if found.error is None and (found.targets != _targets(pool) or _has_other_size(state, pool)):
        pool = replace(
            pool,
            target_dedicated_nodes=found.targets.dedicated_nodes,
            target_low_priority_nodes=found.targets.low_priority_nodes,
            # The pool's own holds for resizes by hand alone.
            resize_timeout=DEFAULT_RESIZE_TIMEOUT,
            deallocation_option=found.node_deallocation_option,
        )
        begin_resize(state, pool, now)
    else:
        state.save_pool(pool)


def _targets(pool: Pool) -> Targets:
    return Targets(pool.target_dedicated_nodes, pool.target_low_priority_nodes)


def _has_other_size(state: State, pool: Pool) -> bool:
    """Whether an earlier resize has not brought what it should, so that another one is worth a try."""
    kinds = [state.nodes[key].is_dedicated for key in state.pool_slots[pool.key].nodes]
    return any(kinds.count(is_dedicated) != pool.target(is_dedicated) for is_dedicated in (True, False))


def _run(found: Evaluation, now: int) -> AutoScaleRun:
    problem = found.error
    if problem is None:
        return AutoScaleRun(now, found.results)
    return AutoScaleRun(now, found.results, AutoScaleProblem(problem.code, problem.message, tuple(problem.details)))


# --- samples -----------------------------------------------------------------------------------------------------


def _take_sample(state: State, pool: Pool, now: int) -> None:
    """Have a formula see the pool as it is now. What the present period's sample counts, stays counted."""
    values = sample(state, pool, now)
    history = state.histories.get(pool.key)
    if history is not None and history.samples(FLOWS[0]).times:
        for name in FLOWS:
            del values[name]
    state.record_sample(pool.key, now, values)


def order_again(state: State, pool: Pool) -> None:
    """After a restart of the service: the next evaluation of a pool's formula."""
    if pool.auto_scale is not None:
        state.order(RaiseAt(moment=pool.auto_scale.next_evaluation, event=AutoScaleDue(pool=pool.key)))
