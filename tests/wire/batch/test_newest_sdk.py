"""The newest SDK, operation by operation."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import BatchJobTerminateOptions, BatchNodeRebootOptions  # the SDK forgot to export them
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from tests.servers import Server
from tests.wire.batch.make import wait_for
from tests.wire.batch.raw import RawClient

MINUTE = datetime.timedelta(minutes=1)
UNLIMITED_DAYS = 10675199


def _pool(pool_id: str, **options: Any) -> models.BatchPoolCreateOptions:
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="STANDARD_A1_v2",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server"),
            node_agent_sku_id="batch.node.ubuntu 24.04",
        ),
        **options,
    )


def _job(job_id: str, pool_id: str = "nowhere", **options: Any) -> models.BatchJobCreateOptions:
    return models.BatchJobCreateOptions(id=job_id, pool_info=models.BatchPoolInfo(pool_id=pool_id), **options)


def _task(task_id: str, command: str = "true", **options: Any) -> models.BatchTaskCreateOptions:
    return models.BatchTaskCreateOptions(id=task_id, command_line=command, **options)


@pytest.fixture(scope="module")
def pool(client: BatchClient) -> Iterator[str]:
    """A pool with a node of two slots."""
    client.create_pool(_pool("pool", target_dedicated_nodes=1, task_slots_per_node=2))
    yield "pool"


def _completed(client: BatchClient, job_id: str, task_id: str) -> models.BatchTask:
    def current() -> models.BatchTask | None:
        task = client.get_task(job_id, task_id)
        return task if task.state == models.BatchTaskState.COMPLETED else None

    task = wait_for(current)
    assert task is not None
    return task


# --- account ---


def test_images_are_verified_and_can_be_searched(client: BatchClient) -> None:
    images = list(client.list_supported_images())
    assert len(images) > 5
    assert all(image.verification_type == models.ImageVerificationType.VERIFIED for image in images)
    assert all(image.os_type == models.OSType.LINUX for image in images)
    only = list(client.list_supported_images(filter="nodeAgentSKUId eq 'batch.node.ubuntu 22.04'"))
    assert {image.node_agent_sku_id for image in only} == {"batch.node.ubuntu 22.04"}
    assert list(client.list_supported_images(filter="verificationType eq 'unverified'")) == []
    by_page = [image.image_reference.as_dict() for image in client.list_supported_images(max_results=2)]
    assert by_page == [image.image_reference.as_dict() for image in images]


# --- pools ---


def test_a_pool_has_its_defaults(client: BatchClient) -> None:
    client.create_pool(_pool("Defaults"))
    pool = client.get_pool("defaults")
    assert (pool.id, pool.vm_size) == ("Defaults", "standard_a1_v2")
    assert (pool.state, pool.allocation_state) == ("active", "steady")
    assert (pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (0, 0)
    assert (pool.current_dedicated_nodes, pool.current_low_priority_nodes) == (0, 0)
    assert (pool.task_slots_per_node, pool.resize_timeout) == (1, 15 * MINUTE)
    assert (pool.enable_auto_scale, pool.enable_inter_node_communication) == (False, False)
    assert pool.task_scheduling_policy is not None
    assert pool.task_scheduling_policy.node_fill_type == models.BatchNodeFillType.SPREAD
    assert pool.creation_time == pool.last_modified


def test_secrets_of_a_pool_are_not_answered_with(client: BatchClient) -> None:
    user = models.UserAccount(
        name="runner",
        password="secret",
        elevation_level="admin",
        linux_user_configuration=models.LinuxUserConfiguration(uid=2000, gid=2000, ssh_private_key="secret"),
    )
    client.create_pool(_pool("secretive", user_accounts=[user]))
    answered = client.get_pool("secretive").as_dict()
    assert answered["userAccounts"] == [
        {"name": "runner", "elevationLevel": "admin", "linuxUserConfiguration": {"uid": 2000, "gid": 2000}}
    ]


def test_a_pool_is_patched_and_replaced(client: BatchClient) -> None:
    start_task = models.BatchStartTask(command_line="true", wait_for_success=False)
    client.create_pool(
        _pool("changing", start_task=start_task, metadata=[models.BatchMetadataItem(name="a", value="b")])
    )
    before = client.get_pool("changing")
    change = models.BatchPoolUpdateOptions(
        display_name="changed", task_slots_per_node=4, metadata=[models.BatchMetadataItem(name="c", value="d")]
    )
    client.update_pool("changing", change, etag=before.etag, match_condition=MatchConditions.IfNotModified)
    after = client.get_pool("changing")
    assert (after.display_name, after.task_slots_per_node) == ("changed", 4)
    assert [item.as_dict() for item in after.metadata or ()] == [{"name": "c", "value": "d"}]
    assert after.start_task is not None
    assert after.etag != before.etag
    with pytest.raises(ResourceModifiedError):
        client.update_pool("changing", change, etag=before.etag, match_condition=MatchConditions.IfNotModified)
    replacement = models.BatchPoolReplaceOptions(application_package_references=[], metadata=[])
    client.replace_pool_properties("changing", replacement)
    replaced = client.get_pool("changing")
    assert (replaced.start_task, replaced.metadata, replaced.display_name) == (None, [], "changed")


def test_pools_are_listed_filtered_and_in_pages(client: BatchClient) -> None:
    for number in range(5):
        client.create_pool(_pool(f"listed-{number}"))
    prefix = "startswith(id,'listed-')"
    assert [pool.id for pool in client.list_pools(filter=prefix, max_results=2)] == [f"listed-{n}" for n in range(5)]
    some = "id ge 'listed-1' and not (id eq 'listed-2') and id lt 'listed-4'"
    assert [pool.id for pool in client.list_pools(filter=some)] == ["listed-1", "listed-3"]
    selected = list(client.list_pools(filter="id eq 'LISTED-3'", select=["id", "state"]))
    assert [pool.as_dict() for pool in selected] == [{"id": "listed-3", "state": "active"}]
    assert not list(client.list_pools(filter=f"{prefix} and creationTime lt DateTime'2020-01-01T00:00:00Z'"))
    assert not list(client.list_pools(filter=f"{prefix} and enableAutoScale eq true"))


def test_a_pool_exists_or_not(client: BatchClient, pool: str) -> None:
    assert client.pool_exists(pool) is True
    with pytest.raises(ResourceNotFoundError):
        client.pool_exists("nowhere")


def test_a_pool_grows_and_shrinks(client: BatchClient) -> None:
    client.create_pool(_pool("elastic"))
    client.begin_resize_pool(
        "elastic", models.BatchPoolResizeOptions(target_dedicated_nodes=2), polling_interval=0
    ).result()
    nodes = list(client.list_nodes("elastic"))
    assert len(nodes) == client.get_pool("elastic").current_dedicated_nodes == 2
    counts = {count.pool_id: count for count in client.list_pool_node_counts(filter="poolId eq 'elastic'")}
    assert list(counts) == ["elastic"]
    dedicated = counts["elastic"].dedicated
    assert dedicated is not None
    assert dedicated.total == 2
    removal = models.BatchNodeRemoveOptions(node_ids=[nodes[0].id])
    client.begin_remove_nodes("elastic", removal, polling_interval=0).result()
    assert [node.id for node in client.list_nodes("elastic")] == [nodes[1].id]
    assert client.get_pool("elastic").target_dedicated_nodes == 1
    client.begin_delete_pool("elastic", polling_interval=0).result()
    wait_for(lambda: _is_gone(lambda: client.get_pool("elastic")))


def _is_gone(read: Callable[[], object]) -> bool:
    try:
        read()
    except ResourceNotFoundError:
        return True
    return False


# --- nodes ---


def test_a_node_tells_of_itself(client: BatchClient, pool: str) -> None:
    wait_for(lambda: [node.state for node in client.list_nodes(pool)] == ["idle"])
    [listed] = client.list_nodes(pool, filter="state eq 'idle'")
    node = client.get_node(pool, listed.id)
    assert node.url == f"{client.get_pool(pool).url}/nodes/{node.id}"
    assert (node.state, node.scheduling_state, node.is_dedicated) == ("idle", "enabled", True)
    assert node.affinity_id == f"TVM:{node.id}"
    assert node.ip_address.startswith("127.64.")
    assert (node.vm_size, node.running_tasks_count) == ("standard_a1_v2", 0)
    assert node.node_agent_info is not None
    assert node.last_boot_time >= node.allocation_time
    assert [node.as_dict() for node in client.list_nodes(pool, select=["id"])] == [{"id": node.id}]


def test_a_node_boots_again(client: BatchClient) -> None:
    client.create_pool(_pool("booting", target_dedicated_nodes=1))
    node = wait_for(lambda: [node for node in client.list_nodes("booting") if node.state == "idle"])[0]
    client.begin_reboot_node(
        "booting", node.id, BatchNodeRebootOptions(node_reboot_kind="requeue"), polling_interval=0
    ).result()
    wait_for(lambda: client.get_node("booting", node.id).last_boot_time > node.last_boot_time)
    wait_for(lambda: client.get_node("booting", node.id).state == "idle")


# --- jobs ---


def test_a_job_has_its_defaults(client: BatchClient) -> None:
    client.create_job(_job("Defaults"))
    job = client.get_job("defaults")
    assert (job.id, job.state, job.priority, job.max_parallel_tasks) == ("Defaults", "active", 0, -1)
    assert (job.uses_task_dependencies, job.allow_task_preemption) == (False, False)
    assert job.all_tasks_complete_mode == models.BatchAllTasksCompleteMode.NO_ACTION
    assert job.task_failure_mode == models.BatchTaskFailureMode.NO_ACTION
    assert job.constraints is not None
    assert job.constraints.max_wall_clock_time is not None
    assert (job.constraints.max_wall_clock_time.days, job.constraints.max_task_retry_count) == (UNLIMITED_DAYS, 0)
    assert job.execution_info is not None
    assert (job.execution_info.pool_id, job.execution_info.start_time) == ("nowhere", job.creation_time)
    assert job.previous_state is None


def test_a_patch_leaves_and_a_replacement_resets_what_it_does_not_name(client: BatchClient) -> None:
    constraints = models.BatchJobConstraints(max_task_retry_count=3, max_wall_clock_time=60 * MINUTE)
    metadata = [models.BatchMetadataItem(name="k", value="v")]
    client.create_job(_job("changing", priority=5, constraints=constraints, metadata=metadata, display_name="shown"))
    client.update_job("changing", models.BatchJobUpdateOptions(priority=7, max_parallel_tasks=2))
    job = client.get_job("changing")
    assert (job.priority, job.max_parallel_tasks, job.metadata) == (7, 2, metadata)
    assert job.constraints is not None
    assert (job.constraints.max_task_retry_count, job.constraints.max_wall_clock_time) == (3, 60 * MINUTE)
    job.metadata = None
    job.constraints = None
    job.priority = 9
    client.replace_job("changing", job)
    job = client.get_job("changing")
    assert (job.priority, job.metadata, job.display_name) == (9, None, "shown")
    assert job.constraints is not None
    assert job.constraints.max_task_retry_count == 0


def test_a_job_is_disabled_enabled_terminated_and_deleted(client: BatchClient) -> None:
    client.create_job(_job("cycle"))
    options = models.BatchJobDisableOptions(disable_tasks="requeue")
    client.begin_disable_job("cycle", options, polling_interval=0).result()
    assert client.get_job("cycle").state == "disabled"
    client.update_job("cycle", models.BatchJobUpdateOptions(pool_info=models.BatchPoolInfo(pool_id="elsewhere")))
    client.begin_enable_job("cycle", polling_interval=0).result()
    job = client.get_job("cycle")
    assert (job.state, job.pool_info.pool_id) == ("active", "elsewhere")
    assert job.previous_state is not None
    reason = BatchJobTerminateOptions(termination_reason="enough")
    client.begin_terminate_job("cycle", reason, polling_interval=0).result()
    wait_for(lambda: client.get_job("cycle").state == "completed")
    job = client.get_job("cycle")
    assert job.execution_info is not None
    assert job.execution_info.termination_reason == "enough"
    assert job.execution_info.end_time is not None
    client.begin_delete_job("cycle", force=True, polling_interval=0).result()
    wait_for(lambda: _is_gone(lambda: client.get_job("cycle")))


def test_a_job_ends_with_its_last_task(client: BatchClient, pool: str) -> None:
    client.create_job(_job("ending", pool))
    client.create_task("ending", _task("t"))
    client.update_job("ending", models.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    wait_for(lambda: client.get_job("ending").state == "completed")
    job = client.get_job("ending")
    assert job.execution_info is not None
    assert job.execution_info.termination_reason == "AllTasksComplete"


# --- tasks ---


def test_a_task_has_its_defaults(client: BatchClient) -> None:
    client.create_job(_job("waiting", constraints=models.BatchJobConstraints(max_task_retry_count=2)))
    client.create_task("waiting", _task("Defaults"))
    task = client.get_task("WAITING", "defaults")
    assert (task.id, task.state, task.required_slots, task.command_line) == ("Defaults", "active", 1, "true")
    assert task.constraints is not None
    assert task.constraints.max_wall_clock_time is not None
    assert task.constraints.max_wall_clock_time.days == UNLIMITED_DAYS
    assert task.constraints.retention_time == datetime.timedelta(days=7)
    assert task.constraints.max_task_retry_count == 2
    assert task.user_identity is not None
    assert task.user_identity.as_dict() == {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
    assert task.execution_info is not None
    assert task.execution_info.as_dict() == {"retryCount": 0, "requeueCount": 0}
    assert task.node_info is None
    assert task.etag == client.get_task("waiting", "Defaults").etag


def test_a_task_that_ran_says_where_and_how(client: BatchClient, pool: str) -> None:
    client.create_job(_job("ran", pool))
    settings = [models.EnvironmentSetting(name="COLOUR", value="blé")]
    client.create_task("ran", _task("t", "/bin/sh -c 'echo $COLOUR'", environment_settings=settings))
    task = _completed(client, "ran", "t")
    info, node = task.execution_info, task.node_info
    assert info is not None
    assert node is not None
    assert (info.exit_code, info.result, info.failure_info) == (0, models.BatchTaskExecutionResult.SUCCESS, None)
    assert info.start_time is not None
    assert info.end_time is not None
    assert info.start_time <= info.end_time
    assert task.previous_state == models.BatchTaskState.RUNNING
    assert (node.pool_id, node.task_root_directory) == (pool, "workitems/ran/job-1/t")
    assert node.affinity_id == f"TVM:{node.node_id}"
    assert client.get_node(pool, str(node.node_id)).url == node.node_url
    [recent] = [one for one in client.get_node(pool, str(node.node_id)).recent_tasks or () if one.job_id == "ran"]
    assert (recent.task_id, recent.task_state, recent.task_url) == ("t", "completed", task.url)
    assert b"".join(client.download_task_file("ran", "t", "stdout.txt")).decode() == "blé\n"


def test_many_tasks_are_added_at_once_and_counted(client: BatchClient) -> None:
    client.create_job(_job("many"))
    results = client.create_tasks("many", [_task(f"t{n}", required_slots=2) for n in range(250)], max_concurrency=2)
    assert {result.status for result in results.result_values or ()} == {models.BatchTaskAddStatus.SUCCESS}
    counts = client.get_job_task_counts("many")
    assert (counts.task_counts.active, counts.task_slot_counts.active) == (250, 500)
    ids = [task.id for task in client.list_tasks("many", max_results=100, select=["id"])]
    assert len(ids) == 250
    assert set(ids) == {f"t{n}" for n in range(250)}
    some = client.list_tasks("many", filter="startswith(id,'t24') and state eq 'active'")
    assert sorted(task.id for task in some) == sorted(["t24", *(f"t{n}" for n in range(240, 250))])
    again = client.create_task_collection("many", models.BatchTaskGroup(task_values=_two()))
    assert [(one.task_id, one.error and one.error.code) for one in again.result_values or ()] == [
        ("t1", "TaskExists"),
        ("new", None),
    ]


def _two() -> list[models.BatchTaskCreateOptions]:
    return [_task("t1"), _task("new")]


def test_the_constraints_of_a_task_are_replaced(client: BatchClient) -> None:
    client.create_job(_job("constrained", constraints=models.BatchJobConstraints(max_task_retry_count=2)))
    constraints = models.BatchTaskConstraints(max_task_retry_count=5, max_wall_clock_time=MINUTE)
    client.create_task("constrained", _task("t", constraints=constraints))
    task = client.get_task("constrained", "t")
    task.constraints = models.BatchTaskConstraints(retention_time=datetime.timedelta(hours=1))
    client.replace_task("constrained", "t", task)
    replaced = client.get_task("constrained", "t").constraints
    assert replaced is not None
    assert replaced.max_wall_clock_time is not None
    assert (replaced.max_task_retry_count, replaced.retention_time) == (2, datetime.timedelta(hours=1))
    assert replaced.max_wall_clock_time.days == UNLIMITED_DAYS


def test_a_running_task_keeps_to_its_new_time_limit(client: BatchClient, pool: str) -> None:
    client.create_job(_job("limited", pool))
    short = models.BatchTaskConstraints(max_wall_clock_time=datetime.timedelta(seconds=1.5))
    client.create_task("limited", _task("lengthened", "sleep 2", constraints=short))
    client.create_task("limited", _task("shortened", "sleep 600"))
    tasks = [client.get_task("limited", task_id) for task_id in ("lengthened", "shortened")]
    for task, limit in zip(tasks, (MINUTE, MINUTE / 600), strict=True):
        wait_for(lambda: client.get_task("limited", task.id).state == models.BatchTaskState.RUNNING)  # noqa: B023
        task.constraints = models.BatchTaskConstraints(max_wall_clock_time=limit)
        client.replace_task("limited", task.id, task)
    shortened = _completed(client, "limited", "shortened").execution_info
    assert shortened is not None
    assert shortened.failure_info is not None
    assert shortened.failure_info.code == "TaskEnded"
    lengthened = _completed(client, "limited", "lengthened").execution_info
    assert lengthened is not None
    assert lengthened.result == "success"


def test_tasks_are_terminated_reactivated_and_deleted(client: BatchClient, pool: str) -> None:
    client.create_job(_job("tasks", pool))
    client.create_task("tasks", _task("fails", "/bin/sh -c 'exit 3'"))
    client.create_task("tasks", _task("long", "sleep 600"))
    failed = _completed(client, "tasks", "fails").execution_info
    assert failed is not None
    assert (failed.exit_code, failed.result) == (3, "failure")
    assert failed.failure_info is not None
    assert failed.failure_info.category == models.BatchErrorSourceCategory.USER_ERROR
    client.reactivate_task("tasks", "fails")
    _completed(client, "tasks", "fails")
    wait_for(lambda: client.get_task("tasks", "long").state == "running")
    client.terminate_task("tasks", "long")
    ended = _completed(client, "tasks", "long").execution_info
    assert ended is not None
    assert ended.failure_info is not None
    assert ended.failure_info.code == "TaskEnded"
    counts = client.get_job_task_counts("tasks").task_counts
    assert (counts.completed, counts.failed, counts.succeeded) == (2, 2, 0)
    failures = client.list_tasks("tasks", filter="executionInfo/result eq 'failure' and executionInfo/exitCode eq 3")
    assert [task.id for task in failures] == ["fails"]
    assert list(client.list_subtasks("tasks", "fails")) == []
    client.delete_task("tasks", "long")
    assert _is_gone(lambda: client.get_task("tasks", "long"))
    assert client.get_job_task_counts("tasks").task_counts.completed == 1


# --- files ---


def _text(parts: Iterable[bytes]) -> str:
    return b"".join(parts).decode()


def test_files_of_a_task_are_listed_read_and_deleted(client: BatchClient, pool: str) -> None:
    client.create_job(_job("files", pool))
    command = '/bin/sh -c \'echo hello; mkdir -p "a b/c"; echo deep > "a b/c/d+e%20é.txt"; echo why >&2\''
    client.create_task("files", _task("t", command))
    _completed(client, "files", "t")
    assert [file.name for file in client.list_task_files("files", "t")] == ["stderr.txt", "stdout.txt", "wd"]
    everything = {file.name: file for file in client.list_task_files("files", "t", recursive=True, max_results=2)}
    deep = everything["wd/a b/c/d+e%20é.txt"]
    assert not deep.is_directory
    assert deep.properties is not None
    assert (deep.properties.content_length, deep.properties.content_type) == (5, "text/plain")
    assert everything["wd/a b"].is_directory
    assert everything["wd/a b"].properties is None
    assert _text(client.download_task_file("files", "t", "wd/a b/c/d+e%20é.txt")) == "deep\n"
    assert _text(client.download_task_file("files", "t", "stderr.txt")) == "why\n"
    assert _text(client.download_task_file("files", "t", "stdout.txt", ocp_range="bytes=1-3")) == "ell"
    assert _text(client.download_task_file("files", "t", "stdout.txt", ocp_range="bytes=3-")) == "lo\n"
    properties = client.get_task_file_properties("files", "t", "stdout.txt")
    assert (properties.content_length, properties.is_directory) == (6, False)
    assert properties.file_mode == "0o100644"
    client.delete_task_file("files", "t", "wd/a b", recursive=True)
    names = [file.name for file in client.list_task_files("files", "t", recursive=True)]
    assert names == ["stderr.txt", "stdout.txt", "wd"]


def test_files_of_a_node_are_the_same_seen_from_above(client: BatchClient, pool: str) -> None:
    client.create_job(_job("above", pool))
    client.create_task("above", _task("t", "echo hello"))
    node = _completed(client, "above", "t").node_info
    assert node is not None
    node_id, directory = str(node.node_id), node.task_root_directory
    roots = {file.name for file in client.list_node_files(pool, node_id)}
    assert {"applications", "fsmounts", "shared", "startup", "volatile", "workitems"} <= roots
    path = f"{directory}/stdout.txt"
    assert _text(client.download_node_file(pool, node_id, path)) == "hello\n"
    assert client.get_node_file_properties(pool, node_id, path).content_length == 6
    found = client.list_node_files(pool, node_id, recursive=True, filter=f"startswith(name,'{directory}')")
    assert f"{directory}/stdout.txt" in {file.name for file in found}
    client.delete_node_file(pool, node_id, path)
    assert _is_gone(lambda: _text(client.download_node_file(pool, node_id, path)))


def test_a_file_is_read_while_its_task_writes_it(client: BatchClient, pool: str) -> None:
    client.create_job(_job("live", pool))
    client.create_task("live", _task("t", "/bin/sh -c 'echo first; sleep 600'"))
    wait_for(lambda: client.get_task("live", "t").state == "running")
    wait_for(lambda: client.get_task_file_properties("live", "t", "stdout.txt").content_length == 6)
    assert _text(client.download_task_file("live", "t", "stdout.txt")) == "first\n"
    client.terminate_task("live", "t")


def test_a_large_file_comes_whole(client: BatchClient, pool: str) -> None:
    client.create_job(_job("large", pool))
    client.create_task("large", _task("t", "/bin/sh -c 'head -c 5000000 /dev/zero > zeros'"))
    _completed(client, "large", "t")
    assert sum(len(part) for part in client.download_task_file("large", "t", "wd/zeros")) == 5_000_000


# --- headers ---


def test_answers_have_the_services_headers(raw: RawClient, client: BatchClient) -> None:
    client.create_job(_job("headers"))
    reply = raw.send("GET", "/jobs/headers")
    assert reply.headers["dataserviceversion"] == "3.0"
    assert reply.headers["content-type"] == "application/json;odata=minimalmetadata"
    assert reply.headers["etag"] == reply.content["eTag"]
    assert reply.headers["last-modified"].endswith(" GMT")
    assert len(reply.headers["request-id"]) == 36
    assert reply.headers["date"]
    assert "client-request-id" not in reply.headers
    assert reply.content["odata.metadata"] == f"{raw.url}/$metadata#jobs/@Element"


def test_the_clients_request_id_is_sent_back_where_it_is_asked_for(raw: RawClient) -> None:
    headers = {"client-request-id": "0c95a458-e67d-11f1-bd57-02fc00000001"}
    assert "client-request-id" not in raw.send("GET", "/pools", headers=headers).headers
    assert (
        "client-request-id"
        not in raw.send("GET", "/pools", headers=headers | {"return-client-request-id": "false"}).headers
    )
    for target, status in (("/pools", 200), ("/pools/nowhere", 404)):
        reply = raw.send("GET", target, headers=headers | {"return-client-request-id": "true"})
        assert (reply.status, reply.headers["client-request-id"]) == (status, headers["client-request-id"])


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("PUT", "/jobs/made/tasks/t", {}, 200),
        ("PATCH", "/jobs/made", {"priority": 1}, 200),
        ("POST", "/jobs/made/disable", {"disableTasks": "wait"}, 202),
        ("POST", "/jobs/made/enable", None, 202),
        ("POST", "/jobs/made/tasks/t/terminate", None, 204),
        ("POST", "/jobs/made/tasks/t/reactivate", None, 204),
        ("POST", "/jobs/made/terminate", None, 202),
    ],
)
def test_changes_are_answered_without_a_body_and_say_where(
    method: str, target: str, body: Any, status: int, raw: RawClient
) -> None:
    raw.send("POST", "/jobs", {"id": "made", "poolInfo": {"poolId": "p"}})
    raw.send("POST", "/jobs/made/tasks", {"id": "t", "commandLine": "x"})
    if target.endswith("/enable"):
        wait_for(lambda: raw.send("GET", "/jobs/made").content["state"] == "disabled")
    reply = raw.send(method, target, body)
    assert (reply.status, reply.body) == (status, b"")
    assert reply.headers["dataserviceid"] == raw.url + target
    assert reply.headers["etag"].startswith("0x")
    assert reply.headers["last-modified"]


@pytest.mark.parametrize(
    ("target", "body", "service_id"),
    [
        ("/jobs", {"id": "new", "poolInfo": {"poolId": "p"}}, "/jobs/job-1"),
        ("/jobs/new/tasks", {"id": "t", "commandLine": "x"}, "/jobs/new/tasks/t"),
    ],
)
def test_what_was_made_says_where_it_is(target: str, body: Any, service_id: str, raw: RawClient) -> None:
    reply = raw.send("POST", target, body)
    assert (reply.status, reply.body) == (201, b"")
    assert reply.headers["location"] == f"{raw.url}{target}/{body['id']}"
    assert reply.headers["dataserviceid"] == raw.url + service_id
    assert reply.headers["etag"].startswith("0x")


@pytest.mark.parametrize(
    ("method", "target", "status"), [("DELETE", "/jobs/gone/tasks/t", 200), ("DELETE", "/jobs/gone", 202)]
)
def test_deletions_have_no_etag(method: str, target: str, status: int, raw: RawClient) -> None:
    raw.send("POST", "/jobs", {"id": "gone", "poolInfo": {"poolId": "p"}})
    raw.send("POST", "/jobs/gone/tasks", {"id": "t", "commandLine": "x"})
    reply = raw.send(method, target)
    assert (reply.status, reply.body) == (status, b"")
    assert "etag" not in reply.headers


def test_urls_are_those_that_the_client_uses(server: Server, client: BatchClient, raw: RawClient) -> None:
    client.create_job(_job("named"))
    raw.url = raw.url.replace("127.0.0.1", "localhost")
    try:
        reply = raw.send("GET", "/jobs/named")
        assert reply.content["url"] == f"{raw.url}/jobs/named"
        page = raw.send("GET", "/jobs?maxresults=1")
        assert page.content["odata.nextLink"].startswith(f"{raw.url}/jobs?")
    finally:
        raw.url = server.batch_url.rstrip("/")
