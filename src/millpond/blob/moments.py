"""The text of the moments that name snapshots and versions."""

from __future__ import annotations

import re
import time

from millpond.common.clock import SECOND, from_iso

_FORM = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})(\d)Z")
#: A moment before there was anything.
_NEVER = 1


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
