"""The rules of blobs as wholes: put, read, change, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from millpond.common.config import NO_FEATURES, BlobFeatures
from millpond.common.errors import ServiceError

from ..errors import ERRORS, error
from ..model import (
    NO_LEASE,
    NO_TAGS,
    NO_TIERING,
    NOT_IMMUTABLE,
    NOT_IN_PLACE,
    Blob,
    BlobType,
    Container,
    Content,
    ContentProperties,
    CopyState,
    Immutability,
    InPlace,
    Metadata,
    ResourceName,
    Segment,
    Tags,
    Tiering,
)
from ..store import Transaction
from . import encryption, history, immutability
from .conditions import NO_DEMANDS, Demands, check_read, check_write
from .containers import find_container
from .lease import after_write, check_use
from .names import check_blob_name
from .tier import arrived, check_online, check_tier

#: What a deletion does with a blob's snapshots: nothing (there must be none), delete them too, delete only them.
Snapshots = Literal["", "include", "only"]


class BlobDraft(NamedTuple):
    """A blob to be, without its bytes: what the request that makes it says of it."""

    properties: ContentProperties
    metadata: Metadata
    access_tier: str
    demands: Demands
    #: Whether the requester may replace a blob, and not only make a new one.
    may_overwrite: bool
    features: BlobFeatures = NO_FEATURES
    type: BlobType = "BlockBlob"
    tiering: Tiering = NO_TIERING
    in_place: InPlace = NOT_IN_PLACE
    immutability: Immutability = NOT_IMMUTABLE
    tags: Tags = NO_TAGS


class Place(NamedTuple):
    """Where a blob goes, and what is there now (without its data).

    ``newest`` is what is there or else, where the account keeps what was deleted, the last that was.
    """

    container: Container
    name: str
    present: Blob | None
    newest: Blob | None


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
    """A blob without its data, or the snapshot or version that is named.

    Raises ``ContainerNotFound`` or ``BlobNotFound``.
    """
    return _found(transaction, name, Transaction.get_blob_head)


def _found(transaction: Transaction, name: ResourceName, get: Callable[..., Blob | None]) -> Blob:
    container = find_container(transaction, name)
    generation = name.snapshot or name.version
    blob = get(transaction, container.id, name.blob, generation) if generation else None
    if blob is None and not name.snapshot:
        blob = get(transaction, container.id, name.blob)
    if blob is None or blob.deleted_at or name.snapshot != blob.snapshot or name.version not in (0, blob.version):
        raise error("BlobNotFound")
    return arrived(blob, transaction.now)


def find_place(
    transaction: Transaction, name: ResourceName, draft: BlobDraft, *, code: str = "ConditionNotMet"
) -> Place:
    """Where the draft's blob may go. Raises what keeps it from there; ``code`` where a condition does."""
    check_blob_name(name.blob)
    check_is_no_past(name)
    check_tier(draft.type, draft.access_tier)
    container = find_container(transaction, name)
    encryption.of_new_blob(container, draft.demands.encryption)
    immutability.check_wanted(draft.immutability, draft.features, transaction.now)
    newest = transaction.get_newest(container.id, name.blob)
    present = newest if newest and newest.is_current else None
    if present:
        check_write(draft.demands, present.last_modified, present.lease, transaction.now, tags=present.tags, code=code)
        if not draft.may_overwrite:
            raise error("UnauthorizedBlobOverwrite")
        check_no_pending_copy(present)
    else:
        check_write(draft.demands, None, code=code)
    return Place(container, name.blob, present, newest)


def check_is_no_past(name: ResourceName) -> None:
    """Snapshots and versions are read and deleted, and nothing else."""
    if name.snapshot or name.version:
        raise error("InvalidQueryParameterValue", QueryParameterName="snapshot" if name.snapshot else "versionid")


def check_no_pending_copy(blob: Blob) -> None:
    if blob.copy and blob.copy.status == "pending":
        raise error("PendingCopyOperation")


def put_blob(
    transaction: Transaction,
    name: ResourceName,
    draft: BlobDraft,
    content: Content,
    copy: CopyState | None = None,
) -> Blob:
    """Put Blob: content that came in one request, or from the source of a copy."""
    segments = [Segment(0, content.size, "", content.file)] if content.file else []
    place = find_place(transaction, name, draft)
    return store_blob(transaction, place, draft, Extent(content.size, content.data, segments), copy=copy)


def store_blob(
    transaction: Transaction, place: Place, draft: BlobDraft, extent: Extent, *, copy: CopyState | None = None
) -> Blob:
    """Put a blob in its place; blocks of that name that were not committed are gone with it."""
    present, newest = place.present, place.newest
    now = transaction.later_than(present.last_modified) if present else transaction.now
    is_kept = False
    if present:
        is_kept = history.keep_overwritten(transaction, place.container.account, present, draft.type, draft.features)
    elif newest:
        history.keep_deleted_as_snapshots(transaction, newest)
    version = history.new_version(transaction, newest, now, draft.features)
    blob = Blob(
        id=present.id if present and not is_kept else 0,
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
        type=draft.type,
        version=version,
        lease=after_write(present.lease, transaction.now) if present else NO_LEASE,
        tiering=draft.tiering,
        tags=draft.tags,
        accessed_at=transaction.now if draft.features.last_access_tracking else 0,
        in_place=draft.in_place,
        encryption=encryption.of_new_blob(place.container, draft.demands.encryption),
        immutability=draft.immutability,
    )
    transaction.put_blob(blob, extent.segments)
    transaction.delete_blocks(place.container.id, place.name)
    return blob


def get_blob_properties(transaction: Transaction, name: ResourceName, demands: Demands = NO_DEMANDS) -> Blob:
    blob = find_blob(transaction, name)
    check_read(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    encryption.check_key(blob.encryption, demands.encryption)
    return blob


def read_blob(
    transaction: Transaction,
    name: ResourceName,
    demands: Demands = NO_DEMANDS,
    span: Span | None = None,
    *,
    code: str = "ConditionNotMet",
    even_archived: bool = False,
) -> Reading:
    """A blob and where its bytes are, or those within ``span``. Raises :class:`RangeError` for one beyond its end."""
    blob = _found(transaction, name, Transaction.get_blob)
    check_read(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags, code=code)
    encryption.check_key(blob.encryption, demands.encryption)
    if not even_archived:
        check_online(blob)
    begin, end = extent(blob, span)
    if blob.data is not None:
        return Reading(blob, begin, end, [])
    return Reading(blob, begin, end, transaction.list_segments_between(blob.id, begin, end))


def extent(blob: Blob, span: Span | None) -> tuple[int, int]:
    """Where the bytes of a blob begin and end that are within a span. Raises :class:`RangeError`."""
    if span is None:
        return 0, blob.size
    if span.begin >= blob.size:
        raise RangeError(blob.size)
    return span.begin, blob.size if span.end is None else min(span.end, blob.size)


def set_blob_properties(
    transaction: Transaction, name: ResourceName, properties: ContentProperties, demands: Demands
) -> Blob:
    blob = find_blob_to_change(transaction, name, demands)
    immutability.check(blob, transaction.now)
    return _change(transaction, blob._replace(properties=properties))


def set_blob_metadata(
    transaction: Transaction,
    name: ResourceName,
    metadata: Metadata,
    demands: Demands,
    features: BlobFeatures = NO_FEATURES,
) -> Blob:
    """With versioning this makes a new version of the same bytes."""
    blob = find_blob_to_change(transaction, name, demands)
    check_encryption(transaction, name, blob, demands)
    immutability.check(blob, transaction.now)
    history.keep_before_change(transaction, blob, features)
    version = history.new_version(transaction, blob, transaction.now, features)
    return _change(transaction, blob._replace(metadata=metadata, version=version))


def delete_blob(
    transaction: Transaction,
    name: ResourceName,
    demands: Demands,
    snapshots: Snapshots = "",
    features: BlobFeatures = NO_FEATURES,
) -> bool:
    """Delete a blob, its snapshots, or the one snapshot or version that is named; whether that is for good.

    Raises ``SnapshotsPresent`` where nothing is said of the snapshots that a blob has.
    """
    blob = find_blob(transaction, name)
    if not demands.tier_conditions.hold_for(blob.tiering.changed_at or blob.created_at):
        raise error("ConditionNotMet")
    if name.snapshot or name.version:
        if blob.is_current:
            raise error("OperationNotAllowedOnRootBlob")
        check_write(demands, blob.last_modified, tags=blob.tags)
        return history.keep_deleted(transaction, name.account, blob, features)
    check_write(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    check_no_pending_copy(blob)
    of_blob = [
        other
        for other in transaction.list_history(blob.container_id, blob.name)
        if other.snapshot and not other.deleted_at
    ]
    if of_blob and not snapshots:
        raise error("SnapshotsPresent")
    if snapshots != "only":
        of_blob.append(blob)
        transaction.delete_blocks(blob.container_id, blob.name)
    for_good = [history.keep_deleted(transaction, name.account, each, features) for each in of_blob]
    return all(for_good)


def delete_permanently(transaction: Transaction, name: ResourceName, demands: Demands) -> None:
    """Remove a snapshot or version that is deleted and could still be brought back."""
    if not transaction.get_service_properties(name.account).delete_retention.allow_permanent_delete:
        raise error("PermanentDeleteNotAllowed")
    container = find_container(transaction, name)
    blob = transaction.get_blob_head(container.id, name.blob, name.snapshot or name.version)
    if blob is None or not blob.deleted_at:
        raise error("BlobNotFound")
    check_write(demands, blob.last_modified, tags=blob.tags)
    immutability.check(blob, transaction.now)
    transaction.delete_blob(blob.id)


def undelete_blob(transaction: Transaction, name: ResourceName) -> None:
    """Bring back a deleted blob and all its deleted snapshots and versions."""
    check_is_no_past(name)
    container = find_container(transaction, name)
    if not history.undelete(transaction, container.id, name.blob):
        raise error("BlobNotFound")


def snapshot_blob(
    transaction: Transaction,
    name: ResourceName,
    metadata: Metadata,
    demands: Demands,
    features: BlobFeatures = NO_FEATURES,
) -> Blob:
    """A snapshot with the blob's metadata, or the given. With versioning the blob's next version begins."""
    check_is_no_past(name)
    blob = find_blob(transaction, name)
    check_use(blob.lease, demands.lease_id, transaction.now)
    check_write(demands._replace(lease_id=""), blob.last_modified, tags=blob.tags)
    check_encryption(transaction, name, blob, demands)
    check_online(blob)
    moment = transaction.next_generation(blob)
    snapshot = blob._replace(id=0, generation=moment, snapshot=moment, version=0, lease=NO_LEASE)
    if metadata:
        snapshot = snapshot._replace(metadata=metadata, last_modified=transaction.later_than(blob.last_modified))
    transaction.put_twin(snapshot, blob.id)
    if features.versioning:
        history.keep_before_change(transaction, blob, features)
        version = history.new_version(transaction, blob, moment + 1, features)
        transaction.put_blob_head(blob._replace(version=version))
        snapshot = snapshot._replace(version=version)
    return snapshot


def find_blob_to_change(transaction: Transaction, name: ResourceName, demands: Demands) -> Blob:
    """The blob itself. Raises what keeps it from being changed."""
    check_is_no_past(name)
    blob = find_blob(transaction, name)
    check_write(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    check_no_pending_copy(blob)
    check_online(blob)
    return blob


def check_encryption(transaction: Transaction, name: ResourceName, blob: Blob, demands: Demands) -> None:
    """Raises what is wrong with the key or the scope, which may be its container's, of a request that writes to it."""
    if demands.encryption != blob.encryption:
        given = encryption.of_new_blob(find_container(transaction, name), demands.encryption)
        encryption.check_same(blob.encryption, given)


def _change(transaction: Transaction, changed: Blob) -> Blob:
    now = transaction.later_than(changed.last_modified)
    changed = changed._replace(last_modified=now, lease=after_write(changed.lease, transaction.now))
    transaction.put_blob_head(changed)
    return changed


def note_access(transaction: Transaction, blob: Blob) -> None:
    """Keep when a blob was last read. Its row may be another's by now."""
    now = transaction.get_blob_head(blob.container_id, blob.name, blob.generation)
    if now and now.id == blob.id:
        transaction.put_blob_head(now._replace(accessed_at=transaction.now))
