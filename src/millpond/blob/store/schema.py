"""The tables. Every change here is a migration too (``migrations/``), and moves :data:`REVISION`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

#: The newest migration, which these tables are the outcome of.
REVISION = "0001"

# SQLite counts on only where a primary key is declared as INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

revision = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))

container = Table(
    "container",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("account", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_modified", BigInteger, nullable=False),
    Column("public_access", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("policies", Text, nullable=False),
    Column("lease", Text, nullable=False),
    Column("deleted_at", BigInteger, nullable=False),
    Column("purge_at", BigInteger, nullable=False),
    Column("default_scope", Text, nullable=False),
    Column("denies_other_scopes", Boolean, nullable=False),
    UniqueConstraint("account", "name", "deleted_at", name="container_by_name"),
    sqlite_autoincrement=True,  # the id of a deleted container still names its blobs until they are purged
)

blob = Table(
    "blob",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("container_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_modified", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("content_encoding", Text, nullable=False),
    Column("content_language", Text, nullable=False),
    Column("content_disposition", Text, nullable=False),
    Column("cache_control", Text, nullable=False),
    Column("content_md5", LargeBinary, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("access_tier", Text, nullable=False),
    Column("copy", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("snapshot", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=False),
    Column("purge_at", BigInteger, nullable=False),
    Column("lease", Text, nullable=False),
    Column("tiering", Text, nullable=False),
    Column("accessed_at", BigInteger, nullable=False),
    Column("in_place", Text, nullable=False),
    Column("encryption", Text, nullable=False),
    Column("immutability", Text, nullable=False),
    Column("tags", Text, nullable=False),
    # Last, so that a scan for a list never reads the pages that it overflows to.
    Column("data", LargeBinary),
    UniqueConstraint("container_id", "name", "generation", name="blob_by_name"),
)

segment = Table(
    "segment",
    metadata,
    Column("blob_id", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("blob_id", "start"),
)

block = Table(
    "block",
    metadata,
    Column("container_id", BigInteger, nullable=False),
    Column("blob_name", Text, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("uploaded_at", BigInteger, nullable=False),
    Column("file", Text, nullable=False),
    Column("encryption", Text, nullable=False),
    PrimaryKeyConstraint("container_id", "blob_name", "block_id"),
)

# A file may be part of several blobs (a copy shares it), so whether one is still needed is looked up here.
Index("segment_by_file", segment.c.file)
Index("block_by_file", block.c.file)
Index("block_by_age", block.c.uploaded_at)

# What is deleted and can still be brought back. All other blobs are left out, so that they cost nothing here. (A
# condition for another database makes SQLAlchemy load all that it knows of that one, a tenth of the service's start.)
Index("blob_by_purge", blob.c.purge_at, sqlite_where=text("purge_at > 0"))

# Blobs that can be found by their tags. Others are left out here as well.
Index(
    "blob_with_tags",
    blob.c.container_id,
    blob.c.name,
    sqlite_where=text("tags <> ''"),
)

#: Copies that are under way, by the id that their blob's row tells.
pending_copy = Table(
    "pending_copy",
    metadata,
    Column("copy_id", Text, primary_key=True),
    Column("container_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    # As the client gave it, with its signature.
    Column("url", Text, nullable=False),
)

#: What Set Blob Service Properties stored, as JSON.
service_properties = Table(
    "service_properties",
    metadata,
    Column("account", Text, primary_key=True),
    Column("properties", Text, nullable=False),
)

#: Files that nothing refers to any more and that are still to be unlinked.
garbage = Table("garbage", metadata, Column("file", Text, primary_key=True))

#: Containers that are gone for clients and whose blobs are still to be deleted.
deleted_container = Table(
    "deleted_container", metadata, Column("container_id", _Id, primary_key=True, autoincrement=False)
)
