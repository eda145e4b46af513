"""Options that many commands have, and the settings they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import CommandError

if TYPE_CHECKING:
    from millpond.common.config import Settings

DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data directory.", show_default="the user's own")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; options here come first.")
]


def settings_of(config: Path | None, data: Path | None, **options: object) -> Settings:
    """Raises ``CommandError`` naming the setting that is wrong."""
    import msgspec

    from millpond.common.config import load_settings

    try:
        settings = load_settings(config, data=data, **options)
    except ValueError as error:
        raise CommandError(f"{config}: {error}" if config else str(error)) from error
    return msgspec.structs.replace(settings, data=settings.data.expanduser().absolute())
