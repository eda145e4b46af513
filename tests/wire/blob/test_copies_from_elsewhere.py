"""Copies whose source is another HTTP server: they go on in the background, and begin anew after a crash."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobProperties,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
)
from tests.servers import Server, start_server
from tests.wire.blob.test_durability import files_in_rows, files_on_disk, killed

CONTENT = os.urandom((3 << 20) + 5)
_TIMEOUT_S = 30.0
MATCH = MatchConditions.IfNotModified


class Source(http.server.ThreadingHTTPServer):
    """Serves one content at every path; at ``/held`` it stops halfway until it is let go on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.gate = threading.Event()
        self.requests: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Source

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        begin, end = 0, len(CONTENT)
        if wanted := self.headers["range"]:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), int(last) + 1 if last else end
        self.send_response(206 if wanted else 200)
        self.send_header("content-length", str(end - begin))
        self.send_header("content-type", "text/plain")
        self.send_header("x-ms-meta-a", "1")
        self.end_headers()
        try:
            if self.path == "/held":
                self.wfile.write(CONTENT[begin : begin + 100_000])
                begin += 100_000
                self.server.gate.wait(_TIMEOUT_S)
            if self.path != "/short":
                self.wfile.write(CONTENT[begin:end])
        except OSError:
            self.close_connection = True  # the copy was given up

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def source() -> Iterator[Source]:
    with Source() as source:
        thread = threading.Thread(target=source.serve_forever, args=(0.02,))
        thread.start()
        yield source
        source.gate.set()
        source.shutdown()
        thread.join()


def ended(blob: BlobClient) -> BlobProperties:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        properties = blob.get_blob_properties()
        if properties.copy.status != "pending":
            return properties
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_copy_goes_on_after_its_answer(source: Source, container: ContainerClient) -> None:
    with container.get_blob_client("target") as blob:
        blob.upload_blob(b"old")
        started = blob.start_copy_from_url(source.url("held"))
        assert started["copy_status"] == "pending"
        pending = blob.get_blob_properties()
        assert (pending.size, pending.copy.status, pending.copy.id) == (0, "pending", started["copy_id"])
        assert pending.copy.progress == f"0/{len(CONTENT)}"
        with pytest.raises(HttpResponseError) as refused:
            blob.upload_blob(b"new", overwrite=True)
        assert refused.value.error_code == "PendingCopyOperation"  # type: ignore[attr-defined]
        source.gate.set()
        properties = ended(blob)
        assert (properties.copy.status, properties.copy.source) == ("success", source.url("held"))
        assert properties.copy.progress == f"{len(CONTENT)}/{len(CONTENT)}"
        assert (properties.content_settings.content_type, properties.metadata) == ("text/plain", {"a": "1"})
        assert blob.download_blob().readall() == CONTENT
        with pytest.raises(HttpResponseError) as late:
            blob.abort_copy(started)
        assert late.value.error_code == "NoPendingCopyOperation"  # type: ignore[attr-defined]


def test_an_aborted_copy_leaves_an_empty_blob(source: Source, container: ContainerClient) -> None:
    with container.get_blob_client("target") as blob:
        started = blob.start_copy_from_url(source.url("held"))
        with pytest.raises(HttpResponseError) as other:
            blob.abort_copy("1d3a1e5c-25a0-4d4e-b2d0-3f4f2a9b6c11")
        assert other.value.error_code == "CopyIdMismatch"  # type: ignore[attr-defined]
        blob.abort_copy(started)
        assert ended(blob).copy.status == "aborted"
        assert blob.download_blob().readall() == b""
        blob.upload_blob(b"new", overwrite=True)
        assert blob.get_blob_properties().copy.id is None


def test_a_source_that_cannot_be_read_fails_the_copy(source: Source, container: ContainerClient) -> None:
    with container.get_blob_client("target") as blob:
        for path in ("missing", "held"):
            url = source.url(path) if path == "missing" else "http://127.0.0.1:1/x"
            with pytest.raises(HttpResponseError) as refused:
                blob.start_copy_from_url(url)
            assert refused.value.error_code == "CannotVerifyCopySource"  # type: ignore[attr-defined]
        assert not blob.exists()


def test_a_source_that_ends_early_fails_in_the_background(source: Source, container: ContainerClient) -> None:
    with container.get_blob_client("target") as blob:
        blob.start_copy_from_url(source.url("short"))
        properties = ended(blob)
        assert properties.copy.status == "failed"
        assert properties.copy.status_description
        assert properties.size == 0


def test_what_is_copied_while_the_request_waits(source: Source, container: ContainerClient) -> None:
    with container.get_blob_client("target") as blob:
        done = blob.start_copy_from_url(source.url("x"), requires_sync=True)
        assert done["copy_status"] == "success"
        assert blob.download_blob().readall() == CONTENT
        blob.upload_blob_from_url(source.url("x"), overwrite=True, content_settings=ContentSettings("image/png"))
        found = blob.get_blob_properties()
        assert found.content_settings.content_type == "image/png"
        assert found.content_settings.content_md5 == bytearray(hashlib.md5(CONTENT).digest())
        blob.stage_block_from_url("1", source.url("x"), 10, 20)
        blob.commit_block_list([BlobBlock("1")])
        assert blob.download_blob().readall() == CONTENT[10:30]
        with pytest.raises(ResourceModifiedError):
            blob.upload_blob_from_url(source.url("x"), etag='"0x1"', match_condition=MATCH, overwrite=True)


def test_a_copy_begins_anew_after_a_crash(source: Source, tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start_server(data, "--only", "blob")
    try:
        with client(server) as service, service.create_container("cont") as container:
            container.get_blob_client("target").start_copy_from_url(source.url("held"))
        killed(server)
        source.gate.set()
        server = start_server(data, "--only", "blob")
        with client(server) as service, service.get_blob_client("cont", "target") as blob:
            assert ended(blob).copy.status == "success"
            assert blob.download_blob().readall() == CONTENT
        assert source.requests.count("/held") >= 2
        deadline = time.monotonic() + _TIMEOUT_S
        while files_on_disk(data) != files_in_rows(data) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert files_on_disk(data) == files_in_rows(data)
    finally:
        killed(server)


def test_names_of_azure_lead_to_accounts_of_the_same_name(container: ContainerClient, blob_server: Server) -> None:
    account = blob_server.credentials["STORAGE_ACCOUNT_NAME"]
    with container.get_blob_client("a") as blob, container.get_blob_client("b") as target:
        blob.upload_blob(CONTENT)
        target.start_copy_from_url(f"https://{account}.blob.core.windows.net/{container.container_name}/a")
        assert target.download_blob().readall() == CONTENT


def client(server: Server) -> BlobServiceClient:
    return BlobServiceClient.from_connection_string(server.credentials["STORAGE_CONNECTION_STRING"], retry_total=0)
