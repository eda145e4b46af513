"""HTTP and WebSocket clients for the node's agent: what they cost a process, and how fast they are.

``python -m benchmarks.choices.http_client``. Each figure is the median of several fresh processes, which take turns.
"Ready after" is from the first line of the program to the first answer: the import and one exchange. The server is
ours, on the same machine.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from ..environments import ROOT, python_with, scratch
from .http_client_app import HTTP_CLIENTS, WEBSOCKET_CLIENTS

ROUNDS = 7


def main() -> None:
    python = python_with(
        "clients", "httpx", "aiohttp", "urllib3", "websockets", "wsproto", "uvicorn[standard]", "msgspec"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    with scratch() as directory, socket.socket() as probe:
        content, out = Path(directory, "content"), Path(directory, "out")
        content.write_bytes(os.urandom(1 << 20) * 256)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = subprocess.Popen(
            [python, "-m", "benchmarks.choices.http_server_app", "millpond", str(port), content, out],
            cwd=ROOT,
            env=environment,
        )
        try:
            _wait_until_up(port)
            for kind, names in (("http", list(HTTP_CLIENTS)), ("websocket", list(WEBSOCKET_CLIENTS))):
                figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
                for _ in range(ROUNDS):
                    for name in names:
                        out.unlink(missing_ok=True)
                        done = subprocess.run(
                            [
                                python,
                                "-m",
                                "benchmarks.choices.http_client_app",
                                f"{kind}:{name}",
                                f"http://127.0.0.1:{port}",
                                out,
                            ],
                            cwd=ROOT,
                            env=environment,
                            capture_output=True,
                            check=True,
                        )
                        figures[name].append(msgspec.json.decode(done.stdout, type=dict[str, float]))
                _print(kind, figures)
        finally:
            server.terminate()
            server.wait()


def _wait_until_up(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)


def _print(kind: str, figures: dict[str, list[dict[str, float]]]) -> None:
    table = Table(kind, *figures)
    for what in next(iter(figures.values()))[0]:
        medians = (statistics.median(run[what] for run in runs) for runs in figures.values())
        table.add_row(what, *(f"{median:,.4g}" for median in medians))
    Console().print(table)


if __name__ == "__main__":
    main()
