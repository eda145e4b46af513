"""How Alembic runs the revisions: on the connection that ``store.migrate`` gives it."""

from __future__ import annotations

from alembic import context

from millpond.batch.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
