"""Copies from other services, which go on in the background and begin anew after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

from millpond.common.clock import SECOND, Clock

from .content import ContentStore, Upload
from .model import PendingCopy
from .remote import Remote, RemoteError
from .service import copying
from .store import Store, Transaction, Writer

_log = logging.getLogger(__name__)

#: Copies at one time; the others wait.
_AT_ONCE = 4
#: How often a copy says how far it is.
_PROGRESS_PERIOD = SECOND
#: How often a source that breaks off is tried.
_ATTEMPTS = 3


class Copier:
    """Carries out the copies that are noted as pending, whoever noted them, and stops those that no longer are."""

    def __init__(self, store: Store, writer: Writer, content: ContentStore, clock: Clock, remote: Remote) -> None:
        self._store = store
        self._content = content
        self._clock = clock
        self._remote = remote
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: Copies whose last word is with the store. They are not stopped.
        self._ending: set[str] = set()
        writer.watch("copies", self.look)

    def look(self) -> None:
        """Begin and stop copies until it is the pending ones that are under way."""
        pending = {copy.copy_id: copy for copy in self._store.read(Transaction.list_pending_copies)}
        for copy_id in self._tasks.keys() - pending.keys() - self._ending:
            self._tasks[copy_id].cancel()
        for copy_id in pending.keys() - self._tasks.keys():
            task = self._tasks[copy_id] = asyncio.create_task(self._copy(pending[copy_id]))
            task.add_done_callback(partial(self._forget, copy_id))

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, copy_id: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(copy_id)
        self._ending.discard(copy_id)

    async def _copy(self, pending: PendingCopy) -> None:
        try:
            async with self._room:
                await self._try(pending)
        except RemoteError as failure:
            await self._fail(pending, f"{failure.status or 500} {failure.message}")
        except Exception:
            _log.exception("copy %s", pending.copy_id)
            await self._fail(pending, "500 The server encountered an internal error.")

    async def _fail(self, pending: PendingCopy, reason: str) -> None:
        self._ending.add(pending.copy_id)
        await self._store.write(copying.fail_copy, pending, reason)

    async def _try(self, pending: PendingCopy) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._fetch(pending)
            except RemoteError as failure:
                if failure.status or attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(attempt)

    async def _fetch(self, pending: PendingCopy) -> None:
        upload = Upload(self._content, inline_size=0, md5_wanted=True)
        try:
            async with self._remote.opened(pending.url, {}) as body:
                async for piece in self._followed(pending, body.pieces):
                    await upload.write(piece)
            content = await upload.finish()
        except BaseException:
            await upload.discard()
            raise
        self._ending.add(pending.copy_id)
        if await self._store.write(copying.finish_copy, pending, content, content.md5):
            self._content.publish(content.file)
        else:
            await upload.discard()

    async def _followed(self, pending: PendingCopy, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, with a note of how many bytes came from time to time."""
        copied, said_at = 0, self._clock.now()
        async for piece in pieces:
            yield piece
            copied += len(piece)
            if self._clock.now() - said_at > _PROGRESS_PERIOD:
                said_at = self._clock.now()
                await self._store.write(copying.note_progress, pending, copied)
