"""What a process has used, with all of its own that it has waited for, read at the moment when it is collected.

The kernel adds what a process used to its parent's account when the parent has waited for it, so the main process of a
task knows of nearly all that the task did.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from millpond.common.agent_protocol import RunUsage

#: Of a read or written block in ``rusage``, in bytes.
_BLOCK = 512
_MICROS = 1_000_000

T = TypeVar("T")


class Collected(NamedTuple, Generic[T]):
    """A child that has ended."""

    pid: int
    #: As ``waitpid`` gives it.
    status: int
    usage: RunUsage
    found: T


def collect(find: Callable[[int], T]) -> Collected[T] | None:
    """Collect a child that has ended, if any has. Raises ``ChildProcessError`` where there are no children at all.

    ``find`` is asked about the child, on Linux while its process can still be looked at.
    """
    if sys.platform != "linux":
        pid, status, used = os.wait4(-1, os.WNOHANG)
        return Collected(pid, status, _usage(used, (0, 0)), find(pid)) if pid else None
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    operations, found = _operations(ended.si_pid), find(ended.si_pid)
    pid, status, used = os.wait4(ended.si_pid, 0)
    return Collected(pid, status, _usage(used, operations), found)


def _usage(used: Any, operations: tuple[int, int]) -> RunUsage:
    return RunUsage(
        round(used.ru_utime * _MICROS),
        round(used.ru_stime * _MICROS),
        *operations,
        used.ru_inblock * _BLOCK,
        used.ru_oublock * _BLOCK,
    )


def _operations(pid: int) -> tuple[int, int]:
    """How often an ended process has read and written; 0 where ``/proc`` does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        file = os.open(f"/proc/{pid}/io", os.O_RDONLY)
        try:
            fields = os.read(file, 512).split()
        finally:
            os.close(file)
        return int(fields[5]), int(fields[7])
    return 0, 0


def total(one: RunUsage | None, other: RunUsage) -> RunUsage:
    if one is None:
        return other
    return RunUsage(
        one.user_cpu_time + other.user_cpu_time,
        one.kernel_cpu_time + other.kernel_cpu_time,
        one.read_ops + other.read_ops,
        one.write_ops + other.write_ops,
        one.read_bytes + other.read_bytes,
        one.write_bytes + other.write_bytes,
    )
