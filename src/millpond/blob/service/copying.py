"""The rules of copies within this service. A copy shares the files of its source, so its size does not matter."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import error
from ..model import Blob, CopyState, ResourceName
from ..store import Transaction
from .blobs import BlobDraft, Extent, Reading, Span, find_place, read_blob, store_blob
from .conditions import Demands, NotModifiedError


def copy_blob(
    transaction: Transaction,
    source: ResourceName,
    target: ResourceName,
    *,
    source_demands: Demands,
    draft_from: Callable[[Blob], BlobDraft],
    copy: CopyState | None = None,
) -> Blob:
    """Make the target of the source's bytes, in one step.

    ``draft_from`` says what else it takes over, ``copy`` what it tells of its origin. Raises
    ``SourceConditionNotMet`` and ``TargetConditionNotMet``.
    """
    blob, _, size, segments = read_source(transaction, source, source_demands)
    draft = draft_from(blob)
    place = find_place(transaction, target, draft, code="TargetConditionNotMet")
    return store_blob(transaction, place, draft, Extent(size, blob.data, segments), copy=copy)


def read_source(transaction: Transaction, source: ResourceName, demands: Demands, span: Span | None = None) -> Reading:
    """The source of a copy. Raises ``SourceConditionNotMet`` for a condition of either sense."""
    try:
        return read_blob(transaction, source, demands, span, code="SourceConditionNotMet")
    except NotModifiedError:
        raise error("SourceConditionNotMet") from None
