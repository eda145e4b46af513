"""Bring an existing database to the newest revision. Apart from the rest, because importing Alembic takes long."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Run the revisions that the database lacks, each in a transaction.

    Raises ``alembic.util.CommandError`` where the database is of a newer Millpond.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
