"""The operations on leases."""

from __future__ import annotations

from functools import partial

from ..errors import error, invalid_header
from ..model import Blob, Container, Lease
from ..request import Request
from ..service import lease as leases
from ..service.leasing import Action, lease_blob, lease_container
from . import headers
from .answer import Answer, modified
from .call import Call

#: The status of the answer to each action.
_STATUS = {"acquire": 201, "renew": 200, "change": 200, "release": 200, "break": 202}
_DURATIONS = range(15, 61)
_BREAK_PERIODS = range(61)


async def lease_a_blob(call: Call) -> Answer:
    name, action = _action(call)
    demands = headers.demands(call.request)._replace(lease_id="")
    return _answer(call, name, await call.store.write(lease_blob, call.name, action, demands))


async def lease_a_container(call: Call) -> Answer:
    name, action = _action(call)
    demands = headers.demands(call.request)._replace(lease_id="")
    return _answer(call, name, await call.store.write(lease_container, call.name, action, demands))


def _action(call: Call) -> tuple[str, Action]:
    """The action that the headers name, and what it makes of a lease."""
    request = call.request
    name = request.header("x-ms-lease-action").lower()
    match name:
        case "acquire":
            proposed = _id(request, "x-ms-proposed-lease-id") if "x-ms-proposed-lease-id" in request.headers else ""
            return name, partial(_acquire, proposed or call.service.clock.guid(), _duration(request))
        case "renew":
            return name, partial(_renew, _id(request, "x-ms-lease-id"))
        case "change":
            return name, partial(_change, _id(request, "x-ms-lease-id"), _id(request, "x-ms-proposed-lease-id"))
        case "release":
            return name, partial(_release, _id(request, "x-ms-lease-id"))
        case "break":
            return name, partial(_break_off, _break_period(request))
        case "":
            raise error("MissingRequiredHeader", HeaderName="x-ms-lease-action")
        case _:
            raise invalid_header("x-ms-lease-action", name)


def _acquire(proposed_id: str, duration: int, lease: Lease, now: int) -> Lease:
    return leases.acquire(lease, proposed_id, duration, now)


def _renew(lease_id: str, lease: Lease, now: int) -> Lease:
    return leases.renew(lease, lease_id, now)


def _change(lease_id: str, proposed_id: str, lease: Lease, now: int) -> Lease:
    return leases.change(lease, lease_id, proposed_id, now)


def _release(lease_id: str, lease: Lease, _: int) -> Lease:
    return leases.release(lease, lease_id)


def _break_off(period: int | None, lease: Lease, now: int) -> Lease:
    return leases.break_off(lease, period, now)


def _id(request: Request, name: str) -> str:
    """A lease id in its canonical form. Raises ``MissingRequiredHeader`` or ``InvalidHeaderValue``."""
    found = headers.lease_id(request, name)
    if not found:
        raise error("MissingRequiredHeader", HeaderName=name)
    return found


def _duration(request: Request) -> int:
    text = request.header("x-ms-lease-duration")
    if not text:
        raise error("MissingRequiredHeader", HeaderName="x-ms-lease-duration")
    if text == str(leases.INFINITE):
        return leases.INFINITE
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) not in _DURATIONS:
        raise invalid_header("x-ms-lease-duration", text)
    return int(text)


def _break_period(request: Request) -> int | None:
    text = request.header("x-ms-lease-break-period")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) not in _BREAK_PERIODS:
        raise invalid_header("x-ms-lease-break-period", text)
    return int(text)


def _answer(call: Call, name: str, leased: Blob | Container) -> Answer:
    about = modified(leased.last_modified)
    if name == "break":
        seconds = leases.seconds_until_broken(leased.lease, call.service.clock.now())
        about.append(("x-ms-lease-time", str(seconds)))
    elif name != "release":
        about.append(("x-ms-lease-id", leased.lease.id))
    return Answer(_STATUS[name], about)
