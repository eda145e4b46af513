"""The constraints of tasks of every kind."""

from __future__ import annotations

from msgspec import UNSET

from millpond.common.clock import DAY
from millpond.common.durations import UNLIMITED, parse_duration

from .wire.common import TaskConstraints

#: How long files are kept, where nothing else is said.
RETENTION = 7 * DAY


def read_constraints(given: TaskConstraints | None) -> tuple[int | None, int, int]:
    """How often it is retried (``None``: as its job says), how long it may run, and how long its files are kept."""
    if given is None:
        return None, UNLIMITED, RETENTION
    return (
        None if given.max_task_retry_count is UNSET else given.max_task_retry_count,
        UNLIMITED if given.max_wall_clock_time is UNSET else parse_duration(given.max_wall_clock_time),
        RETENTION if given.retention_time is UNSET else parse_duration(given.retention_time),
    )
