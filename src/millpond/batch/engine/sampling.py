"""Every half minute: samples of the pools that scale by themselves, and what the nodes of all pools have come to."""

from __future__ import annotations

from .autoscale import PERIOD
from .messages import NodeMeasured, RaiseAt, SamplesDue
from .metrics import sample
from .state import State
from .statistics import add_measurement, is_in_use, sum_up


def on_node_measured(state: State, event: NodeMeasured, now: int) -> None:
    slots = state.node_slots.get(event.node)
    if slots is not None and state.nodes[event.node].boot == event.boot:
        slots.usage, slots.measured = event.usage, now
        add_measurement(slots.pool, event.usage)


def on_samples_due(state: State, _event: SamplesDue, now: int) -> None:
    state.is_sampling = False
    for pool in state.pools.values():
        if pool.auto_scale is not None:
            state.record_sample(pool.key, now, sample(state, pool, now))
            slots = state.pool_slots[pool.key]
            slots.succeeded = slots.failed = 0
        sum_up(state, pool, now)
    watch(state, now)


def settle_usage(state: State, key: str, now: int) -> None:
    """Count from now on the nodes that a pool has now."""
    pool = state.pools.get(key)
    if pool is None:
        return
    low_priority, dedicated = state.pool_slots[key].machines
    known = state.usages.get(key)
    if (dedicated, low_priority) == (known.nodes if known is not None else (0, 0)):
        return
    cores = state.limits.cores(pool.vm_size)
    state.save_usage(pool, now, dedicated_nodes=dedicated, low_priority_nodes=low_priority, cores=cores)
    watch(state, now)


def watch(state: State, now: int) -> None:
    """Have the moment of the next samples come, if any pool scales by itself or has nodes."""
    if not state.is_sampling and any(
        pool.auto_scale is not None or is_in_use(state, pool) for pool in state.pools.values()
    ):
        state.is_sampling = True
        state.order(RaiseAt(moment=now - now % PERIOD + PERIOD, event=SamplesDue()))
