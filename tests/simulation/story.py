"""Stories: a time of whims and faults, then peace, at whose end everything that can be done must be done."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.simulation.checks import check_end, check_records
from tests.simulation.client import Client, make_pool
from tests.simulation.explanations import check_explanations
from tests.simulation.schedules import Scheduler, check_end_of_schedules
from tests.simulation.world import Faults, World

from millpond.batch.engine import dependencies
from millpond.batch.engine.messages import (
    AutoScaleDisableRequested,
    JobEnableRequested,
    NodeEnableSchedulingRequested,
    NodeRebootRequested,
    NodeStartRequested,
    PoolAddRequested,
    ResizeRequested,
)
from millpond.batch.model.job import JobState
from millpond.batch.model.pool import AllocationState, NodeState, SchedulingState
from millpond.common.clock import MINUTE, SECOND

#: The sizes of stories, by the names by which they can be told again.
KINDS: dict[str, dict[str, Any]] = {
    "small": {"pools": 2, "nodes": 4, "jobs": 4, "tasks": 400, "window": 16, "minutes": 1},
    "gangs": {"pools": 2, "nodes": 5, "jobs": 4, "tasks": 160, "window": 16, "minutes": 1, "gangs": 0.3},
    "many-nodes": {"pools": 3, "nodes": 40, "jobs": 6, "tasks": 3000, "window": 256, "minutes": 1, "every": 5},
    "crowded": {"pools": 1, "nodes": 3, "jobs": 6, "tasks": 300, "window": 16, "minutes": 1},
    "long": {"pools": 3, "nodes": 8, "jobs": 8, "tasks": 2000, "window": 32, "minutes": 5},
    "long-gangs": {"pools": 2, "nodes": 8, "jobs": 6, "tasks": 800, "window": 32, "minutes": 5, "gangs": 0.3},
    "hundreds": {"pools": 3, "nodes": 150, "jobs": 10, "tasks": 10_000, "window": 1024, "minutes": 3, "every": 20},
}

FAULTS = Faults(
    crash=0.004,
    failing_commit=0.002,
    broken_channel=0.002,
    long_absence=0.05,
    dead_machine=0.0005,
    refused_node=0.02,
    doubled_report=0.05,
    full_disk=0.0005,
    failing_start_task=0.1,
)

#: Seconds that the search for a shorter story may take, and lines that are printed of one.
_SEARCH_S = 20.0
_PRINTED = 80


def tell(kind: str, seed: int) -> World:
    """Tell a story; where it goes wrong, fail with the shortest one that goes wrong in the same way."""
    world, failure = _play(seed, FAULTS, **KINDS[kind])
    if failure is not None:
        faults = FAULTS
        for fewer, smaller in _smaller(faults, KINDS[kind]):
            other, its_failure = _play(seed, fewer, **smaller)
            if its_failure is not None and _gist(its_failure) == _gist(failure) and len(other.story) < len(world.story):
                world, failure = other, its_failure
        lines = "\n".join(world.told(about=str(failure), most=_PRINTED))
        again = f"python -m tests.simulation {kind} {seed}"
        pytest.fail(f"{lines}\n\n{type(failure).__name__}: {failure}\n\nTell it again: {again}")
    return world


def _smaller(faults: Faults, kind: dict[str, Any]) -> Iterator[tuple[Faults, dict[str, Any]]]:
    """Smaller stories of the same seed, for as long as there is time."""
    until = time.monotonic() + _SEARCH_S
    for share in (1, 2, 4, 10, 40):
        for calmer in (Faults(), faults):
            for jobs in (kind["jobs"], 1):
                if time.monotonic() > until:
                    return
                yield calmer, kind | {"tasks": max(jobs, kind["tasks"] // share), "jobs": jobs, "every": 1}


def _gist(failure: BaseException) -> str:
    """What went wrong, without the names and numbers."""
    return f"{type(failure).__name__}: {re.sub(r'[^ ]*[0-9/][^ ]*', '', str(failure))[:60]}"


def _play(seed: int, faults: Faults, **size: Any) -> tuple[World, BaseException | None]:
    # So that telling many dependents takes several steps, though there are few.
    few = pytest.MonkeyPatch()
    few.setattr(dependencies, "CLOSED_AT_ONCE", 5)
    world = World(seed, ready_window=size["window"], faults=faults, check_every=size.get("every", 1))
    try:
        _act(world, **size)
    except Exception as failure:
        return world, failure
    finally:
        few.undo()
    return world, None


def _act(
    world: World,
    *,
    pools: int,
    nodes: int,
    jobs: int,
    tasks: int,
    window: int,
    minutes: int,
    every: int = 1,
    gangs: float = 0.0,
) -> None:
    client = Client(world, pools=pools, nodes=nodes, jobs=jobs, tasks=tasks, gangs=gangs)
    rarely = every * world.rng.randrange(1, 50)
    chooser = random.Random(world.seed)

    def observe() -> None:
        if world.batches % rarely == 0:
            check_records(world)
            check_explanations(world, chooser)

    world.observers.append(observe)
    scheduler = Scheduler(world, client, schedules=2, minutes=minutes)
    client.act_for(minutes * MINUTE, every=SECOND)
    scheduler.act_for(minutes * MINUTE, every=SECOND)
    world.run(world.now + minutes * MINUTE)
    bring_peace(world, client, scheduler)
    check_records(world)
    check_explanations(world, chooser)
    check_end(world, client)
    check_end_of_schedules(world)


def bring_peace(world: World, client: Client, scheduler: Scheduler) -> None:
    """No more faults; every pool gets nodes, every job may run."""
    world.faults = Faults()
    world.tell("== peace")
    world.run(world.now + 30 * MINUTE)
    for key in client.pool_keys:
        if key not in world.state.pools:
            client.request(PoolAddRequested(pool=make_pool(key, 2, 8)))
    for _ in range(5):
        help_along(world, client)
        scheduler.help_along()
        world.run(world.now + 30 * MINUTE)
    for _ in range(100):
        if not any(job.task_counts.running for job in world.state.jobs.values()):
            break
        world.run(world.now + 30 * MINUTE)


def help_along(world: World, client: Client) -> None:
    """Do what a person would: reboot unusable nodes, start and enable others, grow empty pools, enable jobs."""
    for node in world.state.nodes.values():
        if node.state in (NodeState.UNUSABLE, NodeState.START_TASK_FAILED):
            client.request(NodeRebootRequested(pool=node.pool, node=node.key))
        elif node.state is NodeState.DEALLOCATED:
            client.request(NodeStartRequested(pool=node.pool, node=node.key))
        if node.scheduling_state is SchedulingState.DISABLED:
            client.request(NodeEnableSchedulingRequested(pool=node.pool, node=node.key))
    for pool in world.state.pools.values():
        if pool.auto_scale is not None and pool.auto_scale.run is not None and pool.auto_scale.run.error is not None:
            client.request(AutoScaleDisableRequested(pool=pool.key))
        if pool.allocation_state is AllocationState.STEADY and not world.state.pool_slots[pool.key].nodes:
            client.request(
                ResizeRequested(
                    pool=pool.key, target_dedicated_nodes=2, target_low_priority_nodes=None, resize_timeout=None
                )
            )
    for job in world.state.jobs.values():
        if job.state is JobState.DISABLED:
            client.request(JobEnableRequested(job=job.key))
