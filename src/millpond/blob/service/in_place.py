"""How the bytes of a blob change in place: by rows that say where the new ones are. No byte is ever overwritten.

A large piece has a file of its own, as a block has. Small ones are added to the end of one file, the blob's tail,
wherever that is when they come; what was added and then not committed stays there unused. A blob that was copied from
another shares its files and begins a tail of its own.
"""

from __future__ import annotations

from typing import Final

from ..errors import error
from ..model import Blob, Content, ResourceName, Segment
from ..store import Transaction
from . import immutability
from .lease import after_write
from .segments import spliced

#: A tail that is longer is not continued: its room is free again only when nothing in it is used any more.
_MAX_TAIL: Final = 16 << 20


class TailGoneError(Exception):
    """The file that something was added to has been given up meanwhile. It must be added to another one."""


def tail_of(transaction: Transaction, name: ResourceName) -> str:
    """The file that a small piece for a blob goes to, empty for a new one."""
    container = transaction.get_container(name.account, name.container)
    blob = transaction.get_blob_head(container.id, name.blob) if container else None
    return blob.in_place.tail if blob else ""


def check_may_change(transaction: Transaction, blob: Blob) -> None:
    immutability.check(blob, transaction.now)
    if blob.copy and blob.copy.is_incremental:
        raise error("OperationNotAllowedOnIncrementalCopyBlob")


def change(transaction: Transaction, blob: Blob, begin: int, end: int, content: Content | None) -> Blob:
    """Put content in a place, or clear that; ``blob`` is what it is then, but for its time and tail.

    Raises :class:`TailGoneError`.
    """
    new = Segment(begin, end - begin, "", "", transaction.now) if end > begin else None
    if content:
        if content.offset and not transaction.is_used(content.file):
            raise TailGoneError
        new = Segment(begin, content.size, "", content.file, content.offset)
        if content.is_added:
            tail = content.file if content.offset + content.size < _MAX_TAIL else ""
            blob = blob._replace(in_place=blob.in_place._replace(tail=tail))
    near = transaction.list_segments_between(blob.id, max(begin - 1, 0), end + 1)
    changed = changed_now(transaction, blob)
    transaction.put_blob_head(changed)
    transaction.replace_segments(blob.id, near, spliced(near, begin, end, new))
    return changed


def changed_now(transaction: Transaction, blob: Blob) -> Blob:
    now = transaction.later_than(blob.last_modified)
    return blob._replace(last_modified=now, lease=after_write(blob.lease, transaction.now))
