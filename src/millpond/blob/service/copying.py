"""The rules of copies. One within this service shares the files of its source, so its size does not matter.

One from elsewhere is a blob without bytes and a note of what is under way until all its bytes are here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..errors import error
from ..model import NO_LEASE, Blob, Content, ContentProperties, CopyState, Metadata, PendingCopy, ResourceName, Segment
from ..store import Transaction
from .blobs import BlobDraft, Extent, Reading, Span, find_blob, find_place, read_blob, store_blob
from .conditions import NO_DEMANDS, Demands, NotModifiedError, check_write
from .tier import ARCHIVE, rehydration


class Taking(NamedTuple):
    """What a request says of how its copy is to be like the source."""

    #: Whether an append blob is sealed; ``None``: where the source is.
    is_sealed: bool | None = None
    tags: bool = False
    #: Of the rehydration, where the copy of an archived blob is to be online.
    priority: str = ""


AS_IT_IS: Final = Taking()


def copy_blob(
    transaction: Transaction,
    source: ResourceName,
    target: ResourceName,
    wanted: BlobDraft,
    copy: CopyState,
    *,
    source_demands: Demands = NO_DEMANDS,
    taking: Taking = AS_IT_IS,
) -> Blob:
    """Make the target of the source's bytes, in one step; ``copy`` is what it tells of its origin.

    Raises ``SourceConditionNotMet``, ``TargetConditionNotMet``, for the tags of either ``ConditionNotMet``, and
    ``BlobArchived``.
    """
    blob, _, size, segments = read_source(transaction, source, source_demands, even_archived=True)
    draft = _draft_from(blob, wanted, taking, transaction.now)
    place = find_place(transaction, target, draft, code="TargetConditionNotMet")
    copy = copy._replace(copied=size, total=size)
    return store_blob(transaction, place, draft, Extent(size, blob.data, segments), copy=copy)


def _draft_from(blob: Blob, wanted: BlobDraft, taking: Taking, now: int) -> BlobDraft:
    taken = taken_over(wanted, blob.properties, blob.metadata)
    is_sealed = blob.in_place.is_sealed if taking.is_sealed is None else taking.is_sealed
    in_place = blob.in_place._replace(is_sealed=is_sealed and blob.type == "AppendBlob", tail="")
    taken = taken._replace(type=blob.type, in_place=in_place)
    if taking.tags:
        taken = taken._replace(tags=blob.tags)
    if blob.access_tier != ARCHIVE:
        return taken
    if blob.tiering.target or wanted.access_tier in ("", ARCHIVE):
        raise error("BlobArchived")
    return taken._replace(access_tier=ARCHIVE, tiering=rehydration(wanted.access_tier, taking.priority, now))


def read_source(
    transaction: Transaction,
    source: ResourceName,
    demands: Demands,
    span: Span | None = None,
    *,
    code: str = "SourceConditionNotMet",
    even_archived: bool = False,
) -> Reading:
    """The source of a copy. Raises ``code`` for a condition of either sense."""
    try:
        return read_blob(transaction, source, demands, span, code=code, even_archived=even_archived)
    except NotModifiedError:
        raise error(code) from None


def copy_incrementally(
    transaction: Transaction, source: ResourceName, target: ResourceName, draft: BlobDraft, copy: CopyState
) -> Blob:
    """Make a snapshot of a page blob the newest snapshot of the target, which holds nothing else.

    Pages that are in several of the target's snapshots share their files. Raises
    ``IncrementalCopySourceMustBeSnapshot``, ``IncrementalCopyBlobMismatch`` for the target of other copies, and
    ``IncrementalCopyOfEarlierVersionSnapshotNotAllowed``.
    """
    if not source.snapshot:
        raise error("IncrementalCopySourceMustBeSnapshot")
    blob, _, size, segments = read_source(transaction, source, NO_DEMANDS)
    if blob.type != "PageBlob":
        raise error("InvalidBlobType")
    place = find_place(transaction, target, draft, code="TargetConditionNotMet")
    moment = transaction.next_generation(place.newest) if place.newest else transaction.now
    copy = copy._replace(copied=size, total=size, destination_snapshot=moment)
    taken = taken_over(draft, blob.properties, blob.metadata)
    taken = taken._replace(type=blob.type, in_place=blob.in_place._replace(tail=""))
    if place.present:
        _check_follows(place.present, copy)
        now = transaction.later_than(place.present.last_modified)
        made = place.present._replace(
            last_modified=now,
            size=size,
            properties=taken.properties,
            metadata=taken.metadata,
            copy=copy,
            in_place=taken.in_place,
        )
        transaction.put_blob(made, segments)
    else:
        store_blob(transaction, place, taken, Extent(size, None, segments), copy=copy)
        made = find_blob(transaction, target)
    transaction.put_twin(made._replace(id=0, generation=moment, snapshot=moment, version=0, lease=NO_LEASE), made.id)
    return made


def _check_follows(present: Blob, copy: CopyState) -> None:
    """Whether the target was made of earlier snapshots of the same blob."""
    if not present.copy or not present.copy.is_incremental:
        raise error("IncrementalCopyBlobMismatch")
    (last, last_moment), (following, moment) = (each.source.split("?") for each in (present.copy, copy))
    if last != following:
        raise error("IncrementalCopyBlobMismatch")
    if moment < last_moment:
        raise error("IncrementalCopyOfEarlierVersionSnapshotNotAllowed")


def start_copy(transaction: Transaction, target: ResourceName, draft: BlobDraft, copy: CopyState, url: str) -> Blob:
    """Make the target, without any bytes yet, and note that they are to come from there."""
    place = find_place(transaction, target, draft, code="TargetConditionNotMet")
    blob = store_blob(transaction, place, draft, Extent(0, b"", []), copy=copy)
    transaction.put_pending_copy(PendingCopy(copy.id, blob.container_id, blob.name, url))
    return blob


def note_progress(transaction: Transaction, pending: PendingCopy, copied: int) -> None:
    blob = _target(transaction, pending)
    if blob and blob.copy:
        transaction.put_blob_head(blob._replace(copy=blob.copy._replace(copied=copied)))


def finish_copy(transaction: Transaction, pending: PendingCopy, content: Content, md5: bytes) -> bool:
    """Give the target its bytes; whether it still waited for them."""
    transaction.delete_pending_copy(pending.copy_id)
    blob = _target(transaction, pending)
    if blob is None or blob.copy is None:
        return False
    changed = _ended(transaction, blob, blob.copy._replace(status="success", copied=content.size, total=content.size))
    properties = blob.properties if blob.properties.content_md5 else blob.properties._replace(content_md5=md5)
    changed = changed._replace(size=content.size, data=content.data, properties=properties)
    segments = [Segment(0, content.size, "", content.file)] if content.file else []
    transaction.put_blob(changed, segments)
    return True


def fail_copy(transaction: Transaction, pending: PendingCopy, description: str) -> None:
    transaction.delete_pending_copy(pending.copy_id)
    blob = _target(transaction, pending)
    if blob and blob.copy:
        copy = blob.copy._replace(status="failed", description=description)
        transaction.put_blob_head(_ended(transaction, blob, copy))


def abort_copy(transaction: Transaction, name: ResourceName, copy_id: str, demands: Demands) -> None:
    """Leave the target without bytes. Raises ``NoPendingCopyOperation`` and ``CopyIdMismatch``."""
    blob = find_blob(transaction, name)
    check_write(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    if blob.copy is None or blob.copy.status != "pending":
        raise error("NoPendingCopyOperation")
    if blob.copy.id != copy_id:
        raise error("CopyIdMismatch")
    transaction.delete_pending_copy(copy_id)
    transaction.put_blob_head(_ended(transaction, blob, blob.copy._replace(status="aborted")))


def merged(own: ContentProperties, of_source: ContentProperties) -> ContentProperties:
    """Properties that the request sets, and those of the source for all others."""
    chosen = [
        mine if mine != default else theirs
        for mine, default, theirs in zip(own, ContentProperties(), of_source, strict=True)
    ]
    return ContentProperties._make(chosen)


def taken_over(draft: BlobDraft, properties: ContentProperties, metadata: Metadata) -> BlobDraft:
    """What Copy Blob makes of a draft: the source's properties, and its metadata where the request has none."""
    return draft._replace(properties=properties, metadata=draft.metadata or metadata)


def _target(transaction: Transaction, pending: PendingCopy) -> Blob | None:
    """The blob that the copy makes, without its data, if it is still there and still waits."""
    blob = transaction.get_blob_head(pending.container_id, pending.name)
    if blob and blob.copy and blob.copy.id == pending.copy_id and blob.copy.status == "pending":
        return blob
    return None


def _ended(transaction: Transaction, blob: Blob, copy: CopyState) -> Blob:
    now = transaction.later_than(blob.last_modified)
    return blob._replace(last_modified=now, copy=copy._replace(completed_at=transaction.now))
