"""Resource files: fetched by URL (a SAS or any public one) into a task's working directory.

Everything is written as the task's user, so that no link which that user planted leads anywhere the user cannot go.
"""

from __future__ import annotations

import contextlib
import os
import threading
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

from millpond.common.agent_protocol import FailureInfo

from .documents import ResourceFile
from .users import Credentials

_TRIES = 4
_FIRST_PAUSE_S = 0.25
_CHUNK = 1 << 20
_DEFAULT_MODE = 0o770
#: Listing a container by a SAS needs a version no older than the SAS; files are fetched as their URLs say.
_LIST_VERSION = "2021-12-02"

_T = TypeVar("_T")


class TransferError(Exception):
    def __init__(self, code: str, message: str, culprit: str) -> None:
        super().__init__(code)
        name = "FilePath" if not culprit.startswith(("http:", "https:")) else "BlobUrl"
        self.failure = FailureInfo("usererror", code, message, ((name, culprit),))


class _CancelledError(Exception):
    """The task was ended meanwhile."""


class _CannotWriteError(Exception):
    """The local file could not be written."""


def fetch_all(
    files: list[ResourceFile], working_directory: str, credentials: Credentials, cancelled: threading.Event
) -> FailureInfo | None:
    """Fetch all files, as the given user. Returns what went wrong, if anything did.

    To be called in a thread of its own: it changes the thread's user for its duration. It ends early, with some
    files missing, when ``cancelled`` is set.
    """
    try:
        with _as_file_user(credentials), _Fetcher(cancelled) as fetcher:
            for file in files:
                for url, path in fetcher.sources(file):
                    fetcher.fetch(url, _inside(working_directory, path), _mode(file))
    except TransferError as error:
        return error.failure
    except _CancelledError:
        pass
    return None


@contextlib.contextmanager
def _as_file_user(credentials: Credentials) -> Iterator[None]:
    if not credentials.uid:
        yield
        return
    from . import linux

    linux.set_thread_file_user(credentials.uid, credentials.gid)
    try:
        yield
    finally:
        linux.set_thread_file_user(0, 0)


class _Fetcher:
    """Downloads over kept connections. Methods raise :class:`TransferError`, :class:`_CancelledError`."""

    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled
        self._client = httpx.Client(timeout=httpx.Timeout(60, connect=10), follow_redirects=True, trust_env=False)

    def __enter__(self) -> _Fetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def sources(self, file: ResourceFile) -> Iterator[tuple[str, str]]:
        """The URLs that a resource file stands for, each with its path below the working directory."""
        if file.http_url:
            name = urllib.parse.unquote(urllib.parse.urlsplit(file.http_url).path.rpartition("/")[2])
            yield file.http_url, file.file_path or name
        elif file.storage_container_url:
            container = urllib.parse.urlsplit(file.storage_container_url)
            for name in self._blob_names(container, file.blob_prefix or ""):
                url = container._replace(path=f"{container.path.rstrip('/')}/{urllib.parse.quote(name)}")
                yield urllib.parse.urlunsplit(url), f"{file.file_path}/{name}" if file.file_path else name
        else:
            culprit = file.auto_storage_container_name or ""
            raise TransferError("BlobDownloadMiscError", "The account has no linked storage", culprit)

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
            page = self._with_retries(url, lambda url=url: self._list(url))  # type: ignore[misc]
            yield from (name.text for name in page.iterfind("./Blobs/Blob/Name") if name.text)
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return

    def _list(self, url: str) -> ET.Element:
        answer = self._client.get(url, headers={"x-ms-version": _LIST_VERSION})
        answer.raise_for_status()
        return ET.fromstring(answer.content)

    def _download(self, url: str, target: Path) -> None:
        with self._client.stream("GET", url) as answer:
            answer.raise_for_status()
            with _writing(target) as write:
                for chunk in answer.iter_bytes(_CHUNK):
                    if self._cancelled.is_set():
                        raise _CancelledError
                    write(chunk)

    def _with_retries(self, url: str, action: Callable[[], _T]) -> _T:
        """Do it again after what may pass: lost connections, 408, 429 and 5xx."""
        pause = _FIRST_PAUSE_S
        for left in reversed(range(_TRIES)):
            try:
                return action()
            except (httpx.HTTPError, httpx.InvalidURL, ET.ParseError, _CannotWriteError) as error:
                failure, may_pass = _judge(error, url)
                if not may_pass or not left:
                    raise failure from error
            if self._cancelled.wait(pause):
                break
            pause *= 2
        raise _CancelledError


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


def _judge(error: Exception, url: str) -> tuple[TransferError, bool]:
    """What a failed try means, and whether another may do better."""
    shown = urllib.parse.urlunsplit(urllib.parse.urlsplit(url)._replace(query=""))  # without its SAS
    if isinstance(error, _CannotWriteError):
        return TransferError("ResourceFileWriteFailed", str(error), shown), False
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in (401, 403):
            return TransferError("BlobAccessDenied", "Access for one of the specified blobs is denied", shown), False
        if status in (404, 410):
            return TransferError("BlobNotFound", "One of the specified blobs is not found", shown), False
        may_pass = status >= 500 or status in (408, 429)
        return TransferError("BlobDownloadMiscError", f"The download ended with HTTP status {status}", shown), may_pass
    if isinstance(error, httpx.TimeoutException):
        return TransferError("BlobDownloadTimedOut", "The download timed out", shown), True
    message = str(error) or type(error).__name__
    return TransferError("BlobDownloadMiscError", message, shown), isinstance(error, httpx.TransportError) and not (
        isinstance(error, httpx.UnsupportedProtocol)
    )


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
