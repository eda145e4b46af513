"""A full disk, and several writers of one blob."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.servers import Server, millpond_credentials
from tests.wire.blob.raw import Answer, RawClient

MIB = 1 << 20
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}


def may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def server_on_small_disk(data: Path, size: int) -> Iterator[Server]:
    """A Blob service whose rows and files are on a disk of that many bytes, which goes with it."""
    place = data / "blob"
    place.mkdir(parents=True)
    mount = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
    serve = [sys.executable, "-m", "millpond.cli", "serve", "--only", "blob", "--blob-port", "0", "--data", str(data)]
    log = data.parent / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount, "sh", str(size), str(place), *serve],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout
        ready = process.stdout.readline()
        assert ready, log.read_text()
        server = Server(process, data, log, ready, millpond_credentials(data))
        try:
            yield server
        except BaseException:
            server.process.terminate()
            raise
        server.stop()


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount a file system (unshare --mount)")
def test_a_full_disk_loses_nothing_and_is_no_end(tmp_path: Path) -> None:
    with server_on_small_disk(tmp_path / "data", 48 * MIB) as server:
        raw = RawClient.of(server.credentials)
        assert raw.signed("PUT", raw.path("cont?restype=container")).status == 201
        stored: dict[str, bytes] = {}

        def put(name: str, size: int) -> Answer:
            content = os.urandom(size)
            answer = raw.signed("PUT", raw.path(f"cont/{name}"), BLOCK_BLOB, content)
            if answer.status == 201:
                stored[name] = hashlib.md5(content).digest()
            return answer

        def check() -> None:
            for name, digest in stored.items():
                answer = raw.signed("GET", raw.path(f"cont/{name}"))
                assert answer.status == 200
                assert hashlib.md5(answer.body).digest() == digest
            listed = raw.signed("GET", raw.path("cont?restype=container&comp=list"))
            assert {node.text for node in listed.xml.iterfind("./Blobs/Blob/Name")} == set(stored)
            incoming = Path(f"/proc/{server.process.pid}/root{server.data}/blob/incoming")
            assert not any(incoming.iterdir())

        for size in (5 * MIB, 100 << 10, 20 << 10):  # files, smaller ones, and rows
            for number in range(2000):
                answer = put(f"{size}-{number}", size)
                if answer.status != 201:
                    break
            assert answer.outcome == (503, "ServerBusy")
            assert answer.detail("Reason") == "The disk of the service is full."
            assert put(f"{5 * MIB}-0", 5 * MIB).outcome == (503, "ServerBusy")  # the old one stays
            check()
        for number in range(2):
            name = f"{5 * MIB}-{number}"
            assert raw.signed("DELETE", raw.path(f"cont/{name}")).status == 202
            del stored[name]
        assert put("after", MIB).status == 201
        check()
        log = server.log.read_text()
        assert "the disk is full" in log
        assert "Traceback" not in log


def test_of_several_writers_one_wins_whole(raw: RawClient, blob_server: Server) -> None:
    container = raw.path("writers")
    raw.signed("PUT", f"{container}?restype=container")
    contents = [bytes([number]) * (3 * MIB + number) for number in range(6)]

    def put(content: bytes) -> Answer:
        return raw.signed("PUT", f"{container}/one", BLOCK_BLOB, content)

    def replace(content: bytes) -> Answer:
        return raw.signed("PUT", f"{container}/one", {**BLOCK_BLOB, "if-match": etag}, content)

    def make(content: bytes) -> Answer:
        return raw.signed("PUT", f"{container}/new", {**BLOCK_BLOB, "if-none-match": "*"}, content)

    with ThreadPoolExecutor(len(contents)) as threads:
        assert {answer.status for answer in threads.map(put, contents)} == {201}
        assert raw.signed("GET", f"{container}/one").body in contents
        etag = raw.signed("HEAD", f"{container}/one").headers["etag"]
        for write, name, refusal in (
            (replace, "one", (412, "ConditionNotMet")),
            (make, "new", (409, "BlobAlreadyExists")),
        ):
            answers = list(threads.map(write, contents))
            outcomes = [answer.outcome for answer in answers]
            assert sorted(outcomes) == sorted([(201, ""), *[refusal] * (len(contents) - 1)])
            winner = contents[outcomes.index((201, ""))]
            assert raw.signed("GET", f"{container}/{name}").body == winner
