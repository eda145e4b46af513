"""Statistics over the wire: with SDKs of several ages, of pools that are gone, and through the end of everything."""

from __future__ import annotations

import datetime
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from tests.clients import run_client
from tests.servers import Server, running_server
from tests.wire.batch.make import job, pool, task, wait_for, wait_for_task
from tests.wire.batch.raw import RawClient

from millpond.common.clock import HOUR
from millpond.common.durations import parse_duration

_SCENARIO = Path(__file__).with_name("clients") / "scenario_statistics.py"
_COUNT = "/bin/sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'"


@pytest.mark.parametrize("version", ["2.0.0", "10.0.0", "14.2.0"])
def test_statistics_with_sdks_of_the_first_generation(version: str, server: Server) -> None:
    run_client(f"batch-{version}", _SCENARIO, f"stats-{version.replace('.', '-')}", env=server.credentials)


def test_statistics_with_the_newest_sdk(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("newest", 1))
    raw.send("POST", "/jobs", job("newest", "newest"))
    raw.send("POST", "/jobs/newest/tasks", task("count", _COUNT))
    wait_for_task(raw, "newest", "count")
    assert client.get_task("newest", "count").task_statistics is None
    used = client.get_task("newest", "count", expand=["stats"]).task_statistics
    assert used is not None
    assert used.user_cpu_time > datetime.timedelta()
    assert isinstance(used.read_iops, int)
    whole = client.get_job("newest", expand=["stats"]).job_statistics
    assert whole is not None
    assert (whole.user_cpu_time, whole.wall_clock_time) == (used.user_cpu_time, used.wall_clock_time)
    assert (whole.succeeded_tasks_count, whole.failed_tasks_count) == (1, 0)
    held = client.get_pool("newest", expand=["stats"]).pool_statistics
    assert held is not None
    assert held.usage_statistics is not None
    assert held.usage_statistics.dedicated_core_time > datetime.timedelta()
    [metrics] = client.list_pool_usage_metrics(filter="poolId eq 'newest'")
    assert isinstance(metrics, models.BatchPoolUsageMetrics)
    assert metrics.total_core_hours > 0
    assert metrics.end_time - metrics.start_time <= datetime.timedelta(minutes=30)


def test_numbers_have_the_wire_s_types(raw: RawClient) -> None:
    raw.send("POST", "/jobs", job("types"))
    stats = raw.send("GET", "/jobs/types?$expand=stats").content["stats"]
    assert {name: stats[name] for name in ("numFailedTasks", "readIOps", "waitTime", "readIOGiB")} == {
        "numFailedTasks": "0",
        "readIOps": "0",
        "waitTime": "PT0S",
        "readIOGiB": 0.0,
    }
    assert "stats" not in raw.send("GET", "/jobs/types").content
    assert raw.send("GET", "/jobs/types?$expand=stats&$select=id").content.keys() == {"odata.metadata", "id"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("startTime=never", "InvalidQueryParameterValue"),
        ("startTime=2026-01-02T00:00:00Z&endTime=2026-01-01T00:00:00Z", "InvalidQueryParameterValue"),
        ("$filter=vmSize%20eq%20'x'", "InvalidQueryParameterValue"),
        ("maxresults=0", "OutOfRangeQueryParameterValue"),
    ],
)
def test_wrong_questions_for_usage_metrics_are_refused(query: str, code: str, raw: RawClient) -> None:
    reply = raw.send("GET", f"/poolusagemetrics?{query}")
    assert (reply.status, reply.code) == (400, code)


def test_usage_metrics_are_those_of_the_time_that_is_asked_for(raw: RawClient) -> None:
    long_ago = "startTime=2020-01-01T00:00:00Z&endTime=2020-01-02T00:00:00Z"
    assert raw.send("GET", f"/poolusagemetrics?{long_ago}").content["value"] == []


def _lifetime(raw: RawClient, kind: str) -> dict[str, Any]:
    content: dict[str, Any] = raw.send("GET", f"/lifetime{kind}stats", version="2022-10-01.16.0").content
    assert content["url"] == f"{raw.url}/lifetime{kind}stats"
    return _numbers(content)


def _numbers(stats: dict[str, Any]) -> dict[str, Any]:
    """What is the same whoever asks, and when."""
    return {name: value for name, value in stats.items() if name not in ("url", "odata.metadata", "lastUpdateTime")}


def _core_hours(raw: RawClient) -> list[float]:
    return [each["totalCoreHours"] for each in raw.send("GET", "/poolusagemetrics").content["value"]]


def _kill_service(server: Server) -> None:
    """End the Batch service by SIGKILL, and wait until its supervisor has started it anew."""
    before = server.service_pid("batch")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: server.service_pid("batch") not in (0, before))


def test_what_is_used_is_counted_once_over_kills_and_deletions(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_server(data) as server:
        raw = RawClient(server)
        assert _lifetime(raw, "job")["numSucceededTasks"] == "0"
        raw.send("POST", "/pools", pool("gone", 1))
        raw.send("POST", "/jobs", job("gone", "gone"))
        for name, command in (("count", _COUNT), ("fails", "false")):
            raw.send("POST", "/jobs/gone/tasks", task(name, command))
            wait_for_task(raw, "gone", name)
        stats = _numbers(raw.send("GET", "/jobs/gone?$expand=stats").content["stats"])
        assert (stats["numSucceededTasks"], stats["numFailedTasks"]) == ("1", "1")
        _kill_service(server)
        assert _numbers(raw.send("GET", "/jobs/gone?$expand=stats").content["stats"]) == stats
        for entity in ("/jobs/gone", "/pools/gone"):
            assert raw.send("DELETE", entity).status == 202
        wait_for(lambda: all(raw.send("GET", entity).status == 404 for entity in ("/jobs/gone", "/pools/gone")))
        assert _lifetime(raw, "job") == stats
        usage = _lifetime(raw, "pool")["usageStats"]["dedicatedCoreTime"]
        assert parse_duration(usage) > 0
        hours = _core_hours(raw)
        assert sum(hours) == pytest.approx(parse_duration(usage) / HOUR)
        _kill_service(server)
        assert _lifetime(raw, "job") == stats
    with running_server(data) as server:
        raw = RawClient(server)
        assert _lifetime(raw, "job") == stats
        assert _lifetime(raw, "pool")["usageStats"]["dedicatedCoreTime"] == usage
        assert _core_hours(raw) == hours
