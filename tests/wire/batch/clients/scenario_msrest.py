"""One scenario for every azure-batch from 2.0.0 to 14.2.0, run in the environment of each.

Takes a name for what it makes from its command line, and the account from the environment. Ends with 0, or with what
was not as it should be.
"""

import datetime
import importlib.metadata
import os
import sys
import time

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

VERSION = tuple(int(part) for part in importlib.metadata.version("azure-batch").split(".")[:2])
NAME = sys.argv[1]
POOL, JOB = f"{NAME}-pool", f"{NAME}-job"
MINUTE = datetime.timedelta(minutes=1)


def make_client(key=os.environ["BATCH_ACCOUNT_KEY"]):
    credentials = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], key)
    url = os.environ["BATCH_ACCOUNT_URL"]
    return BatchServiceClient(credentials, **{"base_url" if VERSION < (6, 0) else "batch_url": url})


client = make_client()


def refusal(code, call, *args, **kwargs):
    """The error that a call is refused with, which must have that code; returns its values."""
    try:
        result = call(*args, **kwargs)
        if code == "FileNotFound":
            b"".join(result)
    except models.BatchErrorException as refused:
        assert refused.error.code == code, (refused.error.code, refused.error.message.value)
        assert refused.error.message.lang == "en-US"
        assert "RequestId:" in refused.error.message.value
        return {value.key: value.value for value in refused.error.values or ()}
    raise AssertionError(f"{call} was not refused with {code}")


def wait_for(what, seconds=60):
    """The first true value that ``what`` gives."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)
    return value


def images():
    if VERSION < (7, 0):
        skus = list(client.account.list_node_agent_skus())
        assert {sku.os_type.value for sku in skus} == {"linux"}
        found = [(sku.id, image) for sku in skus for image in sku.verified_image_references]
    else:
        supported = list(client.account.list_supported_images())
        assert {image.verification_type.value for image in supported} == {"verified"}
        options = models.AccountListSupportedImagesOptions(filter="nodeAgentSKUId eq 'batch.node.debian 12'")
        assert [image.node_agent_sku_id for image in client.account.list_supported_images(options)] == [
            "batch.node.debian 12"
        ]
        found = [(image.node_agent_sku_id, image.image_reference) for image in supported]
    by_name = {(image.publisher.lower(), image.offer, image.sku): sku for sku, image in found}
    assert by_name["canonical", "UbuntuServer", "16.04-LTS"] == "batch.node.ubuntu 16.04"
    return found[0]


def process_options():
    user = models.UserIdentity(
        auto_user=models.AutoUserSpecification(scope="pool", elevation_level=models.ElevationLevel.admin)
    )
    return {"user_identity": user, "environment_settings": [models.EnvironmentSetting(name="COLOUR", value="blé")]}


def make_pool(pool_id, nodes):
    sku_id, image = images()
    slots = {"max_tasks_per_node" if VERSION < (10, 0) else "task_slots_per_node": 2}
    return models.PoolAddParameter(
        id=pool_id,
        display_name="a pool",
        vm_size="STANDARD_A1_v2",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id=sku_id
        ),
        resize_timeout=10 * MINUTE,
        start_task=models.StartTask(
            command_line="/bin/sh -c 'echo $COLOUR > $AZ_BATCH_NODE_SHARED_DIR/colour'",
            wait_for_success=True,
            max_task_retry_count=1,
            **process_options(),
        ),
        task_scheduling_policy=models.TaskSchedulingPolicy(node_fill_type="pack"),
        metadata=[models.MetadataItem(name="k", value="v")],
        **slots,
        **{"target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes": nodes},
    )


def target(pool):
    return pool.target_dedicated if VERSION < (3, 0) else pool.target_dedicated_nodes


def pools():
    client.pool.add(make_pool(POOL, 1))
    refusal("PoolExists", client.pool.add, make_pool(POOL.upper(), 1))
    client.pool.add(make_pool(f"{POOL}2", 0), models.PoolAddOptions(timeout=20, return_client_request_id=True))
    values = refusal("InvalidPropertyValue", client.pool.add, make_pool("a b", 0))
    assert (values["PropertyName"], values["PropertyValue"]) == ("id", "a b")
    assert client.pool.exists(POOL) is True
    assert client.pool.exists("nowhere") is False
    refusal("PoolNotFound", client.pool.get, "nowhere")

    pool = client.pool.get(POOL)
    assert (pool.id, pool.vm_size, target(pool)) == (POOL, "standard_a1_v2", 1)
    assert pool.state.value == "active"
    assert pool.resize_timeout == 10 * MINUTE
    assert (pool.max_tasks_per_node if VERSION < (10, 0) else pool.task_slots_per_node) == 2
    assert pool.task_scheduling_policy.node_fill_type.value.lower() == "pack"
    assert pool.start_task.user_identity.auto_user.elevation_level.value.lower() == "admin"
    assert pool.url == f"{os.environ['BATCH_ACCOUNT_URL'].rstrip('/')}/pools/{POOL}"
    assert pool.enable_auto_scale is False

    selected = client.pool.get(POOL, models.PoolGetOptions(select="id,state"))
    assert (selected.id, selected.vm_size) == (POOL, None)
    client.pool.get(POOL, models.PoolGetOptions(if_match=pool.e_tag))
    refusal("ConditionNotMet", client.pool.get, POOL, models.PoolGetOptions(if_match="0x8D4BCC2E4835CD0"))
    refusal(
        "ConditionNotMet",
        client.pool.patch,
        POOL,
        models.PoolPatchParameter(),
        models.PoolPatchOptions(if_none_match="*"),
    )

    options = models.PoolListOptions(filter=f"startswith(id,'{POOL}') and state eq 'active'", max_results=1)
    assert [pool.id for pool in client.pool.list(options)] == [POOL, f"{POOL}2"]
    values = refusal("InvalidQueryParameterValue", list_all, client.pool.list, models.PoolListOptions(filter="colour"))
    assert values["QueryParameterName"] == "$filter"

    client.pool.patch(POOL, models.PoolPatchParameter(metadata=[models.MetadataItem(name="k", value="w")]))
    assert client.pool.get(POOL).metadata[0].value == "w"
    empty = {"certificate_references": [], "application_package_references": [], "metadata": []}
    replacement = models.PoolUpdatePropertiesParameter(**empty)
    client.pool.update_properties(f"{POOL}2", replacement)
    assert client.pool.get(f"{POOL}2").start_task is None


def list_all(call, *args):
    return list(call(*args))


def nodes():
    node = wait_for(lambda: [n for n in client.compute_node.list(POOL) if n.state.value == "idle"])[0]
    assert [n.id for n in client.compute_node.list(POOL, models.ComputeNodeListOptions(filter="state eq 'idle'"))]
    node = client.compute_node.get(POOL, node.id)
    assert node.start_task_info.exit_code == 0
    assert node.start_task_info.state.value == "completed"
    assert node.scheduling_state.value == "enabled"
    refusal("NodeNotFound", client.compute_node.get, POOL, "nobody")
    shared = b"".join(client.file.get_from_compute_node(POOL, node.id, "shared/colour"))
    assert shared.decode() == "blé\n"
    if VERSION >= (4, 1):
        counts = {count.pool_id: count for count in client.account.list_pool_node_counts()}
        assert counts[POOL].dedicated.idle == counts[POOL].dedicated.total == 1
        assert counts[POOL].low_priority.total == 0
    return node.id


def make_job(job_id):
    return models.JobAddParameter(
        id=job_id,
        priority=5,
        pool_info=models.PoolInformation(pool_id=POOL),
        constraints=models.JobConstraints(max_wall_clock_time=60 * MINUTE, max_task_retry_count=1),
        common_environment_settings=[models.EnvironmentSetting(name="SHAPE", value="round")],
        on_all_tasks_complete=models.OnAllTasksComplete.no_action,
        on_task_failure=models.OnTaskFailure.no_action,
        uses_task_dependencies=True,
        metadata=[models.MetadataItem(name="k", value="v")],
    )


def jobs():
    client.job.add(make_job(JOB))
    refusal("JobExists", client.job.add, make_job(JOB))
    job = client.job.get(JOB.upper())
    assert (job.id, job.priority, job.state.value) == (JOB, 5, "active")
    assert job.on_all_tasks_complete.value.lower() == "noaction"
    assert job.constraints.max_wall_clock_time == 60 * MINUTE
    assert job.execution_info.pool_id == POOL
    assert JOB in [j.id for j in client.job.list(models.JobListOptions(filter=f"id eq '{JOB}'", select="id"))]
    client.job.patch(JOB, models.JobPatchParameter(priority=7), models.JobPatchOptions(if_match=job.e_tag))
    assert client.job.get(JOB).priority == 7
    client.job.update(JOB, models.JobUpdateParameter(pool_info=models.PoolInformation(pool_id=POOL)))
    job = client.job.get(JOB)
    assert (job.priority, job.metadata) == (0, None)
    assert job.constraints.max_wall_clock_time.days == 10675199
    refusal("JobNotFound", client.job.get, "nowhere")


WRITES_FILES = """/bin/sh -c 'echo hello; mkdir "sub dir"; echo $COLOUR $SHAPE > "sub dir/a+b.txt"'"""


def make_task(task_id, command=WRITES_FILES, **options):
    return models.TaskAddParameter(id=task_id, command_line=command, **options, **process_options())


def tasks():
    constraints = models.TaskConstraints(max_task_retry_count=0, retention_time=datetime.timedelta(days=1))
    client.task.add(JOB, make_task("one", constraints=constraints))
    refusal("TaskExists", client.task.add, JOB, make_task("ONE"))
    refusal("JobNotFound", client.task.add, "nowhere", make_task("one"))
    client.task.add(JOB, make_task("failing", "/bin/sh -c 'exit 3'", constraints=constraints))
    client.task.add(JOB, make_task("missing", "/no/such/program"))
    client.task.add(JOB, make_task("long", "sleep 600"))
    count = 100 if VERSION < (5, 0) else 150
    client.task.add_collection(JOB, [make_task(f"many{number}", "true") for number in range(count)])
    if VERSION < (5, 0):
        added = client.task.add_collection(JOB, [make_task("one"), make_task("many-more", "true")]).value
        statuses = {each.task_id: (each.status.value.lower(), each.error and each.error.code) for each in added}
        assert statuses == {"one": ("clienterror", "TaskExists"), "many-more": ("success", None)}
    else:
        wrong_ids()

    wait_for(lambda: client.task.get(JOB, "long").state.value == "running")
    client.task.terminate(JOB, "long")
    unfinished = models.TaskListOptions(filter="state ne 'completed'", select="id,state")
    wait_for(lambda: not list(client.task.list(JOB, unfinished)))
    listed = list(client.task.list(JOB, models.TaskListOptions(max_results=40)))
    assert len({task.id for task in listed}) == len(listed) > count

    one = client.task.get(JOB, "one")
    assert (one.state.value, one.execution_info.exit_code) == ("completed", 0)
    assert one.constraints.retention_time == datetime.timedelta(days=1)
    assert one.node_info.pool_id == POOL
    assert one.user_identity.auto_user.scope.value.lower() == "pool"
    failing, missing, long = (client.task.get(JOB, name).execution_info for name in ("failing", "missing", "long"))
    assert (failing.exit_code, missing.exit_code) == (3, None)
    if VERSION < (3, 0):
        assert failing.scheduling_error is None
        assert missing.scheduling_error.code == "CommandProgramNotFound"
    else:
        assert (failing.failure_info.code, failing.result.value) == ("FailureExitCode", "failure")
        assert missing.failure_info.code == "CommandProgramNotFound"
        assert long.failure_info.code == "TaskEnded"
        assert missing.failure_info.category.value.lower() == "usererror"
    if VERSION >= (3, 1):
        counts = client.job.get_task_counts(JOB)
        counts = counts if VERSION < (10, 0) else counts.task_counts
        assert (counts.active, counts.running, counts.failed) == (0, 0, 3)
        assert counts.succeeded == len(listed) - 3
        if VERSION < (5, 0):
            assert counts.validation_status.value == "validated"
    assert not client.task.list_subtasks(JOB, "one").value
    refusal("TaskCompleted", client.task.terminate, JOB, "one")
    refusal("TaskSucceeded", client.task.reactivate, JOB, "one")
    client.task.reactivate(JOB, "failing")
    wait_for(lambda: client.task.get(JOB, "failing").state.value == "completed")
    refusal("TaskCompleted", client.task.update, JOB, "one", constraints=models.TaskConstraints(max_task_retry_count=2))
    client.task.delete(JOB, "many0")
    refusal("TaskNotFound", client.task.get, JOB, "many0")


def wrong_ids():
    try:
        client.task.add_collection(
            JOB, [make_task("good", "true"), make_task("a b", "true"), make_task("bad!", "true")]
        )
    except Exception as refused:
        # 6.0 and others hand the lists to each other in another order than they name them
        lists = [value for value in vars(refused).values() if not isinstance(value, str)]
        failed = {task.task_id: task.error.code for tasks in lists for task in tasks if hasattr(task, "task_id")}
        assert failed == {"a b": "InvalidPropertyValue", "bad!": "InvalidPropertyValue"}, failed
    else:
        raise AssertionError("wrong ids were taken")


def files():
    found = {file.name: file for file in client.file.list_from_task(JOB, "one", recursive=True)}
    assert {"stdout.txt", "stderr.txt", "wd", "wd/sub dir", "wd/sub dir/a+b.txt"} <= set(found)
    assert (found["wd"].is_directory, found["stdout.txt"].properties.content_length) == (True, 6)
    options = models.FileListFromTaskOptions(filter="startswith(name,'std')", max_results=1)
    assert [file.name for file in client.file.list_from_task(JOB, "one", file_list_from_task_options=options)] == [
        "stderr.txt",
        "stdout.txt",
    ]
    assert b"".join(client.file.get_from_task(JOB, "one", "stdout.txt")) == b"hello\n"
    assert b"".join(client.file.get_from_task(JOB, "one", "wd/sub dir/a+b.txt")).decode() == "blé round\n"
    part = models.FileGetFromTaskOptions(ocp_range="bytes=1-3")
    assert b"".join(client.file.get_from_task(JOB, "one", "stdout.txt", part)) == b"ell"
    refusal("FileNotFound", client.file.get_from_task, JOB, "one", "wd/nothing.txt")
    refusal("FileNotFound", client.file.get_from_task, JOB, "one", "../failing/stdout.txt")
    head = client.file.get_properties_from_task(JOB, "one", "stdout.txt", raw=True)
    assert head.headers["ocp-batch-file-isdirectory"] in ("False", False)
    client.file.delete_from_task(JOB, "one", "wd", recursive=True)
    names = [file.name for file in client.file.list_from_task(JOB, "one", recursive=True)]
    assert sorted(names) == ["stderr.txt", "stdout.txt"]


def endings(node_id):
    client.job.disable(JOB, "requeue")
    wait_for(lambda: client.job.get(JOB).state.value == "disabled")
    client.job.enable(JOB)
    wait_for(lambda: client.job.get(JOB).state.value == "active")
    client.job.terminate(JOB, terminate_reason="done")
    job = wait_for(lambda: (j := client.job.get(JOB)).state.value == "completed" and j)
    assert job.execution_info.terminate_reason == "done"
    refusal("JobCompleted", client.job.terminate, JOB)
    refusal("JobCompleted", client.task.add, JOB, make_task("late"))

    booted = client.compute_node.get(POOL, node_id).last_boot_time
    client.compute_node.reboot(POOL, node_id, node_reboot_option="requeue")
    wait_for(lambda: (n := client.compute_node.get(POOL, node_id)).state.value == "idle" and n.last_boot_time > booted)
    nodes = {"target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes": 2}
    client.pool.resize(POOL, models.PoolResizeParameter(**nodes))
    wait_for(lambda: client.pool.get(POOL).allocation_state.value == "steady")
    assert target(client.pool.get(POOL)) == 2
    client.pool.remove_nodes(POOL, models.NodeRemoveParameter(node_list=[node_id]))
    wait_for(lambda: client.pool.get(POOL).allocation_state.value == "steady")
    assert target(client.pool.get(POOL)) == 1
    refusal("NodeNotFound", client.compute_node.get, POOL, node_id)
    client.job.delete(JOB)
    for pool_id in (POOL, f"{POOL}2"):
        client.pool.delete(pool_id)
        wait_for(lambda name=pool_id: not client.pool.exists(name))


def strangers():
    refusal("AuthenticationFailed", make_client("AAAA").pool.get, POOL)


strangers()
pools()
node_id = nodes()
jobs()
tasks()
files()
endings(node_id)
