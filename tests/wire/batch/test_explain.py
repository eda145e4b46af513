"""What waits, says why: situations made real on a server, and the reasons that are given for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.servers import Server, millpond
from tests.wire.batch.make import job, pool, task, wait_for, wait_for_task
from tests.wire.batch.raw import RawClient

FOREVER = "sleep 300"


@pytest.fixture(scope="module", autouse=True)
def _situations(raw: RawClient) -> Iterator[None]:
    """Everything that the tests look at; what takes time, takes it all at once."""
    made: list[tuple[str, dict[str, Any]]] = [
        ("/pools", pool("x-one", 1)),
        ("/pools", pool("x-none", 0)),
        ("/pools", pool("x-badstart", 1, startTask=_start("echo No such compiler >&2; exit 7"))),
        ("/pools", pool("x-slowstart", 1, startTask=_start(f"echo Half done >&2; {FOREVER}"))),
        ("/pools", pool("x-prep", 1)),
        ("/pools", pool("x-badprep", 1)),
        ("/pools", _scaled("x-formula", "$TargetDedicatedNodes = $NoSuchThing;")),
        ("/pools", _scaled("x-zero", "$TargetDedicatedNodes = 0;")),
        ("/jobs", job("x-busy", "x-one", usesTaskDependencies=True)),
        ("/jobs/x-busy/tasks", task("long", FOREVER)),
        ("/jobs/x-busy/tasks", task("next")),
        ("/jobs/x-busy/tasks", task("big", requiredSlots=2)),
        ("/jobs/x-busy/tasks", task("after", dependsOn={"taskIds": ["long", "ghost"]})),
        ("/jobs/x-busy/tasks", task("7")),
        ("/jobs/x-busy/tasks", task("series", dependsOn={"taskIdRanges": [{"start": 7, "end": 9}]})),
        ("/jobs", job("x-disabled", "x-one")),
        ("/jobs/x-disabled/tasks", task("t")),
        ("/jobs/x-disabled/disable", {"disableTasks": "requeue"}),
        ("/jobs", job("x-nopool", "x-nowhere")),
        ("/jobs/x-nopool/tasks", task("t")),
        ("/jobs", job("x-nonodes", "x-none")),
        ("/jobs/x-nonodes/tasks", task("t")),
        ("/jobs", job("x-badstart", "x-badstart")),
        ("/jobs/x-badstart/tasks", task("t")),
        ("/jobs", job("x-prepared", "x-prep", jobPreparationTask=_line(f"echo Fetching >&2; {FOREVER}"))),
        ("/jobs/x-prepared/tasks", task("t")),
        ("/jobs", job("x-unprepared", "x-badprep", jobPreparationTask=_line("echo No licence >&2; exit 4"))),
        ("/jobs/x-unprepared/tasks", task("t")),
        ("/jobs", job("x-zero", "x-zero")),
        ("/jobs/x-zero/tasks", task("t")),
        ("/jobschedules", _schedule("x-hourly")),
    ]
    for path, body in made:
        reply = raw.send("POST", path, body)
        assert reply.status in (201, 202), (path, reply.body)
    wait_for_task(raw, "x-busy", "long", "running")
    raw.send("POST", "/jobs", job("x-urgent", "x-one", priority=100))
    raw.send("POST", "/jobs/x-urgent/tasks", task("first"))
    yield
    for kind, ids in (("jobschedules", ["x-hourly"]), ("jobs", _ids(raw, "jobs")), ("pools", _ids(raw, "pools"))):
        for entity in ids:
            raw.send("DELETE", f"/{kind}/{entity}?force=true")


def _ids(raw: RawClient, kind: str) -> list[str]:
    return [each["id"] for each in raw.send("GET", f"/{kind}?$select=id").content["value"] if each["id"][:2] == "x-"]


def _line(script: str) -> dict[str, Any]:
    return {"commandLine": f"/bin/sh -c '{script}'"}


def _start(script: str) -> dict[str, Any]:
    return _line(script) | {"waitForSuccess": True, "maxTaskRetryCount": 0}


def _scaled(pool_id: str, formula: str) -> dict[str, Any]:
    body = pool(pool_id, enableAutoScale=True, autoScaleFormula=formula)
    del body["targetDedicatedNodes"]
    return body


def _schedule(schedule_id: str) -> dict[str, Any]:
    return {
        "id": schedule_id,
        "schedule": {"recurrenceInterval": "PT1H", "doNotRunUntil": "2100-01-01T00:00:00Z"},
        "jobSpecification": {"poolInfo": {"poolId": "x-none"}},
    }


def explained(raw: RawClient, path: str, code: str) -> dict[str, Any]:
    """The reason of that code among those that are given, once it is."""

    def find() -> dict[str, Any] | None:
        reply = raw.send("GET", f"/{path}/explain")
        assert reply.status == 200, reply.body
        reasons: list[dict[str, Any]] = reply.content["reasons"]
        assert reasons
        return next((reason for reason in reasons if reason["code"] == code), None)

    found = wait_for(find, 30)
    assert found is not None
    return found


def node_of(raw: RawClient, pool_id: str) -> str:
    (node,) = wait_for(lambda: raw.send("GET", f"/pools/{pool_id}/nodes").content["value"])
    return str(node["id"])


SITUATIONS = [
    ("jobs/x-busy/tasks/long", "Running", "It runs on node .* since .*Z", False),
    ("jobs/x-busy/tasks/next", "NoFreeSlots", r"needs 1 slot .* none has more than 0 free \(0 of 1", False),
    ("jobs/x-busy/tasks/next", "NoFreeSlots", r"Before it: 1 task of job x-urgent \(priority 100\)", False),
    ("jobs/x-urgent/tasks/first", "NoFreeSlots", "It is the first in order", False),
    ("jobs/x-busy/tasks/big", "NeedsMoreSlotsThanNodesHave", "2 slots on one node, .*x-one have 1 slot", True),
    ("jobs/x-busy/tasks/after", "DependencyNotDone", r"depends on task long, not done yet: long \(running\)", False),
    ("jobs/x-busy/tasks/after", "DependencyNotFound", "depends on task ghost, which the job does not have", True),
    ("jobs/x-busy/tasks/series", "DependencyNotDone", r"not done yet: 7 \(active\)", False),
    ("jobs/x-busy", "TasksToRun", "1 of its tasks run, 3 wait for a place, 2 for other tasks", False),
    ("jobs/x-disabled", "JobDisabled", "disabled since .* until it is enabled", True),
    ("jobs/x-disabled/tasks/t", "JobDisabled", "Job x-disabled is disabled", True),
    ("jobs/x-nopool/tasks/t", "PoolNotFound", "There is no pool x-nowhere", True),
    ("jobs/x-nopool", "PoolNotFound", "There is no pool x-nowhere", True),
    ("jobs/x-nonodes/tasks/t", "PoolHasNoNodes", "Pool x-none has no nodes", True),
    ("pools/x-none", "PoolEmpty", "its target is 0", True),
    ("pools/x-one", "NodesAtWork", "1 of them runs 1 task, and 0 of 1 slot are free", False),
    ("pools/x-badstart", "StartTaskFailed", "starttaskfailed: Its start task has failed: exit code 7", True),
    ("jobs/x-badstart/tasks/t", "NoNodeTakesTasks", "None of the nodes .*: 1 starttaskfailed", True),
    ("jobs/x-badstart/tasks/t", "StartTaskFailed", "exit code 7.* Mend the pool's start task", True),
    ("pools/x-slowstart", "StartTaskRunning", "runs since .* Tasks wait until it succeeds", False),
    ("jobs/x-prepared/tasks/t", "JobPreparationRunning", "waits for the job preparation task on node", False),
    ("jobs/x-prepared", "JobPreparationRunning", "runs on 1 node", False),
    ("jobs/x-unprepared/tasks/t", "JobPreparationFailed", "failed on every node .*exit code 4", True),
    ("pools/x-formula", "AutoScaleFailed", "NoSuchThing", True),
    ("pools/x-zero", "AutoScaleWantsNoNodes", "its formula says so: .*TargetDedicatedNodes=0", False),
    ("jobs/x-zero/tasks/t", "AutoScaleWantsNoNodes", "evaluated again at", False),
    ("jobschedules/x-hourly", "NextRun", "due at 2100-01-01T00:00:00", False),
]


@pytest.mark.parametrize(("path", "code", "message", "needs_help"), SITUATIONS, ids=lambda value: str(value)[:40])
def test_situation_has_its_reason(raw: RawClient, path: str, code: str, message: str, needs_help: bool) -> None:
    reason = explained(raw, path, code)
    assert re.search(message, reason["message"])
    assert reason["needsHelp"] is needs_help


@pytest.mark.parametrize(
    ("path", "code", "line"),
    [
        ("pools/x-badstart", "StartTaskFailed", "No such compiler"),
        ("pools/x-slowstart", "StartTaskRunning", "Half done"),
        ("jobs/x-prepared/tasks/t", "JobPreparationRunning", "Fetching"),
        ("jobs/x-unprepared/tasks/t", "JobPreparationFailed", "No licence"),
    ],
)
def test_last_line_on_stderr_is_told(raw: RawClient, path: str, code: str, line: str) -> None:
    wait_for(lambda: explained(raw, path, code).get("lastStderrLine") == line)


def test_task_that_failed_blocks_its_dependents_and_says_how(raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("x-free", 1))
    raw.send("POST", "/jobs", job("x-chain", "x-free", usesTaskDependencies=True, maxParallelTasks=1))
    raw.send("POST", "/jobs/x-chain/tasks", task("bad", "/bin/sh -c 'echo Out of paper >&2; exit 3'"))
    raw.send("POST", "/jobs/x-chain/tasks", task("blocked", dependsOn={"taskIds": ["bad"]}))
    wait_for_task(raw, "x-chain", "bad")
    failed = explained(raw, "jobs/x-chain/tasks/bad", "TaskFailed")
    assert "exit code 3" in failed["message"]
    assert (failed["exitCode"], failed["lastStderrLine"]) == (3, "Out of paper")
    blocked = explained(raw, "jobs/x-chain/tasks/blocked", "DependencyFailed")
    assert "task bad, which has failed (exit code 3) and blocks it for ever" in blocked["message"]
    assert explained(raw, "jobs/x-chain", "AllTasksHeldBack")["needsHelp"]

    raw.send("POST", "/jobs/x-chain/tasks", task("holds", FOREVER))
    raw.send("POST", "/jobs/x-chain/tasks", task("waits"))
    assert "no more than 1 may" in explained(raw, "jobs/x-chain/tasks/waits", "MaxParallelTasksReached")["message"]


def test_node_that_takes_no_tasks_says_so(server: Server, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("x-off", 1))
    node = node_of(raw, "x-off")
    explained(raw, f"pools/x-off/nodes/{node}", "WaitingForTasks")
    raw.send("POST", f"/pools/x-off/nodes/{node}/disablescheduling")
    assert "Enable its scheduling" in explained(raw, f"nodes/{node[:30]}", "SchedulingDisabled")["message"]
    done = millpond("explain", "node", node[:30], "--data", server.data)
    assert (done.returncode, "SchedulingDisabled: " in done.stdout) == (3, True)
    assert millpond("explain", "node", "x-off", node, "--data", server.data).stdout.startswith(
        f"Node {node} is offline"
    )


def test_command_tells_people_and_programs(server: Server, raw: RawClient) -> None:
    def explain(*arguments: str) -> tuple[int, str]:
        done = millpond("explain", *arguments, "--data", server.data)
        return done.returncode, done.stdout + done.stderr

    explained(raw, "jobs/x-busy/tasks/next", "NoFreeSlots")
    code, text = explain("task", "x-busy", "next")
    assert code == 0
    assert re.match(r"Task next of job x-busy is active since \S+Z\.\n- NoFreeSlots: No node has room", text)
    code, text = explain("pool", "x-badstart")
    assert code == 3
    assert "  The last line on stderr: No such compiler\n" in text
    code, text = explain("schedule", "x-hourly", "--format", "json")
    found = json.loads(text)
    assert (code, found["state"], found["reasons"][0]["code"]) == (0, "active", "NextRun")
    assert explain("job", "x-disabled")[0] == 3
    assert explain("task", "x-busy", "nothing") == (1, "millpond: The specified task does not exist.\n")
    assert explain("node", "nothing") == (1, "millpond: The specified node does not exist.\n")
    assert "Several nodes have ids that begin so" in explain("node", "tvmps_")[1]


def test_only_who_may_ask_is_told(raw: RawClient) -> None:
    assert raw.send("GET", "/jobs/x-busy/explain", sign_it=False).code == "MissingRequiredHeader"
    assert raw.send("GET", "/jobs/x-nothing/explain").code == "JobNotFound"
    assert raw.send("GET", "/pools/x-nothing/explain").code == "PoolNotFound"
    assert raw.send("GET", "/pools/x-one/nodes/nothing/explain").code == "NodeNotFound"
    assert raw.send("GET", "/jobschedules/x-nothing/explain").code == "JobScheduleNotFound"
