"""Statistics, for azure-batch from 2.0.0 to 14.2.0, run in the environment of each.

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
NOTHING = datetime.timedelta()

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


client.pool.add(
    models.PoolAddParameter(
        id=NAME,
        vm_size="STANDARD_A1_v2",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server"),
            node_agent_sku_id="batch.node.ubuntu 24.04",
        ),
        **{"target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes": 1},
    )
)
specification = models.JobSpecification(pool_info=models.PoolInformation(pool_id=NAME))
client.job_schedule.add(
    models.JobScheduleAddParameter(id=NAME, schedule=models.Schedule(), job_specification=specification)
)
job_id = wait_for(lambda: (info := client.job_schedule.get(NAME).execution_info.recent_job) and info.id)
count = "/bin/sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit %d'"
retries = models.TaskConstraints(max_task_retry_count=1)
client.task.add(job_id, models.TaskAddParameter(id="good", command_line=count % 0))
client.task.add(job_id, models.TaskAddParameter(id="bad", command_line=count % 1, constraints=retries))
wait_for(lambda: all(str(task.state).endswith("completed") for task in client.task.list(job_id)))

# a task
assert client.task.get(job_id, "good").stats is None
good = client.task.get(job_id, "good", task_get_options=models.TaskGetOptions(expand="stats")).stats
assert good.user_cpu_time > NOTHING, good.user_cpu_time
assert good.wall_clock_time >= NOTHING
assert good.wait_time >= NOTHING
assert good.url.endswith(f"/jobs/{job_id}/tasks/good?$expand=stats"), good.url
tasks = list(client.task.list(job_id, task_list_options=models.TaskListOptions(expand="stats")))
assert [task.id for task in tasks if task.stats.user_cpu_time > NOTHING] == ["good", "bad"]

# its job and the job schedule: the same numbers, added up
job = client.job.get(job_id, job_get_options=models.JobGetOptions(expand="stats")).stats
schedule = client.job_schedule.get(NAME, job_schedule_get_options=models.JobScheduleGetOptions(expand="stats")).stats
for stats in (job, schedule):
    assert stats.user_cpu_time == sum((task.stats.user_cpu_time for task in tasks), NOTHING)
    assert stats.wall_clock_time == sum((task.stats.wall_clock_time for task in tasks), NOTHING)
    assert stats.read_iops == sum(task.stats.read_iops for task in tasks)
    assert (stats.num_succeeded_tasks, stats.num_failed_tasks, stats.num_task_retries) == (1, 1, 1)
listed = [each for each in client.job.list(job_list_options=models.JobListOptions(expand="stats")) if each.id == job_id]
assert listed[0].stats.num_failed_tasks == 1
listed = client.job.list_from_job_schedule(
    NAME, job_list_from_job_schedule_options=models.JobListFromJobScheduleOptions(expand="stats")
)
assert [each.stats.num_failed_tasks for each in listed] == [1]
options = models.JobScheduleListOptions(expand="stats")
listed = client.job_schedule.list(job_schedule_list_options=options)
assert [each.stats.num_failed_tasks for each in listed if each.id == NAME] == [1]

# the pool
pool = client.pool.get(NAME, pool_get_options=models.PoolGetOptions(expand="stats")).stats
assert pool.usage_stats.dedicated_core_time > NOTHING
listed = client.pool.list(pool_list_options=models.PoolListOptions(expand="stats"))
assert all(each.stats.usage_stats.dedicated_core_time > NOTHING for each in listed if each.id == NAME)
metrics = [each for each in client.pool.list_usage_metrics() if each.pool_id == NAME]
assert metrics
assert metrics[-1].total_core_hours > 0
assert metrics[-1].vm_size == "standard_a1_v2"

# the account
if VERSION < (13, 0):
    assert client.job.get_all_lifetime_statistics().num_succeeded_tasks >= 1
    assert client.pool.get_all_lifetime_statistics().usage_stats.dedicated_core_time > NOTHING
