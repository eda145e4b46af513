"""User delegation: keys that the holder of a bearer token gets, and the signatures that are made with them.

https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple

from millpond.common.clock import DAY, from_iso
from millpond.common.identities import TENANT, object_id

from ..model import ResourceName
from ..request import Request
from .sas import Sas, canonical_resource, check_lines, failed

#: How long a key may live.
LONGEST_LIFE: Final = 7 * DAY
SERVICE: Final = "b"


class DelegationKey(NamedTuple):
    """What a key is for. Times are texts, as they are signed."""

    object_id: str
    tenant_id: str
    start: str
    expiry: str
    service: str
    version: str
    #: The tenant of the users that its signatures may be bound to; empty for none.
    delegated_tenant_id: str = ""

    def value(self, token: str) -> bytes:
        """The key itself. It follows from the account's bearer token: a new token revokes all keys."""
        return hmac.new(token.encode(), "\n".join(("user delegation key", *self)).encode(), hashlib.sha256).digest()


def read_key(query: Mapping[str, list[str]]) -> DelegationKey:
    """The key that a signature says it is made with."""
    fields = ("skoid", "sktid", "skt", "ske", "sks", "skv", "skdutid")
    return DelegationKey(*(query[name][0] if name in query else "" for name in fields))


def check_key(key: DelegationKey, account: str, now: int) -> None:
    """Raises ``AuthenticationFailed`` for a key that is another's, or not valid now."""
    if key.service != SERVICE:
        raise failed(f"sks={key.service} is not the Blob service.")
    if (key.object_id, key.tenant_id) != (object_id(account), TENANT):
        raise failed("The user delegation key is of an unknown user.")
    try:
        start, expiry = from_iso(key.start), from_iso(key.expiry)
    except ValueError:
        raise failed("skt and ske are no times.") from None
    if not start <= now < expiry or expiry - start > LONGEST_LIFE:
        raise failed(f"The user delegation key is valid from [{key.start}] to [{key.expiry}].")


class Delegation(NamedTuple):
    """What only a signature with a user's key has."""

    #: The key itself.
    key: bytes
    about: DelegationKey
    #: ``saoid``, ``suoid``, ``scid``: signed, and of no effect on accounts without a hierarchy.
    correlation: tuple[str, str, str]
    #: The user that it is bound to.
    user: str
    #: What headers and parameters a request must have, as they are signed.
    headers: str
    parameters: str


def check_delegation(request: Request, now: int, *, token: str | None, is_bearer: bool) -> Delegation:
    """Raises ``AuthenticationFailed`` for a key that is not valid, or a user who did not come with a token."""
    account = request.resource.account
    key = read_key(request.query)
    check_key(key, account, now)
    if token is None:
        raise failed("The user delegation key was revoked.")
    user = request.parameter("sduoid")
    if user and not (is_bearer and user == object_id(account)):
        raise failed("The signature is bound to a user, who has to come with a bearer token.")
    if key.delegated_tenant_id and (not user or key.delegated_tenant_id != TENANT):
        raise failed("The signature is for users of another tenant.")
    names = [name for name in request.parameter("srh").split(",") if name]
    headers = [(name, request.headers.get(name.lower())) for name in names]
    names = [name for name in request.parameter("srq").split(",") if name]
    parameters = [(name, request.parameter(name.lower())) for name in names]
    for name, value in (*headers, *parameters):
        if value is None:
            raise failed(f"The signature asks for the header {name}.")
    correlation = (request.parameter("saoid"), request.parameter("suoid"), request.parameter("scid"))
    check_lines([*key, *correlation, user, *[value for _, value in (*headers, *parameters)]])
    return Delegation(
        key=key.value(token),
        about=key,
        correlation=correlation,
        user=user,
        headers="".join([f"{name}:{value}\n" for name, value in headers]),
        parameters="".join([f"\n{name}:{value}" for name, value in parameters]),
    )


def strings_to_sign(sas: Sas, delegation: Delegation, name: ResourceName) -> list[str]:
    """What may be signed: lines for what came with later versions are left out by some clients of these."""
    if sas.policy_id:
        raise failed("A signature with a user's key has no stored access policy.")
    if sas.is_for_account:  # by fields that are not signed here
        raise failed("A signature with a user's key is for a container or a blob.")
    about = delegation.about
    start = [sas.permissions, sas.start, sas.expiry, canonical_resource(sas, name), *about[:6]]
    if sas.version >= "2020-02-10":
        start += delegation.correlation
    bound = [about.delegated_tenant_id, delegation.user]
    middle = [sas.ip, sas.protocol, sas.version, sas.resource, sas.snapshot]
    if sas.version >= "2020-12-06":
        middle.append(sas.encryption_scope)
    demanded = [delegation.headers, delegation.parameters]
    texts = []
    for with_bound in (True, False) if sas.version >= "2025-07-05" else (False,):
        for with_demanded in (True, False) if with_bound else (False,):
            if (any(bound) and not with_bound) or (any(demanded) and not with_demanded):
                continue
            fields = start + (bound if with_bound else []) + middle + (demanded if with_demanded else [])
            texts.append("\n".join([*fields, *sas.override_values]))
    return texts or [""]
