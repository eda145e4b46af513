"""Models of compute nodes, of their counts, and of files."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from millpond.common.clock import from_iso

from ...model.pool import DeallocationOption, NodeState, SchedulingState, StartTaskState
from ...model.task import TaskResult, TaskState
from .common import ContainerInfo, FailureInfo, IdentityReference, NameValuePair
from .fields import (
    USER_NAME,
    Maybe,
    Model,
    Moment,
    NonEmpty,
    Password,
    PropertyError,
    PublicKey,
    Since,
    Until,
    wire_name,
)
from .pools import CertificateReference, ImageReference, StartTask, VmExtension
from .tasks import TaskExecutionInfo


class NodeReboot(Model, kw_only=True):
    node_reboot_option: Maybe[DeallocationOption] = UNSET


class NodeReimage(Model, kw_only=True):
    node_reimage_option: Maybe[DeallocationOption] = UNSET


class NodeDeallocate(Model, kw_only=True):
    node_deallocate_option: Maybe[DeallocationOption] = UNSET


class NodeDisableScheduling(Model, kw_only=True):
    node_disable_scheduling_option: Maybe[Literal["requeue", "terminate", "taskcompletion"]] = UNSET


def _check_moments(model: Model, *names: str) -> None:
    """Raises :class:`PropertyError` for a text that is no time."""
    for name in names:
        if (text := getattr(model, name)) is not UNSET:
            try:
                from_iso(text)
            except ValueError:
                raise PropertyError(wire_name(name), "The value is not an ISO 8601 time.") from None


class NodeUserAdd(Model, kw_only=True):
    name: Annotated[str, Meta(pattern=USER_NAME)]
    is_admin: Maybe[bool] = UNSET
    expiry_time: Maybe[Moment] = UNSET
    password: Maybe[Password] = UNSET
    ssh_public_key: Annotated[Maybe[PublicKey], Since("2016-02-01")] = UNSET

    def __post_init__(self) -> None:
        _check_moments(self, "expiry_time")


class NodeUserUpdate(Model, kw_only=True):
    expiry_time: Maybe[Moment] = UNSET
    password: Maybe[Password] = UNSET
    ssh_public_key: Annotated[Maybe[PublicKey], Since("2016-02-01")] = UNSET

    def __post_init__(self) -> None:
        _check_moments(self, "expiry_time")


class RemoteLoginSettings(Model, kw_only=True):
    remote_login_ip_address: str
    remote_login_port: int
    ipv6_remote_login_ip_address: Annotated[Maybe[str], Since("2025-06-01")] = UNSET
    ipv6_remote_login_port: Annotated[Maybe[int], Since("2025-06-01")] = UNSET


class ServiceLogsUpload(Model, kw_only=True):
    container_url: NonEmpty
    start_time: Moment
    end_time: Maybe[Moment] = UNSET
    identity_reference: Annotated[Maybe[IdentityReference], Since("2021-06-01")] = UNSET

    def __post_init__(self) -> None:
        _check_moments(self, "start_time", "end_time")


class ServiceLogsUploaded(Model, kw_only=True):
    virtual_directory_name: str
    number_of_files_uploaded: int


class InstanceViewStatus(Model, kw_only=True):
    code: Maybe[str] = UNSET
    display_status: Maybe[str] = UNSET
    level: Maybe[Literal["Error", "Info", "Warning"]] = UNSET
    message: Maybe[str] = UNSET
    time: Maybe[Moment] = UNSET


class VmExtensionInstanceView(Model, kw_only=True):
    name: Maybe[str] = UNSET
    statuses: Maybe[list[InstanceViewStatus]] = UNSET
    sub_statuses: Maybe[list[InstanceViewStatus]] = UNSET


class NodeVmExtension(Model, kw_only=True):
    provisioning_state: Maybe[str] = UNSET
    vm_extension: Maybe[VmExtension] = UNSET
    instance_view: Maybe[VmExtensionInstanceView] = UNSET


class NodeError(Model, kw_only=True):
    code: Maybe[str] = UNSET
    message: Maybe[str] = UNSET
    error_details: Maybe[list[NameValuePair]] = UNSET


class InboundEndpoint(Model, kw_only=True):
    name: str
    protocol: Literal["tcp", "udp"]
    public_ip_address: str
    public_fqdn: str
    frontend_port: int
    backend_port: int


class NodeEndpointConfiguration(Model, kw_only=True):
    inbound_endpoints: list[InboundEndpoint]


class NodeAgentInfo(Model, kw_only=True):
    version: str
    last_update_time: Moment


class VirtualMachineInfo(Model, kw_only=True):
    image_reference: Maybe[ImageReference] = UNSET
    scale_set_vm_resource_id: Annotated[Maybe[str], Since("2023-11-01")] = UNSET


class StartTaskInfo(Model, kw_only=True):
    state: StartTaskState
    start_time: Moment
    end_time: Maybe[Moment] = UNSET
    exit_code: Maybe[int] = UNSET
    container_info: Annotated[Maybe[ContainerInfo], Since("2017-09-01")] = UNSET
    failure_info: Annotated[Maybe[FailureInfo], Since("2017-05-01")] = UNSET
    retry_count: int
    last_retry_time: Maybe[Moment] = UNSET
    result: Annotated[Maybe[TaskResult], Since("2017-05-01")] = UNSET


class RecentTask(Model, kw_only=True):
    task_url: Maybe[str] = UNSET
    job_id: Maybe[str] = UNSET
    task_id: Maybe[str] = UNSET
    subtask_id: Maybe[int] = UNSET
    task_state: TaskState
    execution_info: Maybe[TaskExecutionInfo] = UNSET


class Node(Model, kw_only=True):
    id: str
    url: str
    state: NodeState
    scheduling_state: Maybe[SchedulingState] = UNSET
    state_transition_time: Moment
    last_boot_time: Maybe[Moment] = UNSET
    allocation_time: Moment
    ip_address: str
    ipv6_address: Annotated[str, Since("2025-06-01")]
    affinity_id: str
    vm_size: str
    total_tasks_run: int
    running_tasks_count: Annotated[Maybe[int], Since("2016-02-01")] = UNSET
    running_task_slots_count: Annotated[Maybe[int], Since("2020-09-01")] = UNSET
    total_tasks_succeeded: Annotated[Maybe[int], Since("2016-02-01")] = UNSET
    recent_tasks: Maybe[list[RecentTask]] = UNSET
    start_task: Maybe[StartTask] = UNSET
    start_task_info: Maybe[StartTaskInfo] = UNSET
    certificate_references: Annotated[Maybe[list[CertificateReference]], Until("2024-02-01")] = UNSET
    errors: Maybe[list[NodeError]] = UNSET
    is_dedicated: Annotated[Maybe[bool], Since("2017-05-01")] = UNSET
    endpoint_configuration: Annotated[Maybe[NodeEndpointConfiguration], Since("2017-06-01")] = UNSET
    node_agent_info: Annotated[Maybe[NodeAgentInfo], Since("2018-08-01")] = UNSET
    virtual_machine_info: Annotated[Maybe[VirtualMachineInfo], Since("2021-06-01")] = UNSET


class NodeCounts(Model, kw_only=True):
    """How many nodes are in each state; spelled as properties, unlike the states."""

    creating: int = 0
    idle: int = 0
    leaving_pool: int = 0
    offline: int = 0
    preempted: int = 0
    rebooting: int = 0
    reimaging: int = 0
    running: int = 0
    starting: int = 0
    start_task_failed: int = 0
    unknown: int = 0
    unusable: int = 0
    waiting_for_start_task: int = 0
    upgrading_os: Annotated[int, Since("2024-02-01")] = 0
    deallocated: Annotated[int, Since("2025-06-01")] = 0
    deallocating: Annotated[int, Since("2025-06-01")] = 0
    total: int = 0


class PoolNodeCounts(Model, kw_only=True):
    pool_id: str
    dedicated: Maybe[NodeCounts] = UNSET
    low_priority: Maybe[NodeCounts] = UNSET


class FileProperties(Model, kw_only=True):
    creation_time: Maybe[Moment] = UNSET
    last_modified: Moment
    #: A 64-bit number, and those are text on the wire.
    content_length: str
    content_type: Maybe[str] = UNSET
    file_mode: Annotated[Maybe[str], Since("2016-02-01")] = UNSET


class NodeFile(Model, kw_only=True):
    name: Maybe[str] = UNSET
    url: Maybe[str] = UNSET
    is_directory: Maybe[bool] = UNSET
    properties: Maybe[FileProperties] = UNSET
