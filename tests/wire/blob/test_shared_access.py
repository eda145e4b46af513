"""Shared access signatures, made by the newest SDK and used for what they allow and for what they do not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import (
    AccessPolicy,
    BlobClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from tests.servers import Server
from tests.wire.blob.raw import Answer, RawClient

BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
LATER = datetime.now(UTC) + timedelta(hours=2)
#: An operation as method, what follows the container's path, headers, body.
Operation = tuple[str, str, Mapping[str, str], bytes]

PUT_NEW: Operation = ("PUT", "/new", BLOCK_BLOB, b"x")
PUT_AGAIN: Operation = ("PUT", "/b", BLOCK_BLOB, b"hello")
PUT_BLOCK: Operation = ("PUT", "/b?comp=block&blockid=QQ%3D%3D", {}, b"x")
GET: Operation = ("GET", "/b", {}, b"")
HEAD: Operation = ("HEAD", "/b", {}, b"")
METADATA: Operation = ("PUT", "/b?comp=metadata", {}, b"")
DELETE: Operation = ("DELETE", "/b", {}, b"")
LIST: Operation = ("GET", "?restype=container&comp=list", {}, b"")
CONTAINER: Operation = ("GET", "?restype=container", {}, b"")
ACL: Operation = ("GET", "?restype=container&comp=acl", {}, b"")

NO_PERMISSION = (403, "AuthorizationPermissionMismatch")
NO_RESOURCE_TYPE = (403, "AuthorizationResourceTypeMismatch")
NO_OPERATION = (403, "AuthorizationFailure")
NO_SIGNATURE = (403, "AuthenticationFailed")


class Visitor:
    """Whoever has nothing but a signature."""

    def __init__(self, raw: RawClient, container: str) -> None:
        self.raw = raw
        self.container = container

    def do(self, operation: Operation, signature: str) -> Answer:
        method, path, headers, body = operation
        url = self.raw.path(self.container) + path
        url += ("&" if "?" in url else "?") + signature
        return self.raw.send(method, url, {"content-length": str(len(body)), **headers}, body)

    def outcome(self, operation: Operation, signature: str) -> tuple[int, str] | None:
        """Nothing where it may, or why not."""
        answer = self.do(operation, signature)
        return None if answer.status < 300 else answer.outcome


@pytest.fixture
def visitor(raw: RawClient, container: ContainerClient) -> Visitor:
    container.upload_blob("b", b"hello")
    return Visitor(raw, container.container_name)


@pytest.fixture
def sas(raw: RawClient, container: ContainerClient) -> Any:
    """Makes a signature for the container, or for a blob in it."""

    def make(permission: str | None = None, blob: str | None = None, key: str = raw.key, **fields: Any) -> str:
        fields = {"expiry": LATER, "permission": permission, **fields}
        if blob:
            return generate_blob_sas(raw.account, container.container_name, blob, account_key=key, **fields)
        return generate_container_sas(raw.account, container.container_name, account_key=key, **fields)

    return make


# --- permissions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "allowed"),
    [
        (GET, "r"),
        (HEAD, "r"),
        (("GET", "/b?comp=metadata", {}, b""), "r"),
        (("GET", "/b?comp=blocklist", {}, b""), "r"),
        (PUT_NEW, "cw"),
        (PUT_BLOCK, "cw"),
        (("PUT", "/new?comp=blocklist", {}, b"<BlockList />"), "cw"),
        (METADATA, "w"),
        (("PUT", "/b?comp=properties", {}, b""), "w"),
        (DELETE, "d"),
        (LIST, "l"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_each_operation_needs_its_permission(visitor: Visitor, sas: Any, operation: Operation, allowed: str) -> None:
    for letter in "racwdxltmeify":
        expected = None if letter in allowed else NO_PERMISSION
        assert visitor.outcome(operation, sas(letter)) == expected, letter
        if operation is DELETE and letter in allowed:
            return


def test_permissions_may_come_in_any_order(visitor: Visitor, sas: Any) -> None:
    assert visitor.outcome(GET, sas("wr")) is None
    assert visitor.outcome(LIST, sas("lrw")) is None


def test_creating_is_not_overwriting(visitor: Visitor, sas: Any) -> None:
    assert visitor.outcome(PUT_NEW, sas("c")) is None
    assert visitor.outcome(PUT_NEW, sas("c")) == (403, "UnauthorizedBlobOverwrite")
    assert visitor.outcome(PUT_NEW, sas("cw")) is None
    commit: Operation = ("PUT", "/b?comp=blocklist", {}, b"<BlockList />")
    assert visitor.outcome(commit, sas("c")) == (403, "UnauthorizedBlobOverwrite")
    copy: Operation = ("PUT", "/b", {"x-ms-copy-source": f"http://{visitor.raw.host}:{visitor.raw.port}"}, b"")
    assert visitor.outcome(copy, sas("r")) == NO_PERMISSION


def test_a_blobs_signature_opens_that_blob_alone(visitor: Visitor, sas: Any) -> None:
    signature = sas("rwdl", blob="b")
    assert visitor.outcome(GET, signature) is None
    assert visitor.outcome(PUT_AGAIN, signature) is None
    for operation in (PUT_NEW, LIST, CONTAINER, ("GET", "/b2", {}, b""), ("GET", "/b/", {}, b"")):
        assert visitor.outcome(operation, signature) == NO_SIGNATURE


def test_a_directorys_signature_opens_what_is_below_it(visitor: Visitor, sas: Any) -> None:
    signature = sas("rwdl", blob="dir/sub", is_directory=True)
    for path in ("/dir/sub", "/dir/sub/", "/dir/sub/a", "/dir/sub/a/b"):
        for operation in (("PUT", path, BLOCK_BLOB, b"x"), ("GET", path, {}, b""), ("DELETE", path, {}, b"")):
            assert visitor.outcome(operation, signature) is None, operation
    for path in ("/dir", "/dir/", "/dir/b", "/dir/submarine", "/dir/b/sub", "//dir/sub", "/sub", "/b"):
        assert visitor.outcome(("PUT", path, BLOCK_BLOB, b"x"), signature) == NO_SIGNATURE
    slash = sas("rw", blob="dir/sub/", is_directory=True)  # which is no directory's name
    assert visitor.outcome(("PUT", "/dir/sub/a", BLOCK_BLOB, b"x"), slash) == NO_SIGNATURE
    for depth in ("0", "1", "3"):
        changed = signature.replace("sdd=2", f"sdd={depth}")
        assert visitor.outcome(("PUT", "/dir/other", BLOCK_BLOB, b"x"), changed) == NO_SIGNATURE
        assert visitor.outcome(("PUT", "/dir/sub/a", BLOCK_BLOB, b"x"), changed) == NO_SIGNATURE


def test_a_directorys_signature_lists_what_is_below_it(visitor: Visitor, sas: Any, container: ContainerClient) -> None:
    for name in ("dir/sub", "dir/sub/a", "dir/sub/b/c", "dir/submarine"):
        container.upload_blob(name, b"")

    def listing(prefix: str, depth: int = 2) -> Answer:
        path = f"?restype=container&comp=list&prefix={prefix}"
        return visitor.do(("GET", path, {}, b""), signature.replace("sdd=2", f"sdd={depth}"))

    signature = sas("l", blob="dir/sub", is_directory=True)
    assert [name.text for name in listing("dir/sub/").xml.iter("Name")] == ["dir/sub/a", "dir/sub/b/c"]
    assert [name.text for name in listing("dir/sub/b/").xml.iter("Name")] == ["dir/sub/b/c"]
    for prefix in ("", "dir/", "dir/sub", "dir/submarine", "dir/submarine/"):
        for depth in (0, 1, 2, 3):
            assert listing(prefix, depth).outcome == NO_SIGNATURE
    assert visitor.outcome(LIST, signature) == NO_SIGNATURE
    of_a_blob: Operation = ("GET", "?restype=container&comp=list&prefix=dir/sub/", {}, b"")
    assert visitor.outcome(of_a_blob, sas("l", blob="dir/sub")) == NO_SIGNATURE
    by_tags: Operation = ("GET", "?restype=container&comp=blobs&where=a%3D%27b%27&prefix=dir/sub/", {}, b"")
    assert visitor.outcome(by_tags, sas("lf", blob="dir/sub", is_directory=True)) == NO_SIGNATURE


def test_a_containers_signature_opens_no_other_container(
    visitor: Visitor, sas: Any, raw: RawClient, blob_server: Server
) -> None:
    raw.signed("PUT", raw.path("other?restype=container"))
    raw.signed("PUT", raw.path("other/b"), BLOCK_BLOB, b"secret")
    signature = sas("rl")
    other = Visitor(raw, "other")
    for operation in (GET, LIST):
        assert other.outcome(operation, signature) == NO_SIGNATURE
    for path in ("/../other/b", "/%2e%2e/other/b", "/..%2Fother%2Fb"):
        assert visitor.outcome(("GET", path, {}, b""), signature) == (404, "BlobNotFound")


def test_a_service_signature_is_no_good_for_the_container_itself(visitor: Visitor, sas: Any) -> None:
    signature = sas("racwdl")
    make: Operation = ("PUT", "?restype=container", {}, b"")
    drop: Operation = ("DELETE", "?restype=container", {}, b"")
    for operation in (CONTAINER, ACL, make, drop):
        assert visitor.outcome(operation, signature) == NO_OPERATION


# --- fields ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"start": timedelta(minutes=-1)}, None),
        ({"start": timedelta(hours=1)}, NO_SIGNATURE),
        ({"expiry": timedelta(seconds=-1)}, NO_SIGNATURE),
        ({"expiry": "2099-01-01"}, None),
        ({"expiry": "2099-01-01T00:00Z"}, None),
        ({"expiry": "soon"}, NO_SIGNATURE),
        ({"protocol": "https,http"}, None),
        ({"protocol": "https"}, (403, "AuthorizationProtocolMismatch")),
        ({"ip": "127.0.0.1"}, None),
        ({"ip": "127.0.0.0-127.0.0.9"}, None),
        ({"ip": "10.0.0.1"}, (403, "AuthorizationSourceIPMismatch")),
        ({"key": "bm90IHRoZSBrZXk="}, NO_SIGNATURE),
        ({"policy_id": "nothing"}, NO_SIGNATURE),
        ({"encryption_scope": "scope"}, None),
    ],
    ids=str,
)
def test_every_field_is_checked(visitor: Visitor, sas: Any, fields: dict[str, Any], outcome: Any) -> None:
    now = datetime.now(UTC)
    given = {name: now + value if isinstance(value, timedelta) else value for name, value in fields.items()}
    assert visitor.outcome(GET, sas("r", **given)) == outcome


@pytest.mark.parametrize("field", ["sp", "se", "sr", "sv", "st", "sip"])
def test_no_field_may_be_changed_or_left_out(visitor: Visitor, sas: Any, field: str) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    signature = sas("r", start=start, ip="127.0.0.1")
    assert visitor.outcome(GET, signature) is None
    (part,) = [part for part in signature.split("&") if part.startswith(f"{field}=")]
    for changed in ("", f"{part}x", f"{field}="):
        parts = [changed if each == part else each for each in signature.split("&")]
        assert visitor.outcome(GET, "&".join(filter(None, parts))) == NO_SIGNATURE


def test_a_field_may_not_be_added(visitor: Visitor, sas: Any) -> None:
    for extra in ("rsct=text/html", "spr=https,http", "si=p"):
        assert visitor.outcome(GET, f"{sas('r')}&{extra}") == NO_SIGNATURE


def test_a_user_delegation_signature_is_refused(visitor: Visitor, sas: Any) -> None:
    assert visitor.outcome(GET, f"{sas('r')}&skoid=x") == NO_SIGNATURE


def test_a_signature_sets_headers_of_the_answer(visitor: Visitor, sas: Any) -> None:
    signature = sas("r", content_type="text/html", content_disposition='attachment; filename="å b"', cache_control="no")
    for operation in (GET, HEAD):
        answer = visitor.do(operation, signature)
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("text/html", "no")
        assert len(answer.headers.get_all("content-type") or []) == 1
        assert answer.headers["content-disposition"].startswith("attachment")
    assert visitor.outcome(GET, sas("r", content_type="a\r\nx-evil: 1")) == (400, "InvalidQueryParameterValue")


# --- stored policies ---------------------------------------------------------------------------------------------


def test_a_stored_policy_can_be_taken_back(visitor: Visitor, sas: Any, container: ContainerClient) -> None:
    policy = AccessPolicy(ContainerSasPermissions(read=True), LATER, datetime.now(UTC) - timedelta(hours=1))
    container.set_container_access_policy({"reading": policy})
    signature = sas(policy_id="reading", expiry=None)
    assert visitor.outcome(GET, signature) is None
    assert visitor.outcome(PUT_NEW, signature) == NO_PERMISSION
    assert visitor.outcome(GET, sas("r", policy_id="reading", expiry=None)) == NO_SIGNATURE
    found = container.get_container_access_policy()["signed_identifiers"]
    assert [(each.id, each.access_policy.permission) for each in found] == [("reading", "r")]
    container.set_container_access_policy(
        {"reading": AccessPolicy(ContainerSasPermissions(read=True), "2020-01-01T00:00:00Z")}
    )
    assert visitor.outcome(GET, signature) == NO_SIGNATURE
    container.set_container_access_policy({})
    assert visitor.outcome(GET, signature) == NO_SIGNATURE


# --- accounts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "resource_type", "allowed"),
    [
        (GET, "o", "r"),
        (PUT_NEW, "o", "cw"),
        (DELETE, "o", "d"),
        (LIST, "c", "l"),
        (CONTAINER, "c", "r"),
        (("PUT", "?restype=container&comp=metadata", {}, b""), "c", "w"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_an_account_signature_is_for_kinds_of_resources(
    visitor: Visitor, operation: Operation, resource_type: str, allowed: str
) -> None:
    raw = visitor.raw

    def make(types: str, permission: str) -> str:
        return generate_account_sas(raw.account, raw.key, resource_types=types, permission=permission, expiry=LATER)

    others = "sco".replace(resource_type, "")
    assert visitor.outcome(operation, make(others, "rwdlac")) == NO_RESOURCE_TYPE
    for letter in "rlacwd":
        expected = None if letter in allowed else NO_PERMISSION
        assert visitor.outcome(operation, make("sco", letter)) == expected
        if operation is DELETE and letter in allowed:
            return


def test_an_account_signature_for_another_service_is_refused(visitor: Visitor) -> None:
    signature = generate_account_sas(
        visitor.raw.account, visitor.raw.key, resource_types="sco", permission="r", expiry=LATER, services="fqt"
    )
    assert visitor.outcome(GET, signature) == (403, "AuthorizationServiceMismatch")


def test_an_account_signature_lists_and_makes_containers_and_sees_no_policies(visitor: Visitor) -> None:
    raw = visitor.raw
    signature = generate_account_sas(raw.account, raw.key, resource_types="sco", permission="rwdlc", expiry=LATER)
    assert raw.send("GET", raw.path(f"?comp=list&{signature}")).status == 200
    created: Operation = ("PUT", "?restype=container", {"content-length": "0"}, b"")
    made = Visitor(raw, "made-by-signature")
    assert made.outcome(created, signature) is None
    assert made.outcome(("DELETE", "?restype=container", {}, b""), signature) is None
    assert visitor.outcome(ACL, signature) == NO_OPERATION


# --- copies ------------------------------------------------------------------------------------------------------


def test_a_copy_needs_leave_to_read_its_source(visitor: Visitor, sas: Any, raw: RawClient) -> None:
    root = f"http://{raw.host}:{raw.port}"
    source = f"{root}{raw.path(visitor.container)}/b"

    def copy(url: str) -> Operation:
        return ("PUT", "/copy", {"x-ms-copy-source": url}, b"")

    assert visitor.outcome(copy(f"{source}?{sas('r', blob='b')}"), sas("w")) is None
    assert visitor.outcome(copy(f"{source}?{sas('w', blob='b')}"), sas("w")) == (403, "CannotVerifyCopySource")
    assert visitor.outcome(copy(f"{source}?{sas('r', blob='x')}"), sas("w")) == (403, "CannotVerifyCopySource")
    assert visitor.outcome(copy(source), sas("w")) == (401, "CannotVerifyCopySource")
    assert raw.signed("PUT", f"{raw.path(visitor.container)}/copy", {"x-ms-copy-source": source}).status == 202


# --- as the SDK uses them ----------------------------------------------------------------------------------------


def test_the_urls_of_the_sdk_work(visitor: Visitor, sas: Any, container: ContainerClient) -> None:
    for blob in ("dir/å b+c%.txt", "plain"):
        url = f"{container.get_blob_client(blob).url}?{sas('rcw', blob=blob)}"
        with BlobClient.from_blob_url(url, max_single_put_size=4, max_block_size=4) as client:
            client.upload_blob(b"hello by blocks")
            assert client.download_blob().readall() == b"hello by blocks"
    with ContainerClient.from_container_url(f"{container.url}?{sas('l')}") as reader:
        assert "plain" in [found.name for found in reader.list_blobs()]


def test_signatures_are_not_logged(visitor: Visitor, sas: Any, blob_server: Server) -> None:
    signature = sas("r")
    visitor.do(GET, signature)
    visitor.do(PUT_NEW, signature)
    visitor.do(GET, signature + "x")
    assert "sig" not in blob_server.log.read_text()
