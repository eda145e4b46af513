"""Tasks that wait for others: how soon the next one starts, and what one costs that waits for many."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from millpond.common.clock import SECOND, from_iso

from ..batch_client import in_collections, millpond
from ..environments import scratch
from ..measuring import OURS, Contender, Goal, row
from ..peers import hyperqueue

_CORES = os.cpu_count() or 1
_CHAIN = 1_000
_FAN = 10_000


@row("chain", Goal("tasks/s", ">=", 100), turns=3)
def chain(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """1,000 tasks that run `true` on one node, each depending on the one before.

    Timed from sending the first of them to the last being completed, as the service tells; so each step is the end of
    a process, its report, a commit that is synced to disk, the order to start the next one, and its start. HyperQueue:
    the same in one job; nothing is durable. Starting servers, workers and nodes is not timed.
    """
    links = [{"dependsOn": {"taskIds": [str(number - 1)]}} if number else {} for number in range(_CHAIN)]
    run = _contender(stack, directory, [{"id": str(number), **link} for number, link in enumerate(links)])

    def ours() -> dict[str, float]:
        seconds, _ = run()
        return {"tasks/s": _CHAIN / seconds}

    return {OURS: ours, "HyperQueue": lambda: {"tasks/s": _peer(_CHAIN, "chain")}}


@row("fan-in", Goal("tasks/s", ">=", 1000), Goal("last end to dependent's start, ms", "<=", 30), turns=2)
def fan_in(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """10,000 tasks that run `true` on one node, and one that depends on all of them, by a range of ids.

    Timed as the chain is, and in collections of 100; the dependent is added first. The second figure is from the
    service's own records: between the end of the last of the 10,000 and the start of the dependent. HyperQueue: the
    dependent names each of them.
    """
    waits = {"id": "last", "dependsOn": {"taskIdRanges": [{"start": 1, "end": _FAN}]}}
    run = _contender(stack, directory, [waits, *({"id": str(number)} for number in range(1, _FAN + 1))])

    def ours() -> dict[str, float]:
        seconds, infos = run()
        start = from_iso(infos.pop("last")["startTime"])
        latest = max(from_iso(info["endTime"]) for info in infos.values())
        return {
            "tasks/s": (_FAN + 1) / seconds,
            "last end to dependent's start, ms": (start - latest) * 1000 / SECOND,
        }

    return {OURS: ours, "HyperQueue": lambda: {"tasks/s": _peer(_FAN + 1, "fan-in")}}


#: Runs the tasks once; the seconds that it took, and what became of each by its id.
Run = Callable[[], tuple[float, dict[str, dict[str, str]]]]


def _contender(stack: ExitStack, directory: Path, tasks: Sequence[Mapping[str, Any]]) -> Run:
    """Runs these tasks in a new job each time, on one node that is idle before, with a slot for each core."""
    _, client = stack.enter_context(millpond(directory))
    client.add_pool("pool", 1, task_slots=_CORES)
    client.wait_until_idle("pool", 1)
    bodies = list(in_collections({"commandLine": "true", **task} for task in tasks))
    jobs = iter(range(1 << 30))

    def run() -> tuple[float, dict[str, dict[str, str]]]:
        job = f"job-{next(jobs)}"
        client.add_job(job, "pool", usesTaskDependencies=True)
        began = time.perf_counter()
        for body in bodies:
            client.raw("POST", f"/jobs/{job}/addtaskcollection", body)
        client.wait_until_completed(job, len(tasks))
        seconds = time.perf_counter() - began
        return seconds, {task["id"]: task["executionInfo"] for task in client.tasks(job)}

    return run


def _peer(count: int, shape: hyperqueue.Shape) -> float:
    """Tasks a second."""
    with scratch() as directory:
        return count / hyperqueue.run_true(Path(directory), _CORES, count, shape)
