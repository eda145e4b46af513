"""What the members of models are made of."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, UnsetType

from millpond.common.clock import to_iso

T = TypeVar("T")

#: A member that may be absent; what is absent is not on the wire at all.
Maybe: TypeAlias = T | UnsetType


class Since(NamedTuple):
    """The first API version whose answers have the member."""

    date: str


class Until(NamedTuple):
    """The last API version whose answers have the member."""

    date: str


class Secret(NamedTuple):
    """The member is taken, and never answered with."""


class PropertyError(ValueError):
    """A rule about members is broken that their types cannot express. ``name`` is the culprit within its model."""

    def __init__(self, name: str, reason: str, code: str = "InvalidPropertyValue") -> None:
        super().__init__(reason)
        self.name = name
        self.reason = reason
        self.code = code


#: Names that the wire spells with more capitals than the rule gives them.
_SPELLINGS = {
    "automatic_os_upgrade_policy": "automaticOSUpgradePolicy",
    "avg_cpu_percentage": "avgCPUPercentage",
    "avg_disk_gib": "avgDiskGiB",
    "avg_memory_gib": "avgMemoryGiB",
    "current_os_version": "currentOSVersion",
    "data_egress_gib": "dataEgressGiB",
    "data_ingress_gib": "dataIngressGiB",
    "disk_read_gib": "diskReadGiB",
    "disk_read_iops": "diskReadIOps",
    "disk_size_gb": "diskSizeGB",
    "disk_write_gib": "diskWriteGiB",
    "disk_write_iops": "diskWriteIOps",
    "dynamic_vnet_assignment_scope": "dynamicVNetAssignmentScope",
    "enable_automatic_os_upgrade": "enableAutomaticOSUpgrade",
    "ephemeral_os_disk_settings": "ephemeralOSDiskSettings",
    "in_vm_access_control_profile_reference_id": "inVMAccessControlProfileReferenceId",
    "inbound_nat_pools": "inboundNATPools",
    "ipv6_remote_login_ip_address": "ipv6RemoteLoginIPAddress",
    "kernel_cpu_time": "kernelCPUTime",
    "network_read_gib": "networkReadGiB",
    "network_write_gib": "networkWriteGiB",
    "node_agent_sku_id": "nodeAgentSKUId",
    "peak_disk_gib": "peakDiskGiB",
    "peak_memory_gib": "peakMemoryGiB",
    "public_fqdn": "publicFQDN",
    "public_ip_address": "publicIPAddress",
    "public_ip_address_configuration": "publicIPAddressConfiguration",
    "read_io_gib": "readIOGiB",
    "read_iops": "readIOps",
    "remote_login_ip_address": "remoteLoginIPAddress",
    "skip_withdraw_from_vnet": "skipWithdrawFromVNet",
    "target_os_version": "targetOSVersion",
    "upgrading_os": "upgradingOS",
    "user_cpu_time": "userCPUTime",
    "write_io_gib": "writeIOGiB",
    "write_iops": "writeIOps",
}


def wire_name(name: str) -> str:
    """The wire's spelling of a member: ``task_slots_per_node`` is ``taskSlotsPerNode``."""
    first, *rest = name.split("_")
    return _SPELLINGS.get(name) or first + "".join(part.capitalize() for part in rest)


class Model(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename=wire_name):
    """What every model is: wire names, and no members but its own."""


_ID = r"\A[A-Za-z0-9_-]{1,64}\Z"
_PREFIX = r"\A[A-Za-z0-9_-]{0,20}\Z"
_DURATION = r"\AP(?:\d+Y)?(?:\d+M)?(?:\d+W)?(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d{1,9})?S)?)?(?<![PT])\Z"
_NO_NUL = r"\A[^\0]*\Z"
_VARIABLE = r"\A[^=\0]+\Z"
_WEB_URL = r"\A[Hh][Tt][Tt][Pp][Ss]?://[^/\s]"
#: What the programs of a Linux system take for the name of a user.
USER_NAME = r"\A[A-Za-z_][A-Za-z0-9_-]{0,31}\Z"
_OCTAL = r"\A[0-7]{1,5}\Z"
#: As OpenSSH has them in ``authorized_keys``: type, key in base64, and perhaps a comment.
_PUBLIC_KEY = r"\A\s*(?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}(?: [^\r\n]*)?\s*\Z"
_ONE_LINE = r"\A[^\0\r\n]*\Z"
_ENDPOINT = r"\A[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,75}[A-Za-z0-9_])?\Z"
_MOUNT_PATH = r"\A(?!\.{1,2}(?:/|\Z))[^/\\\0]+(?:/(?!\.{1,2}(?:/|\Z))[^/\\\0]+)*\Z"
_STORAGE_ACCOUNT = r"\A[a-z0-9-]{1,63}\Z"

#: What a value that does not match one of the patterns is told.
PATTERN_REASONS = {
    _ID: "An id has 1 to 64 characters of A-Z, a-z, 0-9, hyphen and underscore.",
    _PREFIX: "A prefix has at most 20 characters of A-Z, a-z, 0-9, hyphen and underscore.",
    _DURATION: "The value is not an ISO 8601 duration, or is negative.",
    _NO_NUL: "The value contains a NUL character.",
    _VARIABLE: "The name is empty or contains '=' or a NUL character.",
    _WEB_URL: "The value is not a URL that begins with http:// or https://.",
    USER_NAME: "The name is none that a Linux system takes for a user.",
    _MOUNT_PATH: "The path is empty, or leads out of the directory of mounts.",
    _STORAGE_ACCOUNT: "The name is none that a storage account can have.",
    _OCTAL: "The mode is not an octal number.",
    _PUBLIC_KEY: "The value is not a public key of OpenSSH: its type, the key in base64, and perhaps a comment.",
    _ONE_LINE: "The value contains the end of a line or a NUL character.",
    _ENDPOINT: "A name has 1 to 77 characters of A-Z, a-z, 0-9, hyphen, underscore and dot, and begins and ends well.",
}

Id = Annotated[str, Meta(pattern=_ID)]
PoolIdPrefix = Annotated[str, Meta(pattern=_PREFIX)]
Duration = Annotated[str, Meta(pattern=_DURATION)]
#: What a node can read from, or write to, and nothing of its own machine.
WebUrl = Annotated[str, Meta(pattern=_WEB_URL)]
CommandLine = Annotated[str, Meta(pattern=_NO_NUL)]
Text = Annotated[str, Meta(pattern=_NO_NUL)]
VariableName = Annotated[str, Meta(pattern=_VARIABLE)]
FileMode = Annotated[str, Meta(pattern=_OCTAL)]
PublicKey = Annotated[str, Meta(pattern=_PUBLIC_KEY)]
Password = Annotated[str, Meta(pattern=_ONE_LINE)]
EndpointName = Annotated[str, Meta(pattern=_ENDPOINT)]
#: Below the node's directory of mounts, and nowhere else.
MountPath = Annotated[str, Meta(pattern=_MOUNT_PATH)]
StorageAccountName = Annotated[str, Meta(pattern=_STORAGE_ACCOUNT)]
NonEmpty = Annotated[str, Meta(min_length=1)]
DisplayName = Annotated[str, Meta(max_length=1024)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
#: -1: without limit.
RetryCount = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
#: A moment, as text in ISO 8601.
Moment = str
#: A part that this version of the service neither reads nor makes.
Opaque = dict[str, Any]


def maybe(value: T | None) -> T | UnsetType:
    """A member's value, absent where there is none."""
    return msgspec.UNSET if value is None else value


def maybe_time(moment: int | None) -> str | UnsetType:
    """A moment as the wire has it, absent where there is none."""
    return msgspec.UNSET if moment is None else to_iso(moment)
