"""How much a request may carry, which has grown over the versions."""

from __future__ import annotations

from typing import NamedTuple

_MIB = 1 << 20


class BodyLimits(NamedTuple):
    """Most bytes of a Put Block and of a Put Blob."""

    block: int
    blob: int


# From this version on. The service itself stops at 5,000 MiB for a blob; 5 GiB in one request does no harm here.
_LIMITS = (
    ("2019-12-12", BodyLimits(block=4000 * _MIB, blob=5120 * _MIB)),
    ("2016-05-31", BodyLimits(block=100 * _MIB, blob=256 * _MIB)),
    ("", BodyLimits(block=4 * _MIB, blob=64 * _MIB)),
)

#: From this version on a Put Block is answered with a CRC-64, before with an MD5.
CRC64_SINCE = "2019-02-02"

#: Largest range whose checksum a download may ask for.
MAX_CHECKED_RANGE = 4 * _MIB


#: Most bytes of an Append Block, from 2022-11-02 on and before; and of a Put Page.
_MAX_APPENDED = 100 * _MIB
_MAX_APPENDED_ONCE = 4 * _MIB
MAX_PAGES = 4 * _MIB


def appended_limit(version: str) -> int:
    return _MAX_APPENDED if version >= "2022-11-02" else _MAX_APPENDED_ONCE


def body_limits(version: str) -> BodyLimits:
    return next(limits for since, limits in _LIMITS if version >= since)
