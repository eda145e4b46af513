"""Uploads to a real HTTP server that misbehaves as told."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millpond.common.agent_protocol import FailureInfo
from millpond.node import http, upload
from millpond.node.cancellation import Cancellation
from millpond.node.documents import OutputContainer, OutputDestination, OutputFile, OutputUploadOptions, UploadHeader
from millpond.node.users import Credentials

SAS = "sv=2021-12-02&sig=secret%2Bsignature"


class _Handler(BaseHTTPRequestHandler):
    server: BlobServer

    def do_PUT(self) -> None:
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.server.arrived.set()
        what = urllib.parse.urlsplit(self.path).path.removeprefix("/").partition("/")[0]
        if what == "stalled":
            self.server.released.wait(30)
            return
        if what == "rude":  # answers before it has read, and hangs up
            self._answer(403)
            self.close_connection = True
            return
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if what == "cut" or (what == "twice" and len(self.server.requests) < 3):
            self.close_connection = True
        elif what.isdigit():
            self._answer(int(what))
        elif len(body) == size:
            self.server.bodies[urllib.parse.unquote(self.path)] = body
            self._answer(201)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("x-ms-error-code", "SomeCode")
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class BlobServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.bodies: dict[str, bytes] = {}
        self.arrived = threading.Event()
        #: Lets go of the answers that are held back.
        self.released = threading.Event()

    def url(self, container: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{container}?{SAS}"


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


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "task" / "wd").mkdir(parents=True)
    (tmp_path / "task" / "wd" / "file").write_bytes(b"content")
    return tmp_path.resolve() / "task"


def output(pattern: str, url: str, path: str | None = None, **headers: str) -> OutputFile:
    pairs = [UploadHeader(name.replace("_", "-"), value) for name, value in headers.items()]
    return OutputFile(
        pattern, OutputDestination(OutputContainer(url, path, pairs)), OutputUploadOptions("taskcompletion")
    )


def upload_from(task: Path, *files: OutputFile, cancelled: Cancellation | None = None) -> FailureInfo | None:
    work = upload.Upload(list(files), str(task), str(task.parent), {}, Credentials(None))
    return upload.upload_all(work, cancelled or Cancellation())


def test_small_file_is_put_in_one_request_with_its_headers(task: Path, blobs: BlobServer) -> None:
    url = blobs.url("c")
    sent = output("file", url, "å b/c", Content_Type="text/x", X_Ms_Meta_K="v", Content_Length="3", Host="evil")
    assert upload_from(task, sent) is None
    assert blobs.bodies == {f"/c/å b/c?{urllib.parse.unquote(SAS)}": b"content"}
    [(path, headers)] = blobs.requests
    assert path == f"/c/%C3%A5%20b/c?{SAS}"
    assert headers["x-ms-blob-type"] == "BlockBlob"
    assert headers["x-ms-version"] == "2024-11-04"
    assert headers["x-ms-blob-content-type"] == "text/x"
    assert headers["x-ms-meta-k"] == "v"
    assert headers["host"] == f"127.0.0.1:{blobs.server_port}"


def test_empty_file_is_put(task: Path, blobs: BlobServer) -> None:
    (task / "wd" / "file").write_bytes(b"")
    assert upload_from(task, output("file", blobs.url("c"))) is None
    assert list(blobs.bodies.values()) == [b""]


def test_long_file_is_put_by_blocks_and_committed_in_order(
    task: Path, blobs: BlobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_BLOCK_SIZE", 1000)
    content = bytes(range(251)) * 11
    (task / "wd" / "file").write_bytes(content)
    headers = {"Content_Type": "text/x", "x_ms_lease_id": "lease", "x_ms_access_tier": "Cool"}
    assert upload_from(task, output("file", blobs.url("c"), **headers)) is None
    *blocks, (list_path, list_headers) = blobs.requests
    ids = [urllib.parse.parse_qs(path)["blockid"][0] for path, _ in blocks]
    assert b"".join(blobs.bodies[urllib.parse.unquote(path)] for path, _ in blocks) == content
    assert len({len(each) for each in ids}) == 1
    assert [(each["x-ms-lease-id"], "x-ms-access-tier" in each) for _, each in blocks] == [("lease", False)] * 3
    committed = blobs.bodies[urllib.parse.unquote(list_path)].decode()
    assert committed.partition("<BlockList>")[2] == f"{''.join(f'<Latest>{each}</Latest>' for each in ids)}</BlockList>"
    assert list_path.endswith(f"?{SAS}&comp=blocklist")
    assert list_headers["x-ms-blob-content-type"] == "text/x"
    assert (list_headers["x-ms-lease-id"], list_headers["x-ms-access-tier"]) == ("lease", "Cool")


@pytest.mark.parametrize(
    ("container", "tries", "code"),
    [
        ("403", 1, "FileUploadAccessDenied"),
        ("401", 1, "FileUploadAccessDenied"),
        ("404", 1, "FileUploadContainerNotFound"),
        ("400", 1, "FileUploadMiscError"),
        ("200", 1, "FileUploadMiscError"),
        ("307", 1, "FileUploadMiscError"),
        ("503", 4, "FileUploadMiscError"),
        ("429", 4, "FileUploadMiscError"),
        ("cut", 4, "FileUploadMiscError"),
        ("rude", 1, "FileUploadAccessDenied"),
        ("twice", 3, None),
    ],
)
def test_failure_names_its_code_and_only_what_may_pass_is_tried_again(
    task: Path, blobs: BlobServer, container: str, tries: int, code: str | None
) -> None:
    failure = upload_from(task, output("file", blobs.url(container)))
    assert len(blobs.requests) == tries
    assert (failure.code if failure else None) == code
    if failure:
        details = dict(failure.details)
        assert failure.category == ("servererror" if failure.code == "FileUploadMiscError" else "usererror")
        assert details["FilePath"] == f"{task}/wd/file"
        assert details["BlobUrl"] == f"{blobs.url(container).partition('?')[0]}/file"
        assert "secret" not in str(failure)
        assert "secret" not in (task / "fileuploaderr.txt").read_text()


@pytest.mark.parametrize("size", [7, 12 << 20])
def test_server_that_does_not_answer_times_out(
    task: Path, blobs: BlobServer, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(http, "_IDLE_TIMEOUT_S", 0.1)
    (task / "wd" / "file").write_bytes(bytes(size))
    failure = upload_from(task, output("file", blobs.url("stalled")))
    assert failure is not None
    assert failure.code == "FileUploadTimedOut"
    assert len(blobs.requests) == 4


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "ftp://host/x", "http://[broken/x", "no url at all", "http://nowhere.invalid/x"]
)
def test_url_that_leads_nowhere_fails_the_upload(task: Path, blobs: BlobServer, url: str) -> None:
    failure = upload_from(task, output("file", url), output("file", blobs.url("c")))
    assert failure is not None
    assert failure.code == "FileUploadMiscError"
    assert len(blobs.bodies) == 1, "the other destination has its file"


def test_header_that_cannot_be_sent_fails_the_upload(task: Path, blobs: BlobServer) -> None:
    failure = upload_from(task, output("file", blobs.url("c"), X_Ms_Meta_K="a\r\nhost: b"))
    assert failure is not None
    assert failure.code == "FileUploadMiscError"
    assert blobs.requests == []


def test_upload_that_waits_for_the_server_is_cancelled_at_once(task: Path, blobs: BlobServer) -> None:
    cancellation = Cancellation()
    results: list[FailureInfo | None] = []
    file = output("file", blobs.url("stalled"))
    thread = threading.Thread(target=lambda: results.append(upload_from(task, file, cancelled=cancellation)))
    thread.start()
    assert blobs.arrived.wait(20)
    cancellation.set()
    thread.join(20)
    assert not thread.is_alive()
    assert results == [None]
    assert len(blobs.requests) == 1


@pytest.mark.parametrize("obstacle", ["link", "directory", "file"])
def test_what_a_task_puts_in_the_place_of_the_records_is_not_written_to(
    task: Path, blobs: BlobServer, obstacle: str
) -> None:
    record = task / "fileuploadout.txt"
    precious = task.parent / "precious"
    precious.write_text("precious")
    if obstacle == "link":
        record.symlink_to(precious)
    elif obstacle == "directory":
        record.mkdir()
    else:
        record.hardlink_to(precious)
    assert upload_from(task, output("file", blobs.url("c"))) is None
    assert len(blobs.bodies) == 1
    assert precious.read_text() == "precious"
    assert obstacle == "directory" or "Uploaded" in record.read_text()


def test_names_that_are_no_text_are_told_as_text(task: Path, blobs: BlobServer) -> None:
    (task / "wd" / "bad\udcff").touch()
    failure = upload_from(task, output("bad*", blobs.url("404")))
    assert failure is not None
    assert dict(failure.details)["FilePath"] == f"{task}/wd/bad\ufffd"
