"""The rules of listing blobs."""

from __future__ import annotations

from typing import NamedTuple

from ..model import Blob, Container, ContentProperties, ResourceName
from ..store import Transaction
from .containers import find_container
from .names import after_prefix

#: Blobs looked at in one go while a delimiter folds them into prefixes; the rest of a prefix is skipped.
_FOLDED_AT_ONCE = 100


class BlobListing(NamedTuple):
    """What a request for a list asks for."""

    prefix: str = ""
    delimiter: str = ""
    #: The name to begin with.
    first: str = ""
    #: Most items in the page.
    length: int = 5000
    #: Whether names that have uncommitted blocks only are listed.
    uncommitted: bool = False


class BlobPrefix(NamedTuple):
    """All the blobs whose names begin so, up to and including the delimiter."""

    name: str


class BlobPage(NamedTuple):
    """A page of a list, by name; ``following`` is where the next one starts."""

    items: list[Blob | BlobPrefix]
    following: str | None


def list_blobs(transaction: Transaction, name: ResourceName, listing: BlobListing) -> BlobPage:
    container = find_container(transaction, name)
    before = after_prefix(listing.prefix)
    first: str | None = max(listing.prefix, listing.first)
    items: list[Blob | BlobPrefix] = []
    while first is not None and len(items) <= listing.length:  # one more than a page: the next one's first
        wanted = listing.length + 1 - len(items)
        if listing.delimiter:
            wanted = min(wanted, _FOLDED_AT_ONCE)
        blobs = _next_blobs(transaction, container, first, before, wanted, uncommitted=listing.uncommitted)
        for blob in blobs:
            if first is None or blob.name < first:  # folded already
                continue
            folded = _fold(blob.name, listing)
            items.append(BlobPrefix(folded) if folded else blob)
            first = after_prefix(folded) if folded else blob.name + "\0"
        if len(blobs) < wanted:
            break
    following = items[listing.length].name if len(items) > listing.length else None
    return BlobPage(items[: listing.length], following)


def _fold(name: str, listing: BlobListing) -> str:
    """The prefix that stands for this name, or nothing where it stands for itself."""
    if not listing.delimiter:
        return ""
    cut = name.find(listing.delimiter, len(listing.prefix))
    return name[: cut + len(listing.delimiter)] if cut >= 0 else ""


def _next_blobs(
    transaction: Transaction, container: Container, first: str, before: str | None, count: int, *, uncommitted: bool
) -> list[Blob]:
    blobs = transaction.list_blobs(container.id, first, before, count)
    if uncommitted:
        blobs += [
            _uncommitted(container, blob_name, uploaded_at)
            for blob_name, uploaded_at in transaction.list_uncommitted(container.id, first, before, count)
        ]
        blobs.sort(key=lambda blob: blob.name)
    return blobs[:count]


def _uncommitted(container: Container, name: str, uploaded_at: int) -> Blob:
    """How a blob that is not committed yet shows in a list: without any bytes."""
    return Blob(0, container.id, name, uploaded_at, uploaded_at, 0, ContentProperties(), {}, "", None, None)
