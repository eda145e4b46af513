"""The service alone, with nodes that cost nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ..batch_client import BatchClient
from ..measuring import OURS, Contender, Goal, row
from ..simulated import simulated_service
from .tasks import add_tasks

_NODES = 200
_SLOTS = 4
_FIGURE = "{:,} tasks, tasks/s"
_FLATNESS = "slowest size / fastest size"


def _goals(*counts: int) -> list[Goal]:
    return [Goal(_FIGURE.format(count), ">=", 5000) for count in counts]


# ±20 % around their mean
@row("service", *_goals(1_000, 10_000, 100_000), Goal(_FLATNESS, ">=", 0.8 / 1.2), turns=3)
def service(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """The service with 200 simulated nodes of 4 slots: tasks run per second, with 1,000, 10,000 and 100,000 in the job.

    The agents are one other process, which speaks the agents' protocol and takes no time for a task. The job is
    disabled while its tasks are added; timed from enabling it until all are completed, as its counts tell, so adding
    them is not timed.
    """
    return _contenders(stack, directory, 1_000, 10_000, 100_000)


@row("service-million", *_goals(1_000_000), turns=1, is_long=True)
def service_million(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """The same with 1,000,000 tasks in the job."""
    return _contenders(stack, directory, 1_000_000)


def _contenders(stack: ExitStack, directory: Path, *counts: int) -> Mapping[str, Contender]:
    credentials = stack.enter_context(simulated_service(directory / "data"))
    client = BatchClient(credentials)
    stack.callback(client.close)
    client.add_pool("pool", _NODES, _SLOTS)
    client.wait_until_idle("pool", _NODES)
    jobs = iter(range(1 << 30))

    def run_all() -> dict[str, float]:
        run = partial(_run_job, client, credentials)
        rates = {_FIGURE.format(count): count / run(f"job-{next(jobs)}", count) for count in counts}
        flatness = {_FLATNESS: min(rates.values()) / max(rates.values())} if len(rates) > 1 else {}
        return rates | flatness

    return {OURS: run_all}


def _run_job(client: BatchClient, credentials: Mapping[str, str], job: str, count: int) -> float:
    client.add_job(job, "pool")
    client.call("POST", f"/jobs/{job}/disable", {"disableTasks": "requeue"})
    add_tasks(credentials, job, count)
    began = time.perf_counter()
    client.call("POST", f"/jobs/{job}/enable")
    client.wait_until_completed(job, count)
    return time.perf_counter() - began
