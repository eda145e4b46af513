"""Output files: uploaded to containers by URL (with a SAS) after a task's process has ended.

The agent may read more than the task, so everything is opened as the task's user, and only what really is inside the
node's root is sent: a file that a link leads to elsewhere is skipped, which ``fileuploaderr.txt`` says.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import stat
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from millpond.common.agent_protocol import FailureInfo
from millpond.common.clock import SystemClock, to_iso

from . import patterns
from .cancellation import Cancellation, CancelledError
from .documents import OutputContainer, OutputFile
from .failures import category_of
from .files import is_inside, place_of
from .http import Body, Connections, ExchangeError, without_query
from .users import Credentials, as_file_user

log = logging.getLogger(__name__)

_VERSION = "2024-11-04"
#: Files up to this size go in one piece, longer ones in blocks of this size, or of more where they would be too many.
_BLOCK_SIZE = 16 << 20
_MOST_BLOCKS = 50_000
_FAILURES = {
    "denied": ("FileUploadAccessDenied", "Access to the container of one of the specified output files is denied"),
    "missing": ("FileUploadContainerNotFound", "The container of one of the specified output files is not found"),
    "timedOut": ("FileUploadTimedOut", "The upload of one of the specified output files timed out"),
    "other": ("FileUploadMiscError", "One of the specified output files could not be uploaded"),
}
#: Names under which a blob keeps what these headers say of it, however it is put together.
_PROPERTIES = {
    name: f"x-ms-blob-{name}"
    for name in (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
    )
}
#: What the agent says itself about a request.
_OWN_HEADERS = frozenset({"authorization", "content-length", "host", "transfer-encoding", "x-ms-blob-type"})
#: What holds for every request to a blob.
_FOR_EVERY_REQUEST = ("x-ms-lease-id", "x-ms-encryption-", "x-ms-client-request-id")

_OUTSIDE = "it is outside of the node's root directory"


class _UploadError(Exception):
    """Carries a failure."""

    def __init__(self, kind: str, text: str, details: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        code, message = _FAILURES[kind]
        named = tuple((name, _printable(value)) for name, value in (*details, ("Message", text)))
        self.failure = FailureInfo(category_of(code), code, message, named)


class _SkippedError(Exception):
    """A file is none of the task's to upload; the message says why."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What there is to upload for one task, and where from."""

    files: list[OutputFile]
    #: The task's directory, and the node's.
    directory: str
    root: str
    environment: Mapping[str, str]
    credentials: Credentials


def upload_all(upload: Upload, cancelled: Cancellation) -> FailureInfo | None:
    """Upload all files, as the task's user. Returns what went wrong first, if anything did.

    What goes wrong with one destination does not keep the files from the others. To be called in a thread of its own:
    it changes the thread's user for its duration. It ends early when ``cancelled`` is set.
    """
    failures = []
    try:
        with as_file_user(upload.credentials), Connections(cancelled) as connections, _Log(upload.directory) as notes:
            for file in upload.files:
                try:
                    _Destination(file.destination.container, connections).take(file.file_pattern, upload, notes)
                except _UploadError as error:
                    notes.error(f"{error.failure.code}: {error}")
                    failures.append(error.failure)
    except CancelledError:
        pass
    except Exception as error:  # whatever a task's files may do, they do not end the agent
        log.exception("an upload went wrong")
        failures.append(_UploadError("other", without_query(str(error))).failure)
    return failures[0] if failures else None


class _Destination:
    """Where the files of one pattern go. Methods raise :class:`_UploadError`, :class:`CancelledError`."""

    def __init__(self, container: OutputContainer, connections: Connections) -> None:
        try:
            self._url = urllib.parse.urlsplit(container.container_url)
        except ValueError as error:
            raise _UploadError("other", str(error)) from error
        self._path = (container.path or "").strip("/")
        self._headers = {
            _PROPERTIES.get(header.name.lower(), header.name.lower()): header.value or ""
            for header in container.upload_headers or ()
            if header.name.lower() not in _OWN_HEADERS
        }
        self._connections = connections

    def take(self, file_pattern: str, upload: Upload, notes: _Log) -> None:
        """Upload what matches."""
        pattern = patterns.parse(file_pattern, f"{upload.directory}/wd", upload.environment)
        found = False
        for relative in pattern.files(upload.root):
            found = True
            source = f"{pattern.directory}/{relative}"
            name = relative
            if self._path:
                name = f"{self._path}/{relative}" if pattern.has_wildcards else self._path
            try:
                size, blob = self._upload(source, name, upload.root)
            except _SkippedError as reason:
                notes.error(f"Skipped {source}: {reason}")
            else:
                notes.say(f"Uploaded {source} to {blob} ({size} bytes)")
        if not found:
            notes.say(f"No file matches {file_pattern}")

    def _upload(self, source: str, name: str, root: str) -> tuple[int, str]:
        """Returns the file's size and the blob's URL, without the SAS."""
        path = f"{self._url.path.rstrip('/')}/{urllib.parse.quote(os.fsencode(name))}"
        url = urllib.parse.urlunsplit(self._url._replace(path=path))
        details = (("FilePath", source), ("BlobUrl", without_query(url)))
        try:
            with _open(source, root) as file:
                size = os.fstat(file.fileno()).st_size
                if size <= _BLOCK_SIZE:
                    self._put(url, self._headers | {"x-ms-blob-type": "BlockBlob"}, file.fileno(), 0, size)
                else:
                    self._put_by_blocks(url, file.fileno(), size)
        except ExchangeError as error:
            raise _UploadError(error.kind, str(error), details) from error
        except (OSError, ValueError) as error:  # a file that cannot be read, a header that cannot be sent
            raise _UploadError("other", without_query(str(error)), details) from error
        return size, without_query(url)

    def _put_by_blocks(self, url: str, file: int, size: int) -> None:
        headers = {name: value for name, value in self._headers.items() if name.startswith(_FOR_EVERY_REQUEST)}
        block_size = max(_BLOCK_SIZE, -(-size // _MOST_BLOCKS))
        entries = []
        for offset in range(0, size, block_size):
            block = base64.b64encode(f"{offset // block_size:08d}".encode()).decode()
            query = urllib.parse.urlencode({"comp": "block", "blockid": block})
            self._put(_with_query(url, query), headers, file, offset, min(block_size, size - offset))
            entries.append(f"<Latest>{block}</Latest>")
        document = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{"".join(entries)}</BlockList>'.encode()
        url = _with_query(url, "comp=blocklist")
        sent = {**self._headers, "x-ms-version": _VERSION, "content-type": "application/xml"}
        self._connections.retry(partial(self._connections.put, url, sent, document))

    def _put(self, url: str, headers: Mapping[str, str], file: int, offset: int, size: int) -> None:
        sent = {**headers, "x-ms-version": _VERSION, "content-length": str(size)}

        def put() -> None:
            self._connections.put(url, sent, _Part(file, offset, size) if size else b"")

        self._connections.retry(put)


class _Part(Body):
    """A part of an open file, to be read once."""

    def __init__(self, file: int, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Raises :class:`_UploadError` where the file has become shorter."""
        data = os.pread(self._file, min(size, self._left), self._offset)
        if not data and self._left:
            raise _UploadError("other", "A file was changed while it was being uploaded")
        self._offset += len(data)
        self._left -= len(data)
        return data


class _Log:
    """``fileuploadout.txt`` and ``fileuploaderr.txt`` in the task's directory, as far as they can be written."""

    def __init__(self, directory: str) -> None:
        self._clock = SystemClock()
        self._out = _create(f"{directory}/fileuploadout.txt")
        self._err = _create(f"{directory}/fileuploaderr.txt")

    def __enter__(self) -> _Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()
        self._err.close()

    def say(self, line: str) -> None:
        self._write(self._out, line)

    def error(self, line: str) -> None:
        self._write(self._err, line)

    def _write(self, file: io.FileIO, line: str) -> None:
        try:
            file.write(f"{to_iso(self._clock.now())} {line}\n".encode(errors="surrogateescape"))
        except OSError as error:
            log.warning("cannot write about an upload: %s", error)


def _create(path: str) -> io.FileIO:
    """A new file; whatever the task has put in its place goes, unless it is a directory."""
    try:
        Path(path).unlink(missing_ok=True)
        return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "w")
    except OSError as error:
        log.warning("cannot write about uploads: %s", error)
        return io.FileIO(os.devnull, "w")


def _open(path: str, root: str) -> io.FileIO:
    """Raises :class:`_SkippedError`, ``OSError``."""
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except FileNotFoundError:
        raise _SkippedError("it is gone") from None
    except OSError:
        if not is_inside(os.path.realpath(path), root):
            raise _SkippedError(_OUTSIDE) from None
        raise
    if not is_inside(place_of(file.fileno()), root):
        file.close()
        raise _SkippedError(_OUTSIDE)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _SkippedError("it is no regular file")
    return file


def _printable(text: str) -> str:
    """A text with names of files in it that may be no UTF-8."""
    return os.fsencode(text).decode(errors="replace")


def _with_query(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}"
