"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "container",
        sa.Column("id", _id, primary_key=True, autoincrement=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_modified", sa.BigInteger, nullable=False),
        sa.Column("public_access", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("policies", sa.Text, nullable=False),
        sa.Column("lease", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
        sa.Column("purge_at", sa.BigInteger, nullable=False),
        sa.Column("default_scope", sa.Text, nullable=False),
        sa.Column("denies_other_scopes", sa.Boolean, nullable=False),
        sa.UniqueConstraint("account", "name", "deleted_at", name="container_by_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "blob",
        sa.Column("id", _id, primary_key=True, autoincrement=True),
        sa.Column("container_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_modified", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("content_encoding", sa.Text, nullable=False),
        sa.Column("content_language", sa.Text, nullable=False),
        sa.Column("content_disposition", sa.Text, nullable=False),
        sa.Column("cache_control", sa.Text, nullable=False),
        sa.Column("content_md5", sa.LargeBinary, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("access_tier", sa.Text, nullable=False),
        sa.Column("copy", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("snapshot", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
        sa.Column("purge_at", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.Text, nullable=False),
        sa.Column("tiering", sa.Text, nullable=False),
        sa.Column("accessed_at", sa.BigInteger, nullable=False),
        sa.Column("in_place", sa.Text, nullable=False),
        sa.Column("encryption", sa.Text, nullable=False),
        sa.Column("immutability", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary),
        sa.UniqueConstraint("container_id", "name", "generation", name="blob_by_name"),
    )
    op.create_table(
        "segment",
        sa.Column("blob_id", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("block_id", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("blob_id", "start"),
    )
    op.create_table(
        "block",
        sa.Column("container_id", sa.BigInteger, nullable=False),
        sa.Column("blob_name", sa.Text, nullable=False),
        sa.Column("block_id", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("uploaded_at", sa.BigInteger, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("encryption", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("container_id", "blob_name", "block_id"),
    )
    op.create_index("segment_by_file", "segment", ["file"])
    op.create_index("block_by_file", "block", ["file"])
    op.create_index("block_by_age", "block", ["uploaded_at"])
    due = sa.text("purge_at > 0")
    op.create_index(
        "blob_with_tags",
        "blob",
        ["container_id", "name"],
        sqlite_where=sa.text("tags <> ''"),
        postgresql_where=sa.text("tags <> ''"),
    )
    op.create_index("blob_by_purge", "blob", ["purge_at"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "pending_copy",
        sa.Column("copy_id", sa.Text, primary_key=True),
        sa.Column("container_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
    )
    op.create_table(
        "service_properties",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("properties", sa.Text, nullable=False),
    )
    op.create_table("garbage", sa.Column("file", sa.Text, primary_key=True))
    op.create_table("deleted_container", sa.Column("container_id", _id, primary_key=True, autoincrement=False))


def downgrade() -> None:
    for table in (
        *("deleted_container", "garbage", "service_properties", "pending_copy", "block"),
        "segment",
        "blob",
        "container",
    ):
        op.drop_table(table)
