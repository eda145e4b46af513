"""What blobs of every kind have: properties, metadata, snapshots, downloads, copies, deletion."""

import datetime
import hashlib
import io
import tempfile
from pathlib import Path

from azure.core import MatchConditions
from azure.storage.blob import BlobClient, ContentSettings, RetentionPolicy, StandardBlobTier
from common import (
    ACCOUNT,
    LARGE,
    LATER,
    NOW,
    OPTIONS,
    VERSION,
    checks,
    content,
    failing,
    library,
    new_container,
    readable,
    service,
    signed,
)
from recording import wait_for
from slow_source import CONTENT, slow_source


def unless_modified(etag):
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


@checks.of("BlobClient.get_blob_properties", "BlobClient.set_http_headers", "BlobClient.set_blob_metadata")
def properties_and_metadata():
    blob = new_container("properties").get_blob_client("b")
    settings = ContentSettings("text/plain", "identity", "en", "inline", "no-cache")
    odd = {"Key": "two  words", "_9": "a,b", "x": 'e=mc2;"<&>'}
    blob.upload_blob(b"hello", content_settings=settings, metadata=odd, standard_blob_tier=StandardBlobTier("Cool"))
    found = blob.get_blob_properties()
    expected = ("text/plain", "identity", "en", "inline", "no-cache", hashlib.md5(b"hello").digest())
    told = found.content_settings
    assert (
        told.content_type,
        told.content_encoding,
        told.content_language,
        told.content_disposition,
        told.cache_control,
        bytes(told.content_md5),
    ) == expected, vars(told)
    assert found.metadata == odd, found.metadata
    assert (found.name, found.size, found.blob_type, found.blob_tier) == ("b", 5, "BlockBlob", "Cool")
    assert found.server_encrypted is True
    assert found.creation_time <= found.last_modified
    blob.set_http_headers(ContentSettings(content_type="a/b", content_language="fr"))
    changed = blob.get_blob_properties()
    assert (changed.content_settings.content_type, changed.content_settings.content_language) == ("a/b", "fr")
    assert (changed.content_settings.content_md5, changed.content_settings.cache_control) == (None, None)
    assert changed.etag != found.etag
    failing(412, blob.set_blob_metadata, {"a": "1"}, code="ConditionNotMet", **unless_modified(found.etag))
    assert blob.set_blob_metadata({"Aa": "1"}, **unless_modified(changed.etag))["etag"] != changed.etag
    assert blob.get_blob_properties().metadata == {"Aa": "1"}
    blob.set_blob_metadata()
    assert blob.get_blob_properties().metadata == {}
    failing(304, blob.get_blob_properties, if_modified_since=LATER)
    failing(400, blob.set_blob_metadata, {"a-b": "1"}, code="InvalidMetadata")
    failing(400, blob.set_blob_metadata, {"a": "x" * 9000}, code="MetadataTooLarge")


@checks.of("BlobClient.exists", unless=VERSION < (12, 8))
def existence():
    blob = new_container("existence").get_blob_client("b")
    assert not blob.exists()
    blob.upload_blob(b"")
    assert blob.exists()
    assert not service.get_blob_client("no-such-container", "b").exists()


@checks.of("BlobClient.create_snapshot", "BlobClient.delete_blob")
def snapshots():
    container = new_container("snapshots")
    blob = container.upload_blob("b", b"one", metadata={"a": "1"})
    first = blob.create_snapshot(timeout=20)
    second = blob.create_snapshot(metadata={"b": "2"})
    assert first["snapshot"] < second["snapshot"]
    assert first["etag"] == blob.get_blob_properties().etag
    blob.upload_blob(b"three", overwrite=True)
    past = [container.get_blob_client("b", snapshot=each) for each in (first, second["snapshot"])]
    assert [content(each) for each in past] == [b"one", b"one"]
    assert [each.get_blob_properties().metadata for each in past] == [{"a": "1"}, {"b": "2"}]
    failing(409, blob.delete_blob, code="SnapshotsPresent")
    past[0].delete_blob()
    failing(404, past[0].get_blob_properties, code="BlobNotFound")
    blob.delete_blob(delete_snapshots="only")
    failing(404, past[1].get_blob_properties, code="BlobNotFound")
    assert content(blob) == b"three"
    blob.create_snapshot()
    failing(412, blob.delete_blob, "include", if_unmodified_since=NOW - datetime.timedelta(days=1))
    blob.delete_blob("include")
    failing(404, blob.get_blob_properties, code="BlobNotFound")
    failing(404, blob.delete_blob, code="BlobNotFound")


@checks.of("BlobClient.undelete_blob", "ContainerClient.delete_blob", "ContainerClient.list_blobs")
def undelete():
    container = new_container("undelete")
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=7))
    try:
        assert service.get_service_properties()["delete_retention_policy"].days == 7
        blob = container.upload_blob("b", b"hello", metadata={"a": "1"})
        snapshot = blob.create_snapshot()["snapshot"]
        container.delete_blob("b", delete_snapshots="include")
        assert not list(container.list_blobs())
        found = list(container.list_blobs(include=["deleted", "snapshots"]))
        assert [(each.snapshot, each.deleted) for each in found] == [(snapshot, True), (None, True)], found
        assert {each.remaining_retention_days for each in found} <= {6, 7}
        assert found[1].deleted_time >= NOW.replace(microsecond=0)
        blob.undelete_blob()
        assert content(blob) == b"hello"
        assert content(container.get_blob_client("b", snapshot=snapshot)) == b"hello"
        assert blob.get_blob_properties().metadata == {"a": "1"}
    finally:
        service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=False))
    blob.undelete_blob()  # there is nothing to do


@checks.of("BlobClient.download_blob", "StorageStreamDownloader.readall", "StorageStreamDownloader.readinto")
def downloads():
    container = new_container("downloads")
    blob = container.get_blob_client("b")
    for size in (0, 1, 1 << 20, (1 << 20) + 1, len(LARGE)):
        blob.upload_blob(LARGE[:size], overwrite=True)
        for options in ({}, {"max_concurrency": 3}, {"validate_content": True}):
            found = blob.download_blob(**options)
            assert found.size == size
            assert found.properties.size == size
            assert found.readall() == LARGE[:size], (size, options)
            stream = io.BytesIO()
            blob.download_blob(**options).readinto(stream)
            assert stream.getvalue() == LARGE[:size], (size, options)
    for offset, length in ((0, 1), (5, 1_500_000), (3_000_000, None), (len(LARGE) - 3, 3), (5, 1 << 30)):
        expected = LARGE[offset:] if length is None else LARGE[offset : offset + length]
        for connections in (1, 3):
            found = blob.download_blob(offset, length, max_concurrency=connections)
            assert found.readall() == expected, (offset, length)
    checked = {"offset": 10, "length": 900_000, "validate_content": True}
    assert content(blob, **checked) == LARGE[10:900_010]
    failing(416, blob.download_blob, len(LARGE), 5, code="InvalidRange")
    failing(412, blob.download_blob, code="ConditionNotMet", **unless_modified('"0x1"'))
    failing(304, blob.download_blob, if_modified_since=LATER)
    failing(404, container.get_blob_client("gone").download_blob, code="BlobNotFound")
    failing(404, service.get_blob_client("no-such-container", "b").download_blob, code="ContainerNotFound")


@checks.of(
    "StorageStreamDownloader.chunks",
    "StorageStreamDownloader.content_as_bytes",
    "StorageStreamDownloader.content_as_text",
    "StorageStreamDownloader.download_to_stream",
)
def ways_to_read():
    container = new_container("ways-to-read")
    blob = container.upload_blob("b", LARGE)
    assert b"".join(blob.download_blob().chunks()) == LARGE
    assert b"".join(blob.download_blob(10, 2_000_000).chunks()) == LARGE[10:2_000_010]
    assert blob.download_blob().content_as_bytes(max_concurrency=2) == LARGE
    stream = io.BytesIO()
    blob.download_blob().download_to_stream(stream, max_concurrency=2)
    assert stream.getvalue() == LARGE
    text = container.upload_blob("text", "grün".encode("utf-16"))
    assert text.download_blob().content_as_text(encoding="utf-16") == "grün"


@checks.of("StorageStreamDownloader.read", unless=VERSION < (12, 19))
def read_piece_by_piece():
    blob = new_container("read").upload_blob("b", LARGE)
    stream = blob.download_blob()
    pieces = []
    while piece := stream.read(700_001):
        pieces.append(piece)
    assert b"".join(pieces) == LARGE


@checks.of("ContainerClient.download_blob", unless=VERSION < (12, 8))
def downloads_by_containers():
    container = new_container("downloads-by-containers")
    container.upload_blob("b", LARGE)
    assert container.download_blob("b").readall() == LARGE
    assert container.download_blob("b", 5, 10).readall() == LARGE[5:15]


@checks.of("upload_blob_to_url", "download_blob_from_url")
def functions_of_the_module():
    container = new_container("functions")
    token = library.generate_container_sas(
        ACCOUNT, container.container_name, account_key=service.credential.account_key, permission="rwc", expiry=LATER
    )
    url = f"{container.url}/dir/b.txt?{token}"
    library.upload_blob_to_url(url, LARGE, metadata={"a": "1"})
    failing(409, library.upload_blob_to_url, url, b"x", code="BlobAlreadyExists")
    library.upload_blob_to_url(url, LARGE, overwrite=True, max_concurrency=2)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "b"
        library.download_blob_from_url(url, str(path))
        assert path.read_bytes() == LARGE
        library.download_blob_from_url(url, str(path), overwrite=True, offset=5, length=10)
        assert path.read_bytes() == LARGE[5:15]


@checks.of("BlobClient.start_copy_from_url")
def copies():
    container, other = new_container("copies"), new_container("copies-other")
    settings = ContentSettings(content_type="text/plain")
    source = container.upload_blob("source å", LARGE, content_settings=settings, metadata={"a": "1"})
    copy = container.get_blob_client("copy")
    etag = source.get_blob_properties().etag
    stale = {"source_etag": '"0x1"', "source_match_condition": MatchConditions.IfNotModified}
    failing(412, copy.start_copy_from_url, source.url, code="SourceConditionNotMet", **stale)
    fresh = {"source_etag": etag, "source_match_condition": MatchConditions.IfNotModified}
    started = copy.start_copy_from_url(source.url, **fresh)
    assert (started["copy_status"], bool(started["copy_id"])) == ("success", True)
    found = copy.get_blob_properties()
    assert (found.copy.status, found.copy.id) == ("success", started["copy_id"])
    assert found.copy.progress == f"{len(LARGE)}/{len(LARGE)}"
    assert found.copy.completion_time or VERSION < (12, 20)  # those before look for it under another name
    assert (found.metadata, found.content_settings.content_type) == ({"a": "1"}, "text/plain")
    assert content(copy) == LARGE
    failing(412, copy.start_copy_from_url, source.url, code="TargetConditionNotMet", **unless_modified(etag))
    target = other.get_blob_client("copy")
    target.start_copy_from_url(readable(source), metadata={"b": "2"}, standard_blob_tier=StandardBlobTier("Cool"))
    found = target.get_blob_properties()
    assert (content(target), found.metadata, found.blob_tier) == (LARGE, {"b": "2"}, "Cool")
    lease = target.acquire_lease()
    failing(412, target.start_copy_from_url, source.url, code="LeaseIdMissing")
    target.start_copy_from_url(source.url, destination_lease=lease)
    snapshot = container.get_blob_client("copy", snapshot=copy.create_snapshot())
    copy.upload_blob(b"changed", overwrite=True)
    copy.start_copy_from_url(snapshot.url)
    assert content(copy) == LARGE
    failing(404, copy.start_copy_from_url, container.get_blob_client("gone").url)
    copy.start_copy_from_url(readable(source), requires_sync=True)
    assert content(copy) == LARGE


@checks.of("BlobClient.abort_copy")
def copies_that_are_given_up():
    copy = new_container("copies-aborted").get_blob_client("copy")
    with slow_source() as (url, may_end):
        started = copy.start_copy_from_url(url)
        assert started["copy_status"] == "pending"
        found = copy.get_blob_properties()
        assert (found.copy.status, found.copy.source, found.size) == ("pending", url, 0)
        failing(409, copy.start_copy_from_url, url, code="PendingCopyOperation")
        failing(409, copy.abort_copy, "00000000-0000-0000-0000-000000000000", code="CopyIdMismatch")
        copy.abort_copy(started)
        assert copy.get_blob_properties().copy.status == "aborted"
        assert content(copy) == b""
        failing(409, copy.abort_copy, started["copy_id"], code="NoPendingCopyOperation")
        copy.start_copy_from_url(url)
        may_end.set()
        wait_for(lambda: copy.get_blob_properties().copy.status == "success")
        assert content(copy) == CONTENT


@checks.of("BlobClient.download_blob", "BlobClient.delete_blob")
def odd_names():
    container = new_container("odd-names")
    names = ["dir/a b+c.txt", "å%2F%20", "a//b", "q?x=1&y#z", "~'()*!;:@$,[]", "日本語/📦", "a\\b", "last."]
    for name in names:
        blob = container.get_blob_client(name)
        blob.upload_blob(name)
        assert content(blob).decode() == name
    assert sorted(each.name for each in container.list_blobs()) == sorted(names)
    for name in names:
        blob, copy = container.get_blob_client(name), container.get_blob_client(f"copies/{name}")
        snapshot = container.get_blob_client(name, snapshot=blob.create_snapshot())
        assert content(snapshot).decode() == name
        copy.start_copy_from_url(blob.url)
        assert content(copy).decode() == name
        token = readable(blob).partition("?")[2]
        assert content(signed(token).get_blob_client(container.container_name, name)).decode() == name
        assert content(BlobClient.from_blob_url(readable(blob), **OPTIONS)).decode() == name
        blob.delete_blob(delete_snapshots="include")
    assert all(each.name.startswith("copies/") for each in container.list_blobs())
