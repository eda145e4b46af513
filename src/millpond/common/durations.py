"""ISO 8601 durations as the Batch service reads and writes them, in microseconds."""

from __future__ import annotations

import re

from .clock import DAY, HOUR, MINUTE, SECOND

#: The largest .NET TimeSpan: what the service returns for "no limit".
UNLIMITED_TEXT = "P10675199DT2H48M5.4775807S"
#: The same in microseconds.
UNLIMITED = 10_675_199 * DAY + 2 * HOUR + 48 * MINUTE + 5 * SECOND + 477_580

_DURATION = re.compile(
    r"(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?"
    r"(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?)?"
)


def parse_duration(text: str) -> int:
    """Microseconds of an ISO 8601 duration (a year counts 365 days, a month 30, as XmlConvert does).

    Raises ``ValueError`` for other text.
    """
    match = _DURATION.fullmatch(text)
    if not match or text.endswith(("P", "T")):
        raise ValueError(f"not an ISO 8601 duration: {text!r}")
    sign, years, months, weeks, days, hours, minutes, seconds, fraction = match.groups()
    total = (
        (int(years or 0) * 365 + int(months or 0) * 30 + int(weeks or 0) * 7 + int(days or 0)) * DAY
        + int(hours or 0) * HOUR
        + int(minutes or 0) * MINUTE
        + int(seconds or 0) * SECOND
        + int((fraction or "0").ljust(6, "0")[:6])
    )
    return min(-total if sign else total, UNLIMITED)


def format_duration(micros: int) -> str:
    """The normal form the service answers with: ``PT6H``, ``P7D``, ``P1DT2H3M4.5S``."""
    if micros >= UNLIMITED:
        return UNLIMITED_TEXT
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    days, rest = divmod(micros, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, fraction = divmod(rest, SECOND)
    time_part = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    if seconds or fraction:
        text = f"{fraction:06d}".rstrip("0")
        time_part += f"{seconds}.{text}S" if text else f"{seconds}S"
    date_part = f"{days}D" if days else ""
    if not date_part and not time_part:
        return "PT0S"
    return f"{sign}P{date_part}{'T' + time_part if time_part else ''}"
