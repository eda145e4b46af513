"""The scheduler against one that is slow and obviously right."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.client import make_task
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import StartTask, TasksAddRequested
from millpond.batch.model.pool import FillType

SLOTS = 4


@dataclass
class SomeJob:
    priority: int
    limit: int
    sizes: list[int] = field(default_factory=list)


jobs = st.lists(
    st.builds(
        SomeJob,
        priority=st.integers(-1, 1),
        limit=st.sampled_from([-1, -1, 1, 3]),
        sizes=st.lists(st.integers(1, SLOTS + 1), max_size=8),
    ),
    max_size=4,
)


def expected(jobs: list[SomeJob], nodes: int, fill: FillType) -> tuple[list[tuple[str, str]], list[int]]:
    """Which tasks start, in order, and how many slots the nodes have free then."""
    free = [SLOTS] * nodes
    started: list[tuple[str, str]] = []
    in_order = sorted(range(len(jobs)), key=lambda number: (-jobs[number].priority, number))
    placed = [0] * len(jobs)
    while True:
        for number in in_order:
            job = jobs[number]
            if placed[number] == job.limit:
                continue
            fits = (
                task
                for task, size in enumerate(job.sizes)
                if size <= max(free, default=0) and (f"job{number}", f"t{task}") not in started
            )
            task = next(fits, None)
            if task is not None:
                size = job.sizes[task]
                room = [slots for slots in free if slots >= size]
                free.remove(max(room) if fill is FillType.SPREAD else min(room))
                free.append((max(room) if fill is FillType.SPREAD else min(room)) - size)
                started.append((f"job{number}", f"t{task}"))
                placed[number] += 1
                break
        else:
            return started, sorted(free)


@settings(max_examples=200, deadline=None)
@given(jobs, st.integers(1, 3), st.sampled_from(FillType), st.sampled_from([1, 2, 3, 100]))
def test_same_tasks_start_in_the_same_order(jobs: list[SomeJob], nodes: int, fill: FillType, window: int) -> None:
    bench = Bench(ready_window=100 if any(len(set(job.sizes)) > 1 for job in jobs) else window)
    for number, job in enumerate(jobs):
        bench.job(f"job{number}", priority=job.priority, max_parallel_tasks=job.limit)
        tasks = [make_task(f"t{task}", required_slots=size) for task, size in enumerate(job.sizes)]
        bench.do(TasksAddRequested(job=f"job{number}", tasks=tasks))
    keys = bench.pool(nodes=0, slots=SLOTS, fill_type=fill)
    assert keys == []
    bench.grow(nodes)
    starts = [(effect.attempt.job, effect.attempt.task) for effect in bench.all(StartTask)]
    started, free = expected(jobs, nodes, fill)
    assert starts == started
    assert sorted(slots.free for slots in bench.state.node_slots.values()) == free
