"""What an explanation consists of."""

from __future__ import annotations

from typing import Any

import msgspec

from millpond.common.clock import SECOND, to_iso

from ...model.task import Failure


class Log(msgspec.Struct, frozen=True):
    """Whose last words on stderr say more: a task (ids of job and task as given), or the start task, of a node."""

    node: str
    task: tuple[str, str] | None = None


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    #: One sentence or more, for people.
    message: str
    #: The facts in it, for programs.
    values: dict[str, Any] = {}
    #: Whether nothing changes until somebody does something about it.
    needs_help: bool = False
    log: Log | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    state: str
    #: Since when it is in this state.
    since: int
    reasons: tuple[Reason, ...]


def moment(of: int) -> str:
    """A moment in a sentence: to the second."""
    return to_iso(of - of % SECOND)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def listed(names: list[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def told(failure: Failure | None, exit_code: int | None) -> str:
    """How something failed: its exit code, or else what went wrong."""
    if exit_code is not None and (failure is None or failure.code == "FailureExitCode"):
        return f"exit code {exit_code}"
    if failure is None:
        return "no reason given"
    details = "; ".join(f"{name}: {value}" for name, value in failure.details)
    return f"{failure.code}: {failure.message}{f' ({details})' if details else ''}"
