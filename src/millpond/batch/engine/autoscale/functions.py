"""The functions of the language, and the methods of its metrics.

``time``, ``rand`` and ``stop`` depend on the evaluation, which has them itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .errors import Problem
from .samples import DEFAULT_PERCENT, PERIOD, Metric
from .values import TICKS_PER_MICROSECOND, TimeInterval, Timestamp, Value, Vector, plain, type_name


def _std(vector: Vector) -> float:
    if len(vector) < 2:
        raise Problem("std needs at least two values")
    mean = sum(vector) / len(vector)
    return math.sqrt(sum((each - mean) * (each - mean) for each in vector) / (len(vector) - 1))


def _logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    def apply(number: float) -> float:
        if number <= 0:
            raise Problem("a logarithm is of a number above zero")
        return function(number)

    return apply


def _round(number: float) -> float:
    """To the nearest integer, halves away from zero."""
    fraction, whole = math.modf(number)
    return whole + math.copysign(1.0, number) if abs(fraction) >= 0.5 else whole


def _percentile(vector: Vector, percent: float) -> float:
    """The nearest-rank percentile, which is always an element of the vector."""
    if not vector:
        raise Problem("percentile of no values")
    if not 0 <= percent <= 100:
        raise Problem("a percentile is between 0 and 100")
    return sorted(vector)[max(0, math.ceil(percent / 100 * len(vector)) - 1)]


def _val(vector: Vector, index: float) -> float:
    place = int(index)
    if not 0 <= place < len(vector):
        raise Problem(f"val: there is no element {place} in a vector of {len(vector)}")
    return vector[place]


#: Of a list of doubles and vectors in any mixture, taken as one vector.
_OF_LIST: dict[str, Callable[[Vector], Value]] = {
    "avg": lambda vector: sum(vector) / len(vector),
    "len": lambda vector: float(len(vector)),
    "max": max,
    "min": min,
    "norm": lambda vector: math.hypot(*vector),
    "range": lambda vector: max(vector) - min(vector),
    "std": _std,
    "sum": lambda vector: float(sum(vector)),
    "vec": lambda vector: vector,
}
_NOT_OF_NOTHING = {"avg", "max", "min", "range"}

#: Of one double, or of each element of a list.
_OF_EACH: dict[str, Callable[[float], float]] = {
    "lg": _logarithm(math.log2),
    "ln": _logarithm(math.log),
    "log": _logarithm(math.log10),
    "ceil": lambda number: float(math.ceil(number)),
    "floor": lambda number: float(math.floor(number)),
    "round": _round,
}
_OF_VECTOR_AND_DOUBLE: dict[str, Callable[[Vector, float], float]] = {"percentile": _percentile, "val": _val}


def call(name: str, arguments: Sequence[Value]) -> Value:
    """Raises :class:`Problem`, also for a name that is no function."""
    arguments = [plain(argument) for argument in arguments]
    if name in _OF_LIST:
        vector = _as_vector(name, arguments)
        if not vector and name in _NOT_OF_NOTHING:
            raise Problem(f"{name} of no values")
        return _OF_LIST[name](vector)
    if name in _OF_EACH:
        function = _OF_EACH[name]
        match arguments:
            case [float(number)]:
                return function(number)
            case []:
                raise _mismatch(name, arguments)
        return tuple(map(function, _as_vector(name, arguments)))
    if name in _OF_VECTOR_AND_DOUBLE:
        match arguments:
            case [tuple(vector), float(number)]:
                return _OF_VECTOR_AND_DOUBLE[name](vector, number)
        raise _mismatch(name, arguments)
    raise Problem(f"Undefined symbol: {name}")


def _as_vector(name: str, arguments: Sequence[Value]) -> Vector:
    vector: list[float] = []
    for argument in arguments:
        match argument:
            case float():
                vector.append(argument)
            case tuple():
                vector.extend(argument)
            case _:
                raise Problem(f"{name} takes doubles and vectors, not {type_name(argument)}")
    return tuple(vector)


def _mismatch(name: str, arguments: Sequence[Value]) -> Problem:
    return Problem(f"{name} does not take ({', '.join(map(type_name, arguments))})")


def _get_sample(metric: Metric, arguments: Sequence[Value]) -> Value:
    match arguments:
        case [float(count)]:
            if count < 0:
                raise Problem("GetSample takes a count of zero or more")
            return metric.last(int(count))
        case [Timestamp() | TimeInterval() as start]:
            return metric.between(_moment(metric, start), metric.now, DEFAULT_PERCENT)
        case [Timestamp() | TimeInterval() as start, float(percent)]:
            return metric.between(_moment(metric, start), metric.now, percent)
        case [Timestamp() | TimeInterval() as start, Timestamp() | TimeInterval() as end]:
            return metric.between(_moment(metric, start), _moment(metric, end), DEFAULT_PERCENT)
        case [Timestamp() | TimeInterval() as start, Timestamp() | TimeInterval() as end, float(percent)]:
            return metric.between(_moment(metric, start), _moment(metric, end), percent)
    raise _mismatch("GetSample", arguments)


def _get_sample_percent(metric: Metric, arguments: Sequence[Value]) -> Value:
    match arguments:
        case [Timestamp() | TimeInterval() as start]:
            return metric.percent(_moment(metric, start), metric.now)
        case [Timestamp() | TimeInterval() as start, Timestamp() | TimeInterval() as end]:
            return metric.percent(_moment(metric, start), _moment(metric, end))
    raise _mismatch("GetSamplePercent", arguments)


def _moment(metric: Metric, bound: Timestamp | TimeInterval) -> int:
    """The moment that a bound names: itself, or that long ago."""
    micros = bound.ticks // TICKS_PER_MICROSECOND
    return micros if isinstance(bound, Timestamp) else metric.now - micros


_WITHOUT_ARGUMENTS: dict[str, Callable[[Metric], Value]] = {
    "Count": lambda metric: float(metric.count()),
    "GetSamplePeriod": lambda metric: TimeInterval(PERIOD * TICKS_PER_MICROSECOND),
    "HistoryBeginTime": lambda metric: Timestamp(metric.begin() * TICKS_PER_MICROSECOND),
}


def method(owner: Value, name: str, arguments: Sequence[Value]) -> Value:
    """Raises :class:`Problem`, also for a name that is no method or an owner that has none."""
    if not isinstance(owner, Metric):
        raise Problem(f"{type_name(owner)} has no method {name}")
    arguments = [plain(argument) for argument in arguments]
    if name == "GetSample":
        return _get_sample(owner, arguments)
    if name == "GetSamplePercent":
        return _get_sample_percent(owner, arguments)
    if name in _WITHOUT_ARGUMENTS:
        if arguments:
            raise _mismatch(name, arguments)
        return _WITHOUT_ARGUMENTS[name](owner)
    raise Problem(f"Undefined symbol: {name}")


def field(owner: Value, name: str) -> Value:
    """Raises :class:`Problem` for anything but the fields of a timestamp."""
    if not isinstance(owner, Timestamp):
        raise Problem(f"{type_name(owner)} has no field {name}")
    return owner.field(name)
