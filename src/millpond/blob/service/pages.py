"""The rules of page blobs: put and clear pages, list them and what changed, resize, count.

https://learn.microsoft.com/rest/api/storageservices/put-page
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from ..errors import error
from ..model import Blob, Content, ContentProperties, ResourceName
from ..store import Transaction
from . import in_place
from .blobs import Span, check_encryption, extent, find_blob, find_blob_to_change
from .conditions import NO_DEMANDS, Demands, check_read
from .segments import PageRange, page_changes, page_ranges

PAGE_SIZE: Final = 512
#: Most bytes of a page blob: 8 TiB.
MAX_SIZE: Final = 8 << 40
MAX_SEQUENCE_NUMBER: Final = (1 << 63) - 1

SequenceAction = Literal["max", "update", "increment"]


class SequenceDemands(NamedTuple):
    """What a request demands of the blob's sequence number: to be at most, below, or equal to that."""

    at_most: int | None = None
    below: int | None = None
    equal: int | None = None

    def hold_for(self, number: int) -> bool:
        return (
            (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
            and self.equal in (None, number)
        )


NO_SEQUENCE_DEMANDS: Final = SequenceDemands()


class Pages(NamedTuple):
    """Whole pages that are to change: bytes from ``begin`` up to ``end``."""

    begin: int
    end: int
    of_sequence: SequenceDemands = NO_SEQUENCE_DEMANDS

    @staticmethod
    def of(span: Span, of_sequence: SequenceDemands) -> Pages:
        """Raises ``InvalidPageRange`` for what begins or ends within a page."""
        if span.end is None or span.begin % PAGE_SIZE or span.end % PAGE_SIZE:
            raise error("InvalidPageRange")
        return Pages(span.begin, span.end, of_sequence)

    @property
    def size(self) -> int:
        return self.end - self.begin


class PageBlobChange(NamedTuple):
    """What Set Blob Properties asks for; ``None`` for what stays as it is."""

    size: int | None = None
    action: SequenceAction | None = None
    #: For ``max`` and ``update``.
    number: int = 0


class PageQuery(NamedTuple):
    """Which pages are asked for."""

    #: Within these bytes.
    span: Span | None = None
    #: Only those that changed since that snapshot of the blob.
    previous: ResourceName | None = None
    #: No range that begins earlier, and no more ranges than that where it is not 0.
    first: int = 0
    most: int = 0


class PageList(NamedTuple):
    """Ranges of a blob; ``following`` is where the next page of the list starts, 0 for its end."""

    blob: Blob
    ranges: list[PageRange]
    following: int = 0


def check_size(size: int) -> bool:
    """Whether a page blob may be so large."""
    return size % PAGE_SIZE == 0 and size <= MAX_SIZE


def check_pages(transaction: Transaction, name: ResourceName, pages: Pages, demands: Demands) -> Blob:
    """The blob whose pages may change. Raises what keeps them from that."""
    blob = find_blob_to_change(transaction, name, demands)
    _check_is_page_blob(blob)
    in_place.check_may_change(transaction, blob)
    check_encryption(transaction, name, blob, demands)
    if not pages.of_sequence.hold_for(blob.in_place.sequence_number):
        raise error("SequenceNumberConditionNotMet")
    if pages.end > blob.size:
        raise error("InvalidPageRange")
    return blob


def put_pages(
    transaction: Transaction,
    name: ResourceName,
    content: Content | None,
    pages: Pages,
    demands: Demands = NO_DEMANDS,
) -> Blob:
    """Put content of that size there, or clear the pages. Raises ``in_place.TailGoneError``."""
    blob = check_pages(transaction, name, pages, demands)
    return in_place.change(transaction, blob, pages.begin, pages.end, content)


def set_page_blob_properties(
    transaction: Transaction,
    name: ResourceName,
    properties: ContentProperties | None,
    change: PageBlobChange,
    demands: Demands,
) -> Blob:
    """Set Blob Properties with what only page blobs have. What lies beyond a new size is gone."""
    blob = find_blob_to_change(transaction, name, demands)
    _check_is_page_blob(blob)
    in_place.check_may_change(transaction, blob)
    if properties:
        blob = blob._replace(properties=properties)
    if change.action:
        number = _next_number(blob.in_place.sequence_number, change.action, change.number)
        blob = blob._replace(in_place=blob.in_place._replace(sequence_number=number))
    size, old_size = blob.size if change.size is None else change.size, blob.size
    return in_place.change(transaction, blob._replace(size=size), size, max(size, old_size), None)


def _next_number(number: int, action: SequenceAction, given: int) -> int:
    if action == "update":
        return given
    if action == "max":
        return max(number, given)
    if number == MAX_SEQUENCE_NUMBER:
        raise error("SequenceNumberIncrementTooLarge")
    return number + 1


def list_pages(
    transaction: Transaction, name: ResourceName, query: PageQuery, demands: Demands = NO_DEMANDS
) -> PageList:
    """The pages that were put, or what changed since an earlier snapshot.

    Raises ``PreviousSnapshotNotFound`` and ``PreviousSnapshotCannotBeNewer``.
    """
    blob = find_blob(transaction, name)
    _check_is_page_blob(blob)
    check_read(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    begin, end = extent(blob, query.span)
    segments = transaction.list_segments(blob.id)
    if query.previous:
        before = _find_previous(transaction, blob, query.previous)
        found: Iterable[PageRange] = page_changes(transaction.list_segments(before.id), segments, blob.size)
    else:
        found = page_ranges(segments)
    ranges = [
        each._replace(begin=max(each.begin, begin), end=min(each.end, end))
        for each in found
        if each.end > begin and each.begin < end
    ]
    ranges = [each for each in ranges if each.begin >= query.first]
    if query.most and len(ranges) > query.most:
        return PageList(blob, ranges[: query.most], ranges[query.most].begin)
    return PageList(blob, ranges)


def _find_previous(transaction: Transaction, blob: Blob, previous: ResourceName) -> Blob:
    if blob.snapshot and previous.snapshot > blob.snapshot:
        raise error("PreviousSnapshotCannotBeNewer")
    before = transaction.get_blob_head(blob.container_id, blob.name, previous.snapshot)
    if before is None or before.deleted_at or previous.blob != blob.name or not before.snapshot:
        raise error("PreviousSnapshotNotFound")
    # A blob of that name that was made anew has nothing in common with snapshots of the former one but its name.
    _check_is_page_blob(before)
    return before


def _check_is_page_blob(blob: Blob) -> None:
    if blob.type != "PageBlob":
        raise error("InvalidBlobType")
