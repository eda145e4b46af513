"""What is left of uploads when the service is killed in their midst."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import http.client
import itertools
import os
import random
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.servers import Server, millpond, running_server, start_server
from tests.wire.blob.raw import VERSION, RawClient

#: From a row to several files' worth.
SIZES = [0, 100, 32 << 10, 33 << 10, 300 << 10, 3 << 20]
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}


class Uploader(threading.Thread):
    """Puts, copies, appends to and deletes blobs under names of its own until the service is gone."""

    def __init__(self, raw: RawClient, number: int, seed: int) -> None:
        super().__init__()
        self.raw = raw
        self.number = number
        self.random = random.Random(f"{seed} {number}")
        #: Digests by name: of what was acknowledged, and of what may have been stored when the end came.
        self.stored: dict[str, str | None] = {}
        self.open: tuple[str, str | None] | None = None
        self.acknowledged = 0
        #: The append blob of this life, and what was appended to it.
        self.log = f"{number}-log-{seed}"
        self.appended = hashlib.md5()

    def run(self) -> None:
        try:
            while True:
                self.change_something()
        except (OSError, ValueError, AssertionError):
            return  # killed

    def change_something(self) -> None:
        name = f"{self.number}-{self.random.randrange(8)}"
        path = self.raw.path(f"cont/{name}")
        act = self.random.choice(["put", "put", "blocks", "delete", "copy", "append", "pages"])
        data = self.random.randbytes(self.random.choice(SIZES))
        if act == "copy":
            return self.copy(name)
        if act == "append":
            return self.append(data)
        if act == "pages":
            return self.put_pages(name, data[: 64 << 10])
        self.open = (name, None if act == "delete" else hashlib.md5(data).hexdigest())
        if act == "put":
            assert self.raw.signed("PUT", path, BLOCK_BLOB, data).status == 201
        elif act == "delete":
            assert self.raw.signed("DELETE", path).status in (202, 404)
        else:
            half = len(data) // 2 or len(data)
            pieces = [piece for piece in (data[:half], data[half:]) if piece]
            ids = [base64.b64encode(bytes([index])).decode() for index in range(len(pieces))]
            for block_id, piece in zip(ids, pieces, strict=True):
                quoted = block_id.replace("=", "%3D").replace("+", "%2B")
                assert self.raw.signed("PUT", f"{path}?comp=block&blockid={quoted}", {}, piece).status == 201
            listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
            document = f"<BlockList>{listed}</BlockList>".encode()
            assert self.raw.signed("PUT", f"{path}?comp=blocklist", {}, document).status == 201
        self.note()

    def copy(self, name: str) -> None:
        source = self.random.choice(sorted(self.stored) or [name])
        self.open = (name, self.stored.get(source))
        url = f"http://{self.raw.host}:{self.raw.port}{self.raw.path(f'cont/{source}')}"
        answer = self.raw.signed("PUT", self.raw.path(f"cont/{name}"), {"x-ms-copy-source": url})
        if self.stored.get(source) is None:
            assert answer.status in (404, 409)
            self.open = None
        else:
            assert answer.status == 202
            self.note()

    def append(self, data: bytes) -> None:
        path = self.raw.path(f"cont/{self.log}")
        if self.log not in self.stored:
            self.open = (self.log, self.appended.hexdigest())
            assert self.raw.signed("PUT", path, {"x-ms-blob-type": "AppendBlob"}).status == 201
            self.note()
        if data:
            self.appended.update(data)
            self.open = (self.log, self.appended.hexdigest())
            assert self.raw.signed("PUT", f"{path}?comp=appendblock", {}, data).status == 201
            self.note()

    def put_pages(self, name: str, data: bytes) -> None:
        path, size = self.raw.path(f"cont/{name}"), len(data) // 512 * 512
        self.open = (name, hashlib.md5(bytes(size)).hexdigest())
        head = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(size)}
        assert self.raw.signed("PUT", path, head).status == 201
        self.note()
        if size:
            self.open = (name, hashlib.md5(data[:size]).hexdigest())
            pages = {"x-ms-page-write": "update", "x-ms-range": f"bytes=0-{size - 1}"}
            assert self.raw.signed("PUT", f"{path}?comp=page", pages, data[:size]).status == 201
            self.note()

    def note(self) -> None:
        """The last change was acknowledged."""
        assert self.open
        self.stored[self.open[0]] = self.open[1]
        self.open = None
        self.acknowledged += 1


def killed(server: Server) -> None:
    """One of the service's processes dies at once, and then everything of that server."""
    first = psutil.Process(server.service_pid("blob"))
    random.choice([first, *first.children()]).kill()
    time.sleep(random.choice([0, 0, 0.02, 0.2]))
    server.kill_all()


def files_on_disk(data: Path) -> set[str]:
    places = (data / "blob" / "content", data / "blob" / "incoming")
    return {path.name for place in places for path in place.rglob("*") if path.is_file()}


def files_in_rows(data: Path) -> set[str]:
    connection = sqlite3.connect(data / "blob" / "blob.db")
    query = "SELECT file FROM segment WHERE file IS NOT NULL UNION SELECT file FROM block WHERE file IS NOT NULL"
    found = {row[0] for row in connection.execute(query)}
    connection.close()
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def check(server: Server, uploaders: list[Uploader]) -> int:
    """That every blob is as its uploader last heard, or as it last asked for. How many there are."""
    raw = RawClient.of(server.credentials)
    count = 0
    for uploader in uploaders:
        for name in {*uploader.stored, *([uploader.open[0]] if uploader.open else [])}:
            answer = raw.signed("GET", raw.path(f"cont/{name}"))
            found = hashlib.md5(answer.body).hexdigest() if answer.status == 200 else None
            allowed = {uploader.stored.get(name)}
            if uploader.open and uploader.open[0] == name:
                allowed.add(uploader.open[1])
            assert found in allowed, name
            uploader.stored[name] = found
            count += found is not None
        uploader.open = None
    return count


def test_a_kill_at_any_moment_loses_no_blob_and_leaves_no_file(data: Path) -> None:
    kill_again_and_again(data, changes=40)


@pytest.mark.slow
def test_a_thousand_changes_and_kills_lose_no_blob_and_leave_no_file(data: Path) -> None:
    kill_again_and_again(data, changes=1000)


def kill_again_and_again(data: Path, *, changes: int) -> None:
    """Until so many changes were acknowledged, but five times at least."""
    seed = time.time_ns()
    print("seed", seed)
    moments = random.Random(seed)
    server = start_server(data, "--only", "blob")
    try:
        raw = RawClient.of(server.credentials)
        assert raw.signed("PUT", raw.path("cont?restype=container")).status == 201
        stored: list[dict[str, str | None]] = [{} for _ in range(4)]
        present = acknowledged = 0
        for round_number in itertools.count():
            if round_number >= 5 and acknowledged >= changes:
                break
            raw = RawClient.of(server.credentials)
            uploaders = [Uploader(raw, number, seed + round_number) for number in range(4)]
            for uploader, known in zip(uploaders, stored, strict=True):
                uploader.stored = known
                uploader.start()
            time.sleep(moments.uniform(0.2, 1))
            killed(server)
            for uploader in uploaders:
                uploader.join()
            server = start_server(data, "--only", "blob")
            present += check(server, uploaders)
            acknowledged += sum(uploader.acknowledged for uploader in uploaders)
            deadline = time.monotonic() + 30
            while files_on_disk(data) != files_in_rows(data) and time.monotonic() < deadline:
                time.sleep(0.05)  # what was deleted before the end is being unlinked
            assert files_on_disk(data) == files_in_rows(data)
            assert not any((data / "blob" / "incoming").iterdir())
        assert present > 20
        print(f"{acknowledged} changes acknowledged, {round_number} kills")
    finally:
        killed(server)
    assert (done := millpond("blob", "fsck", "--deep", "--data", data)).returncode == 0, done.stdout


def test_a_copy_of_a_stopped_servers_data_opens(data: Path, tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    with running_server(data, "--only", "blob") as server:
        raw = RawClient.of(server.credentials)
        raw.signed("PUT", raw.path("cont?restype=container"))
        for name, content in (("small", b"hello"), ("large", large)):
            raw.signed("PUT", raw.path(f"cont/{name}"), BLOCK_BLOB, content)
    shutil.copytree(data, tmp_path / "copy")
    with running_server(tmp_path / "copy", "--only", "blob") as server:
        raw = RawClient.of(server.credentials)
        assert raw.signed("GET", raw.path("cont/small")).body == b"hello"
        assert raw.signed("GET", raw.path("cont/large")).body == large


GIB = 1 << 30
SLICE = os.urandom(1 << 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_gibibytes_pass_through_little_memory(data: Path) -> None:
    with running_server(data, "--only", "blob") as server:
        raw = RawClient.of(server.credentials)
        raw.signed("PUT", raw.path("cont?restype=container"))
        send(raw, raw.path("cont/one"), 5 * GIB)
        ids = [base64.b64encode(f"{number:03}".encode()).decode() for number in range(80)]
        for block_id in ids:
            send(raw, raw.path(f"cont/blocks?comp=block&blockid={block_id}"), 5 * GIB // len(ids))
        document = f"<BlockList>{''.join(f'<Latest>{block_id}</Latest>' for block_id in ids)}</BlockList>"
        assert raw.signed("PUT", raw.path("cont/blocks?comp=blocklist"), {}, document.encode()).status == 201
        for name in ("one", "blocks"):
            assert receive(raw, raw.path(f"cont/{name}")) == 5 * GIB
        first = psutil.Process(server.service_pid("blob"))
        statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in (first, *first.children())]
    peaks_kib = [int(status.partition("VmHWM:")[2].split()[0]) for status in statuses]
    assert sum(peaks_kib) < 150 << 10, peaks_kib


def send(raw: RawClient, path: str, size: int) -> None:
    """A PUT whose body is made while it is sent."""
    headers = {**BLOCK_BLOB, "x-ms-version": VERSION, "x-ms-date": email.utils.formatdate(usegmt=True)}
    headers["content-length"] = str(size)
    headers["authorization"] = f"SharedKey {raw.account}:{raw.sign('PUT', path, headers)}"
    connection = http.client.HTTPConnection(raw.host, raw.port, timeout=300)
    body = (SLICE[: min(len(SLICE), size - start)] for start in range(0, size, len(SLICE)))
    connection.request("PUT", path, body, headers)
    assert connection.getresponse().status == 201
    connection.close()


def receive(raw: RawClient, path: str) -> int:
    """How many bytes a GET brings, each checked to be the right one."""
    headers = {"x-ms-version": VERSION, "x-ms-date": email.utils.formatdate(usegmt=True)}
    headers["authorization"] = f"SharedKey {raw.account}:{raw.sign('GET', path, headers)}"
    connection = http.client.HTTPConnection(raw.host, raw.port, timeout=300)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    size = 0
    while piece := answer.read(len(SLICE)):
        begin = size % len(SLICE)
        assert piece == (SLICE[begin:] + SLICE)[: len(piece)]
        size += len(piece)
    connection.close()
    return size


@pytest.mark.parametrize("content", [b"no database at all, and longer than the head of one would be" * 100, None])
def test_a_database_that_cannot_be_used_is_one_clear_line(data: Path, content: bytes | None) -> None:
    with running_server(data, "--only", "blob"):
        pass
    database = data / "blob" / "blob.db"
    if content:
        database.write_bytes(content)
    else:
        connection = sqlite3.connect(database)
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
    with pytest.raises(AssertionError, match=rf"exit code 1.*\n.*cannot use {data / 'blob'}: (file|its database) is"):
        start_server(data, "--only", "blob")
    assert "Traceback" not in (data.parent / f"{data.name}.log").read_text()
