"""What a job runs besides the tasks that clients add: how a request says it, and what the job keeps of it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from millpond.common.clock import MINUTE
from millpond.common.durations import format_duration, parse_duration

from ..errors import error
from ..model.job import ManagerTask, PreparationTask, ReleaseTask
from .constraints import RETENTION, read_constraints
from .wire import jobs as wire
from .wire.codec import encode
from .wire.tasks import TaskAdd

_RELEASE_LIMIT = 15 * MINUTE


def job_document(specification: wire.JobSpecification) -> dict[str, Any]:
    """The members of a job, with those of its own tasks that have defaults filled in."""
    document: dict[str, Any] = msgspec.to_builtins(specification)
    preparation, release, manager = read_tasks(specification)
    if preparation is not None:
        document["jobPreparationTask"] |= {
            "id": preparation.id,
            "waitForSuccess": preparation.wait_for_success,
            "rerunOnNodeRebootAfterSuccess": preparation.rerun_on_node_reboot_after_success,
            "constraints": _constraints(preparation),
        }
    if release is not None:
        document["jobReleaseTask"] |= {
            "id": release.id,
            "maxWallClockTime": format_duration(release.max_wall_clock_time),
            "retentionTime": format_duration(release.retention_time),
        }
    if manager is not None:
        document["jobManagerTask"] |= {
            "killJobOnCompletion": manager.kill_job_on_completion,
            "runExclusive": manager.run_exclusive,
            "allowLowPriorityNode": manager.allow_low_priority_node,
            "requiredSlots": manager.required_slots,
        }
    return document


def read_tasks(
    specification: wire.JobSpecification,
) -> tuple[PreparationTask | None, ReleaseTask | None, ManagerTask | None]:
    """The preparation, release and manager task that a request specifies. Raises ``InvalidPropertyValue``."""
    preparation, release, manager = (
        specification.job_preparation_task,
        specification.job_release_task,
        specification.job_manager_task,
    )
    found = (
        None if preparation is UNSET else _preparation(preparation),
        None if release is UNSET else _release(release),
        None if manager is UNSET else _manager(manager),
    )
    if release is not UNSET and preparation is UNSET:
        reason = "A job release task needs a job preparation task."
        raise error("InvalidPropertyValue", ("PropertyName", "jobReleaseTask"), ("Reason", reason))
    keys = [task.key for task in found if task is not None]
    for name, task in zip(("jobReleaseTask", "jobManagerTask"), found[1:], strict=True):
        if task is not None and keys.count(task.key) > 1:
            raise error(
                "InvalidPropertyValue",
                ("PropertyName", f"{name}.id"),
                ("PropertyValue", task.id),
                ("Reason", "The job has another task of this id."),
            )
    return found


def _preparation(task: wire.JobPreparationTask) -> PreparationTask:
    retries, wall_clock, retention = read_constraints(task.constraints or None)
    return PreparationTask(
        id=task.id or wire.PREPARATION_ID,
        wait_for_success=task.wait_for_success is not False,
        rerun_on_node_reboot_after_success=task.rerun_on_node_reboot_after_success is not False,
        max_task_retry_count=retries or 0,
        max_wall_clock_time=wall_clock,
        retention_time=retention,
    )


def _release(task: wire.JobReleaseTask) -> ReleaseTask:
    wall_clock, retention = task.max_wall_clock_time, task.retention_time
    return ReleaseTask(
        id=task.id or wire.RELEASE_ID,
        max_wall_clock_time=_RELEASE_LIMIT if wall_clock is UNSET else parse_duration(wall_clock),
        retention_time=RETENTION if retention is UNSET else parse_duration(retention),
    )


#: Members of a job manager task that are not those of any task.
_OF_MANAGERS = {"killJobOnCompletion", "runExclusive", "allowLowPriorityNode"}


def _manager(task: wire.JobManagerTask) -> ManagerTask:
    retries, wall_clock, retention = read_constraints(task.constraints or None)
    members = {name: value for name, value in msgspec.to_builtins(task).items() if name not in _OF_MANAGERS}
    return ManagerTask(
        id=task.id,
        document=encode(msgspec.convert(members, TaskAdd)),
        kill_job_on_completion=task.kill_job_on_completion is not False,
        run_exclusive=task.run_exclusive is not False,
        allow_low_priority_node=task.allow_low_priority_node is not False,
        required_slots=task.required_slots or 1,
        max_task_retry_count=retries,
        max_wall_clock_time=wall_clock,
        retention_time=retention,
    )


def _constraints(task: PreparationTask) -> dict[str, Any]:
    return {
        "maxWallClockTime": format_duration(task.max_wall_clock_time),
        "retentionTime": format_duration(task.retention_time),
        "maxTaskRetryCount": task.max_task_retry_count,
    }
