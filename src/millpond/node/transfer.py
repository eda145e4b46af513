"""Resource files: fetched by URL (a SAS or any public one) into a task's working directory.

Everything is written as the task's user, so that no link which that user planted leads anywhere the user cannot go.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    URLSchemeUnknown,
)

from millpond.common.agent_protocol import FailureInfo

from .cancellation import Cancellation
from .documents import ResourceFile
from .users import Credentials

log = logging.getLogger(__name__)

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
    files: list[ResourceFile], working_directory: str, credentials: Credentials, cancelled: Cancellation
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
    except Exception as error:  # whatever a task's URLs and paths may do, they do not end the agent
        log.exception("a download went wrong")
        return TransferError("BlobDownloadMiscError", _without_query(str(error)), "").failure
    return None


@contextlib.contextmanager
def _as_file_user(credentials: Credentials) -> Iterator[None]:
    if credentials.uid is None:
        yield
        return
    from . import linux

    linux.set_thread_file_user(credentials.uid, credentials.gid)
    try:
        yield
    finally:
        linux.set_thread_file_user(0, 0)


class _StatusError(Exception):
    """The server's answer was not the content."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


class _Fetcher:
    """Downloads over kept connections. Methods raise :class:`TransferError`, :class:`_CancelledError`."""

    def __init__(self, cancelled: Cancellation) -> None:
        self._cancelled = cancelled
        self._connections = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=10, read=60), retries=urllib3.Retry(0, redirect=5, raise_on_redirect=True)
        )
        self._connections.pool_classes_by_scheme = {
            "http": _covered(urllib3.HTTPConnectionPool, cancelled),
            "https": _covered(urllib3.HTTPSConnectionPool, cancelled),
        }

    def __enter__(self) -> _Fetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.clear()

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
        with self._get(url, {"x-ms-version": _LIST_VERSION}) as answer:
            return ET.fromstring(answer.read())  # noqa: S314 - expat has limits of its own for what entities become

    def _download(self, url: str, target: Path) -> None:
        with self._get(url, {}) as answer, _writing(target) as write:
            for chunk in answer.stream(_CHUNK, decode_content=False):
                if self._cancelled.is_set:
                    raise _CancelledError
                write(chunk)

    @contextlib.contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """A 200 answer, its body not read yet. Raises ``HTTPError``, :class:`_StatusError`."""
        answer = self._connections.request("GET", url, headers=headers, preload_content=False)
        try:
            if answer.status != 200:
                raise _StatusError(answer.status)
            yield answer
        except BaseException:
            answer.close()  # what is left of the body is not worth reading
            raise
        answer.release_conn()

    def _with_retries(self, url: str, action: Callable[[], _T]) -> _T:
        """Do it again after what may pass: lost connections, 408, 429 and 5xx."""
        pause = _FIRST_PAUSE_S
        for left in reversed(range(_TRIES)):
            try:
                return action()
            except (HTTPError, _StatusError, ET.ParseError, _CannotWriteError) as error:
                failure, may_pass = _judge(error, url)
                if not may_pass or not left:
                    raise failure from error
            if self._cancelled.wait(pause):
                break
            pause *= 2
        raise _CancelledError


def _covered(pool: type[urllib3.HTTPConnectionPool], cancelled: Cancellation) -> type[urllib3.HTTPConnectionPool]:
    """A kind of connection pool whose connections end their waits with the cancellation."""

    class Connection(pool.ConnectionCls):  # type: ignore[name-defined, misc]
        def connect(self) -> None:
            super().connect()
            cancelled.covers(self.sock)

    class Pool(pool):  # type: ignore[valid-type, misc]
        ConnectionCls = Connection

    return Pool


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
    shown = _without_query(url)
    if isinstance(error, _CannotWriteError):
        return TransferError("ResourceFileWriteFailed", str(error), shown), False
    if isinstance(error, _StatusError):
        if error.status in (401, 403):
            return TransferError("BlobAccessDenied", "Access for one of the specified blobs is denied", shown), False
        if error.status in (404, 410):
            return TransferError("BlobNotFound", "One of the specified blobs is not found", shown), False
        may_pass = error.status >= 500 or error.status in (408, 429)
        message = f"The download ended with HTTP status {error.status}"
        return TransferError("BlobDownloadMiscError", message, shown), may_pass
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(cause, ReadTimeoutError | ConnectTimeoutError) and not isinstance(cause, NewConnectionError):
        return TransferError("BlobDownloadTimedOut", "The download timed out", shown), True
    may_pass = not isinstance(cause, LocationValueError | URLSchemeUnknown | NameResolutionError | ET.ParseError)
    return TransferError("BlobDownloadMiscError", _without_query(str(cause)), shown), may_pass


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


def _without_query(text: str) -> str:
    """A URL, or a message with URLs in it, without their SAS."""
    return re.sub(r"\?[^\s'\")]*", "", text)
