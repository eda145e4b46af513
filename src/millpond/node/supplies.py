"""What the agent fetches from its service by HTTP, with the token of its channel."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from millpond.common.agent_protocol import CertificateContent, PackageInfo

from .cancellation import Cancellation, CancelledError

if TYPE_CHECKING:
    from .http import Connections

#: How long a service that does not answer is asked again: it may be starting.
_PATIENCE_S = 60.0
_PAUSE_S = 0.5
_CHUNK = 1 << 20

_T = TypeVar("_T")


class SupplyError(Exception):
    """The service could not be reached, or does not have what was asked for."""


class Supplies:
    """Methods raise :class:`SupplyError`, :class:`CancelledError`, and ``OSError`` for local files.

    To be called in threads; they end early when ``cancelled`` is set.
    """

    def __init__(self, channel_url: str, token: str) -> None:
        self._base = channel_url.replace("ws", "http", 1)
        self._headers = {"Authorization": f"Bearer {token}"}

    def certificate(self, thumbprint: str, cancelled: Cancellation) -> CertificateContent:
        return self._read(f"certificates/{urllib.parse.quote(thumbprint, safe='')}", CertificateContent, cancelled)

    def container_url(self, container: str, cancelled: Cancellation) -> str:
        """Where a container of the linked storage account can be read."""
        return self._read(f"containers/{urllib.parse.quote(container, safe='')}", str, cancelled)

    def storage_url(self, account: str, cancelled: Cancellation) -> str:
        """Where a storage account's blobs are served: the service's own accounts, or those of the world."""
        return self._read(f"storage/{urllib.parse.quote(account, safe='')}", str, cancelled)

    def package_info(self, application_id: str, version: str | None, cancelled: Cancellation) -> PackageInfo:
        query = f"?{urllib.parse.urlencode({'version': version})}" if version else ""
        path = f"applications/{urllib.parse.quote(application_id, safe='')}{query}"
        return self._read(path, PackageInfo, cancelled)

    def _read(self, path: str, kind: type[_T], cancelled: Cancellation) -> _T:
        def read(connections: Connections) -> _T:
            with connections.get(f"{self._base}/{path}", self._headers) as answer:
                return msgspec.json.decode(answer.read(), type=kind)

        return _patiently(read, cancelled)

    def download_package(self, digest: str, target: Path, cancelled: Cancellation) -> None:
        def download(connections: Connections) -> None:
            with connections.get(f"{self._base}/packages/{digest}", self._headers) as answer, target.open("wb") as file:
                for chunk in answer.stream(_CHUNK, decode_content=False):
                    if cancelled.is_set:
                        raise CancelledError
                    file.write(chunk)

        _patiently(download, cancelled)


def _patiently(action: Callable[[Connections], _T], cancelled: Cancellation) -> _T:
    from .http import Connections, ExchangeError

    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with Connections(cancelled) as connections:
                return connections.retry(lambda: action(connections))
        except ExchangeError as error:
            if not error.may_pass or time.monotonic() > end:
                raise SupplyError(str(error)) from error
        if cancelled.wait(_PAUSE_S):
            raise CancelledError
