"""The text of moments: those that name snapshots and versions, and the dates of headers."""

from __future__ import annotations

import re
import time
from functools import lru_cache

from millpond.common.clock import SECOND, from_iso, to_http

_FORM = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})(\d)Z")
#: A moment before there was anything.
_NEVER = 1


def http_date(moment: int) -> str:
    """:func:`~millpond.common.clock.to_http`, remembered: it takes long beside the rest of a small answer."""
    return _http_date(moment // SECOND)


@lru_cache(4096)
def _http_date(second: int) -> str:
    return to_http(second * SECOND)


def to_snapshot(moment: int) -> str:
    """ISO 8601 with seven decimals (``2020-11-24T18:55:14.6100000Z``), so that texts sort as moments do."""
    seconds, micros = divmod(moment, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06}0Z"


def from_snapshot(text: str) -> int:
    """Raises ``ValueError`` for another form. A text between two microseconds is that of a moment without anything."""
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f"not the moment of a snapshot: {text!r}")
    moment = from_iso(match[1])
    return moment if match[2] == "0" else _NEVER
