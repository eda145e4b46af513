"""The newest azure-storage-blob against a real server."""

from __future__ import annotations

import hashlib
import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobPrefix,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    PremiumPageBlobTier,
    StandardBlobTier,
    generate_blob_sas,
)
from tests.servers import Server
from tests.wire.blob.raw import RawClient

#: Several blocks, and a rest.
LARGE = os.urandom((1 << 20) + (900 << 10) + 13)


def code_of(failure: pytest.ExceptionInfo[HttpResponseError]) -> str:
    code: str = failure.value.error_code  # type: ignore[attr-defined]
    return code


def test_a_container_from_its_creation_to_its_deletion(service: BlobServiceClient) -> None:
    container = service.get_container_client("first-container")
    assert not container.exists()
    created = container.create_container(metadata={"Owner": "me"})
    assert container.exists()
    properties = container.get_container_properties()
    assert (properties.name, properties.metadata, properties.etag) == (
        "first-container",
        {"Owner": "me"},
        created["etag"],
    )
    with pytest.raises(ResourceExistsError) as failure:
        container.create_container()
    assert code_of(failure) == "ContainerAlreadyExists"
    changed = container.set_container_metadata({"b": "2"})
    assert changed["etag"] != created["etag"]
    assert container.get_container_properties().metadata == {"b": "2"}
    (listed,) = service.list_containers("first-", include_metadata=True)
    assert (listed.name, listed.metadata) == ("first-container", {"b": "2"})
    container.delete_container()
    assert not container.exists()
    with pytest.raises(ResourceNotFoundError) as missing:
        container.delete_container()
    assert code_of(missing) == "ContainerNotFound"


def test_containers_are_listed_in_pages(service: BlobServiceClient) -> None:
    names = [f"paged-{number}" for number in range(5)]
    for name in names:
        service.create_container(name)
    pages = [[found.name for found in page] for page in service.list_containers("paged-", results_per_page=2).by_page()]
    assert pages == [names[:2], names[2:4], names[4:]]
    for name in names:
        service.delete_container(name)


@pytest.mark.parametrize("data", [b"", b"hello", os.urandom(40_000), LARGE], ids=["empty", "small", "file", "blocks"])
def test_any_size_comes_back_as_it_was(container: ContainerClient, data: bytes) -> None:
    blob = container.get_blob_client("dir/a b+c%2F å.bin")
    blob.upload_blob(data)
    assert blob.download_blob().readall() == data
    assert blob.download_blob(max_concurrency=3).readall() == data
    assert blob.get_blob_properties().size == len(data)
    assert blob.exists()
    blob.delete_blob()
    assert not blob.exists()


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (5, 100_000), (300_000, 900_000), (len(LARGE) - 3, 3)])
@pytest.mark.parametrize("largest_put", [len(LARGE), 0], ids=["one file", "blocks"])
def test_a_part_of_a_blob(
    blob_server: Server, container: ContainerClient, offset: int, length: int, largest_put: int
) -> None:
    with BlobClient.from_connection_string(
        blob_server.credentials["STORAGE_CONNECTION_STRING"],
        container.container_name,
        "b",
        max_single_put_size=largest_put,
        max_block_size=256 << 10,
        retry_total=0,
    ) as blob:
        blob.upload_blob(LARGE)
        downloaded = blob.download_blob(offset, length)
        assert downloaded.readall() == LARGE[offset : offset + length]
        assert downloaded.properties.size == length
        with pytest.raises(HttpResponseError) as failure:
            blob.download_blob(len(LARGE), 5)
        assert code_of(failure) == "InvalidRange"


def test_streams_and_files_go_up_and_down(container: ContainerClient, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(LARGE)
    with source.open("rb") as stream:
        container.upload_blob("from-file", stream)
    container.upload_blob("from-generator", (LARGE[start : start + 99_999] for start in range(0, len(LARGE), 99_999)))
    container.upload_blob("from-stream", io.BytesIO(LARGE), length=len(LARGE))
    for name in ("from-file", "from-generator", "from-stream"):
        with target.open("wb") as stream:
            container.download_blob(name).readinto(stream)
        assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(LARGE).digest()


def test_properties_metadata_and_tier(container: ContainerClient) -> None:
    blob = container.get_blob_client("b")
    settings = ContentSettings("text/plain", "identity", "en", "inline", "no-cache", bytearray(16))
    with pytest.raises(HttpResponseError) as failure:
        blob.upload_blob(b"hello", content_settings=settings)
    assert code_of(failure) == "Md5Mismatch"
    settings.content_md5 = None
    blob.upload_blob(
        b"hello", content_settings=settings, metadata={"Key": "v"}, standard_blob_tier=StandardBlobTier.COOL
    )
    found = blob.get_blob_properties()
    assert found.metadata == {"Key": "v"}
    assert found.blob_tier == "Cool"
    assert found.blob_type == "BlockBlob"
    assert found.content_settings.content_type == "text/plain"
    assert found.content_settings.content_disposition == "inline"
    assert bytes(found.content_settings.content_md5 or b"") == hashlib.md5(b"hello").digest()
    assert found.creation_time <= found.last_modified <= datetime.now(UTC)
    blob.set_blob_metadata({"other": "w"})
    blob.set_http_headers(ContentSettings(content_type="a/b"))
    again = blob.get_blob_properties()
    assert (again.metadata, again.content_settings.content_type) == ({"other": "w"}, "a/b")
    assert again.content_settings.content_disposition is None
    assert again.etag != found.etag
    (listed,) = container.list_blobs(include=["metadata"])
    assert (listed.metadata, listed.etag.strip('"'), listed.size) == ({"other": "w"}, again.etag.strip('"'), 5)


def test_checksums_are_checked_both_ways(container: ContainerClient) -> None:
    blob = container.get_blob_client("b")
    for data in (b"hello", LARGE):
        blob.upload_blob(data, validate_content=True, overwrite=True)
        assert blob.download_blob(validate_content=True).readall() == data


def test_conditions_guard_writes_and_reads(container: ContainerClient) -> None:
    blob = container.get_blob_client("b")
    first = blob.upload_blob(b"1")
    with pytest.raises(ResourceExistsError) as exists:
        blob.upload_blob(b"2")
    assert code_of(exists) == "BlobAlreadyExists"
    with pytest.raises(ResourceExistsError):
        blob.upload_blob(LARGE)  # a block list
    blob.upload_blob(b"2", overwrite=True)
    stale = {"etag": first["etag"], "match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError) as modified:
        blob.upload_blob(b"3", overwrite=True, **stale)
    assert code_of(modified) == "ConditionNotMet"
    for act in (blob.download_blob, blob.delete_blob, blob.get_blob_properties):
        with pytest.raises(ResourceModifiedError):
            act(**stale)
    with pytest.raises(HttpResponseError) as unchanged:
        blob.download_blob(if_modified_since=datetime.now(UTC) + timedelta(seconds=2))
    assert unchanged.value.status_code == 304
    assert blob.download_blob().readall() == b"2"


def test_blocks_by_hand(container: ContainerClient) -> None:
    blob = container.get_blob_client("b")
    for name in ("one", "two"):
        blob.stage_block(name, f"<{name}>".encode())
    committed, uncommitted = blob.get_block_list("all")
    assert (committed, [(block.id, block.size) for block in uncommitted]) == ([], [("one", 5), ("two", 5)])
    assert not blob.exists()
    assert [found.name for found in container.list_blobs()] == []
    assert [found.name for found in container.list_blobs(include=["uncommittedblobs"])] == ["b"]
    blob.commit_block_list([BlobBlock("two"), BlobBlock("one")])
    assert blob.download_blob().readall() == b"<two><one>"
    with pytest.raises(HttpResponseError) as failure:
        blob.commit_block_list([BlobBlock("three")])
    assert code_of(failure) == "InvalidBlockList"


def test_lists_by_prefix_delimiter_and_page(container: ContainerClient) -> None:
    names = ["a.txt", "dir/1", "dir/2", "dir/sub/3", "dir2/4", "å <&>.txt"]
    for name in reversed(names):
        container.upload_blob(name, b"x")
    assert [found.name for found in container.list_blobs()] == names
    assert list(container.list_blob_names(name_starts_with="dir/")) == names[1:4]
    pages = [[found.name for found in page] for page in container.list_blobs(results_per_page=4).by_page()]
    assert pages == [names[:4], names[4:]]
    walked = [(type(found) is BlobPrefix, found.name) for found in container.walk_blobs()]
    assert sorted(walked) == [(False, "a.txt"), (False, "å <&>.txt"), (True, "dir/"), (True, "dir2/")]
    assert {found.name for found in container.walk_blobs("dir/")} == {"dir/1", "dir/2", "dir/sub/"}
    pages = [[found.name for found in page] for page in container.walk_blobs(results_per_page=1).by_page()]
    assert pages == [["a.txt"], ["dir/"], ["dir2/"], ["å <&>.txt"]]
    assert [found.name for found in container.list_blobs(start_from="dir/2")] == names[2:]


def test_names_that_xml_has_no_way_to_write(container: ContainerClient) -> None:
    names = ["a\x01b", "a\ufffe%41", "a//b", "%2e%2e", "C:\\x", " "]
    for number, name in enumerate(names):
        container.upload_blob(name, str(number).encode())
    listed = {found.name: container.download_blob(found.name).readall() for found in container.list_blobs()}
    assert listed == {name: str(number).encode() for number, name in enumerate(names)}


def readable(service: BlobServiceClient, blob: BlobClient) -> str:
    """The blob's URL with leave to read it."""
    sas = generate_blob_sas(
        service.account_name or "",
        blob.container_name,
        blob.blob_name,
        account_key=service.credential.account_key,
        permission="r",
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return f"{blob.url}?{sas}"


def test_copies_within_the_account(service: BlobServiceClient, container: ContainerClient) -> None:
    source = container.get_blob_client("source å")
    source.upload_blob(LARGE, metadata={"a": "1"}, content_settings=ContentSettings("text/plain"))
    target = container.get_blob_client("target")
    started = target.start_copy_from_url(source.url)
    assert started["copy_status"] == "success"
    properties = target.get_blob_properties()
    assert properties.copy.id == started["copy_id"]
    assert properties.copy.source == source.url
    assert (properties.metadata, properties.content_settings.content_type) == ({"a": "1"}, "text/plain")
    target.start_copy_from_url(readable(service, source), metadata={"b": "2"}, requires_sync=True)
    assert target.get_blob_properties().metadata == {"b": "2"}
    source.delete_blob()
    assert target.download_blob().readall() == LARGE
    with pytest.raises(ResourceNotFoundError):
        target.start_copy_from_url(source.url)
    other = service.create_container("copy-target").get_blob_client("x")
    other.upload_blob_from_url(readable(service, target))
    assert other.download_blob().readall() == LARGE
    other.stage_block_from_url("1", readable(service, target), 100, 300_000)
    other.stage_block_from_url("2", readable(service, target), 0, 3)
    other.commit_block_list([BlobBlock("2"), BlobBlock("1")])
    assert other.download_blob().readall() == LARGE[:3] + LARGE[100:300_100]
    service.delete_container("copy-target")


def test_sources_whose_urls_are_not_encoded(
    service: BlobServiceClient, container: ContainerClient, raw: RawClient
) -> None:
    """Clients of before 2019 send them as they are given, Latin-1 as such."""
    source, target = container.get_blob_client("a b/å%"), container.get_blob_client("target")
    source.upload_blob(b"hello")
    path, token = raw.path(f"{container.container_name}/target"), readable(service, source).partition("?")[2]
    url = f"{container.url}/a b/å%25"
    for written in (url, url.encode().decode("latin-1")):
        assert raw.signed("PUT", path, {"x-ms-copy-source": written}).status == 202
        assert target.download_blob().readall() == b"hello"
        target.delete_blob()
        headers = {"x-ms-copy-source": f"{written}?{token}", "x-ms-blob-type": "BlockBlob"}
        assert raw.signed("PUT", path, headers).status == 201
        assert target.download_blob().readall() == b"hello"
        target.delete_blob()


def test_tiers_of_page_blobs(container: ContainerClient) -> None:
    blob, block = container.get_blob_client("b"), container.get_blob_client("block")
    blob.create_page_blob(512, premium_page_blob_tier=PremiumPageBlobTier.P10)
    copy = container.get_blob_client("copy")
    copy.start_copy_from_url(blob.url, premium_page_blob_tier=PremiumPageBlobTier.P20)
    assert [each.get_blob_properties().blob_tier for each in (blob, copy)] == ["P10", "P20"]
    block.upload_blob(b"")
    for act in (
        lambda: blob.set_premium_page_blob_tier(PremiumPageBlobTier.P20),
        lambda: blob.set_standard_blob_tier("Cool"),
        lambda: block.set_premium_page_blob_tier(PremiumPageBlobTier.P20),
        lambda: copy.start_copy_from_url(blob.url, standard_blob_tier=StandardBlobTier.COOL),
        lambda: copy.start_copy_from_url(block.url, premium_page_blob_tier=PremiumPageBlobTier.P20),
    ):
        with pytest.raises(HttpResponseError) as failure:
            act()
        assert (failure.value.status_code, code_of(failure)) == (400, "InvalidBlobTier")


def test_what_is_not_there(service: BlobServiceClient, container: ContainerClient) -> None:
    for blob, code in (
        (container.get_blob_client("gone"), "BlobNotFound"),
        (service.get_blob_client("gone-container", "b"), "ContainerNotFound"),
    ):
        for act in (blob.download_blob, blob.get_blob_properties, blob.delete_blob):
            with pytest.raises(ResourceNotFoundError) as failure:
                act()
            assert code_of(failure) == code


def test_account_information(service: BlobServiceClient) -> None:
    information: dict[str, object] = dict(service.get_account_information())
    assert (information["account_kind"], information["is_hns_enabled"]) == ("StorageV2", False)
    assert information["sku_name"] == "Standard_RAGRS"  # there is a secondary endpoint
