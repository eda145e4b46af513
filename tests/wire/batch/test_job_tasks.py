"""What a job runs around its tasks, by the newest SDK: preparation, release and manager tasks."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import BatchJobTerminateOptions  # the SDK forgot to export it
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from tests.wire.batch.make import job, pool, wait_for
from tests.wire.batch.raw import RawClient

SHELL = "/bin/sh -c '{}'"


@pytest.fixture(scope="module")
def nodes(raw: RawClient) -> Iterator[str]:
    """A pool of two nodes with two slots each."""
    raw.send("POST", "/pools", pool("jobtasks", nodes=2, taskSlotsPerNode=2))
    wait_for(lambda: [n["state"] for n in raw.send("GET", "/pools/jobtasks/nodes").content["value"]] == ["idle"] * 2)
    yield "jobtasks"


def _options(job_id: str, pool_id: str, **options: Any) -> models.BatchJobCreateOptions:
    return models.BatchJobCreateOptions(id=job_id, pool_info=models.BatchPoolInfo(pool_id=pool_id), **options)


def _task(client: BatchClient, job_id: str, task_id: str, script: str = "true") -> None:
    client.create_task(job_id, models.BatchTaskCreateOptions(id=task_id, command_line=SHELL.format(script)))


def _terminate(client: BatchClient, job_id: str) -> None:
    client.begin_terminate_job(
        job_id, BatchJobTerminateOptions(termination_reason="enough"), polling_interval=0
    ).result()


def _completed(client: BatchClient, job_id: str, task_id: str) -> models.BatchTask:
    def current() -> models.BatchTask | None:
        task = client.get_task(job_id, task_id)
        return task if task.state == models.BatchTaskState.COMPLETED else None

    found = wait_for(current)
    assert found is not None
    return found


def _job_completed(client: BatchClient, job_id: str) -> models.BatchJob:
    def current() -> models.BatchJob | None:
        found = client.get_job(job_id)
        return found if found.state == models.BatchJobState.COMPLETED else None

    found = wait_for(current)
    assert found is not None
    return found


def _output(client: BatchClient, job_id: str, task_id: str) -> str:
    return b"".join(client.download_task_file(job_id, task_id, "stdout.txt")).decode()


def _statuses(client: BatchClient, job_id: str) -> list[models.BatchJobPreparationAndReleaseTaskStatus]:
    return list(client.list_job_preparation_and_release_task_status(job_id))


def _node_file(client: BatchClient, status: models.BatchJobPreparationAndReleaseTaskStatus, path: str) -> str:
    assert status.pool_id is not None
    assert status.node_id is not None
    return b"".join(client.download_node_file(status.pool_id, status.node_id, path)).decode()


def test_preparation_runs_before_the_first_task_and_release_after_the_last(client: BatchClient, nodes: str) -> None:
    release = 'cat "$AZ_BATCH_JOB_PREP_WORKING_DIR/made"; echo $WHO $AZ_BATCH_TASK_ID'
    options = _options(
        "around",
        nodes,
        common_environment_settings=[models.EnvironmentSetting(name="WHO", value="all of us")],
        job_preparation_task=models.BatchJobPreparationTask(
            command_line=SHELL.format("sleep 0.3; echo ready > made; echo $WHO $AZ_BATCH_TASK_ID $MORE"),
            environment_settings=[models.EnvironmentSetting(name="MORE", value="${WHO}, $AZ_BATCH_JOB_ID")],
        ),
        job_release_task=models.BatchJobReleaseTask(command_line=SHELL.format(release)),
    )
    client.create_job(options)
    made = client.get_job("around")
    assert made.job_preparation_task is not None
    assert made.job_release_task is not None
    assert (made.job_preparation_task.id, made.job_release_task.id) == ("jobpreparation", "jobrelease")
    assert made.job_preparation_task.wait_for_success
    assert made.job_preparation_task.rerun_on_node_reboot_after_success
    assert made.job_release_task.max_wall_clock_time == datetime.timedelta(minutes=15)
    assert _statuses(client, "around") == []

    for number in range(4):
        _task(client, "around", f"task{number}", 'cat "$AZ_BATCH_JOB_PREP_DIR/wd/made"; echo $WHO')
    states: set[Any] = set()

    def all_over() -> bool:
        tasks = list(client.list_tasks("around"))
        states.update(task.state for task in tasks)
        return all(task.state == models.BatchTaskState.COMPLETED for task in tasks)

    wait_for(all_over)
    assert models.BatchTaskState.PREPARING in states
    assert {_output(client, "around", f"task{number}") for number in range(4)} == {"ready\nall of us\n"}
    counts = client.get_job_task_counts("around").task_counts
    assert (counts.completed, counts.succeeded) == (4, 4)

    prepared = _statuses(client, "around")
    assert len(prepared) == 2
    for status in prepared:
        info = status.job_preparation_task_execution_info
        assert info is not None
        assert (info.state, info.exit_code, info.result, info.retry_count) == ("completed", 0, "success", 0)
        assert info.task_root_directory == "workitems/around/job-1/jobpreparation"
        assert _node_file(client, status, f"{info.task_root_directory}/stdout.txt") == (
            "all of us jobpreparation all of us, around\n"
        )
        assert status.job_release_task_execution_info is None

    _terminate(client, "around")
    assert _job_completed(client, "around").execution_info.termination_reason == "enough"  # type: ignore[union-attr]
    for status in _statuses(client, "around"):
        done = status.job_release_task_execution_info
        assert done is not None
        assert (done.state, done.exit_code, done.result) == ("completed", 0, "success")
        text = _node_file(client, status, "workitems/around/job-1/jobrelease/stdout.txt")
        assert text == "ready\nall of us jobrelease\n"
    with pytest.raises(ResourceNotFoundError):
        client.begin_delete_job("around", polling_interval=0).result()
        client.get_job("around")


def test_status_list_can_be_filtered_selected_and_paged(client: BatchClient, nodes: str, raw: RawClient) -> None:
    preparation = models.BatchJobPreparationTask(command_line="true")
    client.create_job(_options("listed", nodes, job_preparation_task=preparation))
    for number in range(4):
        _task(client, "listed", f"task{number}", "sleep 0.3")
    wait_for(lambda: len(_statuses(client, "listed")) == 2)
    first, second = sorted(_statuses(client, "listed"), key=lambda status: status.node_id or "")
    wait_for(lambda: all(_completed(client, "listed", f"task{number}") for number in range(4)))
    url = "/jobs/listed/jobpreparationandreleasetaskstatus"
    page = raw.send("GET", url + "?maxresults=1").content
    assert [item["nodeId"] for item in page["value"]] == [first.node_id]
    assert page["odata.metadata"].endswith("#jobpreparationandreleasetaskstatuslist")
    following = raw.send("GET", f"{url}?maxresults=1&$skiptoken={page['odata.nextLink'].rpartition('=')[2]}")
    assert [item["nodeId"] for item in following.content["value"]] == [second.node_id]

    def ids(condition: str) -> list[str | None]:
        found = client.list_job_preparation_and_release_task_status(
            "listed", filter=condition, select=["nodeId", "poolId"]
        )
        statuses = list(found)
        assert all(status.job_preparation_task_execution_info is None for status in statuses)
        return [status.node_id for status in statuses]

    assert ids(f"nodeId eq '{second.node_id}'") == [second.node_id]
    assert len(ids("jobPreparationTaskExecutionInfo/state eq 'completed' and poolId eq 'jobtasks'")) == 2
    assert ids("jobPreparationTaskExecutionInfo/exitCode ne 0") == []
    assert ids("jobReleaseTaskExecutionInfo/state eq 'completed'") == []


def test_failed_preparation_keeps_tasks_away_and_other_jobs_do_not_care(client: BatchClient, nodes: str) -> None:
    preparation = models.BatchJobPreparationTask(
        id="Setup",
        command_line=SHELL.format("exit 3"),
        constraints=models.BatchTaskConstraints(max_task_retry_count=2),
    )
    client.create_job(_options("unprepared", nodes, job_preparation_task=preparation))
    with pytest.raises(HttpResponseError) as refusal:
        _task(client, "unprepared", "setup")
    assert refusal.value.error.code == "TaskIdSameAsJobPreparationTask"  # type: ignore[union-attr]
    _task(client, "unprepared", "task")

    def failed() -> list[models.BatchJobPreparationAndReleaseTaskStatus]:
        statuses = _statuses(client, "unprepared")
        infos = [status.job_preparation_task_execution_info for status in statuses]
        over = all(info is not None and info.state == "completed" for info in infos)
        return statuses if len(infos) == 2 and over else []

    for status in wait_for(failed):
        info = status.job_preparation_task_execution_info
        assert info is not None
        assert info.failure_info is not None
        assert (info.exit_code, info.result, info.retry_count) == (3, "failure", 2)
        assert info.failure_info.code == "FailureExitCode"
        assert info.last_retry_time is not None
    assert client.get_task("unprepared", "task").state == models.BatchTaskState.ACTIVE
    client.create_job(_options("careless", nodes))
    _task(client, "careless", "task")
    assert _completed(client, "careless", "task").execution_info.exit_code == 0  # type: ignore[union-attr]
    _terminate(client, "unprepared")
    _job_completed(client, "unprepared")
    assert all(status.job_release_task_execution_info is None for status in _statuses(client, "unprepared"))


def test_tasks_may_start_beside_the_preparation(client: BatchClient, nodes: str) -> None:
    preparation = models.BatchJobPreparationTask(command_line="sleep 60", wait_for_success=False)
    release = models.BatchJobReleaseTask(command_line="true")
    client.create_job(_options("beside", nodes, job_preparation_task=preparation, job_release_task=release))
    _task(client, "beside", "task")
    _completed(client, "beside", "task")
    (status,) = _statuses(client, "beside")
    assert status.job_preparation_task_execution_info is not None
    assert status.job_preparation_task_execution_info.state == "running"
    _terminate(client, "beside")
    _job_completed(client, "beside")
    (status,) = _statuses(client, "beside")
    assert status.job_preparation_task_execution_info is not None
    assert status.job_preparation_task_execution_info.result == "failure"
    assert status.job_release_task_execution_info is not None
    assert status.job_release_task_execution_info.result == "success"


def test_job_without_preparation_has_no_status_and_takes_no_release(raw: RawClient, nodes: str) -> None:
    raw.send("POST", "/jobs", job("plain", nodes))
    answer = raw.send("GET", "/jobs/plain/jobpreparationandreleasetaskstatus")
    assert (answer.status, answer.content["code"]) == (409, "JobPreparationTaskNotSpecified")
    answer = raw.send("POST", "/jobs", job("wrong", nodes, jobReleaseTask={"commandLine": "true"}))
    assert (answer.status, answer.content["code"]) == (400, "InvalidPropertyValue")
    for release in ({"commandLine": "true", "id": "Same"}, {"commandLine": "true", "maxWallClockTime": "PT16M"}):
        both = {"jobPreparationTask": {"commandLine": "true", "id": "same"}, "jobReleaseTask": release}
        answer = raw.send("POST", "/jobs", job("wrong", nodes, **both))
        assert (answer.status, answer.content["code"]) == (400, "InvalidPropertyValue"), release


def test_manager_task_begins_the_job_and_ends_it(client: BatchClient, nodes: str) -> None:
    manager = models.BatchJobManagerTask(
        id="Manager",
        command_line=SHELL.format(
            "echo $WHO $AZ_BATCH_TASK_ID; while ! [ -e $AZ_BATCH_NODE_SHARED_DIR/go ]; do sleep 0.05; done"
        ),
        environment_settings=[models.EnvironmentSetting(name="WHO", value="${WHO} and $HOME")],
    )
    common = [models.EnvironmentSetting(name="WHO", value="you")]
    client.create_job(_options("managed", nodes, job_manager_task=manager, common_environment_settings=common))
    made = client.get_job("managed").job_manager_task
    assert made is not None
    assert (made.kill_job_on_completion, made.run_exclusive, made.allow_low_priority_node) == (True, True, True)
    with pytest.raises(ResourceExistsError) as refusal:
        _task(client, "managed", "manager")
    assert refusal.value.error.code == "TaskExists"  # type: ignore[union-attr]
    wait_for(lambda: client.get_task("managed", "manager").state == models.BatchTaskState.RUNNING)
    for number in range(3):
        _task(client, "managed", f"task{number}", "sleep 100")
    wait_for(lambda: client.get_job_task_counts("managed").task_counts.running == 3)
    where = {task.id: task.node_info.node_id for task in client.list_tasks("managed") if task.node_info}
    alone = where.pop("Manager")
    assert len(where) == 2
    assert alone not in where.values()
    client.terminate_task("managed", "manager")
    ended = _job_completed(client, "managed")
    assert ended.execution_info is not None
    assert ended.execution_info.termination_reason == "JMComplete"
    states = {task.id: task.state for task in client.list_tasks("managed")}
    assert sorted(states.values()) == ["active", "completed", "completed", "completed"]
    assert _output(client, "managed", "manager").startswith("you and /")


def test_job_outlives_a_manager_that_does_not_kill_it(client: BatchClient, nodes: str) -> None:
    manager = models.BatchJobManagerTask(id="boss", command_line="true", kill_job_on_completion=False)
    options = _options("survivor", nodes, job_manager_task=manager)
    client.create_job(options)
    _completed(client, "survivor", "boss")
    assert client.get_job("survivor").state == models.BatchJobState.ACTIVE
    client.update_job("survivor", models.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    ended = _job_completed(client, "survivor")
    assert ended.execution_info is not None
    assert ended.execution_info.termination_reason == "AllTasksComplete"
