"""Granian, uvicorn, and uvicorn with our protocol class, with our own kinds of requests.

``python -m benchmarks.choices.http_server`` needs ``wrk`` and ``curl``. Rounds go through the servers in turn; the
table shows medians. The clients run on the same machine, so a figure is what server and client reach together.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from ..environments import ROOT, python_with, scratch, system_program

ROUNDS = 5
MIB = 1 << 20
SERVERS = ("granian", "uvicorn", "millpond")

_WRK_POST = 'wrk.method = "POST"; local f = io.open("{}"); wrk.body = f:read("*a"); f:close()'


def main() -> None:
    python = python_with("servers", "granian", "uvicorn[standard]", "msgspec")
    results: dict[str, dict[str, list[float]]] = {name: {} for name in SERVERS}
    with scratch() as directory:
        files = _make_files(Path(directory))
        for _ in range(ROUNDS):
            for server in SERVERS:
                for what, figure in _measure(python, server, Path(directory), files).items():
                    results[server].setdefault(what, []).append(figure)
    table = Table("what", *SERVERS)
    for what in results[SERVERS[0]]:
        table.add_row(what, *(f"{statistics.median(results[server][what]):,.3g}" for server in SERVERS))
    Console().print(table)


def _make_files(directory: Path) -> dict[int, Path]:
    """Files to upload, by their size in MiB; the script and the body for wrk."""
    task = {
        "id": "task-0000",
        "commandLine": "/bin/bash -c 'echo hello'",
        "resourceFiles": [{"httpUrl": "http://127.0.0.1:10000/account/input/file?" + "s" * 150, "filePath": "file"}],
    }
    (directory / "tasks.json").write_bytes(msgspec.json.encode({"value": [task] * 100}))
    (directory / "post.lua").write_text(_WRK_POST.format(directory / "tasks.json"))
    files = {size: directory / f"{size}-mib" for size in (64, 256, 1024)}
    for size, path in files.items():
        with path.open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(MIB))
    return files


def _measure(python: Path, server: str, directory: Path, files: dict[int, Path]) -> dict[str, float]:
    port = _free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [python, "-m", "benchmarks.choices.http_server_app", server, str(port), files[256], directory / "out"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )
    url = f"http://127.0.0.1:{port}"
    _wait_until_up(f"{url}/small")
    figures = {"start, s": time.perf_counter() - began, "memory at rest, MiB": _peak_memory(process.pid)}
    figures["GET, 1/s"] = _wrk(f"{url}/small")
    figures["POST of 100 tasks, 1/s"] = _wrk(f"{url}/tasks", "-s", directory / "post.lua")
    for path, what in (("discard", "upload, discarded"), ("put", "upload, md5 and file")):
        for size in (64, 256):
            (directory / "out").unlink(missing_ok=True)
            seconds = _curl("-T", files[size], f"{url}/{path}")
            figures[f"{what}, {size} MiB, MiB/s"] = size / seconds
    before = _cpu_seconds(process.pid)
    figures["download, 256 MiB, MiB/s"] = 256 / _curl(f"{url}/get")
    figures["download, ranges of 32 MiB, MiB/s"] = 256 / _curl(*_ranges(f"{url}/get", 8))
    figures["download, CPU of the server per GiB, s"] = 2 * (_cpu_seconds(process.pid) - before)
    figures["WebSocket echo, 8 connections, 1/s"] = _echo_rate(port)
    _curl("-T", files[1024], f"{url}/put")
    figures["peak memory, upload of 1 GiB, MiB"] = _peak_memory(process.pid)
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    process.wait()
    figures["stop, s"] = time.perf_counter() - began
    return figures


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_until_up(url: str) -> None:
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.005)


def _peak_memory(pid: int) -> float:
    """Peak resident memory of a process and its children, in MiB."""
    pids = [pid, *(child.pid for child in psutil.Process(pid).children())]
    peaks = (re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids)
    return sum(int(peak[1]) for peak in peaks if peak) / 1024


def _cpu_seconds(pid: int) -> float:
    """What a process and its children have used."""
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children()))


def _wrk(url: str, *options: str | Path) -> float:
    command = [system_program("wrk"), "-t1", "-c8", "-d3s", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert rate and "Non-2xx" not in done.stdout, done.stdout
    return float(rate[1])


def _curl(*arguments: str | Path) -> float:
    command = [system_program("curl"), "-fsS", "-o", "/dev/null", "-H", "Expect:", *arguments]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def _ranges(url: str, count: int) -> list[str]:
    """Arguments for one curl that gets the ranges one after the other over one connection."""
    arguments: list[str] = []
    for index in range(count):
        first = index * 32 * MIB
        arguments += ["-fsS", "-o", "/dev/null", "-H", f"Range: bytes={first}-{first + 32 * MIB - 1}", url, "--next"]
    return arguments[:-1]


def _echo_rate(port: int) -> float:
    """Messages of 200 bytes per second, there and back, one under way on each of 8 connections, for 3 s."""
    frame = b"\x82\xfe\x00\xc8" + bytes(4) + b"m" * 200  # masked with zeros
    sockets = []
    for _ in range(8):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        while b"\r\n\r\n" not in sock.recv(4096):
            pass
        sockets.append(sock)
    began, echoed = time.perf_counter(), 0
    while time.perf_counter() - began < 3:
        for sock in sockets:
            sock.sendall(frame)
        for sock in sockets:
            sock.recv(204, socket.MSG_WAITALL)
        echoed += len(sockets)
    rate = echoed / (time.perf_counter() - began)
    for sock in sockets:
        sock.close()
    return rate


if __name__ == "__main__":
    main()
