"""Resource files of every kind, from the Blob service to a task's working directory."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas
from tests.servers import Server, running_server
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient


@pytest.fixture(scope="module")
def container(server: Server) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(server.credentials["STORAGE_CONNECTION_STRING"]) as service:
        container = service.create_container("inputs")
        for name in ("a/one.txt", "a/deep/two ü.txt", "b.txt"):
            container.upload_blob(name, name.encode())
        yield container


@pytest.fixture(scope="module")
def job(raw: RawClient) -> str:
    assert raw.send("POST", "/pools", make.pool("files", nodes=1)).status == 201
    assert raw.send("POST", "/jobs", make.job("files", "files")).status == 201
    return "files"


def _sas(container: ContainerClient, server: Server) -> str:
    return generate_container_sas(
        server.credentials["STORAGE_ACCOUNT_NAME"],
        container.container_name,
        account_key=server.credentials["STORAGE_ACCOUNT_KEY"],
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )


def _run(raw: RawClient, job: str, task_id: str, *files: dict[str, Any]) -> dict[str, Any]:
    """Run a task with these resource files that lists what it has, and return it as it has ended."""
    command = "/bin/sh -c 'find . -type f -printf \"%P %m\\n\" | sort'"
    task = make.task(task_id, command, resourceFiles=list(files))
    assert raw.send("POST", f"/jobs/{job}/tasks", task).status == 201
    return make.wait_for_task(raw, job, task_id)


def _listing(raw: RawClient, job: str, task_id: str) -> list[str]:
    return raw.send("GET", f"/jobs/{job}/tasks/{task_id}/files/stdout.txt").body.decode().splitlines()


def test_container_of_the_linked_account(raw: RawClient, container: ContainerClient, job: str) -> None:
    ended = _run(raw, job, "linked", {"autoStorageContainerName": "inputs", "filePath": "in", "fileMode": "0640"})
    assert "failureInfo" not in ended["executionInfo"]
    assert ended["resourceFiles"] == [{"autoStorageContainerName": "inputs", "filePath": "in", "fileMode": "0640"}]
    assert _listing(raw, job, "linked") == ["in/a/deep/two ü.txt 640", "in/a/one.txt 640", "in/b.txt 640"]
    _run(raw, job, "prefix", {"autoStorageContainerName": "inputs", "blobPrefix": "a/"})
    assert _listing(raw, job, "prefix") == ["a/deep/two ü.txt 770", "a/one.txt 770"]


def test_container_by_a_signature(raw: RawClient, server: Server, container: ContainerClient, job: str) -> None:
    url = f"{container.url}?{_sas(container, server)}"
    files = [
        {"storageContainerUrl": url, "blobPrefix": "a/d", "filePath": "here"},
        {"httpUrl": f"{container.url}/b.txt?{_sas(container, server)}", "filePath": "x/y.txt", "fileMode": "755"},
    ]
    _run(raw, job, "signed", *files)
    assert _listing(raw, job, "signed") == ["here/a/deep/two ü.txt 770", "x/y.txt 755"]


def test_failed_downloads_say_which_blob(raw: RawClient, server: Server, container: ContainerClient, job: str) -> None:
    blob = f"{container.url}/none.txt"
    for task_id, file, code, name, culprit in [
        ("none", {"httpUrl": f"{blob}?{_sas(container, server)}", "filePath": "f"}, "BlobNotFound", "BlobUrl", blob),
        ("unsigned", {"httpUrl": blob, "filePath": "f"}, "BlobNotFound", "BlobUrl", blob),
        ("denied", {"httpUrl": f"{blob}?sv=2020-02-10&sig=x", "filePath": "f"}, "BlobAccessDenied", "BlobUrl", blob),
        ("no-container", {"autoStorageContainerName": "nowhere"}, "ResourceContainerNotFound", "BlobUrl", "/nowhere"),
        ("out", {"httpUrl": blob, "filePath": "../f"}, "ResourceFileCreateFailed", "FilePath", "../f"),
    ]:
        ended = _run(raw, job, task_id, file)
        failure = ended["executionInfo"]["failureInfo"]
        category = "servererror" if code == "ResourceFileCreateFailed" else "usererror"
        assert (failure["category"], failure["code"]) == (category, code), task_id
        (detail,) = failure["details"]
        assert (detail["name"], detail["value"].endswith(culprit)) == (name, True), task_id
        assert "exitCode" not in ended["executionInfo"]


def test_files_of_a_start_task_and_users_of_a_pool(raw: RawClient, container: ContainerClient) -> None:
    start = {
        "commandLine": "/bin/sh -c 'cat a/one.txt'",
        "resourceFiles": [{"autoStorageContainerName": "inputs", "blobPrefix": "a/one"}],
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
    }
    accounts = [{"name": "ada", "password": "secret", "linuxUserConfiguration": {"uid": 12345, "gid": 12345}}]
    pool = make.pool("users", nodes=1, startTask=start, userAccounts=accounts)
    assert raw.send("POST", "/pools", pool).status == 201
    assert "secret" not in raw.send("GET", "/pools/users").body.decode()
    raw.send("POST", "/jobs", make.job("users", "users"))
    seen = {}
    for task_id, identity in {
        "default": None,
        "named": {"username": "ada"},
        "own": {"autoUser": {"scope": "task"}},
        "admin": {"autoUser": {"elevationLevel": "admin"}},
        "unknown": {"username": "eve"},
    }.items():
        show = "/bin/sh -c 'echo $AZ_BATCH_NODE_ROOT_DIR $AZ_BATCH_TASK_USER_IDENTITY $(id -u)'"
        task = make.task(task_id, show) | ({"userIdentity": identity} if identity else {})
        assert raw.send("POST", "/jobs/users/tasks", task).status == 201
        info = make.wait_for_task(raw, "users", task_id)["executionInfo"]
        output = raw.send("GET", f"/jobs/users/tasks/{task_id}/files/stdout.txt").body.decode().split()
        seen[task_id] = [info["failureInfo"]["code"]] if "failureInfo" in info else output
    assert seen.pop("unknown") == ["CommandLaunchFailed"]
    identities = {task_id: words[1] for task_id, words in seen.items()}
    assert identities == {"default": "PoolNonAdmin", "named": "ada", "own": "TaskNonAdmin", "admin": "PoolAdmin"}
    node = raw.send("GET", "/pools/users/nodes").content["value"][0]["id"]
    assert raw.send("GET", f"/pools/users/nodes/{node}/files/startup/stdout.txt").body == b"a/one.txt"
    if seen["default"][0] == "/mnt/batch/tasks" and os.geteuid() == 0:  # in a sandbox, where users are real
        assert (seen["named"][2], seen["admin"][2]) == ("12345", "0")
        assert len({words[2] for words in seen.values()}) == 4


def test_without_a_linked_account_the_task_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_server(tmp_path_factory.mktemp("only") / "data", "--only", "batch") as server:
        raw = RawClient(server)
        raw.send("POST", "/pools", make.pool("p", nodes=1))
        raw.send("POST", "/jobs", make.job("j", "p"))
        ended = _run(raw, "j", "t", {"autoStorageContainerName": "inputs"})
        failure = ended["executionInfo"]["failureInfo"]
        assert (failure["code"], failure["details"][0]["value"]) == ("BlobDownloadMiscError", "inputs")
