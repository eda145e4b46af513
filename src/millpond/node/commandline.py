"""Command lines: split without a shell, and the program found as the service finds it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator

_SPECIAL = frozenset("\"'\\")


def split(command_line: str) -> list[str]:
    """Words of a command line: quotes group, a backslash takes the next character as it is, nothing else is special.

    Raises ``ValueError`` where a quotation does not end.
    """
    if _SPECIAL.isdisjoint(command_line):
        return command_line.split()
    return shlex.split(command_line)


def candidates(program: str, path: str, working_directory: str) -> Iterator[str]:
    """Files that ``program`` may mean, best first: along ``path``, or relative to the working directory.

    Only files that exist are named; along ``path``, only those that somebody may execute.
    """
    if "/" in program:
        place = os.path.join(working_directory, program)  # noqa: PTH118 - keeps './x' as it is
        if _is_file(place, 0o777):
            yield place
        return
    for directory in path.split(":"):
        place = f"{directory or working_directory}/{program}"
        if _is_file(place, 0o111):
            yield place


def _is_file(path: str, mode: int) -> bool:
    """Whether there is a file that has some of these permissions."""
    try:
        found = os.stat(path).st_mode  # noqa: PTH116 - called for every task
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found) and bool(found & mode)
