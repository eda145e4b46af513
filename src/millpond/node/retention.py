"""When task directories are due for removal.

A record on disk, so that it outlives the agent: one file for each moment at which something is due, a line for each
directory. Moments are rounded up by at most a hundredth of the retention time, so that few files hold them all, and
memory holds only the files' names.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from millpond.common.clock import SECOND
from millpond.common.durations import UNLIMITED

#: Directories handed out at a time.
_SLICE = 200


class Retention:
    """The record of one node, below its root; moments are microseconds. Methods raise ``OSError``."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._directory = root / "volatile" / "retention"
        self._moments: list[int] = []
        self._reading: Iterator[str] | None = None

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
        """The run in this directory (relative to the node's root) ended then."""
        if retention_time >= UNLIMITED:
            return
        step = max(SECOND // 10, retention_time // 100)
        moment = -(-(ended + retention_time) // step) * step
        inode = os.stat(f"{self._root}/{path}").st_ino  # noqa: PTH116 - called for every task
        file = os.open(f"{self._directory}/{moment}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, f"{ended} {inode} {path}\n".encode())
        finally:
            os.close(file)
        place = bisect.bisect_left(self._moments, moment)
        if self._moments[place : place + 1] != [moment]:
            self._moments.insert(place, moment)

    def take(self, now: int) -> list[str]:
        """Some of the directories that are due."""
        taken: list[str] = []
        while len(taken) < _SLICE and (self._reading or (self._moments and self._moments[0] <= now)):
            if self._reading is None:
                self._reading = self._read(self._moments.pop(0))
            taken += itertools.islice(self._reading, _SLICE - len(taken))
            if len(taken) < _SLICE:
                self._reading = None
        return taken

    def _read(self, moment: int) -> Iterator[str]:
        """The directories of a file, which is removed after the last of them."""
        file = self._directory / str(moment)
        with contextlib.suppress(FileNotFoundError), file.open() as lines:
            for line in lines:
                ended, _, rest = line.rstrip("\n").partition(" ")
                inode, _, path = rest.partition(" ")
                if ended.isdigit() and inode.isdigit() and self._is_of(path, int(ended), int(inode)):
                    yield path
        file.unlink(missing_ok=True)

    def _is_of(self, path: str, ended: int, inode: int) -> bool:
        """Whether a directory is still the one of the run that ended then, and not of a later one."""
        directory = f"{self._root}/{path}"
        with contextlib.suppress(OSError):
            if not path or os.stat(directory).st_ino != inode:  # noqa: PTH116
                return False
            # An inode may be used again: the output tells when the run in it began.
            return os.stat(f"{directory}/stdout.txt").st_mtime_ns <= ended * 1000  # noqa: PTH116
        return os.path.isdir(directory)  # noqa: PTH112
