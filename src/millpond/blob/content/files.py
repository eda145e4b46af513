"""Files with random names: where they lie, and which of them count.

A file is written in ``incoming/``, synced with its name, and only then named in a row. Once that row is committed the
file moves on to ``content/``. So what lies in ``incoming/`` at a start is either named in a row, and moves on, or
what a crash left of an upload, and goes; nothing else has to be looked at. Files that no row names any more are
listed in a table until they are unlinked, and those that are being sent are spared until then.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from millpond.common.clock import Clock

#: Threads for writing, syncing, hashing and reading. More than there are cores, for most of them wait for the disk.
_THREADS = 8
#: Bytes of the disk that no content takes, so that there is room for the rows of deletions, which make room.
_RESERVE = 16 << 20

#: Linux alone has it, and Python does not; from glibc's fcntl.h. It need not succeed.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None) if sys.platform == "linux" else None
if _sync_file_range:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_SYNC_FILE_RANGE_WRITE = 2


class ContentStore:
    """The files of one data directory."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._clock = clock
        self._content = root / "content"
        self._incoming = root / "incoming"
        self._pins: Counter[str] = Counter()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self._content, self._incoming):
            directory.mkdir(exist_ok=True)
        self._incoming_directory = os.open(self._incoming, os.O_RDONLY)
        self.threads = ThreadPoolExecutor(_THREADS, "blob-content")

    def close(self) -> None:
        self.threads.shutdown()
        os.close(self._incoming_directory)

    def check_room(self, size: int) -> None:
        """Raises ``OSError`` where so many bytes more would leave too little of the disk."""
        disk = os.statvfs(self._incoming_directory)
        if disk.f_bavail * disk.f_frsize < _RESERVE + size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self) -> tuple[str, int]:
        """The name of a new file, and a descriptor to write it with."""
        file = self._clock.guid().replace("-", "")
        return file, os.open(self._incoming / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def begin_sync(self, descriptor: int, offset: int, size: int) -> None:
        """Have the kernel write these bytes to the disk from now on, so that there is little left for :meth:`sync`."""
        if _sync_file_range:
            _sync_file_range(descriptor, offset, size, _SYNC_FILE_RANGE_WRITE)

    def sync(self, descriptor: int) -> None:
        """Make a file that was created, and its name, safe on disk."""
        os.fsync(descriptor)
        os.fsync(self._incoming_directory)

    def add(self, file: str, data: bytes) -> tuple[str, int]:
        """Add to the end of a file, or of a new one; its name, and where it took the data, which are safe on disk.

        Several may add to one file at a time, in several processes.
        """
        self.check_room(len(data))
        if file:
            with suppress(FileNotFoundError):
                descriptor = self._open(file, os.O_WRONLY | os.O_APPEND)
                try:
                    return file, _add(descriptor, data)
                finally:
                    os.close(descriptor)
        file, descriptor = self.create()
        try:
            _add(descriptor, data)
            os.fsync(self._incoming_directory)
        except OSError:
            self.unlink([file])
            raise
        finally:
            os.close(descriptor)
        return file, 0

    def publish(self, file: str) -> None:
        """Move a file on, now that a committed row names it. Nothing is lost where a crash comes first."""
        directory = self._content / file[:2]
        try:
            (self._incoming / file).rename(directory / file)
        except FileNotFoundError:
            directory.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # gone already, with the row
                (self._incoming / file).rename(directory / file)

    def open(self, file: str) -> int:
        """A descriptor to read a file with."""
        return self._open(file, os.O_RDONLY)

    def _open(self, file: str, flags: int) -> int:
        content, incoming = self._content / file[:2] / file, self._incoming / file
        for path in (content, incoming):
            try:
                return os.open(path, flags | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        return os.open(content, flags | os.O_CLOEXEC)  # it may have moved between the two looks

    def incoming(self) -> list[str]:
        """What uploads have written, and what a crash left of them."""
        return [path.name for path in self._incoming.iterdir()]

    def unlink(self, files: Iterable[str]) -> None:
        """Remove files, safely on disk, wherever they are."""
        touched = set()
        for file in files:
            # In this order, since another process may just be moving it on.
            for path in (self._incoming / file, self._content / file[:2] / file):
                with suppress(FileNotFoundError):
                    path.unlink()
                    touched.add(path.parent)
        for directory in touched:
            descriptor = os.open(directory, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    @contextmanager
    def pinned(self, files: Iterable[str]) -> Iterator[None]:
        """Spare files while they are in use. On the event loop only, as is :meth:`pinned_of`."""
        held = Counter(files)
        self._pins += held
        try:
            yield
        finally:
            self._pins -= held

    def pinned_of(self, files: Iterable[str]) -> set[str]:
        """Those of the files that this process has in use."""
        return {file for file in files if file in self._pins}


def _add(descriptor: int, data: bytes) -> int:
    """Write at the end, at once, and sync; where that was."""
    if os.write(descriptor, data) < len(data):  # the rest could not follow directly
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    offset = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
    os.fdatasync(descriptor)
    return offset
