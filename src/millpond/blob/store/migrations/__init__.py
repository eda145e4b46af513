"""The history of the tables, for databases of older versions."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Bring a database to the newest revision. Raises ``RuntimeError`` where it is newer than this program."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as failure:
            raise RuntimeError(f"its database is of another version of Millpond ({failure})") from failure
