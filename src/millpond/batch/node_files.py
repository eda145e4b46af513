"""The files of connected nodes, read through their agents' channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

from millpond.common.agent_protocol import FILE_CHUNK, FileEntry, FileReply, FileRequest
from millpond.common.errors import ServiceError

from .agents import Agents
from .errors import error

_ERRORS = {
    "notFound": "FileNotFound",
    "invalidPath": "FileNotFound",
    "isDirectory": "OperationInvalidForCurrentState",
    "directoryNotEmpty": "OperationInvalidForCurrentState",
}
_REASONS = {
    "isDirectory": "The path names a directory.",
    "directoryNotEmpty": "The directory is not empty, and the request is not recursive.",
}


class NodeFiles:
    """Paths are relative to a node's root directory.

    All raise :class:`ServiceError`: ``FileNotFound``, ``OperationInvalidForCurrentState`` (a directory that should be a
    file, or should be empty), ``NodeNotReady`` (not connected, or no answer).
    """

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def list(self, node: str, path: str, recursive: bool) -> list[FileEntry]:
        """What is in a directory; names are relative to it."""
        entries: list[FileEntry] = []
        async for reply in self._ask(node, "list", path, recursive=recursive):
            entries += reply.entries
        return entries

    async def stat(self, node: str, path: str) -> FileEntry:
        async for reply in self._ask(node, "stat", path):
            return reply.entries[0]
        raise error("NodeNotReady")

    async def delete(self, node: str, path: str, recursive: bool) -> None:
        async for _ in self._ask(node, "delete", path, recursive=recursive):
            pass

    async def read(self, node: str, path: str, offset: int, length: int) -> AsyncIterator[bytes]:
        """The content of that range, or as much of it as there is; errors come before the first piece.

        A piece is asked for while the one before it is taken, so a slow reader holds two of them at most.
        """
        first = await self._piece(node, path, offset, min(length, FILE_CHUNK))
        return self._pieces(first, node, path, offset, length)

    async def _pieces(self, piece: bytes, node: str, path: str, offset: int, length: int) -> AsyncIterator[bytes]:
        end = offset + length
        while piece:
            offset += len(piece)
            following = asyncio.ensure_future(self._piece(node, path, offset, min(end - offset, FILE_CHUNK)))
            try:
                yield piece
                piece = await following
            finally:
                following.cancel()

    async def _piece(self, node: str, path: str, offset: int, length: int) -> bytes:
        parts = [b""]
        if length:
            parts += [reply.data async for reply in self._ask(node, "read", path, offset=offset, length=length)]
        return b"".join(parts)

    async def _ask(
        self, node: str, operation: Literal["list", "stat", "read", "delete"], path: str, **details: Any
    ) -> AsyncIterator[FileReply]:
        def request(number: int) -> FileRequest:
            return FileRequest(request=number, operation=operation, path=path, **details)

        async for reply in self._agents.ask(node, request):
            if isinstance(reply, FileReply):
                if reply.error is not None:
                    raise _error(reply.error)
                yield reply


def _error(name: str) -> ServiceError:
    reason = _REASONS.get(name)
    return error(_ERRORS.get(name, "InternalError"), *((("Reason", reason),) if reason else ()))
