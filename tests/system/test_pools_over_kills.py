"""What pools do by themselves goes on where the service that did it was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.servers import Server, millpond, running_server
from tests.wire.batch.make import job, pool, task, wait_for
from tests.wire.batch.raw import RawClient

BY_TASKS = "$TargetDedicatedNodes = min(2, $PendingTasks); $TargetLowPriorityNodes = 1;"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    settings = directory / "millpond.toml"
    settings.write_text("shortest_evaluation_interval_s = 1\n")
    with running_server(directory / "data", "--config", str(settings)) as server:
        yield server


def kill_batch(server: Server, raw: RawClient) -> None:
    """Kill the Batch service, and wait until the supervisor has another one answering."""
    before = server.service_pid("batch")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: server.service_pid("batch") != before)
    assert raw.send("GET", "/pools/scaled").status == 200


def states(raw: RawClient) -> dict[str, str]:
    nodes = raw.send("GET", "/pools/scaled/nodes").content["value"]
    return {node["id"]: node["state"] for node in nodes}


def history_began(raw: RawClient) -> str:
    formula = {"autoScaleFormula": "x = $PendingTasks.HistoryBeginTime();"}
    results = raw.send("POST", "/pools/scaled/evaluateautoscale", formula).content["results"]
    return str(results).rpartition(";")[2]


def test_scaling_and_preemption_go_on_after_kills(server: Server) -> None:
    raw = RawClient(server)
    scaling = {"enableAutoScale": True, "autoScaleFormula": BY_TASKS, "autoScaleEvaluationInterval": "PT1S"}
    assert raw.send("POST", "/pools", pool("scaled") | scaling | {"targetDedicatedNodes": None}).status == 201
    (spot,) = wait_for(lambda: [node for node, state in states(raw).items() if state == "idle"])
    began = history_began(raw)
    assert millpond("preempt", spot, "--for", "2", "--data", server.data).returncode == 0
    kill_batch(server, raw)
    assert history_began(raw) == began
    assert states(raw)[spot] == "preempted"
    raw.send("POST", "/jobs", job("scaled", "scaled"))
    for name in ("a", "b", "c"):
        raw.send("POST", "/jobs/scaled/tasks", task(name, "sleep 600"))
    kill_batch(server, raw)
    wait_for(lambda: list(states(raw).values()).count("running") == 3)
    assert spot in states(raw)
    raw.send("POST", "/jobs/scaled/terminate")
    wait_for(lambda: states(raw) == {spot: "idle"})
