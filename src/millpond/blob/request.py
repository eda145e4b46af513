"""A request as it came: method, path, query and headers, and what its URL names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from millpond.common.config import DEFAULT_STORAGE_ACCOUNT, Accounts

from .errors import error, invalid_header, invalid_query
from .model import ResourceName
from .moments import from_snapshot
from .service.names import ROOT_CONTAINER

#: The oldest version that is served; every later one is, known or not.
OLDEST_VERSION = "2015-02-21"
#: The version of a request that names none.
DEFAULT_VERSION = "2025-11-05"

#: The versions before that, which the service still takes as an account's default.
_OLDER_VERSIONS = frozenset(
    {
        "2008-10-27",
        "2009-04-14",
        "2009-07-17",
        "2009-09-19",
        "2011-08-18",
        "2012-02-12",
        "2013-08-15",
        "2014-02-14",
    }
)
#: What the name of an account ends with where its copy for reads is meant.
SECONDARY = "-secondary"

_VERSION = re.compile(r"\d{4}-\d\d-\d\d")
_SIGNER = re.compile(r"SharedKey(?:Lite)? ([a-z0-9]+):")


class Request:
    """One HTTP request. Names of headers and query parameters are in lower case; query values are decoded."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.method: str = scope["method"]
        self.scheme: str = scope["scheme"]
        self.client_address: str = scope["client"][0] if scope.get("client") else ""
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.header_names: Iterable[str] = _names_as_sent(scope) or self.headers
        self.query: dict[str, list[str]] = {}
        self.version = DEFAULT_VERSION
        #: Whether it says of which version it is.
        self.names_version = False
        self.resource = ResourceName("")
        #: The URL of the account, as this request addresses it.
        self.endpoint = ""
        #: Whether that is the one for reads alone.
        self.is_secondary = False

    def read(self, query_string: bytes, accounts: Accounts, *, account: str = "") -> None:
        """Take in the parts that may be wrong. Raises the service's error for what is.

        ``account``: the one of the batch that it is a part of, which its URL may leave out.
        """
        self.query = parse_query(query_string)
        version = self.header("x-ms-version") or self.parameter("sv")
        self.names_version = bool(version)
        self.version = version or DEFAULT_VERSION
        if not is_served(self.version):
            if "x-ms-version" in self.headers:
                raise invalid_header("x-ms-version", self.version)
            self.version = DEFAULT_VERSION  # the SAS is looked at later
        self.resource, self.endpoint, self.is_secondary = locate(self, accounts, account)
        if self.resource.blob and ("snapshot" in self.query or "versionid" in self.query):
            self.resource = self.resource._replace(snapshot=self._moment("snapshot"), version=self._moment("versionid"))
            if self.resource.snapshot and self.resource.version:  # each of which may be all that a SAS is for
                raise invalid_query("versionid", self.parameter("versionid"), "The URL names a snapshot, too.")

    def _moment(self, name: str) -> int:
        text = self.parameter(name)
        try:
            return from_snapshot(text) if text else 0
        except ValueError:
            raise invalid_query(name, text) from None

    def header(self, name: str, default: str = "") -> str:
        return self.headers.get(name, default)

    def parameter(self, name: str, default: str = "") -> str:
        """The value of a query parameter, the first of several."""
        values = self.query.get(name)
        return values[0] if values else default


def is_published(version: str) -> bool:
    """Whether there is such a version, or may be one that came later than this service."""
    return version in _OLDER_VERSIONS or is_served(version)


def is_served(version: str) -> bool:
    return bool(_VERSION.fullmatch(version)) and version >= OLDEST_VERSION


def _names_as_sent(scope: Mapping[str, Any]) -> list[str]:
    """Header names in the case they were sent in, which ASGI drops, where the server offers them."""
    extensions = scope.get("extensions") or {}
    return [name.decode("latin-1") for name in extensions.get("millpond.header_names", ())]


def parse_query(query_string: bytes) -> dict[str, list[str]]:
    """Decoded values by lower-case name. Raises ``InvalidQueryParameterValue`` for what is not UTF-8."""
    query: dict[str, list[str]] = {}
    try:
        # Clients write a space as %20 or as +, and a plus sign as %2B.
        for part in query_string.decode().replace("+", " ").split("&"):
            if part:
                name, _, value = part.partition("=")
                query.setdefault(_decode(name).lower(), []).append(_decode(value))
    except UnicodeDecodeError:
        raise error("InvalidQueryParameterValue") from None
    return query


def _decode(text: str) -> str:
    return unquote_to_bytes(text).decode() if "%" in text else text


def locate(request: Request, accounts: Accounts, batch_account: str = "") -> tuple[ResourceName, str, bool]:
    """What the URL names, and the URL of its account: ``http://host/account`` or ``http://account.host``.

    And whether it is the account's secondary endpoint, ``account-secondary`` in place of the name.

    Old clients drop the account from the path of follow-up requests: where the first segment is no account, it is
    the one that signed the request.
    """
    host = request.header("host")
    path = request.raw_path.removeprefix("/")
    endpoint = f"{request.scheme}://{host}/"
    written = host.lower().partition(".")[0]
    account = written.removesuffix(SECONDARY)
    if not accounts.keys("storage", account):
        written, _, rest = path.partition("/")
        account = written.removesuffix(SECONDARY)
        if accounts.keys("storage", account):
            path = rest
        else:
            account = written = batch_account or _signer(request, accounts)
        endpoint += f"{written}/"
    container, _, blob = path.partition("/")
    try:
        name = ResourceName(account, _decode_path(container), _decode_path(blob))
    except UnicodeDecodeError:
        raise error("InvalidUri") from None
    if name.container and not name.blob and "restype" not in request.query:
        name = name._replace(container=ROOT_CONTAINER, blob=name.container)
    return name, endpoint, written != account


def _decode_path(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1")).decode()


def _signer(request: Request, accounts: Accounts) -> str:
    """The account that a request is signed for, which its URL does not name."""
    if "authorization" in request.headers:
        match = _SIGNER.match(request.header("authorization"))
        if match and accounts.keys("storage", match[1]):
            return match[1]
        raise error("AuthenticationFailed")
    if "sig" in request.query:  # a SAS names no account
        names = accounts.names("storage")
        return names[0] if len(names) == 1 else DEFAULT_STORAGE_ACCOUNT
    raise error("ResourceNotFound")
