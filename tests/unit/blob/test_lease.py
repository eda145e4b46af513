"""What actions make of leases, and what leases allow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millpond.blob.model import NO_LEASE, Lease
from millpond.blob.service import lease as leases
from millpond.blob.service.lease import INFINITE, state_of
from millpond.common.clock import SECOND
from millpond.common.errors import ServiceError

NOW = 1_780_000_000_000_000
A, B, C = "a", "b", "c"

#: A lease of A in each state.
STATES = {
    "available": NO_LEASE,
    "leased": Lease(A, INFINITE),
    "breaking": Lease(A, INFINITE, 0, NOW + 5 * SECOND),
    "broken": Lease(A, INFINITE, 0, NOW - 1),
    "expired": Lease(A, 15, NOW),
}

ACTIONS: dict[str, Callable[[Lease], Lease]] = {
    "acquire A": lambda lease: leases.acquire(lease, A, 30, NOW),
    "acquire B": lambda lease: leases.acquire(lease, B, INFINITE, NOW),
    "renew A": lambda lease: leases.renew(lease, A, NOW),
    "renew B": lambda lease: leases.renew(lease, B, NOW),
    "change A to B": lambda lease: leases.change(lease, A, B, NOW),
    "change B to A": lambda lease: leases.change(lease, B, A, NOW),
    "change B to C": lambda lease: leases.change(lease, B, C, NOW),
    "release A": lambda lease: leases.release(lease, A),
    "release B": lambda lease: leases.release(lease, B),
    "break": lambda lease: leases.break_off(lease, None, NOW),
    "break in 0": lambda lease: leases.break_off(lease, 0, NOW),
    "break in 10": lambda lease: leases.break_off(lease, 10, NOW),
}

PRESENT, NONE = "LeaseAlreadyPresent", "LeaseNotPresentWithLeaseOperation"
OTHER, BROKEN = "LeaseIdMismatchWithLeaseOperation", "LeaseIsBrokenAndCannotBeRenewed"
NO_ACQUIRE, NO_CHANGE = "LeaseIsBreakingAndCannotBeAcquired", "LeaseIsBreakingAndCannotBeChanged"

#: What each action comes to, by the state before it: the state and holder after it, or the error.
OUTCOMES = {
    #                 available      leased         breaking       broken         expired
    "acquire A": ("leased a", "leased a", NO_ACQUIRE, "leased a", "leased a"),
    "acquire B": ("leased b", PRESENT, PRESENT, "leased b", "leased b"),
    "renew A": (NONE, "leased a", BROKEN, BROKEN, "leased a"),
    "renew B": (NONE, OTHER, OTHER, OTHER, OTHER),
    "change A to B": (NONE, "leased b", NO_CHANGE, NONE, NONE),
    "change B to A": (NONE, "leased a", NO_CHANGE, NONE, NONE),
    "change B to C": (NONE, OTHER, NO_CHANGE, NONE, NONE),
    "release A": (NONE, "available ", "available ", "available ", "available "),
    "release B": (NONE, OTHER, OTHER, OTHER, OTHER),
    "break": (NONE, "broken a", "breaking a", "broken a", "broken a"),
    "break in 0": (NONE, "broken a", "broken a", "broken a", "broken a"),
    "break in 10": (NONE, "breaking a", "breaking a", "broken a", "broken a"),
}


def outcome(act: Callable[[], Lease]) -> str:
    try:
        lease = act()
    except ServiceError as failure:
        return failure.code
    return f"{state_of(lease, NOW)} {lease.id}"


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_leads_from_every_state_to_one_or_to_an_error(action: str) -> None:
    found = tuple(outcome(lambda lease=lease: ACTIONS[action](lease)) for lease in STATES.values())  # type: ignore[misc]
    assert found == OUTCOMES[action]


@pytest.mark.parametrize(("name", "lease"), STATES.items())
def test_the_states_are_what_they_are_called(name: str, lease: Lease) -> None:
    assert state_of(lease, NOW) == name


def test_a_break_is_as_long_as_was_asked_for_and_never_longer_than_the_lease() -> None:
    timed = leases.acquire(NO_LEASE, A, 20, NOW)
    for lease, period, seconds in (
        (timed, None, 20),
        (timed, 5, 5),
        (timed, 60, 20),
        (STATES["leased"], None, 0),
        (STATES["leased"], 60, 60),
        (STATES["breaking"], 60, 5),
        (STATES["breaking"], 1, 1),
        (STATES["expired"], 60, 0),
    ):
        assert leases.seconds_until_broken(leases.break_off(lease, period, NOW), NOW) == seconds


def use(lease: Lease, lease_id: str, *, write: bool, container: bool = False) -> str:
    try:
        leases.check_use(lease, lease_id, NOW, is_required=write, is_container=container)
    except ServiceError as failure:
        return failure.code
    return ""


NOT_ONE, MISMATCH = "LeaseNotPresentWithBlobOperation", "LeaseIdMismatchWithBlobOperation"


@pytest.mark.parametrize(
    ("state", "outcomes"),
    [
        #              write by A, by B, by nobody, read by B
        ("available", (NOT_ONE, NOT_ONE, "", NOT_ONE)),
        ("leased", ("", MISMATCH, "LeaseIdMissing", MISMATCH)),
        ("breaking", ("", MISMATCH, "LeaseIdMissing", MISMATCH)),
        ("broken", ("LeaseLost", NOT_ONE, "", NOT_ONE)),
        ("expired", ("LeaseLost", NOT_ONE, "", NOT_ONE)),
    ],
)
def test_only_the_holder_writes_and_everybody_reads(state: str, outcomes: tuple[str, ...]) -> None:
    lease = STATES[state]
    writes = tuple(use(lease, lease_id, write=True) for lease_id in (A, B, ""))
    assert (*writes, use(lease, B, write=False)) == outcomes
    assert use(lease, "", write=False) == ""
    in_container = use(lease, B, write=True, container=True)
    assert in_container == outcomes[1].replace("Blob", "Container")


def test_what_had_ended_is_gone_after_a_write() -> None:
    for name, lease in STATES.items():
        kept = name in ("leased", "breaking")
        assert leases.after_write(lease, NOW) == (lease if kept else NO_LEASE)
