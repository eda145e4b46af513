"""Azurite, the emulator of Azure Storage."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..blob_client import BlobClient
from ..environments import npm_program

_ACCOUNT = "azurite"
_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMw=="


@contextmanager
def running_azurite(directory: Path) -> Iterator[BlobClient]:
    """Its Blob service with its content on disk and its logs off, and a client for it."""
    program = npm_program("azurite", "azurite-blob")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            program,
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            "--blobPort",
            str(port),
            "--location",
            directory,
        ],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(port, process)
        yield BlobClient(f"http://127.0.0.1:{port}/{_ACCOUNT}", _ACCOUNT, _KEY)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"Azurite ended with exit code {process.returncode}") from None
            time.sleep(0.02)
