"""A signature is good for what was signed, field by field and name by name, and for nothing near it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from azure.storage.blob import (
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from tests.servers import Server, millpond
from tests.wire.blob.permissions import BLOCK, BLOCK_BLOB, CALLS, CONTAINER, LATER, TAGS, Call, Row, World, rows
from tests.wire.blob.raw import RawClient

from millpond.common.config import Accounts

ALL = "racwdxyltfmeopi"
NO_SIGNATURE = (403, "AuthenticationFailed")
EARLIER = datetime.now(UTC) - timedelta(hours=1)
#: What every kind of signature is limited by here.
LIMITS = {"start": EARLIER, "expiry": LATER, "ip": "127.0.0.1", "protocol": "https"}
OVERRIDES = {
    "cache_control": "no-cache",
    "content_disposition": "inline",
    "content_encoding": "identity",
    "content_language": "en",
    "content_type": "text/plain",
    "encryption_scope": "scope",
}
#: What somebody would write into the fields to get more; some values are those that were signed.
WIDER: Mapping[str, tuple[str, ...]] = {
    "sv": (
        "2012-02-12",
        "2013-08-15",
        "2015-02-21",
        "2017-04-17",
        "2018-11-09",
        "2020-02-10",
        "2021-12-02",
        "2099-01-01",
    ),
    "sp": ("racwdxyltfmeopi", "w", "R"),
    "st": ("2000-01-01", "2000-01-01T00:00:00Z"),
    "se": ("2099-01-01", "2099-01-01T00:00:00Z"),
    "sip": ("0.0.0.0-255.255.255.255", "127.0.0.1-127.0.0.9"),
    "spr": ("https,http",),
    "sr": ("b", "c", "d", "bs", "bv"),
    "si": ("reading",),
    "ses": ("other",),
    "rscc": ("public",),
    "rscd": ("attachment",),
    "rsce": ("gzip",),
    "rscl": ("de",),
    "rsct": ("text/html",),
    "ss": ("b", "bfqt"),
    "srt": ("s", "c", "o", "sco"),
    "snapshot": ("2020-01-01T00:00:00.0000000Z",),
    "versionid": ("2020-01-01T00:00:00.0000000Z",),
    "skoid": ("00000000-0000-0000-0000-000000000000",),
    "sktid": ("00000000-0000-0000-0000-000000000000",),
    "skt": ("2000-01-01T00:00:00Z",),
    "ske": ("2099-01-01T00:00:00Z",),
    "sks": ("b", "q"),
    "skv": ("2019-02-02",),
    "saoid": ("x",),
    "suoid": ("x",),
    "scid": ("x",),
    "skdutid": ("x",),
    "sduoid": ("x",),
    "sig": ("", "AAAA", "="),
}
#: Of whose fields a signature that is not of that kind takes no notice.
OF_USERS = {"sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "skdutid", "sduoid"}
OF_SERVICES = {"sr", "si", "rscc", "rscd", "rsce", "rscl", "rsct", "snapshot", "versionid"}
#: The snapshots and versions of a container or blob are open to whoever has a signature for that.
OF_PAST = {"snapshot", "versionid"}


def of_blob(world: World, blob: str, **fields: Any) -> str:
    """A signature for a blob, or for one of its snapshots or versions, which the URL names."""
    given = {"account_key": world.owner.key, "permission": ALL, "expiry": LATER, **fields}
    if "user_delegation_key" in given:
        del given["account_key"]
    signature = generate_blob_sas(world.owner.account, world.container, blob, **given)
    named = {"snapshot": fields.get("snapshot"), "versionid": fields.get("version_id")}
    return "&".join([signature, *[f"{name}={quote(value)}" for name, value in named.items() if value]])


def signatures(world: World, blob: str, snapshot: str, version: str) -> dict[str, tuple[str, set[str]]]:
    """One of each kind, and the fields that may be added to it without effect."""
    account, key, container = world.owner.account, world.owner.key, world.container
    by_key: dict[str, Any] = {"permission": "r", **LIMITS, **OVERRIDES}
    by_user: dict[str, Any] = {
        **by_key,
        "user_delegation_key": world.delegation_key,
        "preauthorized_agent_object_id": world.delegation_key.signed_oid,
        "correlation_id": "4d60db2a-7d31-4e3c-9b6b-5a8d0a4ee0a1",
    }
    limits: dict[str, Any] = {"services": "b", "encryption_scope": "scope", **LIMITS}
    return {
        "account": (generate_account_sas(account, key, "o", "r", **limits), OF_SERVICES | OF_USERS),
        "container": (generate_container_sas(account, container, key, **by_key), OF_USERS | OF_PAST),
        "blob": (of_blob(world, blob, **by_key), OF_USERS | OF_PAST),
        "snapshot": (of_blob(world, blob, snapshot=snapshot, **by_key), OF_USERS),
        "version": (of_blob(world, blob, version_id=version, **by_key), OF_USERS),
        "policy": (generate_container_sas(account, container, key, policy_id="reading"), OF_USERS | OF_PAST),
        "delegated container": (generate_container_sas(account, container, **by_user), OF_PAST),
        "delegated blob": (of_blob(world, blob, **by_user), OF_PAST),
        "delegated snapshot": (of_blob(world, blob, snapshot=snapshot, **by_user), set()),
    }


KINDS = ["account", "container", "blob", "snapshot", "version", "policy"]
KINDS += ["delegated container", "delegated blob", "delegated snapshot"]


@pytest.fixture(scope="module")
def signed(world: World) -> tuple[Call, dict[str, tuple[str, set[str]]]]:
    """A blob with all that may be signed of it."""
    world.enter_new_container()
    blob = world.new_blob()
    snapshot = world.answer(Call("PUT", world.container, blob, "comp=snapshot")).headers["x-ms-snapshot"]
    version = world.answer(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"v")).headers["x-ms-version-id"]
    world.new(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"hello", 201))
    set_policy(world, permission="r")
    return Call("GET", world.container, blob), signatures(world, blob, snapshot, version)


def set_policy(world: World, permission: str = "", expiry: str = "2099-01-01", name: str = "reading") -> None:
    body = f"<SignedIdentifiers><SignedIdentifier><Id>{name}</Id><AccessPolicy><Start>2020-01-01</Start>"
    body += f"<Expiry>{expiry}</Expiry><Permission>{permission}</Permission></AccessPolicy></SignedIdentifier>"
    world.new(Call("PUT", world.container, "", f"{CONTAINER}&comp=acl", body=f"{body}</SignedIdentifiers>".encode()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_may_be_dropped_changed_or_added(
    world: World, signed: tuple[Call, dict[str, tuple[str, set[str]]]], kind: str
) -> None:
    call, (signature, without_effect) = signed[0], signed[1][kind]
    fields = dict(parse_qsl(signature, keep_blank_values=True))
    assert world.visit(call, signature).status == 200
    wrong = {}

    def expect_refusal(what: str, changed: Mapping[str, str]) -> None:
        answer = world.visit(call, urlencode(changed, quote_via=quote))
        # Without its sign a request is nobody's, and a moment that is none is not looked up.
        is_refused = answer.code in ("AuthenticationFailed", "ResourceNotFound", "InvalidQueryParameterValue")
        if not is_refused or (answer.code == "ResourceNotFound") != ("sig" not in changed):
            wrong[what] = answer.outcome

    for name, value in fields.items():
        expect_refusal(f"without {name}", {key: value for key, value in fields.items() if key != name})
        for changed in ("", f"{value}0", f"0{value}", f"{value}\n", f"{value},"):
            expect_refusal(f"{name}={changed}", {**fields, name: changed})
    for name, values in WIDER.items():
        for value in values:
            if fields.get(name) != value and not (name not in fields and name in without_effect):
                expect_refusal(f"{name}={value}", {**fields, name: value})
    for pair in combinations(WIDER, 2):
        both = {**fields, **{name: WIDER[name][-1] for name in pair}}
        if {name for name in both if both[name] != fields.get(name)} - without_effect:
            expect_refusal(" and ".join(pair), both)
    assert wrong == {}


def test_a_users_signature_is_none_for_the_account(world: World) -> None:
    """Which has fields that a user's key does not sign."""
    world.enter_new_container()
    call = Call("DELETE", world.container, "", CONTAINER)
    signature = world.sign("delegated container", ALL, world.container, "")
    assert world.visit(call, signature).outcome == (403, "AuthorizationFailure")
    assert world.visit(call, f"{signature}&ss=b&srt=sco").outcome == NO_SIGNATURE


def test_fields_of_another_kind_have_no_effect(
    world: World, signed: tuple[Call, dict[str, tuple[str, set[str]]]]
) -> None:
    call, kinds = signed
    added = "&rscc=x&rscd=x&rsce=x&rscl=x&rsct=x&sr=c&si=none"
    answer = world.visit(call, kinds["account"][0] + added)
    assert answer.status == 200
    assert "x" not in [answer.headers[f"content-{name}"] for name in ("type", "language", "encoding", "disposition")]
    assert answer.headers["cache-control"] is None


@pytest.mark.parametrize("name", ["sp", "se", "sr", "sv", "st", "sip", "spr", "sig", "skoid"])
def test_of_two_values_one_is_checked_and_used(
    world: World, signed: tuple[Call, dict[str, tuple[str, set[str]]]], name: str
) -> None:
    """The first: whoever sets another before it breaks the signature, and one that follows has no effect."""
    call, kinds = signed
    signature = kinds["delegated blob"][0]
    for value in WIDER[name]:
        if (name, value) != ("sr", "b"):
            assert world.visit(call, f"{name}={quote(value)}&{signature}").outcome == NO_SIGNATURE
        assert world.visit(call, f"{signature}&{name}={quote(value)}").status == 200
    deletion = call._replace(method="DELETE")
    assert world.visit(deletion, f"{signature}&sp=racwdxyltf").outcome == (403, "AuthorizationPermissionMismatch")


def without(signature: str, *names: str) -> str:
    return "&".join([part for part in signature.split("&") if part.partition("=")[0] not in names])


def test_what_a_users_signature_demands_cannot_be_left_out(world: World) -> None:
    world.enter_new_container()
    call = Call("GET", world.container, world.new_blob(), "City=pond&Town=mill", {"Company": "m", "Branch": "n"})
    demanding: dict[str, Any] = {
        "user_delegation_key": world.delegation_key,
        "request_headers": {"Company": "m", "Branch": "n"},
        "request_query_params": {"City": "pond", "Town": "mill"},
    }
    signature = of_blob(world, call.blob, **demanding)
    assert world.visit(call, signature).status == 200
    for names in (["srh"], ["srq"], ["srh", "srq"]):
        assert world.visit(call, without(signature, *names)).outcome == NO_SIGNATURE
    for less in (
        "srh=Company",
        "srq=City",
        "srh=",
        "srq=",
        "srh=Branch,Company",
        "srq=Town,City",
        "srh=company,branch",
    ):
        changed = f"{without(signature, less[:3])}&{less}"
        assert world.visit(call, changed).outcome == NO_SIGNATURE
    # One parameter whose value reads as two are signed.
    joined = f"{without(signature, 'srq')}&srq=City&City={quote('pond' + chr(10) + 'Town:mill')}"
    assert world.visit(call._replace(query=""), joined).outcome == NO_SIGNATURE
    for headers in ({"Company": "m"}, {"Company": "m", "Branch": "o"}, {}):
        assert world.visit(call._replace(headers=headers), signature).outcome == NO_SIGNATURE
    bound = of_blob(
        world,
        call.blob,
        user_delegation_key=world.delegation_key,
        user_delegation_oid=world.delegation_key.signed_oid,
    )
    for names in ([], ["sduoid"], ["sduoid", "skdutid"]):
        assert world.visit(call, without(bound, *names)).outcome == NO_SIGNATURE


# --- old versions ------------------------------------------------------------------------------------------------


def old_signature(world: World, version: str, call: Call, **fields: str) -> str:
    """By the rules of that version of the service, which no client that is still made follows."""
    given = {"sp": "r", "se": "2099-01-01", "sr": "b", **fields, "sv": version}
    resource = f"/{world.owner.account}/{call.container}" + (f"/{call.blob}" if given["sr"] != "c" else "")
    lines = [given["sp"], given.get("st", ""), given["se"]]
    lines += [f"/blob{resource}" if version >= "2015-02-21" else resource, given.get("si", "")]
    lines += [given.get("sip", ""), given.get("spr", "")] if version >= "2015-04-05" else []
    lines += [version]
    lines += [given["sr"], given.get("snapshot", "")] if version >= "2018-11-09" else []
    lines += [given.get("ses", "")] if version >= "2020-12-06" else []
    lines += [given.get(name, "") for name in ("rscc", "rscd", "rsce", "rscl", "rsct")]
    digest = hmac.new(base64.b64decode(world.owner.key), "\n".join(lines).encode(), hashlib.sha256).digest()
    return urlencode({**given, "sig": base64.b64encode(digest).decode()}, quote_via=quote)


VERSIONS = [
    "2013-08-15",
    "2014-02-14",
    "2015-02-21",
    "2015-04-05",
    "2017-07-29",
    "2018-11-09",
    "2020-02-10",
    "2020-12-06",
]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_signature_is_no_wider_than_a_new_one(world: World, version: str) -> None:
    world.enter_new_container()
    call, other = (Call("GET", world.container, world.new_blob()) for _ in range(2))
    listing = Call("GET", world.container, "", f"{CONTAINER}&comp=list")
    signature = old_signature(world, version, call)
    assert world.visit(call, signature).status == 200
    for changed in (other, listing, call._replace(container=world.new_container())):
        assert world.visit(changed, signature).outcome == NO_SIGNATURE
    for change in ("sp=rw", "se=2099-01-02", "st=2020-01-01", "sr=c", "sv=2019-02-02", "rsct=text/html", "si=p"):
        assert world.visit(call, f"{change}&{signature}").outcome == NO_SIGNATURE
    if version < "2020-12-06":  # which did not know scopes, and do not sign them
        writing = Call("PUT", world.container, call.blob, "", BLOCK_BLOB, b"x")
        assert world.visit(writing, f"{old_signature(world, version, call, sp='w')}&ses=scope").outcome == NO_SIGNATURE
    if version >= "2015-04-05":
        assert world.visit(call, old_signature(world, version, call, sip="10.0.0.1")).code == (
            "AuthorizationSourceIPMismatch"
        )


@pytest.mark.parametrize("row", [row for row in rows() if row.since and row.blob], ids=lambda row: row.operation)
def test_some_permissions_came_with_a_version(world: World, row: Row) -> None:
    world.enter_new_container()
    for letter, since in row.since.items():
        for version, is_allowed in ((_day_before(since), False), (since, True)):
            for more in ({}, {"x-ms-version": "2026-10-06"}, {"x-ms-version": "2016-05-31"}):  # which are not signed
                call = CALLS[row.operation](world)
                call = call._replace(headers={**call.headers, **more})
                signature = old_signature(world, version, call, sp=letter)
                wanted = (call.status, "") if is_allowed else (403, "AuthorizationPermissionMismatch")
                assert world.visit(call, signature).outcome == wanted, (version, more)


def _day_before(version: str) -> str:
    return str(date.fromisoformat(version) - timedelta(days=1))


# --- scopes ------------------------------------------------------------------------------------------------------


def test_the_scope_of_a_signature_is_that_of_what_it_writes(world: World) -> None:
    world.enter_new_container()
    call = Call("PUT", world.container, world.fresh(), "", BLOCK_BLOB, b"x", 201)
    signature = old_signature(world, "2021-12-02", call, sp="rw", ses="scope-a")
    answer = world.visit(call, signature)
    assert (answer.status, answer.headers["x-ms-encryption-scope"]) == (201, "scope-a")
    other = call._replace(headers={**BLOCK_BLOB, "x-ms-encryption-scope": "scope-b"})
    assert world.visit(other, signature).outcome == (400, "InvalidHeaderValue")
    assert world.visit(call._replace(method="GET", headers={}, body=b""), signature).status == 200


# --- keys and policies -------------------------------------------------------------------------------------------


def test_either_key_signs_until_it_is_replaced(full_server: Server, world: World) -> None:
    data = full_server.data
    assert millpond("account", "add", "rotated", "--kind", "storage", "--data", data).returncode == 0
    raw = world.owner

    def outcomes(*keys: str) -> list[int]:
        found = []
        for key in keys:
            signature = generate_account_sas("rotated", key, "sco", "l", LATER, services="b")
            found.append(raw.send("GET", f"/rotated/?comp=list&{signature}").status)
            client = RawClient(raw.host, raw.port, "rotated", key)
            headers = {"x-ms-version": "2021-12-02", "x-ms-date": email_date(), "content-length": "0"}
            authorization = f"SharedKey rotated:{client.sign('GET', '/rotated/?comp=list', headers)}"
            found.append(raw.send("GET", "/rotated/?comp=list", {**headers, "authorization": authorization}).status)
        return found

    def keys() -> tuple[str, str]:
        found = Accounts(data).get("storage", "rotated")
        assert found
        return found.key1, found.key2

    first, second = keys()
    assert outcomes(first, second) == [200] * 4
    assert rotate(data, "key2") == 0
    assert outcomes(first, second, keys()[1]) == [200, 200, 403, 403, 200, 200]
    assert rotate(data, "key1") == 0
    assert outcomes(first, second, *keys()) == [403, 403, 403, 403, 200, 200, 200, 200]


def rotate(data: object, key: str) -> int:
    return millpond(
        "account", "rotate-key", "rotated", "--kind", "storage", "--key", key, "--data", str(data)
    ).returncode


def email_date() -> str:
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def test_a_policy_takes_effect_at_once(world: World) -> None:
    world.enter_new_container()
    read = Call("GET", world.container, world.new_blob())
    write = Call("PUT", world.container, world.fresh(), "", BLOCK_BLOB, b"x")
    signature = generate_container_sas(world.owner.account, world.container, world.owner.key, policy_id="reading")

    def outcomes() -> tuple[int, int]:
        return world.visit(read, signature).status, world.visit(write, signature).status

    assert outcomes() == (403, 403)
    for permission, expiry, name, expected in (
        ("r", "2099-01-01", "reading", (200, 403)),
        ("w", "2099-01-01", "reading", (403, 201)),
        ("rw", "2020-01-02", "reading", (403, 403)),
        ("rw", "2099-01-01", "reading", (200, 201)),
        ("rw", "2099-01-01", "Reading", (403, 403)),
        ("rw", "2099-01-01", "reading", (200, 201)),
    ):
        set_policy(world, permission, expiry, name)
        assert outcomes() == expected
    world.new(Call("PUT", world.container, "", f"{CONTAINER}&comp=acl"))
    assert outcomes() == (403, 403)


def test_a_policy_of_another_container_is_of_no_use(world: World) -> None:
    world.enter_new_container()
    set_policy(world, "racwdl")
    world.enter_new_container()
    blob = world.new_blob()
    signature = generate_blob_sas(
        world.owner.account, world.container, blob, account_key=world.owner.key, policy_id="reading"
    )
    assert world.visit(Call("GET", world.container, blob), signature).outcome == NO_SIGNATURE


# --- names -------------------------------------------------------------------------------------------------------

SIGNED_NAME = "dir/é.txt"
NEAR = [
    "dir/é.TXT",
    "Dir/é.txt",
    unicodedata.normalize("NFD", SIGNED_NAME),
    "dir/é.txt.",
    "dir/é.txt ",
    " dir/é.txt",
    "dir/é.txt/",
    "/dir/é.txt",
    "dir//é.txt",
    "./dir/é.txt",
    "dir/./é.txt",
    "other/../dir/é.txt",
    "dir/../dir/é.txt",
    "dir%2Fé.txt",
    "dir\\é.txt",
    "dir/é.txt?",
    "dir/é.txt#",
    "dir/é.txt;",
    "dir/é.txt\n",
    "dir/é.txt\t",
    "dir/é.tx",
    "dir",
    "dir/",
    "é.txt",
    "dir/\ufeffé.txt",
    "dir/é\u200b.txt",
    "dir/é．txt",
    "dir/é.txt" + "x" * 1000,
]


@pytest.mark.parametrize("name", NEAR, ids=ascii)
@pytest.mark.parametrize("kind", ["blob", "delegated blob"])
def test_a_blobs_signature_opens_no_name_near_it(world: World, name: str, kind: str) -> None:
    world.enter_new_container()
    signature = world.sign(kind, "racwdxyt", world.container, SIGNED_NAME)
    path = quote(name, safe="").replace(".", "%2E")  # by a client that does not resolve dots
    call = Call("PUT", world.container, path, "", BLOCK_BLOB, b"secret", 201)
    world.new(call)
    assert world.visit(call, signature).outcome == NO_SIGNATURE
    assert world.visit(Call("GET", world.container, path), signature).outcome == NO_SIGNATURE
    assert world.visit(Call("DELETE", world.container, path), signature).outcome == NO_SIGNATURE
    for written in (quote(SIGNED_NAME), "dir%2F%C3%A9%2Etxt", "d%69r/%c3%a9.txt"):  # one name, however it is written
        assert world.visit(Call("PUT", world.container, written, "", BLOCK_BLOB, b"x"), signature).status == 201


@pytest.mark.parametrize("name", ["dir/%C3%A9.txt%00", "%00dir/%C3%A9.txt", "dir/%ED%A0%80", "dir/%C3", "dir/%E9.txt"])
def test_names_that_are_none_open_nothing(world: World, name: str) -> None:
    world.enter_new_container()
    signature = world.sign("blob", "racwd", world.container, SIGNED_NAME)
    for method, headers in (("GET", {}), ("PUT", BLOCK_BLOB), ("DELETE", {})):
        answer = world.visit(Call(method, world.container, name, "", headers), signature)
        assert (answer.status, answer.code) in (NO_SIGNATURE, (400, "InvalidUri"))


@pytest.mark.parametrize(
    "path", ["{0}x", "{0}-x", "%24root/{0}", "{0}%2f{1}", "{0}%00", "X{0}", "{0}.", "{0}%20", "{0}/..", "{0}%5c"]
)
def test_a_containers_signature_opens_no_container_near_it(world: World, path: str) -> None:
    world.enter_new_container()
    blob = world.new_blob()
    for kind in ("container", "delegated container"):
        signature = world.sign(kind, "racwdl", world.container, "")
        near = path.format(world.container, blob)
        for call in (
            Call("GET", near, "", f"{CONTAINER}&comp=list"),
            Call("GET", near, blob),
            Call("PUT", near, blob, "", BLOCK_BLOB, b"x"),
        ):
            is_within = near.startswith(f"{world.container}/") and not call.query
            answer = world.visit(call, signature)
            if is_within:
                assert answer.code in ("", "BlobNotFound")
            else:
                assert answer.outcome in (NO_SIGNATURE, (400, "InvalidQueryParameterValue"), (400, "InvalidUri"))


def test_no_name_holds_what_follows_it_in_what_is_signed(world: World) -> None:
    """Who may choose the name of a blob that is signed for them could else write the fields of another signature."""
    world.enter_new_container()
    hidden = world.new_blob()
    version = dict(parse_qsl(world.sign("blob", "r", world.container, hidden)))["sv"]
    chosen = f"{hidden}\n\n\n\n{version}\nb\n\nscope"
    signature = dict(parse_qsl(world.sign("blob", "r", world.container, chosen)))
    assert world.visit(Call("GET", world.container, quote(chosen)), urlencode(signature)).outcome == (
        404,
        "BlobNotFound",
    )
    forged = {**signature, "ses": f"scope\n\n\n\n{version}\nb\n\n"}
    assert world.visit(Call("GET", world.container, hidden), urlencode(forged, quote_via=quote)).outcome == NO_SIGNATURE


# --- snapshots and versions --------------------------------------------------------------------------------------

WRITING = {
    "put": Call("PUT", query="", headers=BLOCK_BLOB, body=b"changed"),
    "append": Call("PUT", headers={"x-ms-blob-type": "AppendBlob"}),
    "block": Call("PUT", query=BLOCK, body=b"x"),
    "block list": Call("PUT", query="comp=blocklist", body=b"<BlockList />"),
    "metadata": Call("PUT", query="comp=metadata", headers={"x-ms-meta-a": "b"}),
    "properties": Call("PUT", query="comp=properties", headers={"x-ms-blob-content-type": "text/html"}),
    "lease": Call("PUT", query="comp=lease", headers={"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"}),
    "snapshot": Call("PUT", query="comp=snapshot"),
    "undelete": Call("PUT", query="comp=undelete"),
    "copy": Call("PUT", headers={"x-ms-copy-source": "https://{here}"}),
    "abort": Call("PUT", query="comp=copy&copyid=x", headers={"x-ms-copy-action": "abort"}),
    "seal": Call("PUT", query="comp=seal"),
}


@pytest.mark.parametrize("call", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("kind", ["snapshot", "version_id"])
def test_a_signature_for_the_past_changes_no_present(world: World, call: Call, kind: str) -> None:
    world.enter_new_container()
    blob = world.new_blob()
    if kind == "snapshot":
        moment = world.answer(Call("PUT", world.container, blob, "comp=snapshot")).headers["x-ms-snapshot"]
    else:
        moment = world.answer(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"1")).headers["x-ms-version-id"]
        world.new(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"2", 201))
    deleted = world.answer(Call("PUT", world.container, blob, "comp=snapshot")).headers["x-ms-snapshot"]
    world.new(Call("DELETE", world.container, blob, f"snapshot={deleted}", status=202))
    before = state(world, blob)
    signature = of_blob(world, blob, **{kind: moment})
    assert world.visit(Call("GET", world.container, blob), signature).status == 200
    headers = {name: value.format(here=world.url(blob).partition("://")[2]) for name, value in call.headers.items()}
    answer = world.visit(call._replace(container=world.container, blob=blob, headers=headers), signature)
    assert 400 <= answer.status < 500
    assert state(world, blob) == before


def state(world: World, blob: str) -> list[str]:
    """All that is there of a blob."""
    listed = world.answer(
        Call("GET", world.container, "", f"{CONTAINER}&comp=list&include=snapshots,versions,deleted,uncommittedblobs")
    )
    blocks = world.answer(Call("GET", world.container, blob, "comp=blocklist&blocklisttype=all"))
    here = world.answer(Call("HEAD", world.container, blob))
    return [
        listed.body.decode(),
        blocks.body.decode(),
        str(here.headers["etag"]),
        str(here.headers["x-ms-lease-state"]),
    ]


def test_a_snapshots_and_a_versions_signature_are_for_that_one(world: World) -> None:
    world.enter_new_container()
    blob = world.new_blob()
    made = [world.answer(Call("PUT", world.container, blob, "comp=snapshot")).headers["x-ms-snapshot"] for _ in "ab"]
    version = world.answer(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"1")).headers["x-ms-version-id"]
    world.new(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"2", 201))
    for snapshot in made:
        world.new(Call("DELETE", world.container, blob, f"snapshot={snapshot}", status=202))
    of_snapshot, of_version = of_blob(world, blob, snapshot=made[0]), of_blob(world, blob, version_id=version)
    call = Call("GET", world.container, blob)
    permanent = call._replace(method="DELETE", query="deletetype=permanent")
    assert world.visit(call, of_version).body == b"1"
    both = [(400, "InvalidQueryParameterValue"), NO_SIGNATURE]
    for extra in (f"&snapshot={made[1]}", f"&versionid={version}"):
        for signature in (of_snapshot, of_version):
            if extra[:5] in signature:
                continue
            assert world.visit(call, signature + extra).outcome in both
            assert world.visit(permanent, signature + extra).outcome in both
    deleted = world.answer(Call("GET", world.container, "", f"{CONTAINER}&comp=list&include=snapshots,deleted"))
    assert all(snapshot in deleted.body.decode() for snapshot in made)
    assert world.visit(permanent, of_snapshot).status == 202


def test_deleting_for_good_is_not_deleting(world: World) -> None:
    world.enter_new_container()
    blob = world.new_blob()
    for query in ("deletetype=", "deletetype=&deletetype=permanent", "deletetype=%20", "DeleteType="):
        answer = world.visit(
            Call("DELETE", world.container, blob, query), world.sign("blob", "y", world.container, blob)
        )
        assert answer.outcome in ((403, "AuthorizationPermissionMismatch"), (400, "InvalidQueryParameterValue"))
    assert world.answer(Call("HEAD", world.container, blob)).status == 200


# --- tags --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"x-ms-requires-sync": "true"}, {"x-ms-blob-type": "BlockBlob"}], ids=str)
def test_the_tags_of_a_source_are_not_found_out_by_conditions(world: World, headers: dict[str, str]) -> None:
    world.enter_new_container()
    source = world.new_blob()
    world.new(Call("PUT", world.container, source, "comp=tags", body=TAGS, status=204))
    target = Call("PUT", world.container, world.fresh())
    signature = world.sign("blob", "cw", world.container, target.blob)
    for permission, is_told in (("r", False), ("rt", True)):
        for value, found in (("1", (201, 202)), ("2", (412, 404))):
            conditional = {
                **headers,
                "x-ms-copy-source": world.url(source, permission=permission),
                "x-ms-source-if-tags": f"a='{value}'",
            }
            answer = world.visit(target._replace(headers=conditional), signature)
            assert answer.status in (found if is_told else (403,)), answer.outcome


def test_a_search_in_a_container_finds_nothing_of_another(world: World) -> None:
    world.enter_new_container()
    hidden = world.container
    blob = world.new_blob()
    world.new(Call("PUT", hidden, blob, "comp=tags", body=TAGS, status=204))
    world.enter_new_container()
    signature = world.sign("container", "f", world.container, "")
    marker = base64.urlsafe_b64encode(f"{hidden}/\0".encode() + b"0").decode()
    for where in ("a='1'", f"@container='{hidden}' AND a='1'"):
        for extra in ("", f"&marker={marker}"):
            query = f"{CONTAINER}&comp=blobs&where={quote(where)}{extra}"
            answer = world.visit(Call("GET", world.container, "", query), signature)
            assert blob not in answer.body.decode().replace(quote(where), "")
