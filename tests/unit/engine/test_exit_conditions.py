from __future__ import annotations

from typing import Any

import pytest
from tests.simulation.client import make_task
from tests.unit.engine.bench import Bench

from millpond.batch.engine.exit_conditions import job_action, satisfies
from millpond.batch.engine.messages import JobDisableRequested, TasksAddRequested, TaskTerminateRequested
from millpond.batch.model.exit_conditions import DependencyAction, ExitConditions, ExitOptions, JobAction
from millpond.batch.model.job import DisableTasks, JobState, OnTaskFailure
from millpond.batch.model.task import ErrorCategory, Failure, Task, TaskResult, TaskState
from millpond.common.errors import ServiceError

PERFORMED = OnTaskFailure.PERFORM_EXIT_OPTIONS_JOB_ACTION
SATISFY, BLOCK = DependencyAction.SATISFY, DependencyAction.BLOCK
NONE, DISABLE, TERMINATE = JobAction

NOTHING = ExitConditions()
#: One answer for each clause, so that it can be told which one was taken.
ALL = ExitConditions(
    exit_codes=((0, ExitOptions(DISABLE, BLOCK)), (3, ExitOptions(NONE, SATISFY))),
    exit_code_ranges=((2, 5, ExitOptions(DISABLE, SATISFY)), (5, 9, ExitOptions(NONE, BLOCK))),
    pre_processing_error=ExitOptions(DISABLE, SATISFY),
    file_upload_error=ExitOptions(NONE, SATISFY),
    default=ExitOptions(NONE, BLOCK),
)
ONLY_DEFAULT = ExitConditions(default=ExitOptions(NONE, SATISFY))

EXIT_CODE = "FailureExitCode"


def ended(conditions: ExitConditions | None, code: int | None, failure: str | None) -> Task:
    return Task(
        job="job",
        key="task",
        id="task",
        seq=0,
        state=TaskState.COMPLETED,
        state_transition_time=0,
        creation_time=0,
        last_modified=0,
        max_wall_clock_time=0,
        retention_time=0,
        exit_code=code,
        result=TaskResult.SUCCESS if failure is None else TaskResult.FAILURE,
        failure=None if failure is None else Failure(ErrorCategory.USER_ERROR, failure, "It failed."),
        exit_conditions=conditions,
    )


@pytest.mark.parametrize(
    ("conditions", "code", "failure", "action", "goes_on"),
    [
        # by default
        (None, 0, None, NONE, True),
        (None, 1, EXIT_CODE, TERMINATE, False),
        (None, None, "CommandProgramNotFound", TERMINATE, False),
        (None, 0, "FileUploadMiscError", TERMINATE, False),
        (NOTHING, 0, None, NONE, True),
        (NOTHING, 1, EXIT_CODE, TERMINATE, False),
        # a code goes before a range, the first range before the second
        (ALL, 3, EXIT_CODE, NONE, True),
        (ALL, 2, EXIT_CODE, DISABLE, True),
        (ALL, 5, EXIT_CODE, DISABLE, True),
        (ALL, 9, EXIT_CODE, NONE, False),
        # what else went wrong
        (ALL, None, "BlobAccessDenied", DISABLE, True),
        (ALL, None, "CommandProgramNotFound", DISABLE, True),
        (ALL, 10, EXIT_CODE, NONE, False),
        (ALL, None, "TaskEnded", NONE, False),
        (ALL, -9, "TaskEnded", NONE, False),
        # a listed code goes before a failed upload
        (ALL, 0, "FileUploadMiscError", DISABLE, False),
        (ALL, 4, "FileUploadMiscError", DISABLE, True),
        (ALL, 77, "FileUploadAccessDenied", NONE, True),
        # a success is what it is, unless it is listed
        (ALL, 0, None, DISABLE, False),
        (ONLY_DEFAULT, 0, None, NONE, True),
        (ExitConditions(default=ExitOptions(TERMINATE, BLOCK)), 0, None, NONE, True),
        # the default covers what has no clause of its own
        (ONLY_DEFAULT, 1, EXIT_CODE, NONE, True),
        (ONLY_DEFAULT, None, "ResourceDirectoryCreateFailed", NONE, True),
        (ONLY_DEFAULT, 0, "FileUploadTimedOut", NONE, True),
        (ONLY_DEFAULT, None, "TaskEnded", NONE, True),
        # an option that a clause leaves out is as it is by default, whatever the default clause says
        (
            ExitConditions(((1, ExitOptions(DISABLE)),), default=ExitOptions(NONE, SATISFY)),
            1,
            EXIT_CODE,
            DISABLE,
            False,
        ),
        (ExitConditions(((0, ExitOptions(None, BLOCK)),)), 0, None, NONE, False),
        (ExitConditions(((0, ExitOptions(TERMINATE)),)), 0, None, TERMINATE, True),
    ],
)
def test_options_of_the_condition_that_is_met(
    conditions: ExitConditions | None, code: int | None, failure: str | None, action: JobAction, goes_on: bool
) -> None:
    task = ended(conditions, code, failure)
    assert job_action(task) is action
    assert satisfies(task) is goes_on


# --- what becomes of the job


def bench_with_job(**fields: Any) -> Bench:
    bench = Bench()
    bench.pool(nodes=1, slots=4)
    bench.job(**{"on_task_failure": PERFORMED, **fields})
    return bench


def with_default(action: JobAction) -> ExitConditions:
    return ExitConditions(default=ExitOptions(action))


def test_failed_task_terminates_its_job_by_default() -> None:
    bench = bench_with_job()
    bench.tasks("a", "b")
    bench.end("a", code=1, may_retry=False)
    job = bench.job_record()
    assert (job.state, job.terminate_reason) == (JobState.COMPLETED, "TaskFailed")


def test_failed_task_leaves_its_job_alone_where_it_says_so() -> None:
    bench = bench_with_job()
    bench.tasks("a", exit_conditions=with_default(NONE))
    bench.end("a", code=1)
    assert bench.job_record().state is JobState.ACTIVE


def test_failed_task_disables_its_job_and_requeues_the_others() -> None:
    bench = bench_with_job()
    bench.tasks("a", exit_conditions=with_default(DISABLE))
    bench.tasks("b")
    bench.end("a", code=1)
    assert bench.job_record().state is JobState.DISABLING
    assert bench.job_record().disable_tasks is DisableTasks.REQUEUE
    bench.do(bench.stopped_event("b"))
    assert bench.job_record().state is JobState.DISABLED
    assert (bench.task("b").state, bench.task("b").requeue_count) == (TaskState.ACTIVE, 1)


def test_task_that_fails_while_its_job_is_being_disabled_leaves_the_option_alone() -> None:
    bench = bench_with_job()
    bench.tasks("a", exit_conditions=with_default(DISABLE))
    bench.tasks("b")
    bench.do(JobDisableRequested(job="job", disable_tasks=DisableTasks.WAIT))
    bench.end("a", code=1)
    assert bench.job_record().disable_tasks is DisableTasks.WAIT
    bench.end("b")
    assert bench.job_record().state is JobState.DISABLED


def test_success_ends_its_job_where_its_code_says_so() -> None:
    bench = bench_with_job()
    bench.tasks("a", exit_conditions=ExitConditions(((0, ExitOptions(TERMINATE)),)))
    bench.end("a")
    assert bench.job_record().terminate_reason == "TaskFailed"


def test_retries_are_over_before_the_job_hears_of_it() -> None:
    bench = bench_with_job()
    bench.tasks("a", max_task_retry_count=1)
    bench.end("a", code=1)
    assert bench.job_record().state is JobState.ACTIVE
    bench.end("a", code=1)
    assert bench.job_record().state is JobState.COMPLETED


def test_task_that_a_user_ends_asks_nothing_of_its_job() -> None:
    bench = bench_with_job()
    bench.tasks("a")
    bench.do(TaskTerminateRequested(job="job", task="a"))
    assert bench.job_record().state is JobState.ACTIVE


# --- refusals


@pytest.mark.parametrize(
    ("conditions", "name", "value"),
    [
        (with_default(TERMINATE), "exitConditions.default.jobAction", "terminate"),
        (
            ExitConditions(((1, ExitOptions()), (2, ExitOptions(NONE)))),
            "exitConditions.exitCodes[1].exitOptions.jobAction",
            "none",
        ),
        (
            ExitConditions(exit_code_ranges=((1, 2, ExitOptions(None, BLOCK)),)),
            "exitConditions.exitCodeRanges[0].exitOptions.dependencyAction",
            "block",
        ),
        (
            ExitConditions(pre_processing_error=ExitOptions(None, SATISFY)),
            "exitConditions.preProcessingError.dependencyAction",
            "satisfy",
        ),
        (
            ExitConditions(file_upload_error=ExitOptions(DISABLE)),
            "exitConditions.fileUploadError.jobAction",
            "disable",
        ),
    ],
)
def test_actions_that_the_job_never_performs_are_refused(conditions: ExitConditions, name: str, value: str) -> None:
    bench = Bench()
    bench.job()
    bench.job("obliging", on_task_failure=PERFORMED, uses_task_dependencies=True)
    given = make_task("a", exit_conditions=conditions)
    (reply,) = bench.do(TasksAddRequested(job="job", tasks=[given]))
    assert isinstance(reply, ServiceError)
    assert (reply.status, reply.code) == (400, "InvalidPropertyValue")
    assert reply.details[:2] == (("PropertyName", name), ("PropertyValue", value))
    (reply,) = bench.do(TasksAddRequested(job="obliging", tasks=[given]))
    assert isinstance(reply, Task)
