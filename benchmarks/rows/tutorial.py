"""The tutorial as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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
    Millpond; the nodes tell how long it took, and one figure is without it. What comes after the sample's end is
    mostly the removal of the thousands of files that pip installed, and so a matter of the file system.
    """
    return {OURS: lambda: _run(directory)}


def _run(directory: Path) -> dict[str, float]:
    began = time.perf_counter()
    with (
        ThreadPoolExecutor(1) as watcher,
        subprocess.Popen(
            [sys.executable, "-m", "millpond.cli", "tutorial", "--yes"],
            env={**os.environ, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        start_task = watcher.submit(_start_task_seconds, directory, process)
        output, sample = [], None
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if line.startswith("Sample end"):
                sample = time.perf_counter() - began
        exit_code = process.wait()
        total = time.perf_counter() - began
        start_task_s = start_task.result()
    if exit_code or sample is None or start_task_s is None:
        raise RuntimeError(f"the tutorial ended with exit code {exit_code}:\n{''.join(output[-30:])}")
    return {
        "total, s": total,
        "start task, s": start_task_s,
        "after the sample's end, s": total - sample,
        "without the start task, s": total - start_task_s,
    }


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
