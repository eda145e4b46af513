"""Models that pools, jobs and tasks share: what a process is given to run with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from .fields import (
    CommandLine,
    Duration,
    FileMode,
    Maybe,
    Model,
    NonEmpty,
    PropertyError,
    RetryCount,
    Secret,
    Since,
    Text,
    VariableName,
    WebUrl,
)


class MetadataItem(Model, kw_only=True):
    name: str
    value: str

    def __post_init__(self) -> None:
        if not self.name:
            raise PropertyError("name", "The name is empty.", "EmptyMetadataKey")


class NameValuePair(Model, kw_only=True):
    name: Maybe[str] = UNSET
    value: Maybe[str] = UNSET


class EnvironmentSetting(Model, kw_only=True):
    name: VariableName
    value: Maybe[Text] = UNSET


class ApplicationPackageReference(Model, kw_only=True):
    application_id: NonEmpty
    version: Maybe[str] = UNSET

    def __post_init__(self) -> None:
        self.application_id = self.application_id.lower()  # as the service answers with it


#: Most packages that a pool or a task may refer to.
PackageReferences = Annotated[list[ApplicationPackageReference], Meta(max_length=10)]


class AutoUser(Model, kw_only=True):
    scope: Maybe[Literal["pool", "task"]] = UNSET
    elevation_level: Maybe[Literal["nonadmin", "admin"]] = UNSET


class UserIdentity(Model, kw_only=True):
    """Who runs a process: a named user of the pool, or an automatic one."""

    username: Maybe[NonEmpty] = UNSET
    auto_user: Maybe[AutoUser] = UNSET

    def __post_init__(self) -> None:
        if (self.username is UNSET) == (self.auto_user is UNSET):
            raise PropertyError("username", "Exactly one of username and autoUser must be specified.")


class IdentityReference(Model, kw_only=True):
    resource_id: Maybe[str] = UNSET


class ResourceFile(Model, kw_only=True):
    """A file, or the files of a container, that a node downloads before a process starts."""

    http_url: Annotated[Maybe[WebUrl], Since("2018-12-01")] = UNSET
    storage_container_url: Annotated[Maybe[WebUrl], Since("2018-12-01")] = UNSET
    auto_storage_container_name: Annotated[Maybe[NonEmpty], Since("2018-12-01")] = UNSET
    blob_prefix: Annotated[Maybe[str], Since("2018-12-01")] = UNSET
    file_path: Maybe[Text] = UNSET
    file_mode: Annotated[Maybe[FileMode], Since("2016-02-01")] = UNSET
    identity_reference: Annotated[Maybe[IdentityReference], Since("2021-06-01")] = UNSET

    def __post_init__(self) -> None:
        sources = (self.http_url, self.storage_container_url, self.auto_storage_container_name)
        if sources.count(UNSET) != 2:
            raise PropertyError(
                "httpUrl",
                "Exactly one of httpUrl, storageContainerUrl and autoStorageContainerName must be specified.",
            )
        if self.http_url is not UNSET:
            if not self.file_path:
                raise PropertyError("filePath", "filePath is required with httpUrl.", "MissingRequiredProperty")
            if self.blob_prefix is not UNSET:
                raise PropertyError("blobPrefix", "blobPrefix is valid with a container only.")


class UploadHeader(Model, kw_only=True):
    name: NonEmpty
    value: Maybe[str] = UNSET


class OutputContainer(Model, kw_only=True):
    container_url: WebUrl
    path: Maybe[str] = UNSET
    identity_reference: Annotated[Maybe[IdentityReference], Since("2021-06-01")] = UNSET
    upload_headers: Annotated[Maybe[list[UploadHeader]], Since("2022-01-01")] = UNSET


class OutputDestination(Model, kw_only=True):
    container: OutputContainer


class OutputUploadOptions(Model, kw_only=True):
    upload_condition: Literal["tasksuccess", "taskfailure", "taskcompletion"]


class OutputFile(Model, kw_only=True):
    """Files that a node uploads after a task's process has ended."""

    file_pattern: NonEmpty
    destination: OutputDestination
    upload_options: OutputUploadOptions


class ContainerRegistry(Model, kw_only=True):
    registry_server: Maybe[str] = UNSET
    username: Maybe[str] = UNSET
    password: Annotated[Maybe[str], Secret()] = UNSET
    identity_reference: Annotated[Maybe[IdentityReference], Since("2021-06-01")] = UNSET


class ContainerMount(Model, kw_only=True):
    source: Maybe[Literal["Shared", "Startup", "VfsMounts", "Task", "JobPrep", "Applications"]] = UNSET
    is_read_only: Maybe[bool] = UNSET


class ContainerSettings(Model, kw_only=True):
    image_name: NonEmpty
    container_run_options: Maybe[str] = UNSET
    registry: Maybe[ContainerRegistry] = UNSET
    working_directory: Annotated[
        Maybe[Literal["taskWorkingDirectory", "containerImageDefault"]], Since("2019-06-01")
    ] = UNSET
    container_host_batch_bind_mounts: Annotated[Maybe[list[ContainerMount]], Since("2025-06-01")] = UNSET


class ContainerInfo(Model, kw_only=True):
    container_id: Maybe[str] = UNSET
    state: Maybe[str] = UNSET
    error: Maybe[str] = UNSET


class FailureInfo(Model, kw_only=True):
    category: Literal["usererror", "servererror"]
    code: Maybe[str] = UNSET
    message: Maybe[str] = UNSET
    details: Maybe[list[NameValuePair]] = UNSET


class Process(Model, kw_only=True):
    """What start, preparation, release, manager and ordinary tasks have in common."""

    command_line: CommandLine
    container_settings: Annotated[Maybe[ContainerSettings], Since("2017-09-01")] = UNSET
    resource_files: Maybe[list[ResourceFile]] = UNSET
    environment_settings: Maybe[list[EnvironmentSetting]] = UNSET
    user_identity: Annotated[Maybe[UserIdentity], Since("2017-01-01")] = UNSET

    def __post_init__(self) -> None:
        if not self.command_line and self.container_settings is UNSET:
            raise PropertyError("commandLine", "An empty command line is valid for container tasks only.")


class TaskConstraints(Model, kw_only=True):
    max_wall_clock_time: Maybe[Duration] = UNSET
    retention_time: Maybe[Duration] = UNSET
    max_task_retry_count: Maybe[RetryCount] = UNSET
