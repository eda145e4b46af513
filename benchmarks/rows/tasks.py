"""Tasks through the API: how many run, how soon, and how many are taken."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from ..batch_client import BatchClient, collections, millpond
from ..environments import scratch
from ..measuring import OURS, Contender, Goal, row
from ..peers import hyperqueue, parallel, spawn

_CORES = os.cpu_count() or 1
_TRUE_COUNT = 2_000
_LATENCY_COUNT = 200
_SUBMIT_COUNT = 20_000
_SUBMIT_CONNECTIONS = 4


@row("true", Goal("tasks/s", ">=", 1000), Goal("tasks/s", ">=", 0.7, "posix_spawn loop"), turns=5)
def true(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """Tasks that run `true` on one node, each with a directory of its own and files for its output.

    Ours: 2,000 tasks in collections of 100, from sending the first to the last being completed, as the service tells
    (it does once that is synced to disk); the node is idle before, with a slot for each core. HyperQueue: one job of
    as many tasks, from submitting to the end, one worker with all cores; nothing is durable. GNU parallel: one job for
    each core; with fewer runs, since it is slow. The loop of posix_spawn has no scheduler, no records and no sync.
    Starting servers, workers and nodes is not timed.
    """
    return {
        OURS: _tasks_on_one_node(stack, directory / "sandbox"),
        f"{OURS} without a sandbox": _tasks_on_one_node(stack, directory / "process", "--isolation", "process"),
        "posix_spawn loop": lambda: _peer(spawn.run_true, _TRUE_COUNT),
        "HyperQueue": lambda: _peer(hyperqueue.run_true, _TRUE_COUNT),
        "GNU parallel": lambda: _peer(parallel.run_true, _TRUE_COUNT // 4),
    }


def _tasks_on_one_node(stack: ExitStack, directory: Path, *options: str) -> Contender:
    directory.mkdir()
    _, client = stack.enter_context(millpond(directory, *options))
    client.add_pool("pool", 1, task_slots=_CORES)
    client.wait_until_idle("pool", 1)
    jobs = iter(range(1 << 30))
    return lambda: {"tasks/s": _TRUE_COUNT / _run_tasks(client, f"job-{next(jobs)}", _TRUE_COUNT)}


def _run_tasks(client: BatchClient, job: str, count: int) -> float:
    client.add_job(job, "pool")
    bodies = list(collections(count, "true"))
    began = time.perf_counter()
    for body in bodies:
        client.raw("POST", f"/jobs/{job}/addtaskcollection", body)
    client.wait_until_completed(job, count)
    return time.perf_counter() - began


def _peer(run: Callable[[Path, int, int], float], count: int) -> dict[str, float]:
    with scratch() as directory:
        return {"tasks/s": count / run(Path(directory), _CORES, count)}


@row("latency", Goal("median, ms", "<=", 10), Goal("p99, ms", "<=", 30))
def latency(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """On an idle system: from adding a task to its process running.

    One task at a time, 200 of them. Timed from just before the request is sent until the task's own process tells the
    time (`date`), on the same clock; so signing, the request, the commit, the way to the node and the start of the
    process are in it. The p99 of 200 is the third worst.
    """
    _, client = stack.enter_context(millpond(directory))
    client.add_pool("pool", 1)
    client.wait_until_idle("pool", 1)
    jobs = iter(range(1 << 30))
    return {OURS: lambda: _latencies(client, f"job-{next(jobs)}")}


def _latencies(client: BatchClient, job: str) -> dict[str, float]:
    client.add_job(job, "pool")
    delays = []
    for number in range(_LATENCY_COUNT):
        task = f"/jobs/{job}/tasks/task-{number}"
        sent_at = time.time()
        client.call("POST", f"/jobs/{job}/tasks", {"id": f"task-{number}", "commandLine": "date +%s.%N"})
        while client.call("GET", task, **{"$select": "state"})["state"] != "completed":
            time.sleep(0.01)
        delays.append(1000 * (float(client.raw("GET", f"{task}/files/stdout.txt")) - sent_at))
    return {"median, ms": statistics.median(delays), "p99, ms": sorted(delays)[-(_LATENCY_COUNT // 100) - 1]}


@row("submit", Goal("tasks/s", ">=", 10_000))
def submit(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """Tasks accepted by addtaskcollection, durable when answered.

    20,000 tasks in collections of 100 over 4 connections, from sending the first to the last answer. Bodies are made
    beforehand; the pool has no nodes, so nothing runs.
    """
    server, client = stack.enter_context(millpond(directory))
    client.add_pool("pool", 0)
    jobs = iter(range(1 << 30))

    def submit_job() -> dict[str, float]:
        job = f"job-{next(jobs)}"
        client.add_job(job, "pool")
        return {"tasks/s": _SUBMIT_COUNT / add_tasks(server.credentials, job, _SUBMIT_COUNT)}

    return {OURS: submit_job}


def add_tasks(credentials: Mapping[str, str], job: str, count: int, command_line: str = "true") -> float:
    """Seconds to add so many tasks, from the first request to the last answer."""
    bodies = list(collections(count, command_line))

    def work(part: list[bytes]) -> None:
        client = BatchClient(credentials)
        for body in part:
            client.raw("POST", f"/jobs/{job}/addtaskcollection", body)
        client.close()

    with ThreadPoolExecutor(_SUBMIT_CONNECTIONS) as pool:
        began = time.perf_counter()
        list(pool.map(work, (bodies[index::_SUBMIT_CONNECTIONS] for index in range(_SUBMIT_CONNECTIONS))))
        took = time.perf_counter() - began
    client = BatchClient(credentials)
    counts = client.task_counts(job)
    client.close()
    if counts["active"] + counts["running"] + counts["completed"] != count:
        raise RuntimeError(f"of {count} tasks, these were accepted: {counts}")
    return took
