"""The rules of blobs as wholes: put, read, change, delete."""

from __future__ import annotations

from typing import NamedTuple

from millpond.common.errors import ServiceError

from ..errors import ERRORS, error
from ..model import Blob, Container, Content, ContentProperties, CopyState, Metadata, ResourceName, Segment
from ..store import Transaction
from .conditions import NO_DEMANDS, Demands, check_read, check_write
from .containers import find_container
from .names import check_blob_name


class BlobDraft(NamedTuple):
    """A blob to be, without its bytes: what the request that makes it says of it."""

    properties: ContentProperties
    metadata: Metadata
    access_tier: str
    demands: Demands
    #: Whether the requester may replace a blob, and not only make a new one.
    may_overwrite: bool


class Place(NamedTuple):
    """Where a blob goes, and what is there now (without its data)."""

    container: Container
    name: str
    present: Blob | None


class Span(NamedTuple):
    """Bytes from ``begin`` up to ``end``, or up to the end of the blob."""

    begin: int
    end: int | None = None


class RangeError(ServiceError):
    """A range that begins beyond the end of a blob of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        status, message = ERRORS["InvalidRange"]
        super().__init__(status, "InvalidRange", message)
        self.size = size


class Extent(NamedTuple):
    """Where all the bytes of a blob to be are: in ``data`` or in segments."""

    size: int
    data: bytes | None
    segments: list[Segment]


class Reading(NamedTuple):
    """A blob and those of its segments that hold the bytes asked for; without segments they are in its ``data``."""

    blob: Blob
    begin: int
    end: int
    segments: list[Segment]


def find_blob(transaction: Transaction, name: ResourceName) -> Blob:
    """A blob without its data. Raises ``ContainerNotFound`` or ``BlobNotFound``."""
    container = find_container(transaction, name)
    blob = transaction.get_blob_head(container.id, name.blob)
    if blob is None:
        raise error("BlobNotFound")
    return blob


def find_place(
    transaction: Transaction, name: ResourceName, draft: BlobDraft, *, code: str = "ConditionNotMet"
) -> Place:
    """Where the draft's blob may go. Raises what keeps it from there; ``code`` where a condition does."""
    check_blob_name(name.blob)
    container = find_container(transaction, name)
    present = transaction.get_blob_head(container.id, name.blob)
    check_write(draft.demands, present.last_modified if present else None, code=code)
    if present and not draft.may_overwrite:
        raise error("UnauthorizedBlobOverwrite")
    return Place(container, name.blob, present)


def put_blob(transaction: Transaction, name: ResourceName, draft: BlobDraft, content: Content) -> Blob:
    """Put Blob: content that came in one request."""
    segments = [Segment(0, content.size, "", content.file)] if content.file else []
    place = find_place(transaction, name, draft)
    return store_blob(transaction, place, draft, Extent(content.size, content.data, segments))


def store_blob(
    transaction: Transaction, place: Place, draft: BlobDraft, extent: Extent, *, copy: CopyState | None = None
) -> Blob:
    """Put a blob in its place; blocks of that name that were not committed are gone with it."""
    present = place.present
    now = transaction.later_than(present.last_modified) if present else transaction.now
    blob = Blob(
        id=present.id if present else 0,
        container_id=place.container.id,
        name=place.name,
        created_at=now,
        last_modified=now,
        size=extent.size,
        properties=draft.properties,
        metadata=draft.metadata,
        access_tier=draft.access_tier,
        copy=copy,
        data=extent.data,
    )
    transaction.put_blob(blob, extent.segments)
    transaction.delete_blocks(place.container.id, place.name)
    return blob


def get_blob_properties(transaction: Transaction, name: ResourceName, demands: Demands = NO_DEMANDS) -> Blob:
    blob = find_blob(transaction, name)
    check_read(demands, blob.last_modified)
    return blob


def read_blob(
    transaction: Transaction,
    name: ResourceName,
    demands: Demands = NO_DEMANDS,
    span: Span | None = None,
    *,
    code: str = "ConditionNotMet",
) -> Reading:
    """A blob and where its bytes are, or those within ``span``. Raises :class:`RangeError` for one beyond its end."""
    container = find_container(transaction, name)
    blob = transaction.get_blob(container.id, name.blob)
    if blob is None:
        raise error("BlobNotFound")
    check_read(demands, blob.last_modified, code=code)
    begin, end = 0, blob.size
    if span:
        if span.begin >= blob.size:
            raise RangeError(blob.size)
        begin = span.begin
        end = blob.size if span.end is None else min(span.end, blob.size)
    if blob.data is not None:
        return Reading(blob, begin, end, [])
    return Reading(blob, begin, end, transaction.list_segments_between(blob.id, begin, end))


def set_blob_properties(
    transaction: Transaction, name: ResourceName, properties: ContentProperties, demands: Demands
) -> Blob:
    blob = _blob_for_change(transaction, name, demands)
    return _change(transaction, blob._replace(properties=properties))


def set_blob_metadata(transaction: Transaction, name: ResourceName, metadata: Metadata, demands: Demands) -> Blob:
    blob = _blob_for_change(transaction, name, demands)
    return _change(transaction, blob._replace(metadata=metadata))


def delete_blob(transaction: Transaction, name: ResourceName, demands: Demands) -> None:
    blob = _blob_for_change(transaction, name, demands)
    transaction.delete_blob(blob.id)
    transaction.delete_blocks(blob.container_id, blob.name)


def _blob_for_change(transaction: Transaction, name: ResourceName, demands: Demands) -> Blob:
    blob = find_blob(transaction, name)
    check_write(demands, blob.last_modified)
    return blob


def _change(transaction: Transaction, changed: Blob) -> Blob:
    changed = changed._replace(last_modified=transaction.later_than(changed.last_modified))
    transaction.put_blob_head(changed)
    return changed
