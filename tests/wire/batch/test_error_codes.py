"""Every error code that is published: how a client comes to see it, or why none can."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.batch.models._models import BatchNodeRebootOptions, BatchNodeReimageOptions  # the SDK forgot to export them
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.clients import run_client
from tests.servers import Server, running_server
from tests.system.nodes import sandbox_problem
from tests.unit.batch_api import reference
from tests.wire.batch.make import wait_for
from tests.wire.batch.raw import RawClient

SETTINGS = """
most_nodes = 12
[quotas]
pools = 12
dedicated_cores = 40
active_jobs_and_schedules = 40
"""


class Refusal(NamedTuple):
    status: int
    code: str
    values: dict[str, str]


@dataclass
class World:
    """A server with things in every state that errors need, and clients of it."""

    server: Server
    client: BatchClient
    raw: RawClient
    #: Ids of nodes: one that is free, and two that long tasks run on.
    node: str = ""
    held: tuple[str, ...] = ()

    def do(self, method: str, target: str, body: Any = None) -> None:
        """What the SDK would only do together with waiting for its end."""
        assert self.raw.send(method, target, body).status in (202, 204)

    def send(self, method: str, target: str, body: Any = None, **options: Any) -> Refusal:
        """A request of no method of the SDK, through all that the SDK does with requests."""
        target += "&" if "?" in target else "?"
        target += "api-version=2025-06-01"
        response = self.client.send_request(HttpRequest(method, target, json=body), **options)
        return _refusal(response.status_code, response.text())


def _refusal(status: int, text: str) -> Refusal:
    content = json.loads(text)
    assert content["message"]["value"].count("\n") == 2, "message, RequestId, Time"
    return Refusal(status, content["code"], {each["key"]: each["value"] for each in content.get("values", ())})


def _refused(ask: Callable[[World], Any], world: World) -> Refusal:
    try:
        answer = ask(world)
        if isinstance(answer, Iterator) or hasattr(answer, "by_page"):
            answer = list(answer)
    except HttpResponseError as refused:
        response: Any = refused.response
        with contextlib.suppress(AttributeError):
            response.read()  # where the SDK streams
        return _refusal(response.status_code, response.text())
    assert isinstance(answer, Refusal), f"it succeeded: {answer}"
    return answer


# --- the world ---

_IMAGE = m.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")


def machine(agent: str = "batch.node.ubuntu 24.04") -> m.VirtualMachineConfiguration:
    return m.VirtualMachineConfiguration(image_reference=_IMAGE, node_agent_sku_id=agent)


def pool(pool_id: str, nodes: int = 0, **options: Any) -> m.BatchPoolCreateOptions:
    members = {"vm_size": "standard_a1_v2", "virtual_machine_configuration": machine(), **options}
    if "auto_scale_formula" not in options:
        members["target_dedicated_nodes"] = nodes
    return m.BatchPoolCreateOptions(id=pool_id, **members)


def job(job_id: str, pool_id: str = "nowhere", **options: Any) -> m.BatchJobCreateOptions:
    return m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id), **options)


def task(task_id: str, command: str = "true", **options: Any) -> m.BatchTaskCreateOptions:
    return m.BatchTaskCreateOptions(id=task_id, command_line=command, **options)


def schedule(schedule_id: str, **specification: Any) -> m.BatchJobScheduleCreateOptions:
    what = {"pool_info": m.BatchPoolInfo(pool_id="pool"), **specification}
    timetable = m.BatchJobScheduleConfiguration()
    return m.BatchJobScheduleCreateOptions(
        id=schedule_id, schedule=timetable, job_specification=m.BatchJobSpecification(**what)
    )


#: A job whose end takes as long as its release task.
LINGERING: dict[str, Any] = {
    "job_preparation_task": m.BatchJobPreparationTask(command_line="true"),
    "job_release_task": m.BatchJobReleaseTask(command_line="sleep 600"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("server")
    settings = directory / "millpond.toml"
    settings.write_text(SETTINGS)
    with running_server(directory / "data", "--config", str(settings)) as server:
        key = AzureNamedKeyCredential(server.credentials["BATCH_ACCOUNT_NAME"], server.credentials["BATCH_ACCOUNT_KEY"])
        with BatchClient(server.batch_url, key, retry_total=0) as client:
            found = World(server, client, RawClient(server))
            _furnish(found)
            yield found


def _furnish(world: World) -> None:
    client = world.client
    client.create_pool(pool("pool", 1, task_slots_per_node=4))
    client.create_pool(pool("held", 2))
    client.create_pool(pool("gone", 1))
    client.create_pool(pool("other", 1))
    client.create_pool(pool("empty"))
    for name in ("pool", "held", "gone"):
        client.create_job(job(name, name))
    client.create_job(job("waiting", uses_task_dependencies=True))
    client.create_task("waiting", task("t"))
    client.create_job(job("lingering", "pool", **LINGERING))
    client.create_job(job("deleted", "pool", **LINGERING))
    manager = m.BatchJobManagerTask(id="m", command_line="true", kill_job_on_completion=False, run_exclusive=False)
    for name in ("ending", "deleting"):
        client.create_job_schedule(schedule(name, **LINGERING, job_manager_task=manager))
    client.create_job_schedule(schedule("idle"))
    told = "/bin/sh -c 'printf %s \"$AZ_BATCH_AUTHENTICATION_TOKEN\" > token; touch told; sleep 600'"
    # the newest API version has no tokens of tasks any more
    client.create_task(
        "pool",
        {"id": "long", "commandLine": told, "authenticationTokenSettings": {"access": ["job"]}},  # type: ignore[arg-type]
    )
    client.create_task("pool", task("done", "echo hello"))
    now = m.BatchTaskConstraints(retention_time=datetime.timedelta(milliseconds=1))
    client.create_task("pool", task("cleaned", constraints=now))
    for task_id in ("a", "b"):
        client.create_task("held", task(task_id, "sleep 600"))
    for name in ("gone", "lingering", "deleted"):
        client.create_task(name, task("t"))
    for job_id, task_id in [("pool", "done"), ("gone", "t"), ("lingering", "t"), ("deleted", "t")]:
        _wait(world, job_id, task_id)
    for task_id in ("a", "b"):
        _wait(world, "held", task_id, "running")
    for name in ("ending", "deleting"):
        _wait(world, f"{name}:job-1", "m")
    world.do("DELETE", "/pools/gone")
    world.do("POST", "/jobs/lingering/terminate", {})
    world.do("DELETE", "/jobs/deleted")
    world.do("POST", "/jobschedules/ending/terminate")
    world.do("DELETE", "/jobschedules/deleting")
    world.do("POST", "/jobschedules/idle/terminate")
    wait_for(lambda: client.get_job_schedule("idle").state == "completed")
    (world.node,) = [node.id or "" for node in client.list_nodes("pool")]
    world.held = tuple(node.id or "" for node in client.list_nodes("held"))
    wait_for(lambda: world.raw.send("HEAD", "/pools/gone").status == 404)


def _wait(world: World, job_id: str, task_id: str, state: str = "completed") -> m.BatchTask:
    def find() -> m.BatchTask | None:
        found = world.client.get_task(job_id, task_id)
        return found if found.state == state else None

    found = wait_for(find)
    assert found is not None
    return found


# --- what clients can provoke: the API's codes ---


@dataclass(frozen=True)
class Case:
    """How to provoke a code, its status, and what its values say at least."""

    ask: Callable[[World], Any]
    status: int
    values: dict[str, str] = field(default_factory=dict)


def _hook(change: Callable[[Any], Any]) -> dict[str, Any]:
    """Options of a call of the SDK whose request is changed after it was signed."""
    return {"raw_request_hook": lambda request: change(request.http_request.headers)}


def _with_key(world: World, key: str, **options: Any) -> Any:
    credential = AzureNamedKeyCredential(world.server.credentials["BATCH_ACCOUNT_NAME"], key)
    with BatchClient(world.server.batch_url, credential, **options) as client:
        return client.get_pool("pool")


def _by_token(world: World) -> Any:
    wait_for(
        lambda: any(file.name == "wd/told" for file in world.client.list_task_files("pool", "long", recursive=True))
    )
    token = b"".join(world.client.download_task_file("pool", "long", "wd/token")).decode()
    return world.client.get_job("waiting", **_hook(lambda headers: headers.update(Authorization=f"Bearer {token}")))


def _raw(method: str, target: str, **options: Any) -> Callable[[World], Refusal]:
    """What no SDK sends."""

    def send(world: World) -> Refusal:
        reply = world.raw.send(method, target, **options)
        return Refusal(reply.status, reply.code, reply.values)

    return send


def _twice(ask: Callable[[World], Any]) -> Callable[[World], Any]:
    """The second time is one too many."""

    def ask_twice(world: World) -> Any:
        ask(world)
        return ask(world)

    return ask_twice


def _while_it_lasts(ask: Callable[[World, str], Any]) -> Callable[[World], Any]:
    """Something that lasts a moment is met with one of some tries, each with a pool of its own."""

    def try_again(world: World) -> Any:
        for number in range(5):
            pool_id = f"{ask.__name__.strip('_')}-{number}"
            try:
                ask(world, pool_id)
            finally:
                world.raw.send("DELETE", f"/pools/{pool_id}")
        raise AssertionError("it never lasted for long enough")

    return try_again


def _while_deleted(world: World, pool_id: str) -> None:
    world.client.create_pool(pool(pool_id, 1))
    world.do("DELETE", f"/pools/{pool_id}")
    world.client.create_pool(pool(pool_id))


def _while_created(world: World, pool_id: str) -> None:
    world.client.create_pool(pool(pool_id, 1))
    (node,) = wait_for(lambda: list(world.client.list_nodes(pool_id)))
    world.client.begin_reboot_node(pool_id, node.id or "", BatchNodeRebootOptions(node_reboot_kind="requeue"))


def _while_started(world: World) -> Any:
    (node,) = wait_for(lambda: [each for each in world.client.list_nodes("other") if each.state == "idle"])
    node_id = node.id or ""
    for _ in range(5):
        world.do("POST", f"/pools/other/nodes/{node_id}/deallocate", {"nodeDeallocateOption": "terminate"})
        wait_for(lambda: world.client.get_node("other", node_id).state == "deallocated")
        world.do("POST", f"/pools/other/nodes/{node_id}/start")
        world.client.begin_start_node("other", node_id)
        wait_for(lambda: world.client.get_node("other", node_id).state == "idle")
    raise AssertionError("it never lasted for long enough")


def _reboot(world: World) -> Any:
    world.do("POST", f"/pools/held/nodes/{world.held[0]}/reboot", {"nodeRebootOption": "taskcompletion"})
    return world.client.begin_reboot_node("held", world.held[0], BatchNodeRebootOptions(node_reboot_kind="requeue"))


def _reimage(world: World) -> Any:
    world.do("POST", f"/pools/held/nodes/{world.held[1]}/reimage", {"nodeReimageOption": "taskcompletion"})
    return world.client.begin_reimage_node(
        "held", world.held[1], BatchNodeReimageOptions(node_reimage_option="requeue")
    )


def _shrink(world: World) -> Any:
    fewer = {"targetDedicatedNodes": 0, "nodeDeallocationOption": "taskcompletion"}
    world.do("POST", "/pools/held/resize", fewer)
    return world.client.begin_resize_pool("held", m.BatchPoolResizeOptions(target_dedicated_nodes=2))


def _enable_auto_scale(world: World) -> None:
    options = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes=0")
    world.client.enable_pool_auto_scale("empty", options)


def _cleaned(world: World) -> Any:
    _wait(world, "pool", "cleaned")
    wait_for(lambda: world.raw.send("GET", "/jobs/pool/tasks/cleaned/files").status != 200)
    return world.client.list_task_files("pool", "cleaned")


def _add_pools(world: World) -> None:
    for number in range(20):
        world.client.create_pool(pool(f"many-{number}"))


def _add_jobs(world: World) -> None:
    for number in range(60):
        world.client.create_job(job(f"many-{number}"))


def _dependent(**dependencies: Any) -> Callable[[World], Any]:
    return lambda w: w.client.create_task("waiting", task("x", depends_on=m.BatchTaskDependencies(**dependencies)))


def _sent_bare(world: World, target: str) -> Refusal:
    response = world.client.send_request(HttpRequest("GET", target))
    return _refusal(response.status_code, response.text())


def _disable_a_schedule(world: World) -> None:
    with contextlib.suppress(HttpResponseError):
        world.client.create_job_schedule(schedule("paused"))
    world.client.disable_job_schedule("paused")


def _like_a_job_task(world: World, task_id: str) -> Any:
    with contextlib.suppress(HttpResponseError):
        world.client.create_job(job("both", **LINGERING))
    return world.client.create_task("both", task(task_id))


PROVOKED: dict[str, Case] = {
    "ConditionNotMet": Case(
        lambda w: w.client.get_pool("pool", etag="0x0", match_condition=MatchConditions.IfNotModified), 412
    ),
    "MissingRequiredHeader": Case(
        lambda w: w.client.get_pool("pool", **_hook(lambda headers: headers.pop("Authorization"))),
        400,
        {"HeaderName": "Authorization"},
    ),
    "MissingRequiredProperty": Case(
        lambda w: w.client.create_job(m.BatchJobCreateOptions({"id": "j"})), 400, {"PropertyName": "poolInfo"}
    ),
    "UnsupportedHeader": Case(
        lambda w: w.client.create_job(job("j"), headers={"If-None-Match": "*"}),
        400,
        {"HeaderName": "if-none-match", "HeaderValue": "*"},
    ),
    "UnsupportedProperty": Case(
        lambda w: w.client.create_job(job("j", allow_task_preemption=True)),
        400,
        {"PropertyName": "allowTaskPreemption"},
    ),
    "InvalidHeaderValue": Case(
        lambda w: w.client.download_task_file("pool", "done", "stdout.txt", ocp_range="bytes=x"),
        400,
        {"HeaderName": "ocp-range", "HeaderValue": "bytes=x"},
    ),
    "InvalidPropertyValue": Case(
        lambda w: w.client.create_job(job("a b")), 400, {"PropertyName": "id", "PropertyValue": "a b"}
    ),
    "MissingRequiredQueryParameter": Case(
        lambda w: _sent_bare(w, "/pools"), 400, {"QueryParameterName": "api-version"}
    ),
    "UnsupportedQueryParameter": Case(
        lambda w: w.client.get_pool("pool", params={"colour": "red"}),
        400,
        {"QueryParameterName": "colour", "QueryParameterValue": "red"},
    ),
    "InvalidQueryParameterValue": Case(
        lambda w: w.client.list_pools(filter="colour eq 'red'"),
        400,
        {"QueryParameterName": "$filter", "QueryParameterValue": "colour eq 'red'"},
    ),
    "OutOfRangeQueryParameterValue": Case(
        lambda w: w.client.list_pools(max_results=1001),
        400,
        {"QueryParameterName": "maxresults", "QueryParameterValue": "1001"},
    ),
    "RequestUrlFailedToParse": Case(_raw("GET", "/pools/%ff"), 400),
    "InvalidUri": Case(lambda w: w.send("GET", "/nothing"), 400),
    "InvalidHttpVerb": Case(lambda w: w.send("PROPFIND", "/pools"), 400, {"HttpVerb": "PROPFIND"}),
    "EmptyMetadataKey": Case(
        lambda w: w.client.create_job(job("j", metadata=[m.BatchMetadataItem(name="", value="x")])),
        400,
        {"PropertyName": "metadata[0].name"},
    ),
    "InvalidRequestBody": Case(
        lambda w: w.client.create_task("pool", {"id": "t", "commandLine": ["true"]}),  # type: ignore[arg-type]
        400,
        {"PropertyName": "commandLine"},
    ),
    "InvalidAuthenticationInfo": Case(
        lambda w: w.client.get_pool("pool", **_hook(lambda headers: headers.update(Authorization="SharedKey what"))),
        400,
    ),
    "MultipleConditionHeadersNotSupported": Case(
        lambda w: w.client.get_pool("pool", headers={"If-Match": "*", "If-None-Match": "*"}), 400
    ),
    "AuthenticationFailed": Case(lambda w: _with_key(w, base64.b64encode(b"x" * 64).decode()), 403),
    "InsufficientAccountPermissions": Case(_by_token, 403),
    "ResourceNotFound": Case(lambda w: w.client.get_node_extension("pool", w.node, "none"), 404),
    "UnsupportedHttpVerb": Case(lambda w: w.send("PUT", "/pools/pool"), 405, {"HttpVerb": "PUT"}),
    "MissingContentLengthHeader": Case(_raw("POST", "/jobs", headers={"Content-Length": None}), 411),
    "RequestBodyTooLarge": Case(
        lambda w: w.client.create_task("pool", task("t", "x" * (1 << 20))), 413, {"MaxLimit": "1048576"}
    ),
    "InvalidRange": Case(
        lambda w: w.client.download_task_file("pool", "done", "stdout.txt", ocp_range="bytes=6-9"),
        416,
        {"HeaderName": "ocp-range"},
    ),
    "UnsupportedRequestVersion": Case(
        lambda w: _with_key(w, w.server.credentials["BATCH_ACCOUNT_KEY"], api_version="2030-01-01"),
        400,
        {"QueryParameterName": "api-version", "QueryParameterValue": "2030-01-01"},
    ),
    "InvalidAutoScalingSettings": Case(
        lambda w: w.client.create_pool(pool("p", auto_scale_formula="$TargetDedicatedNodes=1")),
        400,
        {"PropertyName": "autoScaleFormula"},
    ),
    "AutoScalingFormulaSyntaxError": Case(
        lambda w: w.client.create_pool(pool("p", auto_scale_formula="x = ;", enable_auto_scale=True)), 400
    ),
    "AutoScaleFormulaTooLong": Case(
        lambda w: w.client.create_pool(pool("p", auto_scale_formula="1" * 9000, enable_auto_scale=True)), 400
    ),
    "TaskDependenciesNotSpecifiedOnJob": Case(
        lambda w: w.client.create_task("pool", task("t", depends_on=m.BatchTaskDependencies(task_ids=["a"]))), 400
    ),
    "TaskDependencyListTooLong": Case(_dependent(task_ids=[f"{number:064}" for number in range(1001)]), 400),
    "TaskDependencyRangesTooLong": Case(
        _dependent(task_id_ranges=[m.BatchTaskIdRange(start=10**9, end=10**9)] * 3201), 400
    ),
    "PoolNotFound": Case(lambda w: w.client.get_pool("nowhere"), 404),
    "NodeNotFound": Case(lambda w: w.client.get_node("pool", "nobody"), 404),
    "JobScheduleNotFound": Case(lambda w: w.client.get_job_schedule("never"), 404),
    "JobNotFound": Case(lambda w: w.client.get_job("none"), 404),
    "TaskNotFound": Case(lambda w: w.client.get_task("pool", "none"), 404),
    "FileNotFound": Case(lambda w: w.client.download_task_file("pool", "done", "none"), 404),
    "ApplicationNotFound": Case(lambda w: w.client.get_application("none"), 404),
    "NodeAgentSKUNotFound": Case(
        lambda w: w.client.create_pool(pool("p", virtual_machine_configuration=machine("ubuntu"))),
        404,
        {"PropertyName": "virtualMachineConfiguration.nodeAgentSKUId", "PropertyValue": "ubuntu"},
    ),
    "NodeUserNotFound": Case(lambda w: w.client.delete_node_user("pool", w.node, "nobody"), 404),
    "NodeUserExists": Case(
        _twice(
            lambda w: w.client.create_node_user(
                "pool", w.node, m.BatchNodeUserCreateOptions(name="ada", password="secret")
            )
        ),
        409,
    ),
    "OperationInvalidForCurrentState": Case(lambda w: w.client.list_task_files("waiting", "t"), 409),
    "PoolBeingDeleted": Case(_while_it_lasts(_while_deleted), 409),
    "NodeBeingCreated": Case(_while_it_lasts(_while_created), 409),
    "NodeBeingStarted": Case(_while_started, 409),
    "NodeBeingRebooted": Case(_reboot, 409),
    "NodeBeingReimaged": Case(_reimage, 409),
    "PoolBeingResized": Case(_shrink, 409),
    "JobScheduleBeingTerminated": Case(lambda w: w.client.enable_job_schedule("ending"), 409),
    "JobScheduleBeingDeleted": Case(lambda w: w.client.enable_job_schedule("deleting"), 409),
    "PoolExists": Case(lambda w: w.client.create_pool(pool("POOL")), 409),
    "JobScheduleExists": Case(lambda w: w.client.create_job_schedule(schedule("idle")), 409),
    "JobExists": Case(lambda w: w.client.create_job(job("pool")), 409),
    "JobScheduleDisabled": Case(_twice(_disable_a_schedule), 409),
    "JobScheduleCompleted": Case(lambda w: w.client.enable_job_schedule("idle"), 409),
    "JobBeingTerminated": Case(lambda w: w.client.create_task("lingering", task("x")), 409),
    "JobBeingDeleted": Case(lambda w: w.client.create_task("deleted", task("x")), 409),
    "JobCompleted": Case(lambda w: w.client.create_task("idle:job-1", task("x")), 409),
    "TaskExists": Case(lambda w: w.client.create_task("pool", task("DONE")), 409),
    "TaskCompleted": Case(lambda w: w.client.terminate_task("pool", "done"), 409),
    "TaskNotCompleted": Case(lambda w: w.client.reactivate_task("waiting", "t"), 409),
    "TaskSucceeded": Case(lambda w: w.client.reactivate_task("pool", "done"), 409),
    "TaskFilesUnavailable": Case(lambda w: w.client.list_task_files("gone", "t"), 409),
    "TaskFilesCleanedup": Case(_cleaned, 409),
    "JobPreparationTaskNotSpecified": Case(
        lambda w: w.client.list_job_preparation_and_release_task_status("pool"), 409
    ),
    "TaskIdSameAsJobPreparationTask": Case(lambda w: _like_a_job_task(w, "jobpreparation"), 409),
    "TaskIdSameAsJobReleaseTask": Case(lambda w: _like_a_job_task(w, "jobrelease"), 409),
    "JobWithSameIdExists": Case(lambda w: w.client.create_job_schedule(schedule("pool")), 409),
    "JobScheduleWithSameIdExists": Case(lambda w: w.client.create_job(job("idle")), 409),
    "NodeAlreadyInTargetSchedulingState": Case(lambda w: w.client.enable_node_scheduling("pool", w.node), 409),
    "InvalidApplicationPackageReferences": Case(
        lambda w: w.client.create_pool(
            pool("p", application_package_references=[m.BatchApplicationPackageReference(application_id="none")])
        ),
        409,
    ),
    "OutOfRangePriority": Case(
        lambda w: w.client.create_job(job("j", priority=1001)),
        400,
        {"PropertyName": "priority", "PropertyValue": "1001"},
    ),
    "TooManyEnableAutoScaleRequests": Case(_twice(_enable_auto_scale), 503),
    # last, for nothing can be added after them
    "ActiveJobAndScheduleQuotaReached": Case(_add_jobs, 409),
    "PoolQuotaReached": Case(_add_pools, 409),
}


_NEEDS_USERS = {"NodeUserNotFound", "NodeUserExists"}


@pytest.mark.parametrize("code", PROVOKED)
def test_clients_are_refused_with(code: str, world: World) -> None:
    if code in _NEEDS_USERS and (problem := sandbox_problem()):
        pytest.skip(f"needs sandboxes: {problem}")
    case = PROVOKED[code]
    found = _refused(case.ask, world)
    assert (found.status, found.code) == (case.status, code)
    assert case.values.items() <= found.values.items()
    about = reference.error_codes()["api"][code]
    assert found.status in about["http"]


# --- what only older clients can provoke ---

BY_OLDER_CLIENTS = {
    "CertificateNotFound": 404,
    "CertificateExists": 409,
    "CertificateStateActive": 409,
    "InvalidCertificateReferences": 400,
    "OperationNotValidOnNode": 409,
    "PoolNotEligibleForOSVersionUpgrade": 400,
}


def test_older_clients_are_refused_with(world: World) -> None:
    thumbprint, data = _certificate()
    script = Path(__file__).with_name("clients") / "refusals_msrest.py"
    done = run_client("batch-4.1.3", script, world.node, thumbprint, data, env=world.server.credentials)
    assert json.loads(done.stdout) == BY_OLDER_CLIENTS
    for code, status in BY_OLDER_CLIENTS.items():
        assert status in reference.error_codes()["api"][code]["http"]


def _certificate() -> tuple[str, str]:
    """The thumbprint of a certificate without a key, and what it is made of."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(days=9999))
    content = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return hashlib.sha1(content).hexdigest(), base64.b64encode(content).decode()


# --- what no client can provoke ---

_CLOUD_SERVICES = "only pools of cloud services, which there are none of, have versions of an operating system"
_NO_OPERATION = "no operation asks about the preparation or release task of one node"
_SAID_BY_INVALID_VALUE = "InvalidPropertyValue says it, and names the property"

NEVER = {
    "AccountIsDisabled": "accounts cannot be disabled",
    "AddTaskCollectionTerminated": "clients say it themselves, the service never does",
    "AutoScalingFormulaTooLong": "another name of AutoScaleFormulaTooLong, which is the one that SDKs know",
    "CertificateBeingDeleted": "a certificate goes at once, or its deletion fails at once",
    "CertificateDeleteFailed": "deletions are accepted; that one failed is told by the certificate's state",
    "HostInformationNotPresent": "the service answers to every name, and so to none",
    "IOError": "a node reads all of its files",
    "InternalError": "only a fault of the service's own causes it",
    "InvalidConstraintValue": _SAID_BY_INVALID_VALUE,
    "InvalidInput": _SAID_BY_INVALID_VALUE,
    "InvalidMetadata": "any text may be metadata",
    "InvalidRestAPIForAccountSetting": "there is one kind of account, and all operations are for it",
    "JobDisabled": "a disabled job takes everything that an active one does; disabling it again changes nothing",
    "JobNotActive": "no operation needs an active job",
    "JobPreparationTaskNotRunOnNode": _NO_OPERATION,
    "JobReleaseTaskNotRunOnNode": _NO_OPERATION,
    "JobReleaseTaskNotSpecified": _NO_OPERATION,
    "MetadataTooLarge": "metadata has no limit but the request's own (RequestBodyTooLarge)",
    "NodeCountsMismatch": "nodes are asked for by kind, never in all",
    "NodeStateUnusable": "a client can bring a node to no such state; packages that cannot be unpacked do",
    "NotImplemented": "all operations are there",
    "OSVersionDisabled": _CLOUD_SERVICES,
    "OSVersionExpired": _CLOUD_SERVICES,
    "OSVersionNotFound": _CLOUD_SERVICES,
    "OperationNotValidOnPool": "every operation is for pools of virtual machines",
    "OperationTimedOut": "answers take as long as they do; a node that does not answer is NodeNotReady",
    "OutOfRangeInput": _SAID_BY_INVALID_VALUE,
    "PathNotFound": "FileNotFound says it",
    "PoolBeingCreated": "a pool is there as soon as its creation is answered",
    "PoolVersionEqualsUpgradeVersion": _CLOUD_SERVICES,
    "ResourceAlreadyExists": "every kind of thing has a code of its own (PoolExists)",
    "ResourceTypeMismatch": "no path leads to things of two kinds",
    "ServerBusy": "only thousands of requests at once cause it",
    "StorageAccountNotFound": "storage belongs to the server's settings; tasks without it fail when they need it",
    "UnsupportedConstraint": _SAID_BY_INVALID_VALUE,
    "UnsupportedHttpVersion": "HTTP/1.0 and 1.1 are spoken, and no other is a request at all",
    "UpgradePoolVersionConflict": _CLOUD_SERVICES,
}


def test_every_published_code_is_provoked_or_has_a_reason_not_to_be() -> None:
    tables = [set(PROVOKED), set(BY_OLDER_CLIENTS), set(NEVER)]
    assert set().union(*tables) == set(reference.error_codes()["api"])
    assert sum(map(len, tables)) == len(reference.error_codes()["api"])
