"""The tables of models are held against the published ones, in every API version."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.batch_api import reference

from millpond.batch.api import versions
from millpond.batch.api.wire import (
    applications,
    certificates,
    common,
    images,
    jobs,
    nodes,
    pools,
    schedules,
    statistics,
    tasks,
)
from millpond.batch.api.wire.codec import from_json
from millpond.batch.api.wire.fields import PATTERN_REASONS, Model
from millpond.batch.api.wire.shape import Member, members
from millpond.common.errors import ServiceError

NEWEST = "2025-06-01"

#: Models of requests, by their published names in older versions and in the newest.
REQUESTS: list[tuple[type[Model], str, str]] = [
    (pools.PoolAdd, "PoolAddParameter", "BatchPoolCreateOptions"),
    (pools.PoolSpecification, "PoolSpecification", "BatchPoolSpecification"),
    (pools.PoolPatch, "PoolPatchParameter", "BatchPoolUpdateOptions"),
    (pools.PoolReplace, "PoolUpdatePropertiesParameter", "BatchPoolReplaceOptions"),
    (pools.PoolResize, "PoolResizeParameter", "BatchPoolResizeOptions"),
    (pools.NodesRemove, "NodeRemoveParameter", "BatchNodeRemoveOptions"),
    (nodes.NodeReboot, "NodeRebootParameter", "BatchNodeRebootOptions"),
    (nodes.NodeUserAdd, "ComputeNodeUser", "BatchNodeUserCreateOptions"),
    (nodes.NodeUserUpdate, "NodeUpdateUserParameter", "BatchNodeUserReplaceOptions"),
    (nodes.ServiceLogsUpload, "UploadBatchServiceLogsConfiguration", "UploadBatchServiceLogsOptions"),
    (nodes.NodeReimage, "NodeReimageParameter", "BatchNodeReimageOptions"),
    (nodes.NodeDeallocate, "", "BatchNodeDeallocateOptions"),
    (nodes.NodeDisableScheduling, "NodeDisableSchedulingParameter", "BatchNodeDisableSchedulingOptions"),
    (jobs.JobAdd, "JobAddParameter", "BatchJobCreateOptions"),
    (jobs.JobPatch, "JobPatchParameter", "BatchJobUpdateOptions"),
    (jobs.JobUpdate, "JobUpdateParameter", ""),
    (jobs.JobTerminate, "JobTerminateParameter", "BatchJobTerminateOptions"),
    (jobs.JobDisable, "JobDisableParameter", "BatchJobDisableOptions"),
    (schedules.JobScheduleAdd, "JobScheduleAddParameter", "BatchJobScheduleCreateOptions"),
    (schedules.JobSchedulePatch, "JobSchedulePatchParameter", "BatchJobScheduleUpdateOptions"),
    (schedules.JobScheduleUpdate, "JobScheduleUpdateParameter", ""),
    (tasks.TaskAdd, "TaskAddParameter", "BatchTaskCreateOptions"),
    (tasks.TaskCollection, "TaskAddCollectionParameter", "BatchTaskGroup"),
    (tasks.TaskUpdate, "TaskUpdateParameter", ""),
    (certificates.CertificateAdd, "CertificateAddParameter", ""),
]

#: Models of answers.
ANSWERS: list[tuple[type[Model], str, str]] = [
    (applications.Application, "ApplicationSummary", "BatchApplication"),
    (certificates.Certificate, "Certificate", ""),
    (pools.Pool, "CloudPool", "BatchPool"),
    (nodes.Node, "ComputeNode", "BatchNode"),
    (nodes.PoolNodeCounts, "PoolNodeCounts", "BatchPoolNodeCounts"),
    (nodes.NodeVmExtension, "NodeVMExtension", "BatchNodeVMExtension"),
    (nodes.RemoteLoginSettings, "ComputeNodeGetRemoteLoginSettingsResult", "BatchNodeRemoteLoginSettings"),
    (nodes.ServiceLogsUploaded, "UploadBatchServiceLogsResult", ""),
    (nodes.NodeFile, "NodeFile", "BatchNodeFile"),
    (jobs.Job, "CloudJob", "BatchJob"),
    (schedules.JobSchedule, "CloudJobSchedule", "BatchJobSchedule"),
    (
        jobs.JobPreparationAndReleaseTaskStatus,
        "JobPreparationAndReleaseTaskExecutionInformation",
        "BatchJobPreparationAndReleaseTaskStatus",
    ),
    (tasks.Task, "CloudTask", "BatchTask"),
    (tasks.TaskAddResult, "TaskAddResult", "BatchTaskCreateResult"),
    (tasks.Subtask, "SubtaskInformation", "BatchSubtask"),
    (tasks.TaskCountsResult, "TaskCountsResult", "BatchTaskCountsResult"),
    (images.SupportedImage, "ImageInformation", "BatchSupportedImage"),
    (images.NodeAgentSku, "NodeAgentSku", ""),
    (statistics.JobStatistics, "JobStatistics", "BatchJobStatistics"),
    (statistics.PoolStatistics, "PoolStatistics", "BatchPoolStatistics"),
    (statistics.PoolUsageMetrics, "PoolUsageMetrics", "BatchPoolUsageMetrics"),
]

#: What the published tables say of answers, and we do not do.
_EXCEPTIONS = {
    # Disks had a member of this name before 2018-12-01, of another kind.
    ("VirtualMachineConfiguration", "osDisk"),
    # Read-only in answers of old cloud services, which this service never has.
    ("CloudServiceConfiguration", "currentOSVersion"),
    ("CloudPool", "currentOSVersion"),
    ("PoolSpecification", "currentOSVersion"),
}


def _cases(table: list[tuple[type[Model], str, str]]) -> list[tuple[type[Model], str, str]]:
    """Each model with its published name in each version that has it."""
    return [
        (model, name, version)
        for model, *names in table
        for version in reference.versions()
        for name in names
        if reference.fields(name, version) is not None
    ]


#: Where it was the counts alone.
_FLAT_COUNTS: list[tuple[type[Model], str, str]] = [
    (tasks.TaskCountsResult, "TaskCounts", version)
    for version in reference.versions()
    if "2017-06" < version < "2020-09"
]


def _full(model: type[Model]) -> dict[str, Any]:
    """JSON of the model with every member."""
    content: dict[str, Any] = {}
    for name, member in members(model).items():
        value: Any = _full(member.model) if member.model else next(iter(member.values.values()), "x")
        content[name] = [value] if member.is_list else value
    return content


def _names_differ(ours: dict[str, Any], name: str, version: str, path: str = "") -> list[str]:
    published = reference.fields(name, version)
    if published is None:  # the published tables have gaps: ExitOptions, for one
        return []
    secrets = {member.name for model in _all_models() for member in members(model).values() if member.is_secret}
    excepted = {field for owner, field in _EXCEPTIONS if owner == name}
    expected = set(published) - secrets - excepted
    differences = [f"{path}{field} is missing" for field in sorted(expected - set(ours))]
    differences += [f"{path}{field} is too much" for field in sorted(set(ours) - expected - excepted)]
    for field in sorted(expected & set(ours)):
        inner = ours[field][0] if isinstance(ours[field], list) else ours[field]
        type_ = reference.type_name(published[field])
        if isinstance(inner, dict) and type_ in reference.models()["models"]:
            differences += _names_differ(inner, type_, version, f"{path}{field}.")
    return differences


def _all_models() -> list[type[Model]]:
    found: list[type[Model]] = []
    pending = [model for model, _, _ in [*REQUESTS, *ANSWERS]]
    while pending:
        model = pending.pop()
        if model not in found:
            found.append(model)
            pending += [member.model for member in members(model).values() if member.model]
    return found


def _patterns(schema: Any) -> set[str]:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    found = set().union(*map(_patterns, parts))
    return found | {schema["pattern"]} if isinstance(schema, dict) and isinstance(schema.get("pattern"), str) else found


def test_no_one_is_told_of_a_regular_expression() -> None:
    patterns = set().union(*(_patterns(msgspec.json.schema(model)) for model in _all_models()))
    assert patterns <= set(PATTERN_REASONS)
    assert len(patterns) > 5


@pytest.mark.parametrize(("model", "name", "version"), _cases(ANSWERS) + _FLAT_COUNTS)
def test_answers_have_the_members_of_their_version(model: type[Model], name: str, version: str) -> None:
    ours = _full(model)
    versions.downgrade(ours, model, version[:10])
    assert _names_differ(ours, name, version) == []


def _example(type_: str, version: str) -> Any:
    """JSON of a published type with every member."""
    if (found := reference.fields(type_, version)) is not None:
        return {name: _example_member(field, version) for name, field in found.items()}
    if values := reference.values(type_, version):
        return values[0]
    return {"int": 7, "bool": True, "duration": "PT10M", "iso-8601": "2020-01-01T00:00:00Z", "{str}": {"a": "b"}}.get(
        type_, "x"
    )


def _example_member(field: dict[str, Any], version: str) -> Any:
    value = _example(reference.type_name(field), version)
    return [value] if reference.is_list(field) else value


def _unknown(value: Any, model: type[Model], path: str = "") -> list[str]:
    if not isinstance(value, dict):  # a gap in the published tables
        return []
    known = members(model)
    found = []
    for name, item in value.items():
        member = known.get(name)
        if member is None:
            found.append(path + name)
        elif member.model:
            for part in item if isinstance(item, list) else [item]:
                found += _unknown(part, member.model, f"{path}{name}.")
    return found


@pytest.mark.parametrize(("model", "name", "version"), _cases(REQUESTS))
def test_requests_may_have_every_member_of_their_version(model: type[Model], name: str, version: str) -> None:
    request = _example(name, version)
    # what only answers have, in models that requests and answers share
    unknown = set(_unknown(versions.upgrade(request, model), model))
    assert {name for name in unknown if not name.endswith("currentOSVersion")} == set()


def _newest_models() -> list[tuple[type[Model], str]]:
    """All models within requests, with their published names in the newest version."""
    found: dict[type[Model], str] = {}
    pending = [(model, newest) for model, _, newest in REQUESTS if newest]
    while pending:
        model, name = pending.pop()
        published = reference.fields(name, NEWEST)
        if model in found or published is None:
            continue
        found[model] = name
        for field, member in members(model).items():
            if member.model and field in published:
                pending.append((member.model, reference.type_name(published[field])))
    return list(found.items())


@pytest.mark.parametrize(("model", "name"), _newest_models(), ids=lambda value: getattr(value, "__name__", value))
def test_newest_requests_require_what_is_required(model: type[Model], name: str) -> None:
    published = reference.fields(name, NEWEST)
    assert published is not None
    expected = {field for field, about in published.items() if about.get("required")}
    # a destination without a container would be none, and an auto pool's specification is its reason to be
    expected |= {"container"} if model is common.OutputDestination else set()
    required = {field.encode_name for field in msgspec.structs.fields(model) if field.required}
    assert required == expected


@pytest.mark.parametrize(("model", "name"), _newest_models(), ids=lambda value: getattr(value, "__name__", value))
def test_enumerations_have_the_newest_values(model: type[Model], name: str) -> None:
    published = reference.fields(name, NEWEST)
    assert published is not None
    for field, member in members(model).items():
        expected = reference.values(reference.type_name(published[field]), NEWEST) if field in published else None
        if expected:
            assert set(member.values.values()) == set(expected), field


#: Values that are right where the first one that comes to mind is not.
_RIGHT: dict[str, Any] = {
    "startTime": "2026-01-31T12:00:00Z",
    "endTime": "2026-01-31T12:00:00Z",
    "expiryTime": "2026-01-31T12:00:00Z",
    "sshPublicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnobody me@here",
    "priority": 200,
    "sourcePortRanges": ["22"],
    "frontendPortRangeStart": 2001,
    "frontendPortRangeEnd": 2099,
    "nodeList": ["n"],
    "fileMode": "0770",
    "httpUrl": "http://x/y",
    "storageContainerUrl": "http://x/y",
    "containerUrl": "http://x/y",
    "version": "1",
    "doNotRunUntil": "2020-01-01T00:00:00Z",
    "doNotRunAfter": "2020-01-01T00:00:00Z",
}


#: What a model's rules ask for besides its required members.
_RULES: dict[type[Model], dict[str, Any]] = {
    pools.PoolResize: {"targetDedicatedNodes": 1},
    common.ResourceFile: {"httpUrl": "http://x/y", "filePath": "y"},
    common.UserIdentity: {"username": "u"},
    jobs.PoolInfo: {"poolId": "p"},
    pools.InboundNatPool: {"frontendPortRangeStart": 2000, "frontendPortRangeEnd": 2100},
    pools.AzureBlobMount: {"accountKey": "k"},
    pools.MountConfiguration: {"nfsMountConfiguration": {"source": "h:/x", "relativeMountPath": "m"}},
    pools.LinuxUserConfiguration: {"uid": 7, "gid": 7},
}


def _minimal(model: type[Model]) -> dict[str, Any]:
    """JSON of the model that is valid and has as little as can be."""
    minimal = dict(_RULES.get(model, {}))
    if issubclass(model, pools.PoolSpecification):
        minimal["virtualMachineConfiguration"] = _minimal(pools.VirtualMachineConfiguration)
    for field in msgspec.structs.fields(model):
        if field.required:
            minimal[field.encode_name] = _right(members(model)[field.encode_name], field.type)
    return minimal


def _right(member: Member, hint: object) -> Any:
    if member.model:
        value: Any = _minimal(member.model)
    elif member.values:
        value = next(iter(member.values.values()))
    elif member.name in _RIGHT:
        return _RIGHT[member.name]
    elif "int" in str(hint):
        value = 7
    elif "bool" in str(hint):
        value = True
    elif "PT" in str(hint):
        value = "PT10M"
    elif "dict" in str(hint):
        value = {"a": "b"}
    else:
        value = "x"
    return [value] if member.is_list else value


def _json_type(value: Any) -> str:
    return {bool: "bool", int: "int", str: "str", dict: "dict", list: "list"}[type(value)]


#: What members of these published types look like.
_JSON_TYPES = {"int": "int", "bool": "bool", "str": "str", "duration": "str", "iso-8601": "str", "{str}": "dict"}


@pytest.mark.parametrize(("model", "name"), _newest_models(), ids=lambda value: getattr(value, "__name__", value))
def test_members_take_values_of_their_published_type_and_no_others(model: type[Model], name: str) -> None:
    published = reference.fields(name, NEWEST)
    assert published is not None
    for field in msgspec.structs.fields(model):
        member = members(model)[field.encode_name]
        if member.name not in published or (model, member.name) in _ALTERNATIVES or "Any" in str(field.type):
            continue
        right = _right(member, field.type)
        expected = "list" if reference.is_list(published[member.name]) else _published_type(published[member.name])
        assert _json_type(right) == expected, member.name
        from_json(_minimal(model) | {member.name: right} | _COMPANIONS.get(member.name, {}), model)
        with pytest.raises(ServiceError) as refused:
            from_json(_minimal(model) | {member.name: 1.5}, model)
        assert refused.value.code == "InvalidRequestBody"
        assert dict(refused.value.details)["PropertyName"] == member.name
        assert dict(refused.value.details)["PropertyValue"] == "1.5"


#: Members that are right only beside others.
_COMPANIONS: dict[str, dict[str, Any]] = {
    "enableAutoScale": {"autoScaleFormula": "$TargetDedicatedNodes = 1;"},
    "autoScaleFormula": {"enableAutoScale": True},
}

#: Members that stand for each other, so that one alone is not valid beside the model's minimum.
_ALTERNATIVES = {
    (pools.AzureBlobMount, "sasKey"),
    (pools.AzureBlobMount, "identityReference"),
    (pools.MountConfiguration, "azureBlobFileSystemConfiguration"),
    (pools.MountConfiguration, "azureFileShareConfiguration"),
    (pools.MountConfiguration, "cifsMountConfiguration"),
    (common.ResourceFile, "storageContainerUrl"),
    (common.ResourceFile, "autoStorageContainerName"),
    (common.ResourceFile, "blobPrefix"),
    (common.UserIdentity, "autoUser"),
    (jobs.PoolInfo, "autoPoolSpecification"),
}


def _published_type(field: dict[str, Any]) -> str:
    type_ = reference.type_name(field)
    return _JSON_TYPES.get(type_) or ("str" if reference.values(type_, NEWEST) else "dict")
