"""Answers of the server have the members of the version that they were asked in, and all that are required."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.batch_api import reference
from tests.wire.batch.make import job, pool, task, wait_for, wait_for_task
from tests.wire.batch.raw import RawClient


@pytest.fixture(scope="module", autouse=True)
def _things(raw: RawClient) -> None:
    """A pool with a node that has a start task, and a job with tasks that ended well and badly, ran and wait."""
    network = {"subnetId": "s", "publicIPAddressConfiguration": {"provision": "usermanaged", "ipAddressIds": ["a"]}}
    start_task = {
        "commandLine": "true",
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
        "environmentSettings": [{"name": "A", "value": "b"}],
    }
    created = raw.send(
        "POST",
        "/pools",
        pool(
            "pool",
            1,
            displayName="a pool",
            startTask=start_task,
            networkConfiguration=network,
            metadata=[{"name": "k", "value": "v"}],
            userAccounts=[{"name": "runner", "password": "secret"}],
            taskSlotsPerNode=2,
        ),
    )
    assert created.status == 201
    assert raw.send("POST", "/jobs", job("job", "pool", commonEnvironmentSettings=[{"name": "C"}])).status == 201
    specification = {"poolInfo": {"autoPoolSpecification": {"poolLifetimeOption": "jobschedule", "pool": _machine()}}}
    timetable = {"recurrenceInterval": "PT1H", "startWindow": "PT2H", "doNotRunAfter": "2100-01-01T00:00:00Z"}
    schedule = {"id": "schedule", "displayName": "x", "schedule": timetable, "jobSpecification": specification}
    assert raw.send("POST", "/jobschedules", schedule).status == 201
    for entry in (
        task("good"),
        task("bad", "/bin/sh -c 'exit 3'"),
        task("none", "/no/program"),
        task("wait", requiredSlots=9),
    ):
        assert raw.send("POST", "/jobs/job/tasks", entry).status == 201
    for name in ("good", "bad", "none"):
        wait_for_task(raw, "job", name)
    wait_for(lambda: raw.send("GET", "/pools/pool/nodes").content["value"][0]["state"] == "idle")


def _machine() -> dict[str, Any]:
    """What a pool is made of."""
    return {name: value for name, value in pool("").items() if name != "id"}


#: Lists and entities, with the published names of their models before and in the newest version.
_ANSWERS = [
    ("/pools", "CloudPool", "BatchPool"),
    ("/pools/pool", "CloudPool", "BatchPool"),
    ("/pools/pool/nodes", "ComputeNode", "BatchNode"),
    ("/nodecounts", "PoolNodeCounts", "BatchPoolNodeCounts"),
    ("/nodeagentskus", "NodeAgentSku", ""),
    ("/supportedimages", "ImageInformation", "BatchSupportedImage"),
    ("/jobs", "CloudJob", "BatchJob"),
    ("/jobs/job", "CloudJob", "BatchJob"),
    ("/jobschedules", "CloudJobSchedule", "BatchJobSchedule"),
    ("/jobschedules/schedule", "CloudJobSchedule", "BatchJobSchedule"),
    ("/jobschedules/schedule/jobs", "CloudJob", "BatchJob"),
    ("/jobs/schedule:job-1", "CloudJob", "BatchJob"),
    ("/jobs/job/taskcounts", "TaskCounts", ""),
    ("/jobs/job/taskcounts", "TaskCountsResult", "BatchTaskCountsResult"),
    ("/jobs/job/tasks", "CloudTask", "BatchTask"),
    ("/jobs/job/tasks/bad", "CloudTask", "BatchTask"),
    ("/jobs/job/tasks/good/files?recursive=true", "NodeFile", "BatchNodeFile"),
]


def _cases() -> list[tuple[str, str, str]]:
    cases = []
    for target, older, newest in _ANSWERS:
        for version in reference.versions():
            name = next((name for name in (newest, older) if name and reference.fields(name, version)), None)
            is_flat = target.endswith("taskcounts") and version < "2020-09"
            if name is not None and (not target.endswith("taskcounts") or (name == "TaskCounts") == is_flat):
                cases.append((target, name, version))
    return cases


@pytest.mark.parametrize(("target", "model", "version"), _cases())
def test_answers_have_the_form_of_their_version(target: str, model: str, version: str, raw: RawClient) -> None:
    reply = raw.send("GET", target, version=version)
    assert reply.status == 200
    entities = reply.content.get("value", [reply.content])
    assert entities
    for entity in entities:
        entity.pop("odata.metadata", None)
        assert _differences(entity, model, version) == []


def _differences(entity: dict[str, Any], model: str, version: str, path: str = "") -> list[str]:
    published = reference.fields(model, version)
    if published is None:
        return []
    required = {name for name, about in published.items() if about.get("required")}
    found = [f"{path}{name} is missing" for name in sorted(required - set(entity) - {"password"})]
    found += [f"{path}{name} is too much" for name in sorted(set(entity) - set(published))]
    for name, value in entity.items():
        about = published.get(name)
        if about is None:
            continue
        found += _wrong_type(value, about, version, f"{path}{name}")
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                found += _differences(part, reference.type_name(about), version, f"{path}{name}.")
    return found


_TYPES: dict[str, type] = {"int": int, "bool": bool, "str": str, "duration": str, "iso-8601": str, "long": str}


def _wrong_type(value: Any, about: dict[str, Any], version: str, path: str) -> list[str]:
    if reference.is_list(about):
        return [] if isinstance(value, list) else [f"{path} is no list"]
    type_ = reference.type_name(about)
    enumerated = reference.values(type_, version)
    if enumerated is not None:
        return [] if value.lower() in [one.lower() for one in enumerated] else [f"{path} is {value}"]
    expected = str if type_ == "int (str)" else _TYPES.get(type_, dict)
    return [] if type(value) is expected else [f"{path} is {value!r}"]
