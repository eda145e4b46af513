"""The keeper of an agent that has no sandbox: it outlives the agent by a moment, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

from .process import end_children

#: How long it tries to end what does not want to end.
_PATIENCE_S = 10.0


def keep(agent: int) -> NoReturn:
    """Wait for the agent to end, or for SIGTERM to end it; then end all that it left, and this process."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(agent, signal.SIGKILL))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    status = 0
    while True:
        pid, ended = os.waitpid(-1, 0)
        if pid == agent:
            status = os.waitstatus_to_exitcode(ended)
            break
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    until = time.monotonic() + _PATIENCE_S
    while end_children() and time.monotonic() < until:
        time.sleep(0.01)
    sys.stderr.write(f"the agent ended ({'signal ' + str(-status) if status < 0 else 'exit code ' + str(status)})\n")
    sys.stderr.flush()
    os._exit(0)
