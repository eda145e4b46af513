"""The agent's own logs, uploaded to a container when somebody wants to know what happened on the node."""

from __future__ import annotations

import os
import stat
import urllib.parse
from functools import partial

from millpond.common.agent_protocol import UploadLogs
from millpond.common.clock import from_iso

from .cancellation import Cancellation
from .failures import RefusedError
from .http import Connections, ExchangeError

_VERSION = "2024-11-04"
#: Length of the moment that a line begins with (:mod:`.log`).
_MOMENT = len("2026-01-31T12:00:00.000Z")


def upload_logs(order: UploadLogs, log: int = 2) -> int:
    """Upload the log (an open file) where one of its messages is of the time that is asked for; returns how many.

    Blocks on the network; for a thread. Raises :class:`RefusedError` where the container does not take it.
    """
    content = _read(log)
    if not any(_is_wanted(line, order) for line in content.splitlines()):
        return 0
    try:
        url = urllib.parse.urlsplit(order.container_url)
        if url.scheme not in ("http", "https"):
            raise ValueError("The URL does not begin with http:// or https://.")
        path = f"{url.path.rstrip('/')}/{urllib.parse.quote(f'{order.directory}/agent.log')}"
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "x-ms-version": _VERSION,
            "content-type": "text/plain",
            "content-length": str(len(content)),
        }
        with Connections(Cancellation()) as connections:
            target = urllib.parse.urlunsplit(url._replace(path=path))
            connections.retry(partial(connections.put, target, headers, content))
    except (ExchangeError, ValueError) as error:
        raise RefusedError("failed", f"The log could not be uploaded. {error}") from error
    return 1


def _read(log: int) -> bytes:
    status = os.fstat(log)
    return os.pread(log, status.st_size, 0) if stat.S_ISREG(status.st_mode) else b""


def _is_wanted(line: bytes, order: UploadLogs) -> bool:
    try:
        moment = from_iso(line[:_MOMENT].decode())
    except ValueError:  # it goes on from the line before
        return False
    return order.start_time <= moment and (order.end_time is None or moment <= order.end_time)
