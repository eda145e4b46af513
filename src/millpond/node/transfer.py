"""Resource files: fetched by URL (a SAS or any public one) into a task's working directory.

Everything is written as the task's user, so that no link which that user planted leads anywhere the user cannot go.
"""

from __future__ import annotations

import contextlib
import logging
import os
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from millpond.common.agent_protocol import FailureInfo

from .cancellation import Cancellation, CancelledError
from .documents import ResourceFile
from .failures import category_of
from .http import CHUNK, Connections, ExchangeError, without_query
from .supplies import Supplies, SupplyError
from .users import Credentials, as_file_user

log = logging.getLogger(__name__)

_DEFAULT_MODE = 0o770
#: Listing a container by a SAS needs a version no older than the SAS; files are fetched as their URLs say.
_LIST_VERSION = "2021-12-02"
_BLOB_CODES = {
    "denied": "BlobAccessDenied",
    "missing": "BlobNotFound",
    "timedOut": "BlobDownloadTimedOut",
    "other": "BlobDownloadMiscError",
}
_CONTAINER_CODES = {
    "denied": "ResourceContainerAccessDenied",
    "missing": "ResourceContainerNotFound",
    "timedOut": "ResourceContainerListTimedOut",
    "other": "ResourceContainerListMiscError",
}

_T = TypeVar("_T")


class TransferError(Exception):
    def __init__(self, code: str, message: str, culprit: str) -> None:
        super().__init__(code)
        name = "FilePath" if not culprit.startswith(("http:", "https:")) else "BlobUrl"
        self.failure = FailureInfo(category_of(code), code, message, ((name, culprit),))


class _CannotWriteError(Exception):
    """The local file could not be written."""


def fetch_all(
    files: list[ResourceFile],
    working_directory: str,
    credentials: Credentials,
    supplies: Supplies,
    cancelled: Cancellation,
) -> FailureInfo | None:
    """Fetch all files, as the given user. Returns what went wrong, if anything did.

    To be called in a thread of its own: it changes the thread's user for its duration. It ends early, with some
    files missing, when ``cancelled`` is set.
    """
    try:
        with as_file_user(credentials), Connections(cancelled) as connections:
            fetcher = _Fetcher(connections, supplies, cancelled)
            for file in files:
                for url, path in fetcher.sources(file):
                    fetcher.fetch(url, _inside(working_directory, path), _mode(file))
    except TransferError as error:
        return error.failure
    except CancelledError:
        pass
    except Exception as error:  # whatever a task's URLs and paths may do, they do not end the agent
        log.exception("a download went wrong")
        return TransferError("BlobDownloadMiscError", without_query(str(error)), "").failure
    return None


class _Fetcher:
    """Downloads. Methods raise :class:`TransferError`, :class:`CancelledError`."""

    def __init__(self, connections: Connections, supplies: Supplies, cancelled: Cancellation) -> None:
        self._connections = connections
        self._supplies = supplies
        self._cancelled = cancelled

    def sources(self, file: ResourceFile) -> Iterator[tuple[str, str]]:
        """The URLs that a resource file stands for, each with its path below the working directory."""
        if file.http_url:
            name = urllib.parse.unquote(urllib.parse.urlsplit(file.http_url).path.rpartition("/")[2])
            yield file.http_url, file.file_path or name
        else:
            container = urllib.parse.urlsplit(self._container_url(file))
            for name in self._blob_names(container, file.blob_prefix or ""):
                url = container._replace(path=f"{container.path.rstrip('/')}/{urllib.parse.quote(name)}")
                yield urllib.parse.urlunsplit(url), f"{file.file_path}/{name}" if file.file_path else name

    def _container_url(self, file: ResourceFile) -> str:
        if file.storage_container_url:
            return file.storage_container_url
        name = file.auto_storage_container_name or ""
        try:
            return self._supplies.container_url(name, self._cancelled)
        except SupplyError as error:
            raise TransferError("BlobDownloadMiscError", f"No linked storage account: {error}", name) from error

    def fetch(self, url: str, target: Path, mode: int) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TransferError("ResourceDirectoryCreateFailed", str(error), str(target.parent)) from error
        self._with_retries(url, lambda: self._download(url, target))
        try:
            target.chmod(mode)
        except OSError as error:
            raise TransferError("ResourceFileWriteFailed", str(error), str(target)) from error

    def _blob_names(self, container: urllib.parse.SplitResult, prefix: str) -> Iterator[str]:
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix, "marker": marker}
            added = urllib.parse.urlencode({key: value for key, value in query.items() if value})
            url = urllib.parse.urlunsplit(container._replace(query=f"{container.query}&{added}".lstrip("&")))
            page = self._with_retries(url, lambda url=url: self._list(url), _CONTAINER_CODES)  # type: ignore[misc]
            yield from (name.text for name in page.iterfind("./Blobs/Blob/Name") if name.text)
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return

    def _list(self, url: str) -> ET.Element:
        with self._connections.get(url, {"x-ms-version": _LIST_VERSION}) as answer:
            return ET.fromstring(answer.read())  # noqa: S314 - expat has limits of its own for what entities become

    def _download(self, url: str, target: Path) -> None:
        with self._connections.get(url, {}) as answer, _writing(target) as write:
            for chunk in answer.stream(CHUNK, decode_content=False):
                if self._cancelled.is_set:
                    raise CancelledError
                write(chunk)

    def _with_retries(self, url: str, action: Callable[[], _T], codes: Mapping[str, str] = _BLOB_CODES) -> _T:
        try:
            return self._connections.retry(action)
        except ExchangeError as error:
            raise TransferError(codes[error.kind], str(error), without_query(url)) from error
        except _CannotWriteError as error:
            raise TransferError("ResourceFileWriteFailed", str(error), without_query(url)) from error
        except ET.ParseError as error:
            raise TransferError(codes["other"], str(error), without_query(url)) from error


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[Callable[[bytes], int]]:
    """A new file to write to; trouble with it is told from trouble with the download."""

    def write(data: bytes) -> int:
        try:
            return file.write(data)
        except OSError as error:
            raise _CannotWriteError(str(error)) from error

    try:
        file = target.open("wb", buffering=0)
    except OSError as error:
        raise _CannotWriteError(str(error)) from error
    with file:
        yield write


def _inside(working_directory: str, path: str) -> Path:
    """A path below the working directory. Raises :class:`TransferError` where it leads out."""
    target = os.path.normpath(path)
    if target.startswith("/") or target.split("/", 1)[0] in ("..", "."):
        raise TransferError("ResourceFileCreateFailed", "The path leads out of the working directory", path)
    return Path(working_directory, target)


def _mode(file: ResourceFile) -> int:
    try:
        return int(file.file_mode, 8) & 0o7777 if file.file_mode else _DEFAULT_MODE
    except ValueError:
        return _DEFAULT_MODE
