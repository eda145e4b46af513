"""Whether a request may do what it asks for."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from millpond.common.clock import MINUTE, from_http
from millpond.common.config import Accounts
from millpond.common.shared_key import is_signed

from ..errors import error
from ..model import Container, PublicAccess, ResourceName
from ..request import Request
from ..store import Store, Transaction
from . import delegation, sas, shared_key
from .sas import failed

#: How far the date of a signed request may be from the present.
MAX_CLOCK_SKEW = 15 * MINUTE


class Need(NamedTuple):
    """What an operation needs, where the account's key is not at hand."""

    #: The resource types of an account SAS, any one of which suffices: service, container or object.
    resource_types: str
    #: Permissions of a SAS, any one of which suffices; none where no SAS does.
    permissions: str
    #: Whether a service SAS suffices, or only one for the account.
    service_sas: bool = False
    #: The kinds of public access that suffice without any signature.
    public: frozenset[PublicAccess] = frozenset()
    #: Permissions of a SAS that are needed as well, each of them.
    also: str = ""
    #: Those of the permissions that suffice only from a version of the signature on.
    since: Mapping[str, str] = {}

    def is_met(self, signature: sas.Sas) -> bool:
        """Whether the permissions of a signature suffice."""
        held = set(signature.permissions)
        suffices = any(signature.version >= self.since.get(each, "") for each in held & set(self.permissions))
        return suffices and held.issuperset(self.also)


#: Every permission that there is, for what needs any at all.
ANY_PERMISSION: Final = "racwdxyltfmeopiu"
READ_BLOB: Final = Need("o", "r", service_sas=True, public=frozenset({"blob", "container"}))


class Access(NamedTuple):
    """What a request was found to be allowed."""

    by: Literal["key", "token", "sas", "public"]
    permissions: str = ""
    #: Headers of the answer that a SAS sets.
    overrides: Mapping[str, str] = {}

    @property
    def is_owner(self) -> bool:
        """Whether everything in the account is open."""
        return self.by in ("key", "token")

    @property
    def may_overwrite(self) -> bool:
        return self.is_owner or "w" in self.permissions

    @property
    def may_read_tags(self) -> bool:
        return self.is_owner or "t" in self.permissions


def authorize(request: Request, need: Need, accounts: Accounts, store: Store, now: int) -> Access:
    """Raises the service's error for a request that may not."""
    keys = accounts.keys("storage", request.resource.account) or ()
    is_bearer = request.header("authorization")[:7].lower() == "bearer "
    if "authorization" in request.headers:
        if not is_bearer:
            _check_shared_key(request, keys, now)
            return Access("key")
        _check_bearer(request, accounts)
        if "sig" not in request.query:  # else the token only tells who uses the signature
            return Access("token")
    if "sig" in request.query:
        token = accounts.storage_token(request.resource.account)
        return _check_sas(request, need, keys, store, now, token=token, is_bearer=is_bearer)
    container = _container(request, store)
    if container and container.public_access in need.public and not need.also:
        return Access("public")
    raise error("ResourceNotFound" if need.public else "NoAuthenticationInformation")


def _container(request: Request, store: Store) -> Container | None:
    name = request.resource
    return store.read(Transaction.get_container, name.account, name.container) if name.container else None


def _check_bearer(request: Request, accounts: Accounts) -> None:
    if request.scheme != "https":
        raise failed("Bearer tokens are taken over https alone.")
    own = accounts.storage_token(request.resource.account)
    given = request.header("authorization")[7:].strip()
    if own is None or not hmac.compare_digest(own.encode(), given.encode("latin-1")):
        raise error("InvalidAuthenticationInfo", AuthenticationErrorDetail="The token is not the account's.")


def _check_shared_key(request: Request, keys: tuple[bytes, ...], now: int) -> None:
    scheme, _, credential = request.header("authorization").partition(" ")
    account, _, signature = credential.partition(":")
    candidates = {
        "SharedKey": shared_key.strings_to_sign,
        "SharedKeyLite": shared_key.lite_strings_to_sign,
    }.get(scheme)
    if candidates is None:
        raise failed("Only the authentication schemes SharedKey, SharedKeyLite and Bearer are supported.")
    if account != request.resource.account:
        raise failed(f"The request names the account '{request.resource.account}' and is signed for another one.")
    _check_date(request.header("x-ms-date") or request.header("date"), now)
    strings = list(candidates(account, request.method, request.raw_path, request.query, request.headers))
    if not is_signed(signature, keys, strings):
        raise failed(
            "The MAC signature found in the HTTP request is not the same as any computed signature."
            f" Server used following string to sign: '{strings[0]}'."
        )


def _check_date(text: str, now: int) -> None:
    try:
        date = from_http(text)
    except ValueError:
        raise failed("The Date header in the request is incorrect.") from None
    if abs(now - date) > MAX_CLOCK_SKEW:
        raise failed(f"Request date header is too far from the time of the server: '{text}'.")


def _signed_name(request: Request, need: Need, signature: sas.Sas) -> ResourceName:
    """What the signature has to be for. The directory of a list is what its prefix says up to the last slash."""
    if signature.resource == "d" and need.permissions == "l":
        return request.resource._replace(blob=request.parameter("prefix").rpartition("/")[0])
    return request.resource


def _check_sas(
    request: Request,
    need: Need,
    keys: tuple[bytes, ...],
    store: Store,
    now: int,
    *,
    token: str | None,
    is_bearer: bool,
) -> Access:
    signature = sas.read_sas(request.query)
    sas.check_form(signature)
    name = _signed_name(request, need, signature)
    texts = [sas.string_to_sign(signature, name)]
    if "skoid" in request.query:
        delegated = delegation.check_delegation(request, now, token=token, is_bearer=is_bearer)
        keys = (delegated.key,)
        texts = delegation.strings_to_sign(signature, delegated, name)
    if not is_signed(signature.signature, keys, texts):
        raise failed(f"Signature did not match. String to sign used was '{texts[0]}'.")
    if signature.policy_id:
        container = _container(request, store)
        signature = sas.with_policy(signature, container.policies if container else ())
    sas.check_use(signature, now=now, scheme=request.scheme, address=request.client_address)
    if signature.is_for_account:
        if "b" not in signature.services:
            raise error("AuthorizationServiceMismatch")
        if need.permissions and not set(need.resource_types) & set(signature.resource_types):
            raise error("AuthorizationResourceTypeMismatch")
    if not need.permissions or not (need.service_sas or signature.is_for_account):
        raise error("AuthorizationFailure")
    if not need.is_met(signature):
        raise error("AuthorizationPermissionMismatch")
    overrides = {} if signature.is_for_account else sas.overrides(signature)
    return Access("sas", signature.permissions, overrides)
