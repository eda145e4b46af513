"""Every method of azure-batch 2.0.0 to 14.2.0, called by a program of its time.

Takes a name for what it makes from its command line, and from the environment the account, an application
(``APPLICATION``, which has the version 1.0), the URL of a container to write to, and a certificate.
"""

import datetime
import importlib.metadata
import os
import sys

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials
from recording import Checks, wait_for

VERSION = tuple(int(part) for part in importlib.metadata.version("azure-batch").split(".")[:2])
NAME = sys.argv[1]
POOL, JOB, TASKS, SCHEDULE = f"{NAME}-pool", f"{NAME}-job", f"{NAME}-tasks", f"{NAME}-schedule"
MINUTE = datetime.timedelta(minutes=1)
APPLICATION = os.environ["APPLICATION"]
#: How the two ages of the API name the same thing.
TARGET = "target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes"
VARIABLE = "$TargetDedicated" if VERSION < (3, 0) else "$TargetDedicatedNodes"
SLOTS = "max_tasks_per_node" if VERSION < (10, 0) else "task_slots_per_node"

checks = Checks()


def connect():
    credentials = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
    url = os.environ["BATCH_ACCOUNT_URL"]
    return BatchServiceClient(credentials, **{"base_url" if VERSION < (6, 0) else "batch_url": url})


client = checks.recorder(connect())


def text(value):
    """The text of an enumeration's value, which some versions give as such."""
    return getattr(value, "value", value).lower()


def refusal(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except models.BatchErrorException as refused:
        assert refused.error.code == code, (refused.error.code, refused.error.message.value)
    else:
        raise AssertionError(f"the call was not refused with {code}")


def newest_image():
    if VERSION < (7, 0):
        skus = {sku.id: sku.verified_image_references for sku in client.account.list_node_agent_skus()}
        images = skus["batch.node.ubuntu 24.04"]
    else:
        images = [
            image.image_reference
            for image in client.account.list_supported_images()
            if image.node_agent_sku_id == "batch.node.ubuntu 24.04"
        ]
    return "batch.node.ubuntu 24.04", images[0]


@checks.of("Account.list_node_agent_skus", unless=VERSION >= (7, 0))
@checks.of("Account.list_supported_images", unless=VERSION < (7, 0))
def images():
    assert newest_image()[1].publisher.lower() == "canonical"


# --- pools ---


def new_pool(pool_id, nodes, slots=2, **members):
    sku_id, image = newest_image()
    machines = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id=sku_id)
    return models.PoolAddParameter(
        id=pool_id,
        vm_size="standard_a1_v2",
        virtual_machine_configuration=machines,
        **{TARGET: nodes, SLOTS: slots},
        **members,
    )


def steady(pool_id=POOL):
    def pool():
        found = client.pool.get(pool_id)
        return found if text(found.allocation_state) == "steady" else None

    return wait_for(pool)


def idle_nodes(count=1):
    def nodes():
        found = [node for node in client.compute_node.list(POOL) if text(node.state) == "idle"]
        return found if len(found) >= count else None

    return wait_for(nodes)


@checks.of("Pool.add", "Pool.get", "Pool.list", "Pool.exists")
def pools():
    references = [models.ApplicationPackageReference(application_id=APPLICATION, version="1.0")]
    client.pool.add(new_pool(POOL, 2, enable_inter_node_communication=True, application_package_references=references))
    pool = client.pool.get(POOL)
    assert (pool.id, getattr(pool, TARGET), getattr(pool, SLOTS)) == (POOL, 2, 2)
    assert pool.application_package_references[0].version == "1.0"
    assert POOL in [each.id for each in client.pool.list(models.PoolListOptions(filter=f"id eq '{POOL}'"))]
    assert client.pool.exists(POOL) is True
    assert client.pool.exists("nowhere") is False
    assert len(idle_nodes(2)) == 2


@checks.of("Account.list_pool_node_counts", unless=VERSION < (4, 1))
def node_counts():
    counts = {each.pool_id: each for each in client.account.list_pool_node_counts()}
    assert (counts[POOL].dedicated.idle, counts[POOL].dedicated.total) == (2, 2)


@checks.of("Pool.patch")
def pool_patch():
    client.pool.patch(POOL, models.PoolPatchParameter(metadata=[models.MetadataItem(name="k", value="v")]))
    assert client.pool.get(POOL).metadata[0].value == "v"


@checks.of("Pool.update_properties", "Pool.delete")
def pool_properties():
    name = f"{POOL}-properties"
    client.pool.add(new_pool(name, 0, metadata=[models.MetadataItem(name="k", value="v")]))
    replacement = models.PoolUpdatePropertiesParameter(
        start_task=models.StartTask(command_line="true"),
        certificate_references=[],
        application_package_references=[models.ApplicationPackageReference(application_id=APPLICATION, version="1.0")],
        metadata=[],
    )
    client.pool.update_properties(name, replacement)
    pool = client.pool.get(name)
    assert pool.start_task.command_line == "true"
    assert not pool.metadata
    assert pool.application_package_references[0].application_id == APPLICATION
    client.pool.delete(name)
    wait_for(lambda: not client.pool.exists(name))


@checks.of("Pool.evaluate_auto_scale", "Pool.enable_auto_scale", "Pool.disable_auto_scale")
def auto_scale():
    name = f"{POOL}-scaled"
    client.pool.add(new_pool(name, 0))
    steady(name)
    client.pool.enable_auto_scale(
        name, auto_scale_formula=f"{VARIABLE} = 1 - 1;", auto_scale_evaluation_interval=5 * MINUTE
    )
    pool = client.pool.get(name)
    assert (pool.enable_auto_scale, pool.auto_scale_evaluation_interval) == (True, 5 * MINUTE)
    run = client.pool.evaluate_auto_scale(name, f"{VARIABLE} = 3;")
    assert f"{VARIABLE}=3" in run.results, run.results
    refusal("OperationInvalidForCurrentState", client.pool.evaluate_auto_scale, POOL, f"{VARIABLE} = 3;")
    steady(name)
    client.pool.disable_auto_scale(name)
    assert client.pool.get(name).enable_auto_scale is False
    client.pool.delete(name)


@checks.of("Pool.resize", "Pool.stop_resize", "Pool.remove_nodes")
def resize():
    client.pool.resize(POOL, models.PoolResizeParameter(**{TARGET: 3}))
    assert getattr(steady(), TARGET) == 3
    node = idle_nodes(3)[-1]
    client.pool.remove_nodes(POOL, models.NodeRemoveParameter(node_list=[node.id]))
    assert getattr(steady(), TARGET) == 2
    assert node.id not in [each.id for each in client.compute_node.list(POOL)]
    blocker = f"{POOL}-blocker"
    client.job.add(models.JobAddParameter(id=blocker, pool_info=models.PoolInformation(pool_id=POOL)))
    for number in range(4):
        client.task.add(blocker, models.TaskAddParameter(id=f"t{number}", command_line="sleep 600"))
    wait_for(lambda: all(text(task.state) == "running" for task in client.task.list(blocker)))
    parameter = models.PoolResizeParameter(node_deallocation_option="taskcompletion", **{TARGET: 1})
    client.pool.resize(POOL, parameter)
    client.pool.stop_resize(POOL)
    pool = steady()
    assert "ResizeStopped" in [each.code for each in ([pool.resize_error] if VERSION < (3, 0) else pool.resize_errors)]
    client.job.delete(blocker)
    client.pool.resize(POOL, models.PoolResizeParameter(**{TARGET: 2}))
    steady()
    idle_nodes(2)


@checks.of("Pool.upgrade_os", refused="only for pools of cloud services, which have Windows", unless=VERSION >= (6, 0))
def upgrade_os():
    refusal("PoolNotEligibleForOSVersionUpgrade", client.pool.upgrade_os, POOL, "*")


# --- nodes ---


def node_is(node_id, state):
    return wait_for(lambda: text((node := client.compute_node.get(POOL, node_id)).state) == state and node)


@checks.of("ComputeNode.list", "ComputeNode.get", "ComputeNode.reboot")
def reboot():
    options = models.ComputeNodeListOptions(filter="state eq 'idle'")
    node = sorted(client.compute_node.list(POOL, options), key=lambda each: each.id)[0]
    before = client.compute_node.get(POOL, node.id).last_boot_time
    client.compute_node.reboot(POOL, node.id, node_reboot_option="requeue")
    wait_for(lambda: (n := client.compute_node.get(POOL, node.id)).last_boot_time > before and text(n.state) == "idle")


@checks.of("ComputeNode.disable_scheduling", "ComputeNode.enable_scheduling")
def scheduling():
    node = idle_nodes(2)[0]
    client.compute_node.disable_scheduling(POOL, node.id, node_disable_scheduling_option="requeue")
    node = node_is(node.id, "offline")
    assert text(node.scheduling_state) == "disabled"
    client.compute_node.enable_scheduling(POOL, node.id)
    assert text(node_is(node.id, "idle").scheduling_state) == "enabled"


@checks.of("ComputeNode.add_user", "ComputeNode.update_user", "ComputeNode.delete_user")
def users():
    node = idle_nodes(2)[0]
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    user = models.ComputeNodeUser(name="operator", is_admin=False, expiry_time=expiry, password="Kn1ght-of-ponds")
    client.compute_node.add_user(POOL, node.id, user)
    refusal("NodeUserExists", client.compute_node.add_user, POOL, node.id, user)
    client.compute_node.update_user(
        POOL, node.id, "operator", models.NodeUpdateUserParameter(password="An0ther-one!", expiry_time=expiry)
    )
    client.compute_node.delete_user(POOL, node.id, "operator")
    refusal("NodeUserNotFound", client.compute_node.delete_user, POOL, node.id, "operator")


@checks.of("ComputeNode.get_remote_login_settings")
def remote_login():
    settings = client.compute_node.get_remote_login_settings(POOL, idle_nodes()[0].id)
    assert settings.remote_login_ip_address
    assert settings.remote_login_port > 0


@checks.of("ComputeNode.get_remote_desktop", refused="only for nodes that have Windows")
def remote_desktop():
    node = idle_nodes()[0]
    refusal("OperationNotValidOnNode", lambda: b"".join(client.compute_node.get_remote_desktop(POOL, node.id)))


@checks.of("ComputeNode.upload_batch_service_logs", unless=VERSION < (4, 1))
def logs():
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    configuration = models.UploadBatchServiceLogsConfiguration(
        container_url=os.environ["CONTAINER_URL"], start_time=start
    )
    found = client.compute_node.upload_batch_service_logs(POOL, idle_nodes()[0].id, configuration)
    assert found.number_of_files_uploaded > 0
    assert found.virtual_directory_name


@checks.of("ComputeNodeExtension.list", "ComputeNodeExtension.get", unless=VERSION < (11, 0))
def extensions():
    node = idle_nodes()[0]
    assert list(client.compute_node_extension.list(POOL, node.id)) == []
    refusal("ResourceNotFound", client.compute_node_extension.get, POOL, node.id, "nothing")


@checks.of(
    "File.list_from_compute_node",
    "File.get_from_compute_node",
    "File.get_properties_from_compute_node",
    "File.delete_from_compute_node",
)
def node_files():
    job = f"{NAME}-files"
    client.job.add(models.JobAddParameter(id=job, pool_info=models.PoolInformation(pool_id=POOL)))
    command = "/bin/sh -c 'echo here > $AZ_BATCH_NODE_SHARED_DIR/note.txt'"
    user = models.UserIdentity(
        auto_user=models.AutoUserSpecification(scope="pool", elevation_level=models.ElevationLevel.admin)
    )
    client.task.add(job, models.TaskAddParameter(id="writer", command_line=command, user_identity=user))
    task = wait_for(lambda: text((t := client.task.get(job, "writer")).state) == "completed" and t)
    node_id = task.node_info.node_id
    options = models.FileListFromComputeNodeOptions(filter="startswith(name,'shared')")
    names = [
        file.name
        for file in client.file.list_from_compute_node(
            POOL, node_id, recursive=True, file_list_from_compute_node_options=options
        )
    ]
    assert "shared/note.txt" in names, names
    assert b"".join(client.file.get_from_compute_node(POOL, node_id, "shared/note.txt")) == b"here\n"
    head = client.file.get_properties_from_compute_node(POOL, node_id, "shared/note.txt", raw=True)
    assert int(head.response.headers["Content-Length"]) == 5
    client.file.delete_from_compute_node(POOL, node_id, "shared/note.txt")
    refusal("FileNotFound", lambda: b"".join(client.file.get_from_compute_node(POOL, node_id, "shared/note.txt")))
    client.job.delete(job)


# --- jobs ---


@checks.of("Job.add", "Job.get", "Job.list", "Job.patch", "Job.update", "Job.disable", "Job.enable", "Job.delete")
def jobs():
    pool = models.PoolInformation(pool_id=POOL)
    client.job.add(models.JobAddParameter(id=JOB, pool_info=pool, priority=5))
    assert client.job.get(JOB).priority == 5
    assert JOB in [job.id for job in client.job.list(models.JobListOptions(filter="state eq 'active'"))]
    client.job.patch(JOB, models.JobPatchParameter(priority=7))
    assert client.job.get(JOB).priority == 7
    client.job.update(JOB, models.JobUpdateParameter(pool_info=pool, priority=9))
    assert client.job.get(JOB).priority == 9
    client.job.disable(JOB, "terminate")
    wait_for(lambda: text(client.job.get(JOB).state) == "disabled")
    client.job.enable(JOB)
    wait_for(lambda: text(client.job.get(JOB).state) == "active")
    client.job.delete(JOB)
    wait_for(lambda: JOB not in [job.id for job in client.job.list()])


@checks.of("Job.list_preparation_and_release_task_status", "Job.terminate")
def preparation():
    job = f"{JOB}-prepared"
    client.job.add(
        models.JobAddParameter(
            id=job,
            pool_info=models.PoolInformation(pool_id=POOL),
            job_preparation_task=models.JobPreparationTask(command_line="true"),
            job_release_task=models.JobReleaseTask(command_line="/bin/sh -c 'exit 4'"),
        )
    )
    client.task.add(job, models.TaskAddParameter(id="task", command_line="true"))
    wait_for(lambda: text(client.task.get(job, "task").state) == "completed")
    client.job.terminate(job, terminate_reason="enough")
    found = wait_for(lambda: text((j := client.job.get(job)).state) == "completed" and j)
    assert found.execution_info.terminate_reason == "enough"
    (status,) = client.job.list_preparation_and_release_task_status(job)
    assert status.job_preparation_task_execution_info.exit_code == 0
    assert status.job_release_task_execution_info.exit_code == 4
    client.job.delete(job)


# --- tasks ---


def task_is(task_id, state):
    return wait_for(lambda: text((task := client.task.get(TASKS, task_id)).state) == state and task)


@checks.of("Task.add", "Task.add_collection", "Task.get", "Task.list")
def tasks():
    client.job.add(
        models.JobAddParameter(id=TASKS, pool_info=models.PoolInformation(pool_id=POOL), uses_task_dependencies=True)
    )
    client.task.add(
        TASKS,
        models.TaskAddParameter(
            id="last", command_line="echo last", depends_on=models.TaskDependencies(task_ids=["one", "two"])
        ),
    )
    parameters = [models.TaskAddParameter(id=name, command_line=f"echo {name}") for name in ("one", "two")]
    client.task.add_collection(TASKS, parameters)
    last = task_is("last", "completed")
    assert last.execution_info.exit_code == 0
    for name in ("one", "two"):
        assert client.task.get(TASKS, name).execution_info.end_time <= last.execution_info.start_time
    assert {task.id for task in client.task.list(TASKS)} == {"one", "two", "last"}


@checks.of("Job.get_task_counts", unless=VERSION < (3, 1))
def task_counts():
    counts = client.job.get_task_counts(TASKS)
    assert (counts if VERSION < (10, 0) else counts.task_counts).succeeded == 3


@checks.of("Task.update", "Task.terminate", "Task.reactivate", "Task.delete")
def task_changes():
    client.task.add(TASKS, models.TaskAddParameter(id="long", command_line="sleep 600"))
    task_is("long", "running")
    client.task.update(TASKS, "long", constraints=models.TaskConstraints(max_task_retry_count=3))
    assert client.task.get(TASKS, "long").constraints.max_task_retry_count == 3
    client.task.terminate(TASKS, "long")
    task_is("long", "completed")
    client.task.reactivate(TASKS, "long")
    task_is("long", "running")
    client.task.delete(TASKS, "long")
    refusal("TaskNotFound", client.task.get, TASKS, "long")


@checks.of("Task.list_subtasks")
def subtasks():
    gang = f"{NAME}-gang"
    client.pool.add(new_pool(gang, 2, slots=1, enable_inter_node_communication=True))
    client.job.add(models.JobAddParameter(id=gang, pool_info=models.PoolInformation(pool_id=gang)))
    settings = models.MultiInstanceSettings(number_of_instances=2, coordination_command_line="/bin/sh -c 'echo ready'")
    client.task.add(
        gang, models.TaskAddParameter(id="gang", command_line="/bin/sh -c 'exit 0'", multi_instance_settings=settings)
    )
    task = wait_for(lambda: text((t := client.task.get(gang, "gang")).state) == "completed" and t)
    (subtask,) = client.task.list_subtasks(gang, "gang").value
    assert (subtask.id, subtask.exit_code, text(subtask.state)) == (1, 0, "completed")
    assert subtask.node_info.node_id != task.node_info.node_id
    client.job.delete(gang)
    client.pool.delete(gang)


@checks.of("File.list_from_task", "File.get_from_task", "File.get_properties_from_task", "File.delete_from_task")
def task_files():
    names = {file.name for file in client.file.list_from_task(TASKS, "one", recursive=True)}
    assert {"stdout.txt", "stderr.txt", "wd"} <= names
    assert b"".join(client.file.get_from_task(TASKS, "one", "stdout.txt")) == b"one\n"
    head = client.file.get_properties_from_task(TASKS, "one", "stdout.txt", raw=True)
    assert int(head.response.headers["Content-Length"]) == 4
    client.file.delete_from_task(TASKS, "one", "stdout.txt")
    refusal("FileNotFound", lambda: b"".join(client.file.get_from_task(TASKS, "one", "stdout.txt")))


# --- job schedules ---


@checks.of(
    "JobSchedule.add",
    "JobSchedule.get",
    "JobSchedule.list",
    "JobSchedule.exists",
    "JobSchedule.patch",
    "JobSchedule.update",
    "Job.list_from_job_schedule",
)
def job_schedules():
    work = models.JobSpecification(pool_info=models.PoolInformation(pool_id=POOL), priority=3)
    client.job_schedule.add(
        models.JobScheduleAddParameter(
            id=SCHEDULE, schedule=models.Schedule(recurrence_interval=10 * MINUTE), job_specification=work
        )
    )
    assert client.job_schedule.exists(SCHEDULE) is True
    assert client.job_schedule.exists("nowhere") is False
    (job,) = wait_for(lambda: list(client.job.list_from_job_schedule(SCHEDULE)))
    assert (job.id, job.priority) == (f"{SCHEDULE}:job-1", 3)
    found = client.job_schedule.get(SCHEDULE)
    assert found.execution_info.recent_job.id == job.id
    assert SCHEDULE in [each.id for each in client.job_schedule.list()]
    client.job_schedule.patch(
        SCHEDULE, models.JobSchedulePatchParameter(schedule=models.Schedule(recurrence_interval=20 * MINUTE))
    )
    assert client.job_schedule.get(SCHEDULE).schedule.recurrence_interval == 20 * MINUTE
    work.priority = 4
    client.job_schedule.update(
        SCHEDULE,
        models.JobScheduleUpdateParameter(
            schedule=models.Schedule(recurrence_interval=30 * MINUTE), job_specification=work
        ),
    )
    found = client.job_schedule.get(SCHEDULE)
    assert (found.schedule.recurrence_interval, found.job_specification.priority) == (30 * MINUTE, 4)


@checks.of("JobSchedule.disable", "JobSchedule.enable", "JobSchedule.terminate", "JobSchedule.delete")
def job_schedule_endings():
    client.job_schedule.disable(SCHEDULE)
    assert text(client.job_schedule.get(SCHEDULE).state) == "disabled"
    client.job_schedule.enable(SCHEDULE)
    assert text(client.job_schedule.get(SCHEDULE).state) == "active"
    client.job_schedule.terminate(SCHEDULE)
    wait_for(lambda: text(client.job_schedule.get(SCHEDULE).state) == "completed")
    assert text(client.job.get(f"{SCHEDULE}:job-1").state) == "completed"
    client.job_schedule.delete(SCHEDULE)
    wait_for(lambda: not client.job_schedule.exists(SCHEDULE))


# --- applications, certificates, statistics ---


@checks.of("Application.list", "Application.get")
def applications():
    assert APPLICATION in [each.id for each in client.application.list()]
    assert client.application.get(APPLICATION).versions == ["1.0"]
    refusal("ApplicationNotFound", client.application.get, "nothing")


@checks.of(
    "Certificate.add", "Certificate.get", "Certificate.list", "Certificate.delete", "Certificate.cancel_deletion"
)
def certificates():
    thumbprint = os.environ["CERTIFICATE_THUMBPRINT"]
    client.certificate.add(
        models.CertificateAddParameter(
            thumbprint=thumbprint,
            thumbprint_algorithm="sha1",
            data=os.environ["CERTIFICATE_DATA"],
            certificate_format=models.CertificateFormat.cer,
        )
    )
    certificate = client.certificate.get("sha1", thumbprint)
    assert (text(certificate.state), certificate.thumbprint.lower()) == ("active", thumbprint)
    assert thumbprint in [each.thumbprint.lower() for each in client.certificate.list()]
    reference = models.CertificateReference(
        thumbprint=thumbprint,
        thumbprint_algorithm="sha1",
        store_location=models.CertificateStoreLocation.current_user,
        store_name="My",
        visibility=[models.CertificateVisibility.task],
    )
    holder = f"{POOL}-certified"
    client.pool.add(new_pool(holder, 0, certificate_references=[reference]))
    client.certificate.delete("sha1", thumbprint)
    wait_for(lambda: text(client.certificate.get("sha1", thumbprint).state) == "deletefailed")
    client.certificate.cancel_deletion("sha1", thumbprint)
    assert text(client.certificate.get("sha1", thumbprint).state) == "active"
    client.pool.delete(holder)
    wait_for(lambda: not client.pool.exists(holder))
    client.certificate.delete("sha1", thumbprint)
    wait_for(lambda: thumbprint not in [each.thumbprint.lower() for each in client.certificate.list()])


@checks.of("Pool.list_usage_metrics")
def usage():
    metrics = [each for each in client.pool.list_usage_metrics() if each.pool_id == POOL]
    assert metrics
    assert metrics[0].total_core_hours > 0


@checks.of("Pool.get_all_lifetime_statistics", "Job.get_all_lifetime_statistics", unless=VERSION > (13, 0))
def lifetime():
    assert client.pool.get_all_lifetime_statistics().usage_stats.dedicated_core_time.total_seconds() > 0
    assert client.job.get_all_lifetime_statistics().num_succeeded_tasks > 0


@checks.of("ComputeNode.reimage")
def reimage():
    node = sorted(idle_nodes(2), key=lambda each: each.id)[0]
    before = client.compute_node.get(POOL, node.id).last_boot_time
    client.compute_node.reimage(POOL, node.id, node_reimage_option="requeue")
    wait_for(lambda: (n := client.compute_node.get(POOL, node.id)).last_boot_time > before and text(n.state) == "idle")
    names = [file.name for file in client.file.list_from_compute_node(POOL, node.id, recursive=True)]
    assert not [name for name in names if name.startswith("workitems/")], names


@checks.of()
def tidy():
    for job in client.job.list(models.JobListOptions(filter=f"startswith(id,'{NAME}')")):
        client.job.delete(job.id)
    client.pool.delete(POOL)


checks.run()
