"""Requests as handlers see them, without a server."""

from __future__ import annotations

from collections.abc import Mapping

from millpond.batch.api.http import Call, parse_query
from millpond.common.clock import from_http

#: When the recorded requests were sent, nearly.
NOW = from_http("Sun, 22 Nov 2026 14:00:21 GMT")


def make_call(
    method: str = "GET",
    target: str = "/pools?api-version=2025-06-01",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    now: int = NOW,
    version: str = "2025-06-01",
) -> Call:
    raw_path, _, raw_query = target.partition("?")
    return Call(
        method=method,
        raw_path=raw_path,
        query=parse_query(raw_query),
        raw_query=raw_query,
        headers={name.lower(): value for name, value in (headers or {}).items()},
        base_url="http://127.0.0.1:10100",
        request_id="0c95a458-e67d-11f1-bd57-02fc00000001",
        now=now,
        account="myacct",
        version=version,
        body=body,
    )
