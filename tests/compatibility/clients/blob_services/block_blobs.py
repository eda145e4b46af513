"""Block blobs: whole, in blocks, from everything that the library takes; tiers."""

import base64
import hashlib
import io
import tempfile
from pathlib import Path

from azure.storage.blob import BlobBlock, ContentSettings
from common import (
    LARGE,
    VERSION,
    blocks,
    checks,
    content,
    failing,
    library,
    new_container,
    properties,
    readable,
)


@checks.of(
    "BlockBlobService.create_blob_from_bytes",
    "BlockBlobService.create_blob_from_path",
    "BlockBlobService.create_blob_from_stream",
    "BlockBlobService.create_blob_from_text",
)
def uploads():
    container = new_container("uploads")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "source"
        for size in (0, 1, 1 << 20, (1 << 20) + 1, len(LARGE)):
            data = LARGE[:size]
            path.write_bytes(data)
            for way in ({}, {"max_connections": 1}, {"max_connections": 4}, {"validate_content": True}):
                told = []
                options = {"progress_callback": lambda *now, told=told: told.append(now), "metadata": {"a": "1"}, **way}
                done = blocks.create_blob_from_bytes(container, "bytes", data, **options)
                assert VERSION < (0, 36) or done.etag == properties(container, "bytes").etag
                assert told[-1] == (size, size), told
                blocks.create_blob_from_path(container, "path", str(path), **options)
                blocks.create_blob_from_stream(container, "stream", io.BytesIO(data), **options)
                count = size if VERSION >= (0, 36) else size or None  # those before take a count of 0 for none
                following = b"x" if count is not None else b""
                blocks.create_blob_from_stream(container, "counted", io.BytesIO(data + following), count, **options)
                for name in ("bytes", "path", "stream", "counted"):
                    assert content(container, name) == data, (name, size, options)
                    assert blocks.get_blob_metadata(container, name) == {"a": "1"}
    blocks.create_blob_from_bytes(container, "part", LARGE, index=10, count=100)
    assert content(container, "part") == LARGE[10:110]
    blocks.create_blob_from_text(container, "text", "grün", encoding="utf-16")
    assert content(container, "text").decode("utf-16") == "grün"
    settings = ContentSettings(content_type="a/b", content_disposition="inline")
    blocks.create_blob_from_bytes(container, "large", LARGE, content_settings=settings, if_none_match="*")
    found = properties(container, "large").content_settings
    assert (found.content_type, found.content_disposition) == ("a/b", "inline")
    failing(409, blocks.create_blob_from_bytes, container, "large", b"x", if_none_match="*", code="BlobAlreadyExists")
    failing(412, blocks.create_blob_from_bytes, container, "large", LARGE, if_match='"0x1"', code="ConditionNotMet")
    wrong = ContentSettings(content_md5=base64.b64encode(bytes(16)).decode())
    failing(400, blocks.create_blob_from_text, container, "text", "x", content_settings=wrong, code="Md5Mismatch")


@checks.of("BlockBlobService.create_blob_from_stream")
def uploads_of_streams_piece_by_piece():
    """What is larger than a single put takes another way through the library: streams in place of copies of blocks."""
    container = new_container("uploads-streams")
    before = blocks.MAX_BLOCK_SIZE, blocks.MIN_LARGE_BLOCK_UPLOAD_THRESHOLD
    blocks.MAX_BLOCK_SIZE, blocks.MIN_LARGE_BLOCK_UPLOAD_THRESHOLD = 2 << 20, 1 << 20
    try:
        # With one connection, those before 0.37 read more of a stream than the block that they put.
        for connections in (1, 3) if VERSION >= (0, 37) else (3,):
            stream = io.BytesIO(LARGE)
            blocks.create_blob_from_stream(container, "b", stream, count=len(LARGE), max_connections=connections)
            assert content(container, "b") == LARGE
    finally:
        blocks.MAX_BLOCK_SIZE, blocks.MIN_LARGE_BLOCK_UPLOAD_THRESHOLD = before


@checks.of("BlockBlobService.put_block", "BlockBlobService.put_block_list", "BlockBlobService.get_block_list")
def block_lists():
    container = new_container("blocks")
    for block_id in ("1", "2", "3"):
        blocks.put_block(container, "b", b"<" + block_id.encode() + b">", block_id, validate_content=True)
    found = blocks.get_block_list(container, "b", block_list_type="all")
    assert [(each.id, each.size) for each in found.uncommitted_blocks] == [("1", 3), ("2", 3), ("3", 3)]
    assert found.committed_blocks == []
    assert not blocks.exists(container, "b")
    (listed,) = blocks.list_blobs(container, include=library.Include(uncommitted_blobs=True))
    assert listed.name == "b"
    settings, metadata = ContentSettings(content_type="a/b"), {"a": "1"}
    blocks.put_block_list(
        container, "b", [BlobBlock("2"), BlobBlock("1")], settings, metadata, validate_content=True, if_none_match="*"
    )
    assert content(container, "b") == b"<2><1>"
    assert (properties(container, "b").content_settings.content_type, blocks.get_blob_metadata(container, "b")) == (
        "a/b",
        metadata,
    )
    found = blocks.get_block_list(container, "b")  # the committed ones alone
    assert ([each.id for each in found.committed_blocks], found.uncommitted_blocks) == (["2", "1"], [])
    blocks.put_block(container, "b", b"new", "2")
    committed = library.models.BlobBlockState.Committed
    blocks.put_block_list(container, "b", [BlobBlock("2", committed), BlobBlock("2")])
    assert content(container, "b") == b"<2>new"
    snapshot = blocks.snapshot_blob(container, "b").snapshot
    blocks.put_block_list(container, "b", [BlobBlock("2", committed)])
    found = blocks.get_block_list(container, "b", snapshot=snapshot, block_list_type="committed").committed_blocks
    assert [(each.id, each.size) for each in found] == [("2", 3), ("2", 3)]
    failing(400, blocks.put_block_list, container, "b", [BlobBlock("8")], code="InvalidBlockList")
    failing(412, blocks.put_block_list, container, "b", [], if_match='"0x1"', code="ConditionNotMet")
    blocks.put_block(container, "b", b"x", "9")
    failing(400, blocks.put_block, container, "b", b"x", "another length", code="InvalidBlobOrBlock")
    failing(404, blocks.get_block_list, container, "gone", code="BlobNotFound")


@checks.of("BlockBlobService.put_block_from_url", unless=VERSION < (2, 0))
def blocks_from_urls():
    container = new_container("blocks-from-urls")
    blocks.create_blob_from_bytes(container, "source å", LARGE)
    source = readable(container, "source å")
    md5 = base64.b64encode(hashlib.md5(LARGE[5:1000]).digest()).decode()
    blocks.put_block_from_url(container, "b", source, "1", 5, 999, source_content_md5=md5)
    blocks.put_block_from_url(container, "b", source, "2", 0, 2)
    blocks.put_block_list(container, "b", [BlobBlock("2"), BlobBlock("1")])
    assert content(container, "b") == LARGE[:3] + LARGE[5:1000]
    wrong = {"source_content_md5": base64.b64encode(bytes(16)).decode()}
    failing(400, blocks.put_block_from_url, container, "b", source, "1", 5, 999, code="Md5Mismatch", **wrong)
    gone = readable(container, "gone")
    failing(404, blocks.put_block_from_url, container, "b", gone, "1", 0, 1)


@checks.of("BlockBlobService.set_standard_blob_tier", unless=VERSION < (0, 36))
def tiers():
    container = new_container("tiers")
    blocks.create_blob_from_text(container, "b", "hello")
    for tier in ("Cool", "Hot", "Archive"):
        blocks.set_standard_blob_tier(container, "b", tier)
        found = properties(container, "b")
        assert found.blob_tier == tier
        assert VERSION < (0, 37) or found.blob_tier_change_time
        (listed,) = blocks.list_blobs(container)
        assert listed.properties.blob_tier == tier
    failing(409, blocks.get_blob_to_bytes, container, "b", code="BlobArchived")
    priority = {"rehydrate_priority": library.RehydratePriority.High} if VERSION >= (2, 0) else {}
    blocks.set_standard_blob_tier(container, "b", "Cool", **priority)
    assert properties(container, "b").rehydration_status == "rehydrate-pending-to-cool"
    (listed,) = blocks.list_blobs(container)
    assert (listed.properties.blob_tier, listed.properties.rehydration_status) == (
        "Archive",
        "rehydrate-pending-to-cool",
    )
    failing(404, blocks.set_standard_blob_tier, container, "gone", "Cool", code="BlobNotFound")


@checks.of("BlockBlobService.create_blob_from_bytes", "BlockBlobService.put_block_list", unless=VERSION < (2, 0))
def tiers_from_the_start():
    container = new_container("tiers-from-the-start")
    for size in (5, len(LARGE)):
        blocks.create_blob_from_bytes(container, "b", LARGE[:size], standard_blob_tier="Cool")
        found = properties(container, "b")
        assert (found.blob_tier, found.blob_tier_inferred) == ("Cool", False), vars(found)
    blocks.put_block(container, "blocks", b"x", "AAAA")
    blocks.put_block_list(container, "blocks", [BlobBlock("AAAA")], standard_blob_tier="Archive")
    assert properties(container, "blocks").blob_tier == "Archive"
