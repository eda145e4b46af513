"""Who comes first: held against what a batch has placed."""

from __future__ import annotations

from collections.abc import Iterable

from millpond.batch.engine.messages import Effect, StartTask
from millpond.batch.engine.slots import GANG, JobWork, NodeSlots
from millpond.batch.engine.state import State

#: The first waiting tasks of jobs that may have more, by job and size.
Heads = dict[tuple[str, int], str]


def first_waiting(state: State) -> Heads:
    """Those that wait for a place, before a batch is settled."""
    return {
        (key, size): tasks[-1][1]
        for key, work in state.job_work.items()
        if work.is_open and not work.is_full
        for size, tasks in work.queue.by_size.items()
        if tasks and size < GANG
    }


def overtaken(state: State, before: Heads, effects: Iterable[Effect]) -> str | None:
    """A task that waited all the time while another that comes after it got a place which it could have had."""
    for effect in effects:
        if not isinstance(effect, StartTask) or effect.kind is not None:
            continue
        key, slots = (effect.attempt.job, effect.attempt.task), state.node_slots.get(effect.node)
        size = slots.running.get(key) if slots is not None else None
        task = state.tasks.get(key)
        if slots is None or size is None or task is None or task.gang is not None:
            continue
        order = state.job_work[key[0]].order
        for work in slots.pool.jobs.values():
            head = _head(work, size)
            comes_first = work.order < order and not work.is_full
            head = _head(work, size) if comes_first else None
            if head and before.get((work.key, head[0])) == head[1] and _may_have(state, work, head[1], slots):
                return f"{key[0]} {key[1]} has overtaken {work.key} {head[1]} on {slots.key}"
    return None


def _head(work: JobWork, size: int) -> tuple[int, str] | None:
    """Size and key of a job's first task that needs no more slots than this."""
    found = work.queue.first(size)
    return None if found is None else (found, work.queue.by_size[found][-1][1])


def _may_have(state: State, work: JobWork, task: str, slots: NodeSlots) -> bool:
    return slots.key not in work.barred and (state.nodes[slots.key].is_dedicated or task != work.dedicated)
