"""Models of pools."""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta

from millpond.common.clock import MINUTE
from millpond.common.durations import parse_duration

from ...model.pool import AllocationState, DeallocationOption, FillType, PoolState
from .common import ContainerRegistry, IdentityReference, MetadataItem, NameValuePair, PackageReferences
from .common import Process as _Process
from .fields import (
    DisplayName,
    Duration,
    EndpointName,
    Id,
    Int32,
    Maybe,
    Model,
    Moment,
    MountPath,
    Natural,
    NonEmpty,
    Opaque,
    PropertyError,
    RetryCount,
    Secret,
    Since,
    StorageAccountName,
    Until,
    wire_name,
)
from .scaling import AutoScaleRun
from .statistics import PoolStatistics

Slots = Annotated[int, Meta(ge=1, le=256)]


class StartTask(_Process, kw_only=True):
    max_task_retry_count: Maybe[RetryCount] = UNSET
    wait_for_success: Maybe[bool] = UNSET


# --- images and machines -----------------------------------------------------------------------------------------


class ImageReference(Model, kw_only=True):
    publisher: Maybe[str] = UNSET
    offer: Maybe[str] = UNSET
    sku: Maybe[str] = UNSET
    version: Maybe[str] = UNSET
    virtual_machine_image_id: Annotated[Maybe[str], Since("2017-09-01")] = UNSET
    exact_version: Annotated[Maybe[str], Since("2021-06-01")] = UNSET
    shared_gallery_image_id: Annotated[Maybe[str], Since("2025-06-01")] = UNSET
    community_gallery_image_id: Annotated[Maybe[str], Since("2025-06-01")] = UNSET


class WindowsConfiguration(Model, kw_only=True):
    enable_automatic_updates: Maybe[bool] = UNSET


class DiskEncryptionSet(Model, kw_only=True):
    id: Maybe[str] = UNSET


class DiskSecurityProfile(Model, kw_only=True):
    security_encryption_type: Maybe[Literal["DiskWithVMGuestState", "NonPersistedTPM", "VMGuestStateOnly"]] = UNSET


class ManagedDisk(Model, kw_only=True):
    storage_account_type: Maybe[Literal["standard_lrs", "premium_lrs", "standardssd_lrs"]] = UNSET
    disk_encryption_set: Annotated[Maybe[DiskEncryptionSet], Since("2025-06-01")] = UNSET
    security_profile: Annotated[Maybe[DiskSecurityProfile], Since("2025-06-01")] = UNSET


Caching = Literal["none", "readonly", "readwrite"]


class DataDisk(Model, kw_only=True):
    lun: Annotated[int, Meta(ge=0, le=63)]
    disk_size_gb: Natural
    caching: Maybe[Caching] = UNSET
    managed_disk: Annotated[Maybe[ManagedDisk], Since("2025-06-01")] = UNSET


class EphemeralDiskSettings(Model, kw_only=True):
    placement: Maybe[Literal["cachedisk"]] = UNSET


class OsDisk(Model, kw_only=True):
    caching: Annotated[Maybe[Caching], Since("2023-11-01")] = UNSET
    disk_size_gb: Annotated[Maybe[Natural], Since("2023-11-01")] = UNSET
    ephemeral_os_disk_settings: Maybe[EphemeralDiskSettings] = UNSET
    managed_disk: Annotated[Maybe[ManagedDisk], Since("2023-11-01")] = UNSET
    write_accelerator_enabled: Annotated[Maybe[bool], Since("2023-11-01")] = UNSET


class DiskCustomerManagedKey(Model, kw_only=True):
    identity_reference: Maybe[IdentityReference] = UNSET
    key_url: Maybe[str] = UNSET
    rotation_to_latest_key_version_enabled: Maybe[bool] = UNSET


class DiskEncryptionConfiguration(Model, kw_only=True):
    targets: Maybe[list[Literal["osdisk", "temporarydisk"]]] = UNSET
    customer_managed_key: Annotated[Maybe[DiskCustomerManagedKey], Since("2025-06-01")] = UNSET


class ContainerConfiguration(Model, kw_only=True):
    type: Literal["dockerCompatible", "criCompatible"]
    container_image_names: Maybe[list[str]] = UNSET
    container_registries: Maybe[list[ContainerRegistry]] = UNSET


class VmExtension(Model, kw_only=True):
    name: NonEmpty
    publisher: str
    type: str
    type_handler_version: Maybe[str] = UNSET
    auto_upgrade_minor_version: Maybe[bool] = UNSET
    enable_automatic_upgrade: Annotated[Maybe[bool], Since("2023-05-01")] = UNSET
    settings: Maybe[Any] = UNSET
    protected_settings: Annotated[Maybe[Any], Secret()] = UNSET
    provision_after_extensions: Maybe[list[str]] = UNSET


class NodePlacementConfiguration(Model, kw_only=True):
    policy: Maybe[Literal["regional", "zonal"]] = UNSET


class HostEndpointSettings(Model, kw_only=True):
    in_vm_access_control_profile_reference_id: Maybe[str] = UNSET
    mode: Maybe[Literal["Audit", "Enforce"]] = UNSET


class ProxyAgentSettings(Model, kw_only=True):
    enabled: Maybe[bool] = UNSET
    imds: Maybe[HostEndpointSettings] = UNSET
    wire_server: Maybe[HostEndpointSettings] = UNSET


class UefiSettings(Model, kw_only=True):
    secure_boot_enabled: Maybe[bool] = UNSET
    v_tpm_enabled: Maybe[bool] = UNSET


class SecurityProfile(Model, kw_only=True):
    encryption_at_host: Maybe[bool] = UNSET
    security_type: Maybe[Literal["trustedLaunch", "confidentialvm"]] = UNSET
    uefi_settings: Maybe[UefiSettings] = UNSET
    proxy_agent_settings: Annotated[Maybe[ProxyAgentSettings], Since("2025-06-01")] = UNSET


class ServiceArtifactReference(Model, kw_only=True):
    id: str


class VirtualMachineConfiguration(Model, kw_only=True):
    image_reference: ImageReference
    node_agent_sku_id: NonEmpty
    windows_configuration: Maybe[WindowsConfiguration] = UNSET
    data_disks: Annotated[Maybe[list[DataDisk]], Since("2017-09-01")] = UNSET
    license_type: Annotated[Maybe[str], Since("2017-09-01")] = UNSET
    container_configuration: Annotated[Maybe[ContainerConfiguration], Since("2017-09-01")] = UNSET
    disk_encryption_configuration: Annotated[Maybe[DiskEncryptionConfiguration], Since("2020-03-01")] = UNSET
    node_placement_configuration: Annotated[Maybe[NodePlacementConfiguration], Since("2021-06-01")] = UNSET
    extensions: Annotated[Maybe[list[VmExtension]], Since("2021-06-01")] = UNSET
    os_disk: Annotated[Maybe[OsDisk], Since("2021-06-01")] = UNSET
    security_profile: Annotated[Maybe[SecurityProfile], Since("2023-11-01")] = UNSET
    service_artifact_reference: Annotated[Maybe[ServiceArtifactReference], Since("2023-11-01")] = UNSET


class CloudServiceConfiguration(Model, kw_only=True):
    os_family: NonEmpty
    os_version: Maybe[str] = UNSET


# --- network -----------------------------------------------------------------------------------------------------


class NetworkSecurityGroupRule(Model, kw_only=True):
    priority: Annotated[int, Meta(ge=150, le=4096)]
    access: Literal["allow", "deny"]
    source_address_prefix: str
    source_port_ranges: Annotated[Maybe[list[str]], Since("2019-06-01")] = UNSET

    def __post_init__(self) -> None:
        prefix = self.source_address_prefix
        if prefix != "*" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9.]*", prefix):
            try:
                ipaddress.ip_network(prefix, strict=False)
            except ValueError:
                raise PropertyError("sourceAddressPrefix", "It is neither an address, a subnet, a tag nor *.") from None
        ranges = sorted(_port_range(text) for text in self.source_port_ranges or [])
        if any(end >= start for (_, end), (start, _) in itertools.pairwise(ranges)):
            raise PropertyError("sourcePortRanges", "Ranges of ports must not overlap.")


def _port_range(text: str) -> tuple[int, int]:
    """The first and last port of ``*``, ``22`` or ``100-200``."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", "0-65535" if text == "*" else text)
    start, end = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not start <= end <= 65535:
        raise PropertyError("sourcePortRanges", "A range is a port, two ports with a hyphen between, or *.")
    return start, end


Port = Annotated[int, Meta(ge=1, le=65535)]


#: What the nodes' agents have on Azure, and what Azure keeps for itself.
_RESERVED_BACKEND = frozenset((29876, 29877))
_RESERVED_FRONTEND = range(50000, 55001)
_LEAST_PORTS, _MOST_NAT_POOLS, _MOST_RULES = 40, 5, 25


class InboundNatPool(Model, kw_only=True):
    name: EndpointName
    protocol: Literal["tcp", "udp"]
    backend_port: Port
    frontend_port_range_start: Port
    frontend_port_range_end: Port
    network_security_group_rules: Maybe[list[NetworkSecurityGroupRule]] = UNSET

    def __post_init__(self) -> None:
        start, end = self.frontend_port_range_start, self.frontend_port_range_end
        if self.protocol == "udp":
            raise PropertyError("protocol", "Only TCP is forwarded to nodes.", "UnsupportedProperty")
        if self.backend_port in _RESERVED_BACKEND:
            raise PropertyError("backendPort", "The ports 29876 and 29877 are reserved.")
        if end > 65534:
            raise PropertyError("frontendPortRangeEnd", "A frontend port is at most 65534.")
        if end - start + 1 < _LEAST_PORTS:
            raise PropertyError("frontendPortRangeEnd", f"A range has at least {_LEAST_PORTS} ports.")
        if start < _RESERVED_FRONTEND.stop and end >= _RESERVED_FRONTEND.start:
            raise PropertyError("frontendPortRangeStart", "The ports from 50000 to 55000 are reserved.")


class PoolEndpointConfiguration(Model, kw_only=True):
    inbound_nat_pools: Annotated[list[InboundNatPool], Meta(max_length=_MOST_NAT_POOLS)]

    def __post_init__(self) -> None:
        pools = self.inbound_nat_pools
        ranges = sorted((pool.frontend_port_range_start, pool.frontend_port_range_end) for pool in pools)
        rules = [rule for pool in pools for rule in pool.network_security_group_rules or []]
        for is_wrong, reason in (
            (_repeats([pool.name.lower() for pool in pools]), "Names must be unique within a pool."),
            (_repeats([pool.backend_port for pool in pools]), "Backend ports must be unique within a pool."),
            (
                any(end >= start for (_, end), (start, _) in itertools.pairwise(ranges)),
                "Ranges of frontend ports must not overlap.",
            ),
            (len(rules) > _MOST_RULES, f"A pool has at most {_MOST_RULES} rules."),
            (_repeats([rule.priority for rule in rules]), "Priorities of rules must be unique within a pool."),
        ):
            if is_wrong:
                raise PropertyError("inboundNATPools", reason)


def _repeats(values: list[Any]) -> bool:
    return len(set(values)) < len(values)


class IpTag(Model, kw_only=True):
    ip_tag_type: Maybe[str] = UNSET
    tag: Maybe[str] = UNSET


class PublicIpAddressConfiguration(Model, kw_only=True):
    provision: Maybe[Literal["batchmanaged", "usermanaged", "nopublicipaddresses"]] = UNSET
    ip_address_ids: Maybe[list[str]] = UNSET
    ip_families: Annotated[Maybe[list[Literal["IPv4", "IPv6"]]], Since("2025-06-01")] = UNSET
    ip_tags: Annotated[Maybe[list[IpTag]], Since("2025-06-01")] = UNSET


class NetworkConfiguration(Model, kw_only=True):
    subnet_id: Maybe[str] = UNSET
    dynamic_vnet_assignment_scope: Annotated[Maybe[Literal["none", "job"]], Since("2018-12-01")] = UNSET
    endpoint_configuration: Annotated[Maybe[PoolEndpointConfiguration], Since("2017-06-01")] = UNSET
    public_ip_address_configuration: Annotated[Maybe[PublicIpAddressConfiguration], Since("2020-03-01")] = UNSET
    enable_accelerated_networking: Annotated[Maybe[bool], Since("2023-05-01")] = UNSET

    def __post_init__(self) -> None:
        addresses = self.public_ip_address_configuration
        if self.endpoint_configuration and addresses and addresses.provision == "nopublicipaddresses":
            raise PropertyError("endpointConfiguration", "A pool without public addresses has no inbound endpoints.")


# --- mounts, users, the rest -------------------------------------------------------------------------------------


class AzureBlobMount(Model, kw_only=True):
    account_name: StorageAccountName
    container_name: NonEmpty
    relative_mount_path: MountPath
    account_key: Annotated[Maybe[str], Secret()] = UNSET
    sas_key: Annotated[Maybe[str], Secret()] = UNSET
    blobfuse_options: Maybe[str] = UNSET
    identity_reference: Annotated[Maybe[IdentityReference], Since("2021-06-01")] = UNSET

    def __post_init__(self) -> None:
        given = [each for each in (self.account_key, self.sas_key, self.identity_reference) if each is not UNSET]
        if len(given) != 1:
            raise PropertyError(
                "accountKey", "Exactly one of accountKey, sasKey and identityReference must be specified."
            )


class AzureFileShareMount(Model, kw_only=True):
    account_name: NonEmpty
    azure_file_url: NonEmpty
    account_key: Annotated[str, Secret()]
    relative_mount_path: MountPath
    mount_options: Maybe[str] = UNSET


class NfsMount(Model, kw_only=True):
    source: NonEmpty
    relative_mount_path: MountPath
    mount_options: Maybe[str] = UNSET


class CifsMount(Model, kw_only=True):
    username: NonEmpty
    source: NonEmpty
    relative_mount_path: MountPath
    password: Annotated[str, Secret()]
    mount_options: Maybe[str] = UNSET


class MountConfiguration(Model, kw_only=True):
    azure_blob_file_system_configuration: Maybe[AzureBlobMount] = UNSET
    azure_file_share_configuration: Maybe[AzureFileShareMount] = UNSET
    nfs_mount_configuration: Maybe[NfsMount] = UNSET
    cifs_mount_configuration: Maybe[CifsMount] = UNSET

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not UNSET for name in self.__struct_fields__) != 1:
            raise PropertyError(
                "azureBlobFileSystemConfiguration", "Exactly one kind of file system must be specified."
            )


def _check_mounts(mounts: Maybe[list[MountConfiguration]]) -> None:
    """No two file systems have the same place."""
    paths: set[str] = set()
    for mount in mounts or []:
        for name in mount.__struct_fields__:
            if (kind := getattr(mount, name)) is not UNSET:
                if kind.relative_mount_path in paths:
                    raise PropertyError("mountConfiguration", "Each relativeMountPath must be specified only once.")
                paths.add(kind.relative_mount_path)


class LinuxUserConfiguration(Model, kw_only=True):
    uid: Maybe[Natural] = UNSET
    gid: Maybe[Natural] = UNSET
    ssh_private_key: Annotated[Maybe[str], Secret()] = UNSET

    def __post_init__(self) -> None:
        if (self.uid is UNSET) != (self.gid is UNSET):
            raise PropertyError("uid", "uid and gid must be specified together or not at all.")


class WindowsUserConfiguration(Model, kw_only=True):
    login_mode: Maybe[Literal["batch", "interactive"]] = UNSET


class UserAccount(Model, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=20)]
    password: Annotated[str, Secret()]
    elevation_level: Maybe[Literal["nonadmin", "admin"]] = UNSET
    linux_user_configuration: Annotated[Maybe[LinuxUserConfiguration], Since("2017-05-01")] = UNSET
    windows_user_configuration: Annotated[Maybe[WindowsUserConfiguration], Since("2018-12-01")] = UNSET


class CertificateReference(Model, kw_only=True):
    thumbprint: str
    thumbprint_algorithm: str
    store_location: Maybe[Literal["currentuser", "localmachine"]] = UNSET
    store_name: Maybe[str] = UNSET
    visibility: Maybe[list[Literal["starttask", "task", "remoteuser"]]] = UNSET


class TaskSchedulingPolicy(Model, kw_only=True):
    node_fill_type: FillType
    job_default_order: Annotated[Maybe[Literal["none", "creationtime"]], Since("2025-06-01")] = UNSET


class AutomaticOsUpgradePolicy(Model, kw_only=True):
    disable_automatic_rollback: Maybe[bool] = UNSET
    enable_automatic_os_upgrade: Maybe[bool] = UNSET
    os_rolling_upgrade_deferral: Maybe[bool] = UNSET
    use_rolling_upgrade_policy: Maybe[bool] = UNSET


class RollingUpgradePolicy(Model, kw_only=True):
    enable_cross_zone_upgrade: Maybe[bool] = UNSET
    max_batch_instance_percent: Maybe[Int32] = UNSET
    max_unhealthy_instance_percent: Maybe[Int32] = UNSET
    max_unhealthy_upgraded_instance_percent: Maybe[Int32] = UNSET
    pause_time_between_batches: Maybe[Duration] = UNSET
    prioritize_unhealthy_instances: Maybe[bool] = UNSET
    rollback_failed_instances_on_policy_breach: Maybe[bool] = UNSET


class UpgradePolicy(Model, kw_only=True):
    mode: Literal["automatic", "manual", "rolling"]
    automatic_os_upgrade_policy: Maybe[AutomaticOsUpgradePolicy] = UNSET
    rolling_upgrade_policy: Maybe[RollingUpgradePolicy] = UNSET


NodeCommunicationMode = Literal["default", "classic", "simplified"]


# --- pools -------------------------------------------------------------------------------------------------------


def _check_resize_timeout(value: object) -> None:
    if isinstance(value, str) and parse_duration(value) < 5 * MINUTE:
        raise PropertyError("resizeTimeout", "The resize timeout must be at least 5 minutes.")


class PoolSpecification(Model, kw_only=True):
    """What a pool and the pool of a job have in common."""

    display_name: Maybe[DisplayName] = UNSET
    vm_size: NonEmpty
    virtual_machine_configuration: Annotated[Maybe[VirtualMachineConfiguration], Since("2016-02-01")] = UNSET
    cloud_service_configuration: Annotated[
        Maybe[CloudServiceConfiguration], Since("2016-02-01"), Until("2024-02-01")
    ] = UNSET
    resize_timeout: Maybe[Duration] = UNSET
    target_dedicated_nodes: Annotated[Maybe[Natural], Since("2017-05-01")] = UNSET
    target_low_priority_nodes: Annotated[Maybe[Natural], Since("2017-05-01")] = UNSET
    enable_auto_scale: Maybe[bool] = UNSET
    auto_scale_formula: Maybe[str] = UNSET
    auto_scale_evaluation_interval: Maybe[Duration] = UNSET
    enable_inter_node_communication: Maybe[bool] = UNSET
    network_configuration: Annotated[Maybe[NetworkConfiguration], Since("2016-07-01")] = UNSET
    start_task: Maybe[StartTask] = UNSET
    certificate_references: Annotated[Maybe[list[CertificateReference]], Until("2024-02-01")] = UNSET
    application_package_references: Maybe[PackageReferences] = UNSET
    application_licenses: Annotated[Maybe[list[str]], Since("2017-05-01"), Until("2024-02-01")] = UNSET
    task_slots_per_node: Annotated[Maybe[Slots], Since("2020-09-01")] = UNSET
    task_scheduling_policy: Maybe[TaskSchedulingPolicy] = UNSET
    user_accounts: Annotated[Maybe[list[UserAccount]], Since("2017-01-01")] = UNSET
    metadata: Maybe[list[MetadataItem]] = UNSET
    mount_configuration: Annotated[
        Maybe[Annotated[list[MountConfiguration], Meta(max_length=10)]], Since("2019-08-01")
    ] = UNSET
    target_node_communication_mode: Annotated[
        Maybe[NodeCommunicationMode], Since("2022-10-01"), Until("2024-02-01")
    ] = UNSET
    resource_tags: Annotated[Maybe[dict[str, str]], Since("2023-11-01"), Until("2024-02-01")] = UNSET
    upgrade_policy: Annotated[Maybe[UpgradePolicy], Since("2024-02-01")] = UNSET

    def __post_init__(self) -> None:
        _check_resize_timeout(self.resize_timeout)
        _check_mounts(self.mount_configuration)
        if self.enable_auto_scale is True:
            self._check_auto_scale()
        elif self.auto_scale_formula is not UNSET:
            raise PropertyError(
                "autoScaleFormula",
                "A formula must not be specified unless enableAutoScale is true.",
                "InvalidAutoScalingSettings",
            )

    def _check_auto_scale(self) -> None:
        if self.auto_scale_formula is UNSET:
            raise PropertyError(
                "autoScaleFormula",
                "A formula must be specified where enableAutoScale is true.",
                "MissingRequiredProperty",
            )
        for name in ("target_dedicated_nodes", "target_low_priority_nodes"):
            if getattr(self, name) is not UNSET:
                raise PropertyError(
                    wire_name(name),
                    "A target must not be specified where enableAutoScale is true; the formula says it.",
                    "InvalidAutoScalingSettings",
                )


def require_one_machine(pool: PoolSpecification, path: str = "") -> None:
    """Raise :class:`PropertyError` unless the pool says in one way what its nodes are; ``path`` leads to the pool."""
    if (pool.virtual_machine_configuration is UNSET) == (pool.cloud_service_configuration is UNSET):
        raise PropertyError(
            f"{path}virtualMachineConfiguration",
            "Exactly one of virtualMachineConfiguration and cloudServiceConfiguration must be specified.",
        )


class PoolAdd(PoolSpecification, kw_only=True):
    id: Id

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_machine(self)


class ResizeError(Model, kw_only=True):
    code: Maybe[str] = UNSET
    message: Maybe[str] = UNSET
    values: Maybe[list[NameValuePair]] = UNSET


class Pool(PoolSpecification, kw_only=True):
    """A pool as it is answered with."""

    id: str
    url: str
    e_tag: str
    last_modified: Moment
    creation_time: Moment
    state: PoolState
    state_transition_time: Moment
    allocation_state: AllocationState
    allocation_state_transition_time: Moment
    current_dedicated_nodes: Annotated[int, Since("2017-05-01")]
    current_low_priority_nodes: Annotated[int, Since("2017-05-01")]
    resize_errors: Annotated[Maybe[list[ResizeError]], Since("2017-05-01")] = UNSET
    current_node_communication_mode: Annotated[
        Maybe[NodeCommunicationMode], Since("2022-10-01"), Until("2024-02-01")
    ] = UNSET
    auto_scale_run: Maybe[AutoScaleRun] = UNSET
    stats: Maybe[PoolStatistics] = UNSET
    identity: Annotated[Maybe[Opaque], Since("2021-06-01")] = UNSET


class PoolUpgradeOs(Model, kw_only=True):
    target_os_version: str


class PoolPatch(Model, kw_only=True):
    display_name: Annotated[Maybe[DisplayName], Since("2025-06-01")] = UNSET
    vm_size: Annotated[Maybe[NonEmpty], Since("2025-06-01")] = UNSET
    virtual_machine_configuration: Annotated[Maybe[VirtualMachineConfiguration], Since("2025-06-01")] = UNSET
    enable_inter_node_communication: Annotated[Maybe[bool], Since("2025-06-01")] = UNSET
    network_configuration: Annotated[Maybe[NetworkConfiguration], Since("2025-06-01")] = UNSET
    start_task: Maybe[StartTask] = UNSET
    certificate_references: Annotated[Maybe[list[CertificateReference]], Until("2024-02-01")] = UNSET
    application_package_references: Maybe[PackageReferences] = UNSET
    task_slots_per_node: Annotated[Maybe[Slots], Since("2025-06-01")] = UNSET
    task_scheduling_policy: Annotated[Maybe[TaskSchedulingPolicy], Since("2025-06-01")] = UNSET
    user_accounts: Annotated[Maybe[list[UserAccount]], Since("2025-06-01")] = UNSET
    metadata: Maybe[list[MetadataItem]] = UNSET
    mount_configuration: Annotated[
        Maybe[Annotated[list[MountConfiguration], Meta(max_length=10)]], Since("2025-06-01")
    ] = UNSET
    target_node_communication_mode: Annotated[
        Maybe[NodeCommunicationMode], Since("2022-10-01"), Until("2024-02-01")
    ] = UNSET
    upgrade_policy: Annotated[Maybe[UpgradePolicy], Since("2025-06-01")] = UNSET

    def __post_init__(self) -> None:
        _check_mounts(self.mount_configuration)


class PoolReplace(Model, kw_only=True):
    start_task: Maybe[StartTask] = UNSET
    certificate_references: Annotated[Maybe[list[CertificateReference]], Until("2024-02-01")] = UNSET
    application_package_references: PackageReferences
    metadata: list[MetadataItem]
    target_node_communication_mode: Annotated[
        Maybe[NodeCommunicationMode], Since("2022-10-01"), Until("2024-02-01")
    ] = UNSET


class PoolResize(Model, kw_only=True):
    target_dedicated_nodes: Annotated[Maybe[Natural], Since("2017-05-01")] = UNSET
    target_low_priority_nodes: Annotated[Maybe[Natural], Since("2017-05-01")] = UNSET
    resize_timeout: Maybe[Duration] = UNSET
    node_deallocation_option: Maybe[DeallocationOption] = UNSET

    def __post_init__(self) -> None:
        _check_resize_timeout(self.resize_timeout)
        if self.target_dedicated_nodes is UNSET and self.target_low_priority_nodes is UNSET:
            raise PropertyError(
                "targetDedicatedNodes",
                "At least one of targetDedicatedNodes and targetLowPriorityNodes must be specified.",
                "MissingRequiredProperty",
            )


class NodesRemove(Model, kw_only=True):
    node_list: Annotated[list[NonEmpty], Meta(min_length=1, max_length=100)]
    resize_timeout: Maybe[Duration] = UNSET
    node_deallocation_option: Maybe[DeallocationOption] = UNSET

    def __post_init__(self) -> None:
        _check_resize_timeout(self.resize_timeout)
