"""Every method of azure-batch 15, called by a program of today.

Takes a name for what it makes from its command line, and from the environment the account, an application
(``APPLICATION``, which has the version 1.0) and the URL of a container to write to.
"""

import datetime
import os
import sys

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from recording import Checks, wait_for

NAME = sys.argv[1]
POOL, JOB, TASKS, SCHEDULE = f"{NAME}-pool", f"{NAME}-job", f"{NAME}-tasks", f"{NAME}-schedule"
MINUTE = datetime.timedelta(minutes=1)
APPLICATION = os.environ["APPLICATION"]
ON_POOL = models.BatchPoolInfo(pool_id=POOL)
#: Seconds between the questions of a poller.
OFTEN = {"polling_interval": 1}

checks = Checks()
client = checks.recorder(
    BatchClient(
        os.environ["BATCH_ACCOUNT_URL"],
        AzureNamedKeyCredential(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"]),
    )
)


def refusal(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except HttpResponseError as refused:
        assert refused.model.code == code, (refused.model.code, refused.model.message.value)
    else:
        raise AssertionError(f"the call was not refused with {code}")


def exists(call, name):
    """What a call says, which raises in this release where it should be ``False``."""
    try:
        return call(name)
    except ResourceNotFoundError:
        return False


def assert_gone(call, *args):
    """Answers to HEAD requests have no code."""
    try:
        call(*args)
    except ResourceNotFoundError:
        return
    raise AssertionError(f"{args} is still there")


@checks.of("list_supported_images")
def images():
    found = {image.node_agent_sku_id for image in client.list_supported_images(filter="verificationType eq 'verified'")}
    assert "batch.node.ubuntu 24.04" in found


# --- pools ---


def new_pool(pool_id, nodes, slots=2, **members):
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    machines = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="standard_a1_v2",
        virtual_machine_configuration=machines,
        target_dedicated_nodes=nodes,
        task_slots_per_node=slots,
        **members,
    )


def steady(pool_id=POOL):
    return wait_for(lambda: (pool := client.get_pool(pool_id)).allocation_state == "steady" and pool)


def idle_nodes(count=1):
    def nodes():
        found = [node for node in client.list_nodes(POOL) if node.state == "idle"]
        return found if len(found) >= count else None

    return wait_for(nodes)


@checks.of("create_pool", "get_pool", "list_pools", "pool_exists")
def pools():
    references = [models.BatchApplicationPackageReference(application_id=APPLICATION, version="1.0")]
    client.create_pool(
        new_pool(POOL, 2, enable_inter_node_communication=True, application_package_references=references)
    )
    pool = client.get_pool(POOL)
    assert (pool.id, pool.target_dedicated_nodes, pool.task_slots_per_node) == (POOL, 2, 2)
    assert POOL in [each.id for each in client.list_pools(filter=f"id eq '{POOL}'")]
    assert client.pool_exists(POOL) is True
    assert not exists(client.pool_exists, "nowhere")
    assert len(idle_nodes(2)) == 2


@checks.of("list_pool_node_counts")
def node_counts():
    counts = {each.pool_id: each for each in client.list_pool_node_counts()}
    assert (counts[POOL].dedicated.idle, counts[POOL].dedicated.total) == (2, 2)


@checks.of("update_pool")
def pool_update():
    client.update_pool(POOL, models.BatchPoolUpdateOptions(metadata=[models.BatchMetadataItem(name="k", value="v")]))
    assert client.get_pool(POOL).metadata[0].value == "v"


@checks.of("replace_pool_properties", "begin_delete_pool")
def pool_properties():
    name = f"{POOL}-properties"
    client.create_pool(new_pool(name, 0, metadata=[models.BatchMetadataItem(name="k", value="v")]))
    client.replace_pool_properties(
        name,
        models.BatchPoolReplaceOptions(
            start_task=models.BatchStartTask(command_line="true"), application_package_references=[], metadata=[]
        ),
    )
    pool = client.get_pool(name)
    assert pool.start_task.command_line == "true"
    assert not pool.metadata
    client.begin_delete_pool(name, **OFTEN).result()
    assert not exists(client.pool_exists, name)


@checks.of("evaluate_pool_auto_scale", "enable_pool_auto_scale", "disable_pool_auto_scale")
def auto_scale():
    name = f"{POOL}-scaled"
    client.create_pool(new_pool(name, 0))
    steady(name)
    options = models.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula="$TargetDedicatedNodes = 1 - 1;", auto_scale_evaluation_interval=5 * MINUTE
    )
    client.enable_pool_auto_scale(name, options)
    pool = client.get_pool(name)
    assert (pool.enable_auto_scale, pool.auto_scale_evaluation_interval) == (True, 5 * MINUTE)
    wanted = models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes = 3;")
    assert "$TargetDedicatedNodes=3" in client.evaluate_pool_auto_scale(name, wanted).results
    refusal("OperationInvalidForCurrentState", client.evaluate_pool_auto_scale, POOL, wanted)
    steady(name)
    client.disable_pool_auto_scale(name)
    assert client.get_pool(name).enable_auto_scale is False
    client.begin_delete_pool(name, **OFTEN)


@checks.of("begin_resize_pool", "begin_stop_pool_resize", "begin_remove_nodes")
def resize():
    client.begin_resize_pool(POOL, models.BatchPoolResizeOptions(target_dedicated_nodes=3), **OFTEN).result()
    assert steady().current_dedicated_nodes == 3
    node = idle_nodes(3)[-1]
    client.begin_remove_nodes(POOL, models.BatchNodeRemoveOptions(node_ids=[node.id]), **OFTEN).result()
    assert steady().target_dedicated_nodes == 2
    assert node.id not in [each.id for each in client.list_nodes(POOL)]
    blocker = f"{POOL}-blocker"
    client.create_job(models.BatchJobCreateOptions(id=blocker, pool_info=ON_POOL))
    for number in range(4):
        client.create_task(blocker, models.BatchTaskCreateOptions(id=f"t{number}", command_line="sleep 600"))
    wait_for(lambda: all(task.state == "running" for task in client.list_tasks(blocker)))
    fewer = models.BatchPoolResizeOptions(target_dedicated_nodes=1, node_deallocation_option="taskcompletion")
    client.begin_resize_pool(POOL, fewer, **OFTEN)
    client.begin_stop_pool_resize(POOL, **OFTEN).result()
    assert "ResizeStopped" in [error.code for error in steady().resize_errors]
    client.begin_delete_job(blocker, **OFTEN)
    client.begin_resize_pool(POOL, models.BatchPoolResizeOptions(target_dedicated_nodes=2), **OFTEN)
    steady()
    idle_nodes(2)


# --- nodes ---


def first_idle_node():
    return sorted(idle_nodes(2), key=lambda each: each.id)[0]


def booted_again(node_id, before):
    node = client.get_node(POOL, node_id)
    return node.last_boot_time > before and node.state == "idle"


@checks.of("list_nodes", "get_node", "begin_reboot_node")
def reboot():
    node = first_idle_node()
    before = client.get_node(POOL, node.id).last_boot_time
    client.begin_reboot_node(POOL, node.id, {"nodeRebootOption": "requeue"}, **OFTEN).result()
    wait_for(lambda: booted_again(node.id, before))


@checks.of("disable_node_scheduling", "enable_node_scheduling")
def scheduling():
    node = first_idle_node()
    options = models.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="requeue")
    client.disable_node_scheduling(POOL, node.id, options)
    node = wait_for(lambda: (n := client.get_node(POOL, node.id)).state == "offline" and n)
    assert node.scheduling_state == "disabled"
    client.enable_node_scheduling(POOL, node.id)
    wait_for(lambda: client.get_node(POOL, node.id).state == "idle")


@checks.of("begin_deallocate_node", "begin_start_node")
def power():
    node = first_idle_node()
    client.begin_deallocate_node(POOL, node.id, {"nodeDeallocateOption": "requeue"}, **OFTEN).result()
    wait_for(lambda: client.get_node(POOL, node.id).state == "deallocated")
    client.begin_start_node(POOL, node.id, **OFTEN).result()
    wait_for(lambda: client.get_node(POOL, node.id).state == "idle")


@checks.of("create_node_user", "replace_node_user", "delete_node_user")
def users():
    node = first_idle_node()
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    user = models.BatchNodeUserCreateOptions(name="operator", password="Kn1ght-of-ponds", expiry_time=expiry)
    client.create_node_user(POOL, node.id, user)
    refusal("NodeUserExists", client.create_node_user, POOL, node.id, user)
    client.replace_node_user(
        POOL, node.id, "operator", models.BatchNodeUserReplaceOptions(password="An0ther-one!", expiry_time=expiry)
    )
    client.delete_node_user(POOL, node.id, "operator")
    refusal("NodeUserNotFound", client.delete_node_user, POOL, node.id, "operator")


@checks.of("get_node_remote_login_settings")
def remote_login():
    settings = client.get_node_remote_login_settings(POOL, first_idle_node().id)
    assert settings.remote_login_ip_address
    assert settings.remote_login_port > 0


@checks.of("upload_node_logs")
def logs():
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    options = models.UploadBatchServiceLogsOptions(container_url=os.environ["CONTAINER_URL"], start_time=start)
    found = client.upload_node_logs(POOL, first_idle_node().id, options)
    assert found.number_of_files_uploaded > 0
    assert found.virtual_directory_name


@checks.of("list_node_extensions", "get_node_extension")
def extensions():
    node = first_idle_node()
    assert list(client.list_node_extensions(POOL, node.id)) == []
    refusal("ResourceNotFound", client.get_node_extension, POOL, node.id, "nothing")


@checks.of("list_node_files", "download_node_file", "get_node_file_properties", "delete_node_file")
def node_files():
    job = f"{NAME}-files"
    client.create_job(models.BatchJobCreateOptions(id=job, pool_info=ON_POOL))
    user = models.UserIdentity(auto_user=models.AutoUserSpecification(scope="pool", elevation_level="admin"))
    command = "/bin/sh -c 'echo here > $AZ_BATCH_NODE_SHARED_DIR/note.txt'"
    client.create_task(job, models.BatchTaskCreateOptions(id="writer", command_line=command, user_identity=user))
    task = wait_for(lambda: (t := client.get_task(job, "writer")).state == "completed" and t)
    node_id = task.node_info.node_id
    names = [f.name for f in client.list_node_files(POOL, node_id, recursive=True, filter="startswith(name,'shared')")]
    assert "shared/note.txt" in names, names
    assert b"".join(client.download_node_file(POOL, node_id, "shared/note.txt")) == b"here\n"
    assert client.get_node_file_properties(POOL, node_id, "shared/note.txt").content_length == 5
    client.delete_node_file(POOL, node_id, "shared/note.txt")
    assert_gone(client.get_node_file_properties, POOL, node_id, "shared/note.txt")
    client.begin_delete_job(job, **OFTEN)


# --- jobs ---


@checks.of(
    "create_job",
    "get_job",
    "list_jobs",
    "update_job",
    "replace_job",
    "begin_disable_job",
    "begin_enable_job",
    "begin_delete_job",
)
def jobs():
    client.create_job(models.BatchJobCreateOptions(id=JOB, pool_info=ON_POOL, priority=5))
    assert client.get_job(JOB).priority == 5
    assert JOB in [job.id for job in client.list_jobs(filter="state eq 'active'")]
    client.update_job(JOB, models.BatchJobUpdateOptions(priority=7))
    assert client.get_job(JOB).priority == 7
    job = client.get_job(JOB)
    job.priority = 9
    client.replace_job(JOB, job)
    assert client.get_job(JOB).priority == 9
    client.begin_disable_job(JOB, models.BatchJobDisableOptions(disable_tasks="terminate"), **OFTEN).result()
    assert client.get_job(JOB).state == "disabled"
    client.begin_enable_job(JOB, **OFTEN).result()
    assert client.get_job(JOB).state == "active"
    client.begin_delete_job(JOB, **OFTEN).result()
    refusal("JobNotFound", client.get_job, JOB)


@checks.of("list_job_preparation_and_release_task_status", "begin_terminate_job")
def preparation():
    job = f"{JOB}-prepared"
    client.create_job(
        models.BatchJobCreateOptions(
            id=job,
            pool_info=ON_POOL,
            job_preparation_task=models.BatchJobPreparationTask(command_line="true"),
            job_release_task=models.BatchJobReleaseTask(command_line="/bin/sh -c 'exit 4'"),
        )
    )
    client.create_task(job, models.BatchTaskCreateOptions(id="task", command_line="true"))
    wait_for(lambda: client.get_task(job, "task").state == "completed")
    client.begin_terminate_job(job, {"terminateReason": "enough"}, **OFTEN).result()
    found = wait_for(lambda: (j := client.get_job(job)).state == "completed" and j)
    assert found.execution_info.termination_reason == "enough"
    (status,) = client.list_job_preparation_and_release_task_status(job)
    assert status.job_preparation_task_execution_info.exit_code == 0
    assert status.job_release_task_execution_info.exit_code == 4
    client.begin_delete_job(job, **OFTEN)


# --- tasks ---


def task_is(task_id, state):
    return wait_for(lambda: (task := client.get_task(TASKS, task_id)).state == state and task)


@checks.of("create_task", "create_task_collection", "get_task", "list_tasks", "get_job_task_counts")
def tasks():
    client.create_job(models.BatchJobCreateOptions(id=TASKS, pool_info=ON_POOL, uses_task_dependencies=True))
    depends_on = models.BatchTaskDependencies(task_ids=["one", "two"])
    client.create_task(TASKS, models.BatchTaskCreateOptions(id="last", command_line="echo last", depends_on=depends_on))
    options = [models.BatchTaskCreateOptions(id=name, command_line=f"echo {name}") for name in ("one", "two")]
    client.create_task_collection(TASKS, models.BatchTaskGroup(task_values=options))
    last = task_is("last", "completed")
    assert last.execution_info.exit_code == 0
    for name in ("one", "two"):
        assert client.get_task(TASKS, name).execution_info.end_time <= last.execution_info.start_time
    assert {task.id for task in client.list_tasks(TASKS)} == {"one", "two", "last"}
    assert client.get_job_task_counts(TASKS).task_counts.succeeded == 3


@checks.of("replace_task", "terminate_task", "reactivate_task", "delete_task")
def task_changes():
    client.create_task(TASKS, models.BatchTaskCreateOptions(id="long", command_line="sleep 600"))
    task = task_is("long", "running")
    task.constraints = models.BatchTaskConstraints(max_task_retry_count=3)
    client.replace_task(TASKS, "long", task)
    assert client.get_task(TASKS, "long").constraints.max_task_retry_count == 3
    client.terminate_task(TASKS, "long")
    task_is("long", "completed")
    client.reactivate_task(TASKS, "long")
    task_is("long", "running")
    client.delete_task(TASKS, "long")
    refusal("TaskNotFound", client.get_task, TASKS, "long")


@checks.of("list_subtasks")
def subtasks():
    gang = f"{NAME}-gang"
    client.create_pool(new_pool(gang, 2, slots=1, enable_inter_node_communication=True))
    client.create_job(models.BatchJobCreateOptions(id=gang, pool_info=models.BatchPoolInfo(pool_id=gang)))
    settings = models.MultiInstanceSettings(number_of_instances=2, coordination_command_line="/bin/sh -c 'echo ready'")
    client.create_task(
        gang,
        models.BatchTaskCreateOptions(id="gang", command_line="/bin/sh -c 'exit 0'", multi_instance_settings=settings),
    )
    task = wait_for(lambda: (t := client.get_task(gang, "gang")).state == "completed" and t)
    (subtask,) = client.list_subtasks(gang, "gang")
    assert (subtask.id, subtask.exit_code, subtask.state) == (1, 0, "completed")
    assert subtask.node_info.node_id != task.node_info.node_id
    client.begin_delete_job(gang, **OFTEN)
    client.begin_delete_pool(gang, **OFTEN)


@checks.of("list_task_files", "download_task_file", "get_task_file_properties", "delete_task_file")
def task_files():
    names = {file.name for file in client.list_task_files(TASKS, "one", recursive=True)}
    assert {"stdout.txt", "stderr.txt", "wd"} <= names
    assert b"".join(client.download_task_file(TASKS, "one", "stdout.txt")) == b"one\n"
    assert client.get_task_file_properties(TASKS, "one", "stdout.txt").content_length == 4
    client.delete_task_file(TASKS, "one", "stdout.txt")
    assert_gone(client.get_task_file_properties, TASKS, "one", "stdout.txt")


# --- job schedules ---


@checks.of(
    "create_job_schedule",
    "get_job_schedule",
    "list_job_schedules",
    "job_schedule_exists",
    "update_job_schedule",
    "replace_job_schedule",
    "list_jobs_from_schedule",
)
def job_schedules():
    client.create_job_schedule(
        models.BatchJobScheduleCreateOptions(
            id=SCHEDULE,
            schedule=models.BatchJobScheduleConfiguration(recurrence_interval=10 * MINUTE),
            job_specification=models.BatchJobSpecification(pool_info=ON_POOL, priority=3),
        )
    )
    assert client.job_schedule_exists(SCHEDULE) is True
    assert not exists(client.job_schedule_exists, "nowhere")
    (job,) = wait_for(lambda: list(client.list_jobs_from_schedule(SCHEDULE)))
    assert (job.id, job.priority) == (f"{SCHEDULE}:job-1", 3)
    found = client.get_job_schedule(SCHEDULE)
    assert found.execution_info.recent_job.id == job.id
    assert SCHEDULE in [each.id for each in client.list_job_schedules()]
    often = models.BatchJobScheduleConfiguration(recurrence_interval=20 * MINUTE)
    client.update_job_schedule(SCHEDULE, models.BatchJobScheduleUpdateOptions(schedule=often))
    found = client.get_job_schedule(SCHEDULE)
    assert found.schedule.recurrence_interval == 20 * MINUTE
    found.job_specification.priority = 4
    client.replace_job_schedule(SCHEDULE, found)
    assert client.get_job_schedule(SCHEDULE).job_specification.priority == 4


@checks.of("disable_job_schedule", "enable_job_schedule", "begin_terminate_job_schedule", "begin_delete_job_schedule")
def job_schedule_endings():
    client.disable_job_schedule(SCHEDULE)
    assert client.get_job_schedule(SCHEDULE).state == "disabled"
    client.enable_job_schedule(SCHEDULE)
    assert client.get_job_schedule(SCHEDULE).state == "active"
    client.begin_terminate_job_schedule(SCHEDULE, **OFTEN).result()
    wait_for(lambda: client.get_job_schedule(SCHEDULE).state == "completed")
    assert client.get_job(f"{SCHEDULE}:job-1").state == "completed"
    client.begin_delete_job_schedule(SCHEDULE, **OFTEN).result()
    assert not exists(client.job_schedule_exists, SCHEDULE)


# --- applications, statistics ---


@checks.of("list_applications", "get_application")
def applications():
    assert APPLICATION in [each.id for each in client.list_applications()]
    assert client.get_application(APPLICATION).versions == ["1.0"]
    refusal("ApplicationNotFound", client.get_application, "nothing")


@checks.of("list_pool_usage_metrics")
def usage():
    metrics = [each for each in client.list_pool_usage_metrics() if each.pool_id == POOL]
    assert metrics
    assert metrics[0].total_core_hours > 0


@checks.of("begin_reimage_node")
def reimage():
    node = first_idle_node()
    before = client.get_node(POOL, node.id).last_boot_time
    client.begin_reimage_node(POOL, node.id, {"nodeReimageOption": "requeue"}, **OFTEN).result()
    wait_for(lambda: booted_again(node.id, before))
    names = [file.name for file in client.list_node_files(POOL, node.id, recursive=True)]
    assert not [name for name in names if name.startswith("workitems/")], names


@checks.of()
def tidy():
    for job in client.list_jobs(filter=f"startswith(id,'{NAME}')"):
        client.begin_delete_job(job.id, **OFTEN)
    client.begin_delete_pool(POOL, **OFTEN)


checks.run()
