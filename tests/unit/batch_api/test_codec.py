"""What is wrong with a body is told by the service's code, with the name of the culprit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millpond.batch.api.wire import common, jobs, nodes, pools, tasks
from millpond.batch.api.wire.codec import decode_body, encode
from millpond.batch.api.wire.fields import Model
from millpond.common.errors import ServiceError

NEWEST = "2025-06-01"
MACHINE = {"imageReference": {"publisher": "p"}, "nodeAgentSKUId": "batch.node.ubuntu 22.04"}
POOL = {"id": "p", "vmSize": "standard_a1", "virtualMachineConfiguration": MACHINE}
JOB = {"id": "j", "poolInfo": {"poolId": "p"}}
TASK = {"id": "t", "commandLine": "true"}


def _read(content: Any, model: type[Model], version: str = NEWEST) -> Model:
    return decode_body(content if isinstance(content, bytes) else json.dumps(content).encode(), model, version)


def _refusal(content: Any, model: type[Model], version: str = NEWEST) -> tuple[str, dict[str, str]]:
    with pytest.raises(ServiceError) as refused:
        _read(content, model, version)
    assert refused.value.status == 400
    return refused.value.code, dict(refused.value.details)


def test_a_wrong_public_key_is_told_what_one_is() -> None:
    code, values = _refusal({"name": "me", "sshPublicKey": "secret"}, nodes.NodeUserAdd)
    assert (code, values["PropertyName"]) == ("InvalidPropertyValue", "sshPublicKey")
    assert "public key of OpenSSH" in values["Reason"]


def test_a_name_of_metadata_is_not_empty() -> None:
    code, values = _refusal({**JOB, "metadata": [{"name": "", "value": "x"}]}, jobs.JobAdd)
    assert (code, values["PropertyName"]) == ("EmptyMetadataKey", "metadata[0].name")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"nul",
        b'{"id":"t",}',
        b'{"id":"t"} x',
        b"\xff\xfe{",
        b'"\xff"',
        b'{"id":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[1]",
        b"5",
        b"null",
        b'"x"',
    ],
)
@pytest.mark.parametrize("version", ["2017-01-01", NEWEST])
def test_bodies_that_are_no_json_object_are_not_syntactically_valid(body: bytes, version: str) -> None:
    code, values = _refusal(body, tasks.TaskAdd, version)
    assert code == "InvalidRequestBody"
    assert values["Reason"]


@pytest.mark.parametrize(
    ("model", "content", "name"),
    [
        (tasks.TaskAdd, {"id": "t"}, "commandLine"),
        (tasks.TaskAdd, {"commandLine": "x"}, "id"),
        (tasks.TaskAdd, TASK | {"resourceFiles": [{"httpUrl": "http://x"}]}, "resourceFiles[0].filePath"),
        (tasks.TaskAdd, TASK | {"environmentSettings": [{"name": "A"}, {"value": "v"}]}, "environmentSettings[1].name"),
        (pools.PoolAdd, {"id": "p", "virtualMachineConfiguration": MACHINE}, "vmSize"),
        (
            pools.PoolAdd,
            POOL | {"startTask": {"resourceFiles": []}},
            "startTask.commandLine",
        ),
        (pools.PoolAdd, POOL | {"virtualMachineConfiguration": {}}, "virtualMachineConfiguration.imageReference"),
        (pools.PoolResize, {}, "targetDedicatedNodes"),
        (pools.PoolReplace, {"metadata": []}, "applicationPackageReferences"),
        (jobs.JobAdd, {"id": "j"}, "poolInfo"),
        (jobs.JobUpdate, {"priority": 1}, "poolInfo"),
        (jobs.JobDisable, {}, "disableTasks"),
    ],
)
def test_missing_members_are_named(model: type[Model], content: Any, name: str) -> None:
    code, values = _refusal(content, model)
    assert (code, values["PropertyName"]) == ("MissingRequiredProperty", name)


@pytest.mark.parametrize(
    ("model", "content", "name", "value"),
    [
        (tasks.TaskAdd, TASK | {"id": 5}, "id", "5"),
        (tasks.TaskAdd, TASK | {"commandLine": ["a"]}, "commandLine", '["a"]'),
        (tasks.TaskAdd, TASK | {"requiredSlots": "1"}, "requiredSlots", "1"),
        (tasks.TaskAdd, TASK | {"resourceFiles": {}}, "resourceFiles", "{}"),
        (tasks.TaskAdd, TASK | {"resourceFiles": ["x"]}, "resourceFiles[0]", "x"),
        (tasks.TaskAdd, TASK | {"constraints": {"maxTaskRetryCount": True}}, "constraints.maxTaskRetryCount", "true"),
        (pools.PoolAdd, POOL | {"targetDedicatedNodes": 1.5}, "targetDedicatedNodes", "1.5"),
        (pools.PoolAdd, POOL | {"enableAutoScale": "yes"}, "enableAutoScale", "yes"),
        (jobs.JobAdd, JOB | {"poolInfo": "p"}, "poolInfo", "p"),
    ],
)
def test_wrong_types_make_the_body_invalid(model: type[Model], content: Any, name: str, value: str) -> None:
    code, values = _refusal(content, model)
    assert (code, values["PropertyName"], values["PropertyValue"]) == ("InvalidRequestBody", name, value)
    assert "Expected" in values["Reason"]


@pytest.mark.parametrize(
    ("model", "content", "name"),
    [
        (tasks.TaskAdd, TASK | {"colour": "red"}, "colour"),
        (tasks.TaskAdd, TASK | {"constraints": {"colour": 1}}, "constraints.colour"),
        (tasks.TaskAdd, TASK | {"Id": "t"}, "Id"),
        (tasks.TaskAdd, TASK | {"state": "active"}, "state"),
        (jobs.JobPatch, {"displayName": "x"}, "displayName"),
        (pools.PoolPatch, {"targetDedicatedNodes": 1}, "targetDedicatedNodes"),
    ],
)
def test_unknown_members_make_the_body_invalid(model: type[Model], content: Any, name: str) -> None:
    code, values = _refusal(content, model)
    assert (code, values["PropertyName"]) == ("InvalidRequestBody", name)


@pytest.mark.parametrize(
    ("model", "content", "name"),
    [
        (tasks.TaskAdd, TASK | {"id": ""}, "id"),
        (tasks.TaskAdd, TASK | {"id": "a b"}, "id"),
        (tasks.TaskAdd, TASK | {"id": "å"}, "id"),
        (tasks.TaskAdd, TASK | {"id": "a/b"}, "id"),
        (tasks.TaskAdd, TASK | {"id": "t\n"}, "id"),
        (tasks.TaskAdd, TASK | {"id": "x" * 65}, "id"),
        (tasks.TaskAdd, TASK | {"commandLine": ""}, "commandLine"),
        (tasks.TaskAdd, TASK | {"commandLine": "a\0b"}, "commandLine"),
        (tasks.TaskAdd, TASK | {"displayName": "x" * 1025}, "displayName"),
        (tasks.TaskAdd, TASK | {"requiredSlots": 0}, "requiredSlots"),
        (tasks.TaskAdd, TASK | {"constraints": {"maxTaskRetryCount": -2}}, "constraints.maxTaskRetryCount"),
        (tasks.TaskAdd, TASK | {"constraints": {"retentionTime": "1 day"}}, "constraints.retentionTime"),
        (tasks.TaskAdd, TASK | {"constraints": {"retentionTime": "P"}}, "constraints.retentionTime"),
        (tasks.TaskAdd, TASK | {"constraints": {"retentionTime": "PT"}}, "constraints.retentionTime"),
        (tasks.TaskAdd, TASK | {"constraints": {"maxWallClockTime": "-PT5M"}}, "constraints.maxWallClockTime"),
        (tasks.TaskAdd, TASK | {"environmentSettings": [{"name": "A=B"}]}, "environmentSettings[0].name"),
        (tasks.TaskAdd, TASK | {"environmentSettings": [{"name": ""}]}, "environmentSettings[0].name"),
        (tasks.TaskAdd, TASK | {"resourceFiles": [{}]}, "resourceFiles[0].httpUrl"),
        (
            tasks.TaskAdd,
            TASK | {"resourceFiles": [{"httpUrl": "http://u", "filePath": "f", "fileMode": "rwx"}]},
            "resourceFiles[0].fileMode",
        ),
        (
            tasks.TaskAdd,
            TASK | {"resourceFiles": [{"httpUrl": "http://u", "storageContainerUrl": "http://u", "filePath": "f"}]},
            "resourceFiles[0].httpUrl",
        ),
        *(
            (tasks.TaskAdd, TASK | {"resourceFiles": [{"httpUrl": url, "filePath": "f"}]}, "resourceFiles[0].httpUrl")
            for url in ("ftp://host/file", "file:///etc/passwd", "/etc/passwd", "http://", "http:///path")
        ),
        (
            tasks.TaskAdd,
            TASK | {"resourceFiles": [{"storageContainerUrl": "container"}]},
            "resourceFiles[0].storageContainerUrl",
        ),
        (tasks.TaskAdd, TASK | {"userIdentity": {}}, "userIdentity.username"),
        (
            tasks.TaskAdd,
            TASK | {"userIdentity": {"autoUser": {"scope": "job"}}},
            "userIdentity.autoUser.scope",
        ),
        (pools.PoolAdd, POOL | {"targetDedicatedNodes": -1}, "targetDedicatedNodes"),
        (pools.PoolAdd, POOL | {"taskSlotsPerNode": 0}, "taskSlotsPerNode"),
        (pools.PoolAdd, POOL | {"taskSlotsPerNode": 257}, "taskSlotsPerNode"),
        (pools.PoolAdd, POOL | {"resizeTimeout": "PT4M59S"}, "resizeTimeout"),
        (pools.PoolAdd, POOL | {"taskSchedulingPolicy": {"nodeFillType": "heap"}}, "taskSchedulingPolicy.nodeFillType"),
        (pools.PoolAdd, POOL | {"userAccounts": [{"name": "x" * 21, "password": "p"}]}, "userAccounts[0].name"),
        (pools.PoolAdd, {"id": "p", "vmSize": "s"}, "virtualMachineConfiguration"),
        (pools.NodesRemove, {"nodeList": []}, "nodeList"),
        (pools.NodesRemove, {"nodeList": ["n"] * 101}, "nodeList"),
        (tasks.TaskCollection, {"value": [TASK] * 101}, "value"),
        (jobs.JobAdd, JOB | {"maxParallelTasks": 0}, "maxParallelTasks"),
        (jobs.JobAdd, JOB | {"poolInfo": {}}, "poolInfo.poolId"),
        (jobs.JobAdd, JOB | {"onTaskFailure": "panic"}, "onTaskFailure"),
        (jobs.JobReleaseTask, {"commandLine": "x", "maxWallClockTime": "PT16M"}, "maxWallClockTime"),
    ],
)
@pytest.mark.parametrize("version", ["2017-01-01", NEWEST])
def test_wrong_values_are_named(model: type[Model], content: Any, name: str, version: str) -> None:
    code, values = _refusal(content, model, version)
    assert (code, values["PropertyName"]) == ("InvalidPropertyValue", name)
    assert values["Reason"]


def test_a_priority_that_is_out_of_range_has_an_error_of_its_own() -> None:
    assert _refusal(JOB | {"priority": 1001}, jobs.JobAdd)[0] == "OutOfRangePriority"
    assert _refusal(JOB | {"priority": -1001}, jobs.JobAdd)[0] == "OutOfRangePriority"


def test_a_long_wrong_value_is_not_repeated_whole() -> None:
    _, values = _refusal(TASK | {"id": "x" * 10_000}, tasks.TaskAdd)
    assert len(values["PropertyValue"]) == 200


def test_a_round_trip_may_carry_what_is_read_only_and_nothing_unknown() -> None:
    answered = {"odata.metadata": "x", "id": "j", "url": "u", "state": "active", "eTag": "0x8", "priority": 3}
    body = encode(answered | {"poolInfo": {"poolId": "p"}, "executionInfo": {"startTime": "x"}, "displayName": "d"})
    update = decode_body(body, jobs.JobUpdate, NEWEST, round_trip=jobs.Job)
    assert (update.priority, update.pool_info.pool_id) == (3, "p")
    with pytest.raises(ServiceError) as refused:
        decode_body(encode({"poolInfo": {"poolId": "p"}, "colour": "x"}), jobs.JobUpdate, NEWEST, round_trip=jobs.Job)
    assert dict(refused.value.details)["PropertyName"] == "colour"


def test_what_was_read_is_written_again_in_the_newest_form() -> None:
    older = TASK | {
        "resourceFiles": [{"blobSource": "http://x/b", "filePath": "b"}],
        "userIdentity": {"autoUser": {"elevationLevel": "nonAdmin"}},
    }
    task = _read(older, tasks.TaskAdd, "2017-01-01")
    assert json.loads(encode(task)) == TASK | {
        "resourceFiles": [{"httpUrl": "http://x/b", "filePath": "b"}],
        "userIdentity": {"autoUser": {"elevationLevel": "nonadmin"}},
    }


def test_containers_may_have_an_empty_command_line() -> None:
    task = _read(TASK | {"commandLine": "", "containerSettings": {"imageName": "i"}}, tasks.TaskAdd)
    assert isinstance(task, common.Process)
    assert task.command_line == ""


_BLOBS = {"accountName": "a", "containerName": "c", "relativeMountPath": "m", "accountKey": "k"}
_NFS = {"nfsMountConfiguration": {"source": "host:/export", "relativeMountPath": "m"}}


@pytest.mark.parametrize(
    ("mounts", "name"),
    [
        ([{}], "mountConfiguration[0].azureBlobFileSystemConfiguration"),
        (
            [_NFS | {"azureBlobFileSystemConfiguration": _BLOBS}],
            "mountConfiguration[0].azureBlobFileSystemConfiguration",
        ),
        ([_NFS, {"azureBlobFileSystemConfiguration": _BLOBS}], "mountConfiguration"),
        ([_NFS] * 11, "mountConfiguration"),
        *(
            (
                [{"azureBlobFileSystemConfiguration": _BLOBS | wrong}],
                f"mountConfiguration[0].azureBlobFileSystemConfiguration.{name}",
            )
            for name, wrong in (
                ("accountKey", {"sasKey": "s"}),
                ("accountName", {"accountName": "a.example/"}),
                ("relativeMountPath", {"relativeMountPath": "../shared"}),
                ("relativeMountPath", {"relativeMountPath": "a/.."}),
                ("relativeMountPath", {"relativeMountPath": "/a"}),
            )
        ),
    ],
)
def test_mounts_have_one_kind_and_a_place_of_their_own(mounts: Any, name: str) -> None:
    code, values = _refusal(POOL | {"mountConfiguration": mounts}, pools.PoolAdd)
    assert (code, values["PropertyName"]) == ("InvalidPropertyValue", name)
    assert _refusal({"mountConfiguration": mounts}, pools.PoolPatch)[1]["PropertyName"] == name


@pytest.mark.parametrize("path", ["m", "a/b c", "..a/.b"])
def test_mounts_may_be_anywhere_below_their_directory(path: str) -> None:
    _read(
        POOL | {"mountConfiguration": [{"azureBlobFileSystemConfiguration": _BLOBS | {"relativeMountPath": path}}]},
        pools.PoolAdd,
    )


_NAT = {
    "name": "web",
    "protocol": "tcp",
    "backendPort": 80,
    "frontendPortRangeStart": 2000,
    "frontendPortRangeEnd": 2039,
}
_RULE = {"priority": 150, "access": "allow", "sourceAddressPrefix": "10.0.0.0/8", "sourcePortRanges": ["22", "100-200"]}


def _with_endpoints(*nat_pools: dict[str, Any], **network: Any) -> dict[str, Any]:
    endpoints = {"endpointConfiguration": {"inboundNATPools": list(nat_pools)}}
    return POOL | {"networkConfiguration": endpoints | network}


_OTHER = {"name": "other", "backendPort": 81, "frontendPortRangeStart": 2040, "frontendPortRangeEnd": 2099}


@pytest.mark.parametrize(
    ("wrong", "code", "name"),
    [
        ({"protocol": "udp"}, "UnsupportedProperty", "[0].protocol"),
        ({"name": "-web"}, "InvalidPropertyValue", "[0].name"),
        ({"backendPort": 29876}, "InvalidPropertyValue", "[0].backendPort"),
        ({"frontendPortRangeEnd": 2038}, "InvalidPropertyValue", "[0].frontendPortRangeEnd"),
        ({"frontendPortRangeEnd": 50000}, "InvalidPropertyValue", "[0].frontendPortRangeStart"),
        (
            {"frontendPortRangeStart": 60000, "frontendPortRangeEnd": 65535},
            "InvalidPropertyValue",
            "[0].frontendPortRangeEnd",
        ),
        ({"frontendPortRangeEnd": 2040}, "InvalidPropertyValue", ""),
        ({"name": "Other"}, "InvalidPropertyValue", ""),
        ({"backendPort": 81}, "InvalidPropertyValue", ""),
        ({"networkSecurityGroupRules": [_RULE, _RULE]}, "InvalidPropertyValue", ""),
        (
            {"networkSecurityGroupRules": [_RULE | {"sourceAddressPrefix": "10.0.0.0/99"}]},
            "InvalidPropertyValue",
            "[0].networkSecurityGroupRules[0].sourceAddressPrefix",
        ),
        (
            {"networkSecurityGroupRules": [_RULE | {"sourcePortRanges": ["*", "22"]}]},
            "InvalidPropertyValue",
            "[0].networkSecurityGroupRules[0].sourcePortRanges",
        ),
    ],
)
def test_inbound_endpoints_have_ports_of_their_own(wrong: dict[str, Any], code: str, name: str) -> None:
    _read(_with_endpoints(_NAT | {"networkSecurityGroupRules": [_RULE]}, _NAT | _OTHER), pools.PoolAdd)
    found, values = _refusal(_with_endpoints(_NAT | wrong, _NAT | _OTHER), pools.PoolAdd)
    path = f"networkConfiguration.endpointConfiguration.inboundNATPools{name}"
    assert (found, values["PropertyName"]) == (code, path)


def test_pools_without_public_addresses_have_no_inbound_endpoints() -> None:
    private = _with_endpoints(_NAT, publicIPAddressConfiguration={"provision": "nopublicipaddresses"})
    assert _refusal(private, pools.PoolAdd)[1]["PropertyName"] == "networkConfiguration.endpointConfiguration"
