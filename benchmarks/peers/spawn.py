"""No scheduler at all: a loop around ``posix_spawn`` that makes a task's directories and output files.

``python -m benchmarks.peers.spawn DIRECTORY CORES COUNT`` prints the seconds that it took.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from ..environments import ROOT


def run_true(directory: Path, cores: int, count: int) -> float:
    """Seconds for as many runs of ``true``, ``cores`` at a time; in a fresh process, which forks faster."""
    command: list[str | Path] = [sys.executable, "-m", __spec__.name, directory, str(cores), str(count)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def _main(directory: str, cores: int, count: int) -> float:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    began = time.perf_counter()
    running = 0
    for number in range(count):
        task = f"{directory}/task-{number}"
        os.mkdir(task)  # noqa: PTH102 - the bare calls
        os.mkdir(f"{task}/wd")  # noqa: PTH102
        if running == cores:
            os.wait()
            running -= 1
        os.posix_spawn(
            "/bin/true",
            ["true"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, f"{task}/stdout.txt", flags, 0o644),
                (os.POSIX_SPAWN_OPEN, 2, f"{task}/stderr.txt", flags, 0o644),
            ],
        )
        running += 1
    for _ in range(running):
        os.wait()
    return time.perf_counter() - began


if __name__ == "__main__":
    print(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
