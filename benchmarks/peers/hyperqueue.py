"""HyperQueue: server, worker and client in a process of its own, by its Python package.

``python hyperqueue.py DIRECTORY CORES COUNT SHAPE`` prints the seconds from submitting the tasks to the end of all.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

_PACKAGE = "hyperqueue"

#: What tasks depend on.
Shape = Literal["free", "chain", "fan-in"]


def run_true(directory: Path, cores: int, count: int, shape: Shape = "free") -> float:
    """Seconds for tasks that run ``true``, each with a directory of its own and files for its output.

    They depend on nothing, each on the one before, or the last on all others.
    """
    from ..environments import python_with

    python = python_with(_PACKAGE, _PACKAGE)
    command: list[str | Path] = [python, __file__, directory, str(cores), str(count), shape]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])  # the server prints, too


def _main(directory: str, cores: int, count: int, shape: str) -> float:
    sys.path.pop(0)  # this file's directory: in it, the package's name is this file's
    hyperqueue = importlib.import_module(_PACKAGE)
    cluster_module = importlib.import_module(f"{_PACKAGE}.cluster")
    configuration = cluster_module.WorkerConfig(cores=cores)
    with cluster_module.LocalCluster(f"{directory}/server", configuration) as cluster:
        client = cluster.client()
        warm_up = hyperqueue.Job(default_workdir=directory)
        warm_up.program(["true"])
        client.wait_for_jobs([client.submit(warm_up)])
        job = hyperqueue.Job(default_workdir=directory)
        tasks: list[Any] = []
        for number in range(count):
            links = {"free": [], "chain": tasks[-1:], "fan-in": tasks if number == count - 1 else []}[shape]
            tasks.append(job.program(["true"], task_dir=True, deps=list(links)))
        began = time.perf_counter()
        client.wait_for_jobs([client.submit(job)])
        return time.perf_counter() - began


if __name__ == "__main__":
    with contextlib.redirect_stderr(io.StringIO()):
        seconds = _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    print(seconds)
