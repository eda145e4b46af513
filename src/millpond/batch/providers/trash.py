"""Directories on their way off the disk, which takes a while that nobody has to wait for."""

from __future__ import annotations

import contextlib
import shutil
import stat
import threading
import uuid
from pathlib import Path
from queue import SimpleQueue


class Trash:
    """Removes what is put into its directory, in a thread that ends with the process.

    What a process leaves there, the next one removes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waiting: SimpleQueue[Path | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin with what is left of an earlier process."""
        if self._thread is None and self._directory.is_dir():
            self._thread = threading.Thread(target=self._work, name="trash", daemon=True)
            self._thread.start()

    def put(self, directory: Path) -> None:
        """Take a directory out of sight at once, where there is one. It must be on the same file system.

        Raises ``OSError``.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = self._directory / uuid.uuid4().hex
        try:
            directory.rename(place)
        except FileNotFoundError:
            return
        self._waiting.put(place)
        self.start()

    def close(self) -> None:
        """Put nothing more; the thread goes on until it is done or the process ends."""
        self._waiting.put(None)

    def _work(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # where the data directory itself goes meanwhile
            for place in self._directory.iterdir():
                _remove(place)
        while place_or_end := self._waiting.get():
            _remove(place_or_end)


def _remove(path: Path) -> None:
    """Remove a directory with all that a node left in it, what its owner may not read included."""

    def open_up(_: object, failed: str, __: object) -> None:
        with contextlib.suppress(OSError):
            place = Path(failed)
            place.parent.chmod(0o700)
            if stat.S_ISDIR(place.lstat().st_mode):
                place.chmod(0o700)

    if path.exists():
        shutil.rmtree(path, onerror=open_up)
        shutil.rmtree(path, ignore_errors=True)
