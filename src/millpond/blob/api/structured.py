"""Structured messages: a body in segments, each followed by its CRC-64, and all by that of the whole.

The newest clients send and ask for them where they check content by CRC-64 while it streams
(``x-ms-structured-body``). All numbers are little-endian::

    version: 1 byte, 1 · length of the message: 8 · flags: 2, 1 for CRC-64 · number of segments: 2
    segment: its number from 1: 2 · its length: 8 · its bytes · CRC-64: 8
    CRC-64 of the bytes of all segments: 8
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import Final

from ..content.checksums import CRC64_SIZE, Crc64
from ..errors import error, invalid_header
from ..request import Request

HEADER: Final = "x-ms-structured-body"
LENGTH_HEADER: Final = "x-ms-structured-content-length"
KIND: Final = "XSM/1.0; properties=crc64"

_MESSAGE = struct.Struct("<BQHH")
_SEGMENT = struct.Struct("<HQ")
_WITH_CRC64 = 1
_MAX_SEGMENTS = 0xFFFF
_SEGMENT_SIZE = 4 << 20


def is_structured(request: Request) -> bool:
    """Whether a request brings, or asks for, a structured message. Raises ``InvalidHeaderValue`` for another kind."""
    kind = request.header(HEADER)
    if kind and kind.replace(" ", "").lower() != KIND.replace(" ", "").lower():
        raise invalid_header(HEADER, kind)
    return bool(kind)


def _segment_size(size: int) -> int:
    return max(_SEGMENT_SIZE, -(-size // _MAX_SEGMENTS))


def encoded_length(size: int) -> int:
    """The length of the message for so many bytes."""
    segments = max(-(-size // _segment_size(size)), 1)
    return _MESSAGE.size + segments * (_SEGMENT.size + CRC64_SIZE) + size + CRC64_SIZE


async def encode(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The message for ``size`` bytes that come in pieces."""
    segment_size = _segment_size(size)
    segments = max(-(-size // segment_size), 1)
    source = _Source(pieces)
    whole = Crc64()
    yield _MESSAGE.pack(1, encoded_length(size), _WITH_CRC64, segments)
    for number in range(segments):
        length = min(segment_size, size - number * segment_size)
        segment = Crc64()
        yield _SEGMENT.pack(number + 1, length)
        async for piece in source.take(length):
            segment.update(piece)
            whole.update(piece)
            yield piece
        yield segment.digest()
    yield whole.digest()


async def decode(pieces: AsyncIterator[bytes], message_length: int, size: int) -> AsyncIterator[bytes]:
    """The ``size`` bytes that a message carries.

    Raises ``Crc64Mismatch``, or ``InvalidInput`` for what is not such a message. What was yielded until then must not
    be used.
    """
    source = _Source(pieces)
    version, length, flags, segments = _MESSAGE.unpack(await source.read(_MESSAGE.size))
    if version != 1 or length != message_length or flags & ~_WITH_CRC64:
        raise error("InvalidInput")
    whole = Crc64()
    for number in range(1, segments + 1):
        found, length = _SEGMENT.unpack(await source.read(_SEGMENT.size))
        if found != number or length > size:
            raise error("InvalidInput")
        size -= length
        segment = Crc64()
        async for piece in source.take(length):
            segment.update(piece)
            whole.update(piece)
            yield piece
        if flags:
            _compare(segment, await source.read(CRC64_SIZE))
    if flags:
        _compare(whole, await source.read(CRC64_SIZE))
    if size or not await source.is_at_end():
        raise error("InvalidInput")


def _compare(computed: Crc64, sent: bytes) -> None:
    if computed.digest() != sent:
        raise error("Crc64Mismatch")


class _Source:
    """Pieces as they come, taken by the length that is wanted."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    async def read(self, length: int) -> bytes:
        """So many bytes at once; few, for they are put together."""
        return b"".join([piece async for piece in self.take(length)])

    async def take(self, length: int) -> AsyncIterator[bytes]:
        """So many bytes. Raises ``InvalidInput`` where fewer come."""
        while length:
            if not self._rest and not await self._next():
                raise error("InvalidInput")
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            yield piece

    async def is_at_end(self) -> bool:
        return not self._rest and not await self._next()

    async def _next(self) -> bool:
        self._rest = await anext(self._pieces, b"")
        return bool(self._rest)
