"""One client at a time, as a fresh process: ``python -m benchmarks.choices.http_client_app CLIENT URL ACTION``.

Prints what it measured as JSON. ``CLIENT`` is a function below; HTTP clients yield a ``get(path, out)``, WebSocket
clients yield an ``echo(message)``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

MIB = 1 << 20
Get = Callable[[str, BinaryIO | None], None]
Echo = Callable[[bytes], bytes]


@contextlib.contextmanager
def http_client(url: str) -> Iterator[Get]:
    import http.client

    connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def get(path: str, out: BinaryIO | None) -> None:
        connection.request("GET", path)
        response = connection.getresponse()
        if out is None:
            response.read()
        else:
            while piece := response.read(MIB):
                out.write(piece)

    yield get
    connection.close()


@contextlib.contextmanager
def urllib3(url: str) -> Iterator[Get]:
    import urllib3 as library

    with library.PoolManager() as pool:

        def get(path: str, out: BinaryIO | None) -> None:
            response = pool.request("GET", url + path, preload_content=out is None)
            if out is not None:
                for piece in response.stream(MIB):
                    out.write(piece)
                response.release_conn()

        yield get


@contextlib.contextmanager
def httpx(url: str) -> Iterator[Get]:
    import httpx as library

    with library.Client(trust_env=False, verify=not url.startswith("http:")) as client:

        def get(path: str, out: BinaryIO | None) -> None:
            if out is None:
                client.get(url + path).raise_for_status()
                return
            with client.stream("GET", url + path) as response:
                for piece in response.iter_raw(MIB):
                    out.write(piece)

        yield get


@contextlib.contextmanager
def aiohttp(url: str) -> Iterator[Get]:
    library = importlib.import_module("aiohttp")

    with asyncio.Runner() as runner:

        async def opened() -> Any:
            return library.ClientSession(auto_decompress=False)

        session = runner.run(opened())

        async def fetch(path: str, out: BinaryIO | None) -> None:
            async with session.get(url + path) as response:
                if out is None:
                    await response.read()
                else:
                    async for piece in response.content.iter_any():
                        out.write(piece)

        yield lambda path, out: runner.run(fetch(path, out))
        runner.run(session.close())


@contextlib.contextmanager
def websockets_sync(url: str) -> Iterator[Echo]:
    from websockets.sync.client import connect

    with connect(f"ws{url.removeprefix('http')}/", compression=None) as channel:

        def echo(message: bytes) -> bytes:
            channel.send(message)
            answer = channel.recv()
            assert isinstance(answer, bytes)
            return answer

        yield echo


@contextlib.contextmanager
def websockets_sansio(url: str) -> Iterator[Echo]:
    from websockets.client import ClientProtocol
    from websockets.frames import Frame
    from websockets.uri import parse_uri

    protocol = ClientProtocol(parse_uri(f"ws{url.removeprefix('http')}/"))
    sock = _connected(url)

    def exchange() -> list[object]:
        for data in protocol.data_to_send():
            sock.sendall(data)
        while not (events := protocol.events_received()):
            protocol.receive_data(sock.recv(65536))
        return list(events)

    def echo(message: bytes) -> bytes:
        protocol.send_binary(message)
        frame = exchange()[0]
        assert isinstance(frame, Frame)
        return bytes(frame.data)

    protocol.send_request(protocol.connect())
    exchange()
    yield echo
    sock.close()


@contextlib.contextmanager
def wsproto(url: str) -> Iterator[Echo]:
    library, events = importlib.import_module("wsproto"), importlib.import_module("wsproto.events")
    protocol = library.WSConnection(library.ConnectionType.CLIENT)
    sock = _connected(url)

    def echo(message: bytes) -> bytes:
        sock.sendall(protocol.send(events.BytesMessage(data=message)))
        while True:
            protocol.receive_data(sock.recv(65536))
            for event in protocol.events():
                if isinstance(event, events.BytesMessage):
                    return bytes(event.data)

    sock.sendall(protocol.send(events.Request(host="127.0.0.1", target="/")))
    protocol.receive_data(sock.recv(65536))
    assert isinstance(next(iter(protocol.events())), events.AcceptConnection)
    yield echo
    sock.close()


@contextlib.contextmanager
def aiohttp_ws(url: str) -> Iterator[Echo]:
    library = importlib.import_module("aiohttp")

    with asyncio.Runner() as runner:

        async def opened() -> tuple[Any, Any]:
            session = library.ClientSession()
            return session, await session.ws_connect(url + "/")

        session, channel = runner.run(opened())

        async def exchange(message: bytes) -> bytes:
            await channel.send_bytes(message)
            return bytes(await channel.receive_bytes())

        yield lambda message: runner.run(exchange(message))
        runner.run(session.close())


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    sock = socket.create_connection((str(parts.hostname), parts.port or 80))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _measure_http(get: Get) -> dict[str, float]:
    get("/small", None)
    figures = {"ready after, ms": (time.perf_counter() - _BEGAN) * 1000, "memory, MiB": _status("VmRSS") / 1024}
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 2:
        get("/small", None)
        count += 1
    figures["small GET, 1/s"] = count / (time.perf_counter() - began)
    with Path(sys.argv[3]).open("wb", buffering=0) as out:
        began, cpu = time.perf_counter(), time.process_time()
        get("/get", out)
        size = out.tell() / MIB
    figures["256 MiB to disk, MiB/s"] = size / (time.perf_counter() - began)
    figures["256 MiB to disk, CPU, s"] = time.process_time() - cpu
    figures["peak memory, MiB"] = _status("VmHWM") / 1024
    figures["threads"] = _status("Threads")
    return figures


def _measure_websocket(echo: Echo) -> dict[str, float]:
    message = b"m" * 300
    assert echo(message) == message
    figures = {"ready after, ms": (time.perf_counter() - _BEGAN) * 1000, "memory, MiB": _status("VmRSS") / 1024}
    delays = []
    for _ in range(10_000):
        began = time.perf_counter()
        echo(message)
        delays.append((time.perf_counter() - began) * 1e6)
    delays.sort()
    figures |= {"there and back, median, us": delays[5_000], "there and back, p99, us": delays[9_900]}
    figures["threads"] = _status("Threads")
    return figures


def _status(field: str) -> float:
    match = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert match
    return float(match[1])


HTTP_CLIENTS = {"http.client": http_client, "urllib3": urllib3, "httpx": httpx, "aiohttp": aiohttp}
WEBSOCKET_CLIENTS = {
    "websockets.sync": websockets_sync,
    "websockets sans-I/O": websockets_sansio,
    "wsproto": wsproto,
    "aiohttp": aiohttp_ws,
}

if __name__ == "__main__":
    _BEGAN = time.perf_counter()
    kind, name = sys.argv[1].split(":")
    if kind == "http":
        with HTTP_CLIENTS[name](sys.argv[2]) as get_function:
            print(json.dumps(_measure_http(get_function)))
    else:
        with WEBSOCKET_CLIENTS[name](sys.argv[2]) as echo_function:
            print(json.dumps(_measure_websocket(echo_function)))
