"""What becomes of a job, and of what runs for it, when it is disabled or replaced."""

from __future__ import annotations

from typing import Any

import pytest
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient


@pytest.fixture(scope="module")
def pool(raw: RawClient) -> str:
    assert raw.send("POST", "/pools", make.pool("changes", 1, taskSlotsPerNode=4)).status == 201
    return "changes"


def _state(raw: RawClient, job: str) -> str:
    return str(raw.send("GET", f"/jobs/{job}").content["state"])


def _task(raw: RawClient, job: str, task: str) -> dict[str, Any]:
    content: dict[str, Any] = raw.send("GET", f"/jobs/{job}/tasks/{task}").content
    return content


@pytest.mark.parametrize("option", ["requeue", "terminate", "wait"])
def test_disabling_a_job(raw: RawClient, pool: str, option: str) -> None:
    job = f"disabled-{option}"
    assert raw.send("POST", "/jobs", make.job(job, pool)).status == 201
    program = "/bin/sh -c 'while ! test -e $AZ_BATCH_NODE_SHARED_DIR/go; do sleep 0.05; done'"
    assert raw.send("POST", f"/jobs/{job}/tasks", make.task("runs", program)).status == 201
    make.wait_for_task(raw, job, "runs", "running")
    assert raw.send("POST", f"/jobs/{job}/disable", {"disableTasks": option}).status == 202
    assert raw.send("POST", f"/jobs/{job}/tasks", make.task("waits")).status == 201
    if option == "wait":
        assert (_state(raw, job), _task(raw, job, "runs")["state"]) == ("disabling", "running")
        free = make.job("frees", pool)
        assert raw.send("POST", "/jobs", free).status == 201
        go = make.task("go", "/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/go'")
        assert raw.send("POST", "/jobs/frees/tasks", go).status == 201
        make.wait_for_task(raw, job, "runs")
    make.wait_for(lambda: _state(raw, job) == "disabled")
    ran = _task(raw, job, "runs")
    if option == "requeue":
        assert (ran["state"], ran["executionInfo"]["requeueCount"]) == ("active", 1)
    else:
        assert ran["state"] == "completed"
        assert ran["executionInfo"].get("failureInfo", {}).get("code") == (
            "TaskEnded" if option == "terminate" else None
        )
    assert _task(raw, job, "waits")["state"] == "active"
    assert raw.send("POST", f"/jobs/{job}/enable").status == 202
    make.wait_for_task(raw, job, "waits")
    raw.send("DELETE", f"/jobs/{job}")


@pytest.mark.parametrize(("version", "left"), [("2021-06-01.14.0", 3), ("2024-02-01.19.0", 3), ("2025-06-01", -1)])
def test_replacing_a_job_keeps_what_its_version_cannot_name(raw: RawClient, pool: str, version: str, left: int) -> None:
    job = f"replaced-{version[:4]}"
    content = make.job(job, pool, maxParallelTasks=3, priority=5, metadata=[{"name": "a", "value": "b"}])
    assert raw.send("POST", "/jobs", content).status == 201
    replaced = raw.send("PUT", f"/jobs/{job}", {"poolInfo": {"poolId": pool}}, version=version)
    assert replaced.status == 200, replaced.body
    found = raw.send("GET", f"/jobs/{job}").content
    assert (found["maxParallelTasks"], found["priority"], found.get("metadata")) == (left, 0, None)
