"""The process that serves one mounted container of blobs: ``python -m millpond.node.blob_mount``.

Its standard input is a socket to the agent: a :class:`MountRequest` in JSON comes in, and one line goes out, empty
when the container can be reached, else the reason why not. Its standard output is an opened ``/dev/fuse``, which the
agent has mounted. It serves until it is ended.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .log import set_up as set_up_log

if TYPE_CHECKING:
    from .blob_files import BlobFiles, Entry

log = logging.getLogger(__name__)

_AGENT, _FUSE = 0, 1
_WHOLE_BLOCK, _BLOCKS = 4096, 1 << 38
#: So much is sent, or fetched, at a time.
_PIECE = 4 << 20


class MountRequest(msgspec.Struct, frozen=True, kw_only=True):
    #: Without a signature.
    container_url: str
    #: Either an account key with its account's name, or a shared access signature.
    account_name: str
    account_key: str | None = None
    sas_key: str | None = None
    #: Where files that are being written are kept.
    directory: str
    #: How long the kernel believes what it was told of a file, in seconds.
    attribute_timeout: float = 1.0


class _Operations:
    """What the kernel asks for, as mfusepy calls it."""

    use_ns = True

    def __init__(self, files: BlobFiles) -> None:
        self._files = files

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        return _attributes(self._files.entry(path))

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, dict[str, int], int]]:
        directory = {"st_mode": stat.S_IFDIR | 0o777}
        yield ".", directory, 0
        yield "..", directory, 0
        for name, is_directory in self._files.names(path):
            yield name, directory if is_directory else {"st_mode": stat.S_IFREG | 0o777}, 0

    def open(self, path: str, flags: int) -> int:
        return self._files.open(path, flags)

    def create(self, path: str, mode: int) -> int:
        return self._files.create(path)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._files.read(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return self._files.write(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self._files.truncate(path, length, fh)

    def flush(self, path: str, fh: int) -> None:
        self._files.flush(fh)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._files.flush(fh)

    def release(self, path: str, fh: int) -> None:
        self._files.release(fh)

    def unlink(self, path: str) -> None:
        self._files.unlink(path)

    def mkdir(self, path: str, mode: int) -> None:
        self._files.make_directory(path)

    def rmdir(self, path: str) -> None:
        self._files.remove_directory(path)

    def rename(self, old: str, new: str) -> None:
        self._files.rename(old, new)

    def chmod(self, path: str, mode: int) -> None:
        """Blobs have no modes; programs that copy files set them."""

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Nor owners."""

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        """Nor times but that of their last change."""

    def symlink(self, target: str, source: str) -> int:
        raise OSError(errno.EPERM, "blobs are no links")

    def link(self, target: str, source: str) -> int:
        raise OSError(errno.EPERM, "blobs are no links")

    def statfs(self, path: str) -> dict[str, int]:
        """Room without an end."""
        return {
            "f_bsize": _WHOLE_BLOCK,
            "f_frsize": _WHOLE_BLOCK,
            "f_blocks": _BLOCKS,
            "f_bfree": _BLOCKS,
            "f_bavail": _BLOCKS,
            "f_namemax": 255,
        }


def _attributes(entry: Entry) -> dict[str, Any]:
    moment = int(entry.modified * 1e9)
    kind = stat.S_IFDIR if entry.is_directory else stat.S_IFREG
    return {
        "st_mode": kind | 0o777,
        "st_nlink": 2 if entry.is_directory else 1,
        "st_size": entry.size,
        "st_blocks": (entry.size + 511) // 512,
        "st_mtime": moment,
        "st_atime": moment,
        "st_ctime": moment,
    }


def _open(request: MountRequest) -> BlobFiles:
    """Raises ``OSError``, ``ValueError``."""
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.storage.blob import ContainerClient

    from .blob_files import WINDOW, BlobFiles

    key, signature = request.account_key, (request.sas_key or "").lstrip("?")
    container = ContainerClient.from_container_url(
        f"{request.container_url}?{signature}" if signature else request.container_url,
        credential=AzureNamedKeyCredential(request.account_name, key) if key else None,
        max_single_put_size=_PIECE,
        max_block_size=_PIECE,
        max_single_get_size=WINDOW,
        max_chunk_get_size=_PIECE,
        connection_timeout=10,
        read_timeout=60,
        retry_total=3,
        initial_backoff=1,
    )
    files = BlobFiles(container, Path(request.directory))
    files.check()
    return files


def main() -> None:
    from . import linux

    sys.stdout = sys.stderr
    linux.set_undumpable()  # it holds a key
    set_up_log()
    logging.getLogger("azure").setLevel(logging.WARNING)
    received = b""
    while not received.endswith(b"\n"):
        piece = os.read(_AGENT, 1 << 16)
        if not piece:
            return
        received += piece
    try:
        os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
        try:
            import mfusepy
        except (ImportError, OSError) as error:
            raise OSError(errno.ENOENT, f"mfusepy or libfuse 3 is missing: {error}") from error
        request = msgspec.json.decode(received, type=MountRequest)
        files = _open(request)
    except (OSError, ValueError) as error:
        log.error("the container cannot be mounted: %s", error)
        os.write(_AGENT, f"{error}\n".encode())
        return
    log.info("%s is mounted", request.container_url)
    os.write(_AGENT, b"\n")
    # Files that are open keep their blobs from nothing, so they need no hidden names when they are removed.
    mfusepy.FUSE(
        _Operations(files),
        f"/dev/fd/{_FUSE}",
        foreground=True,
        hard_remove=True,
        attr_timeout=request.attribute_timeout,
        entry_timeout=request.attribute_timeout,
    )


if __name__ == "__main__":
    main()
