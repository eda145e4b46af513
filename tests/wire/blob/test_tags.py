"""Tags: set, read, demanded and searched by the newest SDK, and who may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    generate_blob_sas,
    generate_container_sas,
)
from tests.wire.blob.raw import RawClient

TAGS = {"project": "mill pond", "a+b/c:d=e_f.g-h": "x+y"}
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}


def make_sas(raw: RawClient, container: ContainerClient, permission: str, blob: str | None = None) -> str:
    fields: dict[str, Any] = {"permission": permission, "expiry": datetime.now(UTC) + timedelta(hours=1)}
    if blob:
        return generate_blob_sas(raw.account, container.container_name, blob, account_key=raw.key, **fields)
    return generate_container_sas(raw.account, container.container_name, account_key=raw.key, **fields)


def test_tags_are_kept_with_blobs_and_snapshots_and_not_with_what_replaces_them(container: ContainerClient) -> None:
    blob = container.upload_blob("b", b"x", tags=TAGS)
    assert blob.get_blob_tags() == TAGS
    before = blob.get_blob_properties()
    assert before.tag_count == 2
    snapshot = container.get_blob_client("b", snapshot=str(blob.create_snapshot()["snapshot"]))
    blob.set_blob_tags({"only": ""})
    after = blob.get_blob_properties()
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)
    assert blob.get_blob_tags() == {"only": ""}
    assert snapshot.get_blob_tags() == TAGS
    with pytest.raises(HttpResponseError):
        snapshot.set_blob_tags({})
    (listed,) = container.list_blobs(include=["tags"])
    assert (listed.tags, listed.tag_count) == ({"only": ""}, 1)
    (listed,) = container.list_blobs()
    assert not listed.tags
    blob.set_blob_metadata({"m": "1"})
    assert blob.get_blob_tags() == {"only": ""}
    container.upload_blob("b", b"y", overwrite=True)
    assert not blob.get_blob_tags()
    assert blob.get_blob_properties().tag_count is None


def test_conditions_on_tags(container: ContainerClient) -> None:
    blob = container.upload_blob("b", b"x", tags={"state": "draft", "n": "5"})
    holds: dict[str, Any] = {"if_tags_match_condition": "state='draft' AND n>'4'"}
    fails: dict[str, Any] = {"if_tags_match_condition": "state='final' OR \"n\"<>'5'"}
    lease = container.upload_blob("leased", b"x", tags={"state": "draft"})
    for act in (
        lambda **given: blob.download_blob(**given).readall(),
        blob.get_blob_properties,
        blob.create_snapshot,
        lambda **given: blob.set_blob_metadata({}, **given),
        lambda **given: blob.set_http_headers(None, **given),
        lambda **given: blob.set_standard_blob_tier("Cool", **given),
        blob.get_block_list,
        lambda **given: blob.set_blob_tags({"state": "draft", "n": "5"}, **given),
        blob.get_blob_tags,
        lambda **given: blob.upload_blob(b"y", overwrite=True, tags={"state": "draft", "n": "5"}, **given),
        lambda **given: blob.delete_blob(delete_snapshots="include", **given),
    ):
        with pytest.raises(ResourceModifiedError) as failure:
            act(**fails)
        assert (failure.value.status_code, failure.value.error_code) == (412, "ConditionNotMet")  # type: ignore[attr-defined]
        act(**holds)
    with pytest.raises(ResourceModifiedError):
        lease.acquire_lease(if_tags_match_condition="state='final'")
    with pytest.raises(ResourceModifiedError):
        container.upload_blob("new", b"y", overwrite=True, if_tags_match_condition="state='draft'")


def test_copies_take_tags_over_where_they_are_asked_to(container: ContainerClient, raw: RawClient) -> None:
    source = container.upload_blob("source", b"x", tags=TAGS)
    copy = container.get_blob_client("copy")
    copy.start_copy_from_url(source.url)
    assert not copy.get_blob_tags()
    copy.start_copy_from_url(source.url, tags={"mine": "1"})
    assert copy.get_blob_tags() == {"mine": "1"}
    readable = f"{source.url}?{make_sas(raw, container, 'r', 'source')}"
    with pytest.raises(HttpResponseError) as failure:
        copy.start_copy_from_url(readable, requires_sync=True, tags="COPY")
    assert failure.value.error_code == "CannotVerifyCopySource"  # type: ignore[attr-defined]
    with_tags = f"{source.url}?{make_sas(raw, container, 'rt', 'source')}"
    copy.start_copy_from_url(with_tags, requires_sync=True, tags="COPY")
    assert copy.get_blob_tags() == TAGS
    copy.delete_blob()
    copy.upload_blob_from_url(with_tags, headers={"x-ms-copy-source-tag-option": "COPY"})
    assert copy.get_blob_tags() == TAGS


@pytest.mark.parametrize("requires_sync", [True, False])
@pytest.mark.parametrize("header", ["x-ms-source-if-tags", "x-ms-if-tags"])
def test_a_copy_may_demand_tags_of_either_side(
    container: ContainerClient, raw: RawClient, header: str, requires_sync: bool
) -> None:
    source = container.upload_blob("source", b"x", tags=TAGS)
    copy = container.upload_blob("copy", b"", tags=TAGS)
    readable = f"{source.url}?{make_sas(raw, container, 'rt', 'source')}"
    with pytest.raises(ResourceModifiedError) as failure:
        copy.start_copy_from_url(readable, requires_sync=requires_sync, headers={header: "project='none'"})
    assert (failure.value.status_code, failure.value.error_code) == (412, "ConditionNotMet")  # type: ignore[attr-defined]
    copy.start_copy_from_url(readable, requires_sync=requires_sync, headers={header: "project='mill pond'"})
    assert copy.download_blob().readall() == b"x"


def test_blobs_are_found_by_tags(service: BlobServiceClient, container: ContainerClient) -> None:
    other = service.create_container(f"{container.container_name}-2")
    try:
        for number in range(7):
            place = other if number % 2 else container
            place.upload_blob(f"b{number}", b"", tags={"kind": "found", "n": str(number), "rest": "r"})
        container.upload_blob("plain", b"")
        container.upload_blob("else", b"", tags={"kind": "lost"})
        pages = service.find_blobs_by_tags("kind='found' AND n>='2'", results_per_page=2).by_page()
        found = [[(blob.container_name, blob.name, blob.tags) for blob in page] for page in pages]
        one, two = container.container_name, other.container_name
        flat = [(each[0], each[1]) for page in found for each in page]
        assert flat == [(one, "b2"), (one, "b4"), (one, "b6"), (two, "b3"), (two, "b5")]
        assert [len(page) for page in found] == [2, 2, 1]
        assert found[0][0][2] == {"kind": "found", "n": "2"}
        within = service.find_blobs_by_tags(f"@container='{two}' AND kind='found'")
        assert [blob.name for blob in within] == ["b1", "b3", "b5"]
        assert [blob.name for blob in container.find_blobs_by_tags("n<'3' AND kind='found'")] == ["b0", "b2"]
        with pytest.raises(HttpResponseError) as failure:
            list(service.find_blobs_by_tags("kind='found' OR n='1'"))
        assert failure.value.error_code == "InvalidQueryParameterValue"  # type: ignore[attr-defined]
    finally:
        other.delete_container()


def test_who_may(container: ContainerClient, raw: RawClient) -> None:
    container.upload_blob("b", b"x", tags=TAGS)
    with BlobClient.from_blob_url(container.get_blob_client("b").url, make_sas(raw, container, "t", "b")) as client:
        assert client.get_blob_tags() == TAGS
        client.set_blob_tags(TAGS)
    path = f"{raw.path(container.container_name)}"

    def outcome(method: str, rest: str, permission: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        mark = "&" if "?" in rest else "?"
        answer = raw.send(
            method,
            f"{path}{rest}{mark}{make_sas(raw, container, permission)}",
            {"content-length": "0", **BLOCK_BLOB, **(headers or {})},
        )
        return answer.outcome

    refused = (403, "AuthorizationPermissionMismatch")
    assert outcome("GET", "/b?comp=tags", "racwdl") == refused
    assert outcome("PUT", "/new", "cw", {"x-ms-tags": "a=1"}) == refused
    assert outcome("PUT", "/new", "cwt", {"x-ms-tags": "a=1"}) == (201, "")
    assert outcome("GET", "/b", "r", {"x-ms-if-tags": "a='1'"}) == refused
    assert outcome("GET", "/b", "rt", {"x-ms-if-tags": "a='1'"}) == (412, "ConditionNotMet")
    listing = "?restype=container&comp=list&include=tags"
    assert outcome("GET", listing, "l") == refused
    assert outcome("GET", listing, "lt") == (200, "")
    search = "?restype=container&comp=blobs&where=a%3D%271%27"
    assert outcome("GET", search, "lrt") == refused
    assert outcome("GET", search, "f") == (200, "")
    for permission, count in (("r", None), ("rt", "2")):
        answer = raw.send("HEAD", f"{path}/b?{make_sas(raw, container, permission)}")
        assert answer.headers["x-ms-tag-count"] == count
