"""Models of tasks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from ...model.task import TaskResult, TaskState
from .common import (
    ContainerInfo,
    FailureInfo,
    OutputFile,
    PackageReferences,
    Process,
    ResourceFile,
    TaskConstraints,
)
from .fields import CommandLine, DisplayName, Id, Int32, Maybe, Model, Moment, PropertyError, Since, Until
from .statistics import TaskStatistics

#: Most tasks in one collection.
COLLECTION_LIMIT = 100
#: Most characters that the ids of a task's dependencies have in all, and so the ends of its ranges.
DEPENDENCIES_LIMIT = 64_000


def _require_order(start: int, end: int) -> None:
    if start > end:
        raise PropertyError("end", "The end of a range must not be less than its start.")


class ExitOptions(Model, kw_only=True):
    job_action: Maybe[Literal["none", "disable", "terminate"]] = UNSET
    dependency_action: Annotated[Maybe[Literal["satisfy", "block"]], Since("2017-01-01")] = UNSET


class ExitCodeMapping(Model, kw_only=True):
    code: Int32
    exit_options: ExitOptions


class ExitCodeRangeMapping(Model, kw_only=True):
    start: Int32
    end: Int32
    exit_options: ExitOptions

    def __post_init__(self) -> None:
        _require_order(self.start, self.end)


class ExitConditions(Model, kw_only=True):
    exit_codes: Maybe[list[ExitCodeMapping]] = UNSET
    exit_code_ranges: Maybe[list[ExitCodeRangeMapping]] = UNSET
    pre_processing_error: Annotated[Maybe[ExitOptions], Since("2017-05-01")] = UNSET
    file_upload_error: Annotated[Maybe[ExitOptions], Since("2017-05-01")] = UNSET
    default: Maybe[ExitOptions] = UNSET


class AffinityInfo(Model, kw_only=True):
    affinity_id: str


class MultiInstanceSettings(Model, kw_only=True):
    number_of_instances: Maybe[Annotated[int, Meta(ge=1, le=2**31 - 1)]] = UNSET
    #: May be empty: older versions do not require it.
    coordination_command_line: CommandLine
    common_resource_files: Maybe[list[ResourceFile]] = UNSET


class TaskIdRange(Model, kw_only=True):
    start: Int32
    end: Int32

    def __post_init__(self) -> None:
        _require_order(self.start, self.end)


class TaskDependencies(Model, kw_only=True):
    task_ids: Maybe[list[Id]] = UNSET
    task_id_ranges: Maybe[list[TaskIdRange]] = UNSET

    def __post_init__(self) -> None:
        if sum(map(len, self.task_ids or ())) > DEPENDENCIES_LIMIT:
            reason = f"The ids have more than {DEPENDENCIES_LIMIT} characters in all; specify ranges of ids."
            raise PropertyError("taskIds", reason, "TaskDependencyListTooLong")
        if sum(len(f"{each.start}{each.end}") for each in self.task_id_ranges or ()) > DEPENDENCIES_LIMIT:
            reason = f"The ranges have more than {DEPENDENCIES_LIMIT} characters in all."
            raise PropertyError("taskIdRanges", reason, "TaskDependencyRangesTooLong")


class AuthenticationTokenSettings(Model, kw_only=True):
    access: Maybe[list[Literal["job"]]] = UNSET


RequiredSlots = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class TaskSpecification(Process, kw_only=True):
    """What a task is made of, besides its id."""

    display_name: Maybe[DisplayName] = UNSET
    exit_conditions: Annotated[Maybe[ExitConditions], Since("2016-07-01")] = UNSET
    output_files: Annotated[Maybe[list[OutputFile]], Since("2017-05-01")] = UNSET
    affinity_info: Maybe[AffinityInfo] = UNSET
    constraints: Maybe[TaskConstraints] = UNSET
    required_slots: Annotated[Maybe[RequiredSlots], Since("2020-09-01")] = UNSET
    multi_instance_settings: Maybe[MultiInstanceSettings] = UNSET
    depends_on: Maybe[TaskDependencies] = UNSET
    application_package_references: Annotated[Maybe[PackageReferences], Since("2016-07-01")] = UNSET
    authentication_token_settings: Annotated[
        Maybe[AuthenticationTokenSettings], Since("2017-01-01"), Until("2024-02-01")
    ] = UNSET


class TaskAdd(TaskSpecification, kw_only=True):
    id: Id

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multi_instance_settings is not UNSET and self.required_slots is not UNSET and self.required_slots > 1:
            raise PropertyError("requiredSlots", "A multi-instance task takes one slot on each of its nodes.")


class TaskCollection(Model, kw_only=True):
    value: Annotated[list[TaskAdd], Meta(max_length=COLLECTION_LIMIT)]


class TaskUpdate(Model, kw_only=True):
    constraints: Maybe[TaskConstraints] = UNSET


class TaskExecutionInfo(Model, kw_only=True):
    start_time: Maybe[Moment] = UNSET
    end_time: Maybe[Moment] = UNSET
    exit_code: Maybe[int] = UNSET
    container_info: Annotated[Maybe[ContainerInfo], Since("2017-09-01")] = UNSET
    failure_info: Annotated[Maybe[FailureInfo], Since("2017-05-01")] = UNSET
    retry_count: int
    last_retry_time: Maybe[Moment] = UNSET
    requeue_count: int
    last_requeue_time: Maybe[Moment] = UNSET
    result: Annotated[Maybe[TaskResult], Since("2017-05-01")] = UNSET


class NodeInfo(Model, kw_only=True):
    affinity_id: Maybe[str] = UNSET
    node_url: Maybe[str] = UNSET
    pool_id: Maybe[str] = UNSET
    node_id: Maybe[str] = UNSET
    task_root_directory: Maybe[str] = UNSET
    task_root_directory_url: Maybe[str] = UNSET


class Task(TaskSpecification, kw_only=True):
    """A task as it is answered with."""

    id: str
    url: str
    e_tag: str
    last_modified: Moment
    creation_time: Moment
    state: TaskState
    state_transition_time: Moment
    previous_state: Maybe[TaskState] = UNSET
    previous_state_transition_time: Maybe[Moment] = UNSET
    execution_info: Maybe[TaskExecutionInfo] = UNSET
    node_info: Maybe[NodeInfo] = UNSET
    stats: Maybe[TaskStatistics] = UNSET


class ErrorMessage(Model, kw_only=True):
    lang: Maybe[str] = UNSET
    value: Maybe[str] = UNSET


class ErrorDetail(Model, kw_only=True):
    key: Maybe[str] = UNSET
    value: Maybe[str] = UNSET


class Error(Model, kw_only=True):
    code: Maybe[str] = UNSET
    message: Maybe[ErrorMessage] = UNSET
    values: Maybe[list[ErrorDetail]] = UNSET


class TaskAddResult(Model, kw_only=True):
    status: Literal["success", "clienterror", "servererror"]
    task_id: str
    e_tag: Maybe[str] = UNSET
    last_modified: Maybe[Moment] = UNSET
    location: Maybe[str] = UNSET
    error: Maybe[Error] = UNSET


class Subtask(Model, kw_only=True):
    id: Maybe[int] = UNSET
    node_info: Maybe[NodeInfo] = UNSET
    start_time: Maybe[Moment] = UNSET
    end_time: Maybe[Moment] = UNSET
    exit_code: Maybe[int] = UNSET
    container_info: Annotated[Maybe[ContainerInfo], Since("2017-09-01")] = UNSET
    failure_info: Annotated[Maybe[FailureInfo], Since("2017-05-01")] = UNSET
    state: Maybe[Literal["preparing", "running", "completed"]] = UNSET
    state_transition_time: Maybe[Moment] = UNSET
    previous_state: Maybe[Literal["preparing", "running", "completed"]] = UNSET
    previous_state_transition_time: Maybe[Moment] = UNSET
    result: Annotated[Maybe[TaskResult], Since("2017-05-01")] = UNSET


class TaskCounts(Model, kw_only=True):
    active: int
    running: int
    completed: int
    succeeded: int
    failed: int


class TaskCountsResult(Model, kw_only=True):
    task_counts: TaskCounts
    task_slot_counts: TaskCounts
