"""Requests for unit tests, made without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from millpond.blob.request import Request
from millpond.common.config import AccountKeys, Accounts


def make_accounts(data: Path, *names: str) -> Accounts:
    accounts = Accounts(data)
    for name in names:
        accounts.put("storage", name, AccountKeys.generate())
    return accounts


def make_request(
    method: str = "GET",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    host: str = "127.0.0.1:10000",
    sent_names: bool = True,
) -> Request:
    """A request with these headers, whose names the server tells as they were sent, or does not."""
    named = {"Host": host, **(headers or {})}
    names = [name.encode() for name in named]
    return Request(
        {
            "method": method,
            "scheme": "http",
            "client": ("127.0.0.1", 5),
            "raw_path": path.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()],
            "extensions": {"millpond.header_names": names} if sent_names else {},
        }
    )
