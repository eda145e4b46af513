"""Preparation, release and manager tasks, for every azure-batch from 2.0.0 to 14.2.0, run in the environment of each.

Takes a name for what it makes from its command line, and the account from the environment. Ends with 0, or with what
was not as it should be.
"""

import importlib.metadata
import os
import sys
import time

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

VERSION = tuple(int(part) for part in importlib.metadata.version("azure-batch").split(".")[:2])
NAME = sys.argv[1]

credentials = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
url = os.environ["BATCH_ACCOUNT_URL"]
client = BatchServiceClient(credentials, **{"base_url" if VERSION < (6, 0) else "batch_url": url})


def wait_for(what, seconds=60):
    """The first true value that ``what`` gives."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)
    return value


def make_pool():
    options = {"target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes": 1}
    client.pool.add(
        models.PoolAddParameter(
            id=NAME,
            vm_size="STANDARD_A1_v2",
            virtual_machine_configuration=models.VirtualMachineConfiguration(
                image_reference=models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server"),
                node_agent_sku_id="batch.node.ubuntu 24.04",
            ),
            **options,
        )
    )


def around(command):
    return client.job.list_preparation_and_release_task_status(f"{NAME}-{command}")


def preparation_and_release():
    job = f"{NAME}-around"
    client.job.add(
        models.JobAddParameter(
            id=job,
            pool_info=models.PoolInformation(pool_id=NAME),
            job_preparation_task=models.JobPreparationTask(command_line="/bin/sh -c 'echo made > made'"),
            job_release_task=models.JobReleaseTask(command_line="/bin/sh -c 'cat $AZ_BATCH_JOB_PREP_WORKING_DIR/made'"),
        )
    )
    found = client.job.get(job)
    assert found.job_preparation_task.wait_for_success is True
    assert found.job_release_task.id == "jobrelease"
    command = "/bin/sh -c 'cat $AZ_BATCH_JOB_PREP_DIR/wd/made'"
    client.task.add(job, models.TaskAddParameter(id="task", command_line=command))
    wait_for(lambda: client.task.get(job, "task").state.value == "completed")
    assert b"".join(client.file.get_from_task(job, "task", "stdout.txt")) == b"made\n"
    client.job.terminate(job)
    wait_for(lambda: client.job.get(job).state.value == "completed")
    (status,) = around("around")
    prepared, released = status.job_preparation_task_execution_info, status.job_release_task_execution_info
    assert (prepared.state.value, prepared.exit_code, prepared.retry_count) == ("completed", 0, 0)
    assert (released.state.value, released.exit_code) == ("completed", 0)
    output = client.file.get_from_compute_node(
        status.pool_id, status.node_id, f"{released.task_root_directory}/stdout.txt"
    )
    assert b"".join(output) == b"made\n"
    if VERSION < (3, 0):
        assert released.scheduling_error is None
    else:
        assert released.result.value == "success"
        assert released.failure_info is None
    client.job.delete(job)


def manager():
    job = f"{NAME}-managed"
    client.job.add(
        models.JobAddParameter(
            id=job,
            pool_info=models.PoolInformation(pool_id=NAME),
            job_manager_task=models.JobManagerTask(id="manager", command_line="/bin/sh -c 'echo $WHO'"),
            common_environment_settings=[models.EnvironmentSetting(name="WHO", value="$AZ_BATCH_JOB_ID")],
        )
    )
    ended = wait_for(lambda: (found := client.job.get(job)).state.value == "completed" and found)
    assert ended.execution_info.terminate_reason == "JMComplete"
    assert b"".join(client.file.get_from_task(job, "manager", "stdout.txt")).decode() == f"{job}\n"


make_pool()
preparation_and_release()
manager()
client.pool.delete(NAME)
