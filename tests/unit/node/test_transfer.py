"""Downloads against a real HTTP server that misbehaves as told."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millpond.common.agent_protocol import FailureInfo
from millpond.node import http, transfer
from millpond.node.cancellation import Cancellation
from millpond.node.documents import ResourceFile
from millpond.node.supplies import Supplies
from millpond.node.users import Credentials

BLOBS = {"one.txt": b"1" * 3_000_000, "dir/two.txt": b"two", "dir/deep/three å.txt": b"three", "other.txt": b"o"}
#: Not asked for anything by these tests.
SERVICE = Supplies("ws://127.0.0.1:9/agents/a/p/n", "token")
SAS = "sv=2021-12-02&sig=secret%2Bsignature"


class _Handler(BaseHTTPRequestHandler):
    server: BlobServer

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        self.server.requests.append(self.path)
        self.server.arrived.set()
        name = urllib.parse.unquote(url.path.removeprefix("/container").lstrip("/"))
        if name.startswith("status/"):
            self._answer(int(name.removeprefix("status/")), b"no")
        elif name == "slow":
            self.server.released.wait(30)
        elif name == "endless":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"a beginning")
            self.server.released.wait(30)
        elif name == "twice":
            self._answer(200 if self.server.requests.count(self.path) > 2 else 503, b"at last")
        elif name == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"not a thousand")
            self.close_connection = True
        elif "sig" not in query:
            self._answer(403, b"")
        elif query.get("comp") == ["list"]:
            self._list(query.get("prefix", [""])[0], query.get("marker", [""])[0])
        elif name in BLOBS:
            self._answer(200, BLOBS[name])
        else:
            self._answer(404, b"")

    def _list(self, prefix: str, marker: str) -> None:
        found = sorted(name for name in BLOBS if name.startswith(prefix) and name >= marker)
        more = f"<NextMarker>{found[2]}</NextMarker>" if len(found) > 2 else "<NextMarker/>"
        blobs = "".join(f"<Blob><Name>{name}</Name></Blob>" for name in found[:2])
        self._answer(200, f"<EnumerationResults><Blobs>{blobs}</Blobs>{more}</EnumerationResults>".encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class BlobServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[str] = []
        self.arrived = threading.Event()
        #: Lets go of the answers that are held back.
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/container"


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[BlobServer]:
    monkeypatch.setattr(http, "_FIRST_PAUSE_S", 0.01)
    server = BlobServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(
    directory: Path, *files: ResourceFile, cancelled: bool = False, service: Supplies = SERVICE
) -> FailureInfo | None:
    cancellation = Cancellation()
    if cancelled:
        cancellation.set()
    return transfer.fetch_all(list(files), str(directory), Credentials(None), service, cancellation)


def found(directory: Path) -> dict[str, bytes]:
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def test_file_by_url_lands_at_its_path_with_its_mode(tmp_path: Path, blobs: BlobServer) -> None:
    url = f"{blobs.url}/one.txt?{SAS}"
    assert (
        fetch(
            tmp_path,
            ResourceFile(http_url=url, file_path="in/data.txt", file_mode="0640"),
            ResourceFile(http_url=url),
            ResourceFile(http_url=url, file_path="sloppy", file_mode="rwx"),
        )
        is None
    )
    assert found(tmp_path) == dict.fromkeys(["in/data.txt", "one.txt", "sloppy"], BLOBS["one.txt"])
    modes = {name: (tmp_path / name).stat().st_mode & 0o7777 for name in found(tmp_path)}
    assert modes == {"in/data.txt": 0o640, "one.txt": 0o770, "sloppy": 0o770}


def test_container_is_listed_by_prefix_page_by_page_and_keeps_its_paths(tmp_path: Path, blobs: BlobServer) -> None:
    container = f"{blobs.url}?{SAS}"
    assert fetch(tmp_path, ResourceFile(storage_container_url=container, file_path="all")) is None
    assert fetch(tmp_path, ResourceFile(storage_container_url=container, blob_prefix="dir/")) is None
    everything = {f"all/{name}": content for name, content in BLOBS.items()}
    assert found(tmp_path) == everything | {name: BLOBS[name] for name in BLOBS if name.startswith("dir/")}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"missing?{SAS}", "BlobNotFound"),
        ("one.txt", "BlobAccessDenied"),
        ("status/401", "BlobAccessDenied"),
        ("status/400", "BlobDownloadMiscError"),
        ("status/503", "BlobDownloadMiscError"),
        ("cut", "BlobDownloadMiscError"),
    ],
)
def test_failed_download_names_its_code_and_the_url_without_the_sas(
    tmp_path: Path, blobs: BlobServer, name: str, code: str
) -> None:
    failure = fetch(tmp_path, ResourceFile(http_url=f"{blobs.url}/{name}", file_path="file"))
    assert failure is not None
    category = "servererror" if code == "BlobDownloadMiscError" else "usererror"
    assert (failure.code, failure.category) == (code, category)
    assert failure.details == (("BlobUrl", f"{blobs.url}/{name.partition('?')[0]}"),)
    assert "secret" not in str(failure)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("status/404", "ResourceContainerNotFound"),
        ("container", "ResourceContainerAccessDenied"),
        ("status/503", "ResourceContainerListMiscError"),
    ],
)
def test_container_that_cannot_be_listed_has_codes_of_its_own(
    tmp_path: Path, blobs: BlobServer, name: str, code: str
) -> None:
    failure = fetch(tmp_path, ResourceFile(storage_container_url=f"{blobs.url}/{name}", file_path="all"))
    assert failure is not None
    assert failure.code == code
    assert failure.category == ("servererror" if code.endswith("MiscError") else "usererror")


@pytest.mark.parametrize(("name", "tries"), [("status/404", 1), ("status/403", 1), ("status/503", 4), ("cut", 4)])
def test_only_what_may_pass_is_tried_again(tmp_path: Path, blobs: BlobServer, name: str, tries: int) -> None:
    fetch(tmp_path, ResourceFile(http_url=f"{blobs.url}/{name}", file_path="file"))
    assert len(blobs.requests) == tries


def test_server_that_recovers_gives_the_file(tmp_path: Path, blobs: BlobServer) -> None:
    assert fetch(tmp_path, ResourceFile(http_url=f"{blobs.url}/twice", file_path="file")) is None
    assert found(tmp_path) == {"file": b"at last"}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "ftp://host/x", "http://[broken/x", "no url at all", "http://nowhere.invalid/x"]
)
def test_url_that_leads_nowhere_fails_the_download(tmp_path: Path, blobs: BlobServer, url: str) -> None:
    failure = fetch(tmp_path, ResourceFile(http_url=url, file_path="file"))
    assert failure is not None
    assert failure.code == "BlobDownloadMiscError"


@pytest.mark.parametrize("path", ["../escaped", "/etc/escaped", "a/../../escaped", "..", "."])
def test_path_that_leads_out_is_refused_before_anything_is_fetched(
    tmp_path: Path, blobs: BlobServer, path: str
) -> None:
    (tmp_path / "wd").mkdir()
    failure = fetch(tmp_path / "wd", ResourceFile(http_url=f"{blobs.url}/other.txt?{SAS}", file_path=path))
    assert failure is not None
    assert failure.code == "ResourceFileCreateFailed"
    assert blobs.requests == []
    assert found(tmp_path) == {}


def test_path_blocked_by_a_file_fails_with_the_directorys_code(tmp_path: Path, blobs: BlobServer) -> None:
    (tmp_path / "file").touch()
    failure = fetch(tmp_path, ResourceFile(http_url=f"{blobs.url}/other.txt?{SAS}", file_path="file/below"))
    assert failure is not None
    assert failure.code == "ResourceDirectoryCreateFailed"


def test_container_of_the_account_without_linked_storage_fails(tmp_path: Path, blobs: BlobServer) -> None:
    service = Supplies(blobs.url.replace("http", "ws", 1), "token")
    failure = fetch(tmp_path, ResourceFile(auto_storage_container_name="mine"), service=service)
    assert failure is not None
    assert failure.code == "BlobDownloadMiscError"


def test_cancelled_download_stops(tmp_path: Path, blobs: BlobServer) -> None:
    assert fetch(tmp_path, ResourceFile(http_url=f"{blobs.url}/one.txt?{SAS}"), cancelled=True) is None
    assert found(tmp_path).get("one.txt", b"") == b""


@pytest.mark.parametrize("name", ["slow", "endless"])
def test_download_that_waits_for_the_server_is_cancelled_at_once(tmp_path: Path, blobs: BlobServer, name: str) -> None:
    cancellation = Cancellation()
    file = ResourceFile(http_url=f"{blobs.url}/{name}", file_path="file")
    results: list[FailureInfo | None] = []

    def work() -> None:
        results.append(transfer.fetch_all([file], str(tmp_path), Credentials(None), SERVICE, cancellation))

    thread = threading.Thread(target=work)
    thread.start()
    assert blobs.arrived.wait(20)
    cancellation.set()
    thread.join(20)
    assert not thread.is_alive()
    assert results == [None]
    assert len(blobs.requests) == 1
