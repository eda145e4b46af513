"""A container of blobs as a tree of files, as blobfuse shows it.

A directory is an empty blob with the metadata ``hdi_isfolder=true``, or just a prefix of names that other blobs have.
Files are read by ranges of the blob as it was when it was opened. What is written goes to a local file first, and to
the container when the file is closed or synchronised; the last to do so wins. What others change is seen within a
second.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import mimetypes
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobPrefix, BlobProperties, ContainerClient, ContentSettings

log = logging.getLogger(__name__)

#: What is read at once where a file is read from its beginning to its end; each open file may keep as much in memory.
WINDOW = 4 << 20
_LIST_AHEAD = 10_000
_SEEN_FOR_S = 1.0
_FOLDER = "hdi_isfolder"
_COPY_PAUSE_S = 0.05
_ERRNOS = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 409: errno.EBUSY, 412: errno.EBUSY}


class Entry(NamedTuple):
    is_directory: bool
    #: In bytes.
    size: int
    #: Seconds since the epoch.
    modified: float
    etag: str = ""


class _Written:
    """The local file of a blob that is open for writing, shared by all who have it open."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self.file = file
        self.users = 0
        self.is_dirty = False
        self.is_removed = False
        self.lock = threading.RLock()

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size


class _Reading:
    """A blob that is open for reading, and the part of it that was read ahead."""

    def __init__(self, name: str, entry: Entry) -> None:
        self.name = name
        self.entry = entry
        self.begin = 0
        self.window = b""
        #: Where the last read ended.
        self.position = 0
        self.lock = threading.Lock()


class BlobFiles:
    """Paths begin with a slash. Methods may be called by any thread, and raise ``OSError`` with an ``errno``.

    ``directory`` is where files that are being written are kept; they have no names there.
    """

    def __init__(self, container: ContainerClient, directory: Path) -> None:
        self._container = container
        self._directory = directory
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._handles: dict[int, _Reading | _Written] = {}
        self._written: dict[str, _Written] = {}
        #: What a listing has told of late: entries, with the moment until which they are believed.
        self._seen: dict[str, tuple[float, Entry]] = {}

    def check(self) -> None:
        """Find out whether the container is there and may be listed."""
        with _os_errors("list the container"):
            next(iter(self._container.list_blob_names(results_per_page=1)), None)

    # --- what is there

    def entry(self, path: str) -> Entry:
        name = path.strip("/")
        if not name:
            return Entry(True, 0, time.time())
        with self._lock:
            if written := self._written.get(name):
                status = os.fstat(written.file.fileno())
                return Entry(False, status.st_size, status.st_mtime)
            until, seen = self._seen.get(name, (0.0, None))
        if seen and time.monotonic() < until:
            return seen
        return self._find(name)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        """What is in a directory: names, and whether each is a directory itself."""
        prefix = _prefix(path)
        found: dict[str, bool] = {}
        with _os_errors(f"list {path}"):
            for item in self._container.walk_blobs(prefix, include=["metadata"], delimiter="/"):
                name = item.name.rstrip("/")
                short = name[len(prefix) :]
                if not short or "/" in short:
                    continue  # the marker of the directory itself, or a name that no path can have
                entry = Entry(True, 0, time.time()) if isinstance(item, BlobPrefix) else _entry(item)
                found[short] = entry.is_directory or found.get(short, False)
                self._remember(name, entry)
        with self._lock:
            for name in self._written:
                if name.startswith(prefix) and "/" not in name[len(prefix) :]:
                    found.setdefault(name[len(prefix) :], False)
        yield from found.items()

    def _find(self, name: str) -> Entry:
        try:
            with _os_errors(f"look at {name}"):
                properties = self._container.get_blob_client(name).get_blob_properties()
            return _entry(properties)
        except FileNotFoundError:
            if self._has_any(f"{name}/"):
                return Entry(True, 0, time.time())
            raise

    def _has_any(self, prefix: str) -> bool:
        with _os_errors(f"list {prefix}"):
            return any(self._container.list_blob_names(name_starts_with=prefix, results_per_page=1))

    def _remember(self, name: str, entry: Entry) -> None:
        with self._lock:
            if len(self._seen) >= _LIST_AHEAD:
                self._seen.clear()
            self._seen[name] = (time.monotonic() + _SEEN_FOR_S, entry)

    def _forget(self, *names: str) -> None:
        with self._lock:
            for name in names:
                self._seen.pop(name, None)

    # --- files

    def open(self, path: str, flags: int) -> int:
        """Returns a handle, to be given back by :meth:`release`."""
        name = path.strip("/")
        wants_to_write = flags & os.O_ACCMODE != os.O_RDONLY
        with self._lock:
            written = self._written.get(name)
        if written is None and not wants_to_write:
            return self._keep(_Reading(name, self._find(name)))
        return self._write(name, is_empty=bool(flags & os.O_TRUNC) and wants_to_write)

    def create(self, path: str) -> int:
        handle = self._write(path.strip("/"), is_empty=True)
        written = self._handles[handle]
        if isinstance(written, _Written):
            written.is_dirty = True  # an empty file is one, too
        return handle

    def read(self, handle: int, size: int, offset: int) -> bytes:
        opened = self._handles[handle]
        if isinstance(opened, _Written):
            return os.pread(opened.file.fileno(), size, offset)
        with opened.lock:
            return self._read_blob(opened, min(size, max(0, opened.entry.size - offset)), offset)

    def write(self, handle: int, data: bytes, offset: int) -> int:
        written = self._handles[handle]
        if not isinstance(written, _Written):
            raise OSError(errno.EBADF, "the file was opened for reading")
        with written.lock:
            written.is_dirty = True
            return os.pwrite(written.file.fileno(), data, offset)

    def truncate(self, path: str, size: int, handle: int | None = None) -> None:
        opened = self._handles.get(handle) if handle is not None else None
        own = None if isinstance(opened, _Written) else self._write(path.strip("/"), is_empty=size == 0)
        written = self._handles[own] if own is not None else opened
        try:
            if isinstance(written, _Written):
                with written.lock:
                    written.is_dirty = True
                    os.ftruncate(written.file.fileno(), size)
        finally:
            if own is not None:
                self.release(own)

    def flush(self, handle: int) -> None:
        """Have the container hold what was written."""
        written = self._handles[handle]
        if isinstance(written, _Written):
            self._upload(written)

    def release(self, handle: int) -> None:
        opened = self._handles[handle]
        try:
            if isinstance(opened, _Written):
                self._upload(opened)
        finally:
            with self._lock:
                del self._handles[handle]
                if isinstance(opened, _Written):
                    opened.users -= 1
                    if not opened.users:
                        opened.file.close()
                        if self._written.get(opened.name) is opened:
                            del self._written[opened.name]

    def _keep(self, opened: _Reading | _Written) -> int:
        with self._lock:
            handle = next(self._numbers)
            self._handles[handle] = opened
            return handle

    def _read_blob(self, reading: _Reading, size: int, offset: int) -> bytes:
        begin = offset - reading.begin
        if begin < 0 or begin + size > len(reading.window):
            is_sequel = offset == reading.position
            length = min(max(size, WINDOW if is_sequel else 0), reading.entry.size - offset)
            reading.window = self._fetch(reading, offset, length) if length > 0 else b""
            reading.begin, begin = offset, 0
        reading.position = offset + size
        return reading.window[begin : begin + size]

    def _fetch(self, reading: _Reading, offset: int, length: int) -> bytes:
        try:
            with _os_errors(f"read {reading.name}"):
                blob = self._container.get_blob_client(reading.name)
                stream = blob.download_blob(
                    offset, length, etag=reading.entry.etag, match_condition=MatchConditions.IfNotModified
                )
                return bytes(stream.readall())
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOENT):  # it is another blob by now, or none
                raise OSError(errno.ESTALE, f"{reading.name} has changed since it was opened") from error
            raise

    def _write(self, name: str, *, is_empty: bool) -> int:
        """A handle of the local file for a blob, which holds the blob's content unless it is to be empty."""
        while True:
            with self._lock:
                written = self._written.get(name)
                is_new = written is None
                if written is None:
                    file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - see release
                    written = self._written[name] = _Written(name, file)
                    written.lock.acquire()  # others who open it wait for its content
                written.users += 1
            handle = self._keep(written)
            if not is_new:
                written.lock.acquire()
            try:
                if not is_new and written.is_removed:
                    is_obsolete = True
                else:
                    is_obsolete = False
                    self._fill(written, is_new=is_new, is_empty=is_empty)
            except BaseException:
                written.is_removed = True  # what it holds is nobody's content
                with self._lock:
                    if self._written.get(written.name) is written:
                        del self._written[written.name]
                self.release(handle)
                raise
            finally:
                written.lock.release()
            if not is_obsolete:
                return handle
            self.release(handle)  # it was removed meanwhile, or could not be read: once more from the start

    def _fill(self, written: _Written, *, is_new: bool, is_empty: bool) -> None:
        """Give the local file the content that it is opened with."""
        if is_empty:
            written.is_dirty = written.is_dirty or not is_new or self._is_there(written.name)
            os.ftruncate(written.file.fileno(), 0)
        elif is_new:
            with _os_errors(f"read {written.name}"):
                blob = self._container.get_blob_client(written.name)
                blob.download_blob(max_concurrency=1).readinto(written.file)

    def _is_there(self, name: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return not self._find(name).is_directory
        return False

    def _upload(self, written: _Written) -> None:
        with written.lock:
            if not written.is_dirty or written.is_removed:
                return
            kind = mimetypes.guess_type(written.name)[0] or "application/octet-stream"
            written.file.seek(0)
            with _os_errors(f"write {written.name}"):
                self._container.get_blob_client(written.name).upload_blob(
                    written.file,
                    length=written.size,
                    overwrite=True,
                    max_concurrency=1,
                    content_settings=ContentSettings(content_type=kind),
                )
            written.is_dirty = False
            self._forget(written.name)

    # --- names

    def unlink(self, path: str) -> None:
        name = path.strip("/")
        with self._lock:
            written = self._written.pop(name, None)
        if written:
            with written.lock:
                written.is_removed = True
        self._forget(name)
        try:
            with _os_errors(f"remove {name}"):
                self._container.get_blob_client(name).delete_blob(delete_snapshots="include")
        except FileNotFoundError:
            if not written:
                raise

    def make_directory(self, path: str) -> None:
        name = path.strip("/")
        self._forget(name)
        try:
            with _os_errors(f"make {name}"):
                self._container.get_blob_client(name).upload_blob(b"", metadata={_FOLDER: "true"}, overwrite=False)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
            raise

    def remove_directory(self, path: str) -> None:
        name = path.strip("/")
        self._forget(name)
        if any(True for _ in self.names(path)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        for marker in (name, f"{name}/"):
            with contextlib.suppress(FileNotFoundError), _os_errors(f"remove {name}"):
                self._container.get_blob_client(marker).delete_blob(delete_snapshots="include")

    def rename(self, old: str, new: str) -> None:
        """Not in one step: the service copies blobs, and the old ones are deleted then."""
        source, target = old.strip("/"), new.strip("/")
        entry = self.entry(old)
        with contextlib.suppress(FileNotFoundError):
            there = self.entry(new)
            if there.is_directory and not entry.is_directory:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), new)
            if entry.is_directory and not there.is_directory:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), new)
            if there.is_directory and any(True for _ in self.names(new)):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), new)
        if entry.is_directory:
            with _os_errors(f"list {source}"):
                names = list(self._container.list_blob_names(name_starts_with=f"{source}/"))
            with self._lock:
                names = list(
                    dict.fromkeys([*names, *(name for name in self._written if name.startswith(f"{source}/"))])
                )
            with contextlib.suppress(FileNotFoundError):
                self._move(source, target)  # its marker, where it has one
            for name in names:
                self._move(name, target + name[len(source) :])
        else:
            self._move(source, target)

    def _move(self, source: str, target: str) -> None:
        with self._lock:
            written, replaced = self._written.get(source), self._written.pop(target, None)
        if replaced:
            with replaced.lock:
                replaced.is_removed = True
        if written:
            with written.lock:
                self._upload(written)
                self._copy(source, target)
                with self._lock:
                    self._written[target] = self._written.pop(source)
                    written.name = target
        else:
            self._copy(source, target)
        self._forget(source, target)
        with contextlib.suppress(FileNotFoundError), _os_errors(f"remove {source}"):
            self._container.get_blob_client(source).delete_blob(delete_snapshots="include")

    def _copy(self, source: str, target: str) -> None:
        with _os_errors(f"copy {source}"):
            copied = self._container.get_blob_client(target)
            state = copied.start_copy_from_url(self._container.get_blob_client(source).url)["copy_status"]
            while state == "pending":
                time.sleep(_COPY_PAUSE_S)
                state = copied.get_blob_properties().copy.status or "failed"
        if state != "success":
            raise OSError(errno.EIO, f"the copy of {source} ended as {state}")


def _prefix(path: str) -> str:
    name = path.strip("/")
    return f"{name}/" if name else ""


def _entry(blob: BlobProperties) -> Entry:
    modified = blob.last_modified.timestamp() if blob.last_modified else time.time()
    return Entry(True, 0, modified) if _is_folder(blob) else Entry(False, blob.size or 0, modified, blob.etag or "")


def _is_folder(blob: BlobProperties) -> bool:
    return any(key.lower() == _FOLDER and value.lower() == "true" for key, value in (blob.metadata or {}).items())


@contextlib.contextmanager
def _os_errors(what: str) -> Iterator[None]:
    """Failures of the service as the system's own errors."""
    try:
        yield
    except HttpResponseError as error:
        status = error.status_code or 0
        number = _ERRNOS.get(status, errno.EIO)
        if number != errno.ENOENT:
            log.warning("cannot %s: HTTP status %d (%s)", what, status, getattr(error, "error_code", ""))
        raise OSError(number, f"cannot {what}: HTTP status {status} ({getattr(error, 'error_code', '')})") from error
    except AzureError as error:
        log.warning("cannot %s: %s", what, error.message.partition("?")[0])
        raise OSError(errno.EIO, f"cannot {what}: {error.message.partition('?')[0]}") from error
