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


class Stretch(NamedTuple):
    """Some bytes of a file; without a file, as many zeros."""

    file: str
    offset: int
    length: int


def stretches(reading: Reading) -> Iterator[Stretch]:
    """Where the bytes of a reading are that is not inline, in order."""
    position = reading.begin
    for segment in reading.segments:
        if position < segment.start:
            yield Stretch("", 0, segment.start - position)
        first = max(reading.begin - segment.start, 0)
        last = min(reading.end - segment.start, segment.size)
        yield Stretch(segment.file, segment.offset + first, last - first)
        position = segment.end
    if position < reading.end:
        yield Stretch("", 0, reading.end - position)


def inline(reading: Reading) -> bytes | None:
    """The bytes of a reading that need no file, which is that of a small blob."""
    data = reading.blob.data
    return None if data is None else data[reading.begin : reading.end]


def files(reading: Reading) -> list[str]:
    return [segment.file for segment in reading.segments if segment.file]


async def read_pieces(content: ContentStore, reading: Reading) -> AsyncIterator[bytes]:
    """The bytes of a reading, read by a thread at most 1 MiB at a time."""
    data = inline(reading)
    if data is not None:
        yield data
        return
    for stretch in stretches(reading):
        if not stretch.file:
            for piece in _zeros(stretch.length):
                yield piece
            continue
        descriptor = content.open(stretch.file)
        try:
            async for piece in _read(content, descriptor, stretch):
                yield piece
        finally:
            os.close(descriptor)


async def _read(content: ContentStore, descriptor: int, stretch: Stretch) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    end = stretch.offset + stretch.length
    for offset in range(stretch.offset, end, _READ_SIZE):
        length = min(_READ_SIZE, end - offset)
        yield await loop.run_in_executor(content.threads, os.pread, descriptor, length, offset)


def _zeros(length: int) -> Iterator[bytes]:
    """So many, in pieces."""
    for offset in range(0, length, _READ_SIZE):
        yield bytes(min(_READ_SIZE, length - offset))


async def send_reading(send: Send, extensions: Any, content: ContentStore, reading: Reading) -> None:
    """Send the body of an answer whose start is sent. The caller has the reading's files pinned."""
    data = inline(reading)
    if data is not None:
        await send({"type": "http.response.body", "body": data})
        return
    for stretch in stretches(reading):
        if not stretch.file:
            for piece in _zeros(stretch.length):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            continue
        descriptor = content.open(stretch.file)
        try:
            if "http.response.zerocopysend" in extensions:
                await send(
                    {
                        "type": "http.response.zerocopysend",
                        "file": descriptor,
                        "offset": stretch.offset,
                        "count": stretch.length,
                        "more_body": True,
                    }
                )
            else:
                async for piece in _read(content, descriptor, stretch):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            os.close(descriptor)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_structured(send: Send, content: ContentStore, reading: Reading) -> None:
    """:func:`send_reading` as a structured message, whose checksums need every byte."""
    async for piece in structured.encode(read_pieces(content, reading), reading.end - reading.begin):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
