"""Which logs are uploaded, and what is said where they cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from millpond.common.agent_protocol import UploadLogs
from millpond.common.clock import HOUR, MINUTE, from_iso
from millpond.node.failures import RefusedError
from millpond.node.service_logs import upload_logs

NOON = from_iso("2026-01-31T12:00:00Z")
LOG = b"2026-01-31T12:00:00.000Z INFO begins\n  goes on\n2026-01-31T13:00:00.000Z INFO ends\n"


class Store(BaseHTTPRequestHandler):
    status = 201
    received: dict[str, bytes]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received[self.path] = body
        assert self.headers["x-ms-blob-type"] == "BlockBlob"
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def store() -> Iterator[type[Store]]:
    class OwnStore(Store):
        url = ""

    OwnStore.received = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), OwnStore)
    OwnStore.url = f"http://127.0.0.1:{server.server_port}/account/logs"
    Thread(target=server.serve_forever, daemon=True).start()
    yield OwnStore
    server.shutdown()
    server.server_close()


def upload(tmp_path: Path, url: str, start: int, end: int | None = None, log: bytes = LOG) -> int:
    file = tmp_path / "agent.log"
    file.write_bytes(log)
    handle = os.open(file, os.O_RDONLY)
    try:
        return upload_logs(UploadLogs(container_url=url, directory="a b/c", start_time=start, end_time=end), handle)
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("start", "end", "files"),
    [
        (NOON, None, 1),
        (NOON + MINUTE, None, 1),
        (NOON + HOUR + 1, None, 0),
        (NOON + MINUTE, NOON + HOUR - MINUTE, 0),
        (NOON - HOUR, NOON, 1),
        (NOON - HOUR, NOON - 1, 0),
    ],
)
def test_log_is_uploaded_if_a_message_is_of_that_time(
    tmp_path: Path, store: Any, start: int, end: int | None, files: int
) -> None:
    assert upload(tmp_path, f"{store.url}?sv=1&sig=secret", start, end) == files
    expected = {"/account/logs/a%20b/c/agent.log?sv=1&sig=secret": LOG} if files else {}
    assert store.received == expected


def test_log_without_a_message_is_not_uploaded(tmp_path: Path, store: Any) -> None:
    assert upload(tmp_path, store.url, 0, log=b"no time\n\xff\n") == 0


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_says_why_and_not_the_signature(tmp_path: Path, store: Any, status: int) -> None:
    store.status = status
    with pytest.raises(RefusedError) as refusal:
        upload(tmp_path, f"{store.url}?sig=secret", 0)
    assert (refusal.value.code, "secret" in str(refusal.value)) == ("failed", False)
    assert str(status) in str(refusal.value)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/y", "http://[/", ""])
def test_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(RefusedError):
        upload(tmp_path, url, 0)
