"""The two checksums that requests and answers carry."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable

MD5_SIZE = 16
CRC64_SIZE = 8


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def crc64(data: bytes) -> bytes:
    """The CRC-64 of Azure Storage."""
    checksum = Crc64()
    checksum.update(data)
    return checksum.digest()


class Crc64:
    """The CRC-64 of Azure Storage, piece by piece: the polynomial known as NVME, 8 bytes in little-endian order."""

    def __init__(self) -> None:
        # Imported where it is first needed, since the service starts faster without.
        from awscrt.checksums import crc64nvme  # type: ignore[import-untyped]

        self._function: Callable[[bytes, int], int] = crc64nvme
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(CRC64_SIZE, "little")


def encode(digest: bytes) -> str:
    """As it stands in a header."""
    return binascii.b2a_base64(digest, newline=False).decode()


def decode(text: str, size: int | None) -> bytes:
    """The digest of a header. Raises ``ValueError`` where it is not base64 of that many bytes, or of any number."""
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error as failure:
        raise ValueError(str(failure)) from failure
    if size is not None and len(digest) != size:
        raise ValueError(f"{len(digest)} bytes instead of {size}")
    return digest
