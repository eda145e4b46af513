"""The types of the language, and how their values are written.

A double is a ``float``, a doubleVec a tuple of them, a string a ``str``; the node deallocation option is the model's
enum. Moments and lengths of time count ticks of 100 ns, the finest unit that the language names.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from millpond.common.clock import from_http, from_iso
from millpond.common.durations import format_duration

from ...model.pool import DeallocationOption
from .errors import Problem
from .samples import Metric

TICKS_PER_MICROSECOND: Final = 10
_SECOND: Final = 10_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Elements of a vector that the results show: more than two hours of samples.
_MOST_WRITTEN: Final = 256
#: The years 1 to 9999, as ticks from 1970.
_FIRST, _LAST = (
    int((moment - _EPOCH).total_seconds()) * _SECOND
    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
)


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """Ticks since 1970 (UTC)."""

    ticks: int

    def field(self, name: str) -> float:
        moment = _EPOCH + timedelta(microseconds=self.ticks // TICKS_PER_MICROSECOND)
        match name:
            case "year" | "month" | "day" | "hour" | "minute" | "second":
                return float(getattr(moment, name))
            case "weekday":
                return float(moment.isoweekday())
        raise Problem(f"Undefined symbol: {name}")


class TimeInterval(msgspec.Struct, frozen=True, order=True):
    ticks: int


Vector = tuple[float, ...]
Value = float | Vector | str | Timestamp | TimeInterval | DeallocationOption | Metric

_NAMES: dict[type, str] = {
    float: "double",
    tuple: "doubleVec",
    str: "string",
    Timestamp: "timestamp",
    TimeInterval: "timeinterval",
    DeallocationOption: "deallocation option",
    Metric: "metric",
}

CONSTANTS: dict[str, Value] = {
    "TimeInterval_Zero": TimeInterval(0),
    "TimeInterval_100ns": TimeInterval(1),
    "TimeInterval_Microsecond": TimeInterval(TICKS_PER_MICROSECOND),
    "TimeInterval_Millisecond": TimeInterval(_SECOND // 1000),
    "TimeInterval_Second": TimeInterval(_SECOND),
    "TimeInterval_Minute": TimeInterval(60 * _SECOND),
    "TimeInterval_Hour": TimeInterval(3600 * _SECOND),
    "TimeInterval_Day": TimeInterval(86_400 * _SECOND),
    "TimeInterval_Week": TimeInterval(7 * 86_400 * _SECOND),
    "TimeInterval_Year": TimeInterval(365 * 86_400 * _SECOND),
    **{option.value: option for option in DeallocationOption},
}


def type_name(value: Value) -> str:
    """The language's name of a value's type."""
    return _NAMES[type(value)]


def plain(value: Value) -> Value:
    """A metric used as a value is its latest sample."""
    return value.latest() if isinstance(value, Metric) else value


def checked(value: Value) -> Value:
    """The value, unless it is one that cannot be: not a number, infinite, or a time out of range."""
    match value:
        case float():
            if not math.isfinite(value):
                raise Problem("the result is not a finite number")
        case tuple():
            if not all(map(math.isfinite, value)):
                raise Problem("an element of the result is not a finite number")
        case Timestamp(ticks=ticks):
            if not _FIRST <= ticks <= _LAST:
                raise Problem("the result is out of the range of timestamps")
        case TimeInterval(ticks=ticks):
            if not -(2**63) <= ticks < 2**63:
                raise Problem("the result is out of the range of time intervals")
        case _:
            pass
    return value


def moment_of(text: str) -> Timestamp:
    """Read a date and time in W3C-DTF or RFC 1123; what names no zone is UTC. Raises :class:`Problem`."""
    padded = text + {4: "-01-01", 7: "-01"}.get(len(text), "")
    # The service knows no fraction of more than seven digits, which is all that .NET can hold.
    digits = padded.partition(".")[2].rstrip("Zz").partition("+")[0].partition("-")[0]
    for read in (from_iso, from_http) if len(digits) <= 7 else ():
        try:
            return Timestamp(read(padded) * TICKS_PER_MICROSECOND)
        except (ValueError, OverflowError):
            continue
    raise Problem(f'time: "{text}" is not a date and time in W3C-DTF or RFC 1123')


def written(value: Value) -> str:
    """The value as the results of an evaluation show it."""
    match value:
        case float():
            # Doubles beyond 2**53 are written with an exponent: their last digits would be noise.
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value).upper()
        case tuple():
            more = ",..." if len(value) > _MOST_WRITTEN else ""
            return f"[{','.join(map(written, value[:_MOST_WRITTEN]))}{more}]"
        case Timestamp(ticks=ticks):
            moment = _EPOCH + timedelta(microseconds=ticks // TICKS_PER_MICROSECOND)
            return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
        case TimeInterval(ticks=ticks):
            micros = abs(ticks) // TICKS_PER_MICROSECOND
            return format_duration(-micros if ticks < 0 else micros)
        case DeallocationOption():
            return value.value
        case str():
            return f'"{value}"'
        case Metric():
            return written(value.latest())
