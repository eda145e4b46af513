"""Compute nodes, by the newest SDK, with real nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import (  # the SDK forgot to export them
    BatchNodeDeallocateOptions,
    BatchNodeDisableSchedulingOptions,
    BatchNodeReimageOptions,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from tests.wire.batch.make import wait_for
from tests.wire.batch.raw import RawClient

DEALLOCATE = BatchNodeDeallocateOptions(node_deallocate_option="terminate")
REIMAGE = BatchNodeReimageOptions(node_reimage_option="requeue")


def add_pool(client: BatchClient, pool_id: str, **options: Any) -> None:
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    machine = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    fields = {"target_dedicated_nodes": 1, **options}
    client.create_pool(
        models.BatchPoolCreateOptions(
            id=pool_id, vm_size="standard_d2s_v3", virtual_machine_configuration=machine, **fields
        )
    )


def node_in(client: BatchClient, pool: str, state: str) -> models.BatchNode:
    """The pool's one node, once it is in that state."""

    def find() -> models.BatchNode | None:
        nodes = list(client.list_nodes(pool))
        return nodes[0] if nodes and nodes[0].state == state else None

    found = wait_for(find)
    assert found is not None
    return found


def run(client: BatchClient, job: str, task: str, command: str) -> models.BatchTask:
    client.create_task(job, models.BatchTaskCreateOptions(id=task, command_line=command))

    def find() -> models.BatchTask | None:
        found = client.get_task(job, task)
        return found if found.state == "completed" else None

    done = wait_for(find)
    assert done is not None
    return done


def code_of(refusal: HttpResponseError) -> str:
    return str(refusal.error.code)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def pool(client: BatchClient) -> Iterator[str]:
    """A pool with one node, whose start task leaves a mark in its files, and a job on it."""
    start_task = models.BatchStartTask(command_line="/bin/sh -c 'date +%s%N >> $AZ_BATCH_NODE_SHARED_DIR/boots'")
    add_pool(client, "nodes", start_task=start_task)
    client.create_job(models.BatchJobCreateOptions(id="nodes", pool_info=models.BatchPoolInfo(pool_id="nodes")))
    yield "nodes"


def lines(client: BatchClient, pool: str, node: str, path: str) -> int:
    return b"".join(client.download_node_file(pool, node, path)).count(b"\n")


def test_scheduling_is_disabled_and_enabled(client: BatchClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    disable = BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="taskcompletion")
    client.disable_node_scheduling(pool, node, disable)
    assert node_in(client, pool, "offline").scheduling_state == "disabled"
    counts = next(iter(client.list_pool_node_counts(filter=f"poolId eq '{pool}'"))).dedicated
    assert counts is not None
    assert (counts.offline, counts.total) == (1, 1)
    with pytest.raises(ResourceExistsError) as refusal:
        client.disable_node_scheduling(pool, node, disable)
    assert code_of(refusal.value) == "NodeAlreadyInTargetSchedulingState"
    client.create_task(pool, models.BatchTaskCreateOptions(id="waits", command_line="true"))
    assert client.get_task(pool, "waits").state == "active"
    client.enable_node_scheduling(pool, node)
    assert wait_for(lambda: client.get_task(pool, "waits").state == "completed")
    with pytest.raises(ResourceExistsError) as refusal:
        client.enable_node_scheduling(pool, node)
    assert code_of(refusal.value) == "NodeAlreadyInTargetSchedulingState"


def test_deallocated_node_starts_again_with_its_files(client: BatchClient, pool: str) -> None:
    before = node_in(client, pool, "idle")
    boots = lines(client, pool, before.id, "shared/boots")
    client.begin_deallocate_node(pool, before.id, DEALLOCATE, polling_interval=0).result()
    assert client.get_node(pool, before.id).state == "deallocated"
    with pytest.raises(ResourceExistsError) as refusal:
        list(client.list_node_files(pool, before.id))
    assert code_of(refusal.value) == "NodeNotReady"
    with pytest.raises(ResourceExistsError) as refusal:
        client.begin_deallocate_node(pool, before.id, DEALLOCATE, polling_interval=0)
    assert code_of(refusal.value) == "OperationInvalidForCurrentState"
    client.begin_start_node(pool, before.id, polling_interval=0).result()
    after = node_in(client, pool, "idle")
    assert (after.id, after.ip_address) == (before.id, before.ip_address)
    assert after.last_boot_time > before.last_boot_time
    assert lines(client, pool, after.id, "shared/boots") == boots + 1
    with pytest.raises(ResourceExistsError) as refusal:
        client.begin_start_node(pool, before.id, polling_interval=0)
    assert code_of(refusal.value) == "OperationInvalidForCurrentState"


def test_reimaged_node_is_empty_and_runs_its_start_task(client: BatchClient, pool: str) -> None:
    before = node_in(client, pool, "idle")
    left = run(client, pool, "leaves", "/bin/sh -c 'echo kept > $AZ_BATCH_NODE_SHARED_DIR/file'").execution_info
    assert left is not None
    assert left.exit_code == 0
    client.begin_reimage_node(pool, before.id, REIMAGE, polling_interval=0).result()
    after = node_in(client, pool, "idle")
    assert (after.id, after.ip_address) == (before.id, before.ip_address)
    assert lines(client, pool, after.id, "shared/boots") == 1
    names = {file.name for file in client.list_node_files(pool, after.id, recursive=True)}
    assert "shared/file" not in names
    assert not any(str(name).startswith("workitems/") for name in names)
    with pytest.raises(HttpResponseError) as refusal:
        list(client.list_task_files(pool, "leaves"))
    assert code_of(refusal.value) in ("TaskFilesCleanedup", "FileNotFound")


def test_options_of_nodes_are_checked(raw: RawClient, client: BatchClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    for operation, member in (
        ("reimage", "nodeReimageOption"),
        ("reboot", "nodeRebootOption"),
        ("deallocate", "nodeDeallocateOption"),
        ("disablescheduling", "nodeDisableSchedulingOption"),
    ):
        reply = raw.send("POST", f"/pools/{pool}/nodes/{node}/{operation}", {member: "never"})
        assert (reply.status, reply.code, reply.values["PropertyName"]) == (400, "InvalidPropertyValue", member)
        missing = raw.send("POST", f"/pools/{pool}/nodes/none/{operation}", {})
        assert (missing.status, missing.code) == (404, "NodeNotFound")
    reply = raw.send("POST", f"/pools/{pool}/nodes/{node}/start", version="2024-02-01.19.0")
    assert (reply.status, reply.code) == (400, "UnsupportedRequestVersion")
