"""The server of both services, over real sockets: this file is also the program that the tests start."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import http.client
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from millpond.common.server import run
from millpond.common.zerocopy import INLINE_SIZE, SLICE_SIZE

MIB = 1 << 20
#: Longer than two slices of a kernel send, and not a multiple of anything.
CONTENT = b"".join(hashlib.sha256(str(i).encode()).digest() * 64 for i in range(2 * SLICE_SIZE // 2048)) + b"tail"


# --- the application -----------------------------------------------------------------------------------------------


async def application(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        routes = {"file": _file, "parts": _parts, "upload": _upload, "head": _head, "short": _short}
        await routes[scope["path"].split("/")[1]](scope, receive, send)


async def _lifespan(receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await receive()
    if "fail" in sys.argv:
        await send({"type": "lifespan.startup.failed", "message": "no such luck"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("stopped", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def _echo(receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


def _start(length: int, status: int = 200) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-length", str(length).encode())],
    }


def _range(scope: dict[str, Any]) -> tuple[int, int]:
    offset, count = scope["query_string"].decode().split(",")
    return int(offset), int(count)


async def _file(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """/file?offset,count: that part of the content."""
    offset, count = _range(scope)
    assert "http.response.zerocopysend" in scope["extensions"]
    await send(_start(count))
    with Path(sys.argv[2]).open("rb") as file:
        await send(
            {
                "type": "http.response.zerocopysend",
                "file": file,
                "offset": offset,
                "count": count,
                "more_body": False,
            }
        )


async def _parts(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """/parts: more bytes than a socket takes, two parts of a file (the second to its end), bytes."""
    await send(_start(len(CONTENT) + 1000 + len(CONTENT) + 3))
    await send({"type": "http.response.body", "body": CONTENT, "more_body": True})
    descriptor = os.open(sys.argv[2], os.O_RDONLY)
    try:
        await send(
            {
                "type": "http.response.zerocopysend",
                "file": descriptor,
                "offset": 5,
                "count": 1000,
                "more_body": True,
            }
        )
        await send({"type": "http.response.zerocopysend", "file": descriptor, "more_body": True})
    finally:
        os.close(descriptor)
    await send({"type": "http.response.body", "body": b">>>"})


async def _short(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """/short: promises more than the file has."""
    await send(_start(len(CONTENT) + 1))
    with Path(sys.argv[2]).open("rb") as file:
        await send({"type": "http.response.zerocopysend", "file": file, "offset": 0, "count": len(CONTENT) + 1})


async def _upload(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """/upload: the length and digest of the body; with a file's name as query, read only when that file exists."""
    while scope["query_string"] and not Path(scope["query_string"].decode()).exists():
        await asyncio.sleep(0.01)
    digest, length, largest, more = hashlib.sha256(), 0, 0, True
    while more:
        message = await receive()
        digest.update(message["body"])
        length += len(message["body"])
        largest = max(largest, len(message["body"]))
        more = message["more_body"]
    answer = f"{length} {digest.hexdigest()} {largest}".encode()
    await send(_start(len(answer)))
    await send({"type": "http.response.body", "body": answer})


async def _head(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """/head…: how long the path as sent, the query and the headers were."""
    values = sum(len(value) for _, value in scope["headers"])
    answer = f"{len(scope['raw_path'])} {len(scope['query_string'])} {values} {scope['path'][:20]}".encode()
    await send(_start(len(answer)))
    await send({"type": "http.response.body", "body": answer})


# --- the tests -----------------------------------------------------------------------------------------------------


class Server:
    """A server process on a listener that belongs to the test."""

    def __init__(self, listener: socket.socket, content: Path, *arguments: str) -> None:
        self.port: int = listener.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), str(content), *arguments],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.facts = psutil.Process(self.process.pid)

    def wait_ready(self) -> None:
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def stop(self) -> tuple[int, str, str]:
        """Exit code, the rest of standard output, standard error."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("server") / "content"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def server(listener: socket.socket, content: Path) -> Iterator[Server]:
    server = Server(listener, content)
    server.wait_ready()
    yield server
    if server.process.poll() is None:
        server.stop()


def _read_exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = sock.recv(min(MIB, count - len(data)))
        assert chunk, f"connection ended after {len(data)} of {count} bytes"
        data += chunk
    return bytes(data)


def _read_response(sock: socket.socket, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of the next response, not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _read_exactly(sock, 1)
    match = re.search(rb"content-length: (\d+)", head)
    length = int(match[1]) if match and method != "HEAD" else 0
    return int(head.split()[1]), _read_exactly(sock, length)


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def _wait_until_nothing_comes(sock: socket.socket) -> None:
    """Until the server, most likely, has filled all buffers and waits for room."""
    arrived, same = -1, 0
    while same < 10:
        time.sleep(0.02)
        now = int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)
        arrived, same = now, same + 1 if now == arrived else 0


RANGES = [
    (0, 0),
    (0, 1),
    (7, INLINE_SIZE),
    (7, INLINE_SIZE + 1),
    (123, SLICE_SIZE),
    (1, SLICE_SIZE + 1),
    (len(CONTENT) - 1, 1),
    (0, len(CONTENT)),
]


@pytest.mark.parametrize(("offset", "count"), RANGES)
def test_file_range_is_exact(server: Server, offset: int, count: int) -> None:
    response, body = server.get(f"/file?{offset},{count}")
    assert response.status == 200
    assert body == CONTENT[offset : offset + count]


def test_file_parts_between_bytes_are_exact(server: Server) -> None:
    _, body = server.get("/parts")
    assert body == CONTENT + CONTENT[5:1005] + CONTENT + b">>>"


def test_responses_carry_one_date_and_no_server(server: Server) -> None:
    response, _ = server.get("/file?0,1")
    assert len(response.headers.get_all("date") or []) == 1
    assert "server" not in response.headers


def test_head_sends_no_file_and_keeps_the_connection(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("HEAD", "/file?0,5000")
    response = connection.getresponse()
    assert (response.headers["content-length"], response.read()) == ("5000", b"")
    connection.request("GET", "/file?9,10")
    assert connection.getresponse().read() == CONTENT[9:19]
    connection.close()


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    requests = [
        ("GET", 0, SLICE_SIZE + 5),
        ("HEAD", 0, 10),
        ("GET", 3, 10),
        ("GET", 1, len(CONTENT) - 1),
        ("GET", 5, 1),
    ]
    with server.connect() as sock:
        sock.sendall(
            b"".join(f"{verb} /file?{offset},{count} HTTP/1.1\r\n\r\n".encode() for verb, offset, count in requests)
        )
        for verb, offset, count in requests:
            expected = CONTENT[offset : offset + count] if verb == "GET" else b""
            assert _read_response(sock, verb) == (200, expected)


def test_pipelined_bodies_reach_their_own_requests(server: Server) -> None:
    bodies = [b"a" * 10, b"b" * 700_000, b"", b"c" * 3]
    with server.connect() as sock:
        for body in bodies:
            sock.sendall(b"PUT /upload HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        for body in bodies:
            _, answer = _read_response(sock)
            assert answer.split()[:2] == [str(len(body)).encode(), hashlib.sha256(body).hexdigest().encode()]


def test_an_upgrade_that_is_passed_over_takes_nothing_from_the_request(server: Server) -> None:
    """As Java's own client offers it with its first request, bodies or not; whatever arrives together."""
    for size, cut in itertools.product((0, 5, 300_000), (0, 30, 60, 90, 130, 140, 150)):
        body = b"x" * size
        head = b"PUT /upload HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAA\r\n"
        head += b"Upgrade: h2c\r\nContent-Length: %d\r\n\r\n" % size
        sent = head + body + b"GET /file?9,10 HTTP/1.1\r\n\r\n"
        with server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(sent[:cut])
            time.sleep(0.02)
            sock.sendall(sent[cut:])
            answer = _read_response(sock)[1]
            assert answer.split()[:2] == [str(size).encode(), hashlib.sha256(body).hexdigest().encode()]
            assert _read_response(sock) == (200, CONTENT[9:19])
    assert server.stop()[2] == ""


def test_clients_that_stop_reading_cost_no_memory_and_hold_up_nobody(server: Server) -> None:
    server.get(f"/file?0,{len(CONTENT)}")
    before = server.facts.memory_info().rss
    request = f"GET /file?0,{len(CONTENT)} HTTP/1.1\r\n\r\n".encode()
    stalled = [server.connect() for _ in range(24)]
    for sock in stalled:
        sock.sendall(request * 2)
    _eventually(lambda: server.facts.num_fds() >= 3 * len(stalled))  # connection, its duplicate, the file
    assert server.get(f"/file?1,{SLICE_SIZE}")[1] == CONTENT[1 : SLICE_SIZE + 1]
    assert server.facts.memory_info().rss - before < 16 * MIB
    assert _read_response(stalled[0]) == (200, CONTENT)
    assert _read_response(stalled[0]) == (200, CONTENT)
    for sock in stalled:
        sock.close()


@pytest.mark.parametrize("way", ["at once", "midway", "by half", "by half, later"])
def test_client_that_goes_away_leaves_nothing_behind(server: Server, way: str) -> None:
    server.get("/file?0,1")
    before = server.facts.num_fds()
    with server.connect() as sock:
        sock.sendall(f"GET /file?0,{len(CONTENT)} HTTP/1.1\r\n\r\n".encode())
        if way != "at once":
            _read_exactly(sock, 100_000)
        if way == "by half, later":
            _wait_until_nothing_comes(sock)
        if way.startswith("by half"):
            sock.shutdown(socket.SHUT_WR)
            _eventually(lambda: server.facts.num_fds() <= before)
    _eventually(lambda: server.facts.num_fds() <= before)
    assert server.get("/file?3,4")[1] == CONTENT[3:7]
    assert server.stop()[2] == "", "a client that leaves is no error"


def test_file_that_ends_too_early_ends_the_connection(server: Server) -> None:
    with pytest.raises(http.client.IncompleteRead) as failure:
        server.get("/short")
    assert failure.value.partial == CONTENT
    assert "file ends 1 bytes before the end of the response" in server.stop()[2]


def _upload_answer(body: bytes) -> list[bytes]:
    return [str(len(body)).encode(), hashlib.sha256(body).hexdigest().encode()]


def test_upload_waits_in_the_client_until_the_application_reads(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    body = CONTENT * 8
    before = server.facts.memory_info().rss
    with server.connect() as sock:
        sock.sendall(f"PUT /upload?{gate} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        sock.setblocking(False)
        sent, idle = 0, 0
        while idle < 10 and sent < len(body):
            try:
                sent += sock.send(body[sent : sent + MIB])
                idle = 0
            except BlockingIOError:
                idle += 1
                time.sleep(0.02)
        assert sent < len(body), "the server took the whole body though nobody read it"
        assert server.facts.memory_info().rss - before < 16 * MIB
        sock.settimeout(30)
        gate.touch()
        sock.sendall(body[sent:])
        assert _read_response(sock)[1].split()[:2] == _upload_answer(body)
    assert server.facts.memory_info().rss - before < 16 * MIB


def test_chunked_upload_is_exact(server: Server) -> None:
    body = CONTENT[:300_000]
    with server.connect() as sock:
        head = b"PUT /upload HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        tiny = b"".join(b"1\r\n%c\r\n" % byte for byte in body[:20_000])
        sock.sendall(head + tiny + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 20_000, body[20_000:]))
        assert _read_response(sock)[1].split()[:2] == _upload_answer(body)


def test_expect_continue_is_answered_when_the_body_is_wanted(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"PUT /upload HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        assert _read_exactly(sock, 25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert _read_response(sock)[1].split()[:2] == _upload_answer(b"hello")


def test_long_urls_and_headers_are_read_whole(server: Server) -> None:
    path = "/head/%20" + "x" * 30_000
    _, body = server.get(f"{path}?{'q' * 30_000}", big="h" * 16_384)
    raw, query, headers, unquoted = body.decode().split(maxsplit=3)
    assert (int(raw), int(query), unquoted) == (len(path), 30_000, "/head/ xxxxxxxxxxxxx")
    assert int(headers) > 16_384


@pytest.mark.parametrize("piece", [b"a: b\r\n", b"a: " + b"b" * 60_000])
def test_endless_headers_are_refused(server: Server, piece: bytes) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /head HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                sock.sendall(piece * (60_000 // len(piece) + 1) if piece.endswith(b"\n") else piece[3:])
    assert server.facts.memory_info().rss < 150 * MIB
    assert server.get("/file?0,1")[0].status == 200


def test_websocket_takes_large_messages_and_refuses_larger_ones(server: Server) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/", max_size=None, compression=None) as channel:
        large = os.urandom(16 * MIB)
        channel.send(large)
        assert channel.recv(timeout=30) == large
        # Only the announcement: while a client is still sending, a reset may overtake the server's reason.
        channel.socket.sendall(b"\x82\xff" + (16 * MIB + 1).to_bytes(8, "big") + bytes(4))
        with pytest.raises(ConnectionClosed) as closed:
            channel.recv(timeout=30)
        assert closed.value.rcvd and closed.value.rcvd.code == 1009


def test_stop_ends_everything_and_the_port_stays(listener: socket.socket, content: Path) -> None:
    server = Server(listener, content)
    server.wait_ready()
    with server.connect() as idle, server.connect() as stalled:
        idle.sendall(b"GET /file?0,1 HTTP/1.1\r\n\r\n")
        _read_response(idle)
        stalled.sendall(f"GET /file?0,{len(CONTENT)} HTTP/1.1\r\n\r\n".encode())
        _read_exactly(stalled, 1)
        with connect(f"ws://127.0.0.1:{server.port}/") as channel:
            stopped = server.stop()
            with pytest.raises(ConnectionClosed) as closed:
                channel.recv(timeout=30)
    assert closed.value.rcvd and closed.value.rcvd.code == 1012
    overdue = "Cancel 1 running task(s), timeout graceful shutdown exceeded\n"
    assert stopped == (0, "stopped\nreturned\n", overdue)

    with server.connect() as waiting:  # nobody accepts yet
        waiting.sendall(b"GET /file?0,3 HTTP/1.1\r\n\r\n")
        successor = Server(listener, content)
        successor.wait_ready()
        assert _read_response(waiting) == (200, CONTENT[:3])
    assert successor.stop() == (0, "stopped\nreturned\n", "")


def test_failing_startup_ends_the_process_with_its_message(listener: socket.socket, content: Path) -> None:
    server = Server(listener, content, "fail")
    _, err = server.process.communicate(timeout=30)
    assert server.process.returncode != 0
    assert "no such luck" in err and "Traceback" not in err


if __name__ == "__main__":
    run(application, socket.socket(fileno=int(sys.argv[1])), ready=lambda: print("ready", flush=True))
    print("returned", flush=True)
