"""Trees of processes: whose they become when a parent dies, and their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none can get away (Linux only)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send that signal to this process when its parent dies (Linux only)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below this one, as they are now."""
    import psutil  # when it is needed: every service's start passes through this module

    return psutil.Process(pid).children(recursive=True)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill those that still run. A process id that was given to another process since is left alone."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
