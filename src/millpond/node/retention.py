"""When task directories are due for removal.

A record on disk, so that it outlives the agent: one file for each moment at which something is due, a line for each
directory. Moments are rounded up by at most a hundredth of the retention time, so that few files hold them all, and
memory holds only the files' names.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from millpond.common.clock import SECOND
from millpond.common.durations import UNLIMITED

#: Directories handed out at a time.
_SLICE = 200


class Retention:
    """Moments are microseconds. Methods raise ``OSError``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._moments: list[int] = []
        self._reading: Iterator[tuple[str, int]] | None = None

    def restore(self) -> None:
        """Find what was recorded before."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._moments = sorted(int(file.name) for file in self._directory.iterdir() if file.name.isdigit())

    @property
    def due(self) -> int | None:
        """The next moment at which :meth:`take` has something to give."""
        if self._reading:
            return 0
        return self._moments[0] if self._moments else None

    def note(self, path: str, ended: int, retention_time: int) -> None:
        """The task in this directory (relative to the node's root) ended then."""
        if retention_time >= UNLIMITED:
            return
        step = max(SECOND // 10, retention_time // 100)
        moment = -(-(ended + retention_time) // step) * step
        file = os.open(f"{self._directory}/{moment}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, f"{ended} {path}\n".encode())
        finally:
            os.close(file)
        place = bisect.bisect_left(self._moments, moment)
        if self._moments[place : place + 1] != [moment]:
            self._moments.insert(place, moment)

    def take(self, now: int) -> list[tuple[str, int]]:
        """Some directories that are due, each with the moment at which its task ended."""
        taken: list[tuple[str, int]] = []
        while len(taken) < _SLICE and (self._reading or (self._moments and self._moments[0] <= now)):
            if self._reading is None:
                self._reading = self._read(self._moments[0])
            taken += itertools.islice(self._reading, _SLICE - len(taken))
            if len(taken) < _SLICE:
                self._reading = None
        return taken

    def _read(self, moment: int) -> Iterator[tuple[str, int]]:
        """The lines of a file, which is removed after the last of them."""
        file = self._directory / str(moment)
        with file.open() as lines:
            for line in lines:
                ended, _, path = line.rstrip("\n").partition(" ")
                if ended.isdigit() and path:  # else cut short when the node went down
                    yield path, int(ended)
        file.unlink()
        self._moments.remove(moment)
