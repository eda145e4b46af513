"""Sending a blob's bytes: by the kernel where the server can, else in pieces that a thread reads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

from ..content import ContentStore
from ..service.blobs import Reading
from . import structured

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Bytes read at once where the server does not take files.
_READ_SIZE = 1 << 20


class Piece(NamedTuple):
    """A stretch of an answer: some bytes of a file, or all of ``data``."""

    file: str | None
    offset: int
    length: int
    data: bytes


def pieces(reading: Reading) -> Iterator[Piece]:
    """The bytes of a reading, in order."""
    blob, begin, end, segments = reading
    if blob.data is not None:
        yield Piece(None, 0, end - begin, blob.data[begin:end])
    for segment in segments:
        first, last = max(begin - segment.start, 0), min(end - segment.start, segment.size)
        if segment.file:
            yield Piece(segment.file, first, last - first, b"")
        elif segment.data is not None:
            yield Piece(None, 0, last - first, segment.data[first:last])


def files(reading: Reading) -> list[str]:
    return [segment.file for segment in reading.segments if segment.file]


async def read_pieces(content: ContentStore, reading: Reading) -> AsyncIterator[bytes]:
    """The bytes of a reading, read by a thread in stretches of at most 1 MiB."""
    for piece in pieces(reading):
        if not piece.file:
            yield piece.data
            continue
        descriptor = content.open(piece.file)
        try:
            async for data in _stretches(content, descriptor, piece):
                yield data
        finally:
            os.close(descriptor)


async def _stretches(content: ContentStore, descriptor: int, piece: Piece) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    end = piece.offset + piece.length
    for offset in range(piece.offset, end, _READ_SIZE):
        count = min(_READ_SIZE, end - offset)
        yield await loop.run_in_executor(content.threads, os.pread, descriptor, count, offset)


async def send_structured(send: Send, content: ContentStore, reading: Reading) -> None:
    """:func:`send_reading` as a structured message, whose checksums need every byte."""
    async for data in structured.encode(read_pieces(content, reading), reading.end - reading.begin):
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_reading(send: Send, extensions: Any, content: ContentStore, reading: Reading) -> None:
    """Send the body of an answer whose start is sent. The caller has the reading's files pinned."""
    if reading.blob.data is not None:  # the usual small blob, with one message less
        (piece,) = pieces(reading)
        await send({"type": "http.response.body", "body": piece.data})
        return
    for piece in pieces(reading):
        if not piece.file:
            await send({"type": "http.response.body", "body": piece.data, "more_body": True})
            continue
        descriptor = content.open(piece.file)
        try:
            if "http.response.zerocopysend" in extensions:
                await send(
                    {
                        "type": "http.response.zerocopysend",
                        "file": descriptor,
                        "offset": piece.offset,
                        "count": piece.length,
                        "more_body": True,
                    }
                )
            else:
                async for data in _stretches(content, descriptor, piece):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            os.close(descriptor)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
