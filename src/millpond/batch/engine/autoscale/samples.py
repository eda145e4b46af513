"""Samples of a pool's metrics: what is kept of them, and how a formula asks for them.

There is one sample every 30 seconds; the moments that have one are the multiples of :data:`PERIOD`. How many samples
a stretch of time should have is therefore a matter of arithmetic, and what is missing of them is known.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from millpond.common.clock import DAY, SECOND

from .errors import InsufficientData
from .variables import METRICS

#: Microseconds between two samples.
PERIOD: Final = 30 * SECOND
#: The percentage of the samples that GetSample insists on where the formula names none.
DEFAULT_PERCENT: Final = 70.0


class Samples(NamedTuple):
    """The samples of one metric, oldest first: the moments (multiples of :data:`PERIOD`) and what was measured."""

    times: Sequence[int]
    values: Sequence[float]


class SampleHistory(Protocol):
    """Where a formula's samples come from."""

    def samples(self, metric: str) -> Samples:
        """All that is known of a metric, by its name with the dollar sign (a key of ``METRICS``)."""
        ...


class History:
    """The samples of one pool, as far back as ``kept`` microseconds: at the default, some 45 KiB for each metric."""

    def __init__(self, kept: int = DAY) -> None:
        self._kept = kept
        self._samples: dict[str, tuple[array[int], array[float]]] = {}

    def record(self, now: int, values: Mapping[str, float]) -> None:
        """Take the sample of this moment, in place of one that the same period already has.

        A sample older than the newest one is dropped. Raises ``KeyError`` for a name that is no metric.
        """
        moment = now - now % PERIOD
        for name, value in values.items():
            if name not in METRICS:
                raise KeyError(name)
            times, numbers = self._samples.setdefault(name, (array("q"), array("d")))
            if not times or times[-1] < moment:
                times.append(moment)
                numbers.append(value)
            elif times[-1] == moment:
                numbers[-1] = value
            stale = bisect_right(times, moment - self._kept)
            del times[:stale], numbers[:stale]

    def samples(self, metric: str) -> Samples:
        return Samples(*self._samples.get(metric, ((), ())))


class Metric:
    """A read-only variable in a formula: ``name`` as the formula writes it, and its samples up to now."""

    def __init__(self, name: str, samples: Samples, now: int) -> None:
        self.name = name
        self.now = now
        self._times, self._values = samples

    def latest(self) -> float:
        """What the variable is where a number is wanted: its last sample."""
        if not self._values:
            raise self._insufficient("1 sample", "0")
        return float(self._values[-1])

    def count(self) -> int:
        return len(self._values)

    def begin(self) -> int:
        """The moment of the oldest sample."""
        if not self._times:
            raise self._insufficient("1 sample", "0")
        return self._times[0]

    def last(self, count: int) -> tuple[float, ...]:
        """The last samples, whatever their age, oldest first; fewer where there are no more."""
        return tuple(self._values[-count:]) if count > 0 else ()

    def between(self, one: int, other: int, percent: float) -> tuple[float, ...]:
        """The samples after the earlier of two moments and up to the later one, oldest first.

        Raises :class:`InsufficientData` unless that is the given percentage of those that there should be.
        """
        available = self.percent(one, other)
        if available < percent:
            raise self._insufficient(f"{percent:g}%", f"{int(available)}%")
        start, end = sorted((one, other))
        return tuple(self._values[bisect_right(self._times, start) : bisect_right(self._times, end)])

    def percent(self, one: int, other: int) -> float:
        """How much of what there should be between two moments there is, from 0 to 100."""
        start, end = sorted((one, other))
        possible = end // PERIOD - start // PERIOD
        available = bisect_right(self._times, end) - bisect_right(self._times, start)
        return 100.0 * available / possible if possible else 0.0

    def _insufficient(self, wanted: str, received: str) -> InsufficientData:
        return InsufficientData(f"Insufficient data from data set: {self.name} wanted {wanted}, received {received}")
