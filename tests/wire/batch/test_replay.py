"""Requests as SDKs sent them, sent again: each is understood, and answered with a status that its SDK takes, and with
the headers that its operation declares."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from tests.unit.batch_api import reference
from tests.wire.batch.make import job, pool, task, wait_for, wait_for_task
from tests.wire.batch.raw import RawClient

#: What a request may be refused with, because it meets another state than the one it was recorded in.
_STATES = {
    "Pool_Add": {"PoolExists"},
    "Pool_Get": {"PoolNotFound", "ConditionNotMet", "MultipleConditionHeadersNotSupported"},
    "Pool_Patch": {"ConditionNotMet"},
    "Pool_Resize": {"PoolBeingResized"},
    "Pool_StopResize": {"PoolNotBeingResized"},
    "Pool_RemoveNodes": {"PoolBeingResized"},
    "ComputeNode_Reboot": {"NodeBeingRebooted", "NodeNotReady", "OperationInvalidForCurrentState"},
    "ComputeNode_Start": {"OperationInvalidForCurrentState"},
    "Job_Add": {"JobExists"},
    "Job_Get": {"JobNotFound"},
    "Job_Update": {"JobNotDisabled"},
    "Job_Enable": {"OperationInvalidForCurrentState"},
    "Job_Terminate": {"JobCompleted", "JobBeingTerminated"},
    "Task_Add": {"TaskExists"},
    "Task_Update": {"TaskCompleted"},
    "Task_Terminate": {"TaskCompleted"},
    "Task_Reactivate": {"TaskSucceeded"},
    "File_GetFromTask": {"FileNotFound"},
}
#: Operations that no recorded request of some SDK can succeed with here.
_NEVER = {
    "ComputeNode_Start",
    "Job_Add",
    "Pool_StopResize",
    "Job_Update",
    "Task_Update",
    "Task_Terminate",
    "Task_Reactivate",
}
if not shutil.which("sshd", path="/usr/sbin:/usr/bin"):
    _STATES["ComputeNode_GetRemoteLoginSettings"] = {"OperationNotValidOnNode"}
    _NEVER.add("ComputeNode_GetRemoteLoginSettings")

#: Later where it is higher: a recording does not care about what is left when something is deleted.
_ORDER = {
    "Task_Delete": 2,
    "File_DeleteFromTask": 1,
    "Job_Disable": 2,
    "Job_Enable": 3,
    "Job_Terminate": 4,
    "ComputeNode_Reboot": 5,
    "Pool_Resize": 6,
    "Pool_StopResize": 7,
    "Pool_RemoveNodes": 8,
    "Pool_EnableAutoScale": 9,
    "Pool_EvaluateAutoScale": 9,
    "Pool_DisableAutoScale": 9,
    "Job_Delete": 9,
    "Pool_Delete": 10,
}

#: Members that refer to what is not there: containers of the pool, packages.
_DANGLING = {"containerSettings", "applicationPackageReferences"}


def _prepared(raw: RawClient, name: str) -> str:
    """The things that the requests are about, under names of their own; returns the node's id."""
    raw.send("POST", "/pools", pool(f"pool1{name}", 1, startTask={"commandLine": "true"}))
    raw.send(
        "POST",
        "/jobs",
        job(f"job1{name}", f"pool1{name}", jobPreparationTask={"commandLine": "true"}, usesTaskDependencies=True),
    )
    command = '/bin/sh -c \'echo hello; mkdir "sub dir"; echo > "sub dir/a+b.txt"\''
    assert raw.send("POST", f"/jobs/job1{name}/tasks", task("task1", command)).status == 201
    wait_for_task(raw, f"job1{name}", "task1")
    return str(raw.send("GET", f"/pools/pool1{name}/nodes").content["value"][0]["id"])


def _adapted(value: Any) -> Any:
    """A body that refers to nothing that is not there, and asks for no more than one node."""
    if isinstance(value, list):
        return [_adapted(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: min(item, 1) if name.startswith("target") else _adapted(item)
        for name, item in value.items()
        if name not in _DANGLING or item == []
    }


def _left_out(operation: str, status: int) -> set[str]:
    """Headers that the operation declares and the service does not send."""
    headers = {"client-request-id", "ocp-creation-time"}  # only where it is asked for; only of files on Windows
    kind = operation.partition("_")[0]
    about_no_entity = "List" in operation or kind in ("Account", "ComputeNode", "File") or status == 404
    if about_no_entity or operation in ("Job_GetTaskCounts", "Task_AddCollection"):
        headers |= {"etag"} if operation.startswith("File_Get") else {"etag", "last-modified"}
    return headers


@pytest.mark.parametrize("version", list(reference.requests()))
def test_recorded_requests_are_understood(version: str, raw: RawClient) -> None:
    name = f"-{version.replace('.', '-')}"
    node = _prepared(raw, name)
    succeeded, asked = set(), set()
    for request in sorted(reference.requests()[version], key=lambda request: _ORDER.get(request["operation"], 0)):
        operation = request["operation"]
        about = reference.operations()[operation]
        target = request["path"].replace("pool1", f"pool1{name}").replace("job1", f"job1{name}")
        for placeholder in ("tvm_1-p", "tvm-1_1-p", "/n1"):
            target = target.replace(placeholder, f"/{node}" if placeholder == "/n1" else node)
        body = _adapted(request.get("body"))
        text = json.dumps(body).replace('"n1"', f'"{node}"').replace('"k"', '"ssh-rsa A"')
        for placeholder in ("pool1", "pool2", "job1", "js1", "exists", "badreq"):
            text = text.replace(placeholder, placeholder + name)
        unsent = ("authorization", "ocp-date", "content-length")
        headers = {header: value for header, value in request["headers"].items() if header not in unsent}
        if operation == "Pool_EnableAutoScale":
            wait_for(lambda: raw.send("GET", f"/pools/pool1{name}").content["allocationState"] == "steady")
        reply = raw.send(
            request["method"], target, None if body is None else text.encode(), headers=headers, version=None
        )
        if operation == "Job_Disable":
            wait_for(lambda: raw.send("GET", f"/jobs/job1{name}").content["state"] == "disabled")
        said = f"{request['method']} {target}: {reply.status} {reply.body[:500]!r}"
        asked.add(operation)
        if str(reply.status) in about["success"].split(","):
            succeeded.add(operation)
            declared = {header.lower() for header in about["responseHeaders"]}
            assert declared - _left_out(operation, reply.status) <= set(reply.headers), said
        elif "skiptoken" in target:
            assert reply.code == "InvalidQueryParameterValue", said
        else:
            assert reply.code in _STATES.get(operation, ()), said
    assert asked - succeeded - _NEVER == set()
