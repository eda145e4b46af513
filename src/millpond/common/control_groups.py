"""The control groups of a node's containers, which lie outside of the node: made on it, removed after it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

_HIERARCHIES = Path("/sys/fs/cgroup")


def control_group(directory: Path) -> str:
    """The control group that holds those of the containers of the node in this directory."""
    return f"/millpond-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"


def remove_control_group(directory: Path) -> None:
    """Remove it from all hierarchies, where it is empty of processes. Slow where there is one."""
    name = control_group(directory)[1:]
    for group in (_HIERARCHIES / name, *_HIERARCHIES.glob(f"*/{name}")):
        for path, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)  # noqa: PTH106 - what it holds are no files that could be removed
