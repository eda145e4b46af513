"""The parts of tasks' and pools' documents that their nodes read, in the newest API version's form."""

from __future__ import annotations

import msgspec


class AutoUser(msgspec.Struct, frozen=True, rename="camel"):
    scope: str | None = None
    elevation_level: str | None = None


class UserIdentity(msgspec.Struct, frozen=True, rename="camel"):
    """A name, or an auto-user."""

    username: str | None = None
    auto_user: AutoUser | None = None


class LinuxUserConfiguration(msgspec.Struct, frozen=True):
    uid: int | None = None
    gid: int | None = None


class UserAccount(msgspec.Struct, frozen=True, rename="camel"):
    """One of a pool's ``userAccounts``; passwords are of no use here and not read."""

    name: str
    elevation_level: str | None = None
    linux_user_configuration: LinuxUserConfiguration | None = None


class EnvironmentSetting(msgspec.Struct, frozen=True):
    name: str
    value: str | None = None


class ResourceFile(msgspec.Struct, frozen=True, rename="camel"):
    http_url: str | None = None
    storage_container_url: str | None = None
    auto_storage_container_name: str | None = None
    blob_prefix: str | None = None
    file_path: str | None = None
    file_mode: str | None = None


class ApplicationPackageReference(msgspec.Struct, frozen=True, rename="camel"):
    application_id: str
    version: str | None = None


class CertificateReference(msgspec.Struct, frozen=True, rename="camel"):
    thumbprint: str
    visibility: list[str] | None = None


class UploadHeader(msgspec.Struct, frozen=True):
    name: str
    value: str | None = None


class OutputContainer(msgspec.Struct, frozen=True, rename="camel"):
    container_url: str
    path: str | None = None
    upload_headers: list[UploadHeader] | None = None


class OutputDestination(msgspec.Struct, frozen=True):
    container: OutputContainer


class OutputUploadOptions(msgspec.Struct, frozen=True, rename="camel"):
    upload_condition: str


class OutputFile(msgspec.Struct, frozen=True, rename="camel"):
    file_pattern: str
    destination: OutputDestination
    upload_options: OutputUploadOptions

    def is_due(self, exit_code: int) -> bool:
        """Whether it is to be uploaded after a process that ended so."""
        return self.upload_options.upload_condition.lower() in (
            "taskcompletion",
            "taskfailure" if exit_code else "tasksuccess",
        )


class MultiInstanceSettings(msgspec.Struct, frozen=True, rename="camel"):
    coordination_command_line: str = ""
    common_resource_files: list[ResourceFile] | None = None


class ContainerRegistry(msgspec.Struct, frozen=True, rename="camel"):
    registry_server: str | None = None
    username: str | None = None
    password: str | None = None


class ContainerMount(msgspec.Struct, frozen=True, rename="camel"):
    source: str | None = None
    is_read_only: bool | None = None


class ContainerSettings(msgspec.Struct, frozen=True, rename="camel"):
    image_name: str
    container_run_options: str | None = None
    registry: ContainerRegistry | None = None
    working_directory: str | None = None
    container_host_batch_bind_mounts: list[ContainerMount] | None = None


class ContainerConfiguration(msgspec.Struct, frozen=True, rename="camel"):
    container_image_names: list[str] | None = None
    container_registries: list[ContainerRegistry] | None = None


class TaskDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What a task and a start task have in common."""

    command_line: str = ""
    resource_files: list[ResourceFile] | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    output_files: list[OutputFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    user_identity: UserIdentity | None = None
    container_settings: ContainerSettings | None = None
    multi_instance_settings: MultiInstanceSettings | None = None

    def environment(self) -> dict[str, str]:
        return {setting.name: setting.value or "" for setting in self.environment_settings or ()}


class StartTaskDocument(TaskDocument, frozen=True, rename="camel"):
    max_task_retry_count: int | None = None


class AzureBlobMount(msgspec.Struct, frozen=True, rename="camel"):
    account_name: str
    container_name: str
    relative_mount_path: str
    account_key: str | None = None
    sas_key: str | None = None
    blobfuse_options: str | None = None


class AzureFileShareMount(msgspec.Struct, frozen=True, rename="camel"):
    account_name: str
    azure_file_url: str
    account_key: str
    relative_mount_path: str
    mount_options: str | None = None


class NfsMount(msgspec.Struct, frozen=True, rename="camel"):
    source: str
    relative_mount_path: str
    mount_options: str | None = None


class CifsMount(msgspec.Struct, frozen=True, rename="camel"):
    username: str
    source: str
    relative_mount_path: str
    password: str
    mount_options: str | None = None


class MountConfiguration(msgspec.Struct, frozen=True, rename="camel"):
    """One of them."""

    azure_blob_file_system_configuration: AzureBlobMount | None = None
    azure_file_share_configuration: AzureFileShareMount | None = None
    nfs_mount_configuration: NfsMount | None = None
    cifs_mount_configuration: CifsMount | None = None


class _VirtualMachineConfiguration(msgspec.Struct, frozen=True, rename="camel"):
    container_configuration: ContainerConfiguration | None = None


class PoolDocument(msgspec.Struct, frozen=True, rename="camel"):
    start_task: StartTaskDocument | None = None
    certificate_references: list[CertificateReference] | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    user_accounts: list[UserAccount] | None = None
    mount_configuration: list[MountConfiguration] | None = None
    virtual_machine_configuration: _VirtualMachineConfiguration | None = None

    @property
    def needs_preparation(self) -> bool:
        """Whether nodes must fetch or mount anything before their start task."""
        fetched = (self.certificate_references, self.application_package_references, self.mount_configuration)
        return any(fetched) or self.container_configuration is not None

    @property
    def container_configuration(self) -> ContainerConfiguration | None:
        machines = self.virtual_machine_configuration
        return machines.container_configuration if machines else None


decode_task = msgspec.json.Decoder(TaskDocument).decode
decode_pool = msgspec.json.Decoder(PoolDocument).decode
