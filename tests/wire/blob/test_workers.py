"""The Blob service as several processes: who answers, what they share, and what becomes of them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from azure.storage.blob import BlobServiceClient
from tests.servers import Server, millpond, running_server
from tests.wire.blob.raw import Answer, KeptClient, RawClient

BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
LARGE = os.urandom(8 << 20)
PROCESSES = 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "data", "--only", "blob", "--blob-workers", str(PROCESSES)) as server:
        assert RawClient.of(server.credentials).signed("PUT", container_of(server)).status == 201
        yield server


def container_of(server: Server) -> str:
    return RawClient.of(server.credentials).path("cont?restype=container")


def processes(server: Server) -> list[psutil.Process]:
    first = psutil.Process(server.service_pid("blob"))
    return [first, *first.children()]


def connections(server: Server) -> Counter[int]:
    """How many clients each process has."""
    port = RawClient.of(server.credentials).port
    return Counter(
        {
            process.pid: sum(
                each.status == "ESTABLISHED" and each.laddr.port == port for each in process.net_connections()
            )
            for process in processes(server)
        }
    )


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def kept(server: Server) -> Iterator[KeptClient]:
    """A client whose connection has just been dealt out."""
    client = KeptClient.of(server.credentials)
    assert client.signed("HEAD", client.path("cont?restype=container")).status == 200
    yield client
    client.close()


def ask(client: KeptClient, method: str, name: str, body: bytes = b"", **headers: str) -> Answer:
    return client.signed(method, client.path(name), {key.replace("_", "-"): headers[key] for key in headers}, body)


@pytest.fixture
def clients(server: Server) -> Iterator[list[KeptClient]]:
    """One at each process, the first one's first."""
    with ExitStack() as stack:
        yield [stack.enter_context(kept(server)) for _ in range(PROCESSES)]


def test_each_connection_goes_where_there_are_fewest(server: Server) -> None:
    assert len(processes(server)) == PROCESSES
    with ExitStack() as stack:
        for count in range(1, 3 * PROCESSES + 1):
            stack.enter_context(kept(server))
            assert max(connections(server).values()) == -(-count // PROCESSES)
        busiest = next(iter(processes(server))).pid
        assert connections(server)[busiest] == 3
    until(lambda: connections(server).total() == 0)
    with kept(server):  # what is over no longer counts
        assert connections(server)[busiest] == 1


def test_every_process_sees_at_once_what_another_has_written(clients: list[KeptClient]) -> None:
    for number, writer in enumerate(clients):
        for name, content in ((f"small-{number}", b"hello"), (f"large-{number}", LARGE)):
            assert ask(writer, "PUT", f"cont/{name}", content, x_ms_blob_type="BlockBlob").status == 201
            for reader in clients:
                assert ask(reader, "GET", f"cont/{name}").body == content
        assert ask(writer, "PUT", "cont/large-0", b"x", x_ms_blob_type="BlockBlob", if_none_match="*").outcome == (
            409,
            "BlobAlreadyExists",
        )
        assert ask(writer, "GET", f"cont/small-{number}", x_ms_range="bytes=9-").outcome == (416, "InvalidRange")
        assert ask(writer, "DELETE", "cont/none").outcome == (404, "BlobNotFound")


def test_blocks_and_pieces_that_come_to_several_processes_are_one_blob(clients: list[KeptClient]) -> None:
    assert ask(clients[0], "PUT", "cont/log", x_ms_blob_type="AppendBlob").status == 201
    ids = ["AAAA", "BBBB", "CCCC"]
    for client, block_id in zip(clients, ids, strict=True):
        path = f"cont/blocks?comp=block&blockid={block_id}"
        assert ask(client, "PUT", path, block_id.encode() * 1000).status == 201
        assert ask(client, "PUT", "cont/log?comp=appendblock", block_id.encode()).status == 201
    document = f"<BlockList>{''.join(f'<Latest>{each}</Latest>' for each in ids)}</BlockList>"
    assert ask(clients[2], "PUT", "cont/blocks?comp=blocklist", document.encode()).status == 201
    assert ask(clients[1], "GET", "cont/blocks").body == b"".join(each.encode() * 1000 for each in ids)
    assert ask(clients[2], "GET", "cont/log").body == b"AAAABBBBCCCC"


def test_of_writers_at_all_processes_one_wins(server: Server) -> None:
    def make(number: int) -> int:
        with kept(server) as client:
            headers = {"x_ms_blob_type": "BlockBlob", "if_none_match": "*"}
            return ask(client, "PUT", "cont/one", bytes([number]) * 100_000, **headers).status

    with ThreadPoolExecutor(12) as threads:
        assert sorted(threads.map(make, range(12))) == [201, *[409] * 11]


def test_what_a_worker_sends_is_spared_until_it_is_sent(server: Server, clients: list[KeptClient]) -> None:
    content = server.data / "blob" / "content"
    blocks = [LARGE[:: -1 if number % 2 else 1] for number in range(6)]
    ids = [f"AAA{number}" for number in range(len(blocks))]
    for block_id, block in zip(ids, blocks, strict=True):
        assert ask(clients[0], "PUT", f"cont/slow?comp=block&blockid={block_id}", block).status == 201
    document = f"<BlockList>{''.join(f'<Latest>{each}</Latest>' for each in ids)}</BlockList>"
    assert ask(clients[0], "PUT", "cont/slow?comp=blocklist", document.encode()).status == 201
    path = clients[1].path("cont/slow")
    answer = clients[1].begin("GET", path, clients[1].signed_headers("GET", path))
    found = answer.read(1 << 20)
    assert ask(clients[2], "DELETE", "cont/slow").status == 202
    assert ask(clients[2], "GET", "cont/slow").status == 404
    time.sleep(2.5)  # in which the collector looks more than once
    assert sum(path.is_file() for path in content.rglob("*")) == len(blocks)
    assert found + answer.read() == b"".join(blocks)
    until(lambda: not any(path.is_file() for path in content.rglob("*")))


class _Slow(BaseHTTPRequestHandler):
    """A source that begins to send and then waits."""

    go_on = Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)
        self.wfile.flush()
        self.go_on.wait(20)
        self.wfile.write(b"x" * 500)

    def log_message(self, *_: object) -> None:
        return None


@pytest.mark.parametrize("is_aborted", [True, False])
def test_copies_go_on_in_the_first_whoever_began_them(clients: list[KeptClient], is_aborted: bool) -> None:
    _Slow.go_on.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as source:
        Thread(target=source.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{source.server_port}/x"
        begun = ask(clients[1], "PUT", "cont/copied", x_ms_copy_source=url)
        assert (begun.status, begun.headers["x-ms-copy-status"]) == (202, "pending")
        copy_id = begun.headers["x-ms-copy-id"]
        if is_aborted:
            abort = ask(clients[2], "PUT", f"cont/copied?comp=copy&copyid={copy_id}", x_ms_copy_action="abort")
            assert abort.status == 204
        _Slow.go_on.set()
        ends = {"aborted"} if is_aborted else {"success"}
        until(lambda: ask(clients[0], "HEAD", "cont/copied").headers["x-ms-copy-status"] in ends)
        assert len(ask(clients[1], "GET", "cont/copied").body) == (0 if is_aborted else 1000)
        source.shutdown()


@pytest.mark.parametrize("victim", range(PROCESSES))
def test_all_begin_anew_where_one_is_killed(server: Server, victim: int) -> None:
    raw = RawClient.of(server.credentials)
    assert raw.signed("PUT", raw.path("cont/b"), BLOCK_BLOB, LARGE).status == 201
    before = processes(server)
    os.kill(before[victim].pid, signal.SIGKILL)
    assert psutil.wait_procs(before, timeout=10)[1] == []

    def answers() -> bool:
        try:
            return raw.signed("GET", raw.path("cont/b")).body == LARGE
        except OSError:
            return False

    until(answers)
    until(lambda: server.service_pid("blob") != before[0].pid)
    until(lambda: len(processes(server)) == PROCESSES)
    assert not any((server.data / "blob" / "incoming").iterdir())
    assert "is started again" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_a_stop_lets_requests_at_workers_end(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--only", "blob", "--blob-workers", "2") as server, ExitStack() as stack:
        raw = RawClient.of(server.credentials)
        assert raw.signed("PUT", container_of(server)).status == 201
        halves = []
        for name in ("a", "b"):
            path = raw.path(f"cont/{name}")
            headers = raw.signed_headers("PUT", path, BLOCK_BLOB, 200_000)
            sock = stack.enter_context(socket.create_connection((raw.host, raw.port)))
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            sock.sendall(head.encode() + b"\r\n" + b"x" * 100_000)
            halves.append(sock)
        until(lambda: sorted(connections(server).values()) == [1, 1])
        server.process.terminate()
        time.sleep(0.5)
        for sock in halves:
            sock.sendall(b"x" * 100_000)
            assert sock.recv(100).startswith(b"HTTP/1.1 201")
    done = millpond("blob", "fsck", "--deep", "--data", tmp_path / "data")
    assert done.returncode == 0, done.stdout
    assert "2 blobs" in done.stdout


def test_one_process_where_one_is_asked_for(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--only", "blob", "--blob-workers", "1") as server:
        assert len(processes(server)) == 1


def test_workers_speak_https_too(tmp_path: Path) -> None:
    with (
        running_server(tmp_path / "data", "--only", "blob", "--blob-workers", "2", "--tls") as server,
        ExitStack() as stack,
    ):
        raw, names = RawClient.of(server.credentials), server.credentials
        credential = {"account_name": names["STORAGE_ACCOUNT_NAME"], "account_key": names["STORAGE_ACCOUNT_KEY"]}
        for name in ("first", "worker"):
            client = stack.enter_context(
                BlobServiceClient(
                    server.blob_url,
                    credential=credential,
                    connection_verify=str(server.data / "tls" / "authority.pem"),
                    retry_total=0,
                )
            )
            container = client.create_container(name)
            container.upload_blob("b", LARGE)
            assert container.download_blob("b").readall() == LARGE
        assert sorted(connections(server).values()) == [1, 1]
        with socket.create_connection((raw.host, raw.port)) as plain:  # no TLS: it ends, and does not count
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
            while plain.recv(1000):
                pass
        until(lambda: connections(server).total() == 2)
