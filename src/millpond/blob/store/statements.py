"""Every statement on the tables.

They are compiled here, once, and run by the driver itself: SQLAlchemy's own way to run one takes several times what
SQLite needs for it, and the whole request of a small blob is little more than a few of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    Column,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects import sqlite

from ..model import CURRENT
from . import schema

_DIALECT = sqlite.dialect()


class Statement:
    """One statement. Its parameters are given by name, more than it has do no harm."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        self._text = str(compiled)
        self._names: list[str] = getattr(compiled, "positiontup", None) or []
        #: Parameters that SQLAlchemy made of constants.
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def run(self, connection: sqlite3.Connection, values: Mapping[str, object]) -> sqlite3.Cursor:
        return connection.execute(self._text, self._in_order(values))

    def run_many(self, connection: sqlite3.Connection, rows: Iterable[Mapping[str, object]]) -> None:
        connection.executemany(self._text, [self._in_order(values) for values in rows])

    def _in_order(self, values: Mapping[str, object]) -> list[object]:
        if self._constants:
            values = {**self._constants, **values}
        return [values[name] for name in self._names]


def _given(columns: Iterable[Column[Any]]) -> dict[str, BindParameter[Any]]:
    """For VALUES and SET: each column from the parameter that is called as it is."""
    return {column.name: bindparam(column.name, type_=column.type) for column in columns}


_first: BindParameter[Any] = bindparam("first")
_before: BindParameter[Any] = bindparam("before")
_first_generation: BindParameter[Any] = bindparam("first_generation")
_count: BindParameter[Any] = bindparam("limit")
# Written out, where the planner has to see it or where a parameter more would cost time.
_zero: Any = literal_column("0")
_current: Any = literal_column(str(CURRENT))

# Containers

_container = schema.container.c
_this_container = _container.id == bindparam("this_id")
_container_changes = [column for column in _container if column.name not in ("id", "account", "name", "created_at")]
_is_live = _container.deleted_at == _zero

GET_CONTAINER = Statement(
    select(schema.container).where(
        _container.account == bindparam("account"),
        _container.name == bindparam("name"),
        _container.deleted_at == bindparam("deleted_at"),
    )
)
# A container comes before the deleted ones of its name.
LIST_CONTAINERS = Statement(
    select(schema.container)
    .where(_container.account == bindparam("account"))
    .where(tuple_(_container.name, _container.deleted_at) >= tuple_(_first, _first_generation))
    .where(_is_live | (bindparam("with_deleted") != _zero))
    .order_by(_container.name, _container.deleted_at)
    .limit(_count)
)
LIST_DUE_CONTAINERS = Statement(
    select(_container.id).where(_container.deleted_at > _zero, _container.purge_at <= bindparam("moment"))
)
INSERT_CONTAINER = Statement(
    insert(schema.container).values(
        _given((_container.account, _container.name, _container.created_at, *_container_changes))
    )
)
UPDATE_CONTAINER = Statement(
    update(schema.container).where(_this_container).values(_given((_container.name, *_container_changes)))
)
DELETE_CONTAINER = Statement(delete(schema.container).where(_this_container))

_deleted = schema.deleted_container.c
LIST_DELETED = Statement(select(_deleted.container_id))
INSERT_DELETED = Statement(insert(schema.deleted_container))
FORGET_DELETED = Statement(delete(schema.deleted_container).where(_deleted.container_id == bindparam("this_id")))

# Blobs

_blob = schema.blob.c
_about = [column for column in _blob if column is not _blob.data]
_about_changes = [column for column in _about if column is not _blob.id]
_this_blob = _blob.id == bindparam("this_id")
_named = (_blob.container_id == bindparam("container_id")) & (_blob.name == bindparam("name"))
_is_current = _blob.generation == _current
_is_version = _blob.generation == _blob.version
_list_blobs = (
    select(*_about)
    .where(_blob.container_id == bindparam("container_id"), _blob.name >= _first, _is_current)
    .order_by(_blob.name)
    .limit(_count)
)


def _asked_for(name: str) -> Any:
    return bindparam(name) != _zero


_other = schema.blob.alias("other")
# A version after which there is neither another nor the blob itself.
_is_last_version = _is_version & ~exists().where(
    _other.c.container_id == _blob.container_id,
    _other.c.name == _blob.name,
    _other.c.generation > _blob.generation,
    (_other.c.generation == _current) | (_other.c.generation == _other.c.version),
)
_list_generations = (
    select(*_about)
    .where(_blob.container_id == bindparam("container_id"))
    .where(tuple_(_blob.name, _blob.generation) >= tuple_(_first, _first_generation))
    .where((_blob.deleted_at == _zero) | _asked_for("with_deleted"))
    .where(
        or_(
            _is_current,
            and_(_blob.snapshot > _zero, _asked_for("with_snapshots")),
            and_(_is_version, _asked_for("with_versions")),
            and_(_blob.snapshot == _zero, ~_is_version),  # the blob itself, deleted
            and_(_asked_for("with_last_versions"), _is_last_version),
        )
    )
    .order_by(_blob.name, _blob.generation)
    .limit(_count)
)

GET_BLOB = Statement(select(*_about, _blob.data).where(_named, _blob.generation == bindparam("generation")))
GET_BLOB_HEAD = Statement(select(*_about).where(_named, _blob.generation == bindparam("generation")))
GET_NEWEST = Statement(select(*_about).where(_named).order_by(_blob.generation.desc()).limit(_count))
LIST_BLOBS = Statement(_list_blobs)
LIST_BLOBS_BEFORE = Statement(_list_blobs.where(_blob.name < _before))
LIST_GENERATIONS = Statement(_list_generations)
LIST_GENERATIONS_BEFORE = Statement(_list_generations.where(_blob.name < _before))
LIST_TAGGED = Statement(
    select(_blob.name, _blob.tags)
    .where(_blob.container_id == bindparam("container_id"), _blob.name >= _first, _blob.tags != literal_column("''"))
    .where(_is_current)
    .order_by(_blob.name)
    .limit(_count)
)
LIST_HISTORY = Statement(select(*_about).where(_named, _blob.generation < _current).order_by(_blob.generation))
LAST_GENERATION = Statement(select(func.max(_blob.generation)).where(_named, _blob.generation < _current))
LIST_ANY_BLOBS = Statement(
    select(_blob.id, _blob.name).where(_blob.container_id == bindparam("container_id")).limit(_count)
)
LIST_IMMUTABLE_BLOBS = Statement(
    select(*_about).where(_blob.container_id == bindparam("container_id"), _blob.immutability != literal_column("''"))
)
LIST_DUE_BLOBS = Statement(
    select(_blob.id).where(_blob.purge_at > _zero, _blob.purge_at <= bindparam("moment")).limit(_count)
)
_data_of_source = select(_other.c.data).where(_other.c.id == bindparam("source_id")).scalar_subquery()
INSERT_TWIN = Statement(insert(schema.blob).values({**_given(_about_changes), "data": _data_of_source}))
INSERT_BLOB = Statement(insert(schema.blob).values(_given((*_about_changes, _blob.data))))
UPDATE_BLOB = Statement(update(schema.blob).where(_this_blob).values(_given((*_about_changes, _blob.data))))
UPDATE_BLOB_HEAD = Statement(update(schema.blob).where(_this_blob).values(_given(_about_changes)))
DELETE_BLOB = Statement(delete(schema.blob).where(_this_blob))

# The segments of a blob

_segment = schema.segment.c
_of_blob = _segment.blob_id == bindparam("this_id")
_list_segments = (
    select(_segment.start, _segment.size, _segment.block_id, _segment.file, _segment.offset)
    .where(_of_blob)
    .order_by(_segment.start)
)
# The segment that `begin` lies in, if it lies in one, is the last one that starts no later.
_start_of_last = select(func.max(_segment.start)).where(_of_blob, _segment.start <= bindparam("begin"))
_start_of_first = func.coalesce(_start_of_last.scalar_subquery(), _zero)

LIST_SEGMENTS = Statement(_list_segments)
LIST_SEGMENTS_BETWEEN = Statement(
    _list_segments.where(_segment.start < bindparam("end"), _segment.start >= _start_of_first)
)
INSERT_SEGMENT = Statement(insert(schema.segment))
_twins = select(
    bindparam("this_id", type_=_segment.blob_id.type),
    *(column for column in _segment if column is not _segment.blob_id),
).where(_segment.blob_id == bindparam("source_id"))
INSERT_TWIN_SEGMENTS = Statement(insert(schema.segment).from_select([column.name for column in _segment], _twins))
DELETE_SEGMENTS = Statement(delete(schema.segment).where(_of_blob).returning(_segment.file))
DELETE_SEGMENT = Statement(delete(schema.segment).where(_of_blob, _segment.start == bindparam("this_start")))

# Uncommitted blocks

_block = schema.block.c
_of_name = (_block.container_id == bindparam("of_container")) & (_block.blob_name == bindparam("of_blob"))
_blocks = select(_block.block_id, _block.size, _block.file, _block.encryption).where(_of_name)
_list_uncommitted = (
    select(_block.blob_name, func.max(_block.uploaded_at))
    .where(_block.container_id == bindparam("of_container"), _block.blob_name >= _first)
    .where(~exists().where(_blob.container_id == _block.container_id, _blob.name == _block.blob_name, _is_current))
    .group_by(_block.blob_name)
    .order_by(_block.blob_name)
    .limit(_count)
)

LIST_BLOCKS = Statement(_blocks.order_by(_block.block_id))
GET_ANY_BLOCK = Statement(_blocks.limit(_count))
INSERT_BLOCK = Statement(insert(schema.block))
DELETE_BLOCK = Statement(
    delete(schema.block).where(_of_name, _block.block_id == bindparam("of_block")).returning(_block.file)
)
DELETE_BLOCKS = Statement(delete(schema.block).where(_of_name).returning(_block.file))
LIST_UNCOMMITTED = Statement(_list_uncommitted)
LIST_UNCOMMITTED_BEFORE = Statement(_list_uncommitted.where(_block.blob_name < _before))
GET_ANY_OLD_BLOCK = Statement(select(_block.block_id).where(_block.uploaded_at < bindparam("moment")).limit(_count))
LIST_STALE = Statement(
    select(_block.container_id, _block.blob_name)
    .group_by(_block.container_id, _block.blob_name)
    .having(func.max(_block.uploaded_at) < bindparam("moment"))
    .limit(_count)
)

# Copies under way, and the properties of accounts

_pending = schema.pending_copy.c
INSERT_PENDING_COPY = Statement(insert(schema.pending_copy))
LIST_PENDING_COPIES = Statement(select(schema.pending_copy))
DELETE_PENDING_COPY = Statement(delete(schema.pending_copy).where(_pending.copy_id == bindparam("this_copy")))

_properties = schema.service_properties.c
_of_account = _properties.account == bindparam("of_account")
GET_SERVICE_PROPERTIES = Statement(select(_properties.properties).where(_of_account))
INSERT_SERVICE_PROPERTIES = Statement(insert(schema.service_properties))
DELETE_SERVICE_PROPERTIES = Statement(delete(schema.service_properties).where(_of_account))

# Files

_garbage = schema.garbage.c
FIND_USE = Statement(
    union(
        select(_segment.file).where(_segment.file == bindparam("this_file")),
        select(_block.file).where(_block.file == bindparam("this_file")),
    )
)
INSERT_GARBAGE = Statement(insert(schema.garbage))
LIST_GARBAGE = Statement(select(_garbage.file).limit(_count))
FORGET_GARBAGE = Statement(delete(schema.garbage).where(_garbage.file == bindparam("this_file")))
