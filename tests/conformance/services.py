"""The two services under test, each started on a free port with the accounts that the tests ask for."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient, RetentionPolicy
from benchmarks.environments import npm_program
from tests.servers import millpond, millpond_credentials, running_server

from millpond.common.authority import authority_file

from .sources import python

#: Accounts by the part that they play in the tests.
_ACCOUNTS = {
    "STORAGE": "conformance",
    "SECONDARY_STORAGE": "secondary",
    "BLOB_STORAGE": "conformance",
    "VERSIONED_STORAGE": "versioned",
    "PREMIUM_STORAGE": "premium",
    "SOFT_DELETE_STORAGE": "softdelete",
}
_AZURITE = "azurite@3.37.0"
_HOSTS = ("127.0.0.1", "*.blob.core.localhost")
_START_LIMIT_S = 30.0


@dataclass(frozen=True)
class Service:
    """A service that is ready."""

    scheme: str
    port: int
    #: Keys by account.
    keys: dict[str, str]
    #: The token that opens the first account. ``unsigned``: any JSON Web Token does. Empty: it takes none.
    tokens: str = ""
    #: The authority that signed its certificate, where it speaks https.
    authority: Path | None = None

    def account_url(self, account: str, *, by_host: bool = False) -> str:
        """With the account's name in the path, or in the host's name."""
        host = f"{account}.blob.core.localhost" if by_host else "127.0.0.1"
        return f"{self.scheme}://{host}:{self.port}" + ("" if by_host else f"/{account}")

    def environment(self) -> dict[str, str]:
        """What the tests and the test support read from the environment."""
        variables = {
            "AZURE_TEST_RUN_LIVE": "true",
            "AZURE_SKIP_LIVE_RECORDING": "true",
            "CONFORMANCE_ACCOUNT_URL": self.account_url("{account}"),
            "CONFORMANCE_HOST_URL": self.account_url("{account}", by_host=True),
            "CONFORMANCE_TOKENS": self.tokens,
            "STORAGE_RESOURCE_GROUP_NAME": "conformance",
        }
        for part, account in _ACCOUNTS.items():
            variables |= {f"{part}_ACCOUNT_NAME": account, f"{part}_ACCOUNT_KEY": self.keys[account]}
        if self.authority:
            variables |= {"REQUESTS_CA_BUNDLE": str(self.authority), "SSL_CERT_FILE": str(self.authority)}
        return variables


@contextmanager
def running_millpond(directory: Path) -> Iterator[Service]:
    data = directory / "data"
    with running_server(data, "--only", "blob", "--tls"):
        keys = {}
        for account in sorted(set(_ACCOUNTS.values())):
            added = millpond("account", "add", account, "--kind", "storage", "--data", data)
            assert added.returncode == 0, added.stderr
            shown = millpond("credentials", "--data", data, "--format", "json", "--storage-account", account)
            keys[account] = json.loads(shown.stdout)["STORAGE_ACCOUNT_KEY"]
        for part, option in (
            ("VERSIONED_STORAGE", "--versioning"),
            ("VERSIONED_STORAGE", "--immutability"),
            ("STORAGE", "--last-access"),
        ):
            done = millpond("account", "blob", _ACCOUNTS[part], option, "--data", data)
            assert done.returncode == 0, done.stderr
        url = urlsplit(millpond_credentials(data)["STORAGE_ACCOUNT_URL"])
        assert url.port
        token = millpond("account", "token", _ACCOUNTS["STORAGE"], "--kind", "storage", "--data", data)
        assert token.returncode == 0, token.stderr
        service = Service(url.scheme, url.port, keys, token.stdout.strip(), authority_file(data))
        _prepare(service)
        yield service


@contextmanager
def running_azurite(directory: Path) -> Iterator[Service]:
    """Over https, which it needs to take tokens."""
    certificates, data = directory / "certificates", directory / "data"
    certificates.mkdir()
    data.mkdir()
    subprocess.run([python(), "-m", "trustme", "-q", "-d", certificates, "-i", *_HOSTS], check=True)
    keys = {account: base64.b64encode(secrets.token_bytes(64)).decode() for account in set(_ACCOUNTS.values())}
    port = _free_port()
    options: dict[str, str | Path] = {
        "--blobPort": str(port),
        "--location": data,
        "--oauth": "basic",
        "--cert": certificates / "server.pem",
        "--key": certificates / "server.key",
    }
    authority = certificates / "client.pem"
    process = subprocess.Popen(
        [
            install_azurite(),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
            *(part for option in options.items() for part in option),
        ],
        env={
            **os.environ,
            "AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name, key in keys.items()),
            "NODE_EXTRA_CA_CERTS": str(authority),  # it fetches the sources of copies from itself
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(port, process)
        service = Service("https", port, keys, "unsigned", authority)
        _prepare(service)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


#: What starts each service on an empty directory, by the service's name.
SERVICES: dict[str, Callable[[Path], AbstractContextManager[Service]]] = {
    "millpond": running_millpond,
    "azurite": running_azurite,
}


def install_azurite() -> Path:
    """Its program, installed when it is first asked for."""
    return npm_program(_AZURITE, "azurite-blob")


def azurite_version() -> str:
    return _AZURITE.partition("@")[2]


def _prepare(service: Service) -> None:
    """Put the accounts in the state that the tests count on, as far as the service can be told so."""
    account = _ACCOUNTS["SOFT_DELETE_STORAGE"]
    with (
        BlobServiceClient(
            service.account_url(account),
            service.keys[account],
            connection_verify=str(service.authority) if service.authority else True,
            retry_total=0,
        ) as client,
        suppress(AzureError),
    ):
        client.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=7))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Azurite did not start") from None
            time.sleep(0.02)
