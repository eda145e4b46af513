"""What one task costs the engine: to add it, and to place, start and end it.

``python -m benchmarks.choices.engine``. The engine alone, in one thread, without a store: what it reads from the
archive comes out of a list. Events come in batches of 100, as they do under load. Figures are processor time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from millpond.batch.engine import machine
from millpond.batch.engine.messages import (
    AgentConnected,
    Effect,
    Event,
    JobAddRequested,
    NewTask,
    PoolAddRequested,
    StartTask,
    TaskEnded,
    TasksAddRequested,
    TaskStarted,
)
from millpond.batch.engine.state import State
from millpond.batch.model.job import Job
from millpond.batch.model.pool import FillType, Pool
from millpond.batch.model.schedule import JobSchedule
from millpond.batch.model.task import Task, TaskResult
from millpond.common.clock import MINUTE, SECOND
from millpond.common.durations import UNLIMITED

BATCH = 100


class ListArchive:
    """Tasks of one job in order; those that the engine has not asked for yet all wait."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def job(self, job: str) -> Job | None:
        return None

    def schedule(self, schedule: str) -> JobSchedule | None:
        return None

    def jobs_of(self, schedule: str, limit: int) -> list[Job]:
        return []

    def task(self, job: str, task: str) -> Task | None:
        return None

    def existing(self, job: str, tasks: Sequence[str]) -> set[str]:
        return set()

    def waiting(self, job: str, after_seq: int, limit: int) -> list[Task]:
        return self.tasks[after_seq + 1 : after_seq + 1 + limit]

    def satisfying(self, job: str, tasks: Sequence[str]) -> set[str]:
        return set()

    def satisfied_runs(self, job: str, first: int, last: int) -> list[tuple[int, int]]:
        return []

    def dependents(self, job: str, prerequisites: Sequence[str], before_seq: int, limit: int) -> list[tuple[str, Task]]:
        return []

    def holding_files(self, job: str) -> Iterable[str]:
        return ()


class Engine:
    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND
        self.archive = ListArchive()
        self.state = State(self.archive)

    def do(self, events: Iterable[Event]) -> list[Effect]:
        effects: list[Effect] = []
        for event in events:
            reply, more = machine.step(self.state, event, self.now)
            effects += more
            if isinstance(event, TasksAddRequested):
                self.archive.tasks += reply
        effects += machine.settle(self.state, self.now)
        self.state.take_changes()
        self.now += SECOND // 1000
        return effects


def measure(tasks: int, nodes: int, slots: int, fill: FillType, run_time: int) -> tuple[float, float]:
    """Microseconds per task: added; placed, started and ended."""
    engine = Engine()
    engine.do([PoolAddRequested(pool=_pool(nodes, slots, fill)), JobAddRequested(job=_job())])
    engine.do(
        AgentConnected(node=node, boot=1, ip_address="", agent_version="", start_task=None)
        for node in list(engine.state.nodes)
    )
    begin = time.process_time()
    starts = deque[StartTask]()
    for first in range(0, tasks, BATCH):
        added = TasksAddRequested(job="a/job", tasks=[_task(n) for n in range(first, min(tasks, first + BATCH))])
        starts += [effect for effect in engine.do([added]) if isinstance(effect, StartTask)]
    middle = time.process_time()
    ended = 0
    while starts:
        batch = [starts.popleft() for _ in range(min(BATCH, len(starts)))]
        reports = [report for start in batch for report in _reports(start, engine.now, run_time)]
        starts += [effect for effect in engine.do(reports) if isinstance(effect, StartTask)]
        ended += len(batch)
    end = time.process_time()
    if ended != tasks:
        raise RuntimeError(f"{ended} of {tasks} tasks ended")
    return (middle - begin) / tasks * 1e6, (end - middle) / tasks * 1e6


def _reports(start: StartTask, now: int, run_time: int) -> tuple[Event, Event]:
    begun = TaskStarted(node=start.node, boot=1, attempt=start.attempt, start_time=now - run_time)
    ended = TaskEnded(
        node=start.node,
        boot=1,
        attempt=start.attempt,
        start_time=now - run_time,
        end_time=now,
        exit_code=0,
        result=TaskResult.SUCCESS,
    )
    return begun, ended


def _pool(nodes: int, slots: int, fill: FillType) -> Pool:
    return Pool(
        key="a/pool",
        account="a",
        id="pool",
        state_transition_time=0,
        allocation_state_transition_time=0,
        creation_time=0,
        last_modified=0,
        vm_size="standard_a1",
        task_slots_per_node=slots,
        fill_type=fill,
        target_dedicated_nodes=nodes,
        resize_timeout=15 * MINUTE,
        document={},
    )


def _job() -> Job:
    return Job(
        key="a/job",
        account="a",
        id="job",
        state_transition_time=0,
        creation_time=0,
        last_modified=0,
        pool="a/pool",
        pool_id="pool",
        max_wall_clock_time=UNLIMITED,
        start_time=0,
        document={},
    )


def _task(number: int) -> NewTask:
    return NewTask(id=f"t{number}", document=b"{}", max_wall_clock_time=UNLIMITED, retention_time=MINUTE)


def main() -> None:
    table = Table("tasks", "nodes", "slots", "fill", "run time", "add, µs", "place + start + end, µs")
    for tasks, nodes, slots, fill, run_time in (
        (20_000, 200, 4, FillType.SPREAD, SECOND),
        (20_000, 200, 4, FillType.PACK, SECOND),
        (20_000, 200, 4, FillType.SPREAD, SECOND // 1000),
        (200_000, 200, 4, FillType.SPREAD, SECOND),
        (200_000, 200, 4, FillType.SPREAD, SECOND // 1000),
        (20_000, 1, 4, FillType.SPREAD, SECOND // 1000),
        (20_000, 2000, 8, FillType.SPREAD, SECOND),
    ):
        added, ran = measure(tasks, nodes, slots, fill, run_time)
        figures = (f"{tasks:,}", str(nodes), str(slots), str(fill), f"{run_time / SECOND:g} s")
        table.add_row(*figures, f"{added:.1f}", f"{ran:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
