"""Shared access signatures: their fields, the strings they sign, and what they allow.

https://learn.microsoft.com/rest/api/storageservices/create-service-sas
https://learn.microsoft.com/rest/api/storageservices/create-account-sas
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from millpond.common.clock import from_iso, to_iso
from millpond.common.errors import ServiceError

from ..errors import error, invalid_query
from ..model import ResourceName, StoredPolicy

#: The oldest version of a signature that is understood.
OLDEST_VERSION = "2013-08-15"

#: The oldest version of a signature for a directory, and the digits of a depth.
DIRECTORIES_SINCE = "2020-02-10"
_DEPTH = re.compile(r"[0-9]{1,4}")
#: The first version that signs an encryption scope.
_SCOPES_SINCE = "2020-12-06"

#: The fields that replace a header of the answer, in the order they are signed in.
_OVERRIDES = {
    "rscc": "cache-control",
    "rscd": "content-disposition",
    "rsce": "content-encoding",
    "rscl": "content-language",
    "rsct": "content-type",
}


class Sas(NamedTuple):
    """The fields of a signature's query string, by what they mean; empty where absent."""

    version: str
    signature: str
    permissions: str
    start: str
    expiry: str
    ip: str
    protocol: str
    #: ``b``, ``c``, … for a service SAS; an account SAS has none.
    resource: str
    #: How many segments of a blob's name are the directory that it is for.
    depth: str
    policy_id: str
    snapshot: str
    encryption_scope: str
    services: str
    resource_types: str
    #: ``rscc`` to ``rsct``.
    override_values: tuple[str, ...]

    @property
    def is_for_account(self) -> bool:
        return bool(self.services or self.resource_types)


def read_sas(query: Mapping[str, list[str]]) -> Sas:
    fields = {name: values[0] for name, values in query.items()}

    def field(name: str) -> str:
        return fields.get(name, "")

    return Sas(
        version=field("sv"),
        signature=field("sig").replace(" ", "+"),  # a plus sign that was not encoded
        permissions=field("sp"),
        start=field("st"),
        expiry=field("se"),
        ip=field("sip"),
        protocol=field("spr"),
        resource=field("sr"),
        depth=field("sdd"),
        policy_id=field("si"),
        snapshot={"bs": field("snapshot"), "bv": field("versionid")}.get(field("sr"), ""),
        encryption_scope=field("ses"),
        services=field("ss"),
        resource_types=field("srt"),
        override_values=tuple(field(name) for name in _OVERRIDES),
    )


def string_to_sign(sas: Sas, name: ResourceName) -> str:
    """What the signature signs; which fields, depends on the version."""
    if sas.is_for_account:
        fields = [name.account, sas.permissions, sas.services, sas.resource_types, sas.start, sas.expiry]
        fields += [sas.ip, sas.protocol, sas.version]
        if sas.version >= _SCOPES_SINCE:
            fields.append(sas.encryption_scope)
        return "\n".join(fields) + "\n"
    fields = [sas.permissions, sas.start, sas.expiry, canonical_resource(sas, name), sas.policy_id]
    if sas.version >= "2015-04-05":
        fields += [sas.ip, sas.protocol]
    fields.append(sas.version)
    if sas.version >= "2018-11-09":
        fields += [sas.resource, sas.snapshot]
    if sas.version >= _SCOPES_SINCE:
        fields.append(sas.encryption_scope)
    return "\n".join([*fields, *sas.override_values])


def canonical_resource(sas: Sas, name: ResourceName) -> str:
    """What a signature has to be for. The depth is not signed, but the directory that it makes of the name is."""
    resource = f"/{name.account}/{name.container}"
    if sas.resource == "d":
        resource += "/" + "/".join(name.blob.split("/")[: int(sas.depth)])
    elif sas.resource != "c":
        resource += f"/{name.blob}"
    return f"/blob{resource}" if sas.version >= "2015-02-21" else resource


def failed(detail: str) -> ServiceError:
    return error("AuthenticationFailed", AuthenticationErrorDetail=detail)


def check_form(sas: Sas) -> None:
    """Raises ``AuthenticationFailed`` for a signature that lacks a field, or is of a kind that is not understood.

    Or has a line break, by which one field could be signed as two: the name of a blob may have some, and whoever chose
    it chose what follows. What replaces a header comes last, where it is looked at for itself.
    """
    check_lines(sas._replace(override_values=()))
    if not sas.version:
        raise failed("sv is mandatory. Cannot be empty")
    if sas.version < OLDEST_VERSION:
        raise failed(f"sv={sas.version} is not supported.")
    if sas.encryption_scope and sas.version < _SCOPES_SINCE:
        raise failed(f"ses is not supported by sv={sas.version}.")
    if sas.is_for_account:
        for name, value in (("ss", sas.services), ("srt", sas.resource_types)):
            if not value:
                raise failed(f"{name} is mandatory. Cannot be empty")
    elif sas.resource not in ("b", "c", "bs", "bv", "d") or (sas.resource == "d" and sas.version < DIRECTORIES_SINCE):
        raise failed(f"sr={sas.resource} is not supported." if sas.resource else "sr is mandatory. Cannot be empty")
    if sas.resource == "d" and not _DEPTH.fullmatch(sas.depth):
        raise failed(f"sdd={sas.depth} is not supported." if sas.depth else "sdd is mandatory. Cannot be empty")


def check_lines(values: Iterable[object]) -> None:
    """Raises ``AuthenticationFailed`` for a text that is more than one line."""
    if any("\n" in value for value in values if isinstance(value, str)):
        raise failed("A field of the signature has a line break.")


def with_policy(sas: Sas, policies: Iterable[StoredPolicy]) -> Sas:
    """The signature with what its stored access policy says; a field may be set in one of the two only."""
    if not sas.policy_id or sas.is_for_account:
        return sas
    policy = next((policy for policy in policies if policy.id == sas.policy_id), None)
    if policy is None:
        raise failed("The stored access policy that the signature names does not exist.")
    for field in ("permissions", "start", "expiry"):
        if getattr(sas, field) and getattr(policy, field):
            raise failed(f"The {field} is set in the signature and in its stored access policy.")
    return sas._replace(
        permissions=sas.permissions or policy.permissions,
        start=sas.start or policy.start,
        expiry=sas.expiry or policy.expiry,
    )


def check_use(sas: Sas, *, now: int, scheme: str, address: str) -> None:
    """Raises the error of whichever of time, protocol and address the signature is not for."""
    if not sas.expiry:
        raise failed("se is mandatory. Cannot be empty")
    if now < _time("st", sas.start, default=now) or now >= _time("se", sas.expiry, default=now):
        raise failed(
            f"Signature not valid in the specified time frame: Start [{sas.start}] - Expiry [{sas.expiry}]"
            f" - Current [{to_iso(now)}]"
        )
    if sas.protocol not in ("", "https", "https,http"):
        raise failed(f"spr={sas.protocol} is not a protocol.")
    if sas.protocol == "https" and scheme != "https":
        raise error("AuthorizationProtocolMismatch")
    if sas.ip and not _is_within(address, sas.ip):
        raise error("AuthorizationSourceIPMismatch", SourceIP=address)


def _time(name: str, text: str, *, default: int) -> int:
    if not text:
        return default
    try:
        return from_iso(text)
    except ValueError:
        raise failed(f"{name}={text} is not a time.") from None


def _is_within(address: str, addresses: str) -> bool:
    """Whether an address is the one, or within the range ``first-last``."""
    first, _, last = addresses.partition("-")
    try:
        ip = ipaddress.ip_address(address)
        lowest, highest = ipaddress.ip_address(first), ipaddress.ip_address(last or first)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return lowest.version == ip.version == highest.version and int(lowest) <= int(ip) <= int(highest)


def overrides(sas: Sas) -> dict[str, str]:
    """Headers that the answer gets from the signature. Raises ``InvalidQueryParameterValue`` for no header value."""
    found = {}
    for (name, header), value in zip(_OVERRIDES.items(), sas.override_values, strict=True):
        if value:
            if not value.isprintable():
                raise invalid_query(name, value)
            found[header] = value
    return found
