"""The content of one upload on its way to a row or to a file."""

from __future__ import annotations

import asyncio
import hashlib
import os

from ..model import Content
from .checksums import Crc64
from .files import ContentStore

#: Bytes that are handed to a thread at once, to be hashed and written while the next ones arrive.
_BATCH_SIZE = 1 << 20
#: Bytes after which the disk is told to begin with them.
_SYNC_SIZE = 16 << 20
#: Buffers that one call of ``writev`` takes.
_MAX_BUFFERS = 1024


class Upload:
    """Takes content in pieces and keeps no more than two batches of it in memory.

    It ends with :meth:`finish` or :meth:`discard`. MD5 and CRC-64 are computed only where asked for. Up to
    ``inline_size`` bytes are for a row.
    """

    def __init__(
        self, store: ContentStore, *, inline_size: int, md5_wanted: bool = False, crc64_wanted: bool = False
    ) -> None:
        self.size = 0
        self._store = store
        self._inline_size = inline_size
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._work: asyncio.Future[None] | None = None
        self._file = ""
        self._descriptor = -1
        self._written = self._synced = 0
        self._md5 = hashlib.md5(usedforsecurity=False) if md5_wanted else None
        self._crc64 = Crc64() if crc64_wanted else None

    async def write(self, piece: bytes) -> None:
        """Raises ``OSError`` where the disk does not take what came before."""
        self.size += len(piece)
        self._batch.append(piece)
        self._batch_size += len(piece)
        if self._batch_size >= _BATCH_SIZE or len(self._batch) == _MAX_BUFFERS:
            await self._settle()
            batch, self._batch, self._batch_size = self._batch, [], 0
            self._work = asyncio.get_running_loop().run_in_executor(self._store.threads, self._append, batch)

    async def finish(self) -> Content:
        """All of it, safe on disk though no row names it yet, or for a row."""
        data: bytes | None = None
        if self.size <= self._inline_size and self._work is None:
            data = b"".join(self._batch)
            self._store.check_room(len(data))
            self._hash(data)
        else:
            await self._settle()
            self._work = asyncio.get_running_loop().run_in_executor(self._store.threads, self._complete)
            await self._settle()
        return Content(
            size=self.size,
            file=self._file,
            data=data,
            md5=self._md5.digest() if self._md5 else b"",
            crc64=self._crc64.digest() if self._crc64 else b"",
        )

    async def discard(self) -> None:
        """Leave nothing of it; harmless after any end."""
        if self._work is not None:
            await asyncio.wait([self._work])
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._file:
            self._store.unlink([self._file])

    async def _settle(self) -> None:
        """Wait for the thread; shielded, since it goes on where whoever waits is cancelled."""
        if self._work is not None:
            await asyncio.shield(self._work)

    def _append(self, batch: list[bytes]) -> None:
        size = sum(map(len, batch))
        self._store.check_room(size)
        if not self._file:
            self._file, self._descriptor = self._store.create()
        _write_all(self._descriptor, batch)
        self._written += size
        if self._written - self._synced >= _SYNC_SIZE:
            self._store.begin_sync(self._descriptor, self._synced, self._written - self._synced)
            self._synced = self._written
        for piece in batch:
            self._hash(piece)

    def _complete(self) -> None:
        self._append(self._batch)
        self._store.sync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def _hash(self, piece: bytes) -> None:
        if self._md5:
            self._md5.update(piece)
        if self._crc64:
            self._crc64.update(piece)


def _write_all(descriptor: int, buffers: list[bytes]) -> None:
    left = [memoryview(buffer) for buffer in buffers if buffer]
    while left:
        written = os.writev(descriptor, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
