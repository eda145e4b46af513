"""Every code of what goes wrong with pools, jobs and tasks: how a client comes to see it, or why none can here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas
from tests.servers import Server, running_server
from tests.unit.batch_api import reference
from tests.wire.batch.make import job, pool, task, wait_for
from tests.wire.batch.raw import RawClient

SETTINGS = """
most_nodes = 4
[quotas]
pools = 5
dedicated_cores = 4
"""


@dataclass
class World:
    client: BatchClient
    raw: RawClient
    #: A URL of a container, and a signature that reads it.
    container: str
    signature: str
    #: A signed URL to write to, of a container that there is not.
    missing: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("server")
    settings = directory / "millpond.toml"
    settings.write_text(SETTINGS)
    with running_server(directory / "data", "--config", str(settings)) as server:
        credentials = server.credentials
        key = AzureNamedKeyCredential(credentials["BATCH_ACCOUNT_NAME"], credentials["BATCH_ACCOUNT_KEY"])
        with BatchClient(server.batch_url, key) as client:
            world = World(client, RawClient(server), *_container(server))
            assert world.raw.send("POST", "/pools", pool("pool", 1, taskSlotsPerNode=4)).status == 201
            assert world.raw.send("POST", "/jobs", job("job", "pool")).status == 201
            yield world


def _container(server: Server) -> tuple[str, str, str]:
    name, key = server.credentials["STORAGE_ACCOUNT_NAME"], server.credentials["STORAGE_ACCOUNT_KEY"]
    account = {"account_name": name, "account_key": key}

    def signature(container: str, **may: bool) -> str:
        permission = ContainerSasPermissions(**may)
        return generate_container_sas(
            name, container, account_key=key, permission=permission, expiry="2100-01-01T00:00:00Z"
        )

    with ContainerClient(server.credentials["STORAGE_ACCOUNT_URL"], "files", account) as container:
        container.create_container()
        container.upload_blob("blob", b"content")
        missing = f"{container.url}-none?{signature('files-none', write=True)}"
        return container.url, signature("files", read=True, list=True), missing


# --- tasks ---

#: Where nothing listens.
NOWHERE = "http://127.0.0.1:1/account/files?sig=x"


def _file(url: str, path: str = "file") -> dict[str, Any]:
    return {"httpUrl": url, "filePath": path}


def _output(url: str) -> dict[str, Any]:
    return {
        "filePattern": "../stdout.txt",
        "destination": {"container": {"containerUrl": url}},
        "uploadOptions": {"uploadCondition": "taskcompletion"},
    }


TASKS: dict[str, dict[str, Any]] = {
    "BlobNotFound": {"resourceFiles": [_file("{container}/none?{signature}")]},
    "BlobAccessDenied": {"resourceFiles": [_file("{container}/blob?sv=2020-02-10&sig=x")]},
    "BlobDownloadMiscError": {"resourceFiles": [_file(NOWHERE)]},
    "ResourceContainerNotFound": {"resourceFiles": [{"autoStorageContainerName": "nowhere"}]},
    "ResourceContainerAccessDenied": {"resourceFiles": [{"storageContainerUrl": "{container}?sv=2020-02-10&sig=x"}]},
    "ResourceContainerListMiscError": {"resourceFiles": [{"storageContainerUrl": NOWHERE}]},
    "ResourceFileCreateFailed": {"resourceFiles": [_file("{container}/blob?{signature}", "../../file")]},
    "ResourceDirectoryCreateFailed": {
        "resourceFiles": [_file("{container}/blob?{signature}", name) for name in ("file", "file/below")]
    },
    "ResourceFileWriteFailed": {
        "resourceFiles": [_file("{container}/blob?{signature}", name) for name in ("place/file", "place")]
    },
    "CommandProgramNotFound": {"commandLine": "/no/such/program"},
    "CommandLaunchFailed": {"userIdentity": {"username": "nobody-known"}},
    "FailureExitCode": {"commandLine": "false"},
    "TaskEnded": {"commandLine": "sleep 600", "constraints": {"maxWallClockTime": "PT0.1S"}},
    "ApplicationPackageError": {"applicationPackageReferences": [{"applicationId": "none", "version": "1"}]},
    "FileUploadAccessDenied": {"outputFiles": [_output("{container}?{signature}")]},
    "FileUploadContainerNotFound": {"outputFiles": [_output("{missing}")]},
    "FileUploadMiscError": {"outputFiles": [_output(NOWHERE)]},
}

_CONTAINERS = "tasks in containers have tests of their own, where there is a runtime for them"

NO_TASKS = {
    "BlobDownloadTimedOut": "a server must be silent for a minute; the node's own tests shorten that",
    "ContainerInvalidImage": _CONTAINERS,
    "ContainerInvalidRegistry": _CONTAINERS,
    "ContainerInvalidSettings": _CONTAINERS,
    "ContainerMiscError": _CONTAINERS,
    "DiskFull": "needs a small disk, which the tests of nodes in trouble mount",
    "FileUploadConflict": "an upload replaces the blob that is there",
    "FileUploadTimedOut": "a server must be silent for a minute; the node's own tests shorten that",
    "MaxInternalRetryCountReached": "a task is placed again for as long as its nodes are lost",
    "MountConfigurationError": "where file systems cannot be mounted, nodes say so, not tasks",
    "ResourceContainerListTimedOut": "a server must be silent for a minute; the node's own tests shorten that",
    "TaskSchedulingConstraintFailed": "a task that cannot be placed waits, and says what for",
    "Unknown": "what goes wrong has a name",
}


@pytest.fixture(scope="module")
def ended(world: World) -> dict[str, dict[str, Any]]:
    """The tasks by the code that each is to fail with, when they all have ended."""
    known = {"{container}": world.container, "{signature}": world.signature, "{missing}": world.missing}
    for code, members in TASKS.items():
        entry = task(code, "echo done") | _filled(members, known)
        reply = world.raw.send("POST", "/jobs/job/tasks", entry)
        assert reply.status == 201, reply.body

    def all_ended() -> list[dict[str, Any]]:
        found = world.raw.send("GET", "/jobs/job/tasks").content["value"]
        return found if all(each["state"] == "completed" for each in found) else []

    return {each["id"]: each["executionInfo"] for each in wait_for(all_ended)}


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    for name, text in known.items():
        value = value.replace(name, text) if isinstance(value, str) else value
    return value


@pytest.mark.parametrize("code", TASKS)
def test_tasks_fail_with(code: str, ended: dict[str, dict[str, Any]]) -> None:
    info = ended[code]
    failure = info["failureInfo"]
    assert (info["result"], failure["code"]) == ("failure", code)
    assert failure["message"]
    assert failure["details"]
    published = reference.error_codes()["taskFailureCodes"]
    category = "usererror" if code in published["userError"] else "servererror"
    if code != "TaskEnded":  # the service itself ends tasks that run for too long
        assert failure["category"] == category


def test_every_published_code_of_tasks_is_provoked_or_has_a_reason_not_to_be() -> None:
    published = reference.error_codes()["taskFailureCodes"]
    assert sorted([*TASKS, *NO_TASKS]) == sorted([*published["userError"], *published["serverError"]])


# --- pools ---

NO_POOLS = {
    "AllocationTimedout": "a resize has five minutes at least; the engine's own tests let them pass",
    "RemoveNodesFailed": "nodes are removed by this machine, which does not fail at it",
    "Unknown": "what goes wrong has a name",
}


def _resize_errors(world: World, pool_id: str) -> list[str]:
    wait_for(lambda: world.client.get_pool(pool_id).allocation_state == m.AllocationState.STEADY)
    return [problem.code or "" for problem in world.client.get_pool(pool_id).resize_errors or ()]


def test_pools_say_what_they_cannot_have(world: World) -> None:
    found: list[str] = []
    # three cores are free, and three more nodes
    too_many: list[tuple[str, dict[str, Any]]] = [
        ("cores", {"targetDedicatedNodes": 9, "vmSize": "standard_d2s_v3"}),
        ("nodes", {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 9}),
    ]
    for pool_id, members in too_many:
        assert world.raw.send("POST", "/pools", {**pool(pool_id), **members}).status == 201
        found += _resize_errors(world, pool_id)
        assert world.raw.send("DELETE", f"/pools/{pool_id}").status == 202
    assert world.raw.send("POST", "/jobs", job("held", "held")).status == 201
    assert world.raw.send("POST", "/pools", pool("held", 1)).status == 201
    assert world.raw.send("POST", "/jobs/held/tasks", task("long", "sleep 600")).status == 201
    wait_for(lambda: world.client.get_task("held", "long").state == "running")
    fewer = {"targetDedicatedNodes": 0, "nodeDeallocationOption": "taskcompletion"}
    assert world.raw.send("POST", "/pools/held/resize", fewer).status == 202
    assert world.raw.send("POST", "/pools/held/stopresize").status == 202
    found += _resize_errors(world, "held")
    assert found == ["AccountCoreQuotaReached", "AllocationFailed", "ResizeStopped"]
    assert sorted([*found, *NO_POOLS]) == sorted(reference.error_codes()["poolResizeErrorCodes"])


# --- jobs ---

NO_JOBS = {
    "InvalidApplicationPackageReferencesInAutoPool": "the job is refused with InvalidApplicationPackageReferences",
    "InvalidCertificatesInAutoPool": "the job is refused with InvalidCertificateReferences",
    "InvalidAutoPoolSettings": "the job is refused, and the property named; what is left needs two pools of one GUID",
    "JobBeingTerminated": "a job that is being terminated makes no pool any more",
    "Unknown": "what goes wrong has a name",
}


def test_jobs_say_why_they_have_no_pool(world: World) -> None:
    machine = {name: value for name, value in pool("").items() if name != "id"}
    formula = {"enableAutoScale": True, "autoScaleFormula": "$TargetDedicatedNodes = ;", "targetDedicatedNodes": None}
    found: list[str] = []
    for job_id, members in [("misled", machine | formula), ("too-many", machine)]:
        if job_id == "too-many":
            while (full := world.raw.send("POST", "/pools", pool(f"p{len(found)}"))).status == 201:
                found.append("")
            assert full.code == "PoolQuotaReached"
        info = {"autoPoolSpecification": {"poolLifetimeOption": "job", "pool": members}}
        assert world.raw.send("POST", "/jobs", {"id": job_id, "poolInfo": info}).status == 201
        made = world.client.get_job(job_id)
        assert made.state == "completed"
        assert made.execution_info is not None
        assert made.execution_info.scheduling_error is not None
        assert made.execution_info.scheduling_error.category == "usererror"
        found.append(made.execution_info.scheduling_error.code or "")
    codes = [code for code in found if code]
    assert codes == ["InvalidAutoScaleFormulaInAutoPool", "AutoPoolCreationFailedWithQuotaReached"]
    published = reference.error_codes()["jobSchedulingErrorCodes"]
    assert sorted([*codes, *NO_JOBS]) == sorted([*published["userError"], *published["serverError"]])
