"""The rules of listing blobs."""

from __future__ import annotations

from typing import NamedTuple

from ..model import CURRENT, Blob, Container, ContentProperties, ResourceName
from ..store import NOTHING_MORE, Shown, Transaction
from .containers import find_container
from .names import after_prefix
from .tier import arrived

#: Blobs looked at first where a delimiter may fold them; twice as many after a look that used all of them, a quarter
#: as many after one that folded most of them into prefixes, the rest of which is skipped.
_FOLDED_AT_FIRST = 16


class BlobListing(NamedTuple):
    """What a request for a list asks for."""

    prefix: str = ""
    delimiter: str = ""
    #: The name to begin with, and its generation.
    first: str = ""
    first_generation: int = 0
    #: The name to end before.
    end: str = ""
    #: Most items in the page.
    length: int = 5000
    #: Whether names that have uncommitted blocks only are listed.
    uncommitted: bool = False
    #: What is listed beside the blobs themselves.
    shown: Shown = NOTHING_MORE


class BlobPrefix(NamedTuple):
    """All the blobs whose names begin so, up to and including the delimiter."""

    name: str
    generation: int = 0


class BlobPage(NamedTuple):
    """A page of a list, by name; ``following`` is where the next one starts."""

    items: list[Blob | BlobPrefix]
    following: Blob | BlobPrefix | None


def list_blobs(transaction: Transaction, name: ResourceName, listing: BlobListing) -> BlobPage:
    container = find_container(transaction, name)
    before = after_prefix(listing.prefix)
    if listing.end:
        before = listing.end if before is None else min(before, listing.end)
    first = max(listing.prefix, listing.first)
    generation = listing.first_generation if first == listing.first else 0
    wanted = listing.length + 1  # one more than a page: the next one's first
    if listing.delimiter:
        items = _folded(transaction, container, listing, first, generation, before=before, count=wanted)
    else:
        items = [*_next_blobs(transaction, container, listing, first, generation, before=before, count=wanted)]
    following = items[listing.length] if len(items) > listing.length else None
    return BlobPage(items[: listing.length], following)


def _folded(
    transaction: Transaction,
    container: Container,
    listing: BlobListing,
    start: str,
    generation: int,
    *,
    before: str | None,
    count: int,
) -> list[Blob | BlobPrefix]:
    """The next blobs and prefixes of a list with a delimiter."""
    first: str | None = start
    items: list[Blob | BlobPrefix] = []
    at_once = _FOLDED_AT_FIRST
    while first is not None and len(items) < count:
        wanted = min(at_once, count - len(items))
        blobs = _next_blobs(transaction, container, listing, first, generation, before=before, count=wanted)
        had = len(items)
        for blob in blobs:
            if first is None or (blob.name, blob.generation) < (first, generation):  # folded already
                continue
            folded = _fold(blob.name, listing)
            items.append(BlobPrefix(folded) if folded else blob)
            if folded:
                first, generation = after_prefix(folded), 0
            else:
                first, generation = blob.name, blob.generation + 1
        if len(blobs) < wanted:
            break
        used = len(items) - had
        at_once = at_once * 2 if used == wanted else max(1, at_once // 4) if used * 2 < wanted else at_once
    return items


def _fold(name: str, listing: BlobListing) -> str:
    """The prefix that stands for this name, or nothing where it stands for itself."""
    cut = name.find(listing.delimiter, len(listing.prefix))
    return name[: cut + len(listing.delimiter)] if cut >= 0 else ""


def _next_blobs(
    transaction: Transaction,
    container: Container,
    listing: BlobListing,
    first: str,
    generation: int,
    *,
    before: str | None,
    count: int,
) -> list[Blob]:
    if generation > CURRENT:
        first, generation = first + "\0", 0
    blobs = transaction.list_blobs(container.id, first, before, count, first_generation=generation, shown=listing.shown)
    if listing.uncommitted:
        blobs += [
            _uncommitted(container, blob_name, uploaded_at)
            for blob_name, uploaded_at in transaction.list_uncommitted(container.id, first, before, count)
        ]
        blobs.sort(key=lambda blob: (blob.name, blob.generation))
    return [arrived(blob, transaction.now) if blob.tiering.target else blob for blob in blobs[:count]]


def _uncommitted(container: Container, name: str, uploaded_at: int) -> Blob:
    """How a blob that is not committed yet shows in a list: without any bytes."""
    return Blob(0, container.id, name, uploaded_at, uploaded_at, 0, ContentProperties(), {}, "", None, None)
