"""A real ``millpond serve`` for tests, started and stopped as a user does."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import psutil

#: Seconds that a stop may take.
STOP_LIMIT_S = 5.0
#: Seconds that a start may take on a machine that is busy with other tests.
_START_LIMIT_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server that is ready, and what its clients need to know."""

    process: subprocess.Popen[str]
    data: Path
    #: What it prints on stderr.
    log: Path
    #: The line that it printed when it was ready.
    ready_line: str
    #: ``BATCH_ACCOUNT_NAME`` and so on, as ``millpond credentials`` gives them.
    credentials: dict[str, str]

    @property
    def batch_url(self) -> str:
        return self.credentials["BATCH_ACCOUNT_URL"]

    @property
    def blob_url(self) -> str:
        """The account's URL, which ends with the account's name."""
        return self.credentials["STORAGE_ACCOUNT_URL"]

    def service_pid(self, name: str) -> int:
        """The process id of the service ``batch`` or ``blob`` as it runs now."""
        state = msgspec.json.decode((self.data / "server.json").read_bytes())
        return int(state["processes"][name])

    def stop(self) -> None:
        """Stop it by SIGTERM, and assert that it does so cleanly, in time, and leaves no process behind."""
        descendants = psutil.Process(self.process.pid).children(recursive=True)
        asked_at = time.monotonic()
        self.process.terminate()
        try:
            exit_code = self.process.wait(STOP_LIMIT_S * 2)
        finally:
            self.kill()
        took_s = time.monotonic() - asked_at
        assert exit_code == 0, f"exit code {exit_code}\n{self.log.read_text()}"
        assert took_s < STOP_LIMIT_S, f"the stop took {took_s:.1f} s"
        assert not [each for each in descendants if _is_alive(each)]
        assert not (self.data / "server.json").exists()

    def kill_all(self) -> None:
        """End it and all that it started by SIGKILL."""
        _kill_tree(self.process.pid)
        self.kill()

    def kill(self) -> None:
        """End it by SIGKILL where it still runs."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def start_server(data: Path, *options: str, env: Mapping[str, str] | None = None) -> Server:
    """Start a server on free ports (unless ``options`` name others) and wait until it is ready.

    Raises ``AssertionError`` with what it printed where it ends instead.
    """
    log = data.parent / f"{data.name}.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [*_MILLPOND, "serve", "--data", str(data), "--batch-port", "0", "--blob-port", "0", *options],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    ready_line = _first_line(process.stdout)
    if not ready_line:
        process.kill()
        exit_code = process.wait()
        process.stdout.close()
        raise AssertionError(f"the server did not start (exit code {exit_code}):\n{log.read_text()}")
    return Server(process, data, log, ready_line, millpond_credentials(data))


@contextmanager
def running_server(data: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server for a ``with`` block, which ends with a clean stop, or with SIGKILL where the block fails."""
    server = start_server(data, *options, env=env)
    try:
        yield server
    except BaseException:
        server.kill_all()
        raise
    server.stop()


def millpond(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, whatever its exit code."""
    return subprocess.run(
        [*_MILLPOND, *arguments],
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def millpond_credentials(data: Path) -> dict[str, str]:
    """What ``millpond credentials`` says of a data directory."""
    done = millpond("credentials", "--data", data, "--format", "json")
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=dict[str, str])


_MILLPOND = (sys.executable, "-m", "millpond.cli")


def _first_line(output: IO[str]) -> str:
    """What comes first, or nothing where that is the end or takes too long."""
    readable, _, _ = select.select([output], [], [], _START_LIMIT_S)
    return output.readline() if readable else ""


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill_tree(pid: int) -> None:
    for process in psutil.Process(pid).children(recursive=True):
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
