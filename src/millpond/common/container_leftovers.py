"""What a node's containers have outside of the node's directory: made on the node, removed after it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

_HIERARCHIES = Path("/sys/fs/cgroup")


def control_group(directory: Path) -> str:
    """The control group that holds those of the containers of the node in this directory."""
    return f"/{_name(directory)}"


def run_directory(directory: Path) -> Path | None:
    """Where the runtime of a node without a sandbox keeps what runs, by a path that is short enough for podman.

    ``None``: this user has no place for it.
    """
    base = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / _name(directory) if base else None


def remove_leftovers(directory: Path) -> None:
    """Remove both, with all control groups that are empty of processes."""
    name = _name(directory)
    for group in (_HIERARCHIES / name, *_HIERARCHIES.glob(f"*/{name}")):
        for path, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)  # noqa: PTH106 - what it holds are no files that could be removed
    if run := run_directory(directory):
        shutil.rmtree(run, ignore_errors=True)


def _name(directory: Path) -> str:
    return f"millpond-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"
