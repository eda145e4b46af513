"""Dependencies and exit conditions by an azure-batch of the first generation, in its own environment.

Takes the id of a pool from its command line, and the account from the environment. Ends with 0, or with what was not
as it should be.
"""

import importlib.metadata
import os
import sys
import time

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

VERSION = tuple(int(part) for part in importlib.metadata.version("azure-batch").split(".")[:2])
JOB = "job-{}-{}".format(*VERSION)
UNSTARTED = "scheduling_error" if VERSION < (3, 0) else "pre_processing_error"

credentials = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
client = BatchServiceClient(credentials, base_url=os.environ["BATCH_ACCOUNT_URL"])


def task(task_id, command="true", *ids, **options):
    if ids:
        options["depends_on"] = models.TaskDependencies(task_ids=list(ids))
    return models.TaskAddParameter(id=task_id, command_line=command, **options)


def completed(*task_ids):
    end = time.monotonic() + 60
    while True:
        tasks = [client.task.get(JOB, task_id) for task_id in task_ids]
        if all(task.state.value == "completed" for task in tasks):
            return tasks
        assert time.monotonic() < end, [(task.id, task.state) for task in tasks]
        time.sleep(0.05)


def dependencies():
    client.job.add(
        models.JobAddParameter(
            id=JOB,
            pool_info=models.PoolInformation(pool_id=sys.argv[1]),
            uses_task_dependencies=True,
            on_task_failure=models.OnTaskFailure.perform_exit_options_job_action,
        )
    )
    none = models.ExitOptions(job_action=models.JobAction.none, dependency_action=models.DependencyAction.satisfy)
    conditions = models.ExitConditions(
        exit_codes=[models.ExitCodeMapping(code=3, exit_options=none)], **{UNSTARTED: none}
    )
    both = models.TaskDependencies(task_ids=["3"], task_id_ranges=[models.TaskIdRange(start=1, end=2)])
    client.task.add_collection(
        JOB,
        [
            task("last", depends_on=both),
            task("1"),
            task("2", "/bin/sh -c 'exit 3'", exit_conditions=conditions),
            task("3", "/no/such/program", exit_conditions=conditions),
        ],
    )
    one, two, three, last = completed("1", "2", "3", "last")
    first_ends = max(each.execution_info.end_time for each in (one, two, three))
    assert last.execution_info.start_time >= first_ends
    assert last.depends_on.task_ids == ["3"]
    assert [(each.start, each.end) for each in last.depends_on.task_id_ranges] == [(1, 2)]
    assert two.exit_conditions.exit_codes[0].exit_options.job_action == models.JobAction.none
    answered = getattr(two.exit_conditions, UNSTARTED)
    assert answered.dependency_action == models.DependencyAction.satisfy
    assert client.job.get(JOB).uses_task_dependencies is True


def job_actions():
    client.task.add(JOB, task("fails", "/bin/sh -c 'exit 4'"))
    end = time.monotonic() + 60
    while client.job.get(JOB).state.value != "completed":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert client.job.get(JOB).execution_info.terminate_reason == "TaskFailed"


def refusals():
    client.job.add(models.JobAddParameter(id=f"{JOB}-plain", pool_info=models.PoolInformation(pool_id=sys.argv[1])))
    try:
        client.task.add(f"{JOB}-plain", task("a", "true", "b"))
    except models.BatchErrorException as refused:
        assert refused.error.code == "TaskDependenciesNotSpecifiedOnJob", refused.error.code
        assert refused.response.status_code == 400
    else:
        raise AssertionError("dependencies were taken by a job that has none")


dependencies()
job_actions()
refusals()
