"""What the rules can do with the rows, within one transaction. No rule of the service lives here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from ..model import Blob, Block, Container, Segment
from . import statements as sql
from .rows import blob_from, blob_head_values, container_from, container_values
from .statements import Statement


class Transaction:
    """Rows as they are at one moment (``now``), and changes that happen all or not at all."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self.now = now
        self.has_written = False
        #: Whether it leaves garbage, or a container that is to be purged.
        self.has_leftovers = False

    def later_than(self, moment: int) -> int:
        """A moment for a change: now, and after ``moment`` even where the clock stands still or was set back."""
        return max(self.now, moment + 1)

    def _rows(self, statement: Statement, **values: object) -> list[Any]:
        return statement.run(self._connection, values).fetchall()

    def _row(self, statement: Statement, **values: object) -> Any:
        return statement.run(self._connection, values).fetchone()

    def _write(self, statement: Statement, values: dict[str, object]) -> sqlite3.Cursor:
        self.has_written = True
        return statement.run(self._connection, values)

    # Containers

    def get_container(self, account: str, name: str) -> Container | None:
        row = self._row(sql.GET_CONTAINER, account=account, name=name)
        return container_from(row) if row else None

    def list_containers(self, account: str, first: str, count: int) -> list[Container]:
        """The next containers of an account by name, from ``first`` on."""
        rows = self._rows(sql.LIST_CONTAINERS, account=account, first=first, limit=count)
        return [container_from(row) for row in rows]

    def put_container(self, container: Container) -> None:
        """Add a container (id 0), or replace all that may change of it."""
        values = container_values(container)
        self._write(sql.UPDATE_CONTAINER if container.id else sql.INSERT_CONTAINER, values)

    def delete_container(self, container_id: int) -> None:
        """What is in it stays, under an id that leads nowhere any more, until it is purged."""
        self._write(sql.DELETE_CONTAINER, {"this_id": container_id})
        self._write(sql.INSERT_DELETED, {"container_id": container_id})
        self.has_leftovers = True

    def list_deleted_containers(self) -> list[int]:
        return [row[0] for row in self._rows(sql.LIST_DELETED)]

    def forget_deleted_container(self, container_id: int) -> None:
        self._write(sql.FORGET_DELETED, {"this_id": container_id})

    # Blobs

    def get_blob(self, container_id: int, name: str) -> Blob | None:
        """A blob with its data."""
        row = self._row(sql.GET_BLOB, container_id=container_id, name=name)
        return blob_from(row) if row else None

    def get_blob_head(self, container_id: int, name: str) -> Blob | None:
        """A blob without its data."""
        row = self._row(sql.GET_BLOB_HEAD, container_id=container_id, name=name)
        return blob_from(row) if row else None

    def list_blobs(self, container_id: int, first: str, before: str | None, count: int) -> list[Blob]:
        """The next blobs by name, without their data: from ``first`` on, below ``before``."""
        statement = sql.LIST_BLOBS if before is None else sql.LIST_BLOBS_BEFORE
        rows = self._rows(statement, container_id=container_id, first=first, before=before, limit=count)
        return [blob_from(row) for row in rows]

    def put_blob(self, blob: Blob, segments: Iterable[Segment] = ()) -> None:
        """Add a blob (id 0), or replace it with its bytes."""
        values = blob_head_values(blob)
        values["data"] = blob.data
        replaced: Sequence[str] = ()
        blob_id: int | None = blob.id
        if blob_id:
            replaced = self._delete_segments(blob_id)
            self._write(sql.UPDATE_BLOB, values)
        else:
            blob_id = self._write(sql.INSERT_BLOB, values).lastrowid
        rows = [{"blob_id": blob_id, **segment._asdict()} for segment in segments]
        if rows:
            sql.INSERT_SEGMENT.run_many(self._connection, rows)
        self._release(replaced)

    def put_blob_head(self, blob: Blob) -> None:
        """Replace what is about a blob, and leave its bytes."""
        self._write(sql.UPDATE_BLOB_HEAD, blob_head_values(blob))

    def delete_blob(self, blob_id: int) -> None:
        files = self._delete_segments(blob_id)
        self._write(sql.DELETE_BLOB, {"this_id": blob_id})
        self._release(files)

    # The segments of a blob

    def list_segments(self, blob_id: int) -> list[Segment]:
        return [Segment._make(row) for row in self._rows(sql.LIST_SEGMENTS, this_id=blob_id)]

    def list_segments_between(self, blob_id: int, begin: int, end: int) -> list[Segment]:
        """Those that hold any of the bytes from ``begin`` up to ``end``."""
        rows = self._rows(sql.LIST_SEGMENTS_BETWEEN, this_id=blob_id, begin=begin, end=end)
        return [Segment._make(row) for row in rows]

    def _delete_segments(self, blob_id: int) -> list[str]:
        """Their files, which may still be part of other blobs."""
        return [file for (file,) in self._write(sql.DELETE_SEGMENTS, {"this_id": blob_id})]

    # Uncommitted blocks

    def list_blocks(self, container_id: int, blob_name: str) -> list[Block]:
        rows = self._rows(sql.LIST_BLOCKS, of_container=container_id, of_blob=blob_name)
        return [Block._make(row) for row in rows]

    def get_any_block(self, container_id: int, blob_name: str) -> Block | None:
        row = self._row(sql.GET_ANY_BLOCK, of_container=container_id, of_blob=blob_name, limit=1)
        return Block._make(row) if row else None

    def put_block(self, container_id: int, blob_name: str, block: Block) -> None:
        """Add an uncommitted block, in place of the one with its id."""
        key = {"of_container": container_id, "of_blob": blob_name, "of_block": block.block_id}
        replaced = [file for (file,) in self._write(sql.DELETE_BLOCK, key)]
        row = {"container_id": container_id, "blob_name": blob_name, **block._asdict(), "uploaded_at": self.now}
        self._write(sql.INSERT_BLOCK, row)
        self._release(replaced)

    def delete_blocks(self, container_id: int, blob_name: str) -> None:
        key = {"of_container": container_id, "of_blob": blob_name}
        self._release([file for (file,) in self._write(sql.DELETE_BLOCKS, key)])

    def list_uncommitted(self, container_id: int, first: str, before: str | None, count: int) -> list[tuple[str, int]]:
        """The next names that have blocks and no blob, with when the last was put: from ``first``, below ``before``."""
        statement = sql.LIST_UNCOMMITTED if before is None else sql.LIST_UNCOMMITTED_BEFORE
        return self._rows(statement, of_container=container_id, first=first, before=before, limit=count)

    def list_stale(self, moment: int, count: int) -> list[tuple[int, str]]:
        """Container ids and blob names whose newest uncommitted block is from before that moment."""
        if self._row(sql.GET_ANY_OLD_BLOCK, moment=moment, limit=1) is None:
            return []
        return self._rows(sql.LIST_STALE, moment=moment, limit=count)

    # Files

    def _release(self, files: Sequence[str]) -> None:
        """Note those of the files as garbage that nothing refers to any more."""
        unused = {file for file in set(files) if not self.is_used(file)}
        if unused:
            sql.INSERT_GARBAGE.run_many(self._connection, [{"file": file} for file in unused])
            self.has_leftovers = True

    def is_used(self, file: str) -> bool:
        """Whether a blob or a block refers to a file."""
        return self._row(sql.FIND_USE, this_file=file) is not None

    def list_garbage(self, count: int) -> list[str]:
        """Files that are still to be unlinked."""
        return [row[0] for row in self._rows(sql.LIST_GARBAGE, limit=count)]

    def forget_garbage(self, files: Sequence[str]) -> None:
        self.has_written = True
        sql.FORGET_GARBAGE.run_many(self._connection, [{"this_file": file} for file in files])
