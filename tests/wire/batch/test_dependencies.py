"""Task dependencies and exit conditions, by the newest SDK, by an old one, and by hand where no SDK would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from tests.clients import run_client
from tests.servers import Server
from tests.wire.batch import make
from tests.wire.batch.make import wait_for
from tests.wire.batch.raw import RawClient

_CLIENTS = Path(__file__).with_name("clients")
SATISFY = models.ExitOptions(dependency_action=models.DependencyAction.SATISFY)
BLOCK = models.ExitOptions(dependency_action=models.DependencyAction.BLOCK)


@pytest.fixture(scope="module")
def pool(raw: RawClient) -> Iterator[str]:
    raw.send("POST", "/pools", make.pool("workers", 1, taskSlotsPerNode=2))
    yield "workers"


def _add_job(client: BatchClient, job_id: str, pool_id: str, **options: Any) -> None:
    options = {"uses_task_dependencies": True, **options}
    client.create_job(
        models.BatchJobCreateOptions(id=job_id, pool_info=models.BatchPoolInfo(pool_id=pool_id), **options)
    )


def _task(task_id: str, command: str = "true", *ids: str, **options: Any) -> models.BatchTaskCreateOptions:
    """A task that depends on those with the ids."""
    if ids:
        options["depends_on"] = models.BatchTaskDependencies(task_ids=list(ids))
    return models.BatchTaskCreateOptions(id=task_id, command_line=command, **options)


def _on(**clauses: Any) -> models.ExitConditions:
    return models.ExitConditions(**clauses)


def _completed(client: BatchClient, job_id: str, *task_ids: str) -> list[models.BatchTask]:
    def tasks() -> list[models.BatchTask] | None:
        found = [client.get_task(job_id, task_id) for task_id in task_ids]
        return found if all(task.state == models.BatchTaskState.COMPLETED for task in found) else None

    found = wait_for(tasks)
    assert found is not None
    return found


def _info(task: models.BatchTask) -> models.BatchTaskExecutionInfo:
    assert task.execution_info is not None
    return task.execution_info


def test_tasks_start_after_those_that_they_depend_on(client: BatchClient, pool: str) -> None:
    _add_job(client, "ordered", pool)
    ranges = [models.BatchTaskIdRange(start=2, end=4), models.BatchTaskIdRange(start=1, end=1)]
    by_range = models.BatchTaskDependencies(task_ids=["extra"], task_id_ranges=ranges)
    last = models.BatchTaskCreateOptions(id="last", command_line="true", depends_on=by_range)
    client.create_tasks("ordered", [last, *(_task(str(number), "sleep 0.05") for number in range(1, 5))])
    client.create_task("ordered", _task("after", "true", "LAST"))
    client.create_task("ordered", _task("extra", "true", "4"))
    tasks = _completed(client, "ordered", "1", "2", "3", "4", "extra", "last", "after")
    *prerequisites, last_info, after = [_info(task) for task in tasks]
    assert last_info.start_time is not None and after.start_time is not None and last_info.end_time is not None
    assert all(each.end_time is not None and each.end_time <= last_info.start_time for each in prerequisites)
    assert last_info.end_time <= after.start_time
    answered = client.get_task("ordered", "last").depends_on
    assert answered == by_range
    (selected,) = client.list_tasks("ordered", filter="id eq 'after'", select=["id", "dependsOn"])
    assert selected.as_dict() == {"id": "after", "dependsOn": {"taskIds": ["LAST"]}}


def test_ends_that_satisfy_and_ends_that_block(client: BatchClient, server: Server, pool: str) -> None:
    _add_job(client, "conditional", pool)
    codes = _on(
        exit_codes=[models.ExitCodeMapping(code=0, exit_options=BLOCK)],
        exit_code_ranges=[models.ExitCodeRangeMapping(start=5, end=9, exit_options=SATISFY)],
    )
    nowhere = models.OutputFile(
        file_pattern="../std*.txt",
        destination=models.OutputFileDestination(
            container=models.OutputFileBlobContainerDestination(container_url=f"{server.blob_url}/nothing")
        ),
        upload_options=models.OutputFileUploadConfiguration(upload_condition="taskcompletion"),
    )
    results = {
        "zero": _task("zero", "true", exit_conditions=codes),
        "five": _task("five", "/bin/sh -c 'exit 5'", exit_conditions=codes),
        "one": _task("one", "/bin/sh -c 'exit 1'", exit_conditions=codes),
        "other": _task("other", "/bin/sh -c 'exit 1'", exit_conditions=_on(default=SATISFY)),
        "missing": _task("missing", "/no/such/program", exit_conditions=_on(pre_processing_error=SATISFY)),
        "upload": _task("upload", output_files=[nowhere], exit_conditions=_on(file_upload_error=SATISFY)),
        "lost": _task("lost", output_files=[nowhere], exit_conditions=_on(pre_processing_error=SATISFY)),
    }
    client.create_tasks("conditional", [*results.values()])
    client.create_tasks("conditional", [_task(f"after-{name}", "true", name) for name in results])
    _completed(client, "conditional", *results, *(f"after-{name}" for name in ("five", "other", "missing", "upload")))
    left = [task.id for task in client.list_tasks("conditional", filter="state eq 'active'", select=["id"])]
    assert set(left) == {"after-zero", "after-one", "after-lost"}
    counts = client.get_job_task_counts("conditional").task_counts
    assert (counts.active, counts.running, counts.failed) == (3, 0, 6)
    assert client.get_task("conditional", "zero").exit_conditions == codes
    assert client.get_job("conditional").state == models.BatchJobState.ACTIVE


def test_blocked_task_runs_once_what_it_depends_on_has_been_reactivated(client: BatchClient, pool: str) -> None:
    _add_job(client, "second", pool)
    once = "/bin/sh -c 'test -e $AZ_BATCH_NODE_SHARED_DIR/tried || { : > $AZ_BATCH_NODE_SHARED_DIR/tried; exit 1; }'"
    client.create_tasks("second", [_task("first", once), _task("then", "true", "first")])
    (first,) = _completed(client, "second", "first")
    assert _info(first).exit_code == 1
    assert client.get_task("second", "then").state == models.BatchTaskState.ACTIVE
    client.reactivate_task("second", "first")
    (then,) = _completed(client, "second", "then")
    assert _info(then).exit_code == 0


@pytest.mark.parametrize(
    ("action", "state", "reason"),
    [(None, "completed", "TaskFailed"), ("terminate", "completed", "TaskFailed"), ("disable", "disabled", None)],
)
def test_failed_task_acts_on_its_job(
    client: BatchClient, pool: str, action: str | None, state: str, reason: str | None
) -> None:
    job = f"acting-{action}"
    _add_job(client, job, pool, task_failure_mode="performexitoptionsjobaction")
    options = models.ExitOptions() if action is None else models.ExitOptions(job_action=action)
    client.create_task(job, _task("fails", "/bin/sh -c 'exit 1'", exit_conditions=_on(default=options)))
    ended = wait_for(lambda: found if (found := client.get_job(job)).state == state else None)
    assert ended is not None and ended.execution_info is not None
    assert ended.execution_info.termination_reason == reason


def test_failed_task_leaves_its_job_alone(client: BatchClient, pool: str) -> None:
    _add_job(client, "calm", pool, task_failure_mode="performexitoptionsjobaction")
    calm = models.ExitOptions(job_action="none", dependency_action="satisfy")
    client.create_task("calm", _task("fails", "/bin/sh -c 'exit 1'", exit_conditions=_on(default=calm)))
    client.create_task("calm", _task("then", "true", "fails"))
    _completed(client, "calm", "fails", "then")
    assert client.get_job("calm").state == models.BatchJobState.ACTIVE


# --- refusals


@pytest.fixture(scope="module")
def jobs(raw: RawClient) -> None:
    """Jobs without a pool, with and without dependencies."""
    raw.send("POST", "/jobs", make.job("plain"))
    raw.send("POST", "/jobs", make.job("linked", usesTaskDependencies=True))


_TERMINATE = {"jobAction": "terminate"}


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("job", "members", "code", "name"),
    [
        ("plain", {"dependsOn": {"taskIds": ["a"]}}, "TaskDependenciesNotSpecifiedOnJob", "dependsOn"),
        ("plain", {"dependsOn": {}}, "TaskDependenciesNotSpecifiedOnJob", "dependsOn"),
        (
            "linked",
            {"dependsOn": {"taskIds": ["x" * 64] * 1001}},
            "TaskDependencyListTooLong",
            "dependsOn.taskIds",
        ),
        (
            "linked",
            {"dependsOn": {"taskIdRanges": [{"start": 10000, "end": 10000}] * 6401}},
            "TaskDependencyRangesTooLong",
            "dependsOn.taskIdRanges",
        ),
        ("linked", {"dependsOn": {"taskIds": ["a", "b c"]}}, "InvalidPropertyValue", "dependsOn.taskIds[1]"),
        (
            "linked",
            {"dependsOn": {"taskIdRanges": [{"start": 1, "end": 1}, {"start": 2, "end": 1}]}},
            "InvalidPropertyValue",
            "dependsOn.taskIdRanges[1].end",
        ),
        (
            "linked",
            {"dependsOn": {"taskIdRanges": [{"start": 1}]}},
            "MissingRequiredProperty",
            "dependsOn.taskIdRanges[0].end",
        ),
        (
            "linked",
            {"dependsOn": {"taskIdRanges": [{"start": 0, "end": 2**31}]}},
            "InvalidPropertyValue",
            "dependsOn.taskIdRanges[0].end",
        ),
        (
            "linked",
            {"exitConditions": {"exitCodeRanges": [{"start": 2, "end": 1, "exitOptions": {}}]}},
            "InvalidPropertyValue",
            "exitConditions.exitCodeRanges[0].end",
        ),
        (
            "linked",
            {"exitConditions": {"exitCodes": [{"code": 1, "exitOptions": {"jobAction": "stop"}}]}},
            "InvalidPropertyValue",
            "exitConditions.exitCodes[0].exitOptions.jobAction",
        ),
        (
            "linked",
            {"exitConditions": {"exitCodes": [{"code": 1, "exitOptions": _TERMINATE}]}},
            "InvalidPropertyValue",
            "exitConditions.exitCodes[0].exitOptions.jobAction",
        ),
        (
            "plain",
            {"exitConditions": {"default": {"dependencyAction": "Satisfy"}}},
            "InvalidPropertyValue",
            "exitConditions.default.dependencyAction",
        ),
    ],
)
def test_wrong_dependencies_and_conditions_are_refused(
    raw: RawClient, job: str, members: dict[str, Any], code: str, name: str
) -> None:
    refused = raw.send("POST", f"/jobs/{job}/tasks", make.task("wrong", **members))
    assert (refused.status, refused.code, refused.values["PropertyName"]) == (400, code, name)
    collection = raw.send("POST", f"/jobs/{job}/addtaskcollection", {"value": [make.task("wrong", **members)]})
    (result,) = collection.content["value"]
    assert (result["status"].lower(), result["error"]["code"]) == ("clienterror", code)
    assert raw.send("GET", f"/jobs/{job}/tasks/wrong").status == 404


def test_dependencies_of_the_greatest_length_are_taken(raw: RawClient, jobs: None) -> None:
    members = {
        "taskIds": ["x" * 64] * 1000,
        "taskIdRanges": [{"start": 10000, "end": 10000}] * 6400,
    }
    assert raw.send("POST", "/jobs/linked/tasks", make.task("long", dependsOn=members)).status == 201


# --- older versions


def test_conditions_of_older_versions(raw: RawClient, jobs: None) -> None:
    given = {"schedulingError": {"dependencyAction": "satisfy"}, "fileUploadError": {}, "default": {}}
    added = raw.send("POST", "/jobs/linked/tasks", make.task("older", exitConditions=given), version="2017-01-01.4.0")
    assert added.status == 201

    def answered(version: str) -> Any:
        return raw.send("GET", "/jobs/linked/tasks/older", version=version).content.get("exitConditions")

    satisfy = {"dependencyAction": "satisfy"}
    assert answered("2025-06-01") == {"preProcessingError": satisfy, "fileUploadError": {}, "default": {}}
    assert answered("2017-01-01.4.0") == {"schedulingError": satisfy, "default": {}}
    assert answered("2016-07-01.3.1") == {"schedulingError": {}, "default": {}}
    assert answered("2016-02-01.3.0") is None


@pytest.mark.parametrize("version", ["2.0.0", "4.1.3"])
def test_older_sdks(version: str, server: Server, pool: str) -> None:
    run_client(f"batch-{version}", _CLIENTS / "scenario_dependencies.py", pool, env=server.credentials)
