"""Append blobs, page blobs and customers' keys with real clients, over kills."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobSasPermissions,
    BlobServiceClient,
    BlobType,
    ContainerClient,
    generate_blob_sas,
)
from tests.clients import run_client
from tests.servers import Server, start_server
from tests.wire.blob.raw import RawClient

PAGE = 512
CLIENTS = Path(__file__).parent / "clients"


def code_of(failure: pytest.ExceptionInfo[HttpResponseError]) -> str:
    code: str = failure.value.error_code  # type: ignore[attr-defined]
    return code


def test_an_append_blob_grows_by_small_and_large_blocks(container: ContainerClient) -> None:
    blob = container.get_blob_client("log")
    blob.create_append_blob()
    expected = b""
    for size in (1, 70_000, 300_000, 5, 300_000, 3):
        block = os.urandom(size)
        done = blob.append_block(block, validate_content=True, appendpos_condition=len(expected))
        assert done["blob_append_offset"] == str(len(expected))
        expected += block
    assert blob.download_blob().readall() == expected
    assert blob.download_blob(70_000, 300_001).readall() == expected[70_000:370_001]
    properties = blob.get_blob_properties()
    assert (properties.append_blob_committed_block_count, properties.blob_type) == (6, BlobType.APPENDBLOB)
    with pytest.raises(HttpResponseError) as failure:
        blob.append_block(b"x", maxsize_condition=len(expected))
    assert code_of(failure) == "MaxBlobSizeConditionNotMet"
    blob.seal_append_blob()
    with pytest.raises(HttpResponseError) as failure:
        blob.append_block(b"x")
    assert code_of(failure) == "BlobIsSealed"
    (listed,) = container.list_blobs()
    assert (listed.size, listed.blob_type) == (len(expected), BlobType.APPENDBLOB)


def test_all_that_append_at_once_find_their_place(container: ContainerClient) -> None:
    blob = container.get_blob_client("log")
    blob.create_append_blob()
    lines = [f"{number:07}\n".encode() for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        offsets = [int(str(done["blob_append_offset"])) for done in threads.map(blob.append_block, lines)]
    found = blob.download_blob().readall()
    assert [found[offset : offset + 8] for offset in offsets] == lines
    assert len(found) == 1600


def test_a_signature_for_adding_adds_and_nothing_else(container: ContainerClient, service: BlobServiceClient) -> None:
    blob = container.get_blob_client("log")
    blob.create_append_blob()
    assert blob.account_name
    sas = generate_blob_sas(
        blob.account_name,
        blob.container_name,
        blob.blob_name,
        account_key=service.credential.account_key,
        permission=BlobSasPermissions(add=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    with type(blob).from_blob_url(f"{blob.url}?{sas}") as adding:
        adding.append_block(b"x")
        for refused in (adding.seal_append_blob, adding.create_append_blob):
            with pytest.raises(HttpResponseError) as failure:
                refused()
            assert code_of(failure) == "AuthorizationPermissionMismatch"


def test_pages_are_put_cleared_and_compared(container: ContainerClient) -> None:
    blob = container.get_blob_client("disk")
    blob.create_page_blob(1 << 30)
    first, second = os.urandom(PAGE), os.urandom(600 * PAGE)
    blob.upload_page(first, offset=0, length=PAGE)
    snapshot = blob.create_snapshot()
    blob.upload_page(second, offset=1 << 20, length=len(second), validate_content=True)
    blob.clear_page(offset=1 << 20, length=PAGE)
    expected = bytes(PAGE) + second[PAGE:] + bytes(100)
    assert blob.download_blob(1 << 20, len(expected)).readall() == expected
    ranges = [(found.start, found.end, found.cleared) for found in blob.list_page_ranges()]
    last = (1 << 20) + len(second) - 1
    assert ranges == [(0, PAGE - 1, False), ((1 << 20) + PAGE, last, False)]
    changes = [(each.start, each.cleared) for each in blob.list_page_ranges(previous_snapshot=snapshot)]
    assert changes == [(1 << 20, True), ((1 << 20) + PAGE, False)]
    blob.resize_blob(PAGE)
    blob.set_sequence_number("update", "7")
    properties = blob.get_blob_properties()
    assert (properties.size, properties.page_blob_sequence_number) == (PAGE, 7)
    assert blob.download_blob().readall() == first
    with pytest.raises(HttpResponseError) as failure:
        blob.upload_page(first, offset=0, length=PAGE, if_sequence_number_lt=7)
    assert code_of(failure) == "SequenceNumberConditionNotMet"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-ms-range": "bytes=1-512"}, "InvalidPageRange"),
        ({"x-ms-range": "bytes=1024-1535"}, "InvalidPageRange"),
        ({"x-ms-range": "bytes=0-511", "x-ms-page-write": "other"}, "InvalidHeaderValue"),
        ({"x-ms-range": "bytes=0-1023"}, "InvalidHeaderValue"),
        ({}, "MissingRequiredHeader"),
        ({"x-ms-range": "bytes=0-511", "x-ms-if-sequence-number-eq": "x"}, "InvalidHeaderValue"),
    ],
)
def test_pages_that_are_none(raw: RawClient, headers: dict[str, str], code: str) -> None:
    raw.signed("PUT", raw.path("pages?restype=container"))
    size = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "1024"}
    assert raw.signed("PUT", raw.path("pages/b"), size).status == 201
    update = {"x-ms-page-write": "update", **headers}
    assert raw.signed("PUT", raw.path("pages/b?comp=page"), update, bytes(PAGE)).code == code


def test_a_customers_key_opens_its_blob_and_no_other(raw: RawClient) -> None:
    def headers(key: bytes) -> dict[str, str]:
        return {
            "x-ms-encryption-key": base64.b64encode(key).decode(),
            "x-ms-encryption-key-sha256": base64.b64encode(hashlib.sha256(key).digest()).decode(),
            "x-ms-encryption-algorithm": "AES256",
        }

    own, other = headers(b"k" * 32), headers(b"o" * 32)
    raw.signed("PUT", raw.path("keys?restype=container"))
    path = raw.path("keys/b")
    made = raw.signed("PUT", path, {"x-ms-blob-type": "BlockBlob", **own}, b"secret")
    assert (made.status, made.headers["x-ms-encryption-key-sha256"]) == (201, own["x-ms-encryption-key-sha256"])
    assert raw.signed("GET", path, own).body == b"secret"
    no_key: dict[str, str] = {}
    for given, code in (
        (no_key, "BlobUsesCustomerSpecifiedEncryption"),
        (other, "BlobCustomerSpecifiedEncryptionMismatch"),
    ):
        for method in ("GET", "HEAD"):
            assert raw.signed(method, path, given).outcome == (409, code)
    assert raw.signed("PUT", raw.path("keys/b?comp=metadata"), {}).code == "BlobUsesCustomerSpecifiedEncryption"
    lied = own | {"x-ms-encryption-key-sha256": other["x-ms-encryption-key-sha256"]}
    assert raw.signed("GET", path, lied).code == "InvalidHeaderValue"
    assert raw.signed("GET", path, own | {"x-ms-encryption-algorithm": ""}).code == "MissingRequiredHeader"
    assert raw.signed("GET", path, own | {"x-ms-encryption-key": "c2hvcnQ="}).code == "InvalidHeaderValue"
    copy = {"x-ms-copy-source": f"http://{raw.host}:{raw.port}{path}"}
    assert raw.signed("PUT", raw.path("keys/copy"), copy).status == 409
    listed = raw.signed("GET", raw.path("keys?restype=container&comp=list")).xml
    assert listed.findtext(".//CustomerProvidedKeySha256") == own["x-ms-encryption-key-sha256"]


@pytest.mark.parametrize("name", ["blob-0.36.0", "blob-2.1.0"])
def test_append_and_page_blob_services_of_old(blob_server: Server, name: str) -> None:
    account, key = blob_server.credentials["STORAGE_ACCOUNT_NAME"], blob_server.credentials["STORAGE_ACCOUNT_KEY"]
    done = run_client(name, CLIENTS / "append_and_page_blob_services.py", account, key, blob_server.blob_url)
    assert done.stdout == "done\n"


class Appender(threading.Thread):
    """Appends numbered lines until the service is gone."""

    def __init__(self, raw: RawClient, name: str) -> None:
        super().__init__()
        self.raw = raw
        self.path = raw.path(f"cont/{name}")
        self.acknowledged = 0
        self.sizes = random.Random(name)

    def run(self) -> None:
        try:
            while True:
                line = self.line(self.acknowledged)
                assert self.raw.signed("PUT", f"{self.path}?comp=appendblock", {}, line).status == 201
                self.acknowledged += 1
        except (OSError, ValueError, AssertionError):
            return  # killed

    @staticmethod
    def line(number: int) -> bytes:
        """Some lines are large enough for a file of their own."""
        return f"{number:0{400_000 if number % 7 == 6 else 20}}\n".encode()


class PageWriter(Appender):
    """Puts numbers over numbers in four pages."""

    def run(self) -> None:
        try:
            while True:
                begin = self.acknowledged % 4 * PAGE
                about = {"x-ms-page-write": "update", "x-ms-range": f"bytes={begin}-{begin + PAGE - 1}"}
                page = f"{self.acknowledged:0{PAGE}}".encode()
                assert self.raw.signed("PUT", f"{self.path}?comp=page", about, page).status == 201
                self.acknowledged += 1
        except (OSError, ValueError, AssertionError):
            return  # killed


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", "--only", "blob")
    try:
        raw = RawClient.of(server.credentials)
        raw.signed("PUT", raw.path("cont?restype=container"))
        assert raw.signed("PUT", raw.path("cont/log"), {"x-ms-blob-type": "AppendBlob"}).status == 201
        size = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(4 * PAGE)}
        assert raw.signed("PUT", raw.path("cont/disk"), size).status == 201
        appender: Appender = Appender(raw, "log")
        writer: Appender = PageWriter(raw, "disk")
        for _ in range(2):
            for thread in (appender, writer):
                thread.start()
            time.sleep(random.uniform(0.3, 0.8))
            os.kill(server.service_pid("blob"), signal.SIGKILL)
            server.kill_all()
            for thread in (appender, writer):
                thread.join()
            server = start_server(tmp_path / "data", "--only", "blob")
            raw = RawClient.of(server.credentials)
            check_log(raw, appender)
            check_disk(raw, writer)
            appender, writer = again(raw, appender), again(raw, writer)
        assert appender.acknowledged + writer.acknowledged > 20
    finally:
        server.kill()


def again(raw: RawClient, before: Appender) -> Appender:
    following = type(before)(raw, before.path.rpartition("/")[2])
    following.acknowledged = before.acknowledged
    return following


def check_log(raw: RawClient, appender: Appender) -> None:
    """All that was acknowledged is there, and at most one line more."""
    found = raw.signed("GET", appender.path).body
    expected = b"".join(appender.line(number) for number in range(appender.acknowledged))
    assert found.startswith(expected)
    assert found[len(expected) :] in (b"", appender.line(appender.acknowledged))
    appender.acknowledged += len(found) > len(expected)


def check_disk(raw: RawClient, writer: Appender) -> None:
    found = raw.signed("GET", writer.path).body
    done = writer.acknowledged
    for index in range(4):
        last = done - 1 - (done - 1 - index) % 4
        possible = [last, done] if done % 4 == index else [last]
        page = found[index * PAGE : (index + 1) * PAGE]
        assert page in [f"{number:0{PAGE}}".encode() if number >= 0 else bytes(PAGE) for number in possible]
