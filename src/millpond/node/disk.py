"""The node's disk: how much is free, looked at now and then."""

from __future__ import annotations

import os
import time

from millpond.common.agent_protocol import Trouble

#: Free bytes under which a node takes no tasks; there have to be twice as many before it takes tasks again.
RESERVED_BYTES = 1_000_000
#: How often to look, in seconds.
_LOOK_S = 5.0


class Disk:
    """The file system that the node's root is on."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._look_at = time.monotonic()
        #: Set while it is full.
        self.trouble: Trouble | None = None

    @property
    def due_in_s(self) -> float:
        """Seconds until :meth:`look` has something to do."""
        return self._look_at - time.monotonic()

    def look(self) -> bool:
        """Look, if it is time to. Returns whether it has become full, or is no longer."""
        if self.due_in_s > 0:
            return False
        self._look_at = time.monotonic() + _LOOK_S
        was_full = self.trouble is not None
        try:
            status = os.statvfs(self._root)
        except OSError:  # it is gone, and the agent will notice
            return False
        free = status.f_bavail * status.f_frsize
        if free >= RESERVED_BYTES * (2 if was_full else 1):
            self.trouble = None
        elif not was_full:
            details = (("FreeBytes", str(free)), ("ReservedBytes", str(RESERVED_BYTES)))
            self.trouble = Trouble("DiskFull", "There is not enough disk space on the compute node", details)
        return was_full is not (self.trouble is not None)
