"""Structured messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.blob.requests import make_request

from millpond.blob.api import structured
from millpond.common.errors import ServiceError


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def encoded(data: bytes) -> bytes:
    return b"".join([piece async for piece in structured.encode(in_pieces(data, 70_000), len(data))])


async def decoded(message: bytes, size: int, piece: int = 1000, length: int | None = None) -> bytes:
    pieces = structured.decode(in_pieces(message, piece), len(message) if length is None else length, size)
    return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("size", [0, 1, 4 << 20, (4 << 20) + 1, 9 << 20])
async def test_a_message_has_the_length_that_was_told_and_brings_its_bytes(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    message = await encoded(data)
    assert len(message) == structured.encoded_length(size)
    assert int.from_bytes(message[1:9], "little") == len(message)
    assert await decoded(message, size, 65_536) == data


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=200), piece=st.integers(1, 50))
async def test_it_may_come_in_any_pieces(data: bytes, piece: int) -> None:
    assert await decoded(await encoded(data), len(data), piece) == data


@settings(max_examples=80, deadline=None)
@given(data=st.binary(min_size=1, max_size=60), place=st.integers(0, 10_000), bit=st.integers(0, 7))
async def test_no_bit_of_it_changes_unnoticed(data: bytes, place: int, bit: int) -> None:
    message = bytearray(await encoded(data))
    message[place % len(message)] ^= 1 << bit
    with pytest.raises(ServiceError, match=r"InvalidInput|Crc64Mismatch"):
        await decoded(bytes(message), len(data))


@pytest.mark.parametrize("change", [-1, 1, 50])
async def test_it_is_as_long_as_it_says(change: int) -> None:
    message = await encoded(b"hello")
    other = message[:change] if change < 0 else message + bytes(change)
    for length in (len(message), len(other)):
        with pytest.raises(ServiceError, match="InvalidInput"):
            await decoded(other, 5, length=length)
    for size in (4, 6):
        with pytest.raises(ServiceError, match="InvalidInput"):
            await decoded(message, size)


async def test_checksums_may_be_left_out() -> None:
    message = b"\x01" + (28).to_bytes(8, "little") + b"\0\0\1\0" + b"\1\0" + (5).to_bytes(8, "little") + b"hello"
    assert await decoded(message, 5) == b"hello"


def test_another_kind_of_message_is_not_taken_for_one() -> None:
    assert structured.is_structured(make_request(headers={structured.HEADER: "XSM/1.0;properties=crc64"}))
    assert not structured.is_structured(make_request())
    with pytest.raises(ServiceError, match="InvalidHeaderValue"):
        structured.is_structured(make_request(headers={structured.HEADER: "XSM/2.0; properties=crc64"}))
