"""Requests for the things that tests work on, in the newest form."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.wire.batch.raw import RawClient

T = TypeVar("T")


def pool(pool_id: str, nodes: int = 0, **members: Any) -> dict[str, Any]:
    return {
        "id": pool_id,
        "vmSize": "STANDARD_A1_v2",
        "virtualMachineConfiguration": {
            "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
        "targetDedicatedNodes": nodes,
        **members,
    }


def job(job_id: str, pool_id: str = "nowhere", **members: Any) -> dict[str, Any]:
    return {"id": job_id, "poolInfo": {"poolId": pool_id}, **members}


def task(task_id: str, command: str = "true", **members: Any) -> dict[str, Any]:
    return {"id": task_id, "commandLine": command, **members}


def wait_for(what: Callable[[], T], seconds: float = 60) -> T:
    """The first true value that ``what`` gives."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)
    return value


def wait_for_task(raw: RawClient, job_id: str, task_id: str, state: str = "completed") -> dict[str, Any]:
    def current() -> dict[str, Any] | None:
        content: dict[str, Any] = raw.send("GET", f"/jobs/{job_id}/tasks/{task_id}").content
        return content if content["state"] == state else None

    found = wait_for(current)
    assert found is not None
    return found
