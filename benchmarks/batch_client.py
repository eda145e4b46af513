"""A client of the Batch service that costs little itself, and a server to use it on."""

from __future__ import annotations

import email.utils
import http.client
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from tests.servers import Server, start_server

from millpond.common.shared_key import decode_key, sign

_VERSION = "2024-07-01.20.0"
_CONTENT_TYPE = "application/json; odata=minimalmetadata"
#: A pool's machines: what they are called makes no difference here.
_IMAGE = {
    "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
}


class BatchError(Exception):
    """The service refused."""


class BatchClient:
    """One connection, with the calls that the measurements make."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._account = credentials["BATCH_ACCOUNT_NAME"]
        self._key = decode_key(credentials["BATCH_ACCOUNT_KEY"])
        self._connection = http.client.HTTPConnection(urlsplit(credentials["BATCH_ACCOUNT_URL"]).netloc, timeout=600)

    def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """The answer's JSON, or ``None`` where it has none. ``body`` is JSON already, where it is bytes.

        Raises :class:`BatchError`.
        """
        return msgspec.json.decode(answer) if (answer := self.raw(method, path, body, **query)) else None

    def raw(self, method: str, path: str, body: object = None, **query: str) -> bytes:
        """The answer's body."""
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        query = {"api-version": _VERSION, **query}
        date = email.utils.formatdate(usegmt=True)
        length = "" if method == "GET" else str(len(data))
        resource = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        signed = (
            f"{method}\n\n\n{length}\n\n{_CONTENT_TYPE}\n\n\n\n\n\n\nocp-date:{date}\n/{self._account}{path}{resource}"
        )
        headers = {
            "Authorization": f"SharedKey {self._account}:{sign(self._key, signed)}",
            "Content-Type": _CONTENT_TYPE,
            "ocp-date": date,
        }
        url = f"{path}?{'&'.join(f'{name}={quote(value)}' for name, value in query.items())}"
        self._connection.request(method, url, data if method != "GET" else None, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 400:
            raise BatchError(f"{method} {path}: {response.status} {answer[:500]!r}")
        return answer

    def close(self) -> None:
        self._connection.close()

    def add_pool(self, pool: str, nodes: int, task_slots: int = 1) -> None:
        self.call(
            "POST",
            "/pools",
            {
                "id": pool,
                "vmSize": "standard_d2s_v3",
                "virtualMachineConfiguration": _IMAGE,
                "targetDedicatedNodes": nodes,
                "taskSlotsPerNode": task_slots,
            },
        )

    def wait_until_idle(self, pool: str, nodes: int) -> None:
        """Until that many nodes are idle. Raises ``RuntimeError`` where they will not be."""
        for _ in _until_given_up("nodes are not idle", 60):
            states = [
                node["state"] for node in self.call("GET", f"/pools/{pool}/nodes", **{"$select": "id,state"})["value"]
            ]
            if states.count("idle") == nodes:
                return
            if failed := set(states) & {"unusable", "starttaskfailed", "unknown"}:
                raise RuntimeError(f"nodes are {failed}")
            time.sleep(0.005)

    def delete_pool(self, pool: str) -> None:
        """Delete it and wait until it is gone."""
        self.call("DELETE", f"/pools/{pool}")
        for _ in _until_given_up("the pool is not deleted", 60):
            if all(each["id"] != pool for each in self.call("GET", "/pools", **{"$select": "id"})["value"]):
                return
            time.sleep(0.02)

    def add_job(self, job: str, pool: str, **members: object) -> None:
        self.call("POST", "/jobs", {"id": job, "poolInfo": {"poolId": pool}, **members})

    def task_counts(self, job: str) -> dict[str, int]:
        counts = self.call("GET", f"/jobs/{job}/taskcounts")
        result: dict[str, int] = counts["taskCounts"]
        return result

    def tasks(self, job: str) -> Iterator[dict[str, Any]]:
        """Ids and execution information of the job's tasks."""
        query = {"$select": "id,executionInfo"}
        while True:
            page = self.call("GET", f"/jobs/{job}/tasks", **query)
            yield from page["value"]
            if "odata.nextLink" not in page:
                return
            query["$skiptoken"] = page["odata.nextLink"].partition("skiptoken=")[2].partition("&")[0]

    def wait_until_completed(self, job: str, count: int) -> None:
        """Until that many tasks are. Raises ``RuntimeError`` where one of them failed."""
        for _ in _until_given_up(f"tasks of {job} are not completed", 1200):
            counts = self.task_counts(job)
            if counts["failed"]:
                raise RuntimeError(f"{counts['failed']} tasks failed")
            if counts["completed"] == count:
                return
            time.sleep(0.01)


def _until_given_up(what: str, patience_s: float) -> Iterator[None]:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        yield
    raise RuntimeError(f"{what} after {patience_s} s")


def collections(count: int, command_line: str, prefix: str = "task") -> Iterator[bytes]:
    """Bodies of addtaskcollection for so many tasks, a hundred in each."""
    return in_collections({"id": f"{prefix}-{number:07}", "commandLine": command_line} for number in range(count))


def in_collections(tasks: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    """Bodies of addtaskcollection for these tasks, a hundred in each."""
    remaining = iter(tasks)
    while part := list(islice(remaining, 100)):
        yield msgspec.json.encode({"value": part})


@contextmanager
def millpond(directory: Path, *options: str) -> Iterator[tuple[Server, BatchClient]]:
    """A server on a new data directory, and a client of it; killed at the end, with all that it started."""
    server = start_server(directory / "data", *options)
    client = BatchClient(server.credentials)
    try:
        yield server, client
    finally:
        client.close()
        stop(server)


def stop(server: Server) -> None:
    """By SIGTERM, however long it takes."""
    server.process.terminate()
    server.process.wait()
    server.kill()  # closes what is left open
