"""What a request demands of the blob or container it names, and what it means where that fails."""

from __future__ import annotations

from typing import NamedTuple

from millpond.common.conditions import NO_CONDITIONS, Conditions

from ..errors import error


class Demands(NamedTuple):
    """The conditional headers of a request, and the lease that it says it holds."""

    conditions: Conditions = NO_CONDITIONS
    lease_id: str = ""


NO_DEMANDS = Demands()


class NotModifiedError(Exception):
    """A read whose client has what it would get: answered with 304 and the ETag of ``last_modified``."""

    def __init__(self, last_modified: int) -> None:
        super().__init__(last_modified)
        self.last_modified = last_modified


def check_read(demands: Demands, last_modified: int, *, code: str = "ConditionNotMet") -> None:
    """Raises ``code``, or :class:`NotModifiedError` where only the "has it changed" part fails."""
    if demands == NO_DEMANDS:
        return
    _check_lease(demands)
    conditions = demands.conditions
    if not conditions._replace(if_none_match=(), if_modified_since=None).hold_for(last_modified):
        raise error(code)
    if not conditions.hold_for(last_modified):
        raise NotModifiedError(last_modified)


def check_write(demands: Demands, last_modified: int | None, *, code: str = "ConditionNotMet") -> None:
    """Raises ``BlobAlreadyExists`` for ``If-None-Match: *`` on a blob that exists, else ``code``.

    ``last_modified`` is ``None`` for a blob that does not exist yet.
    """
    if demands == NO_DEMANDS:
        return
    _check_lease(demands)
    conditions = demands.conditions
    if conditions.hold_for(last_modified):
        return
    if "*" in conditions.if_none_match and conditions._replace(if_none_match=()).hold_for(last_modified):
        raise error("BlobAlreadyExists")
    raise error(code)


def _check_lease(demands: Demands) -> None:
    if demands.lease_id:  # no blob has one
        raise error("LeaseNotPresentWithBlobOperation")
