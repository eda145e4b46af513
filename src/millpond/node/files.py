"""File requests: what the node's files are to the service. Nothing outside the node's root is ever answered for.

A path is opened first and judged by where the open file really is, so neither ``..`` nor a link that a task swaps at
the right moment leads out.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from millpond.common.agent_protocol import FILE_CHUNK, FileEntry, FileReply, FileRequest

#: Entries per reply.
_PAGE = 1000
_HANDLE = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)


class _FileError(Exception):
    """Carries the ``error`` of a :class:`FileReply`."""


class FileService:
    """Answers file requests below one root, a part at a time."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)

    def answer(self, request: FileRequest) -> Iterator[FileReply]:
        """All parts of the answer, in order. Blocks on the disk; not for the agent's loop."""
        operations = {"list": self._list, "stat": self._stat, "read": self._read, "delete": self._delete}
        try:
            if "\0" in request.path or request.path.startswith("/") or ".." in request.path.split("/"):
                raise _FileError("invalidPath")
            yield from operations[request.operation](request)
        except _FileError as error:
            yield FileReply(request=request.request, error=str(error))
        except (FileNotFoundError, NotADirectoryError):
            yield FileReply(request=request.request, error="notFound")
        except (OSError, ValueError):
            yield FileReply(request=request.request, error="ioError")

    def _open(self, path: str) -> int:
        """A handle on what is at ``path``, where that is inside the root. Raises ``_FileError``, ``OSError``."""
        handle = os.open(f"{self._root}/{path}", _HANDLE | os.O_CLOEXEC)
        if not is_inside(place_of(handle), self._root):
            os.close(handle)
            raise _FileError("notFound")
        return handle

    def _stat(self, request: FileRequest) -> Iterator[FileReply]:
        handle = self._open(request.path)
        try:
            entries = [_entry(request.path.rpartition("/")[2], os.fstat(handle))]
        finally:
            os.close(handle)
        yield FileReply(request=request.request, entries=entries)

    def _list(self, request: FileRequest) -> Iterator[FileReply]:
        handle = self._open(request.path)
        try:
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                raise _FileError("notFound")
            page: list[FileEntry] = []
            for entry in _walk(place_of(handle), "", request.recursive):
                page.append(entry)
                if len(page) == _PAGE:
                    yield FileReply(request=request.request, entries=page, last=False)
                    page = []
        finally:
            os.close(handle)
        yield FileReply(request=request.request, entries=page)

    def _read(self, request: FileRequest) -> Iterator[FileReply]:
        handle = self._open(request.path)
        try:
            status = os.fstat(handle)
            if stat.S_ISDIR(status.st_mode):
                raise _FileError("isDirectory")
            if not stat.S_ISREG(status.st_mode):
                raise _FileError("notFound")
            file = os.open(_reopenable(handle), os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(handle)
        try:
            offset = request.offset
            end = status.st_size if request.length is None else min(status.st_size, offset + request.length)
            while True:
                data = os.pread(file, min(FILE_CHUNK, max(0, end - offset)), offset)
                offset += len(data)
                last = not data or offset >= end
                yield FileReply(request=request.request, data=data, last=last)
                if last:
                    return
        finally:
            os.close(file)

    def _delete(self, request: FileRequest) -> Iterator[FileReply]:
        if not request.path.strip("/"):
            raise _FileError("invalidPath")
        parent, _, name = request.path.rstrip("/").rpartition("/")
        handle = self._open(parent)
        try:
            directory = os.open(_reopenable(handle), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(handle)
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=directory)
            elif request.recursive:
                shutil.rmtree(name, dir_fd=directory)
            else:
                self._remove_empty(name, directory)
        finally:
            os.close(directory)
        yield FileReply(request=request.request)

    def _remove_empty(self, name: str, directory: int) -> None:
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            raise _FileError("directoryNotEmpty") from error


def _walk(directory: str, prefix: str, recursive: bool) -> Iterator[FileEntry]:
    """Entries below an opened directory; links count as what they are, and are not followed."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name == "certs" or entry.is_symlink():
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                yield _entry(prefix + entry.name, status)
                if recursive and stat.S_ISDIR(status.st_mode):
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", recursive)
            except FileNotFoundError:
                continue  # gone meanwhile


def _entry(name: str, status: os.stat_result) -> FileEntry:
    is_directory = stat.S_ISDIR(status.st_mode)
    name = os.fsencode(name).decode(errors="replace")  # what is no UTF-8 cannot be said, nor asked for
    return FileEntry(
        name, is_directory, 0 if is_directory else status.st_size, status.st_mtime_ns // 1000, status.st_mode
    )


def is_inside(place: str, root: str) -> bool:
    return place == root or place.startswith(f"{root}/")


def place_of(handle: int) -> str:
    """Where an open file is now."""
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(handle, 50, b"\0" * 1024).rstrip(b"\0").decode()  # F_GETPATH
    return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115


def _reopenable(handle: int) -> str:
    return f"/proc/self/fd/{handle}" if sys.platform == "linux" else place_of(handle)
