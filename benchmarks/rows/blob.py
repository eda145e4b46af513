"""Blobs, beside Azurite."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
from tests.servers import start_server

from ..batch_client import stop
from ..blob_client import BlobClient, Container
from ..environments import NotInstallableError
from ..measuring import OURS, Contender, Goal, row
from ..memory import memory, watched
from ..peers.azurite import running_azurite

_MIB = 1 << 20
_LARGE = 256 * _MIB
_LISTED = 100_000
_SMALL = 4096
_SECONDS = 4
_CONNECTIONS = 8
_AZURITE = "Azurite"

#: For wrk: names that never come twice, and those of the blobs that are there.
_PUT = """
math.randomseed(SEED)
local run, count = math.random(1e9), 0
local headers, body = {["x-ms-blob-type"] = "BlockBlob", ["x-ms-version"] = "2021-12-02"}, string.rep("x", 4096)
request = function()
  count = count + 1
  return wrk.format("PUT", "PATH/" .. run .. "-" .. count .. "?SAS", headers, body)
end
"""
_GET = """
local count = 0
request = function()
  count = (count + 1) % 1000
  return wrk.format("GET", "PATH/blob-" .. string.format("%07d", count) .. "?SAS", {["x-ms-version"] = "2021-12-02"})
end
"""


@row("blob-large", *(Goal(f"{way}, MiB/s", ">=", 2, _AZURITE) for way in ("upload", "download")), turns=5)
def large(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """A blob of 256 MiB up and down.

    One Put Blob, one Get Blob, and eight Get Blobs of 32 MiB, by SAS. The client sends the file by the kernel and
    drops what it gets. Ours is synced to disk before the answer; Azurite does not sync.
    """
    file = directory / "content"
    file.write_bytes(os.urandom(_MIB) * (_LARGE // _MIB))
    return _contenders(stack, directory, lambda _, container: lambda: _transfer(container, file))


def _transfer(container: Container, file: Path) -> dict[str, float]:
    rates = {}
    began = time.perf_counter()
    container.upload("large", file)
    rates["upload, MiB/s"] = _LARGE / _MIB / (time.perf_counter() - began)
    began = time.perf_counter()
    assert container.download("large") == _LARGE
    rates["download, MiB/s"] = _LARGE / _MIB / (time.perf_counter() - began)
    part = _LARGE // 8
    began = time.perf_counter()
    assert sum(container.download("large", first, first + part - 1) for first in range(0, _LARGE, part)) == _LARGE
    rates["download in ranges, MiB/s"] = _LARGE / _MIB / (time.perf_counter() - began)
    return rates


_WAYS = ("SDK 1", "SDK 4", "curl")


@row("blob-clients", *(Goal(f"{way} {by}, MiB/s", ">=", 2, _AZURITE) for by in _WAYS for way in ("up", "down")))
def clients(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """A blob of 256 MiB up and down by what people use.

    The newest SDK with a ``max_concurrency`` of 1 and of 4, and curl. The client takes much of the time.
    """
    file = directory / "content"
    file.write_bytes(os.urandom(_MIB) * (_LARGE // _MIB))

    def prepare(_: str, container: Container) -> Contender:
        return lambda: {
            "up SDK 1, MiB/s": _rate(lambda: container.upload_by_sdk("large", file, 1)),
            "down SDK 1, MiB/s": _rate(lambda: container.download_by_sdk("large", 1)),
            "up SDK 4, MiB/s": _rate(lambda: container.upload_by_sdk("large", file, 4)),
            "down SDK 4, MiB/s": _rate(lambda: container.download_by_sdk("large", 4)),
            "up curl, MiB/s": _rate(lambda: container.upload_by_curl("large", file)),
            "down curl, MiB/s": _rate(lambda: container.download_by_curl("large")),
        }

    return _contenders(stack, directory, prepare)


def _rate(transfer: Callable[[], object]) -> float:
    began = time.perf_counter()
    transfer()
    return _LARGE / _MIB / (time.perf_counter() - began)


@row("blob-small", *(Goal(f"{way}/s", ">=", 3, _AZURITE) for way in ("puts", "gets")))
def small(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """Blobs of 4 KiB put and got, per second.

    By wrk over 8 connections for 4 s each, by SAS: Put Blob with new names, Get Blob of a thousand others. Ours are
    synced to disk before the answer; Azurite does not sync.
    """

    def prepare(_: str, container: Container) -> Contender:
        _fill(container, [f"blob-{number:07}" for number in range(1000)], bytes(_SMALL))
        return lambda: {
            "puts/s": container.rate(_PUT.replace("SEED", str(time.time_ns() % 10**9)), _SECONDS, _CONNECTIONS),
            "gets/s": container.rate(_GET, _SECONDS, _CONNECTIONS),
        }

    return _contenders(stack, directory, prepare)


@row("blob-list", *(Goal(f"{what}/s", ">=", 5, _AZURITE) for what in ("blobs", "prefixes")), is_long=True)
def listing(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """The list of a container with 100,000 empty blobs, page by page; Azurite's has 10,000.

    Timed: all pages of 5,000, one after the other; and the prefixes that a delimiter makes of them, of a hundred blobs
    each. Putting the blobs is not timed, but it sets the size: a put takes Azurite the longer the more blobs it has,
    and a hundred thousand did not end in 15 minutes.
    """

    def prepare(name: str, container: Container) -> Contender:
        count = _LISTED if name == OURS else _LISTED // 10
        _fill(container, [f"directory-{number // 100}/blob-{number:07}" for number in range(count)], b"")

        def list_all() -> dict[str, float]:
            began = time.perf_counter()
            assert sum(container.pages()) == count
            took = time.perf_counter() - began
            began = time.perf_counter()
            prefixes = sum(container.pages("directory-", "/"))
            return {"blobs/s": count / took, "prefixes/s": prefixes / (time.perf_counter() - began)}

        return list_all

    return _contenders(stack, directory, prepare)


@row("blob-start", Goal("ready, s", "<=", 0.5))
def start(_: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """A Blob service on an empty directory: seconds until it takes connections, and its memory then.

    Of all its processes; what they share is counted once.
    """
    places = (directory / f"start-{number}" for number in itertools.count())

    def start_one(start: Callable[[ExitStack, Path], BlobClient | int]) -> Mapping[str, float]:
        place = next(places)
        place.mkdir()
        with ExitStack() as running:
            before = set(psutil.Process().children())
            began = time.perf_counter()
            start(running, place)
            took = time.perf_counter() - began
            (process,) = set(psutil.Process().children()) - before
            return {"ready, s": took, "memory at rest, MiB": memory(process.pid) / _MIB}

    return {OURS: lambda: start_one(_spawn_millpond), _AZURITE: lambda: start_one(_start_azurite)}


@row("blob-memory", Goal("peak, MiB", "<=", 150), turns=1, is_long=True)
def peak_memory(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """The most memory of the Blob service while 5 GiB are uploaded and downloaded by the newest SDK, 4 at a time.

    Of all its processes, looked at ten times a second; what they share is counted once.
    """
    file = directory / "content"
    with file.open("wb") as content:
        content.truncate(5 << 30)
    known = set(psutil.Process().children())

    def prepare(_: str, container: Container) -> Contender:
        (process,) = set(psutil.Process().children()) - known
        known.add(process)

        def transfer() -> Mapping[str, float]:
            with watched(process.pid) as seen:
                container.upload_by_sdk("huge", file, 4)
                container.download_by_sdk("huge", 4)
            return {"peak, MiB": seen.peak / _MIB}

        return transfer

    return _contenders(stack, directory, prepare)


def _contenders(
    stack: ExitStack, directory: Path, prepare: Callable[[str, Container], Contender]
) -> dict[str, Contender]:
    """Each service's, on a new container."""
    contenders = {}
    for name, start in ((OURS, _start_millpond), (_AZURITE, _start_azurite)):
        try:
            contenders[name] = prepare(name, start(stack, directory).new_container("measured"))
        except NotInstallableError as failure:
            contenders[name] = _absent(failure)
    return contenders


def _start_millpond(stack: ExitStack, directory: Path) -> BlobClient:
    server = start_server(directory / "millpond", "--only", "blob")
    stack.callback(stop, server)
    names = ("STORAGE_ACCOUNT_URL", "STORAGE_ACCOUNT_NAME", "STORAGE_ACCOUNT_KEY")
    return BlobClient(*(server.credentials[name] for name in names))


def _spawn_millpond(stack: ExitStack, directory: Path) -> int:
    """Start it and wait for the line that says it is ready; its process id."""
    command = [sys.executable, "-m", "millpond.cli", "serve", "--only", "blob", "--blob-port", "0", "--data"]
    process = subprocess.Popen([*command, directory / "millpond"], stdout=subprocess.PIPE)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stdout
    stack.callback(process.stdout.close)
    assert process.stdout.readline()
    return process.pid


def _start_azurite(stack: ExitStack, directory: Path) -> BlobClient:
    (directory / "azurite").mkdir()
    return stack.enter_context(running_azurite(directory / "azurite"))


def _absent(failure: Exception) -> Contender:
    def fail() -> Mapping[str, float]:
        raise failure

    return fail


def _fill(container: Container, names: list[str], content: bytes) -> None:
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        parts = (iter(names[index::_CONNECTIONS]) for index in range(_CONNECTIONS))
        list(pool.map(lambda part: container.put_small(part, content), parts))
