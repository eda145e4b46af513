"""Leases: what each action makes of one, and who may act while there is one. Pure.

https://learn.microsoft.com/rest/api/storageservices/lease-blob
"""

from __future__ import annotations

from typing import Final, Literal

from millpond.common.clock import SECOND

from ..errors import error
from ..model import NO_LEASE, Lease

LeaseState = Literal["available", "leased", "expired", "breaking", "broken"]

#: The duration of a lease without end.
INFINITE: Final = -1


def state_of(lease: Lease, now: int) -> LeaseState:
    if not lease.id:
        return "available"
    if lease.broken_at:
        return "breaking" if now < lease.broken_at else "broken"
    return "expired" if lease.expires_at and now >= lease.expires_at else "leased"


def is_locked(lease: Lease, now: int) -> bool:
    """Whether it keeps others from writing."""
    return bool(lease.id) and state_of(lease, now) in ("leased", "breaking")


def acquire(lease: Lease, proposed_id: str, duration: int, now: int) -> Lease:
    """``duration`` is in seconds, or :data:`INFINITE`."""
    match state_of(lease, now):
        case "breaking" if lease.id == proposed_id:
            raise error("LeaseIsBreakingAndCannotBeAcquired")
        case "leased" if lease.id == proposed_id:
            pass
        case "leased" | "breaking":
            raise error("LeaseAlreadyPresent")
    return Lease(proposed_id, duration, _end(duration, now))


def renew(lease: Lease, lease_id: str, now: int) -> Lease:
    """An expired one too, as long as nothing was written since."""
    _check_holder(lease, lease_id)
    if lease.broken_at:
        raise error("LeaseIsBrokenAndCannotBeRenewed")
    return lease._replace(expires_at=_end(lease.duration, now))


def change(lease: Lease, lease_id: str, proposed_id: str, now: int) -> Lease:
    if not lease.id:
        raise error("LeaseNotPresentWithLeaseOperation")
    match state_of(lease, now):
        case "breaking":
            raise error("LeaseIsBreakingAndCannotBeChanged")
        case "broken" | "expired":
            raise error("LeaseNotPresentWithLeaseOperation")
    if proposed_id != lease.id:  # else it was changed already
        _check_holder(lease, lease_id)
    return lease._replace(id=proposed_id)


def release(lease: Lease, lease_id: str) -> Lease:
    _check_holder(lease, lease_id)
    return NO_LEASE


def break_off(lease: Lease, period: int | None, now: int) -> Lease:
    """``period`` is in seconds; without one a lease ends when it would have, and one without end ends at once."""
    match state_of(lease, now):
        case "available":
            raise error("LeaseNotPresentWithLeaseOperation")
        case "broken":
            return lease
        case "expired":
            return lease._replace(broken_at=now)
        case "breaking":
            until = lease.broken_at
        case "leased":
            until = lease.expires_at
    if period is not None:
        until = min(until or now + period * SECOND, now + period * SECOND)
    return lease._replace(broken_at=max(until, now))


def seconds_until_broken(lease: Lease, now: int) -> int:
    return max(0, -(-(lease.broken_at - now) // SECOND))


def check_use(lease: Lease, lease_id: str, now: int, *, is_required: bool = False, is_container: bool = False) -> None:
    """Raises what keeps a request from what is leased: it brings another's lease, or none where that is required."""
    if not lease_id:
        if is_required and is_locked(lease, now):
            raise error("LeaseIdMissing")
        return
    if is_locked(lease, now):
        if lease.id != lease_id:
            raise error("LeaseIdMismatchWithContainerOperation" if is_container else "LeaseIdMismatchWithBlobOperation")
    elif lease.id == lease_id:
        raise error("LeaseLost")
    else:
        raise error("LeaseNotPresentWithContainerOperation" if is_container else "LeaseNotPresentWithBlobOperation")


def after_write(lease: Lease, now: int) -> Lease:
    """What a write leaves of it: one that had ended can not be renewed any more."""
    return lease if is_locked(lease, now) else NO_LEASE


def _check_holder(lease: Lease, lease_id: str) -> None:
    if not lease.id:
        raise error("LeaseNotPresentWithLeaseOperation")
    if lease.id != lease_id:
        raise error("LeaseIdMismatchWithLeaseOperation")


def _end(duration: int, now: int) -> int:
    return 0 if duration == INFINITE else now + duration * SECOND
