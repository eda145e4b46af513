"""What becomes of tasks when nodes leave, what properties of a pool take effect when, and what an account may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from tests.servers import Server, running_server
from tests.wire.batch.make import job, pool, task, wait_for, wait_for_task
from tests.wire.batch.raw import RawClient

QUOTAS = """
most_nodes = 20
[quotas]
pools = 12
dedicated_cores = 6
low_priority_cores = 2
active_jobs_and_schedules = 7
communicating_nodes = 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    settings = directory / "millpond.toml"
    settings.write_text(QUOTAS)
    with running_server(directory / "data", "--config", str(settings)) as server:
        yield server


def steady(client: BatchClient, pool_id: str) -> models.BatchPool:
    """The pool, once nothing joins or leaves."""

    def found() -> models.BatchPool | None:
        pool = client.get_pool(pool_id)
        return pool if pool.allocation_state == models.AllocationState.STEADY else None

    pool = wait_for(found)
    assert pool is not None
    return pool


def busy_pool(raw: RawClient, pool_id: str) -> None:
    """A pool of one node, which runs a task of its job."""
    assert raw.send("POST", "/pools", pool(pool_id, 1)).status == 201
    assert raw.send("POST", "/jobs", job(pool_id, pool_id)).status == 201
    assert raw.send("POST", f"/jobs/{pool_id}/tasks", task("t", "sleep 600")).status == 201
    wait_for_task(raw, pool_id, "t", "running")


def shrink(client: BatchClient, pool_id: str, option: str) -> None:
    client.begin_resize_pool(
        pool_id, models.BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option=option)
    )


def test_requeue_and_terminate_end_tasks_at_once(client: BatchClient, raw: RawClient) -> None:
    for pool_id, option in (("requeued", "requeue"), ("terminated", "terminate")):
        busy_pool(raw, pool_id)
        shrink(client, pool_id, option)
        assert steady(client, pool_id).current_dedicated_nodes == 0
    requeued = raw.send("GET", "/jobs/requeued/tasks/t").content
    assert (requeued["state"], requeued["executionInfo"]["requeueCount"]) == ("active", 1)
    terminated = raw.send("GET", "/jobs/terminated/tasks/t").content
    assert terminated["state"] == "completed"
    assert terminated["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    for pool_id in ("requeued", "terminated"):
        raw.send("DELETE", f"/jobs/{pool_id}")
        raw.send("DELETE", f"/pools/{pool_id}")


def test_taskcompletion_waits_for_tasks(client: BatchClient, raw: RawClient) -> None:
    busy_pool(raw, "patient")
    shrink(client, "patient", "taskcompletion")
    raw.send("POST", "/jobs/patient/tasks", task("late"))
    assert client.get_pool("patient").allocation_state == models.AllocationState.RESIZING
    assert raw.send("GET", "/jobs/patient/tasks/t").content["state"] == "running"
    with pytest.raises(ResourceExistsError) as refused:
        shrink(client, "patient", "requeue")
    assert refused.value.error is not None
    assert refused.value.error.code == "PoolBeingResized"
    raw.send("POST", "/jobs/patient/tasks/t/terminate")
    assert steady(client, "patient").current_dedicated_nodes == 0
    assert raw.send("GET", "/jobs/patient/tasks/late").content["state"] == "active"
    raw.send("DELETE", "/jobs/patient")
    raw.send("DELETE", "/pools/patient")


def test_retaineddata_waits_for_files_too_and_a_stop_keeps_the_node(client: BatchClient, raw: RawClient) -> None:
    assert raw.send("POST", "/pools", pool("keeping", 1)).status == 201
    raw.send("POST", "/jobs", job("keeping", "keeping"))
    raw.send("POST", "/jobs/keeping/tasks", task("t", constraints={"retentionTime": "PT1H"}))
    wait_for_task(raw, "keeping", "t")
    shrink(client, "keeping", "retaineddata")
    assert client.get_pool("keeping").allocation_state == models.AllocationState.RESIZING
    assert raw.send("HEAD", "/jobs/keeping/tasks/t/files/stdout.txt").status == 200
    client.begin_stop_pool_resize("keeping")
    stopped = steady(client, "keeping")
    assert (stopped.target_dedicated_nodes, stopped.current_dedicated_nodes) == (0, 1)
    assert stopped.resize_errors is not None
    assert [problem.code for problem in stopped.resize_errors] == ["ResizeStopped"]
    raw.send("POST", "/jobs/keeping/tasks", task("more"))
    wait_for_task(raw, "keeping", "more")
    raw.send("DELETE", "/jobs/keeping")
    raw.send("DELETE", "/pools/keeping")


@pytest.mark.parametrize(
    ("operation", "body", "status", "code"),
    [
        ("resize", {}, 400, "MissingRequiredProperty"),
        ("resize", {"targetDedicatedNodes": -1}, 400, "InvalidPropertyValue"),
        ("resize", {"targetDedicatedNodes": 1, "resizeTimeout": "PT4M"}, 400, "InvalidPropertyValue"),
        ("resize", {"targetDedicatedNodes": 1, "nodeDeallocationOption": "never"}, 400, "InvalidPropertyValue"),
        ("stopresize", None, 409, "PoolNotBeingResized"),
        ("removenodes", {"nodeList": []}, 400, "InvalidPropertyValue"),
        ("removenodes", {"nodeList": ["x"] * 101}, 400, "InvalidPropertyValue"),
        ("removenodes", {"nodeList": ["tvmps_none_d"]}, 404, "NodeNotFound"),
    ],
)
def test_wrong_resizes_are_refused(operation: str, body: Any, status: int, code: str, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("refusing"))
    reply = raw.send("POST", f"/pools/refusing/{operation}", body)
    assert (reply.status, reply.code) == (status, code)


def test_removed_nodes_are_gone_and_lower_the_target(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("less", 3))
    steady(client, "less")
    first, second, third = (node.id for node in client.list_nodes("less"))
    assert first is not None
    assert third is not None
    client.begin_remove_nodes("less", models.BatchNodeRemoveOptions(node_ids=[first, third]))
    after = steady(client, "less")
    assert (after.target_dedicated_nodes, after.current_dedicated_nodes) == (1, 1)
    assert [node.id for node in client.list_nodes("less")] == [second]
    raw.send("DELETE", "/pools/less")


# --- properties


def test_start_task_takes_effect_when_nodes_boot(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("patched", 1, metadata=[{"name": "a", "value": "b"}]))
    steady(client, "patched")
    (node,) = client.list_nodes("patched")
    assert node.id is not None
    start_task = {"commandLine": "/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/started'", "waitForSuccess": True}
    assert raw.send("PATCH", "/pools/patched", {"startTask": start_task}).status == 200
    after = client.get_node("patched", node.id)
    assert (after.state, after.start_task_info) == (models.BatchNodeState.IDLE, None)
    file = f"/pools/patched/nodes/{node.id}/files/shared/started"
    assert raw.send("HEAD", file).status == 404
    assert raw.send("POST", f"/pools/patched/nodes/{node.id}/reboot").status == 202
    wait_for(lambda: raw.send("HEAD", file).status == 200)
    wait_for(lambda: client.get_node("patched", node.id or "").state == models.BatchNodeState.IDLE)
    found = client.get_pool("patched")
    assert found.metadata is not None
    assert [(item.name, item.value) for item in found.metadata] == [("a", "b")]
    replaced = raw.send("POST", "/pools/patched/updateproperties", {"applicationPackageReferences": [], "metadata": []})
    assert replaced.status == 204
    found = client.get_pool("patched")
    assert (found.start_task, found.metadata) == (None, [])
    reply = raw.send("PATCH", "/pools/patched", {"taskSlotsPerNode": 2})
    assert (reply.status, reply.code) == (409, "OperationInvalidForCurrentState")
    raw.send("DELETE", "/pools/patched")


def test_old_versions_replace_and_say_how_nodes_communicate(raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("modes"))
    body: dict[str, Any] = {"applicationPackageReferences": [], "certificateReferences": [], "metadata": []}
    version = "2024-02-01.19.0"
    target = {"targetNodeCommunicationMode": "Classic"}
    assert raw.send("POST", "/pools/modes/updateproperties", body | target, version=version).status == 204
    found = raw.send("GET", "/pools/modes", version=version).content
    assert (found["targetNodeCommunicationMode"], found["currentNodeCommunicationMode"]) == ("classic", "classic")
    assert "currentNodeCommunicationMode" not in raw.send("GET", "/pools/modes").content
    reply = raw.send("POST", "/pools/modes/updateproperties", {"metadata": []})
    assert (reply.status, reply.values["PropertyName"]) == (400, "applicationPackageReferences")
    raw.send("DELETE", "/pools/modes")


def test_tasks_run_as_the_users_of_the_pool(raw: RawClient) -> None:
    accounts = [
        {"name": "runner", "password": "secret", "linuxUserConfiguration": {"uid": 4711, "gid": 4712}},
        {"name": "boss", "password": "secret", "elevationLevel": "admin"},
    ]
    raw.send("POST", "/pools", pool("users", 1, userAccounts=accounts))
    raw.send("POST", "/jobs", job("users", "users"))
    for name in ("runner", "boss", "nobody-known"):
        identity = {"username": name}
        raw.send(
            "POST", "/jobs/users/tasks", task(name, "/bin/sh -c 'echo $AZ_BATCH_TASK_USER'", userIdentity=identity)
        )
        wait_for_task(raw, "users", name)
    for name in ("runner", "boss"):
        assert raw.send("GET", f"/jobs/users/tasks/{name}/files/stdout.txt").body.decode().strip() == name
    failed = raw.send("GET", "/jobs/users/tasks/nobody-known").content["executionInfo"]
    assert failed["failureInfo"]["code"] == "CommandLaunchFailed"
    assert "password" not in str(raw.send("GET", "/pools/users").content["userAccounts"])
    raw.send("DELETE", "/jobs/users")
    raw.send("DELETE", "/pools/users")


# --- quotas


@pytest.fixture
def no_nodes(raw: RawClient) -> None:
    """None of the account's cores is in use."""

    def are_gone() -> bool:
        counts = raw.send("GET", "/nodecounts").content["value"]
        return not any(entry[kind]["total"] for entry in counts for kind in ("dedicated", "lowPriority"))

    wait_for(are_gone)


@pytest.mark.usefixtures("no_nodes")
def test_cores_beyond_the_quota_are_resize_errors(client: BatchClient, raw: RawClient) -> None:
    size = {"vmSize": "standard_d2s_v3"}
    raw.send("POST", "/pools", pool("cores", 5, targetLowPriorityNodes=3) | size)
    found = steady(client, "cores")
    assert (found.current_dedicated_nodes, found.current_low_priority_nodes) == (3, 1)
    assert found.resize_errors is not None
    codes = [problem.code for problem in found.resize_errors]
    assert codes == ["AccountCoreQuotaReached", "AccountLowPriorityCoreQuotaReached"]
    older = raw.send("GET", "/pools/cores", version="2016-07-01.3.1").content
    assert older["resizeError"]["code"] == "AccountCoreQuotaReached"
    raw.send("DELETE", "/pools/cores")


@pytest.mark.usefixtures("no_nodes")
def test_pool_whose_nodes_communicate_is_small(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("talking", 2, enableInterNodeCommunication=True))
    found = steady(client, "talking")
    assert found.current_dedicated_nodes == 1
    assert found.resize_errors is not None
    assert [problem.code for problem in found.resize_errors] == ["CommunicationEnabledPoolReachedMaxVMCount"]
    raw.send("DELETE", "/pools/talking")


def test_pools_jobs_and_schedules_beyond_the_quota_are_refused(client: BatchClient, raw: RawClient) -> None:
    replies = [raw.send("POST", "/pools", pool(f"pool{number}")) for number in range(13)]
    assert replies[-1].status == 409
    assert replies[-1].code == "PoolQuotaReached"
    schedule = {
        "id": "schedule",
        "schedule": {"doNotRunUntil": "2100-01-01T00:00:00Z"},
        "jobSpecification": {"poolInfo": {"poolId": "pool1"}},
    }
    assert raw.send("POST", "/jobschedules", schedule).status == 201
    statuses = [raw.send("POST", "/jobs", job(f"job{number}")).status for number in range(7)]
    assert statuses[-1] == 409
    with pytest.raises(HttpResponseError) as refused:
        client.create_job(models.BatchJobCreateOptions(id="more", pool_info=models.BatchPoolInfo(pool_id="p")))
    assert refused.value.error is not None
    assert refused.value.error.code == "ActiveJobAndScheduleQuotaReached"
    assert raw.send("POST", "/jobschedules", schedule | {"id": "other"}).code == "ActiveJobAndScheduleQuotaReached"
    raw.send("POST", "/jobs/job0/terminate")
    wait_for(lambda: raw.send("GET", "/jobs/job0").content["state"] == "completed")
    assert raw.send("POST", "/jobs", job("more")).status == 201
