"""The tutorial as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec
from tests.servers import millpond_credentials

from millpond.common.clock import SECOND, from_iso

from ..batch_client import BatchClient, BatchError
from ..measuring import OURS, Contender, Goal, row

_POOL = "PythonTutorialPool"


@row("tutorial", Goal("without the start task, s", "<=", 3))
def tutorial(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """`millpond tutorial --yes`, from nothing running to everything stopped and removed.

    Timed: the whole process, which starts a server, runs the client, stops the server and removes its data. The
    start task of the nodes makes a virtual environment and installs a library with pip, which says nothing about
    Millpond; the nodes tell how long it took, and one figure is without it.
    """
    return {OURS: lambda: _run(directory)}


def _run(directory: Path) -> dict[str, float]:
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "millpond.cli", "tutorial", "--yes"],
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    start_task = _start_task_seconds(directory, process)
    output, _ = process.communicate()
    total = time.perf_counter() - began
    if process.returncode or start_task is None:
        raise RuntimeError(f"the tutorial ended with exit code {process.returncode}:\n{output[-2000:]}")
    return {"total, s": total, "start task, s": start_task, "without the start task, s": total - start_task}


def _start_task_seconds(directory: Path, process: subprocess.Popen[str]) -> float | None:
    """From the first node's start of the start task to the last node's end of it; ``None``: it never ended."""
    client = None
    while process.poll() is None:
        time.sleep(0.1)
        try:
            if client is None:
                data = next(directory.glob("millpond-tutorial-*/data"), None)
                if data is None or not (data / "server.json").exists():
                    continue
                client = BatchClient(millpond_credentials(data))
            nodes = client.call("GET", f"/pools/{_POOL}/nodes")["value"]
        except (BatchError, OSError, AssertionError, msgspec.MsgspecError):
            continue  # not there yet, or not any more
        tasks = [node.get("startTaskInfo", {}) for node in nodes]
        if tasks and all("endTime" in task for task in tasks):
            began = min(from_iso(task["startTime"]) for task in tasks)
            return (max(from_iso(task["endTime"]) for task in tasks) - began) / SECOND
    return None
