"""Everything that may be wrong with a request: the service's status and code each time, and nothing changed by it."""

from __future__ import annotations

import base64
import email.utils
import json
import time
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from tests.servers import Server
from tests.wire.batch.make import job, pool, task, wait_for, wait_for_task
from tests.wire.batch.raw import RawClient

_NO_KEY = base64.b64encode(b"x" * 64).decode()


@pytest.fixture(scope="module", autouse=True)
def _things(raw: RawClient) -> None:
    """A pool with a node, and a job on it."""
    assert raw.send("POST", "/pools", pool("pool", 1)).status == 201
    assert raw.send("POST", "/jobs", job("job", "pool")).status == 201
    assert raw.send("POST", "/jobs/job/tasks", task("done", "echo hello")).status == 201
    specification = {"poolInfo": {"poolId": "nowhere"}}
    schedule = {"id": "schedule", "schedule": {}, "jobSpecification": specification}
    assert raw.send("POST", "/jobschedules", schedule).status == 201
    wait_for_task(raw, "job", "done")


def _code(refused: HttpResponseError) -> str:
    assert refused.model is not None
    return str(refused.model.code)


# --- who asks ---


def test_a_wrong_key_is_not_let_in(server: Server) -> None:
    reply = RawClient(server, key=_NO_KEY).send("GET", "/pools/pool")
    assert (reply.status, reply.code) == (403, "AuthenticationFailed")


def test_a_wrong_account_is_not_let_in(server: Server) -> None:
    reply = RawClient(server, account="nobody").send("GET", "/pools/pool")
    assert (reply.status, reply.code) == (403, "AuthenticationFailed")


def test_the_sdk_tells_of_a_wrong_key(server: Server) -> None:
    credential = AzureNamedKeyCredential(server.credentials["BATCH_ACCOUNT_NAME"], _NO_KEY)
    with BatchClient(server.batch_url, credential) as stranger, pytest.raises(HttpResponseError) as refused:
        stranger.get_pool("pool")
    assert refused.value.status_code == 403
    assert _code(refused.value) == "AuthenticationFailed"


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_stale_date_is_not_let_in(minutes: int, raw: RawClient) -> None:
    date = email.utils.formatdate(time.time() + minutes * 60, usegmt=True)
    reply = raw.send("GET", "/pools/pool", date=date)
    assert (reply.status, reply.code) == (403, "AuthenticationFailed")


def test_a_request_without_a_signature_misses_a_header(raw: RawClient) -> None:
    reply = raw.send("GET", "/pools/pool", sign_it=False)
    assert (reply.status, reply.code) == (400, "MissingRequiredHeader")
    assert reply.values == {"HeaderName": "Authorization"}


def test_a_malformed_signature_is_no_authentication_information(raw: RawClient) -> None:
    reply = raw.send("GET", "/pools/pool", headers={"Authorization": "SharedKey what"})
    assert (reply.status, reply.code) == (400, "InvalidAuthenticationInfo")


def test_a_token_is_told_how_to_authenticate(raw: RawClient) -> None:
    reply = raw.send("GET", "/pools/pool", headers={"Authorization": "Bearer abc"})
    assert (reply.status, reply.code) == (401, "AuthenticationFailed")
    assert reply.headers["www-authenticate"]


def test_heads_are_refused_without_a_body(server: Server, raw: RawClient) -> None:
    reply = RawClient(server, key=_NO_KEY).send("HEAD", "/pools/pool")
    assert (reply.status, reply.body) == (403, b"")
    reply = raw.send("HEAD", "/pools/nowhere")
    assert (reply.status, reply.body) == (404, b"")


def test_reason_phrases_repeat_the_message(client: BatchClient, raw: RawClient) -> None:
    with raw.open("GET", "/pools/nowhere") as answer:
        message, *_ = json.loads(answer.read())["message"]["value"].split("\n")
        assert (answer.status, answer.reason) == (404, message)
    with raw.open("GET", "/pools/pool") as answer:
        assert (answer.status, answer.reason) == (200, "OK")
    with pytest.raises(ResourceModifiedError) as refused:  # nothing but the phrase says why a HEAD is refused
        client.pool_exists("pool", etag="0x0", match_condition=MatchConditions.IfNotModified)
    assert "The condition specified using HTTP conditional header(s) is not met." in str(refused.value)


# --- versions, paths and parameters ---


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/pools/pool", "MissingRequiredQueryParameter"),
        ("/pools/pool?api-version=", "MissingRequiredQueryParameter"),
        ("/pools/pool?api-version=2030-01-01", "UnsupportedRequestVersion"),
        ("/pools/pool?api-version=2017-01-01.x", "UnsupportedRequestVersion"),
        ("/nodeagentskus?api-version=2025-06-01", "UnsupportedRequestVersion"),
        ("/supportedimages?api-version=2017-01-01.4.0", "UnsupportedRequestVersion"),
    ],
)
def test_api_versions_that_are_not_there(target: str, code: str, raw: RawClient) -> None:
    reply = raw.send("GET", target, version=None)
    assert (reply.status, reply.code) == (400, code)
    assert reply.values["QueryParameterName"] == "api-version"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 400, "InvalidUri"),
        ("GET", "/nothing", 400, "InvalidUri"),
        ("GET", "/pools/pool/nothing", 400, "InvalidUri"),
        ("GET", "/pools/%ff", 400, "RequestUrlFailedToParse"),
        ("GET", "/pools/%0A", 404, "PoolNotFound"),
        ("GET", "/%0A", 400, "InvalidUri"),
        ("PUT", "/pools/pool", 405, "UnsupportedHttpVerb"),
        ("TRACE", "/pools", 405, "UnsupportedHttpVerb"),
        ("PROPFIND", "/pools", 400, "InvalidHttpVerb"),
        ("GET", "/poolusagemetrics?startTime=never", 400, "InvalidQueryParameterValue"),
        ("GET", "/pools?maxresults=0", 400, "OutOfRangeQueryParameterValue"),
        ("GET", "/pools?maxresults=1001", 400, "OutOfRangeQueryParameterValue"),
        ("GET", "/pools?maxresults=many", 400, "InvalidQueryParameterValue"),
        ("GET", "/pools?$filter=colour%20eq%20'red'", 400, "InvalidQueryParameterValue"),
        ("GET", "/pools?$select=colour", 400, "InvalidQueryParameterValue"),
        ("GET", "/pools?$expand=colour", 400, "InvalidQueryParameterValue"),
        ("GET", "/pools?$skiptoken=!", 400, "InvalidQueryParameterValue"),
        ("GET", "/jobs/job/tasks?$skiptoken=YWJj", 400, "InvalidQueryParameterValue"),
        ("DELETE", "/jobs/nowhere?force=maybe", 400, "InvalidQueryParameterValue"),
    ],
)
def test_requests_for_what_there_is_not(method: str, target: str, status: int, code: str, raw: RawClient) -> None:
    reply = raw.send(method, target)
    assert (reply.status, reply.code) == (status, code)


# --- bodies ---


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"\xff", b"null", b'{"id":"x",}', b"[" * 50_000, b'{"id":"\\ud800"}']
)
@pytest.mark.parametrize("target", ["/pools", "/jobs", "/jobs/job/tasks", "/jobs/job/addtaskcollection"])
def test_bodies_that_are_no_json_object(target: str, body: bytes, raw: RawClient) -> None:
    reply = raw.send("POST", target, body)
    assert (reply.status, reply.code) == (400, "InvalidRequestBody")


@pytest.mark.parametrize(
    ("target", "body", "code", "name"),
    [
        ("/pools", pool("p") | {"vmSize": 5}, "InvalidRequestBody", "vmSize"),
        ("/pools", pool("p") | {"colour": "red"}, "InvalidRequestBody", "colour"),
        ("/pools", pool("a b"), "InvalidPropertyValue", "id"),
        ("/pools", pool("p" * 65), "InvalidPropertyValue", "id"),
        ("/pools", pool("p", -1), "InvalidPropertyValue", "targetDedicatedNodes"),
        ("/pools", pool("p", resizeTimeout="PT1M"), "InvalidPropertyValue", "resizeTimeout"),
        ("/pools", {"id": "p", "vmSize": "s"}, "InvalidPropertyValue", "virtualMachineConfiguration"),
        ("/pools", pool("p", taskSlotsPerNode=257), "InvalidPropertyValue", "taskSlotsPerNode"),
        ("/pools", pool("p", taskSlotsPerNode=99, vmSize="small"), "InvalidPropertyValue", "taskSlotsPerNode"),
        ("/pools", pool("p", applicationLicenses=["x"]), "UnsupportedProperty", "applicationLicenses"),
        ("/pools/pool/resize", {}, "MissingRequiredProperty", "targetDedicatedNodes"),
        ("/pools/pool/removenodes", {"nodeList": []}, "InvalidPropertyValue", "nodeList"),
        ("/pools/pool/nodes/n/reboot", {"nodeRebootOption": "later"}, "InvalidPropertyValue", "nodeRebootOption"),
        ("/jobs", {"id": "j"}, "MissingRequiredProperty", "poolInfo"),
        ("/jobs", job("j", priority=1001), "OutOfRangePriority", "priority"),
        (
            "/jobs",
            job("j", constraints={"maxWallClockTime": "soon"}),
            "InvalidPropertyValue",
            "constraints.maxWallClockTime",
        ),
        ("/jobs", job("j", allowTaskPreemption=True), "UnsupportedProperty", "allowTaskPreemption"),
        ("/jobs/job/disable", {}, "MissingRequiredProperty", "disableTasks"),
        ("/jobs/job/disable", {"disableTasks": "maybe"}, "InvalidPropertyValue", "disableTasks"),
        ("/jobs/job/tasks", {"id": "t"}, "MissingRequiredProperty", "commandLine"),
        ("/jobs/job/tasks", task("å"), "InvalidPropertyValue", "id"),
        ("/jobs/job/tasks", task("t", requiredSlots=0), "InvalidPropertyValue", "requiredSlots"),
        (
            "/jobs/job/tasks",
            task("t", resourceFiles=[{"httpUrl": "http://x/y", "filePath": "y", "identityReference": {}}]),
            "UnsupportedProperty",
            "resourceFiles[0].identityReference",
        ),
        (
            "/jobs/job/tasks",
            task("t", resourceFiles=[{"filePath": "x"}]),
            "InvalidPropertyValue",
            "resourceFiles[0].httpUrl",
        ),
        ("/jobs/job/addtaskcollection", {"value": [task("t")] * 101}, "InvalidPropertyValue", "value"),
        ("/jobs/job/addtaskcollection", {}, "MissingRequiredProperty", "value"),
        ("/jobs/job/addtaskcollection", {"value": [{"commandLine": "x"}]}, "MissingRequiredProperty", "value[0].id"),
    ],
)
def test_wrong_members_are_named(target: str, body: Any, code: str, name: str, raw: RawClient) -> None:
    reply = raw.send("POST", target, body)
    assert (reply.status, reply.code) == (400, code)
    assert reply.values["PropertyName"] == name


@pytest.mark.parametrize("size", [(1 << 20) + 1, 2 << 20, 40 << 20])
def test_bodies_that_are_too_large_say_how_large_they_may_be(size: int, raw: RawClient) -> None:
    reply = raw.send("POST", "/jobs/job/addtaskcollection", b" " * size)
    assert (reply.status, reply.code) == (413, "RequestBodyTooLarge")
    assert reply.values == {"MaxLimit": "1048576"}


def test_a_body_that_is_as_large_as_it_may_be_is_read(raw: RawClient) -> None:
    body = b'{"value":[{"id":"large","commandLine":"true"}]}'
    reply = raw.send("POST", "/jobs/job/addtaskcollection", body + b" " * ((1 << 20) - len(body)))
    assert reply.status == 200


def test_the_sdk_halves_what_is_too_large(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/jobs", job("large"))
    many = [models.BatchTaskCreateOptions(id=f"t{number}", command_line="x" * 30_000) for number in range(50)]
    results = client.create_tasks("large", many)
    assert {result.task_id for result in results.result_values or ()} == {each.id for each in many}
    assert len(list(client.list_tasks("large"))) == 50


def test_each_wrong_task_of_a_collection_has_an_error_of_its_own(raw: RawClient) -> None:
    entries = [
        task("good"),
        task("done"),
        task("a b"),
        {"id": "empty"},
        task("odd", requiredSlots="x"),
        task("unbuilt", resourceFiles=[{"autoStorageContainerName": "c", "identityReference": {}}]),
        task("GOOD"),
        task("also-good", displayName=None),
    ]
    reply = raw.send("POST", "/jobs/job/addtaskcollection", {"value": entries})
    assert reply.status == 200
    answers = reply.content["value"]
    assert {each["taskId"]: (each["status"], each.get("error", {}).get("code")) for each in answers} == {
        "good": ("success", None),
        "done": ("clienterror", "TaskExists"),
        "a b": ("clienterror", "InvalidPropertyValue"),
        "empty": ("clienterror", "MissingRequiredProperty"),
        "odd": ("clienterror", "InvalidRequestBody"),
        "unbuilt": ("clienterror", "UnsupportedProperty"),
        "GOOD": ("clienterror", "TaskExists"),
        "also-good": ("success", None),
    }
    answered = raw.send("GET", "/jobs/job/tasks/good")
    assert answers[0]["location"] == answered.content["url"]
    assert answers[0]["eTag"] == answered.headers["etag"] == answered.content["eTag"]


# --- what is there already, is not there, or is not in the state for it ---


def test_ids_are_taken_in_any_case(raw: RawClient) -> None:
    for target, body, code in [
        ("/pools", pool("POOL"), "PoolExists"),
        ("/jobs", job("Job"), "JobExists"),
        ("/jobs/JOB/tasks", task("DONE"), "TaskExists"),
    ]:
        reply = raw.send("POST", target, body)
        assert (reply.status, reply.code) == (409, code)


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("GET", "/pools/nowhere", None, "PoolNotFound"),
        ("DELETE", "/pools/nowhere", None, "PoolNotFound"),
        ("PATCH", "/pools/nowhere", {"metadata": []}, "PoolNotFound"),
        ("POST", "/pools/nowhere/resize", {"targetDedicatedNodes": 1}, "PoolNotFound"),
        ("GET", "/pools/nowhere/nodes", None, "PoolNotFound"),
        ("GET", "/pools/nowhere/nodes/n", None, "PoolNotFound"),
        ("GET", "/pools/pool/nodes/nobody", None, "NodeNotFound"),
        ("POST", "/pools/pool/nodes/nobody/reboot", {}, "NodeNotFound"),
        ("POST", "/pools/pool/removenodes", {"nodeList": ["nobody"]}, "NodeNotFound"),
        ("GET", "/jobs/nowhere", None, "JobNotFound"),
        ("PATCH", "/jobs/nowhere", {"priority": 1}, "JobNotFound"),
        ("PUT", "/jobs/nowhere", {"poolInfo": {"poolId": "p"}}, "JobNotFound"),
        ("DELETE", "/jobs/nowhere", None, "JobNotFound"),
        ("POST", "/jobs/nowhere/terminate", {}, "JobNotFound"),
        ("GET", "/jobs/nowhere/taskcounts", None, "JobNotFound"),
        ("GET", "/jobs/nowhere/tasks", None, "JobNotFound"),
        ("POST", "/jobs/nowhere/tasks", task("t"), "JobNotFound"),
        ("POST", "/jobs/nowhere/addtaskcollection", {"value": [task("t")]}, "JobNotFound"),
        ("GET", "/jobs/nowhere/tasks/t", None, "JobNotFound"),
        ("GET", "/jobs/job/tasks/nowhere", None, "TaskNotFound"),
        ("PUT", "/jobs/job/tasks/nowhere", {}, "TaskNotFound"),
        ("DELETE", "/jobs/job/tasks/nowhere", None, "TaskNotFound"),
        ("POST", "/jobs/job/tasks/nowhere/terminate", None, "TaskNotFound"),
        ("GET", "/jobs/job/tasks/nowhere/files", None, "TaskNotFound"),
        ("GET", "/jobs/job/tasks/nowhere/subtasksinfo", None, "TaskNotFound"),
        ("GET", "/jobs/job/tasks/done/files/nothing.txt", None, "FileNotFound"),
        ("DELETE", "/jobs/job/tasks/done/files/nothing.txt", None, "FileNotFound"),
        ("GET", "/jobs/a%20b", None, "JobNotFound"),
        ("GET", "/jobs/a%2Fb", None, "JobNotFound"),
        ("GET", "/jobs/" + "x" * 5000, None, "JobNotFound"),
    ],
)
def test_what_is_not_there_is_not_found(method: str, target: str, body: Any, code: str, raw: RawClient) -> None:
    reply = raw.send(method, target, body)
    assert (reply.status, reply.code) == (404, code)


def test_a_pool_that_is_being_resized_cannot_be_resized(raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("busy", 1))
    raw.send("POST", "/jobs", job("busy", "busy"))
    raw.send("POST", "/jobs/busy/tasks", task("long", "sleep 600"))
    wait_for_task(raw, "busy", "long", "running")
    shrink = {"targetDedicatedNodes": 0, "nodeDeallocationOption": "taskcompletion"}
    assert raw.send("POST", "/pools/busy/resize", shrink).status == 202
    again = raw.send("POST", "/pools/busy/resize", {"targetDedicatedNodes": 2})
    assert (again.status, again.code) == (409, "PoolBeingResized")
    removal = raw.send("POST", "/pools/busy/removenodes", {"nodeList": ["n"]})
    assert removal.status in (404, 409)
    assert raw.send("GET", "/pools/busy").content["targetDedicatedNodes"] == 0
    assert raw.send("POST", "/pools/busy/stopresize").status == 202
    wait_for(lambda: raw.send("GET", "/pools/busy").content["allocationState"] == "steady")
    raw.send("DELETE", "/jobs/busy")
    assert raw.send("DELETE", "/pools/busy").status == 202


def test_a_completed_job_takes_no_tasks(raw: RawClient, client: BatchClient) -> None:
    raw.send("POST", "/jobs", job("over"))
    assert raw.send("POST", "/jobs/over/terminate").status == 202
    wait_for(lambda: raw.send("GET", "/jobs/over").content["state"] == "completed")
    for target, body in (
        ("/jobs/over/tasks", task("t")),
        ("/jobs/over/addtaskcollection", {"value": [task("t")]}),
        ("/jobs/over/terminate", {}),
    ):
        reply = raw.send("POST", target, body)
        assert (reply.status, reply.code) == (409, "JobCompleted")
    with pytest.raises(models.CreateTasksError) as refused:
        client.create_tasks("over", [models.BatchTaskCreateOptions(id="t", command_line="true")])
    assert "JobCompleted" in str(refused.value)
    assert raw.send("GET", "/jobs/over/tasks").content["value"] == []


def test_a_completed_task_is_not_terminated(raw: RawClient) -> None:
    reply = raw.send("POST", "/jobs/job/tasks/done/terminate")
    assert (reply.status, reply.code) == (409, "TaskCompleted")
    reply = raw.send("POST", "/jobs/job/tasks/done/reactivate")
    assert (reply.status, reply.code) == (409, "TaskSucceeded")


def test_a_pool_of_another_job_needs_the_job_to_be_disabled(raw: RawClient) -> None:
    reply = raw.send("PATCH", "/jobs/job", {"poolInfo": {"poolId": "other"}})
    assert (reply.status, reply.code) == (409, "JobNotDisabled")
    assert raw.send("GET", "/jobs/job").content["poolInfo"] == {"poolId": "pool"}


def test_ending_with_the_last_task_is_not_taken_back(raw: RawClient) -> None:
    raw.send("POST", "/jobs", job("ending"))
    raw.send("POST", "/jobs/ending/tasks", task("t"))
    assert raw.send("PATCH", "/jobs/ending", {"onAllTasksComplete": "terminatejob"}).status == 200
    reply = raw.send("PATCH", "/jobs/ending", {"onAllTasksComplete": "noaction"})
    assert (reply.status, reply.code) == (400, "InvalidPropertyValue")


# --- conditions ---


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PATCH", "/pools/pool", {"metadata": []}),
        ("DELETE", "/pools/pool", None),
        ("POST", "/pools/pool/resize", {"targetDedicatedNodes": 1}),
        ("PATCH", "/jobs/job", {"priority": 3}),
        ("PUT", "/jobs/job", {"poolInfo": {"poolId": "pool"}}),
        ("DELETE", "/jobs/job", None),
        ("POST", "/jobs/job/terminate", {}),
        ("POST", "/jobs/job/disable", {"disableTasks": "wait"}),
        ("DELETE", "/jobs/job/tasks/done", None),
        ("PUT", "/jobs/job/tasks/done", {}),
        ("POST", "/pools/pool/stopresize", None),
        ("POST", "/pools/pool/removenodes", {"nodeList": ["n"]}),
        ("POST", "/pools/pool/enableautoscale", {"autoScaleFormula": "$TargetDedicatedNodes=1"}),
        ("POST", "/jobs/job/enable", None),
        ("POST", "/jobs/job/tasks/done/terminate", None),
        ("POST", "/jobs/job/tasks/done/reactivate", None),
        ("PATCH", "/jobschedules/schedule", {"metadata": []}),
        ("PUT", "/jobschedules/schedule", {"schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "pool"}}}),
        ("DELETE", "/jobschedules/schedule", None),
        ("POST", "/jobschedules/schedule/disable", None),
        ("POST", "/jobschedules/schedule/enable", None),
        ("POST", "/jobschedules/schedule/terminate", None),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": '"0x8D4BCC2E4835CD0"'},
        {"If-None-Match": "*"},
        {"If-Unmodified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"},
    ],
)
def test_writes_whose_conditions_do_not_hold_change_nothing(
    method: str, target: str, body: Any, headers: dict[str, str], raw: RawClient
) -> None:
    entity = "/".join(target.split("/")[: 5 if "/tasks/" in target else 3])
    before = raw.send("GET", entity)
    reply = raw.send(method, target, body, headers=headers)
    assert (reply.status, reply.code) == (412, "ConditionNotMet")
    after = raw.send("GET", entity)
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])


def test_two_conditions_of_different_kinds_are_not_supported(raw: RawClient) -> None:
    reply = raw.send("GET", "/pools/pool", headers={"If-Match": "*", "If-None-Match": "*"})
    assert (reply.status, reply.code) == (400, "MultipleConditionHeadersNotSupported")


def test_the_sdk_tells_of_conditions(client: BatchClient) -> None:
    with pytest.raises(ResourceModifiedError) as refused:
        client.get_pool("pool", etag="0x8D4BCC2E4835CD0", match_condition=MatchConditions.IfNotModified)
    assert refused.value.status_code == 412


# --- tasks that go wrong ---


def test_a_start_task_that_fails_leaves_its_node_out(raw: RawClient) -> None:
    failing = {"commandLine": "/bin/sh -c 'echo why >&2; exit 4'", "waitForSuccess": True, "maxTaskRetryCount": 1}
    raw.send("POST", "/pools", pool("failing", 1, startTask=failing))

    def failed() -> dict[str, Any] | None:
        nodes = raw.send("GET", "/pools/failing/nodes").content["value"]
        return nodes[0] if nodes and nodes[0]["state"] == "starttaskfailed" else None

    node = wait_for(failed)
    assert node is not None
    info = node["startTaskInfo"]
    assert (info["state"], info["exitCode"], info["result"], info["retryCount"]) == ("completed", 4, "failure", 1)
    assert info["failureInfo"]["code"] == "FailureExitCode"
    stderr = raw.send("GET", f"/pools/failing/nodes/{node['id']}/files/startup%2Fstderr.txt")
    assert (stderr.status, stderr.body) == (200, b"why\n")
    raw.send("DELETE", "/pools/failing")


@pytest.mark.parametrize(
    ("name", "members", "code", "exit_code"),
    [
        ("no-program", {"command": "/no/such/program"}, "CommandProgramNotFound", None),
        ("no-file", {"resourceFiles": [{"httpUrl": "{url}/nothing", "filePath": "x"}]}, None, None),
        ("exits", {"command": "/bin/sh -c 'exit 7'"}, "FailureExitCode", 7),
        ("dies", {"command": "/bin/sh -c 'kill -9 $$'"}, "FailureExitCode", -9),
    ],
)
def test_tasks_that_cannot_run_or_fail_say_why(
    name: str, members: dict[str, Any], code: str | None, exit_code: int | None, raw: RawClient
) -> None:
    for file in members.get("resourceFiles", []):
        file["httpUrl"] = file["httpUrl"].replace("{url}", raw.url)
    assert raw.send("POST", "/jobs/job/tasks", task(name, **members)).status == 201
    info = wait_for_task(raw, "job", name)["executionInfo"]
    assert info["result"] == "failure"
    assert info.get("exitCode") == exit_code
    assert info["failureInfo"]["category"] in ("usererror", "servererror")
    assert info["failureInfo"]["message"]
    if code is not None:
        assert info["failureInfo"]["code"] == code
    else:
        assert info["failureInfo"]["code"].startswith("Blob")


def test_a_task_that_is_killed_ends(raw: RawClient) -> None:
    raw.send("POST", "/jobs/job/tasks", task("killed", "sleep 600"))
    wait_for_task(raw, "job", "killed", "running")
    assert raw.send("POST", "/jobs/job/tasks/killed/terminate").status == 204
    info = wait_for_task(raw, "job", "killed")["executionInfo"]
    assert (info["result"], info["failureInfo"]["code"]) == ("failure", "TaskEnded")
    assert info["failureInfo"]["category"] == "usererror"


def test_the_files_of_a_task_that_waits_cannot_be_read(raw: RawClient) -> None:
    raw.send("POST", "/jobs", job("waiting"))
    raw.send("POST", "/jobs/waiting/tasks", task("t"))
    for target in ("/jobs/waiting/tasks/t/files", "/jobs/waiting/tasks/t/files/stdout.txt"):
        reply = raw.send("GET", target)
        assert (reply.status, reply.code) == (409, "OperationInvalidForCurrentState")
        assert "still active" in reply.values["Reason"]


# --- paths that climb out ---


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../",
        "../done/stdout.txt",
        "wd/../../../../../../etc/passwd",
        "wd/../stdout.txt",
        "%2e%2e",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "wd%2f..%2f..%2fdone%2fstdout.txt",
        "%252e%252e%252fetc%252fpasswd",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "//etc/passwd",
        "./stdout.txt",
        "wd//x",
        "stdout.txt%00",
        "..%5c..%5cetc",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_paths_do_not_lead_out(method: str, path: str, raw: RawClient) -> None:
    reply = raw.send(method, f"/jobs/job/tasks/done/files/{path}")
    assert reply.status == 404
    if method != "HEAD":
        assert reply.code == "FileNotFound"
    assert raw.send("GET", "/jobs/job/tasks/done/files/stdout.txt").body == b"hello\n"


def test_the_sdk_tells_of_files_that_are_not_there(client: BatchClient) -> None:
    with pytest.raises(ResourceNotFoundError):
        b"".join(client.download_task_file("job", "done", "../../../etc/passwd"))
    with pytest.raises(ResourceNotFoundError):
        client.get_task_file_properties("job", "done", "nothing.txt")


def test_directories_are_not_read_or_deleted_by_accident(raw: RawClient) -> None:
    raw.send("POST", "/jobs/job/tasks", task("full", "/bin/sh -c 'touch x'"))
    wait_for_task(raw, "job", "full")
    for method in ("GET", "DELETE"):
        reply = raw.send(method, "/jobs/job/tasks/full/files/wd")
        assert (reply.status, reply.code) == (409, "OperationInvalidForCurrentState")
    assert raw.send("HEAD", "/jobs/job/tasks/full/files/wd").headers["ocp-batch-file-isdirectory"] == "True"
    assert raw.send("DELETE", "/jobs/job/tasks/full/files/wd?recursive=true").status == 200


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [("bytes=6-", 416, "InvalidRange"), ("bytes=9-10", 416, "InvalidRange"), ("bytes=x", 400, "InvalidHeaderValue")],
)
def test_ranges_that_are_not_in_a_file(header: str, status: int, code: str, raw: RawClient) -> None:
    reply = raw.send("GET", "/jobs/job/tasks/done/files/stdout.txt", headers={"ocp-range": header})
    assert (reply.status, reply.code) == (status, code)


# --- what the SDK makes of it ---


def test_the_sdk_tells_errors_apart(client: BatchClient) -> None:
    with pytest.raises(ResourceExistsError) as exists:
        client.create_job(models.BatchJobCreateOptions(id="JOB", pool_info=models.BatchPoolInfo(pool_id="p")))
    assert _code(exists.value) == "JobExists"
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_job("nowhere")
    assert _code(missing.value) == "JobNotFound"
    with pytest.raises(HttpResponseError) as wrong:
        client.create_job(models.BatchJobCreateOptions(id="a b", pool_info=models.BatchPoolInfo(pool_id="p")))
    assert wrong.value.error is not None
    assert {detail.code: detail.message for detail in wrong.value.error.details}["PropertyName"] == "id"
    assert not isinstance(wrong.value, ClientAuthenticationError)


# --- clients that go away ---


def test_a_client_that_leaves_within_a_download_leaves_nothing_behind(server: Server, raw: RawClient) -> None:
    large = task("zeros", "/bin/sh -c 'head -c 50000000 /dev/zero > zeros'")
    raw.send("POST", "/jobs/job/tasks", large)
    wait_for_task(raw, "job", "zeros")
    for _ in range(3):
        with raw.open("GET", "/jobs/job/tasks/zeros/files/wd%2Fzeros") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "50000000")
            assert len(answer.read(1000)) == 1000
    reply = raw.send("GET", "/jobs/job/tasks/zeros/files/wd%2Fzeros")
    assert len(reply.body) == 50_000_000
    assert "Traceback" not in server.log.read_text()


def test_a_client_that_leaves_within_a_body_adds_nothing(server: Server, raw: RawClient) -> None:
    body = b'{"value":[{"id":"half","commandLine":"true"}]}'
    headers = {"Content-Length": str(len(body) + 10)}
    with raw.connect("POST", "/jobs/job/addtaskcollection", body, headers=headers):
        pass
    reply = raw.send("GET", "/jobs/job/tasks/half")
    assert (reply.status, reply.code) == (404, "TaskNotFound")
    assert "Traceback" not in server.log.read_text()
