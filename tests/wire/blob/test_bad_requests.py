"""Requests that are wrong, and what the service says to them; requests that no SDK of today sends."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.servers import Server, running_server
from tests.wire.blob.raw import RawClient

from millpond.common.config import AccountKeys, Accounts, new_key

ACQUIRE = {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"}
LEASE = "1d3a1e5c-25a0-4d4e-b2d0-3f4f2a9b6c11"
MOMENT = "2026-01-01T00:00:00.0000000Z"
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
GONE = "the-container-is-not-there"


@pytest.fixture(scope="module")
def container(blob_server: Server) -> str:
    """The path of a container with the blobs ``b`` ("hello") and ``empty``."""
    raw = RawClient.of(blob_server.credentials)
    path = raw.path("cont")
    assert raw.signed("PUT", f"{path}?restype=container").status == 201
    assert raw.signed("PUT", f"{path}/b", BLOCK_BLOB, b"hello").status == 201
    assert raw.signed("PUT", f"{path}/empty", BLOCK_BLOB).status == 201
    return path


# --- who asks ----------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_told_what_was_signed(raw: RawClient, container: str) -> None:
    stranger = RawClient(raw.host, raw.port, raw.account, base64.b64encode(b"x" * 64).decode())
    answer = stranger.signed("GET", f"{container}/b")
    assert answer.outcome == (403, "AuthenticationFailed")
    detail = answer.detail("AuthenticationErrorDetail")
    assert "string to sign: 'GET\n" in detail
    assert raw.key not in answer.body.decode()


def test_another_accounts_signature_fails(raw: RawClient, container: str) -> None:
    other = RawClient(raw.host, raw.port, "someoneelse", raw.key)
    assert other.signed("GET", f"{container}/b").outcome == (403, "AuthenticationFailed")
    assert other.signed("GET", "/someoneelse/cont/b").outcome == (403, "AuthenticationFailed")


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24 * 365])
def test_a_date_that_is_far_off_fails(raw: RawClient, container: str, minutes: int) -> None:
    date = email.utils.formatdate(time.time() + minutes * 60, usegmt=True)
    assert raw.signed("GET", f"{container}/b", {"x-ms-date": date}).outcome == (403, "AuthenticationFailed")


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_may_be_a_little_off(raw: RawClient, container: str, minutes: int) -> None:
    date = email.utils.formatdate(time.time() + minutes * 60, usegmt=True)
    assert raw.signed("GET", f"{container}/b", {"x-ms-date": date}).status == 200
    assert raw.signed("GET", f"{container}/b", {"x-ms-date": "", "date": date}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ms-date": ""},
        {"x-ms-date": "yesterday"},
        {"authorization": "SharedKey"},
        {"authorization": "SharedKey :"},
        {"authorization": "Bearer ey.ey.ey"},
        {"authorization": "Basic dTpw"},
        {"authorization": "SharedKey millpondstore:\xff\xfe"},
    ],
)
def test_a_malformed_authorization_fails(raw: RawClient, container: str, headers: dict[str, str]) -> None:
    assert raw.signed("GET", f"{container}/b", headers).outcome == (403, "AuthenticationFailed")


def test_a_signed_part_that_was_changed_fails(raw: RawClient, container: str) -> None:
    headers = {"x-ms-version": "2021-12-02", "x-ms-date": email.utils.formatdate(usegmt=True), "content-length": "0"}
    signature = raw.sign("GET", f"{container}/b", headers)
    headers["authorization"] = f"SharedKey {raw.account}:{signature}"
    assert raw.send("GET", f"{container}/b", headers).status == 200
    for method, path, changes in (
        ("HEAD", f"{container}/b", {}),
        ("GET", f"{container}/empty", {}),
        ("GET", f"{container}/b?timeout=5", {}),
        ("GET", f"{container}/b", {"x-ms-range": "bytes=0-1"}),
        ("GET", f"{container}/b", {"range": "bytes=0-1"}),
        ("GET", f"{container}/b", {"x-ms-version": "2020-12-06"}),
    ):
        assert raw.send(method, path, {**headers, **changes}).status == 403


def test_both_keys_open_the_account_and_a_new_one_does_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "--only", "blob") as server:
        accounts = Accounts(server.data)
        (name,) = accounts.names("storage")
        raw, keys = RawClient.of(server.credentials), accounts.get("storage", name)
        assert keys
        path = raw.path("?comp=list")
        clients = [replace(raw, key=key) for key in (keys.key1, keys.key2)]
        assert [client.signed("GET", path).status for client in clients] == [200, 200]
        changed = AccountKeys(new_key(), keys.key2)
        accounts.put("storage", name, changed)
        assert [client.signed("GET", path).status for client in clients] == [403, 200]
        assert replace(raw, key=changed.key1).signed("GET", path).status == 200


def test_shared_key_lite(raw: RawClient, container: str) -> None:
    date = email.utils.formatdate(usegmt=True)
    text = f"GET\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-12-02\n/{raw.account}{container}?comp=list"
    digest = hmac.new(base64.b64decode(raw.key), text.encode(), hashlib.sha256).digest()
    authorization = f"SharedKeyLite {raw.account}:{base64.b64encode(digest).decode()}"
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02", "authorization": authorization}
    assert raw.send("GET", f"{container}?restype=container&comp=list", headers).status == 200


# --- nobody in particular ----------------------------------------------------------------------------------------


def test_without_a_signature_nothing_private_shows(raw: RawClient, container: str) -> None:
    for path in (f"{container}/b", f"{container}/gone", raw.path(f"{GONE}/b")):
        assert raw.send("GET", path).outcome == (404, "ResourceNotFound")
    assert raw.send("PUT", f"{container}/b", {**BLOCK_BLOB, "content-length": "0"}).outcome == (
        401,
        "NoAuthenticationInformation",
    )
    assert raw.send("GET", raw.path("?comp=list")).outcome == (401, "NoAuthenticationInformation")


def test_a_public_container_shows_what_it_says(raw: RawClient) -> None:
    path = raw.path("public")
    raw.signed("PUT", f"{path}?restype=container", {"x-ms-blob-public-access": "blob"})
    raw.signed("PUT", f"{path}/b", BLOCK_BLOB, b"hello")
    assert raw.send("GET", f"{path}/b").body == b"hello"
    assert raw.send("HEAD", f"{path}/b").status == 200
    for method, resource in (
        ("GET", "?restype=container&comp=list"),
        ("GET", "?restype=container"),
        ("GET", "/b?comp=blocklist&blocklisttype=all"),
    ):
        assert raw.send(method, path + resource).status in (401, 404)
    raw.signed("PUT", f"{path}?restype=container&comp=acl", {"x-ms-blob-public-access": "container"})
    assert raw.send("GET", f"{path}?restype=container&comp=list").xml.findtext("Blobs/Blob/Name") == "b"
    assert raw.send("GET", f"{path}?restype=container&comp=acl").status == 401
    assert raw.send("DELETE", f"{path}/b").outcome == (401, "NoAuthenticationInformation")
    raw.signed("PUT", f"{path}?restype=container&comp=acl", {})
    assert raw.send("GET", f"{path}/b").outcome == (404, "ResourceNotFound")


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (("GET", "/b", {"x-ms-version": "2014-02-14"}), (400, "InvalidHeaderValue")),
        (("GET", "/b", {"x-ms-version": "newest"}), (400, "InvalidHeaderValue")),
        (("GET", "/b", {"x-ms-version": "2099-01-01"}), (200, "")),
        (("GET", "/b", {"x-ms-version": ""}), (200, "")),
        (("GET", "/gone", {}), (404, "BlobNotFound")),
        (("GET", "/b?snapshot=2026-01-01T00:00:00.0000000Z", {}), (404, "BlobNotFound")),
        (("GET", "/b?comp=nothing", {}), (400, "InvalidQueryParameterValue")),
        (("GET", "/b?comp=lease", {}), (405, "UnsupportedHttpVerb")),
        (("PUT", "/b?comp=lease", {"x-ms-lease-action": "acquire"}), (400, "MissingRequiredHeader")),
        (("PUT", "/b?comp=lease", {"x-ms-lease-action": "keep"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b?comp=lease", {"x-ms-lease-action": "renew"}), (400, "MissingRequiredHeader")),
        (("PUT", "/b?comp=lease", {**ACQUIRE, "x-ms-lease-duration": "14"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b?comp=lease", {**ACQUIRE, "x-ms-proposed-lease-id": "x"}), (400, "InvalidHeaderValue")),
        (("PUT", f"/b?comp=snapshot&snapshot={MOMENT}", {}), (400, "InvalidQueryParameterValue")),
        (("PUT", f"/b?comp=metadata&versionid={MOMENT}", {}), (400, "InvalidQueryParameterValue")),
        (("GET", f"/b?snapshot={MOMENT}", {}), (404, "BlobNotFound")),
        (("GET", f"/b?versionid={MOMENT}", {}), (404, "BlobNotFound")),
        (("GET", "/b?snapshot=2026", {}), (400, "InvalidQueryParameterValue")),
        (("DELETE", f"/b?deletetype=permanent&snapshot={MOMENT}", {}), (409, "PermanentDeleteNotAllowed")),
        (("DELETE", "/b?deletetype=soft", {}), (400, "InvalidQueryParameterValue")),
        (("DELETE", f"/b?snapshot={MOMENT}", {"x-ms-delete-snapshots": "only"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b?comp=tier", {}), (400, "MissingRequiredHeader")),
        (("PUT", "/b?comp=tier", {"x-ms-access-tier": "Tepid"}), (400, "InvalidHeaderValue")),
        (("PUT", "/c?comp=undelete", {}), (404, "BlobNotFound")),
        (("PUT", "/b?comp=copy&copyid=x", {"x-ms-copy-action": "abort"}), (409, "NoPendingCopyOperation")),
        (("PUT", "/b?comp=copy&copyid=x", {}), (400, "InvalidHeaderValue")),
        (("PATCH", "/b", {}), (405, "UnsupportedHttpVerb")),
        (("PUT", "/b", {}), (400, "MissingRequiredHeader")),
        (("PUT", "/b", {"x-ms-blob-type": "Blob"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b", {"x-ms-blob-type": "PageBlob"}), (400, "MissingRequiredHeader")),
        (("PUT", "/b", {**BLOCK_BLOB, "x-ms-tags": "a=1&a=2"}), (400, "InvalidTags")),
        (("GET", "/b", {"x-ms-if-tags": "a"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b", {**BLOCK_BLOB, "x-ms-access-tier": "Warm"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b", {**BLOCK_BLOB, "x-ms-meta-a-b": "1"}), (400, "InvalidMetadata")),
        (("PUT", "/b", {**BLOCK_BLOB, "x-ms-meta-a": "v" * 9000}), (400, "MetadataTooLarge")),
        (("PUT", "/b", {**BLOCK_BLOB, "content-md5": "short"}), (400, "InvalidMd5")),
        (("PUT", "/b", {**BLOCK_BLOB, "if-match": '"0x1"'}), (412, "ConditionNotMet")),
        (("PUT", "/b", {**BLOCK_BLOB, "if-none-match": "*"}), (409, "BlobAlreadyExists")),
        (("PUT", "/b", {**BLOCK_BLOB, "if-modified-since": "noon"}), (400, "InvalidHeaderValue")),
        (("PUT", "/b", {**BLOCK_BLOB, "x-ms-lease-id": LEASE}), (412, "LeaseNotPresentWithBlobOperation")),
        (("GET", "/b", {"x-ms-range": "bytes=5-"}), (416, "InvalidRange")),
        (("GET", "/empty", {"x-ms-range": "bytes=0-5"}), (416, "InvalidRange")),
        (("GET", "/b", {"x-ms-range": "lines=1-2"}), (400, "InvalidHeaderValue")),
        (("GET", "/b", {"x-ms-range-get-content-md5": "true"}), (400, "MissingRequiredHeader")),
        (("GET", "/b", {"x-ms-range": "bytes=0-", "x-ms-range-get-content-md5": "x"}), (400, "InvalidHeaderValue")),
        (("GET", "/b", {"if-none-match": "*"}), (304, "ConditionNotMet")),
        (("PUT", "/b?comp=block", {}), (400, "InvalidHeaderValue")),
        (("PUT", "/b?comp=tags", {}), (400, "InvalidXmlDocument")),
        (("GET", "/b?comp=blocklist&blocklisttype=some", {}), (400, "InvalidQueryParameterValue")),
        (("DELETE", "/b", {"x-ms-delete-snapshots": "some"}), (400, "InvalidHeaderValue")),
        (("DELETE", "/gone", {}), (404, "BlobNotFound")),
        (("PUT", "/c", {"x-ms-copy-source": "not a url"}), (400, "InvalidHeaderValue")),
        (("PUT", "/c", {"x-ms-copy-source": "http://127.0.0.1:1/account/c/b"}), (404, "CannotVerifyCopySource")),
        (("PUT", "?restype=container", {}), (409, "ContainerAlreadyExists")),
        (("PUT", "?restype=container", {"x-ms-blob-public-access": "all"}), (400, "InvalidHeaderValue")),
        (("PUT", "?restype=directory", {}), (400, "InvalidQueryParameterValue")),
        (("PUT", "?restype=container&comp=lease", {}), (400, "MissingRequiredHeader")),
        (("PUT", "?restype=container&comp=undelete", {}), (400, "MissingRequiredHeader")),
        (("GET", "?restype=container&comp=list&maxresults=0", {}), (400, "OutOfRangeQueryParameterValue")),
        (("GET", "?restype=container&comp=list&marker=%21", {}), (400, "InvalidQueryParameterValue")),
        (("GET", "?restype=container&comp=list&include=nonsense", {}), (400, "InvalidQueryParameterValue")),
        (("GET", "?restype=container&comp=list&prefix=%FF", {}), (400, "InvalidQueryParameterValue")),
        (("DELETE", "?restype=container", {"x-ms-lease-id": LEASE}), (412, "LeaseNotPresentWithContainerOperation")),
    ],
)
def test_a_wrong_request_gets_the_services_own_answer(
    raw: RawClient, container: str, sent: tuple[str, str, dict[str, str]], outcome: tuple[int, str]
) -> None:
    method, path, headers = sent
    assert raw.signed(method, container + path, headers).outcome == outcome
    assert raw.signed("GET", f"{container}/b").body == b"hello"


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("ab", (400, "OutOfRangeInput")),
        ("a" * 64, (400, "OutOfRangeInput")),
        ("UPPER", (400, "InvalidResourceName")),
        ("a_b", (400, "InvalidResourceName")),
        ("%2e%2e%2e", (400, "InvalidResourceName")),
        ("abc%2Fdef", (400, "InvalidResourceName")),
        ("abc%00", (400, "InvalidResourceName")),
        ("abc%FF", (400, "InvalidUri")),
    ],
)
def test_a_bad_container_name_fails(raw: RawClient, name: str, outcome: tuple[int, str]) -> None:
    for method in ("PUT", "GET", "DELETE"):
        assert raw.signed(method, raw.path(f"{name}?restype=container")).outcome == outcome


# --- checksums and bodies ----------------------------------------------------------------------------------------


def test_a_wrong_checksum_fails_and_leaves_nothing(raw: RawClient, container: str) -> None:
    for data in (b"small", b"large" * 100_000):
        for headers, code in (
            ({"content-md5": base64.b64encode(bytes(16)).decode()}, "Md5Mismatch"),
            ({"x-ms-blob-content-md5": base64.b64encode(bytes(16)).decode()}, "Md5Mismatch"),
            ({"x-ms-content-crc64": base64.b64encode(bytes(8)).decode()}, "Crc64Mismatch"),
        ):
            answer = raw.signed("PUT", f"{container}/sum", {**BLOCK_BLOB, **headers}, data)
            assert answer.outcome == (400, code)
            assert raw.signed("HEAD", f"{container}/sum").status == 404


def test_each_kind_of_checksum_is_answered_where_it_belongs(raw: RawClient, container: str) -> None:
    md5 = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    crc64 = "V0JSBnCFdzM="
    put = raw.signed("PUT", f"{container}/b", {**BLOCK_BLOB, "x-ms-content-crc64": crc64}, b"hello")
    assert (put.headers["content-md5"], put.headers["x-ms-content-crc64"]) == (md5, crc64)
    block = f"{container}/b?comp=block&blockid=QQ%3D%3D"
    assert raw.signed("PUT", block, {}, b"hello").headers["x-ms-content-crc64"] == crc64
    assert raw.signed("PUT", block, {"content-md5": md5}, b"hello").headers["content-md5"] == md5
    assert raw.signed("PUT", block, {"x-ms-version": "2018-03-28"}, b"hello").headers["content-md5"] == md5
    whole = raw.signed("GET", f"{container}/b")
    assert (whole.headers["content-md5"], whole.headers["x-ms-blob-content-md5"]) == (md5, None)
    part = raw.signed("GET", f"{container}/b", {"range": "bytes=1-2"})
    assert (part.headers["content-md5"], part.headers["x-ms-blob-content-md5"]) == (None, md5)
    checked = {"x-ms-range": "bytes=0-4", "x-ms-range-get-content-md5": "true", "x-ms-range-get-content-crc64": "true"}
    part = raw.signed("GET", f"{container}/b", checked)
    assert (part.headers["content-md5"], part.headers["x-ms-content-crc64"]) == (md5, crc64)
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"hello", "bytes 0-4/5")


def test_a_checksum_is_given_for_four_mebibytes_at_most(raw: RawClient, container: str) -> None:
    data = bytes(5 << 20)
    raw.signed("PUT", f"{container}/five", BLOCK_BLOB, data)
    checked = {"x-ms-range": f"bytes=1-{4 << 20}", "x-ms-range-get-content-md5": "true"}
    answer = raw.signed("GET", f"{container}/five", checked)
    assert answer.headers["content-md5"] == base64.b64encode(hashlib.md5(bytes(4 << 20)).digest()).decode()
    checked["x-ms-range"] = f"bytes=0-{4 << 20}"
    assert raw.signed("GET", f"{container}/five", checked).outcome == (400, "OutOfRangeInput")


@pytest.mark.parametrize(
    ("version", "query", "size"),
    [
        ("2015-02-21", "?comp=block&blockid=QQ%3D%3D", (4 << 20) + 1),
        ("2015-02-21", "", (64 << 20) + 1),
        ("2016-05-31", "?comp=block&blockid=QQ%3D%3D", (100 << 20) + 1),
        ("2016-05-31", "", (256 << 20) + 1),
        ("2021-12-02", "", 6 << 30),
        ("2021-12-02", "?comp=blocklist", 17 << 20),
    ],
)
def test_a_body_that_is_too_large_fails_before_it_is_sent(
    raw: RawClient, container: str, version: str, query: str, size: int
) -> None:
    headers = {**BLOCK_BLOB, "x-ms-version": version, "content-length": str(size)}
    answer = raw.signed("PUT", f"{container}/large{query}", headers)
    assert answer.outcome == (413, "RequestBodyTooLarge")


def test_a_connection_survives_a_body_that_nobody_wanted(raw: RawClient) -> None:
    path = raw.path(f"{GONE}/b")
    headers = {**BLOCK_BLOB, "x-ms-version": "2021-12-02", "x-ms-date": email.utils.formatdate(usegmt=True)}
    headers["content-length"] = str(20 << 20)
    headers["authorization"] = f"SharedKey {raw.account}:{raw.sign('PUT', path, headers)}"
    connection = http.client.HTTPConnection(raw.host, raw.port, timeout=30)
    for _ in range(3):
        connection.request("PUT", path, bytes(20 << 20), headers)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["x-ms-error-code"]) == (404, "ContainerNotFound")
        answer.read()
    connection.close()


def test_a_body_without_a_length_fails(raw: RawClient, container: str) -> None:
    chunked = {**BLOCK_BLOB, "content-length": "", "transfer-encoding": "chunked"}
    answer = raw.signed("PUT", f"{container}/x", chunked, b"1\r\nx\r\n0\r\n\r\n")
    assert answer.outcome == (411, "MissingContentLengthHeader")


def begin(raw: RawClient, method: str, path: str, **headers: str) -> bytes:
    """The head of a signed request, for tests that send it by hand."""
    full = {"x-ms-version": "2021-12-02", "x-ms-date": email.utils.formatdate(usegmt=True), **headers}
    full = {name.replace("_", "-"): value for name, value in full.items()}
    full["authorization"] = f"SharedKey {raw.account}:{raw.sign(method, path, full)}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in full.items())
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n".encode()


def test_a_client_that_expects_to_be_told_to_go_on_is(raw: RawClient, container: str) -> None:
    path = f"{container}/expected"
    head = begin(raw, "PUT", path, x_ms_blob_type="BlockBlob", content_length="5", expect="100-continue")
    with socket.create_connection((raw.host, raw.port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")


def test_a_client_that_hangs_up_leaves_nothing(raw: RawClient, container: str, blob_server: Server) -> None:
    path = f"{container}/cut"
    head = begin(raw, "PUT", path, x_ms_blob_type="BlockBlob", content_length=str(8 << 20))
    incoming = blob_server.data / "blob" / "incoming"
    with socket.create_connection((raw.host, raw.port), timeout=30) as connection:
        connection.sendall(head + bytes(4 << 20))
        until(lambda: any(incoming.iterdir()))
    until(lambda: not any(incoming.iterdir()))
    assert raw.signed("HEAD", path).status == 404


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", (400, "InvalidXmlDocument")),
        (b"<BlockList><Latest>QQ==</Latest>", (400, "InvalidXmlDocument")),
        (b"<!DOCTYPE a [<!ENTITY b 'b'>]><BlockList />", (400, "InvalidXmlDocument")),
        (b"<BlockList><Latest>QQ==</Latest></BlockList>", (400, "InvalidBlockList")),
        (b"<BlockList>" + b"<Latest>QQ==</Latest>" * 50_001 + b"</BlockList>", (400, "BlockListTooLong")),
    ],
    ids=["empty", "cut", "doctype", "unknown block", "too long"],
)
def test_a_bad_block_list_fails(raw: RawClient, container: str, body: bytes, outcome: tuple[int, str]) -> None:
    assert raw.signed("PUT", f"{container}/list?comp=blocklist", {}, body).outcome == outcome


@pytest.mark.parametrize(
    ("block", "outcome"),
    [
        ("", (400, "MissingRequiredQueryParameter")),
        ("not%20base64", (400, "InvalidBlockId")),
        (quote(base64.b64encode(bytes(65)).decode()), (400, "InvalidBlockId")),
        (quote(base64.b64encode(bytes(64)).decode()), (201, "")),
    ],
)
def test_a_block_has_an_id(raw: RawClient, container: str, block: str, outcome: tuple[int, str]) -> None:
    assert raw.signed("PUT", f"{container}/blocks?comp=block&blockid={block}", {}, b"x").outcome == outcome


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../b", "..", "a/../../b", "%2e%2e/b", "..%2F..%2Fetc%2Fpasswd", "%2Fb", "/b", "a/./b", ".", "%5C..%5Cb"]
)
def test_a_name_with_dots_is_a_name_like_any_other(raw: RawClient, container: str, name: str) -> None:
    path = f"{container}/{name}"
    assert raw.signed("PUT", path, BLOCK_BLOB, name.encode()).status == 201
    assert raw.signed("GET", path).body == name.encode()
    assert raw.signed("GET", f"{container}/b").body == b"hello"
    assert raw.signed("DELETE", path).status == 202


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("a%00b", (400, "InvalidResourceName")),
        ("%FF", (400, "InvalidUri")),
        ("%ED%A0%80", (400, "InvalidUri")),
        ("a" * 1025, (400, "InvalidResourceName")),
        ("/".join("a" * 255), (400, "InvalidResourceName")),
        ("%C3%A5" * 1024, (201, "")),
        ("a" * 1024, (201, "")),
    ],
    ids=["nul", "no utf-8", "surrogate", "long", "deep", "longest of two bytes", "longest"],
)
def test_a_name_that_cannot_be_fails(raw: RawClient, container: str, name: str, outcome: tuple[int, str]) -> None:
    assert raw.signed("PUT", f"{container}/{name}", BLOCK_BLOB, b"x").outcome == outcome


def test_the_root_container_needs_no_name(raw: RawClient) -> None:
    assert raw.signed("PUT", raw.path("robots.txt"), BLOCK_BLOB, b"x").outcome == (404, "ContainerNotFound")
    assert raw.signed("PUT", raw.path("%24root?restype=container")).status == 201
    assert raw.signed("PUT", raw.path("robots.txt"), BLOCK_BLOB, b"all").status == 201
    assert raw.signed("GET", raw.path("%24root/robots.txt")).body == b"all"


# --- other ways to address ----------------------------------------------------------------------------------------


def test_the_host_may_name_the_account(raw: RawClient, container: str) -> None:
    host = {"host": f"{raw.account}.blob.localhost:{raw.port}"}
    assert raw.signed("GET", "/cont/b", host).body == b"hello"
    listed = raw.signed("GET", "/cont?restype=container&comp=list&prefix=b", host)
    assert listed.xml.attrib["ServiceEndpoint"] == f"http://{host['host']}/"
    assert raw.signed("GET", "/?comp=list", host).status == 200
    stranger = {"host": "nobody.blob.localhost", "authorization": "SharedKey nobody:x"}
    assert raw.signed("GET", "/cont/b", stranger).outcome == (403, "AuthenticationFailed")


def test_old_clients_leave_the_account_out_of_later_requests(raw: RawClient, container: str) -> None:
    assert raw.signed("GET", "/cont/b").body == b"hello"
    assert raw.signed("GET", "/cont?restype=container&comp=list").status == 200


def test_a_request_is_answered_with_its_ids(raw: RawClient, container: str) -> None:
    answer = raw.signed("GET", f"{container}/b", {"x-ms-client-request-id": "my request", "x-ms-version": "2017-04-17"})
    assert answer.headers["x-ms-client-request-id"] == "my request"
    assert answer.headers["x-ms-version"] == "2017-04-17"
    assert answer.headers["x-ms-request-id"]
    assert email.utils.parsedate_to_datetime(answer.headers["date"])


def test_a_head_that_fails_has_its_code_in_a_header(raw: RawClient, container: str) -> None:
    answer = raw.signed("HEAD", f"{container}/gone")
    assert (answer.outcome, answer.body) == ((404, "BlobNotFound"), b"")


def test_a_blob_that_is_replaced_while_it_is_read_comes_whole(raw: RawClient, container: str) -> None:
    path = f"{container}/torn"
    versions = [bytes([number]) * (24 << 20) for number in (1, 2)]
    raw.signed("PUT", path, BLOCK_BLOB, versions[0])
    with socket.create_connection((raw.host, raw.port), timeout=30) as connection:
        connection.sendall(begin(raw, "GET", path))
        received = connection.recv(1 << 16)  # it has begun
        raw.signed("PUT", path, BLOCK_BLOB, versions[1])
        raw.signed("DELETE", path)
        while data := connection.recv(1 << 20):
            received += data
    assert received.partition(b"\r\n\r\n")[2] == versions[0]


def test_what_was_wrong_has_its_name_in_the_answer(raw: RawClient, container: str) -> None:
    answer = raw.signed("PUT", f"{container}/b", {"x-ms-blob-type": "Blob"})
    assert (answer.detail("HeaderName"), answer.detail("HeaderValue")) == ("x-ms-blob-type", "Blob")
