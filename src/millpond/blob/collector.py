"""What nobody needs any more goes: what a crash left, files without a blob, what was deleted, forgotten blocks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence, Set

from millpond.common.clock import DAY, Clock

from .content import ContentStore
from .store import Store, Transaction, Writer

_log = logging.getLogger(__name__)

#: Uncommitted blocks are kept so long after the last one of their blob was put.
BLOCK_LIFETIME = 7 * DAY
#: Seconds between two looks for forgotten blocks.
_ROUND_S = 3600
#: Seconds until another look at garbage that is still being sent.
_RETRY_S = 1
#: Most files, or names of blobs, in one transaction.
_AT_ONCE = 100

InUse = Callable[[Sequence[str]], Awaitable[Set[str]]]


class Collector:
    """Works in the background of a running service, in short transactions."""

    def __init__(self, store: Store, writer: Writer, content: ContentStore, clock: Clock, in_use: InUse) -> None:
        """``in_use``: those of the files that are being sent, which are spared until then."""
        self._store = store
        self._in_use = in_use
        self._content = content
        self._clock = clock
        self._wake = asyncio.Event()
        writer.watch("leftovers", self._wake.set)
        self._task: asyncio.Task[None] | None = None

    def recover(self) -> None:
        """Before the first request: sort out what a crash left in the middle of an upload."""
        for file in self._content.incoming():
            if self._store.read(Transaction.is_used, file):
                self._content.publish(file)
            else:
                self._content.unlink([file])

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._purge_containers()
                await self._drop_what_is_due()
                await self._drop_forgotten_blocks()
                is_clean = await self._unlink_garbage()
            except Exception:
                _log.exception("cannot collect what is no longer needed")
                is_clean = True  # the next round tries again
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ROUND_S if is_clean else _RETRY_S):
                    await self._wake.wait()

    async def _purge_containers(self) -> None:
        for container_id in self._store.read(Transaction.list_due_containers):
            await self._store.write(Transaction.delete_container, container_id)
        for container_id in self._store.read(Transaction.list_deleted_containers):
            while not await self._store.write_long(_purge_some, container_id):
                pass

    async def _drop_what_is_due(self) -> None:
        """Remove deleted blobs whose time to be brought back is over."""
        while await self._store.write_long(_drop_due):
            pass

    async def _drop_forgotten_blocks(self) -> None:
        while await self._store.write_long(_drop_some, self._clock.now() - BLOCK_LIFETIME):
            pass

    async def _unlink_garbage(self) -> bool:
        """Unlink the files that are listed as garbage; whether none is left."""
        loop = asyncio.get_running_loop()
        while garbage := self._store.read(Transaction.list_garbage, _AT_ONCE):
            used = await self._in_use(garbage)
            free = [file for file in garbage if file not in used]
            if not free:
                return False
            await loop.run_in_executor(self._content.threads, self._content.unlink, free)
            await self._store.write(Transaction.forget_garbage, free)
        return True


def _purge_some(transaction: Transaction, container_id: int) -> bool:
    """Delete some of what is in a deleted container; whether it is empty now."""
    blobs = transaction.list_any_blobs(container_id, _AT_ONCE)
    for blob_id, name in blobs:
        transaction.delete_blob(blob_id)
        transaction.delete_blocks(container_id, name)
    names = transaction.list_uncommitted(container_id, "", None, _AT_ONCE)
    for name, _ in names:
        transaction.delete_blocks(container_id, name)
    if blobs or names:
        return False
    transaction.forget_deleted_container(container_id)
    return True


def _drop_due(transaction: Transaction) -> bool:
    """Remove some deleted blobs that nothing can bring back any more; whether there were any."""
    due = transaction.list_due_blobs(_AT_ONCE)
    for blob_id in due:
        transaction.delete_blob(blob_id)
    return bool(due)


def _drop_some(transaction: Transaction, moment: int) -> bool:
    """Drop the blocks of some blobs that got none since that moment; whether there were any."""
    stale = transaction.list_stale(moment, _AT_ONCE)
    for container_id, name in stale:
        transaction.delete_blocks(container_id, name)
    return bool(stale)
