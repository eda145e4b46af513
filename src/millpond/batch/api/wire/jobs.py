"""Models of jobs."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta

from millpond.common.clock import MINUTE
from millpond.common.durations import parse_duration

from ...model.job import DisableTasks, JobState, OnAllTasksComplete, OnTaskFailure, PoolLifetime
from ...model.job_node import JobTaskState
from ...model.task import TaskResult
from .common import (
    ContainerInfo,
    EnvironmentSetting,
    FailureInfo,
    MetadataItem,
    OutputFile,
    PackageReferences,
    Process,
    TaskConstraints,
)
from .fields import (
    DisplayName,
    Duration,
    Id,
    Maybe,
    Model,
    Moment,
    PoolIdPrefix,
    PropertyError,
    RetryCount,
    Since,
    Until,
)
from .pools import PoolSpecification, require_one_machine
from .statistics import JobStatistics
from .tasks import AuthenticationTokenSettings, RequiredSlots

#: The ids of tasks that are given none.
PREPARATION_ID, RELEASE_ID = "jobpreparation", "jobrelease"


class JobConstraints(Model, kw_only=True):
    max_wall_clock_time: Maybe[Duration] = UNSET
    max_task_retry_count: Maybe[RetryCount] = UNSET


class JobManagerTask(Process, kw_only=True):
    id: Id
    display_name: Maybe[DisplayName] = UNSET
    output_files: Annotated[Maybe[list[OutputFile]], Since("2017-05-01")] = UNSET
    constraints: Maybe[TaskConstraints] = UNSET
    required_slots: Annotated[Maybe[RequiredSlots], Since("2020-09-01")] = UNSET
    kill_job_on_completion: Maybe[bool] = UNSET
    run_exclusive: Maybe[bool] = UNSET
    application_package_references: Annotated[Maybe[PackageReferences], Since("2016-07-01")] = UNSET
    authentication_token_settings: Annotated[
        Maybe[AuthenticationTokenSettings], Since("2017-01-01"), Until("2024-02-01")
    ] = UNSET
    allow_low_priority_node: Annotated[Maybe[bool], Since("2017-05-01")] = UNSET


class JobPreparationTask(Process, kw_only=True):
    id: Maybe[Id] = UNSET
    constraints: Maybe[TaskConstraints] = UNSET
    wait_for_success: Maybe[bool] = UNSET
    rerun_on_node_reboot_after_success: Maybe[bool] = UNSET


class JobReleaseTask(Process, kw_only=True):
    id: Maybe[Id] = UNSET
    max_wall_clock_time: Maybe[Duration] = UNSET
    retention_time: Maybe[Duration] = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.max_wall_clock_time, str) and parse_duration(self.max_wall_clock_time) > 15 * MINUTE:
            raise PropertyError("maxWallClockTime", "A job release task may run for 15 minutes at most.")


class AutoPoolSpecification(Model, kw_only=True):
    auto_pool_id_prefix: Maybe[PoolIdPrefix] = UNSET
    pool_lifetime_option: PoolLifetime
    keep_alive: Maybe[bool] = UNSET
    pool: Maybe[PoolSpecification] = UNSET

    def __post_init__(self) -> None:
        if self.pool is not UNSET:
            require_one_machine(self.pool, "pool.")


class PoolInfo(Model, kw_only=True):
    pool_id: Maybe[Id] = UNSET
    auto_pool_specification: Maybe[AutoPoolSpecification] = UNSET

    def __post_init__(self) -> None:
        if (self.pool_id is UNSET) == (self.auto_pool_specification is UNSET):
            raise PropertyError("poolId", "Exactly one of poolId and autoPoolSpecification must be specified.")


class JobNetworkConfiguration(Model, kw_only=True):
    subnet_id: str
    skip_withdraw_from_vnet: Annotated[Maybe[bool], Since("2025-06-01")] = UNSET


Priority = Annotated[int, Meta(ge=-1000, le=1000)]
#: -1: without limit.
ParallelTasks = Annotated[int, Meta(ge=-1, le=2**31 - 1)]


class JobChange(Model, kw_only=True):
    """The members of a job that may be changed."""

    priority: Maybe[Priority] = UNSET
    max_parallel_tasks: Annotated[Maybe[ParallelTasks], Since("2021-06-01")] = UNSET
    allow_task_preemption: Annotated[Maybe[bool], Since("2022-01-01")] = UNSET
    on_all_tasks_complete: Annotated[Maybe[OnAllTasksComplete], Since("2016-07-01")] = UNSET
    constraints: Maybe[JobConstraints] = UNSET
    metadata: Maybe[list[MetadataItem]] = UNSET

    def __post_init__(self) -> None:
        if self.max_parallel_tasks == 0:
            raise PropertyError("maxParallelTasks", "The value must be -1 or greater than 0.")


class JobPatch(JobChange, kw_only=True):
    pool_info: Maybe[PoolInfo] = UNSET
    network_configuration: Annotated[Maybe[JobNetworkConfiguration], Since("2025-06-01")] = UNSET


class JobUpdate(JobChange, kw_only=True):
    pool_info: PoolInfo
    max_parallel_tasks: Annotated[Maybe[ParallelTasks], Since("2025-06-01")] = UNSET


class JobSpecification(JobChange, kw_only=True):
    """What a job is made of, besides its id."""

    display_name: Maybe[DisplayName] = UNSET
    uses_task_dependencies: Maybe[bool] = UNSET
    job_manager_task: Maybe[JobManagerTask] = UNSET
    job_preparation_task: Maybe[JobPreparationTask] = UNSET
    job_release_task: Maybe[JobReleaseTask] = UNSET
    common_environment_settings: Maybe[list[EnvironmentSetting]] = UNSET
    on_task_failure: Annotated[Maybe[OnTaskFailure], Since("2016-07-01")] = UNSET
    pool_info: PoolInfo
    network_configuration: Annotated[Maybe[JobNetworkConfiguration], Since("2018-12-01")] = UNSET


class JobAdd(JobSpecification, kw_only=True):
    id: Id


class JobExecutionInfo(Model, kw_only=True):
    start_time: Moment
    end_time: Maybe[Moment] = UNSET
    pool_id: Maybe[str] = UNSET
    scheduling_error: Maybe[FailureInfo] = UNSET
    terminate_reason: Maybe[str] = UNSET


class Job(JobSpecification, kw_only=True):
    """A job as it is answered with."""

    id: str
    url: str
    e_tag: str
    last_modified: Moment
    creation_time: Moment
    state: JobState
    state_transition_time: Moment
    previous_state: Maybe[JobState] = UNSET
    previous_state_transition_time: Maybe[Moment] = UNSET
    execution_info: Maybe[JobExecutionInfo] = UNSET
    stats: Maybe[JobStatistics] = UNSET


class JobPreparationTaskExecutionInfo(Model, kw_only=True):
    start_time: Moment
    end_time: Maybe[Moment] = UNSET
    state: JobTaskState
    task_root_directory: Maybe[str] = UNSET
    task_root_directory_url: Maybe[str] = UNSET
    exit_code: Maybe[int] = UNSET
    container_info: Annotated[Maybe[ContainerInfo], Since("2017-09-01")] = UNSET
    failure_info: Annotated[Maybe[FailureInfo], Since("2017-05-01")] = UNSET
    retry_count: int
    last_retry_time: Maybe[Moment] = UNSET
    result: Annotated[Maybe[TaskResult], Since("2017-05-01")] = UNSET


class JobReleaseTaskExecutionInfo(Model, kw_only=True):
    start_time: Moment
    end_time: Maybe[Moment] = UNSET
    state: JobTaskState
    task_root_directory: Maybe[str] = UNSET
    task_root_directory_url: Maybe[str] = UNSET
    exit_code: Maybe[int] = UNSET
    container_info: Annotated[Maybe[ContainerInfo], Since("2017-09-01")] = UNSET
    failure_info: Annotated[Maybe[FailureInfo], Since("2017-05-01")] = UNSET
    result: Annotated[Maybe[TaskResult], Since("2017-05-01")] = UNSET


class JobPreparationAndReleaseTaskStatus(Model, kw_only=True):
    """How the two stand on one node."""

    pool_id: str
    node_id: str
    node_url: str
    job_preparation_task_execution_info: Maybe[JobPreparationTaskExecutionInfo] = UNSET
    job_release_task_execution_info: Maybe[JobReleaseTaskExecutionInfo] = UNSET


class JobTerminate(Model, kw_only=True):
    terminate_reason: Maybe[str] = UNSET


class JobDisable(Model, kw_only=True):
    disable_tasks: DisableTasks
