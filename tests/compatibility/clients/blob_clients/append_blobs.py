"""Append blobs, and the conditions of their size and position."""

import hashlib
import io

from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, ContentSettings
from common import LARGE, VERSION, checks, content, failing, new_container, readable


@checks.of("BlobClient.create_append_blob", "BlobClient.append_block")
def by_blocks():
    container = new_container("append")
    blob = container.get_blob_client("b")
    done = blob.create_append_blob(ContentSettings(content_type="text/plain"), {"a": "1"}, timeout=20)
    assert done["etag"] == blob.get_blob_properties().etag
    failing(409, blob.create_append_blob, match_condition=MatchConditions.IfMissing, code="BlobAlreadyExists")
    first = blob.append_block(b"hello ", validate_content=True, appendpos_condition=0)
    current = {"etag": first["etag"], "match_condition": MatchConditions.IfNotModified}
    second = blob.append_block(b"world", maxsize_condition=11, **current)
    assert [int(each["blob_append_offset"]) for each in (first, second)] == [0, 6]
    assert [each["blob_committed_block_count"] for each in (first, second)] == [1, 2]
    failing(412, blob.append_block, b"x", appendpos_condition=5, code="AppendPositionConditionNotMet")
    failing(412, blob.append_block, b"x", maxsize_condition=11, code="MaxBlobSizeConditionNotMet")
    failing(412, blob.append_block, b"x", code="ConditionNotMet", **current)
    failing(404, container.get_blob_client("gone").append_block, b"x", code="BlobNotFound")
    found = blob.get_blob_properties()
    assert (found.blob_type, found.append_blob_committed_block_count) == ("AppendBlob", 2)
    assert (found.content_settings.content_type, content(blob)) == ("text/plain", b"hello world")
    (listed,) = container.list_blobs()
    assert (listed.blob_type, listed.size) == ("AppendBlob", 11)
    lease = blob.acquire_lease()
    failing(412, blob.append_block, b"x", code="LeaseIdMissing")
    blob.append_block(b"!", lease=lease)
    lease.release()
    failing(409, blob.stage_block, "1", b"x", code="InvalidBlobType")
    failing(409, blob.commit_block_list, [BlobBlock("1")], code="InvalidBlobType")
    blob.create_append_blob()
    assert content(blob) == b""


@checks.of("BlobClient.upload_blob")
def from_everything():
    container = new_container("append-from")
    blob = container.get_blob_client("b")
    blob.upload_blob(LARGE, blob_type="AppendBlob", metadata={"a": "1"})
    blob.upload_blob(io.BytesIO(LARGE), blob_type="AppendBlob", length=3 << 20, validate_content=True)
    blob.upload_blob("grün", blob_type="AppendBlob", encoding="utf-16")
    expected = LARGE + LARGE[: 3 << 20] + "grün".encode("utf-16")
    assert content(blob, max_concurrency=3) == expected
    full = {"maxsize_condition": len(expected) + (1 << 20), "blob_type": "AppendBlob"}
    failing(412, blob.upload_blob, LARGE, code="MaxBlobSizeConditionNotMet", **full)
    assert len(content(blob)) == len(expected) + (1 << 20)  # what there was room for
    blob.upload_blob(b"new", blob_type="AppendBlob", overwrite=True)
    assert content(blob) == b"new"


@checks.of("BlobClient.append_block_from_url")
def from_urls():
    container = new_container("append-from-urls")
    source = container.upload_blob("source å", LARGE)
    url, etag = readable(source), source.get_blob_properties().etag
    blob = container.get_blob_client("b")
    blob.create_append_blob()
    md5 = bytearray(hashlib.md5(LARGE[5:1000]).digest())
    fresh = {"source_etag": etag, "source_match_condition": MatchConditions.IfNotModified}
    done = blob.append_block_from_url(url, 5, 995, source_content_md5=md5, appendpos_condition=0, **fresh)
    assert (int(done["blob_append_offset"]), done["blob_committed_block_count"]) == (0, 1)
    blob.append_block_from_url(url, 0, 3)
    assert content(blob) == LARGE[5:1000] + LARGE[:3]
    stale = {"source_etag": '"0x1"', "source_match_condition": MatchConditions.IfNotModified}
    failing(412, blob.append_block_from_url, url, 0, 3, appendpos_condition=5, code="AppendPositionConditionNotMet")
    failing(404, blob.append_block_from_url, url, 0, 3, code="CannotVerifyCopySource", **stale)


@checks.of("BlobClient.seal_append_blob", unless=VERSION < (12, 8))
def sealed():
    blob = new_container("append-sealed").get_blob_client("b")
    blob.create_append_blob()
    blob.append_block(b"x")
    failing(412, blob.seal_append_blob, appendpos_condition=5, code="AppendPositionConditionNotMet")
    assert blob.seal_append_blob()["blob_sealed"] is True
    assert blob.get_blob_properties().is_append_blob_sealed is True
    failing(409, blob.append_block, b"y", code="BlobIsSealed")
    assert content(blob) == b"x"
