"""The application that the HTTP servers are measured with, and the programs that serve it.

``python -m benchmarks.choices.http_server_app SERVER PORT FILE OUT``
"""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Task(msgspec.Struct, rename="camel"):
    id: str
    command_line: str
    resource_files: list[dict[str, str]] = []


class Collection(msgspec.Struct):
    value: list[Task]


_SMALL = msgspec.json.encode({"id": "task1", "state": "active", "commandLine": "/bin/true", "url": "u" * 300})
_decoder = msgspec.json.Decoder(Collection)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
    else:
        await _ROUTES[scope["path"]](scope, receive, send)


async def _reply(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [_length(len(body))]})
    await send({"type": "http.response.body", "body": body})


def _length(length: int) -> tuple[bytes, bytes]:
    return b"content-length", str(length).encode()


async def _small(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await _reply(send, _SMALL)


async def _tasks(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    tasks = _decoder.decode(body).value
    await _reply(send, msgspec.json.encode({"value": [{"taskId": t.id, "status": "success"} for t in tasks]}))


async def _discard(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await _reply(send, b"")


async def _put(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    digest, more = hashlib.md5(usedforsecurity=False), True
    with Path(sys.argv[4]).open("wb", buffering=0) as file:
        while more:
            message = await receive()
            digest.update(message["body"])
            file.write(message["body"])
            more = message.get("more_body", False)
    await _reply(send, digest.hexdigest().encode())


async def _get(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    path = sys.argv[3]
    first, last = 0, Path(path).stat().st_size - 1
    wanted = dict(scope["headers"]).get(b"range")
    if wanted:
        first, last = (int(part) for part in wanted.removeprefix(b"bytes=").split(b"-"))
    count = last - first + 1
    await send({"type": "http.response.start", "status": 200, "headers": [_length(count)]})
    extensions = scope.get("extensions") or {}
    if "http.response.zerocopysend" in extensions:
        with Path(path).open("rb") as file:
            await send({"type": "http.response.zerocopysend", "file": file, "offset": first, "count": count})
    elif "http.response.pathsend" in extensions and not wanted:
        await send({"type": "http.response.pathsend", "path": path})
    else:
        with Path(path).open("rb", buffering=0) as file:
            while count:
                piece = os.pread(file.fileno(), min(count, 1 << 18), first)
                first += len(piece)
                count -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": count > 0})


_ROUTES = {"/small": _small, "/tasks": _tasks, "/discard": _discard, "/put": _put, "/get": _get}


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def _serve(server: str, port: int) -> None:
    if server == "granian":
        granian = importlib.import_module("granian")
        constants = importlib.import_module("granian.constants")
        granian.Granian(
            "benchmarks.choices.http_server_app:app",
            port=port,
            interface=constants.Interfaces.ASGI,
            http=constants.HTTPModes.http1,
            loop=constants.Loops.uvloop,
            log_enabled=False,
        ).serve()
    elif server == "uvicorn":
        import uvicorn

        config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False)
        uvicorn.Server(config).run([_bound(port)])
    else:
        from millpond.common.server import run

        run(app, _bound(port))


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
