"""The data directory as the command line sees it: one server at a time, and where that server is reached."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from millpond.common.config import Accounts, Settings

from .errors import CommandError

#: How long a new server waits for what a killed one left behind to end: its services stop within 5 s.
_TAKEOVER_S = 8.0


class RunningServer(msgspec.Struct, frozen=True):
    """A server that has the directory now, as its ``server.json`` says."""

    #: The supervisor's process id, and those of the services by name (``batch``, ``blob``).
    pid: int
    processes: dict[str, int]
    #: Base URLs; ``None`` for a service that does not run.
    batch_url: str | None = None
    blob_url: str | None = None


@contextmanager
def locked(data: Path) -> Iterator[int]:
    """Make the directory, readable by its owner alone, and keep every other server out of it meanwhile.

    Gives the lock's file descriptor: the lock lasts until every process that has it has closed it or ended.
    Raises ``CommandError`` where the directory cannot be used or another server has it.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (data / "accounts.json").exists() or not any(data.iterdir()):  # never on a directory of someone else's
            data.chmod(0o700)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(f"cannot use the data directory {data}: {error.strerror}") from error
    try:
        _take(lock, data)
        yield lock
    finally:
        os.close(lock)


def open_accounts(data: Path, *, with_defaults: bool = False) -> Accounts:
    """The accounts of the directory, after making one of each kind where there is none ``with_defaults``.

    Raises ``CommandError`` where the accounts file cannot be read, or written where that is needed.
    """
    accounts = Accounts(data)
    try:
        accounts.names("batch")
        if with_defaults:
            accounts.ensure_defaults()
    except OSError as error:
        raise CommandError(f"cannot use the data directory {data}: {error.strerror}") from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise CommandError(f"{accounts.path} is damaged: {error}") from error
    return accounts


def running_server(data: Path) -> RunningServer | None:
    """The server that has this directory, if it is up and answers."""
    try:
        lock = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(data)
    finally:
        os.close(lock)
    return None


def publish(data: Path, server: RunningServer) -> None:
    """Say where the server is reached: others see the old statement or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=data, prefix=".server.")
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(server), indent=2))
    Path(temporary).replace(data / "server.json")


def withdraw(data: Path) -> None:
    """The opposite of :func:`publish`."""
    (data / "server.json").unlink(missing_ok=True)


def service_url(settings: Settings, port: int) -> str:
    """The URL under which this machine reaches a service that listens on that port."""
    host, scheme = settings.host, "https" if settings.tls else "http"
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1" if host != "::" else "::1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def expected_server(settings: Settings) -> RunningServer:
    """Where a server with these settings will be reached, for when none runs."""
    return RunningServer(
        pid=0,
        processes={},
        batch_url=service_url(settings, settings.batch_port),
        blob_url=service_url(settings, settings.blob_port),
    )


def _read(data: Path) -> RunningServer | None:
    try:
        return msgspec.json.decode((data / "server.json").read_bytes(), type=RunningServer)
    except (OSError, msgspec.MsgspecError):
        return None


def _take(lock: int, data: Path) -> None:
    patience = time.monotonic() + _TAKEOVER_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            server = _read(data)
            killed = server is not None and not _is_alive(server.pid)
            if not killed or time.monotonic() > patience:
                raise CommandError(f"another server is running on the data directory {data}") from None
            time.sleep(0.05)
        else:
            return


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
