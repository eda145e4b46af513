"""What every operation needs, as the documentation has it, with every kind of signature and every permission."""

from __future__ import annotations

from itertools import product

import pytest
from tests.wire.blob.permissions import CALLS, CONTAINER, Asked, Call, Row, World, asked, rows
from tests.wire.blob.raw import Answer

from millpond.blob.api.operations import OPERATIONS

LETTERS = "racwdxyltfmeopiu"
ROWS = {row.operation: row for row in rows()}
#: What may be signed beside the account: a container or blob, or all whose names begin with the blob's as a directory.
PLACES = ("container", "blob", "directory")
#: By the account's key or a user's.
KINDS = (*PLACES, *(f"delegated {place}" for place in PLACES))


@pytest.fixture(autouse=True)
def _own_container(world: World) -> None:
    world.enter_new_container()


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    assert {row.route for row in ROWS.values()} == {tuple(route) for route in OPERATIONS}
    assert set(ROWS) == set(CALLS)


class Attempts:
    """What differs from what is expected, for all of it to be told at once."""

    def __init__(self, world: World, operation: str) -> None:
        self.world = world
        self.make = CALLS[operation]
        self.call = self.make(world)
        self.wrong: dict[str, str] = {}

    def may(self, what: str, kind: str, permission: str, **signed: str) -> None:
        # What the last one did is not there to be done again.
        self.call = self.make(self.world)
        self.expect(what, self.visit(kind, permission, **signed), (self.call.status, ""))

    def may_not(self, what: str, code: str, kind: str, permission: str, **signed: str) -> None:
        self.expect(what, self.visit(kind, permission, **signed), (403, code))

    def visit(self, kind: str, permission: str, **signed: str) -> Answer:
        call = self.call
        container, blob = call.container, "" if kind.endswith("container") else call.blob
        if kind == "account":
            container = ""
        return self.world.visit(call, self.world.sign(kind, permission, container, blob, **signed))

    def expect(self, what: str, answer: Answer, outcome: tuple[int, str]) -> None:
        is_right = answer.status == outcome[0] and (not outcome[1] or answer.code == outcome[1])
        if not is_right:
            self.wrong[what] = f"{answer.outcome}, not {outcome}"


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_signatures_for_the_account(world: World, row: Row) -> None:
    attempts = Attempts(world, row.operation)
    for letter, resource_type in product(LETTERS, "sco"):
        what = f"{letter} {resource_type}"
        if row.account is None:
            attempts.may_not(what, "AuthorizationFailure", "account", letter, types=resource_type)
        elif resource_type not in row.types:
            attempts.may_not(what, "AuthorizationResourceTypeMismatch", "account", letter, types=resource_type)
        elif letter in row.account:
            attempts.may(what, "account", letter, types=resource_type)
        else:
            code = row.refused.get(letter, "AuthorizationPermissionMismatch")
            attempts.may_not(what, code, "account", letter, types=resource_type)
    for letters, services in (*product(LETTERS, ["qtf"]), *product([LETTERS], "qtf")):
        signed = {"types": "sco", "services": services}
        attempts.may_not(f"{letters} of {services}", "AuthorizationServiceMismatch", "account", letters, **signed)
    if others := "".join(set(LETTERS) - set(row.account or "") - set(row.refused)):
        wanted = "AuthorizationPermissionMismatch" if row.account else "AuthorizationFailure"
        attempts.may_not("all others", wanted, "account", others, types="sco")
    assert attempts.wrong == {}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("kind", KINDS)
def test_signatures_for_a_container_or_blob(world: World, row: Row, kind: str) -> None:
    attempts = Attempts(world, row.operation)
    is_for_container = kind.endswith("container")
    needed = row.container if is_for_container else row.blob
    is_signed = row.route[0] == "blob" or (row.route[0] == "container" and is_for_container)
    for letter in LETTERS:
        if not is_signed:
            attempts.may_not(letter, "AuthenticationFailed", kind, letter)
        elif needed is None:
            attempts.may_not(letter, "AuthorizationFailure", kind, letter)
        elif letter in needed:
            attempts.may(letter, kind, letter)
        else:
            attempts.may_not(letter, row.refused.get(letter, "AuthorizationPermissionMismatch"), kind, letter)
    assert attempts.wrong == {}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_those_who_have_no_signature(world: World, row: Row) -> None:
    attempts = Attempts(world, row.operation)
    for access in ("", "blob", "container"):
        if access:
            headers = {"x-ms-blob-public-access": access}
            world.new(Call("PUT", world.container, "", f"{CONTAINER}&comp=acl", headers))
        if access in row.public:
            attempts.expect(access, world.visit(attempts.call, ""), (attempts.call.status, ""))
        else:
            wanted = (404, "ResourceNotFound") if row.public else (401, "NoAuthenticationInformation")
            attempts.expect(access or "private", world.visit(attempts.call, ""), wanted)
    assert attempts.wrong == {}


@pytest.mark.parametrize("asks", asked(), ids=lambda asks: f"{asks.operation} {asks.query}{[*asks.headers]}")
def test_what_headers_and_parameters_ask_for(world: World, asks: Asked) -> None:
    row = ROWS[asks.operation]
    assert row.account
    attempts = Attempts(world, asks.operation)
    make = attempts.make

    def asking(world: World) -> Call:
        call = make(world)
        query = "&".join(filter(None, [call.query, asks.query]))
        return call._replace(headers={**call.headers, **asks.headers}, query=query)

    attempts.make = asking
    attempts.call = asking(world)
    for kind, letter in product(("account", *KINDS), row.account):
        if kind not in ("account", "container", "delegated container") and row.blob is None:
            continue
        attempts.may(f"{kind} {letter}", kind, letter + asks.needs, types=row.types)
        attempts.may_not(f"{kind} {letter} alone", "AuthorizationPermissionMismatch", kind, letter, types=row.types)
        attempts.may_not(
            f"{kind} {asks.needs} alone", "AuthorizationPermissionMismatch", kind, asks.needs, types=row.types
        )
    assert attempts.wrong == {}
