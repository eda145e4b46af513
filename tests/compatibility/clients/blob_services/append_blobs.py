"""Append blobs, and the conditions of their size and position."""

import base64
import hashlib
import io
import tempfile
from pathlib import Path

from azure.storage.blob import ContentSettings
from common import LARGE, VERSION, appends, blocks, checks, content, failing, new_container, properties, readable


@checks.of("AppendBlobService.create_blob", "AppendBlobService.append_block")
def by_blocks():
    container = new_container("append")
    done = appends.create_blob(container, "b", ContentSettings(content_type="text/plain"), {"a": "1"}, timeout=20)
    assert done.etag == properties(container, "b").etag
    failing(409, appends.create_blob, container, "b", if_none_match="*", code="BlobAlreadyExists")
    first = appends.append_block(container, "b", b"hello ", validate_content=True, appendpos_condition=0)
    second = appends.append_block(container, "b", b"world", maxsize_condition=11, if_match=first.etag)
    assert [int(each.append_offset) for each in (first, second)] == [0, 6]
    assert [int(each.committed_block_count) for each in (first, second)] == [1, 2]
    failing(
        412, appends.append_block, container, "b", b"x", appendpos_condition=5, code="AppendPositionConditionNotMet"
    )
    failing(412, appends.append_block, container, "b", b"x", maxsize_condition=11, code="MaxBlobSizeConditionNotMet")
    failing(412, appends.append_block, container, "b", b"x", if_match=first.etag, code="ConditionNotMet")
    failing(404, appends.append_block, container, "gone", b"x", code="BlobNotFound")
    found = properties(container, "b")
    assert (found.blob_type, found.append_blob_committed_block_count) == ("AppendBlob", 2)
    assert (found.content_settings.content_type, content(container, "b")) == ("text/plain", b"hello world")
    (listed,) = appends.list_blobs(container)
    assert (listed.properties.blob_type, listed.properties.content_length) == ("AppendBlob", 11)
    lease = appends.acquire_blob_lease(container, "b")
    failing(412, appends.append_block, container, "b", b"x", code="LeaseIdMissing")
    appends.append_block(container, "b", b"!", lease_id=lease)
    appends.release_blob_lease(container, "b", lease)
    failing(409, blocks.put_block, container, "b", b"x", "AAAA", code="InvalidBlobType")
    appends.create_blob(container, "b")
    assert content(container, "b") == b""
    blocks.create_blob_from_text(container, "block", "x")
    failing(409, appends.append_block, container, "block", b"x", code="InvalidBlobType")


@checks.of(
    "AppendBlobService.append_blob_from_bytes",
    "AppendBlobService.append_blob_from_path",
    "AppendBlobService.append_blob_from_stream",
    "AppendBlobService.append_blob_from_text",
)
def from_everything():
    container = new_container("append-from")
    appends.create_blob(container, "b")
    told = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "source"
        path.write_bytes(LARGE)
        appends.append_blob_from_path(container, "b", str(path), progress_callback=lambda *now: told.append(now))
    assert told[-1] == (len(LARGE), len(LARGE)), told
    appends.append_blob_from_bytes(container, "b", LARGE, index=1, count=3 << 20, validate_content=True)
    appends.append_blob_from_stream(container, "b", io.BytesIO(LARGE), count=2 << 20)
    appends.append_blob_from_stream(container, "b", io.BytesIO(b""))
    appends.append_blob_from_text(container, "b", "grün", encoding="utf-16")
    expected = LARGE + LARGE[1 : (3 << 20) + 1] + LARGE[: 2 << 20] + "grün".encode("utf-16")
    assert content(container, "b", max_connections=3) == expected
    full = {"maxsize_condition": len(expected) + (1 << 20)}
    failing(412, appends.append_blob_from_bytes, container, "b", LARGE, code="MaxBlobSizeConditionNotMet", **full)
    assert len(content(container, "b")) == len(expected) + (1 << 20)  # what there was room for


@checks.of("BaseBlobService.copy_blob")
def copies():
    container = new_container("append-copies")
    appends.create_blob(container, "b")
    appends.append_block(container, "b", b"hello")
    assert appends.copy_blob(container, "copy", appends.make_blob_url(container, "b")).status == "success"
    assert properties(container, "copy").blob_type == "AppendBlob"
    assert int(appends.append_block(container, "copy", b"!").append_offset) == 5


@checks.of("AppendBlobService.append_block_from_url", unless=VERSION < (2, 0))
def from_urls():
    container = new_container("append-from-urls")
    blocks.create_blob_from_bytes(container, "source å", LARGE)
    source, etag = readable(container, "source å"), properties(container, "source å").etag
    appends.create_blob(container, "b")
    md5 = base64.b64encode(hashlib.md5(LARGE[5:1000]).digest()).decode()
    done = appends.append_block_from_url(
        container, "b", source, 5, 999, source_content_md5=md5, source_if_match=etag, appendpos_condition=0
    )
    assert (done.append_offset, done.committed_block_count) == (0, 1)
    appends.append_block_from_url(container, "b", source, 0, 2)
    assert content(container, "b") == LARGE[5:1000] + LARGE[:3]
    changed = {"source_if_none_match": etag}
    failing(404, appends.append_block_from_url, container, "b", source, 0, 2, code="CannotVerifyCopySource", **changed)
    position = {"appendpos_condition": 5}
    failing(412, appends.append_block_from_url, container, "b", source, 0, 2, **position)
