"""The only door to time and randomness.

A moment is an ``int``: microseconds since 1970-01-01T00:00:00Z. Integers compare, sort, index and
serialise without care; they become text only on the wire (:func:`to_iso`, :func:`to_http`).
"""

from __future__ import annotations

import email.utils
import re
import secrets
import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: 100 ns ticks from 0001-01-01 (the .NET epoch, which ETags and unlimited durations count from) to 1970.
_DOTNET_EPOCH_TICKS = 621_355_968_000_000_000

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,32}))?)?)?(?:([Zz])|([+-])(\d\d):?(\d\d))?"
)


class Clock(Protocol):
    """Where moments and random names come from; tests and virtual time put their own in its place."""

    def now(self) -> int:
        """The present moment, in microseconds since 1970 (UTC)."""
        ...

    def guid(self) -> str:
        """A new random GUID in lower case."""
        ...

    def token(self) -> str:
        """A new secret of 256 random bits, URL-safe."""
        ...


class SystemClock:
    """The machine's clock and the operating system's randomness."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def guid(self) -> str:
        return str(uuid.uuid4())

    def token(self) -> str:
        return secrets.token_urlsafe(32)


def to_datetime(moment: int) -> datetime:
    """An aware UTC datetime."""
    return datetime.fromtimestamp(moment // SECOND, UTC).replace(microsecond=moment % SECOND)


def to_iso(moment: int) -> str:
    """ISO 8601 in UTC as Azure writes it: trailing zeros of the fraction trimmed (``2020-11-24T18:55:14.61Z``)."""
    seconds, micros = divmod(moment, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{f'{micros:06d}'.rstrip('0')}Z" if micros else f"{text}Z"


@lru_cache(256)  # a signature's times come with each request
def from_iso(text: str) -> int:
    """Parse an ISO 8601 date or date-time, read as UTC where it names no zone; what is finer than a microsecond is cut.

    Clients of 2018 write 20 digits after the point.
    Raises ``ValueError`` for anything else.
    """
    match = _ISO.fullmatch(text)
    if not match:
        raise ValueError(f"not an ISO 8601 time: {text!r}")
    year, month, day, hour, minute, second, fraction, _, sign, off_h, off_m = match.groups()
    moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
    micros = int((fraction or "0").ljust(6, "0")[:6])
    offset = (int(off_h) * 60 + int(off_m)) * MINUTE if sign else 0
    return int(moment.timestamp()) * SECOND + micros - (offset if sign == "+" else -offset)


def to_http(moment: int) -> str:
    """RFC 1123, as in the ``Date`` and ``Last-Modified`` headers (whole seconds)."""
    return email.utils.formatdate(moment // SECOND, usegmt=True)


def from_http(text: str) -> int:
    """Parse an RFC 1123 date. Raises ``ValueError`` for anything else."""
    try:
        parsed = email.utils.parsedate_to_datetime(text)
    except (TypeError, IndexError) as error:
        raise ValueError(f"not an RFC 1123 date: {text!r}") from error
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return int(parsed.timestamp()) * SECOND


def to_etag(moment: int) -> str:
    """The service's ETag for an entity last modified at ``moment``, unquoted: ``0x8D8…`` (.NET ticks in hex)."""
    return f"0x{moment * 10 + _DOTNET_EPOCH_TICKS:X}"
