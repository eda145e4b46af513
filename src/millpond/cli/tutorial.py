"""``millpond tutorial``: the tutorial's client against a server that is started for it, and stopped after it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from millpond.common.config import Settings

from .credentials import credentials
from .errors import CommandError
from .processes import end_with_parent

#: Longer than a server takes to stop by itself.
_STOP_S = 10.0


def run_tutorial(*, keep: bool, yes: bool) -> None:
    """Leave no process and no file behind, unless told to keep them.

    Raises ``CommandError`` where the server does not start or a step of the tutorial fails.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    directory = Path(tempfile.mkdtemp(prefix="millpond-tutorial-"))
    try:
        data = directory / "data"
        with _server(data, directory / "server.log", keep=keep) as server:
            _run_client(data, directory, yes=yes)
            if keep:
                _say_how_to_go_on(data, server.pid)
    finally:
        if not keep:
            shutil.rmtree(directory)


def _end(number: int, _: FrameType | None) -> None:
    """End in order, so that what was started is stopped; the signals that often come in pairs do not cut that short."""
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


@contextmanager
def _server(data: Path, log: Path, *, keep: bool) -> Iterator[subprocess.Popen[str]]:
    """A server on free ports, from when it is ready."""
    command = [
        sys.executable,
        "-m",
        "millpond.cli",
        "serve",
        "--data",
        str(data),
        "--batch-port",
        "0",
        "--blob-port",
        "0",
    ]
    with log.open("w") as errors:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # neither Ctrl-C nor the end of the terminal is for it
            preexec_fn=None if keep else partial(end_with_parent, signal.SIGTERM),  # noqa: PLW1509 - one thread only
        )
    is_done = False
    try:
        # The client's libraries take as long to load as the server takes to start.
        import azure.batch
        import azure.storage.blob  # noqa: F401

        assert server.stdout is not None  # noqa: S101
        if not (ready := server.stdout.readline()):
            raise CommandError(log.read_text().strip().rpartition("\n")[2])
        print(ready)
        yield server
        is_done = True
    finally:
        if not (keep and is_done):
            _stop(server)


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _run_client(data: Path, output: Path, *, yes: bool) -> None:
    from azure.core.exceptions import AzureError

    os.environ.update(credentials(Settings(data=data)))
    from millpond.tutorial import python_tutorial_client as client  # reads its credentials when it is loaded

    try:
        client.main(output, yes=yes)
    except (AzureError, RuntimeError) as error:
        raise CommandError(str(error)) from error


def _say_how_to_go_on(data: Path, pid: int) -> None:
    print("\nThe server goes on. To use it from this shell, and to stop it and remove its data:\n")
    print(f'  eval "$(millpond credentials --data {data} --format env)"')
    print(f"  kill {pid} && rm -r {data.parent}\n")
    for name, value in credentials(Settings(data=data)).items():
        print(f"{name:<27}{value}")
