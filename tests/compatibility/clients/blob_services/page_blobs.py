"""Page blobs: pages and what changed in them, sizes, sequence numbers, incremental copies, tiers."""

import base64
import hashlib
import io
import tempfile
from pathlib import Path

from azure.storage.blob import ContentSettings
from common import (
    LARGE,
    LATER,
    VERSION,
    blocks,
    checks,
    content,
    failing,
    new_container,
    pages,
    properties,
    readable,
)

PAGE = LARGE[:512]


def spans(ranges):
    return [(each.start, each.end) for each in ranges]


@checks.of(
    "PageBlobService.create_blob",
    "PageBlobService.update_page",
    "PageBlobService.clear_page",
    "PageBlobService.get_page_ranges",
    "PageBlobService.get_page_ranges_diff",
)
def by_pages():
    container = new_container("pages")
    done = pages.create_blob(
        container, "b", 8 * 512, ContentSettings(content_type="a/b"), sequence_number=3, metadata={"a": "1"}
    )
    assert done.etag == properties(container, "b").etag
    failing(409, pages.create_blob, container, "b", 512, if_none_match="*", code="BlobAlreadyExists")
    assert spans(pages.get_page_ranges(container, "b")) == []
    done = pages.update_page(container, "b", PAGE * 4, 512, 2559, validate_content=True, if_sequence_number_lte=3)
    assert int(done.sequence_number) == 3
    assert spans(pages.get_page_ranges(container, "b")) == [(512, 2559)]
    snapshot = pages.snapshot_blob(container, "b").snapshot
    pages.clear_page(container, "b", 1024, 1535, if_sequence_number_eq=3)
    pages.update_page(container, "b", PAGE, 3584, 4095, if_sequence_number_lt=4)
    assert spans(pages.get_page_ranges(container, "b")) == [(512, 1023), (1536, 2559), (3584, 4095)]
    assert spans(pages.get_page_ranges(container, "b", start_range=0, end_range=1023)) == [(512, 1023)]
    assert spans(pages.get_page_ranges(container, "b", snapshot=snapshot)) == [(512, 2559)]
    found = pages.get_page_ranges_diff(container, "b", snapshot)
    assert sorted((each.start, each.end, each.is_cleared) for each in found) == [
        (1024, 1535, True),
        (3584, 4095, False),
    ]
    second = pages.snapshot_blob(container, "b").snapshot
    found = pages.get_page_ranges_diff(container, "b", snapshot, snapshot=second, start_range=2048, end_range=4095)
    assert [(each.start, each.is_cleared) for each in found] == [(3584, False)]
    nothing = bytes(512)
    assert content(container, "b") == nothing + PAGE + nothing + PAGE * 2 + nothing * 2 + PAGE
    number = {"code": "SequenceNumberConditionNotMet"}
    failing(412, pages.update_page, container, "b", PAGE, 0, 511, if_sequence_number_lt=3, **number)
    failing(412, pages.clear_page, container, "b", 0, 511, if_sequence_number_eq=4, **number)
    failing(412, pages.clear_page, container, "b", 0, 511, if_match='"0x1"', code="ConditionNotMet")
    failing(416, pages.update_page, container, "b", PAGE, 4096, 4607, code="InvalidPageRange")
    (listed,) = [each for each in pages.list_blobs(container) if not each.snapshot]
    assert (listed.properties.blob_type, listed.properties.content_length) == ("PageBlob", 8 * 512)
    lease = pages.acquire_blob_lease(container, "b")
    failing(412, pages.clear_page, container, "b", 0, 511, code="LeaseIdMissing")
    pages.clear_page(container, "b", 0, 4095, lease_id=lease)
    assert spans(pages.get_page_ranges(container, "b", lease_id=lease)) == []
    pages.release_blob_lease(container, "b", lease)
    failing(409, blocks.put_block, container, "b", b"x", "AAAA", code="InvalidBlobType")


@checks.of("PageBlobService.resize_blob", "PageBlobService.set_sequence_number")
def sizes_and_numbers():
    container = new_container("pages-sizes")
    pages.create_blob(container, "b", 1024)
    pages.update_page(container, "b", PAGE * 2, 0, 1023)
    etag = properties(container, "b").etag
    failing(412, pages.resize_blob, container, "b", 512, if_none_match=etag, code="ConditionNotMet")
    assert pages.resize_blob(container, "b", 512, if_match=etag).etag != etag
    pages.resize_blob(container, "b", 2048)
    assert content(container, "b") == PAGE + bytes(3 * 512)
    for action, given, expected in (("update", "5", 5), ("max", "4", 5), ("max", "9", 9), ("increment", None, 10)):
        done = pages.set_sequence_number(container, "b", action, given)
        assert int(done.sequence_number) == expected
        assert properties(container, "b").page_blob_sequence_number == expected
    failing(400, pages.resize_blob, container, "b", 100)


@checks.of(
    "PageBlobService.create_blob_from_bytes",
    "PageBlobService.create_blob_from_path",
    "PageBlobService.create_blob_from_stream",
)
def from_everything():
    container = new_container("pages-from")
    data = LARGE[: 1 << 20] + bytes(2 << 20) + LARGE
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "source"
        path.write_bytes(data)
        for way in ({}, {"max_connections": 1}, {"validate_content": True, "metadata": {"a": "1"}}):
            told = []
            options = {"progress_callback": lambda *now, told=told: told.append(now), **way}
            pages.create_blob_from_bytes(container, "bytes", data, **options)
            assert told[-1] == (len(data), len(data)), told
            pages.create_blob_from_path(container, "path", str(path), **options)
            pages.create_blob_from_stream(container, "stream", io.BytesIO(data), count=len(data), **options)
            for name in ("bytes", "path", "stream"):
                assert content(container, name) == data, (name, options)
                assert pages.get_blob_metadata(container, name) == options.get("metadata", {})
    if VERSION >= (2, 0):  # it does not send pieces of zeros
        assert spans(pages.get_page_ranges(container, "bytes"))[0] == (0, (1 << 20) - 1)
    pages.create_blob_from_bytes(container, "part", data, index=512, count=1024, if_none_match="*")
    assert content(container, "part") == data[512:1536]
    failing(409, pages.create_blob_from_bytes, container, "part", PAGE, if_none_match="*", code="BlobAlreadyExists")


@checks.of("PageBlobService.incremental_copy_blob")
def incremental_copies():
    container = new_container("pages-increments")
    pages.create_blob(container, "source", 1024)
    sources = []
    for number, start in enumerate((0, 512)):
        pages.update_page(container, "source", PAGE, start, start + 511)
        snapshot = pages.snapshot_blob(container, "source").snapshot
        token = pages.generate_container_shared_access_signature(container, "r", LATER)
        source = pages.make_blob_url(container, "source", sas_token=token, snapshot=snapshot)
        sources.append(source)
        copied = pages.incremental_copy_blob(container, "backup", source)
        assert copied.id
        found = properties(container, "backup")
        assert found.copy.status == "success", vars(found.copy)
        listed = [each for each in pages.list_blobs(container, include="snapshots,copy") if each.name == "backup"]
        assert len([each for each in listed if each.snapshot]) == number + 1
        newest = listed[-2].snapshot
        assert spans(pages.get_page_ranges(container, "backup", snapshot=newest)) == [(0, start + 511)]
    earlier = {"code": "IncrementalCopyOfEarlierVersionSnapshotNotAllowed"}
    failing(409, pages.incremental_copy_blob, container, "backup", sources[0], **earlier)


@checks.of(
    "PageBlobService.set_premium_page_blob_tier",
    refused="only premium accounts have these tiers",
    unless=VERSION < (0, 36),
)
def tiers():
    container = new_container("pages-tiers")
    pages.create_blob(container, "b", 512)
    failing(400, pages.set_premium_page_blob_tier, container, "b", "P10", code="InvalidBlobTier")


@checks.of("PageBlobService.copy_blob", unless=VERSION < (0, 36))
def copies():
    container = new_container("pages-copies")
    pages.create_blob(container, "source", 1024, premium_page_blob_tier="P10")
    assert properties(container, "source").blob_tier == "P10"
    pages.update_page(container, "source", PAGE, 512, 1023)
    copied = pages.copy_blob(container, "copy", pages.make_blob_url(container, "source"), premium_page_blob_tier="P20")
    assert copied.status == "success"
    found = properties(container, "copy")
    assert (found.blob_type, found.blob_tier) == ("PageBlob", "P20")
    assert spans(pages.get_page_ranges(container, "copy")) == [(512, 1023)]


@checks.of("PageBlobService.update_page_from_url", unless=VERSION < (2, 0))
def from_urls():
    container = new_container("pages-from-urls")
    blocks.create_blob_from_bytes(container, "source å", LARGE)
    source, etag = readable(container, "source å"), properties(container, "source å").etag
    pages.create_blob(container, "b", 2048)
    md5 = base64.b64encode(hashlib.md5(LARGE[5 : 5 + 1024]).digest()).decode()
    pages.update_page_from_url(
        container, "b", 512, 1535, source, 5, source_content_md5=md5, source_if_match=etag, if_sequence_number_eq=0
    )
    assert content(container, "b") == bytes(512) + LARGE[5 : 5 + 1024] + bytes(512)
    changed = {"source_if_none_match": etag}
    failing(412, pages.update_page_from_url, container, "b", 0, 511, source, 0, code="SourceConditionNotMet", **changed)
