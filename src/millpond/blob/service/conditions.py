"""What a request demands of the blob or container it names, and what it means where that fails."""

from __future__ import annotations

from typing import NamedTuple

from millpond.common.conditions import NO_CONDITIONS, Conditions

from ..errors import error
from ..model import NO_ENCRYPTION, NO_LEASE, NO_TAGS, Encryption, Lease, Tags
from ..tags import TagCondition
from .lease import check_use, is_locked


class Demands(NamedTuple):
    """The conditional headers of a request, and the lease that it says it holds."""

    conditions: Conditions = NO_CONDITIONS
    lease_id: str = ""
    #: What is demanded of the time when the blob's tier was set.
    tier_conditions: Conditions = NO_CONDITIONS
    #: The key or scope that it names.
    encryption: Encryption = NO_ENCRYPTION
    #: What is demanded of the blob's tags.
    if_tags: TagCondition | None = None


NO_DEMANDS = Demands()


class NotModifiedError(Exception):
    """A read whose client has what it would get: answered with 304 and the ETag of ``last_modified``."""

    def __init__(self, last_modified: int) -> None:
        super().__init__(last_modified)
        self.last_modified = last_modified


def check_read(
    demands: Demands,
    last_modified: int,
    lease: Lease = NO_LEASE,
    now: int = 0,
    *,
    tags: Tags = NO_TAGS,
    code: str = "ConditionNotMet",
) -> None:
    """Raises ``code``, :class:`NotModifiedError` where only the "has it changed" part fails, or the lease's error.

    Where tags are not as demanded, it is ``ConditionNotMet`` whatever the code.
    """
    if demands == NO_DEMANDS:
        return
    check_use(lease, demands.lease_id, now)
    check_tags(demands, tags)
    conditions = demands.conditions
    if not conditions._replace(if_none_match=(), if_modified_since=None).hold_for(last_modified):
        raise error(code)
    if not conditions.hold_for(last_modified):
        raise NotModifiedError(last_modified)


def check_write(
    demands: Demands,
    last_modified: int | None,
    lease: Lease = NO_LEASE,
    now: int = 0,
    *,
    tags: Tags = NO_TAGS,
    code: str = "ConditionNotMet",
) -> None:
    """Raises ``BlobAlreadyExists`` for ``If-None-Match: *`` on a blob that exists, else ``code``, or the lease's error.

    ``last_modified`` is ``None`` for a blob that does not exist yet. Who holds the lease of a blob knows that it
    exists: for them ``If-None-Match: *`` holds.
    """
    if demands == NO_DEMANDS and not lease.id:
        return
    check_use(lease, demands.lease_id, now, is_required=True)
    check_tags(demands, tags)
    check_conditions(demands, last_modified, code=code, holds_lease=bool(demands.lease_id) and is_locked(lease, now))


def check_tags(demands: Demands, tags: Tags) -> None:
    """Raises ``ConditionNotMet`` where the tags are not as demanded, also of the source and the target of a copy.

    Those of a blob that does not exist are none.
    """
    if demands.if_tags and not demands.if_tags.holds_for(tags):
        raise error("ConditionNotMet")


def check_conditions(
    demands: Demands, last_modified: int | None, *, code: str = "ConditionNotMet", holds_lease: bool = False
) -> None:
    """:func:`check_write` without the lease."""
    conditions = demands.conditions
    if conditions.hold_for(last_modified):
        return
    if "*" in conditions.if_none_match and conditions._replace(if_none_match=()).hold_for(last_modified):
        if holds_lease:
            return
        raise error("BlobAlreadyExists")
    raise error(code)
