"""Blob Batch with the newest SDK, and batches that no SDK sends."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    PartialBatchErrorException,
    generate_account_sas,
    generate_container_sas,
)
from tests.wire.blob.raw import Answer, RawClient

VERSION = "2021-12-02"
LATER = datetime.now(UTC) + timedelta(hours=1)


def statuses(answers: object) -> list[int]:
    return [answer.status_code for answer in answers]  # type: ignore[attr-defined]


def test_deleting_many(container: ContainerClient, service: BlobServiceClient) -> None:
    names = [f"dir/å b+{number}" for number in range(256)]
    for name in names:
        container.upload_blob(name, b"")
    assert statuses(container.delete_blobs(*names)) == [202] * 256
    assert not list(container.list_blobs())
    container.upload_blob("b", b"")
    with pytest.raises(PartialBatchErrorException) as failure:
        container.delete_blobs("b", "none")
    answers = failure.value.parts
    assert statuses(answers) == [202, 404]
    assert answers[1].headers["x-ms-error-code"] == "BlobNotFound"
    assert answers[0].headers["x-ms-request-id"] != answers[1].headers["x-ms-request-id"]


def test_setting_tiers(container: ContainerClient) -> None:
    for name in ("a", "b"):
        container.upload_blob(name, b"")
    assert statuses(container.set_standard_blob_tier_blobs("Cool", "a", "b")) == [200, 200]
    assert {blob.blob_tier for blob in container.list_blobs()} == {"Cool"}
    leased = container.get_blob_client("a").acquire_lease()
    answers = list(container.delete_blobs("a", "b", raise_on_any_failure=False))
    assert statuses(answers) == [412, 202]
    leased.release()


def test_signatures_open_what_they_are_for(container: ContainerClient, raw: RawClient) -> None:
    for name in ("a", "b"):
        container.upload_blob(name, b"")
    readable = generate_container_sas(
        raw.account, container.container_name, account_key=raw.key, permission="rw", expiry=LATER
    )
    deleting = generate_account_sas(raw.account, raw.key, resource_types="sco", permission="d", expiry=LATER)
    with ContainerClient.from_container_url(f"{container.url}?{readable}") as client:
        answers = list(client.delete_blobs("a", raise_on_any_failure=False))
        assert statuses(answers) == [403]
        assert statuses(client.set_standard_blob_tier_blobs("Cool", "a")) == [200]
    with ContainerClient.from_container_url(f"{container.url}?{deleting}") as client:
        assert statuses(client.delete_blobs("a", "b")) == [202, 202]


def post(
    raw: RawClient, path: str, parts: list[tuple[str, str, dict[str, str]]], *, written: str = "b", content_id: str = ""
) -> Answer:
    """A batch of requests by method, path and headers; without a header for it, each is signed.

    ``written`` is the boundary as the header has it.
    """
    boundary = written.partition(";")[0].strip('"')
    head = f"--{boundary}\r\nContent-Type: application/http\r\n"
    head += f"Content-ID: {content_id}\r\n" if content_id else ""
    body = ""
    for method, target, headers in parts:
        full = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION, **headers}
        if "Authorization" not in full:
            full["Authorization"] = f"SharedKey {raw.account}:{raw.sign(method, target, full)}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in full.items())
        body += f"{head}\r\n{method} {target} HTTP/1.1\r\n{lines}\r\n\r\n"
    body += f"--{boundary}--\r\n"
    return raw.signed("POST", path, {"content-type": f"multipart/mixed; boundary={written}"}, body.encode())


@pytest.mark.parametrize(
    "written", ["================5400007017440375702==", "=12==", '"=a b="', "a:b", "b; charset=utf-8"]
)
def test_boundaries(raw: RawClient, container: ContainerClient, written: str) -> None:
    """The oldest and the asynchronous clients make up one that begins with equals signs, and put it into no quotes."""
    path = raw.path(container.container_name)
    container.upload_blob("b", b"")
    answer = post(raw, f"{path}?restype=container&comp=batch", [("DELETE", f"{path}/b", {})], written=written)
    assert answer.status == 202
    assert b"HTTP/1.1 202 " in answer.body
    assert not container.get_blob_client("b").exists()


def test_the_id_of_a_part_is_one_line(raw: RawClient, container: ContainerClient) -> None:
    path = raw.path(container.container_name)
    parts: list[tuple[str, str, dict[str, str]]] = [("DELETE", f"{path}/b", {})]
    answer = post(raw, f"{path}?restype=container&comp=batch", parts, content_id="0\r\n Set-Cookie: b")
    assert answer.status == 202
    assert b"\r\nContent-ID: 0 Set-Cookie: b\r\n" in answer.body


def test_what_is_no_batch(raw: RawClient, container: ContainerClient) -> None:
    path = raw.path(container.container_name)
    batch = f"{path}?restype=container&comp=batch"
    delete = ("DELETE", f"{path}/b", {"Content-Length": "0"})
    tier = ("PUT", f"{path}/b?comp=tier", {"x-ms-access-tier": "Cool"})
    assert post(raw, batch, [delete] * 257).outcome == (400, "ExceedsMaxBatchRequestCount")
    assert post(raw, batch, [delete, tier]).outcome == (400, "AllBatchSubRequestsShouldBeSameApi")
    assert post(raw, batch, []).outcome == (400, "InvalidInput")
    assert raw.signed("POST", batch, {"content-type": "text/plain"}, b"x").outcome == (400, "InvalidHeaderValue")
    for body in (b"", b"--b\r\n\r\nx\r\n--b--", b"--b\r\nContent-Type: application/http\r\n\r\n\x00\r\n--b--"):
        answer = raw.signed("POST", batch, {"content-type": "multipart/mixed; boundary=b"}, body)
        assert answer.outcome == (400, "InvalidInput")


def test_parts_lead_nowhere_else(raw: RawClient, container: ContainerClient) -> None:
    path = raw.path(container.container_name)
    batch = f"{path}?restype=container&comp=batch"
    other = raw.path("other-of-batch")
    raw.signed("PUT", f"{other}?restype=container")
    raw.signed("PUT", f"{other}/b", {"x-ms-blob-type": "BlockBlob"})
    nested = ("POST", batch, {"Content-Length": "0"})
    for part in (("DELETE", f"{other}/b", {}), ("GET", f"{path}/b", {}), nested, ("PUT", f"{path}/b", {})):
        answer = post(raw, batch, [part])
        assert answer.status == 202
        assert b"HTTP/1.1 400 " in answer.body
    for headers in ({"Authorization": "SharedKey other:eA=="}, {"Authorization": f"SharedKey {raw.account}:eA=="}):
        answer = post(raw, f"{raw.path('')}?comp=batch", [("DELETE", f"{other}/b", headers)])
        assert b"HTTP/1.1 403 " in answer.body
    split = {"x-ms-client-request-id": "a\r\n Set-Cookie: b"}
    assert post(raw, batch, [("DELETE", f"{path}/b", split)]).outcome == (400, "InvalidInput")
    assert raw.signed("HEAD", f"{other}/b").status == 200
    # The account may be left out of a part's path, as old clients do.
    unnamed = f"/{container.container_name}/b"
    assert b"HTTP/1.1 404 " in post(raw, batch, [("DELETE", unnamed, {})]).body
