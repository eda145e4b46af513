"""``millpond app``: the application packages that the nodes of a Batch account can have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from millpond.batch.applications import Applications, PackageError, open_applications
from millpond.common.clock import SystemClock, to_iso
from millpond.common.config import Settings

from .data_directory import open_accounts
from .errors import CommandError


def add_package(
    settings: Settings,
    account: str | None,
    application_id: str,
    version: str,
    file: Path,
    *,
    is_default: bool,
    display_name: str | None,
    allow_updates: bool | None,
) -> None:
    """Raises ``CommandError`` for what is not valid or cannot be read."""
    with _applications(settings) as applications:
        application = applications.add(
            _account(settings, account),
            application_id,
            version,
            file,
            SystemClock().now(),
            is_default=is_default,
            display_name=display_name,
            allow_updates=allow_updates,
        )
    print(f"Added {application.id} {version}{', the default version' if is_default else ''}.")


def list_applications(settings: Settings, account: str | None, format: Literal["table", "json"]) -> None:
    with _applications(settings) as applications:
        found = applications.all(_account(settings, account))
    rows = [
        (
            application.id,
            package.version,
            application.default_version == package.version,
            to_iso(package.activation_time),
            application.display_name,
        )
        for application in found
        for package in application.packages.values()
    ]
    if format == "json":
        names = ("id", "version", "default", "added", "displayName")
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Application", "Version", "Default", "Added", "Name")
    for application_id, version, is_default, added, name in rows:
        table.add_row(application_id, version, "yes" if is_default else "", added, name)
    Console().print(table)


def remove_package(settings: Settings, account: str | None, application_id: str, version: str | None) -> None:
    """Raises ``CommandError`` where it does not exist."""
    with _applications(settings) as applications:
        applications.remove(_account(settings, account), application_id, version)
    print(f"Removed {application_id}{f' {version}' if version else ''}.")


def set_default(settings: Settings, account: str | None, application_id: str, version: str | None) -> None:
    """Raises ``CommandError`` where it does not exist."""
    with _applications(settings) as applications:
        applications.set_default(_account(settings, account), application_id, version)
    print(f"The default version of {application_id} is {version}." if version else f"{application_id} has no default.")


def _account(settings: Settings, name: str | None) -> str:
    """The Batch account of that name, or the first."""
    names = open_accounts(settings.data, with_defaults=True).names("batch")
    if name is not None and name not in names:
        raise CommandError(f"there is no batch account {name}")
    return name or names[0]


@contextmanager
def _applications(settings: Settings) -> Iterator[Applications]:
    try:
        yield open_applications(settings)
    except PackageError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename or settings.data}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise CommandError(f"the index of applications in {settings.data} is damaged: {error}") from error
