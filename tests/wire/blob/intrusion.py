"""What is needed to try to get from what one may do to what one may not, and to see whether one did."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path
from urllib.parse import quote

from tests.servers import Server, millpond
from tests.wire.blob.raw import RawClient

BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
SECRET = b"what nobody else may see"


def hide(server: Server) -> None:
    """Make a second account, ``victim``, whose container ``cont`` has the secret; so has ``hidden`` of the first.

    The container ``cont`` of the first account has nothing to hide.
    """
    assert millpond("account", "add", "victim", "--kind", "storage", "--data", server.data).returncode == 0
    victim, own = client_of(server, "victim"), client_of(server)
    for raw, container in ((victim, "cont"), (own, "hidden")):
        assert raw.signed("PUT", raw.path(f"{container}?restype=container")).status == 201
        for name in ("secret", "..", "a/../secret"):
            path = raw.path(f"{container}/{quote(name)}")
            assert raw.signed("PUT", path, BLOCK_BLOB, SECRET).status == 201
    assert own.signed("PUT", own.path("cont?restype=container")).status == 201
    assert own.signed("PUT", own.path("cont/b"), BLOCK_BLOB, b"open").status == 201


def untouched(server: Server) -> None:
    """Assert that what was hidden is still there as it was."""
    for raw, container in ((client_of(server, "victim"), "cont"), (client_of(server), "hidden")):
        for name in ("secret", "..", "a/../secret"):
            assert raw.signed("GET", raw.path(f"{container}/{quote(name)}")).body == SECRET


def client_of(server: Server, account: str = "") -> RawClient:
    """One with the key of an account, of the first where none is named."""
    raw = RawClient.of(server.credentials)
    return RawClient(raw.host, raw.port, account, _key(server.data, account)) if account else raw


@cache
def _key(data: Path, account: str) -> str:
    shown = millpond("credentials", "--data", data, "--format", "env", "--storage-account", account)
    key = next(line for line in shown.stdout.splitlines() if "STORAGE_ACCOUNT_KEY" in line).partition("=")[2]
    return key.strip("'\"")


def sent(raw: RawClient, method: str, target: str, headers: dict[str, str]) -> bytes:
    """The whole answer to a request whose target no library has changed."""
    lines = {"host": f"{raw.host}:{raw.port}", "content-length": "0", "connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    answer = exchanged(raw, f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 ")
    return answer


def exchanged(raw: RawClient, request: bytes) -> bytes:
    """All that comes back for these bytes until the server ends the connection."""
    with socket.create_connection((raw.host, raw.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert b"HTTP/1.1 5" not in answer
    return answer
