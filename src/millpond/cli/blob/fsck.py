"""``millpond blob fsck``."""

from __future__ import annotations

import sqlite3

import typer

from millpond.blob.fsck import Check
from millpond.common.config import Settings

from ..data_directory import locked
from ..errors import CommandError


def fsck(settings: Settings, *, deep: bool, repair: bool) -> None:
    """Print what is wrong, a line for each. Raises ``CommandError`` where a server runs or there are no blobs."""
    root = settings.data / "blob"
    if not (root / "blob.db").is_file():
        raise CommandError(f"there are no blobs in the data directory {settings.data}")
    with locked(settings.data):
        try:
            check = Check(root, deep=deep)
            problems = [str(problem) for problem in check.problems()]
            orphans = check.orphans()
            for line in [*problems, *(f"{file}: no blob needs this file" for file in orphans)]:
                print(line)
            if repair:
                check.remove(orphans)
        except (sqlite3.Error, OSError) as error:
            raise CommandError(f"cannot check {root}: {error}") from error
    removed = f", {'removed' if repair else 'can be removed by --repair'}" if orphans else ""
    print(
        f"{check.blobs} blobs and {check.blocks} uncommitted blocks in {check.files} files:"
        f" {len(problems)} wrong, {len(orphans)} files too many{removed}."
    )
    if problems or (orphans and not repair):
        raise typer.Exit(1)
