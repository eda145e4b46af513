"""A plugin of pytest: every name under ``localhost`` is this machine, also where its resolver does not know that."""

from __future__ import annotations

import socket
from typing import Any

_resolve = socket.getaddrinfo


def _resolve_local(host: Any, *arguments: Any, **options: Any) -> Any:
    return _resolve("127.0.0.1" if str(host).endswith(".localhost") else host, *arguments, **options)


def pytest_configure() -> None:
    socket.getaddrinfo = _resolve_local
