"""What the rules can do with the rows, within one transaction. No rule of the service lives here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Executable,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    union,
    update,
)

from ..model import Blob, Block, Container, Segment
from . import schema
from .rows import blob_from, blob_head_values, container_from, container_values

_blob, _block, _container, _segment = schema.blob, schema.block, schema.container, schema.segment

#: Most file names in one ``IN (…)``.
_FILES_AT_ONCE = 500


def _bound(columns: Iterable[Column[Any]]) -> dict[str, Any]:
    """Values of an UPDATE, each from the parameter that is called as its column."""
    return {column.name: bindparam(column.name, type_=column.type) for column in columns}


# Statements are made here, once: making one costs several times what running it does.

_first: BindParameter[Any] = bindparam("first")
_before: BindParameter[Any] = bindparam("before")
_count: BindParameter[Any] = bindparam("count")

_GET_CONTAINER = select(_container).where(
    _container.c.account == bindparam("account"), _container.c.name == bindparam("name")
)
_LIST_CONTAINERS = (
    select(_container)
    .where(_container.c.account == bindparam("account"), _container.c.name >= _first)
    .order_by(_container.c.name)
    .limit(_count)
)
_INSERT_CONTAINER = insert(_container)
_UPDATE_CONTAINER = (
    update(_container)
    .where(_container.c.id == bindparam("container_id"))
    .values(_bound(_container.c["last_modified", "public_access", "metadata", "policies"]))
)
_DELETE_CONTAINER = delete(_container).where(_container.c.id == bindparam("container_id"))
_INSERT_DELETED = insert(schema.deleted_container)
_LIST_DELETED = select(schema.deleted_container.c.container_id)
_DELETE_DELETED = delete(schema.deleted_container).where(
    schema.deleted_container.c.container_id == bindparam("deleted_id")
)

_about_blob = [column for column in _blob.c if column is not _blob.c.data]
_in_container = _blob.c.container_id == bindparam("container_id")
_GET_BLOB = select(_blob).where(_in_container, _blob.c.name == bindparam("name"))
_GET_BLOB_HEAD = select(*_about_blob).where(_in_container, _blob.c.name == bindparam("name"))
_LIST_BLOBS = select(*_about_blob).where(_in_container, _blob.c.name >= _first).order_by(_blob.c.name).limit(_count)
_LIST_BLOBS_BEFORE = _LIST_BLOBS.where(_blob.c.name < _before)
_INSERT_BLOB = insert(_blob)
_UPDATE_BLOB = update(_blob).where(_blob.c.id == bindparam("blob_id")).values(_bound([*_about_blob[1:], _blob.c.data]))
_UPDATE_BLOB_HEAD = update(_blob).where(_blob.c.id == bindparam("blob_id")).values(_bound(_about_blob[1:]))
_DELETE_BLOB = delete(_blob).where(_blob.c.id == bindparam("blob_id"))

_of_blob = _segment.c.blob_id == bindparam("blob_id")
_LIST_SEGMENTS = (
    select(_segment.c.start, _segment.c.size, _segment.c.block_id, _segment.c.file, _segment.c.data)
    .where(_of_blob)
    .order_by(_segment.c.start)
)
_LIST_SEGMENTS_BETWEEN = _LIST_SEGMENTS.where(
    _segment.c.start < bindparam("end"),
    # The segment that `begin` lies in is the last one that starts no later.
    _segment.c.start
    >= select(func.max(_segment.c.start)).where(_of_blob, _segment.c.start <= bindparam("begin")).scalar_subquery(),
)
_INSERT_SEGMENTS = insert(_segment)
_DELETE_SEGMENTS = delete(_segment).where(_of_blob).returning(_segment.c.file)

_of_name = (_block.c.container_id == bindparam("container_id")) & (_block.c.blob_name == bindparam("blob_name"))
_of_block = _of_name & (_block.c.block_id == bindparam("block_id"))
_block_columns = (_block.c.block_id, _block.c.size, _block.c.file, _block.c.data)
_LIST_BLOCKS = select(*_block_columns).where(_of_name).order_by(_block.c.block_id)
_ANY_BLOCK = select(*_block_columns).where(_of_name).limit(1)
_INSERT_BLOCK = insert(_block)
_DELETE_BLOCK = delete(_block).where(_of_block).returning(_block.c.file)
_DELETE_BLOCKS = delete(_block).where(_of_name).returning(_block.c.file)
_LIST_UNCOMMITTED = (
    select(_block.c.blob_name, func.max(_block.c.uploaded_at))
    .where(_block.c.container_id == bindparam("container_id"), _block.c.blob_name >= _first)
    .where(~exists().where(_blob.c.container_id == _block.c.container_id, _blob.c.name == _block.c.blob_name))
    .group_by(_block.c.blob_name)
    .order_by(_block.c.blob_name)
    .limit(_count)
)
_LIST_UNCOMMITTED_BEFORE = _LIST_UNCOMMITTED.where(_block.c.blob_name < _before)
_LIST_STALE = (
    select(_block.c.container_id, _block.c.blob_name)
    .group_by(_block.c.container_id, _block.c.blob_name)
    .having(func.max(_block.c.uploaded_at) < bindparam("moment"))
    .limit(_count)
)
_ANY_OLD_BLOCK = select(_block.c.block_id).where(_block.c.uploaded_at < bindparam("moment")).limit(1)

_among: BindParameter[Any] = bindparam("files", expanding=True)
_LIST_NEEDED = union(
    select(_segment.c.file).where(_segment.c.file.in_(_among)),
    select(_block.c.file).where(_block.c.file.in_(_among)),
)
_INSERT_GARBAGE = insert(schema.garbage)
_LIST_GARBAGE = select(schema.garbage.c.file).limit(_count)
_DELETE_GARBAGE = delete(schema.garbage).where(schema.garbage.c.file == bindparam("unlinked"))


class Transaction:
    """Rows as they are at one moment (``now``), and changes that happen all or not at all."""

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self.now = now
        self.has_written = False
        #: Whether it leaves garbage, or a container that is to be purged.
        self.has_leftovers = False

    def later_than(self, moment: int) -> int:
        """A moment for a change: now, and after ``moment`` even where the clock stands still or was set back."""
        return max(self.now, moment + 1)

    def _rows(self, statement: Executable, **values: object) -> Sequence[Any]:
        return self._connection.execute(statement, values).all()

    def _row(self, statement: Executable, **values: object) -> Any:
        return self._connection.execute(statement, values).first()

    def _write(self, statement: Executable, values: Any) -> Any:
        self.has_written = True
        return self._connection.execute(statement, values)

    # Containers

    def get_container(self, account: str, name: str) -> Container | None:
        row = self._row(_GET_CONTAINER, account=account, name=name)
        return container_from(row) if row else None

    def list_containers(self, account: str, first: str, count: int) -> list[Container]:
        """The next containers of an account by name, from ``first`` on."""
        return [container_from(row) for row in self._rows(_LIST_CONTAINERS, account=account, first=first, count=count)]

    def put_container(self, container: Container) -> None:
        """Add a container (id 0), or replace all that may change of it."""
        if container.id:
            self._write(_UPDATE_CONTAINER, container_values(container) | {"container_id": container.id})
        else:
            identity = {"account": container.account, "name": container.name, "created_at": container.created_at}
            self._write(_INSERT_CONTAINER, container_values(container) | identity)

    def delete_container(self, container_id: int) -> None:
        """What is in it stays, under an id that leads nowhere any more, until it is purged."""
        self._write(_DELETE_CONTAINER, {"container_id": container_id})
        self._write(_INSERT_DELETED, {"container_id": container_id})
        self.has_leftovers = True

    def list_deleted_containers(self) -> list[int]:
        return [row[0] for row in self._rows(_LIST_DELETED)]

    def forget_deleted_container(self, container_id: int) -> None:
        self._write(_DELETE_DELETED, {"deleted_id": container_id})

    # Blobs

    def get_blob(self, container_id: int, name: str) -> Blob | None:
        """A blob with its data."""
        row = self._row(_GET_BLOB, container_id=container_id, name=name)
        return blob_from(row) if row else None

    def get_blob_head(self, container_id: int, name: str) -> Blob | None:
        """A blob without its data."""
        row = self._row(_GET_BLOB_HEAD, container_id=container_id, name=name)
        return blob_from(row) if row else None

    def list_blobs(self, container_id: int, first: str, before: str | None, count: int) -> list[Blob]:
        """The next blobs by name, without their data: from ``first`` on, below ``before``."""
        values = {"container_id": container_id, "first": first, "count": count}
        if before is None:
            return [blob_from(row) for row in self._rows(_LIST_BLOBS, **values)]
        return [blob_from(row) for row in self._rows(_LIST_BLOBS_BEFORE, **values, before=before)]

    def put_blob(self, blob: Blob, segments: Iterable[Segment] = ()) -> None:
        """Add a blob (id 0), or replace it with its bytes."""
        values = blob_head_values(blob) | {"data": blob.data}
        replaced: Sequence[str] = ()
        if blob.id:
            replaced = self._delete_segments(blob.id)
            self._write(_UPDATE_BLOB, values | {"blob_id": blob.id})
        else:
            inserted = self._write(_INSERT_BLOB, values)
        rows = [segment._asdict() for segment in segments]
        if rows:
            blob_id = blob.id or inserted.inserted_primary_key[0]
            self._write(_INSERT_SEGMENTS, [row | {"blob_id": blob_id} for row in rows])
        self._release(replaced)

    def put_blob_head(self, blob: Blob) -> None:
        """Replace what is about a blob, and leave its bytes."""
        self._write(_UPDATE_BLOB_HEAD, blob_head_values(blob) | {"blob_id": blob.id})

    def delete_blob(self, blob_id: int) -> None:
        files = self._delete_segments(blob_id)
        self._write(_DELETE_BLOB, {"blob_id": blob_id})
        self._release(files)

    # The segments of a blob

    def list_segments(self, blob_id: int) -> list[Segment]:
        return [Segment._make(row) for row in self._rows(_LIST_SEGMENTS, blob_id=blob_id)]

    def list_segments_between(self, blob_id: int, begin: int, end: int) -> list[Segment]:
        """Those that hold any of the bytes from ``begin`` up to ``end``."""
        return [Segment._make(row) for row in self._rows(_LIST_SEGMENTS_BETWEEN, blob_id=blob_id, begin=begin, end=end)]

    def _delete_segments(self, blob_id: int) -> list[str]:
        """Their files, which may still be part of other blobs."""
        return [file for (file,) in self._write(_DELETE_SEGMENTS, {"blob_id": blob_id}).all() if file]

    # Uncommitted blocks

    def list_blocks(self, container_id: int, blob_name: str) -> list[Block]:
        rows = self._rows(_LIST_BLOCKS, container_id=container_id, blob_name=blob_name)
        return [Block._make(row) for row in rows]

    def get_any_block(self, container_id: int, blob_name: str) -> Block | None:
        row = self._row(_ANY_BLOCK, container_id=container_id, blob_name=blob_name)
        return Block._make(row) if row else None

    def put_block(self, container_id: int, blob_name: str, block: Block) -> None:
        """Add an uncommitted block, in place of the one with its id."""
        key = {"container_id": container_id, "blob_name": blob_name}
        replaced = self._write(_DELETE_BLOCK, key | {"block_id": block.block_id}).all()
        self._write(_INSERT_BLOCK, key | block._asdict() | {"uploaded_at": self.now})
        self._release([file for (file,) in replaced if file])

    def delete_blocks(self, container_id: int, blob_name: str) -> None:
        deleted = self._write(_DELETE_BLOCKS, {"container_id": container_id, "blob_name": blob_name}).all()
        self._release([file for (file,) in deleted if file])

    def list_uncommitted(self, container_id: int, first: str, before: str | None, count: int) -> list[tuple[str, int]]:
        """The next names that have blocks and no blob, with when the last was put: from ``first``, below ``before``."""
        values = {"container_id": container_id, "first": first, "count": count}
        if before is None:
            return [(row[0], row[1]) for row in self._rows(_LIST_UNCOMMITTED, **values)]
        return [(row[0], row[1]) for row in self._rows(_LIST_UNCOMMITTED_BEFORE, **values, before=before)]

    def list_stale(self, moment: int, count: int) -> list[tuple[int, str]]:
        """Container ids and blob names whose newest uncommitted block is from before that moment."""
        if self._row(_ANY_OLD_BLOCK, moment=moment) is None:
            return []
        return [(row[0], row[1]) for row in self._rows(_LIST_STALE, moment=moment, count=count)]

    # Files

    def _release(self, files: Sequence[str]) -> None:
        """Note those of the files as garbage that nothing refers to any more."""
        unneeded = set(files) - self.needed(files)
        if unneeded:
            self._write(_INSERT_GARBAGE, [{"file": file} for file in unneeded])
            self.has_leftovers = True

    def needed(self, files: Sequence[str]) -> set[str]:
        """Those of the files that a blob or a block refers to."""
        found: set[str] = set()
        for index in range(0, len(files), _FILES_AT_ONCE):
            found |= {row[0] for row in self._rows(_LIST_NEEDED, files=files[index : index + _FILES_AT_ONCE])}
        return found

    def list_garbage(self, count: int) -> list[str]:
        """Files that are still to be unlinked."""
        return [row[0] for row in self._rows(_LIST_GARBAGE, count=count)]

    def forget_garbage(self, files: Sequence[str]) -> None:
        self._write(_DELETE_GARBAGE, [{"unlinked": file} for file in files])
