"""Containers mounted on real nodes, by FUSE."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas
from tests.servers import Server, running_server
from tests.system.nodes import fuse_problem
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(fuse_problem()), reason=fuse_problem() or "none")]


@pytest.fixture(scope="module")
def raw(server: Server) -> RawClient:
    return RawClient(server)


@pytest.fixture
def container(server: Server, request: pytest.FixtureRequest) -> Iterator[ContainerClient]:
    name = request.node.name.replace("_", "-")[:60].rstrip("-")
    text = server.credentials["STORAGE_CONNECTION_STRING"]
    with ContainerClient.from_connection_string(text, name) as container:
        container.create_container()
        yield container


def by_key(server: Server, container: str, path: str, **members: Any) -> dict[str, Any]:
    credentials = server.credentials
    return {
        "azureBlobFileSystemConfiguration": {
            "accountName": credentials["STORAGE_ACCOUNT_NAME"],
            "accountKey": credentials["STORAGE_ACCOUNT_KEY"],
            "containerName": container,
            "relativeMountPath": path,
            **members,
        }
    }


def by_signature(server: Server, container: str, path: str) -> dict[str, Any]:
    mount = by_key(server, container, path)
    kind = mount["azureBlobFileSystemConfiguration"]
    kind["sasKey"] = "?" + generate_container_sas(
        kind["accountName"],
        container,
        account_key=kind.pop("accountKey"),
        permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True, create=True),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )
    return mount


def add_pool(raw: RawClient, pool_id: str, *mounts: dict[str, Any], **members: Any) -> None:
    pool = make.pool(pool_id, 1, mountConfiguration=list(mounts), **members)
    reply = raw.send("POST", "/pools", pool)
    assert reply.status == 201, reply.body
    assert raw.send("POST", "/jobs", make.job(pool_id, pool_id)).status == 201


def node_in(raw: RawClient, pool_id: str, *states: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        nodes = raw.send("GET", f"/pools/{pool_id}/nodes").content["value"]
        return next((node for node in nodes if node["state"] in states), None)

    node = make.wait_for(found)
    assert node
    return node


def run(raw: RawClient, job: str, task_id: str, command: str, **members: Any) -> str:
    task = make.task(task_id, f"/bin/sh -ec '{command}'", **members)
    assert raw.send("POST", f"/jobs/{job}/tasks", task).status == 201
    done = make.wait_for_task(raw, job, task_id)
    files = f"/jobs/{job}/tasks/{task_id}/files"
    errors = raw.send("GET", f"{files}/stderr.txt").body
    assert done["executionInfo"]["exitCode"] == 0, (done, errors)
    return raw.send("GET", f"{files}/stdout.txt").body.decode()


ADMIN = {"userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}}
ALONE = {"userIdentity": {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}}}


def test_tasks_read_and_write_a_container(raw: RawClient, server: Server, container: ContainerClient) -> None:
    container.upload_blob("in/words.txt", b"one two three\n")
    name = container.container_name
    add_pool(
        raw,
        "mounted",
        by_key(server, name, "data"),
        by_signature(server, name, "signed/deep"),
        by_key(server, name, "fixed", blobfuseOptions="-o ro --file-cache-timeout-in-seconds=120"),
        startTask={
            "commandLine": "/bin/sh -c 'cat $AZ_BATCH_NODE_MOUNTS_DIR/data/in/words.txt'",
            "waitForSuccess": True,
        },
    )
    node = node_in(raw, "mounted", "idle")
    shown = raw.send("GET", "/pools/mounted").content["mountConfiguration"][0]["azureBlobFileSystemConfiguration"]
    assert "accountKey" not in shown
    program = (
        "cd $AZ_BATCH_NODE_MOUNTS_DIR/data; mkdir -p out/a; wc -w < in/words.txt > out/a/count; cp -r out out2; "
        "mv out2 moved; ln -s in link || echo no links; seq 200000 > out/many; tail -c 7 out/many; "
        "echo more >> out/a/count; rm -r moved; ls out; stat -c %F:%s out/a/count; df . | tail -1 | cut -c1-8"
    )
    output = run(raw, "mounted", "writes", program)
    assert output.split("\n")[:-1] == ["no links", "200000", "a", "many", "regular file:7", "blobfuse"]
    assert container.download_blob("out/a/count").readall() == b"3\nmore\n"
    assert container.download_blob("out/many").readall().endswith(b"\n200000\n")
    assert set(container.list_blob_names()) == {"in/words.txt", "out", "out/a", "out/a/count", "out/many"}

    for number, user in enumerate((ADMIN, ALONE)):
        again = f"cd $AZ_BATCH_NODE_MOUNTS_DIR/signed/deep; cat out/a/count; id -u > who; mv who who{number}"
        assert run(raw, "mounted", f"user-{number}", again, **user) == "3\nmore\n"
    assert container.download_blob("who0").readall() == b"0\n"

    refused = "cd $AZ_BATCH_NODE_MOUNTS_DIR/fixed; cat in/words.txt; ! touch new 2> /dev/null"
    assert run(raw, "mounted", "read-only", refused) == "one two three\n"

    files = raw.send("GET", f"/pools/mounted/nodes/{node['id']}/files?recursive=true").content["value"]
    assert {"fsmounts/data.log", "fsmounts/data/in/words.txt"} <= {file["name"].replace("\\", "/") for file in files}

    assert raw.send("POST", f"/pools/mounted/nodes/{node['id']}/reboot", {}).status == 202
    make.wait_for(lambda: node_in(raw, "mounted", "idle")["lastBootTime"] != node["lastBootTime"])
    assert run(raw, "mounted", "after-reboot", "cat $AZ_BATCH_NODE_MOUNTS_DIR/data/out/a/count") == "3\nmore\n"


def test_what_cannot_be_mounted_makes_nodes_unusable(raw: RawClient, server: Server) -> None:
    wrong = by_key(server, "is-not-there", "data")
    start = {"commandLine": "/bin/true", "waitForSuccess": True}
    add_pool(raw, "unmounted", wrong, startTask=start)
    nfs = {"nfsMountConfiguration": {"source": "127.0.0.1:/export", "relativeMountPath": "nfs"}}
    add_pool(raw, "no-nfs", nfs)
    for pool, kind in (("unmounted", "container is-not-there"), ("no-nfs", "NFS export 127.0.0.1:/export")):
        node = node_in(raw, pool, "unusable")
        assert "startTaskInfo" not in node
        [error] = node["errors"]
        assert error["code"] == "Mount Configuration Error"
        [detail] = error["errorDetails"]
        assert f"The {kind} could not be mounted" in detail["value"]


def test_a_mount_without_its_process_is_the_nodes_trouble(
    raw: RawClient, server: Server, container: ContainerClient
) -> None:
    add_pool(raw, "lost", by_key(server, container.container_name, "data"))
    node_in(raw, "lost", "idle")
    end = "for p in /proc/[0-9]*; do if grep -q [b]lob_mount $p/cmdline; then kill -9 ${p#/proc/}; fi; done"
    raw.send("POST", "/jobs/lost/tasks", make.task("end", f"/bin/sh -c '{end}'", **ADMIN))
    node = node_in(raw, "lost", "unusable")
    assert "fsmounts/data has ended" in node["errors"][0]["errorDetails"][0]["value"]


def test_nodes_without_a_sandbox_mount_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--isolation", "process") as server:
        raw = RawClient(server)
        add_pool(raw, "plain", by_key(server, "c", "data"))
        node = node_in(raw, "plain", "unusable")
        assert "only nodes in a sandbox" in node["errors"][0]["errorDetails"][0]["value"]
