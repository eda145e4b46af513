"""The system's lists of users and groups (``/etc/passwd`` and the like): entries by name, replaced in one step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

ETC = Path("/etc")


def enter(file: str, name: str, rest: str, etc: Path = ETC) -> None:
    """Have an entry of that name, ``NAME:REST``, in place of one that is there. Raises ``OSError``."""
    path = etc / file
    lines = _lines(path)
    entry = f"{name}:{rest}"
    if entry not in lines:
        _write(path, [*_without(lines, name), entry])


def drop(file: str, name: str, etc: Path = ETC) -> None:
    """Have no entry of that name. Raises ``OSError``."""
    path = etc / file
    lines = _lines(path)
    left = _without(lines, name)
    if left != lines:
        _write(path, left)


def names(file: str, etc: Path = ETC) -> set[str]:
    return {line.partition(":")[0] for line in _lines(etc / file)}


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="surrogateescape").splitlines() if path.exists() else []


def _without(lines: list[str], name: str) -> list[str]:
    return [line for line in lines if not line.startswith(f"{name}:")]


def _write(path: Path, lines: list[str]) -> None:
    """The new file has the old one's owner and mode; one that is new itself is its owner's, and readable by all."""
    new = path.with_name(f"{path.name}.millpond")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, "\n".join([*lines, ""]).encode(errors="surrogateescape"))
        mode = 0o644
        if path.exists():
            status = path.stat()
            mode = status.st_mode & 0o7777
            os.fchown(file, status.st_uid, status.st_gid)
        os.fchmod(file, mode)
    finally:
        os.close(file)
    new.replace(path)
