"""Explanations of what waits, held against what the scheduler does."""

from __future__ import annotations

import random

from tests.simulation.world import Violation, World

from millpond.batch.engine.explain import (
    JobFacts,
    NodeFacts,
    PoolFacts,
    Prerequisite,
    TaskFacts,
    explain_job,
    explain_node,
    explain_pool,
    explain_task,
)
from millpond.batch.engine.number_blocks import block_named
from millpond.batch.model.job import Job
from millpond.batch.model.task import Task

#: Tasks that are asked about at a time.
_ASKED = 5


def check_explanations(world: World, chooser: random.Random) -> None:
    """Everything is explained, and no task is told that there is room for it while the scheduler leaves it waiting."""
    for key, pool in world.state.pools.items():
        facts = _pool_facts(world, key)
        _require(bool(explain_pool(pool, facts).reasons), f"nothing is said of {key}")
        for node in facts.nodes:
            _require(bool(explain_node(pool, node).reasons), f"nothing is said of {node.node.key}")
    jobs = list(world.state.jobs.values())
    for job in chooser.sample(jobs, min(len(jobs), _ASKED)):
        _require(bool(explain_job(_job_facts(world, job)).reasons), f"nothing is said of {job.key}")
        tasks = list(world.archive.tasks.get(job.key, {}).values())
        for task in chooser.sample(tasks, min(len(tasks), _ASKED)):
            _check_task(world, job, task)


def _check_task(world: World, job: Job, task: Task) -> None:
    dependencies = [each for each in world.archive.dependencies if (each.job, each.seq) == (job.key, task.seq)]
    facts = TaskFacts(
        task=task,
        job=_job_facts(world, job),
        prerequisites=tuple(_prerequisite(world, job, each.prerequisite) for each in dependencies),
    )
    explanation = explain_task(facts)
    codes = [reason.code for reason in explanation.reasons]
    _require(bool(codes), f"nothing is said of {job.key} {task.key}")
    # Tasks beyond the window wait for it to move on; nodes may be kept for a gang, places be taken by tasks sent ahead.
    work = world.state.job_work[job.key]
    is_due = (job.key, task.key) in world.state.tasks and not work.is_full and not work.pool.communicates
    told = f"{job.key} {task.key} is told that there is room for it, and waits"
    _require(not (is_due and "AboutToBePlaced" in codes), told)


def _require(holds: bool, claim: str) -> None:
    if not holds:
        raise Violation(claim)


def _job_facts(world: World, job: Job) -> JobFacts:
    records = tuple(record for record in world.archive.job_nodes.values() if record.job == job.key)
    return JobFacts(job=job, pool=_pool_facts(world, job.pool), records=records)


def _pool_facts(world: World, key: str) -> PoolFacts:
    state = world.state
    nodes = [
        NodeFacts(
            node=state.nodes[name],
            tasks=len(slots.running),
            used_slots=slots.total - slots.free,
            is_connected=slots.connected,
        )
        for name, slots in (state.pool_slots[key].nodes.items() if key in state.pool_slots else ())
    ]
    return PoolFacts(pool_id=key, pool=state.pools.get(key), nodes=tuple(nodes))


def _prerequisite(world: World, job: Job, name: str) -> Prerequisite:
    task = world.archive.tasks[job.key].get(name)
    is_range = block_named(name) is not None
    return Prerequisite(name=name, tasks=() if task is None else (task,), is_range=is_range)
