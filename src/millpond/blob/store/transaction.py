"""What the rules can do with the rows, within one transaction. No rule of the service lives here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from ..model import CURRENT, Blob, Block, Container, PendingCopy, Segment, Tags
from ..properties import NO_PROPERTIES, ServiceProperties
from . import statements as sql
from .rows import (
    blob_from,
    blob_head_values,
    block_from,
    block_values,
    container_from,
    container_values,
    service_properties_from,
    service_properties_text,
    tags_from,
)
from .statements import Statement

#: What goes on in the background: garbage and containers that are to be purged; copies from elsewhere.
Concern = Literal["leftovers", "copies"]


class Shown(NamedTuple):
    """What a list shows beside the blobs themselves."""

    snapshots: bool = False
    versions: bool = False
    #: What is deleted, of all that is shown.
    deleted: bool = False
    #: The last versions of blobs that are not there any more.
    last_versions: bool = False


NOTHING_MORE = Shown()


class Transaction:
    """Rows as they are at one moment (``now``), and changes that happen all or not at all."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self.now = now
        self.has_written = False
        #: Whom its changes give something to do, once they are committed.
        self.concerns: set[Concern] = set()

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

    def get_container(self, account: str, name: str, deleted_at: int = 0) -> Container | None:
        """A container, or the one that was deleted at that moment."""
        row = self._row(sql.GET_CONTAINER, account=account, name=name, deleted_at=deleted_at)
        return container_from(row) if row else None

    def list_containers(
        self, account: str, first: str, count: int, *, first_deleted_at: int = 0, with_deleted: bool = False
    ) -> list[Container]:
        """The next containers of an account by name, from ``first`` on; a deleted one after the one that is there."""
        rows = self._rows(
            sql.LIST_CONTAINERS,
            account=account,
            first=first,
            first_generation=first_deleted_at,
            with_deleted=with_deleted,
            limit=count,
        )
        return [container_from(row) for row in rows]

    def list_due_containers(self) -> list[int]:
        """Deleted containers that nothing can bring back any more."""
        return [row[0] for row in self._rows(sql.LIST_DUE_CONTAINERS, moment=self.now)]

    def put_container(self, container: Container) -> None:
        """Add a container (id 0), or replace all that may change of it."""
        values = container_values(container)
        self._write(sql.UPDATE_CONTAINER if container.id else sql.INSERT_CONTAINER, values)

    def delete_container(self, container_id: int) -> None:
        """What is in it stays, under an id that leads nowhere any more, until it is purged."""
        self._write(sql.DELETE_CONTAINER, {"this_id": container_id})
        self._write(sql.INSERT_DELETED, {"container_id": container_id})
        self.concerns.add("leftovers")

    def list_deleted_containers(self) -> list[int]:
        return [row[0] for row in self._rows(sql.LIST_DELETED)]

    def forget_deleted_container(self, container_id: int) -> None:
        self._write(sql.FORGET_DELETED, {"this_id": container_id})

    # Blobs

    def get_blob(self, container_id: int, name: str, generation: int = CURRENT) -> Blob | None:
        """A blob with its data."""
        row = self._row(sql.GET_BLOB, container_id=container_id, name=name, generation=generation)
        return blob_from(row) if row else None

    def get_blob_head(self, container_id: int, name: str, generation: int = CURRENT) -> Blob | None:
        """A blob without its data."""
        row = self._row(sql.GET_BLOB_HEAD, container_id=container_id, name=name, generation=generation)
        return blob_from(row) if row else None

    def get_newest(self, container_id: int, name: str) -> Blob | None:
        """The blob itself or, where there is none, the greatest other generation of its name; without its data."""
        row = self._row(sql.GET_NEWEST, container_id=container_id, name=name, limit=1)
        return blob_from(row) if row else None

    def list_blobs(
        self,
        container_id: int,
        first: str,
        before: str | None,
        count: int,
        *,
        first_generation: int = 0,
        shown: Shown = NOTHING_MORE,
    ) -> list[Blob]:
        """The next blobs by name, without their data: from ``first`` on, below ``before``.

        What else is ``shown`` of a name comes before the blob itself, in order of its generations.
        """
        values = {"container_id": container_id, "first": first, "before": before, "limit": count}
        if shown == NOTHING_MORE:
            statement = sql.LIST_BLOBS if before is None else sql.LIST_BLOBS_BEFORE
        else:
            statement = sql.LIST_GENERATIONS if before is None else sql.LIST_GENERATIONS_BEFORE
            values |= {f"with_{name}": wanted for name, wanted in shown._asdict().items()}
            values["first_generation"] = first_generation
        return [blob_from(row) for row in self._rows(statement, **values)]

    def list_history(self, container_id: int, name: str) -> list[Blob]:
        """Everything of a name but the blob itself, by generation, without data."""
        return [blob_from(row) for row in self._rows(sql.LIST_HISTORY, container_id=container_id, name=name)]

    def list_tagged(self, container_id: int, first: str, count: int) -> list[tuple[str, Tags]]:
        """The names and tags of the next blobs that have any, from ``first`` on."""
        rows = self._rows(sql.LIST_TAGGED, container_id=container_id, first=first, limit=count)
        return [(name, tags_from(tags)) for name, tags in rows]

    def next_generation(self, blob: Blob) -> int:
        """A moment that names nothing yet of a blob's name: now, or as soon after as there is one."""
        last = self._row(sql.LAST_GENERATION, container_id=blob.container_id, name=blob.name)[0]
        return self.later_than(max(last or 0, blob.last_modified, blob.version))

    def list_any_blobs(self, container_id: int, count: int) -> list[tuple[int, str]]:
        """Ids and names of some of all that is in a container, deleted or not."""
        return self._rows(sql.LIST_ANY_BLOBS, container_id=container_id, limit=count)

    def list_due_blobs(self, count: int) -> list[int]:
        """Ids of deleted blobs that nothing can bring back any more."""
        return [row[0] for row in self._rows(sql.LIST_DUE_BLOBS, moment=self.now, limit=count)]

    def list_immutable_blobs(self, container_id: int) -> list[Blob]:
        """All in a container that have, or had, an immutability policy or a legal hold. Looks at every row."""
        return [blob_from(row) for row in self._rows(sql.LIST_IMMUTABLE_BLOBS, container_id=container_id)]

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

    def put_twin(self, blob: Blob, source_id: int) -> None:
        """Add a blob with the bytes of another one."""
        twin_id = self._write(sql.INSERT_TWIN, {**blob_head_values(blob), "source_id": source_id}).lastrowid
        self._write(sql.INSERT_TWIN_SEGMENTS, {"this_id": twin_id, "source_id": source_id})

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
        found = [Segment._make(row) for row in rows]
        return found[1:] if found and found[0].end <= begin else found

    def replace_segments(self, blob_id: int, old: Iterable[Segment], new: Iterable[Segment]) -> None:
        """Put some segments of a blob in place of others."""
        gone, come = set(old), set(new)
        for segment in gone - come:
            self._write(sql.DELETE_SEGMENT, {"this_id": blob_id, "this_start": segment.start})
        for segment in come - gone:
            self._write(sql.INSERT_SEGMENT, {"blob_id": blob_id, **segment._asdict()})
        self._release([segment.file for segment in gone])

    def _delete_segments(self, blob_id: int) -> list[str]:
        """Their files, which may still be part of other blobs."""
        return [file for (file,) in self._write(sql.DELETE_SEGMENTS, {"this_id": blob_id})]

    # Uncommitted blocks

    def list_blocks(self, container_id: int, blob_name: str) -> list[Block]:
        rows = self._rows(sql.LIST_BLOCKS, of_container=container_id, of_blob=blob_name)
        return [block_from(row) for row in rows]

    def get_any_block(self, container_id: int, blob_name: str) -> Block | None:
        row = self._row(sql.GET_ANY_BLOCK, of_container=container_id, of_blob=blob_name, limit=1)
        return block_from(row) if row else None

    def put_block(self, container_id: int, blob_name: str, block: Block) -> None:
        """Add an uncommitted block, in place of the one with its id."""
        key = {"of_container": container_id, "of_blob": blob_name, "of_block": block.block_id}
        replaced = [file for (file,) in self._write(sql.DELETE_BLOCK, key)]
        row = {"container_id": container_id, "blob_name": blob_name, **block_values(block), "uploaded_at": self.now}
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

    # Copies under way, and the properties of accounts

    def put_pending_copy(self, copy: PendingCopy) -> None:
        self._write(sql.INSERT_PENDING_COPY, copy._asdict())
        self.concerns.add("copies")

    def list_pending_copies(self) -> list[PendingCopy]:
        return [PendingCopy._make(row) for row in self._rows(sql.LIST_PENDING_COPIES)]

    def delete_pending_copy(self, copy_id: str) -> None:
        self._write(sql.DELETE_PENDING_COPY, {"this_copy": copy_id})
        self.concerns.add("copies")

    def get_service_properties(self, account: str) -> ServiceProperties:
        row = self._row(sql.GET_SERVICE_PROPERTIES, of_account=account)
        return service_properties_from(row[0]) if row else NO_PROPERTIES

    def put_service_properties(self, account: str, properties: ServiceProperties) -> None:
        self._write(sql.DELETE_SERVICE_PROPERTIES, {"of_account": account})
        text = service_properties_text(properties)
        self._write(sql.INSERT_SERVICE_PROPERTIES, {"account": account, "properties": text})

    # Files

    def _release(self, files: Sequence[str]) -> None:
        """Note those of the files as garbage that nothing refers to any more."""
        unused = {file for file in {*files} - {""} if not self.is_used(file)}
        if unused:
            sql.INSERT_GARBAGE.run_many(self._connection, [{"file": file} for file in unused])
            self.concerns.add("leftovers")

    def is_used(self, file: str) -> bool:
        """Whether a blob or a block refers to a file."""
        return self._row(sql.FIND_USE, this_file=file) is not None

    def list_garbage(self, count: int) -> list[str]:
        """Files that are still to be unlinked."""
        return [row[0] for row in self._rows(sql.LIST_GARBAGE, limit=count)]

    def forget_garbage(self, files: Sequence[str]) -> None:
        self.has_written = True
        sql.FORGET_GARBAGE.run_many(self._connection, [{"this_file": file} for file in files])
