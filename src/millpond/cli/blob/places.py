"""What an argument of ``millpond blob`` names: a container or blobs, of which account, and how that is opened."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from millpond.common.authority import authority_file
from millpond.common.config import Settings

from ..credentials import credentials
from ..errors import CommandError

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

SCHEME = "blob://"
_SIGNATURE = re.compile(r"sig=[^&\s'\")]+")
#: Who is not there is not asked again; who is busy is, three times within seconds.
_RETRIES: dict[str, Any] = {"retry_total": 3, "retry_connect": 0, "initial_backoff": 1, "increment_base": 2}
_WILD = re.compile(r"[*?\[]")


class Account(NamedTuple):
    """Where blobs are, and what opens them: a key, a SAS, or nothing where they are public."""

    url: str
    name: str = ""
    key: str = ""
    sas: str = ""
    #: A file of authorities beside the usual ones.
    authority: str = ""


class Place(NamedTuple):
    """A container or, with a ``path``, what is in it: a name, the beginning of names (``dir/``), or a pattern."""

    account: Account
    container: str
    path: str
    is_pattern: bool = False

    @property
    def prefix(self) -> str:
        """What all that it names begins with."""
        return self.path[: _first_wild(self.path)] if self.is_pattern else self.path

    @property
    def directory(self) -> str:
        """The same, up to its last slash."""
        return self.prefix[: self.prefix.rfind("/") + 1]

    def __str__(self) -> str:
        """Without anything secret."""
        return f"{self.account.url}/{self.container}/{self.path}".rstrip("/")


class Accounts:
    """The accounts that arguments can mean: those of the data directory, one given as a string, and any URL's."""

    def __init__(self, settings: Settings, name: str | None, connection_string: str | None) -> None:
        self._settings = settings
        self._name = name
        self._connection_string = connection_string
        self._default: Account | None = None

    @property
    def default(self) -> Account:
        """The account of arguments that name none. Raises ``CommandError`` for one that does not exist."""
        if self._default is None:
            text = self._connection_string
            self._default = _of_connection_string(text) if text else self._own(self._name)
        return self._default

    def place(self, text: str) -> Place:
        """``blob://container/path``, ``container/path``, or the URL of a container or blob, with or without a SAS."""
        if not is_url(text):
            container, _, path = text.removeprefix(SCHEME).partition("/")
            return Place(self.default, container, path, bool(_WILD.search(path)))
        parts = urlsplit(text)
        path = parts.path.removeprefix("/")
        url = f"{parts.scheme}://{parts.netloc}"
        if _has_account_in_path(parts.hostname or ""):
            name, _, path = path.partition("/")
            url += f"/{name}"
        container, _, blob = path.partition("/")
        own = self._with_url(url)
        account = Account(url, sas=parts.query, authority=own.authority if own else "")
        if own and not parts.query:
            account = own
        # Every other sign of a pattern is one that a URL may have in a name.
        return Place(account, unquote(container), unquote(blob), "*" in blob)

    def _own(self, name: str | None) -> Account:
        values = credentials(self._settings, storage_account=name)
        authority = authority_file(self._settings.data)
        return Account(
            values["STORAGE_ACCOUNT_URL"],
            values["STORAGE_ACCOUNT_NAME"],
            values["STORAGE_ACCOUNT_KEY"],
            authority=str(authority) if values["STORAGE_ACCOUNT_URL"].startswith("https") else "",
        )

    def _with_url(self, url: str) -> Account | None:
        """The account that is known under a URL."""
        if not self._connection_string and not (self._settings.data / "accounts.json").exists():
            return None
        return self.default if self.default.url.rstrip("/") == url else None


def _first_wild(path: str) -> int:
    match = _WILD.search(path)
    return match.start() if match else len(path)


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def is_remote(text: str) -> bool:
    return is_url(text) or text.startswith(SCHEME)


def _has_account_in_path(host: str) -> bool:
    """Whether the first part of a URL's path is the account, as where a host is no name below a domain."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host
    return True


def _of_connection_string(text: str) -> Account:
    fields = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    name = fields.get("AccountName", "")
    url = fields.get("BlobEndpoint", "").rstrip("/")
    if not url and name:
        protocol, suffix = fields.get("DefaultEndpointsProtocol", "https"), fields.get("EndpointSuffix")
        url = f"{protocol}://{name}.blob.{suffix or 'core.windows.net'}"
    if not url:
        raise CommandError("the connection string names neither an AccountName nor a BlobEndpoint")
    return Account(url, name, fields.get("AccountKey", ""), fields.get("SharedAccessSignature", "").removeprefix("?"))


@contextmanager
def opened(account: Account, *, connections: int = 8) -> Iterator[BlobServiceClient]:
    """A client of an account. Errors of the service become ``CommandError``, one line each."""
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
    from azure.core.exceptions import AzureError
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import BlobServiceClient
    from requests import Session
    from requests.adapters import HTTPAdapter

    credential: AzureNamedKeyCredential | AzureSasCredential | None = None
    if account.key:
        credential = AzureNamedKeyCredential(account.name, account.key)
    elif account.sas:
        credential = AzureSasCredential(account.sas)
    session = Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    transport = RequestsTransport(session=session, session_owner=False, connection_verify=_authorities(account))
    try:
        with session, BlobServiceClient(account.url, credential, transport=transport, **_RETRIES) as client:
            yield client
    except AzureError as error:
        raise CommandError(said(error)) from error


def _authorities(account: Account) -> str | bool:
    return account.authority or os.environ.get("REQUESTS_CA_BUNDLE") or True


def said(error: Exception) -> str:
    """What an error of a service or of this machine says, in one line, and without a signature."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    if isinstance(error, ServiceRequestError | ServiceResponseError):
        reason = str(error).rpartition("(Caused by ")[2].removesuffix(")")  # what is before names the whole URL
        return f"the service cannot be reached: {_SIGNATURE.sub('sig=…', reason)}"
    code = getattr(error, "error_code", None)
    message = str(getattr(error, "message", None) or error).strip().partition("\n")[0]
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{message} ({getattr(code, 'value', code)})" if code else message
