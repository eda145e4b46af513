"""What blobs of every kind have: properties, metadata, snapshots, downloads, copies, deletion."""

import base64
import datetime
import hashlib
import io
import tempfile
from pathlib import Path
from urllib.parse import quote

from azure.storage.blob import ContentSettings
from common import (
    LARGE,
    LATER,
    NOW,
    VERSION,
    blocks,
    checks,
    content,
    failing,
    new_container,
    properties,
    readable,
    service,
    signed,
)
from recording import wait_for
from slow_source import CONTENT, slow_source


@checks.of(
    "BaseBlobService.get_blob_properties",
    "BaseBlobService.set_blob_properties",
    "BaseBlobService.get_blob_metadata",
    "BaseBlobService.set_blob_metadata",
)
def properties_and_metadata():
    container = new_container("properties")
    md5 = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    settings = ContentSettings("text/plain", "identity", "en", "inline", "no-cache", md5)
    odd = {"Key": "two  words", "_9": "a,b", "x": 'e=mc2;"<&>'}
    blocks.create_blob_from_bytes(container, "b", b"hello", content_settings=settings, metadata=odd)
    found = blocks.get_blob_properties(container, "b")
    assert vars(found.properties.content_settings) == vars(settings), vars(found.properties.content_settings)
    if VERSION < (2, 0):  # these put all names of headers in lower case
        odd = {name.lower(): value for name, value in odd.items()}
    assert found.metadata == odd, found.metadata
    assert blocks.get_blob_metadata(container, "b") == odd
    assert (found.properties.content_length, found.properties.blob_type) == (5, "BlockBlob")
    assert found.properties.server_encrypted is True
    if VERSION >= (2, 0):
        assert found.properties.creation_time <= found.properties.last_modified
        assert (found.properties.blob_tier, found.properties.blob_tier_inferred) == ("Hot", True)
    blocks.set_blob_properties(container, "b", ContentSettings(content_type="a/b", content_language="fr"))
    changed = blocks.get_blob_properties(container, "b").properties
    assert (changed.content_settings.content_type, changed.content_settings.content_language) == ("a/b", "fr")
    assert (changed.content_settings.content_md5, changed.content_settings.cache_control) == (None, None)
    assert changed.etag != found.properties.etag
    stale = {"if_match": found.properties.etag}
    failing(412, blocks.set_blob_metadata, container, "b", {"a": "1"}, code="ConditionNotMet", **stale)
    assert blocks.set_blob_metadata(container, "b", {"Aa": "1"}, if_match=changed.etag).etag != changed.etag
    assert blocks.get_blob_metadata(container, "b") == {"Aa" if VERSION >= (2, 0) else "aa": "1"}
    blocks.set_blob_metadata(container, "b")
    assert blocks.get_blob_metadata(container, "b") == {}
    failing(304, blocks.get_blob_properties, container, "b", if_modified_since=LATER)
    failing(404, blocks.get_blob_properties, container, "gone")


@checks.of("BaseBlobService.set_blob_metadata")
def metadata_that_is_refused():
    container = new_container("metadata-refused")
    blocks.create_blob_from_bytes(container, "b", b"")
    for metadata in ({"a-b": "1"}, {"1a": "1"}, {"": "1"}):
        failing(400, blocks.set_blob_metadata, container, "b", metadata)
    failing(400, blocks.set_blob_metadata, container, "b", {"a": "x" * 9000}, code="MetadataTooLarge")


@checks.of("BaseBlobService.exists", "BaseBlobService.delete_blob", "BaseBlobService.snapshot_blob")
def snapshots():
    container = new_container("snapshots")
    blocks.create_blob_from_text(container, "b", "one", metadata={"a": "1"})
    etag = properties(container, "b").etag
    failing(412, blocks.snapshot_blob, container, "b", if_none_match=etag, code="ConditionNotMet")
    first = blocks.snapshot_blob(container, "b", if_match=etag, timeout=20)
    second = blocks.snapshot_blob(container, "b", metadata={"b": "2"})
    assert first.snapshot < second.snapshot
    assert first.properties.etag == etag
    blocks.create_blob_from_text(container, "b", "three")
    assert content(container, "b", snapshot=first.snapshot) == b"one"
    assert blocks.get_blob_metadata(container, "b", snapshot=first.snapshot) == {"a": "1"}
    assert blocks.get_blob_properties(container, "b", snapshot=second.snapshot).metadata == {"b": "2"}
    assert blocks.exists(container, "b", snapshot=first.snapshot)
    failing(409, blocks.delete_blob, container, "b", code="SnapshotsPresent")
    blocks.delete_blob(container, "b", snapshot=first.snapshot)
    assert not blocks.exists(container, "b", snapshot=first.snapshot)
    assert blocks.exists(container, "b", snapshot=second.snapshot)
    blocks.delete_blob(container, "b", delete_snapshots="only")
    assert not blocks.exists(container, "b", snapshot=second.snapshot)
    assert content(container, "b") == b"three"
    blocks.snapshot_blob(container, "b")
    stale = {"if_unmodified_since": NOW - datetime.timedelta(days=1)}
    failing(412, blocks.delete_blob, container, "b", delete_snapshots="include", **stale)
    blocks.delete_blob(container, "b", delete_snapshots="include")
    assert not blocks.exists(container, "b")
    assert not blocks.exists(f"{container}-gone", "b")
    failing(404, blocks.delete_blob, container, "b", code="BlobNotFound")


@checks.of(
    "BaseBlobService.get_blob_to_bytes",
    "BaseBlobService.get_blob_to_path",
    "BaseBlobService.get_blob_to_stream",
    "BaseBlobService.get_blob_to_text",
)
def downloads():
    container = new_container("downloads")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "b"
        for size in (0, 1, 1 << 20, (1 << 20) + 1, len(LARGE)):
            blocks.create_blob_from_bytes(container, "b", LARGE[:size])
            # These libraries cannot check nothing: they ask for an MD5 without the range that it needs.
            checked = [{"validate_content": True}] if size else []
            for options in ({}, {"max_connections": 1}, {"max_connections": 4}, *checked):
                told = []
                found = blocks.get_blob_to_bytes(
                    container, "b", progress_callback=lambda *now, told=told: told.append(now), **options
                )
                assert found.content == LARGE[:size], (size, options)
                assert found.properties.content_length == size
                assert told[-1] == (size, size), told
                blocks.get_blob_to_path(container, "b", str(path), **options)
                assert path.read_bytes() == LARGE[:size]
                stream = io.BytesIO()
                blocks.get_blob_to_stream(container, "b", stream, **options)
                assert stream.getvalue() == LARGE[:size]
        blocks.get_blob_to_path(container, "b", str(path), open_mode="ab", max_connections=1)
        assert path.read_bytes() == LARGE * 2
    # Those before 2.0 take an end at 0 for none.
    for start, end in (
        (0, 0 if VERSION >= (2, 0) else 1),
        (5, 1_500_000),
        (3_000_000, None),
        (len(LARGE) - 3, len(LARGE) - 1),
        (5, 1 << 40),
    ):
        expected = LARGE[start:] if end is None else LARGE[start : end + 1]
        for connections in (1, 3):
            found = content(container, "b", start_range=start, end_range=end, max_connections=connections)
            assert found == expected, (start, end)
    checked = {"start_range": 10, "end_range": 900_000, "validate_content": True}
    assert content(container, "b", **checked) == LARGE[10:900_001]
    failing(416, blocks.get_blob_to_bytes, container, "b", start_range=len(LARGE), end_range=len(LARGE) + 5)
    etag = properties(container, "b").etag
    failing(304, blocks.get_blob_to_bytes, container, "b", if_none_match=etag)
    failing(412, blocks.get_blob_to_bytes, container, "b", if_match='"0x1"', code="ConditionNotMet")
    blocks.create_blob_from_text(container, "text", "grün", encoding="utf-16")
    assert blocks.get_blob_to_text(container, "text", encoding="utf-16").content == "grün"
    failing(404, blocks.get_blob_to_bytes, container, "gone", code="BlobNotFound")
    failing(404, blocks.get_blob_to_bytes, f"{container}-gone", "b", code="ContainerNotFound")


@checks.of("BaseBlobService.copy_blob", unless=VERSION >= (2, 0))
@checks.of("BlockBlobService.copy_blob", unless=VERSION < (2, 0))
def copies():
    container, other = new_container("copies"), new_container("copies-other")
    settings = ContentSettings(content_type="text/plain")
    blocks.create_blob_from_bytes(container, "source å", LARGE, content_settings=settings, metadata={"a": "1"})
    source = blocks.make_blob_url(container, "source å")
    etag = properties(container, "source å").etag
    failing(412, blocks.copy_blob, container, "copy", source, source_if_none_match=etag)
    copied = blocks.copy_blob(container, "copy", source, source_if_match=etag, destination_if_none_match="*")
    assert (copied.status, bool(copied.id)) == ("success", True)
    found = blocks.get_blob_properties(container, "copy")
    assert (found.properties.copy.status, found.properties.copy.id) == ("success", copied.id)
    assert found.properties.copy.progress == f"{len(LARGE)}/{len(LARGE)}"
    assert found.properties.copy.completion_time
    assert (found.metadata, found.properties.content_settings.content_type) == ({"a": "1"}, "text/plain")
    assert content(container, "copy") == LARGE
    failing(409, blocks.copy_blob, container, "copy", source, destination_if_none_match="*", code="BlobAlreadyExists")
    writer = blocks.generate_container_shared_access_signature(other, "rw", LATER)
    copied = signed(writer).copy_blob(other, "copy", readable(container, "source å"), metadata={"b": "2"})
    assert copied.status == "success"
    assert (content(other, "copy"), blocks.get_blob_metadata(other, "copy")) == (LARGE, {"b": "2"})
    lease = blocks.acquire_blob_lease(other, "copy")
    failing(412, blocks.copy_blob, other, "copy", source, code="LeaseIdMissing")
    blocks.copy_blob(other, "copy", source, destination_lease_id=lease)
    snapshot = blocks.snapshot_blob(container, "copy").snapshot
    blocks.create_blob_from_text(container, "copy", "changed")
    blocks.copy_blob(container, "copy", blocks.make_blob_url(container, "copy", snapshot=snapshot))
    assert content(container, "copy") == LARGE
    failing(404, blocks.copy_blob, container, "copy", blocks.make_blob_url(container, "gone"))


@checks.of("BlockBlobService.copy_blob", unless=VERSION < (2, 0))
def synchronous_copies():
    container = new_container("copies-at-once")
    blocks.create_blob_from_bytes(container, "source", b"hello")
    copied = blocks.copy_blob(
        container, "copy", readable(container, "source"), requires_sync=True, standard_blob_tier="Cool"
    )
    assert copied.status == "success"
    assert (content(container, "copy"), properties(container, "copy").blob_tier) == (b"hello", "Cool")
    blocks.copy_blob(container, "archived", readable(container, "source"), standard_blob_tier="Archive")
    failing(409, blocks.get_blob_to_bytes, container, "archived", code="BlobArchived")
    archived = blocks.make_blob_url(container, "archived")
    copied = blocks.copy_blob(container, "again", archived, standard_blob_tier="Hot", rehydrate_priority="High")
    assert properties(container, "again").rehydration_status == "rehydrate-pending-to-hot"


@checks.of("BaseBlobService.abort_copy_blob")
def copies_that_are_given_up():
    container = new_container("copies-aborted")
    with slow_source() as (url, may_end):
        copied = blocks.copy_blob(container, "copy", url)
        assert copied.status == "pending"
        found = properties(container, "copy")
        assert (found.copy.status, found.copy.source, found.content_length) == ("pending", url, 0)
        failing(409, blocks.copy_blob, container, "copy", url, code="PendingCopyOperation")
        failing(409, blocks.abort_copy_blob, container, "copy", "00000000-0000-0000-0000-000000000000")
        blocks.abort_copy_blob(container, "copy", copied.id)
        assert properties(container, "copy").copy.status == "aborted"
        assert content(container, "copy") == b""
        failing(409, blocks.abort_copy_blob, container, "copy", copied.id, code="NoPendingCopyOperation")
        copied = blocks.copy_blob(container, "copy", url)
        may_end.set()
        wait_for(lambda: properties(container, "copy").copy.status == "success")
        assert content(container, "copy") == CONTENT


@checks.of("BaseBlobService.get_blob_to_text", "BaseBlobService.delete_blob")
def odd_names():
    container = new_container("odd-names")
    names = ["dir/a b+c.txt", "å%2F%20", "a//b", "/first", "q?x=1&y#z", "~'()*!;:@$,[]", "日本語/📦", "a\\b", "last."]
    for name in names:
        blocks.create_blob_from_text(container, name, name)
        assert blocks.get_blob_to_text(container, name).content == name
    assert sorted(each.name for each in blocks.list_blobs(container)) == sorted(names)
    snapshots = {name: blocks.snapshot_blob(container, name).snapshot for name in names}
    for name in names:
        assert content(container, name, snapshot=snapshots[name]).decode() == name
        blocks.copy_blob(container, f"copies/{name}", blocks.make_blob_url(container, quote(name)))
        assert content(container, f"copies/{name}").decode() == name
        token = blocks.generate_blob_shared_access_signature(container, name, permission="r", expiry=LATER)
        assert signed(token).get_blob_to_text(container, name).content == name
        blocks.delete_blob(container, name, delete_snapshots="include")
    assert all(each.name.startswith("copies/") for each in blocks.list_blobs(container))


@checks.of("BaseBlobService.get_blob_to_text")
def callbacks_and_identities():
    """The libraries compare the request's id with the answer's."""
    container = new_container("callbacks")
    blocks.create_blob_from_text(container, "b", "x")
    seen = []
    watched = service()
    watched.request_callback = lambda request: request.headers.update({"x-ms-client-request-id": "mine"})
    watched.response_callback = seen.append
    assert watched.get_blob_to_text(container, "b").content == "x"
    assert seen[0].headers["x-ms-client-request-id"] == "mine"
    assert seen[0].headers["x-ms-version"]
