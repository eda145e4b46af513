"""The agent's log: its standard error, which the launcher has pointed at a file, kept short."""

from __future__ import annotations

import logging
import os
import stat
import time

#: Bytes after which the older half of the log goes.
LIMIT = 1 << 20


class LimitedLog(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error; where that is a file opened for reading too, it never grows much beyond the limit."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        shorten(2, LIMIT)


def shorten(file: int, limit: int) -> None:
    """Drop all but the last half of the limit from a file that has outgrown it. The file is open for appending."""
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode) and status.st_size > limit:
        keep = os.pread(file, limit // 2, status.st_size - limit // 2)
        os.ftruncate(file, 0)
        os.write(file, keep)


def set_up() -> None:
    """Have everything that is worth a word logged."""
    handler = LimitedLog()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
