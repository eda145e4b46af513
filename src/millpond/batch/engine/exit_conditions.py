"""Which of a task's exit conditions its end meets, and what follows for its job and its dependents."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import error
from ..model.exit_conditions import DependencyAction, ExitConditions, ExitOptions, JobAction
from ..model.job import Job, OnTaskFailure
from ..model.task import Failure, Task, TaskResult

_BY_DEFAULT = ExitOptions()


def job_action(task: Task) -> JobAction:
    """What a completed task asks of its job, where the job performs its tasks' exit options."""
    by_default = JobAction.NONE if task.result is TaskResult.SUCCESS else JobAction.TERMINATE
    return _options_met(task).job_action or by_default


def satisfies(task: Task) -> bool:
    """Whether the end of a completed task lets those that depend on it go on."""
    by_default = DependencyAction.SATISFY if task.result is TaskResult.SUCCESS else DependencyAction.BLOCK
    return (_options_met(task).dependency_action or by_default) is DependencyAction.SATISFY


def _options_met(task: Task) -> ExitOptions:
    """The options of the first clause that covers the task's end; no later clause adds to them.

    An exit code that is listed covers the end even where the upload of files failed after it. The default covers
    every other failure, also of a task that was ended from outside, and never a success.
    """
    conditions = task.exit_conditions
    if conditions is None:
        return _BY_DEFAULT
    if task.exit_code is not None:
        for code, options in conditions.exit_codes:
            if code == task.exit_code:
                return options
        for first, last, options in conditions.exit_code_ranges:
            if first <= task.exit_code <= last:
                return options
    if task.result is TaskResult.SUCCESS:
        return _BY_DEFAULT
    return _clause_for(task.failure, conditions) or conditions.default or _BY_DEFAULT


def _clause_for(failure: Failure | None, conditions: ExitConditions) -> ExitOptions | None:
    """The clause for a kind of failure, if it has one."""
    if failure is None or failure.code in ("FailureExitCode", "TaskEnded"):
        return None
    if failure.code.startswith("FileUpload"):
        return conditions.file_upload_error
    return conditions.pre_processing_error


def require_effective(job: Job, conditions: ExitConditions | None) -> None:
    """Raise ``InvalidPropertyValue`` where a task of the job asks for what the job never does."""
    if conditions is None:
        return
    for place, options in _clauses(conditions):
        if options.job_action is not None and job.on_task_failure is OnTaskFailure.NO_ACTION:
            reason = "The job's onTaskFailure is noaction"
            raise _ineffective(f"{place}.jobAction", options.job_action, reason)
        if options.dependency_action is not None and not job.uses_task_dependencies:
            reason = "The job does not use task dependencies"
            raise _ineffective(f"{place}.dependencyAction", options.dependency_action, reason)


def _ineffective(name: str, value: str, reason: str) -> Exception:
    return error(
        "InvalidPropertyValue",
        ("PropertyName", f"exitConditions.{name}"),
        ("PropertyValue", str(value)),
        ("Reason", reason),
    )


def _clauses(conditions: ExitConditions) -> Iterator[tuple[str, ExitOptions]]:
    """The options of all clauses, and where they stand in the specification."""
    for index, (_, options) in enumerate(conditions.exit_codes):
        yield f"exitCodes[{index}].exitOptions", options
    for index, (_, _, options) in enumerate(conditions.exit_code_ranges):
        yield f"exitCodeRanges[{index}].exitOptions", options
    for name, clause in (
        ("preProcessingError", conditions.pre_processing_error),
        ("fileUploadError", conditions.file_upload_error),
        ("default", conditions.default),
    ):
        if clause is not None:
            yield name, clause
