"""What a node uses of its machine, for formulas that scale pools by it.

A node is its agent and all that descends from it, however short it lived: the kernel adds what a process used to its
parent's account when the parent has waited for it. Nodes on one machine share its network, so nothing is said of that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

#: Seconds from one measurement to the next, as samples have it; the first one comes soon.
PERIOD_S = 30.0
_FIRST_S = 2.0

_MIB = 1 << 20
_GIB = 1 << 30
#: Members of ``/proc/<pid>/io``, by what they are called in formulas.
_IO = {
    "read_bytes": "$DiskReadBytes",
    "write_bytes": "$DiskWriteBytes",
    "syscr": "$DiskReadOps",
    "syscw": "$DiskWriteOps",
}


class Usage:
    """Measures this process, and all below it, again and again. Without ``/proc`` there is nothing to tell."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pid = os.getpid()
        self._measured_at = time.monotonic()
        self._due_at = self._measured_at + _FIRST_S
        self._totals = self._read()[1]

    @property
    def due_in_s(self) -> float:
        return self._due_at - time.monotonic()

    def measure(self) -> dict[str, float]:
        """What was used since the last call, and what is in use now, by the names that formulas have for it."""
        now = time.monotonic()
        elapsed, self._measured_at = now - self._measured_at, now
        self._due_at = now + PERIOD_S
        memory, totals = self._read()
        before, self._totals = self._totals, totals
        if not totals or elapsed <= 0:
            return {}
        # What a process has used that ended without anybody waiting for it is lost.
        used = {name: max(0.0, value - before.get(name, 0.0)) for name, value in totals.items()}
        seconds = used.pop("$CPUPercent") / os.sysconf("SC_CLK_TCK")
        disk = os.statvfs(self._root)
        return {
            **used,
            "$CPUPercent": min(1.0, seconds / (elapsed * _cores())),
            "$MemoryBytes": memory / _MIB,
            "$DiskBytes": (disk.f_blocks - disk.f_bfree) * disk.f_frsize / _GIB,
            "$WallClockSeconds": elapsed,
        }

    def _read(self) -> tuple[float, dict[str, float]]:
        """Memory in use, in bytes, and what has been used so far; processor time is in ticks."""
        if sys.platform != "linux":
            return 0.0, {}
        memory = 0.0
        totals = {"$CPUPercent": 0.0}
        for pid in self._below():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
                totals["$CPUPercent"] += sum(map(int, fields[11:15]))
                memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            with contextlib.suppress(OSError, ValueError):
                for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                    name, _, value = line.partition(": ")
                    if name in _IO:
                        totals[_IO[name]] = totals.get(_IO[name], 0.0) + int(value)
        return memory, totals

    def _below(self) -> list[int]:
        """The agent's process, and all that descend from it."""
        found = [self._pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is wanted
                    children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
                    found += map(int, children)
        return found


def _cores() -> int:
    """Processors that the node may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
