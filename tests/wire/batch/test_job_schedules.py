"""Job schedules and pools made for jobs, with the newest SDK, on a server whose schedules may recur at any pace."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import BatchJobTerminateOptions  # the SDK forgot to export it
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from tests.clients import run_client
from tests.servers import Server, running_server
from tests.wire.batch.make import job, pool, wait_for
from tests.wire.batch.raw import RawClient

SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)
GUID = r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    settings = directory / "millpond.toml"
    settings.write_text("shortest_recurrence_s = 0.05\n")
    with running_server(directory / "data", "--config", str(settings)) as server:
        yield server


def _specification(**options: Any) -> models.BatchJobSpecification:
    options.setdefault("pool_info", models.BatchPoolInfo(pool_id="nowhere"))
    return models.BatchJobSpecification(**options)


def _add(client: BatchClient, schedule_id: str, specification: Any = None, **times: Any) -> models.BatchJobSchedule:
    options = models.BatchJobScheduleCreateOptions(
        id=schedule_id,
        schedule=models.BatchJobScheduleConfiguration(**times),
        job_specification=specification or _specification(),
    )
    client.create_job_schedule(options)
    return client.get_job_schedule(schedule_id)


def _auto_pool(**options: Any) -> models.BatchPoolInfo:
    options.setdefault("pool_lifetime_option", "job")
    machine = models.VirtualMachineConfiguration(
        image_reference=models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server"),
        node_agent_sku_id="batch.node.ubuntu 24.04",
    )
    options["pool"] = models.BatchPoolSpecification(
        vm_size="STANDARD_A1_v2",
        virtual_machine_configuration=machine,
        target_dedicated_nodes=options.pop("nodes", 0),
        user_accounts=options.pop("users", None),
    )
    return models.BatchPoolInfo(auto_pool_specification=models.BatchAutoPoolSpecification(**options))


def _is_gone(get: Callable[[], object]) -> bool:
    try:
        get()
    except ResourceNotFoundError:
        return True
    return False


def _code(call: Callable[[], object]) -> str:
    with pytest.raises(HttpResponseError) as refused:
        call()
    assert refused.value.model is not None
    return str(refused.value.model.code)


def _ended(client: BatchClient, job_id: str) -> models.BatchJob:
    wait_for(lambda: client.get_job(job_id).state == "completed")
    return client.get_job(job_id)


def _terminate(client: BatchClient, job_id: str) -> None:
    reason = BatchJobTerminateOptions(termination_reason="enough")
    client.begin_terminate_job(job_id, reason, polling_interval=0).result()
    _ended(client, job_id)


def _made(client: BatchClient, job_id: str) -> models.BatchJob:
    """The job, once its schedule has made it."""
    wait_for(lambda: not _is_gone(lambda: client.get_job(job_id)))
    return client.get_job(job_id)


def _wait_until_gone(get: Callable[[str], object], name: str | None) -> None:
    wait_for(lambda: _is_gone(lambda: get(name or "")))


def _pool_of(client: BatchClient, job_id: str) -> str:
    info = client.get_job(job_id).execution_info
    assert info is not None
    assert info.pool_id is not None
    return info.pool_id


# --- job schedules ---


def test_a_schedule_makes_one_job_at_once_and_ends_with_it(client: BatchClient) -> None:
    metadata = [models.BatchMetadataItem(name="a", value="b")]
    environment = [models.EnvironmentSetting(name="A", value="b")]
    specification = _specification(priority=7, common_environment_settings=environment, metadata=metadata)
    schedule = _add(client, "Once", specification)
    assert (schedule.id, schedule.state, schedule.previous_state) == ("Once", "active", None)
    assert schedule.url.endswith("/jobschedules/Once")
    assert schedule.execution_info.next_run_time is None
    recent = schedule.execution_info.recent_job
    assert recent is not None
    assert recent.id == "Once:job-1"
    assert recent.url is not None
    assert recent.url.endswith("/jobs/Once:job-1")
    assert schedule.job_specification.priority == 7
    assert schedule.job_specification.all_tasks_complete_mode == "noaction"
    [job] = client.list_jobs_from_schedule("once")
    assert (job.id, job.state, job.priority, job.metadata) == ("Once:job-1", "active", 7, metadata)
    assert job.common_environment_settings == environment
    assert client.get_job("Once:job-1").creation_time == job.creation_time
    _terminate(client, "Once:job-1")
    schedule = client.get_job_schedule("once")
    assert (schedule.state, schedule.previous_state) == ("completed", "active")
    assert schedule.execution_info.end_time is not None
    assert schedule.last_modified == schedule.creation_time
    assert _code(lambda: client.disable_job_schedule("once")) == "JobScheduleCompleted"


def test_jobs_follow_one_another_and_never_run_side_by_side(client: BatchClient) -> None:
    _add(client, "often", recurrence_interval=0.1 * SECOND)
    for number in range(1, 4):
        _made(client, f"often:job-{number}")
        assert [one.state for one in client.list_jobs_from_schedule("often", filter="state eq 'active'")] == ["active"]
        _terminate(client, f"often:job-{number}")
    ids = [one.id for one in client.list_jobs_from_schedule("often", max_results=2)]
    assert ids[:3] == ["often:job-1", "often:job-2", "often:job-3"]
    client.begin_terminate_job_schedule("often", polling_interval=0).result()
    wait_for(lambda: client.get_job_schedule("often").state == "completed")
    schedule = client.get_job_schedule("often")
    assert schedule.previous_state == "terminating"
    assert schedule.execution_info.next_run_time is None
    last = schedule.execution_info.recent_job
    assert last is not None
    assert last.id is not None
    execution_info = _ended(client, last.id).execution_info
    assert execution_info is not None
    assert execution_info.termination_reason in ("TerminateJobSchedule", "enough")
    client.begin_delete_job_schedule("often", polling_interval=0).result()
    _wait_until_gone(client.get_job_schedule, "often")
    assert _is_gone(lambda: client.get_job("often:job-1"))


def test_a_schedule_is_disabled_and_enabled(client: BatchClient) -> None:
    tomorrow = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + 24 * HOUR
    schedule = _add(client, "later", do_not_run_until=tomorrow, recurrence_interval=HOUR)
    assert schedule.execution_info.next_run_time == tomorrow
    assert schedule.execution_info.recent_job is None
    assert schedule.schedule is not None
    assert (schedule.schedule.do_not_run_until, schedule.schedule.recurrence_interval) == (tomorrow, HOUR)
    assert not list(client.list_jobs_from_schedule("later"))
    client.disable_job_schedule("later")
    disabled = client.get_job_schedule("later")
    assert (disabled.state, disabled.previous_state) == ("disabled", "active")
    assert disabled.etag != schedule.etag
    assert _code(lambda: client.disable_job_schedule("later")) == "JobScheduleDisabled"
    client.update_job_schedule(
        "later", models.BatchJobScheduleUpdateOptions(schedule=models.BatchJobScheduleConfiguration())
    )
    client.enable_job_schedule("later")
    assert [one.id for one in client.list_jobs_from_schedule("later")] == ["later:job-1"]


def test_a_schedule_is_patched_and_replaced(client: BatchClient) -> None:
    schedule = _add(client, "changing", _specification(priority=1), recurrence_interval=HOUR)
    change = models.BatchJobScheduleUpdateOptions(
        job_specification=_specification(priority=2), metadata=[models.BatchMetadataItem(name="c", value="d")]
    )
    client.update_job_schedule("changing", change, etag=schedule.etag, match_condition=MatchConditions.IfNotModified)
    patched = client.get_job_schedule("changing")
    assert patched.job_specification.priority == 2
    assert client.get_job("changing:job-1").priority == 1
    assert patched.execution_info.next_run_time == schedule.execution_info.next_run_time
    assert patched.etag != schedule.etag
    with pytest.raises(ResourceModifiedError):
        client.update_job_schedule(
            "changing", change, etag=schedule.etag, match_condition=MatchConditions.IfNotModified
        )
    patched.metadata = None
    patched.job_specification = _specification(priority=3)
    client.replace_job_schedule("changing", patched)
    replaced = client.get_job_schedule("changing")
    assert (replaced.metadata, replaced.job_specification.priority) == (None, 3)
    assert replaced.schedule is not None
    assert replaced.schedule.recurrence_interval == HOUR
    replaced.schedule = None
    client.replace_job_schedule("changing", replaced)
    replaced = client.get_job_schedule("changing")
    assert replaced.schedule is None
    _terminate(client, "changing:job-1")
    assert _made(client, "changing:job-2").priority == 3
    assert client.get_job_schedule("changing").execution_info.next_run_time is None


def test_schedules_are_listed_filtered_and_in_pages(client: BatchClient) -> None:
    for number in range(5):
        until = datetime.datetime(2100 + number, 1, 1, tzinfo=datetime.UTC)
        _add(client, f"listed-{number}", do_not_run_until=until)
    prefix = "startswith(id,'listed-')"
    assert [one.id for one in client.list_job_schedules(filter=prefix, max_results=2)] == [
        f"listed-{n}" for n in range(5)
    ]
    some = f"{prefix} and schedule/doNotRunUntil lt DateTime'2102-01-01T00:00:00Z' and state eq 'active'"
    assert [one.id for one in client.list_job_schedules(filter=some)] == ["listed-0", "listed-1"]
    none = f"{prefix} and executionInfo/endTime gt DateTime'2000-01-01T00:00:00Z'"
    assert not list(client.list_job_schedules(filter=none))
    selected = list(client.list_job_schedules(filter="id eq 'LISTED-3'", select=["id", "state"], expand=["stats"]))
    assert [one.as_dict() for one in selected] == [{"id": "listed-3", "state": "active"}]


def test_a_schedule_exists_or_does_not(client: BatchClient) -> None:
    _add(client, "there")
    assert client.job_schedule_exists("There")
    with pytest.raises(ResourceNotFoundError):  # the SDK's own way to say no
        client.job_schedule_exists("nowhere")
    for call in (client.get_job_schedule, client.disable_job_schedule, client.enable_job_schedule):
        assert _code(partial(call, "nowhere")) == "JobScheduleNotFound"
    assert _code(lambda: list(client.list_jobs_from_schedule("nowhere"))) == "JobScheduleNotFound"


def test_ids_of_schedules_and_jobs_do_not_clash(client: BatchClient) -> None:
    _add(client, "taken")
    assert _code(lambda: _add(client, "Taken")) == "JobScheduleExists"
    own = models.BatchJobCreateOptions(id="taken", pool_info=models.BatchPoolInfo(pool_id="nowhere"))
    assert _code(lambda: client.create_job(own)) == "JobScheduleWithSameIdExists"
    own.id = "job"
    client.create_job(own)
    assert _code(lambda: _add(client, "JOB")) == "JobWithSameIdExists"


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        ({"recurrenceInterval": "PT0.01S"}, "schedule.recurrenceInterval"),
        ({"startWindow": "PT0S"}, "schedule.startWindow"),
        ({"doNotRunUntil": "soon"}, "schedule.doNotRunUntil"),
        ({"doNotRunAfter": "2020-13-01T00:00:00Z"}, "schedule.doNotRunAfter"),
        ({"doNotRunAfter": "2020-01-01T00:00:00Z"}, "schedule.doNotRunAfter"),
        ({"doNotRunUntil": "2100-01-01T00:00:00Z", "doNotRunAfter": "2099-01-01T00:00:00Z"}, "schedule.doNotRunAfter"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(schedule: dict[str, str], name: str, raw: RawClient) -> None:
    body = {"id": "wrong", "schedule": schedule, "jobSpecification": {"poolInfo": {"poolId": "p"}}}
    reply = raw.send("POST", "/jobschedules", body)
    assert (reply.status, reply.code, reply.values["PropertyName"]) == (400, "InvalidPropertyValue", name)


# --- pools made for jobs ---


def test_a_pool_is_made_for_a_job_and_goes_with_it(client: BatchClient) -> None:
    users = [models.UserAccount(name="u", password="secret")]
    info = _auto_pool(auto_pool_id_prefix="mine", nodes=1, users=users)
    client.create_job(models.BatchJobCreateOptions(id="own", pool_info=info))
    made = client.get_job("own")
    pool_id = _pool_of(client, "own")
    assert re.fullmatch(f"mine_{GUID}", pool_id)
    assert made.pool_info.pool_id is None
    auto = made.pool_info.auto_pool_specification
    assert auto is not None
    assert auto.pool is not None
    assert auto.keep_alive is False
    assert auto.pool.user_accounts is not None
    assert "password" not in auto.pool.user_accounts[0].as_dict()
    pool = client.get_pool(pool_id)
    assert (pool.vm_size, pool.target_dedicated_nodes) == ("standard_a1_v2", 1)
    client.create_task("own", models.BatchTaskCreateOptions(id="t", command_line="true"))
    wait_for(lambda: client.get_task("own", "t").state == "completed")
    _terminate(client, "own")
    _wait_until_gone(client.get_pool, pool_id)
    assert _pool_of(client, "own") == pool_id


def test_a_pool_that_is_kept_alive_stays(client: BatchClient) -> None:
    client.create_job(models.BatchJobCreateOptions(id="keeping", pool_info=_auto_pool()))
    made = client.get_job("keeping")
    pool_id = _pool_of(client, "keeping")
    assert re.fullmatch(GUID, pool_id)
    auto = made.pool_info.auto_pool_specification
    assert auto is not None
    auto.keep_alive = True
    client.replace_job("keeping", made)
    kept = client.get_job("keeping").pool_info.auto_pool_specification
    assert kept is not None
    assert kept.keep_alive is True
    other = models.BatchJobUpdateOptions(pool_info=_auto_pool(auto_pool_id_prefix="other"))
    assert _code(lambda: client.update_job("keeping", other)) == "InvalidPropertyValue"
    _terminate(client, "keeping")
    client.begin_delete_job("keeping", polling_interval=0).result()
    _wait_until_gone(client.get_job, "keeping")
    assert client.get_pool(pool_id).state == "active"
    client.begin_delete_pool(pool_id, polling_interval=0).result()


def test_the_pool_of_a_deleted_job_goes_too(client: BatchClient) -> None:
    client.create_job(models.BatchJobCreateOptions(id="doomed", pool_info=_auto_pool(nodes=1)))
    pool_id = _pool_of(client, "doomed")
    client.begin_delete_job("doomed", polling_interval=0).result()
    _wait_until_gone(client.get_job, "doomed")
    _wait_until_gone(client.get_pool, pool_id)


@pytest.mark.parametrize(("lifetime", "is_shared"), [("job", False), ("jobschedule", True)])
def test_jobs_of_a_schedule_share_a_pool_or_do_not(lifetime: str, is_shared: bool, client: BatchClient) -> None:
    name = f"sharing-{lifetime}"
    specification = _specification(pool_info=_auto_pool(pool_lifetime_option=lifetime))
    _add(client, name, specification, recurrence_interval=0.1 * SECOND)
    pools = []
    for number in (1, 2):
        _made(client, f"{name}:job-{number}")
        pools.append(_pool_of(client, f"{name}:job-{number}"))
        _terminate(client, f"{name}:job-{number}")
    assert (pools[0] == pools[1]) is is_shared
    client.begin_terminate_job_schedule(name, polling_interval=0).result()
    wait_for(lambda: client.get_job_schedule(name).state == "completed")
    for pool_id in pools:
        _wait_until_gone(client.get_pool, pool_id)


def test_a_pool_that_cannot_be_is_refused(raw: RawClient) -> None:
    def refusal(**specification: Any) -> tuple[str, str]:
        info = {"autoPoolSpecification": {"poolLifetimeOption": "job", **specification}}
        reply = raw.send("POST", "/jobs", job("wrong") | {"poolInfo": info})
        assert reply.status == 400
        in_schedule = {"id": "wrong", "schedule": {}, "jobSpecification": {"poolInfo": info}}
        other = raw.send("POST", "/jobschedules", in_schedule)
        if other.status != 201:
            assert other.values["PropertyName"] == f"jobSpecification.{reply.values['PropertyName']}"
        return reply.code, reply.values["PropertyName"].removeprefix("poolInfo.autoPoolSpecification.")

    spec = pool("")
    del spec["id"]
    assert refusal() == ("MissingRequiredProperty", "pool")
    assert refusal(pool=spec | {"vmSize": ""}) == ("InvalidPropertyValue", "pool.vmSize")
    assert refusal(pool=spec | {"taskSlotsPerNode": 200}) == ("InvalidPropertyValue", "pool.taskSlotsPerNode")
    assert refusal(pool={"vmSize": "x"}) == ("InvalidPropertyValue", "pool.virtualMachineConfiguration")
    assert refusal(pool=spec, autoPoolIdPrefix="a b") == ("InvalidPropertyValue", "autoPoolIdPrefix")
    assert refusal(pool=spec, autoPoolIdPrefix="a" * 21) == ("InvalidPropertyValue", "autoPoolIdPrefix")
    assert refusal(pool=spec, poolLifetimeOption="jobschedule") == ("InvalidPropertyValue", "poolLifetimeOption")


def test_a_job_whose_pool_has_a_wrong_formula_is_over_at_once(raw: RawClient) -> None:
    specification = {name: value for name, value in pool("").items() if name not in ("id", "targetDedicatedNodes")}
    specification |= {"enableAutoScale": True, "autoScaleFormula": "$TargetDedicatedNodes = ;"}
    info = {"autoPoolSpecification": {"poolLifetimeOption": "job", "pool": specification}}
    assert raw.send("POST", "/jobs", job("misled") | {"poolInfo": info}).status == 201
    misled = raw.send("GET", "/jobs/misled").content
    assert misled["state"] == "completed"
    assert "poolId" not in misled["executionInfo"]
    problem = misled["executionInfo"]["schedulingError"]
    assert (problem["category"], problem["code"]) == ("usererror", "InvalidAutoScaleFormulaInAutoPool")
    assert problem["details"]


# --- older SDKs ---


@pytest.mark.parametrize("version", ["2.0.0", "8.0.0", "14.2.0"])
def test_older_sdks_work_with_schedules(version: str, server: Server) -> None:
    script = Path(__file__).with_name("clients") / "scenario_schedules.py"
    run_client(f"batch-{version}", script, f"v{version.replace('.', '-')}", env=server.credentials)
