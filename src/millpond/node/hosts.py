"""Names of nodes, and how the processes in a sandbox find nodes by them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

_FILE = Path("/etc/hosts")


def hostname(node_id: str) -> str:
    """A short name that is a host's: ``tvmps_0123456789ab…_d`` becomes ``tvmps-0123456789ab``."""
    prefix, _, rest = node_id.partition("_")
    return re.sub(r"[^A-Za-z0-9-]+", "-", f"{prefix}-{rest[:12]}" if rest else prefix)[:63].strip("-") or "node"


def name_hosts(hosts: Iterable[tuple[str, str]]) -> None:
    """Let names lead to addresses, where the sandbox's file of hosts can be written."""
    lines = [f"{address}\t{name}\n" for name, address in hosts]
    with contextlib.suppress(OSError):
        content = _FILE.read_text() if _FILE.exists() else ""
        missing = [line for line in lines if line not in content]
        if missing:
            _FILE.write_text(content + "".join(missing))
