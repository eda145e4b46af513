"""Job schedules and pools made for jobs, for every azure-batch from 2.0.0 to 14.2.0, run in the environment of each.

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
HOUR = datetime.timedelta(hours=1)

credentials = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
url = os.environ["BATCH_ACCOUNT_URL"]
client = BatchServiceClient(credentials, **{"base_url" if VERSION < (6, 0) else "batch_url": url})


def refusal(code, call, *args):
    try:
        call(*args)
    except models.BatchErrorException as refused:
        assert refused.error.code == code, (refused.error.code, refused.error.message.value)
    else:
        raise AssertionError(f"{call} was not refused with {code}")


def wait_for(what, seconds=60):
    """The first true value that ``what`` gives."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)
    return value


def pool_specification():
    options = {"target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes": 1}
    return models.PoolSpecification(
        vm_size="STANDARD_A1_v2",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server"),
            node_agent_sku_id="batch.node.ubuntu 24.04",
        ),
        **options,
    )


def auto_pool(lifetime, **options):
    specification = models.AutoPoolSpecification(
        pool_lifetime_option=lifetime, auto_pool_id_prefix=NAME[:20], pool=pool_specification(), **options
    )
    return models.PoolInformation(auto_pool_specification=specification)


def ended(job_id):
    client.job.terminate(job_id)
    return wait_for(lambda: (j := client.job.get(job_id)).state.value == "completed" and j)


def job_with_a_pool():
    job_id = f"{NAME}-own"
    client.job.add(models.JobAddParameter(id=job_id, pool_info=auto_pool("job")))
    job = client.job.get(job_id)
    assert job.pool_info.pool_id is None
    assert job.pool_info.auto_pool_specification.pool_lifetime_option.value.lower() == "job"
    assert job.pool_info.auto_pool_specification.keep_alive is False
    pool_id = job.execution_info.pool_id
    assert pool_id.startswith(f"{NAME[:20]}_")
    assert client.pool.get(pool_id).vm_size == "standard_a1_v2"
    ended(job_id)
    wait_for(lambda: not client.pool.exists(pool_id))


def schedule():
    schedule_id = f"{NAME}-schedule"
    specification = models.JobSpecification(
        pool_info=auto_pool("jobschedule"),
        priority=3,
        common_environment_settings=[models.EnvironmentSetting(name="A", value="b")],
    )
    until = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
    timetable = models.Schedule(do_not_run_until=until, recurrence_interval=HOUR, start_window=HOUR)
    client.job_schedule.add(
        models.JobScheduleAddParameter(id=schedule_id, schedule=timetable, job_specification=specification)
    )
    assert client.job_schedule.exists(schedule_id) is True
    assert client.job_schedule.exists("nowhere") is False
    refusal("JobScheduleNotFound", client.job_schedule.get, "nowhere")
    found = client.job_schedule.get(schedule_id)
    assert (found.id, found.state.value, found.job_specification.priority) == (schedule_id, "active", 3)
    assert found.schedule.recurrence_interval == HOUR
    assert found.execution_info.next_run_time == until
    assert not list(client.job.list_from_job_schedule(schedule_id))
    listed = client.job_schedule.list(models.JobScheduleListOptions(filter=f"id eq '{schedule_id}'", max_results=1))
    assert [each.id for each in listed] == [schedule_id]
    client.job_schedule.disable(schedule_id)
    assert client.job_schedule.get(schedule_id).state.value == "disabled"
    client.job_schedule.enable(schedule_id)
    client.job_schedule.patch(
        schedule_id, models.JobSchedulePatchParameter(schedule=models.Schedule(recurrence_interval=HOUR))
    )
    [job] = client.job.list_from_job_schedule(schedule_id)
    assert (job.id, job.priority) == (f"{schedule_id}:job-1", 3)
    assert job.common_environment_settings[0].value == "b"
    found = client.job_schedule.get(schedule_id)
    assert found.execution_info.recent_job.id == job.id
    client.task.add(job.id, models.TaskAddParameter(id="t", command_line="/bin/sh -c 'echo $AZ_BATCH_JOB_ID'"))
    task = wait_for(lambda: (t := client.task.get(job.id, "t")).state.value == "completed" and t)
    assert task.node_info.task_root_directory == f"workitems/{schedule_id}/job-1/t"
    assert b"".join(client.file.get_from_task(job.id, "t", "stdout.txt")).decode().strip() == job.id
    replacement = models.JobScheduleUpdateParameter(schedule=found.schedule, job_specification=found.job_specification)
    client.job_schedule.update(schedule_id, replacement)
    client.job_schedule.terminate(schedule_id)
    wait_for(lambda: client.job_schedule.get(schedule_id).state.value == "completed")
    assert client.job.get(job.id).execution_info.terminate_reason == "TerminateJobSchedule"
    wait_for(lambda: not client.pool.exists(job.execution_info.pool_id))
    refusal("JobScheduleCompleted", client.job_schedule.enable, schedule_id)
    client.job_schedule.delete(schedule_id)
    wait_for(lambda: not client.job_schedule.exists(schedule_id))
    refusal("JobNotFound", client.job.get, job.id)


job_with_a_pool()
schedule()
