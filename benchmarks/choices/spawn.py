"""Ways to start a task's process as another user, and an agent, from Python: what each costs.

``python -m benchmarks.choices.spawn``, as root on Linux. Each way starts ``true`` in a directory and a session of its
own, one process at a time, from a process that has loaded what an agent has; the figures are medians of turns taken by
all. The agents are started in both ways as the local provider would, up to the point where the program's own code runs.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

import millpond.node.agent
import millpond.node.transfer  # noqa: F401 - as large as an agent that has fetched files
from millpond.node.users import Credentials

from ..environments import scratch

ROUNDS = 7
COUNT = 300
_UID = 60600
_TRUE = shutil.which("true") or "/bin/true"
_ENVIRONMENT = {f"AZ_BATCH_VARIABLE_{number}": "a value of the usual length" for number in range(25)}


def _bare(directory: str) -> None:
    os.chdir(directory)
    os.waitpid(os.posix_spawn(_TRUE, ["true"], _ENVIRONMENT, setsid=True), 0)


def _switched(directory: str) -> None:
    os.chdir(directory)
    with Credentials(_UID, _UID, (_UID,)) as resets_ids:
        process = os.posix_spawn(_TRUE, ["true"], _ENVIRONMENT, setsid=True, resetids=resets_ids)
    os.waitpid(process, 0)


def _popen(directory: str) -> None:
    subprocess.Popen([_TRUE], env=_ENVIRONMENT, cwd=directory, start_new_session=True).wait()


def _popen_user(directory: str) -> None:
    subprocess.Popen(
        [_TRUE], env=_ENVIRONMENT, cwd=directory, start_new_session=True, user=_UID, group=_UID, extra_groups=[_UID]
    ).wait()


def _setpriv(directory: str) -> None:
    os.chdir(directory)
    program = shutil.which("setpriv") or "setpriv"
    words = [program, f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups", _TRUE]
    os.waitpid(os.posix_spawn(program, words, _ENVIRONMENT, setsid=True), 0)


def _fork_agent(_: str) -> None:
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)


def _run_agent(_: str) -> None:
    subprocess.run([sys.executable, "-c", "import millpond.node.agent, millpond.node.transfer"], check=True)


WAYS: dict[str, tuple[Callable[[str], None], int]] = {
    "task: posix_spawn, same user": (_bare, COUNT),
    "task: posix_spawn, thread's real user switched": (_switched, COUNT),
    "task: subprocess, same user (vfork)": (_popen, COUNT),
    "task: subprocess with user= (fork)": (_popen_user, COUNT),
    "task: posix_spawn of setpriv": (_setpriv, COUNT),
    "agent: forked by the launcher": (_fork_agent, COUNT),
    "agent: a Python of its own": (_run_agent, 3),
}


def main() -> None:
    figures: dict[str, list[float]] = {name: [] for name in WAYS}
    with scratch() as directory:
        for _ in range(ROUNDS):
            for name, (start, count) in WAYS.items():
                began = time.perf_counter()
                for _ in range(count):
                    start(str(directory))
                figures[name].append((time.perf_counter() - began) / count)
        os.chdir("/")
    table = Table("way", "median, µs", "best, µs")
    for name, seconds in figures.items():
        table.add_row(name, f"{statistics.median(seconds) * 1e6:,.0f}", f"{min(seconds) * 1e6:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
