"""Compute nodes, by the newest SDK, with real nodes."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import (  # the SDK forgot to export them
    BatchNodeDeallocateOptions,
    BatchNodeDisableSchedulingOptions,
    BatchNodeReimageOptions,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import AccountSasPermissions, ContainerClient, ResourceTypes, generate_account_sas
from tests.clients import run_client
from tests.servers import Server
from tests.system.nodes import sandbox_problem
from tests.wire.batch.make import wait_for
from tests.wire.batch.raw import RawClient

import millpond

IN_SANDBOXES = pytest.mark.skipif(os.geteuid() != 0 or bool(sandbox_problem()), reason="needs sandboxes made by root")
DEALLOCATE = BatchNodeDeallocateOptions(node_deallocate_option="terminate")
REIMAGE = BatchNodeReimageOptions(node_reimage_option="requeue")


def add_pool(client: BatchClient, pool_id: str, **options: Any) -> None:
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    machine = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    fields = {"target_dedicated_nodes": 1, "virtual_machine_configuration": machine, **options}
    client.create_pool(models.BatchPoolCreateOptions(id=pool_id, vm_size="standard_d2s_v3", **fields))


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


@IN_SANDBOXES
def test_users_are_added_updated_and_deleted(client: BatchClient, raw: RawClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
    user = models.BatchNodeUserCreateOptions(name="alice", password="kt#_gahr!@aGERDXA", expiry_time=later)
    client.create_node_user(pool, node, user)
    with pytest.raises(ResourceExistsError) as refusal:
        client.create_node_user(pool, node, user)
    assert code_of(refusal.value) == "NodeUserExists"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnobody me@here"
    client.replace_node_user(pool, node, "alice", models.BatchNodeUserReplaceOptions(ssh_public_key=key))
    client.delete_node_user(pool, node, "alice")
    absent: list[Callable[[], None]] = [
        lambda: client.delete_node_user(pool, node, "alice"),
        lambda: client.replace_node_user(pool, node, "alice", models.BatchNodeUserReplaceOptions(password="x")),
    ]
    for operation in absent:
        with pytest.raises(ResourceNotFoundError) as missing:
            operation()
        assert code_of(missing.value) == "NodeUserNotFound"
    users = f"/pools/{pool}/nodes/{node}/users"
    for body, culprit in (
        ({"name": "no/name"}, "name"),
        ({"name": "bob", "sshPublicKey": "no key"}, "sshPublicKey"),
        ({"name": "bob", "password": "two\nlines"}, "password"),
        ({"name": "bob", "expiryTime": "2020-01-01T00:00:00Z"}, "expiryTime"),
        ({"name": "bob", "expiryTime": "soon"}, "expiryTime"),
    ):
        reply = raw.send("POST", users, body)
        assert (reply.status, reply.code, reply.values["PropertyName"]) == (400, "InvalidPropertyValue", culprit)
    assert raw.send("POST", users, {"password": "x"}).code == "MissingRequiredProperty"
    assert raw.send("POST", f"/pools/{pool}/nodes/none/users", {"name": "bob"}).code == "NodeNotFound"


@IN_SANDBOXES
@pytest.mark.skipif(not shutil.which("sshd", path="/usr/sbin:/usr/bin"), reason="needs an SSH server (openssh-server)")
def test_remote_login_settings_lead_to_an_ssh_server(client: BatchClient, pool: str) -> None:
    node = node_in(client, pool, "idle")
    settings = client.get_node_remote_login_settings(pool, node.id)
    assert settings.remote_login_ip_address == node.ip_address
    with socket.create_connection((settings.remote_login_ip_address, settings.remote_login_port), 10) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")


def test_there_is_no_remote_desktop(raw: RawClient, client: BatchClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    reply = raw.send("GET", f"/pools/{pool}/nodes/{node}/rdp", version="2024-02-01.19.0")
    assert (reply.status, reply.code) == (409, "OperationNotValidOnNode")
    assert raw.send("GET", f"/pools/{pool}/nodes/{node}/rdp").code == "UnsupportedRequestVersion"


def test_logs_of_the_time_asked_for_are_uploaded(client: BatchClient, server: Server, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    names = server.credentials
    sas = generate_account_sas(
        names["STORAGE_ACCOUNT_NAME"],
        names["STORAGE_ACCOUNT_KEY"],
        ResourceTypes(object=True),
        AccountSasPermissions(write=True, create=True),
        now + hour,
    )
    with ContainerClient(server.blob_url, "logs", names["STORAGE_ACCOUNT_KEY"]) as container:
        container.create_container()
        upload = models.UploadBatchServiceLogsOptions(container_url=f"{container.url}?{sas}", start_time=now - hour)
        result = client.upload_node_logs(pool, node, upload)
        assert result.number_of_files_uploaded == 1
        assert re.fullmatch(rf"batch-[0-9A-F]{{16}}/{pool}/{node}/[0-9a-f-]{{36}}", result.virtual_directory_name)
        blobs = {blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()}
        [(name, log)] = blobs.items()
        assert name == f"{result.virtual_directory_name}/agent.log"
        assert f"agent {millpond.__version__} of {node}".encode() in log
        for start, end in ((now + hour, None), (now - 2 * hour, now - hour)):
            options = models.UploadBatchServiceLogsOptions(
                container_url=f"{container.url}?{sas}", start_time=start, end_time=end
            )
            assert client.upload_node_logs(pool, node, options).number_of_files_uploaded == 0
        assert len(list(container.list_blobs())) == 1
        for wrong in (container.url, f"{container.url}none?{sas}"):
            with pytest.raises(HttpResponseError) as refusal:
                options = models.UploadBatchServiceLogsOptions(container_url=wrong, start_time=now - hour)
                client.upload_node_logs(pool, node, options)
            assert (refusal.value.status_code, code_of(refusal.value)) == (400, "InvalidPropertyValue")
            assert "sig=" not in str(refusal.value.error)


def test_extensions_are_listed_as_what_they_are(client: BatchClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    assert list(client.list_node_extensions(pool, node)) == []
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    extension = models.VMExtension(
        name="Monitor",
        publisher="Microsoft.Azure.Monitor",
        type="AzureMonitorLinuxAgent",
        settings={"a": "b"},
        protected_settings={"secret": "secret"},
    )
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04", extensions=[extension]
    )
    add_pool(client, "extended", virtual_machine_configuration=machine)
    node = node_in(client, "extended", "idle").id
    [listed] = client.list_node_extensions("extended", node)
    assert listed.provisioning_state == "Failed"
    assert listed.vm_extension is not None
    assert (listed.vm_extension.name, listed.vm_extension.settings) == ("Monitor", {"a": "b"})
    assert listed.vm_extension.protected_settings is None
    assert listed.instance_view is not None
    assert "nothing was installed" in str(listed.instance_view.statuses)
    assert client.get_node_extension("extended", node, "monitor").vm_extension == listed.vm_extension
    with pytest.raises(ResourceNotFoundError):
        client.get_node_extension("extended", node, "other")
    client.begin_delete_pool("extended", polling_interval=0)


def test_tasks_go_where_they_ask_to_and_nodes_tell_of_them(client: BatchClient) -> None:
    add_pool(client, "pair", target_dedicated_nodes=2)
    assert wait_for(lambda: [node.state for node in client.list_nodes("pair")] == ["idle"] * 2)
    client.create_job(models.BatchJobCreateOptions(id="pair", pool_info=models.BatchPoolInfo(pool_id="pair")))
    wanted = list(client.list_nodes("pair"))[1]
    affinity = models.BatchAffinityInfo(affinity_id=wanted.affinity_id)
    for number in range(4):
        task = models.BatchTaskCreateOptions(id=f"t{number}", command_line="true", affinity_info=affinity)
        client.create_task("pair", task)
        assert wait_for(lambda: client.get_task("pair", f"t{number}").state == "completed")  # noqa: B023
        info = client.get_task("pair", f"t{number}").node_info
        assert info is not None
        assert (info.node_id, info.affinity_id) == (wanted.id, wanted.affinity_id)
    node = client.get_node("pair", wanted.id)
    assert (node.total_tasks_run, node.total_tasks_succeeded) == (4, 4)
    assert (node.running_tasks_count, node.running_task_slots_count) == (0, 0)
    assert node.recent_tasks is not None
    assert [task.task_id for task in node.recent_tasks] == ["t3", "t2", "t1", "t0"]
    assert node.recent_tasks[0].task_url == f"{client.get_job('pair').url}/tasks/t3"
    assert node.recent_tasks[0].job_id == "pair"
    assert node.recent_tasks[0].task_state == "completed"
    assert node.recent_tasks[0].execution_info is not None
    assert node.recent_tasks[0].execution_info.exit_code == 0
    [other] = [each for each in client.list_nodes("pair") if each.id != wanted.id]
    assert other.recent_tasks is None
    assert node.node_agent_info is not None
    assert node.node_agent_info.version == millpond.__version__
    assert node.virtual_machine_info is not None
    assert node.virtual_machine_info.image_reference is not None
    assert node.virtual_machine_info.image_reference.sku == "server"
    client.begin_delete_pool("pair", polling_interval=0)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("state eq 'idle'", True),
        ("state ne 'idle'", False),
        ("stateTransitionTime gt DateTime'2020-01-01T00:00:00Z'", True),
        ("lastBootTime lt DateTime'2020-01-01T00:00:00Z'", False),
        ("allocationTime ge DateTime'2020-01-01T00:00:00Z' and state eq 'IDLE'", True),
        ("startTaskInfo/state eq 'completed'", True),
        ("startTaskInfo/result ne 'failure'", True),
        ("startTaskInfo/result eq 'failure'", False),
        ("startTaskInfo/exitCode eq 0", True),
        ("startTaskInfo/exitCode gt 0", False),
        ("startTaskInfo/startTime le DateTime'2020-01-01T00:00:00Z'", False),
        ("startTaskInfo/endTime ge DateTime'2020-01-01T00:00:00Z'", True),
    ],
)
def test_nodes_are_filtered_by_every_documented_property(
    client: BatchClient, pool: str, condition: str, holds: bool
) -> None:
    node = node_in(client, pool, "idle").id
    found = [each.id for each in client.list_nodes(pool, filter=condition, select=["id"])]
    assert found == ([node] if holds else [])


def test_every_member_of_a_node_can_be_selected(raw: RawClient, client: BatchClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    whole = raw.send("GET", f"/pools/{pool}/nodes/{node}").content
    for name in whole:
        if name != "odata.metadata":
            part = raw.send("GET", f"/pools/{pool}/nodes/{node}?$select={name}").content
            assert set(part) == {"odata.metadata", name}
            [listed] = raw.send("GET", f"/pools/{pool}/nodes?$select=id,{name}").content["value"]
            assert set(listed) == {"id", name}
    assert raw.send("GET", f"/pools/{pool}/nodes/{node}?$select=nothing").code == "InvalidQueryParameterValue"


#: The states that nodes are counted by, in each version that has counts.
COUNTED = {
    "2018-03-01": {
        *("creating", "idle", "leavingPool", "offline", "preempted", "rebooting", "reimaging", "running"),
        *("starting", "startTaskFailed", "unknown", "unusable", "waitingForStartTask", "total"),
    }
}
COUNTED["2024-02-01"] = COUNTED["2018-03-01"] | {"upgradingOS"}
COUNTED["2025-06-01"] = COUNTED["2024-02-01"] | {"deallocated", "deallocating"}


@pytest.mark.parametrize("version", sorted(COUNTED))
def test_counts_have_the_states_of_their_version(raw: RawClient, client: BatchClient, pool: str, version: str) -> None:
    node_in(client, pool, "idle")
    [counts] = raw.send("GET", f"/nodecounts?$filter=poolId%20eq%20'{pool}'", version=version).content["value"]
    assert set(counts) == {"poolId", "dedicated", "lowPriority"}
    assert set(counts["dedicated"]) == set(counts["lowPriority"]) == COUNTED[version]
    assert {name: count for name, count in counts["dedicated"].items() if count} == {"idle": 1, "total": 1}
    assert not any(counts["lowPriority"].values())


def test_files_of_nodes_are_listed_read_and_deleted(client: BatchClient, raw: RawClient, pool: str) -> None:
    node = node_in(client, pool, "idle").id
    top = {file.name: file for file in client.list_node_files(pool, node)}
    assert {"shared", "workitems", "fsmounts", "volatile", "startup", "applications"} <= set(top)
    assert all(file.is_directory and file.properties is None for file in top.values())
    script = "mkdir -p $AZ_BATCH_NODE_SHARED_DIR/a/b; printf 0123456789 > $AZ_BATCH_NODE_SHARED_DIR/a/b/digits.txt"
    run(client, pool, "writes", f"/bin/sh -c '{script}'")
    names = {file.name for file in client.list_node_files(pool, node, recursive=True)}
    assert {"shared/a", "shared/a/b", "shared/a/b/digits.txt", "startup/stdout.txt"} <= names
    only = client.list_node_files(pool, node, recursive=True, filter="startswith(name,'shared/a/b/')")
    assert [file.name for file in only] == ["shared/a/b/digits.txt"]
    path = "shared/a/b/digits.txt"
    assert b"".join(client.download_node_file(pool, node, path)) == b"0123456789"
    assert b"".join(client.download_node_file(pool, node, path, ocp_range="bytes=2-4")) == b"234"
    properties = client.get_node_file_properties(pool, node, path)
    assert (properties.content_length, properties.is_directory) == (10, False)
    assert str(properties.file_mode).startswith("0o100")
    assert client.get_node_file_properties(pool, node, "shared/a").is_directory
    url = f"/pools/{pool}/nodes/{node}/files/shared%2Fa"
    assert raw.send("DELETE", url).code == "OperationInvalidForCurrentState"
    assert raw.send("GET", f"{url}%2Fb%2Fdigits.txt", headers={"ocp-range": "bytes=10-"}).code == "InvalidRange"
    client.delete_node_file(pool, node, "shared/a", recursive=True)
    for _ in range(2):
        with pytest.raises(ResourceNotFoundError) as missing:
            client.delete_node_file(pool, node, path)
        assert code_of(missing.value) == "FileNotFound"


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


@pytest.mark.parametrize("version", ["2.0.0", "14.2.0"])
def test_older_clients_see_to_nodes(version: str, server: Server) -> None:
    has_users = "users" if os.geteuid() == 0 and not sandbox_problem() else "no-users"
    script = Path(__file__).with_name("clients") / "nodes_msrest.py"
    run_client(f"batch-{version}", script, f"nodes-{version[:2].strip('.')}", has_users, env=server.credentials)
