"""A job of a million tasks: what it costs the service."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
from tests.servers import Server, start_server

from millpond.common.clock import SECOND, from_iso

from ..batch_client import BatchClient, millpond, stop
from ..measuring import OURS, Contender, Goal, row
from .tasks import add_tasks

_COUNT = 1_000_000
_JOB = "/jobs/million"
_PAGES = 50


@row(
    "million",
    Goal("memory of the service, MiB", "<=", 1024),
    Goal("page of 1,000, ms", "<=", 30),
    Goal("counts, ms", "<=", 5),
    Goal("restart to first placement, s", "<=", 10),
    turns=1,
    is_long=True,
)
def million(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """A million waiting tasks: adding them, memory, pages of 1,000, counts, restart.

    The tasks wait since the pool has no nodes. Memory is the resident size of the Batch service, and its peak, after
    all were added. Pages: the median of 50 in the list's order, request to last byte, and the slowest of them. Counts:
    the median of 50. Restart: the server is killed (SIGKILL, all its processes); timed from starting it again until
    the first task starts on a node, which is asked for once the server is ready, and boots in that time.
    """
    return {OURS: lambda: _measure(stack, directory)}


def _measure(stack: ExitStack, directory: Path) -> dict[str, float]:
    server, client = stack.enter_context(millpond(directory))
    client.add_pool("pool", 0)
    client.add_job("million", "pool")
    figures = {"added, tasks/s": _COUNT / add_tasks(server.credentials, "million", _COUNT)}
    service = psutil.Process(server.service_pid("batch"))
    figures["memory of the service, MiB"] = service.memory_info().rss / (1 << 20)
    figures["counts, ms"] = statistics.median(_times(lambda: client.raw("GET", f"{_JOB}/taskcounts")))
    pages = _page_times(client)
    figures["page of 1,000, ms"] = statistics.median(pages)
    figures["slowest page of 1,000, ms"] = max(pages)
    return figures | {"restart to first placement, s": _restart(stack, server)}


def _times(call: Callable[[], object]) -> list[float]:
    """Milliseconds of 50 calls."""
    times = []
    for _ in range(_PAGES):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return times


def _page_times(client: BatchClient) -> list[float]:
    query = {"maxresults": "1000"}

    def get_page() -> None:
        page = client.call("GET", f"{_JOB}/tasks", **query)
        assert len(page["value"]) == 1000
        query["$skiptoken"] = page["odata.nextLink"].partition("skiptoken=")[2].partition("&")[0]

    return _times(get_page)


def _restart(stack: ExitStack, server: Server) -> float:
    for process in psutil.Process(server.process.pid).children(recursive=True):
        process.kill()
    server.kill()
    began = time.time()
    again = start_server(server.data)
    stack.callback(stop, again)
    client = BatchClient(again.credentials)
    client.call("POST", "/pools/pool/resize", {"targetDedicatedNodes": 1})
    while not (counts := client.task_counts("million"))["running"] and not counts["completed"]:
        time.sleep(0.01)
    first = client.call("GET", f"{_JOB}/tasks", maxresults="100")["value"]  # in the order of addition
    client.close()
    starts = [task["executionInfo"]["startTime"] for task in first if "startTime" in task["executionInfo"]]
    return min(map(from_iso, starts)) / SECOND - began
