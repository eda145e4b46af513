"""Block blobs: whole, in blocks, from everything that the library takes; tiers."""

import hashlib
import io
import tempfile
from pathlib import Path

from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier
from common import LARGE, VERSION, checks, content, failing, new_container, readable


@checks.of("BlobClient.upload_blob", "ContainerClient.upload_blob")
def uploads():
    container = new_container("uploads")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "source"
        for size in (0, 1, 1 << 20, (1 << 20) + 1, len(LARGE)):
            data = LARGE[:size]
            path.write_bytes(data)
            # Those before 12.19 cannot check nothing.
            checked = [{"validate_content": True}] if size or VERSION >= (12, 19) else []
            for way in ({}, {"max_concurrency": 3}, *checked):
                options = {"metadata": {"a": "1"}, "overwrite": True, **way}
                blob = container.get_blob_client("bytes")
                assert blob.upload_blob(data, **options)["etag"] == blob.get_blob_properties().etag
                with path.open("rb") as stream:
                    container.upload_blob("file", stream, **options)
                container.upload_blob("stream", io.BytesIO(data), **options)
                container.upload_blob("counted", io.BytesIO(data), length=size, **options)
                names = ["bytes", "file", "stream", "counted"]
                # Those before 12.19 cannot go back in a generator, and several connections wait for
                # an empty one for ever.
                if VERSION >= (12, 19) and size:
                    names.append("pieces")
                    container.upload_blob("pieces", iter([data[:99], data[99:]]), **options)
                for name in names:
                    blob = container.get_blob_client(name)
                    assert content(blob) == data, (name, size, options)
                    assert blob.get_blob_properties().metadata == {"a": "1"}
    container.upload_blob("text", "grün", encoding="utf-16")
    assert content(container.get_blob_client("text")).decode("utf-16") == "grün"
    settings = ContentSettings(content_type="a/b", content_disposition="inline")
    large = container.upload_blob("large", LARGE, content_settings=settings)
    found = large.get_blob_properties().content_settings
    assert (found.content_type, found.content_disposition) == ("a/b", "inline")
    for data in (b"x", LARGE):
        failing(409, large.upload_blob, data, code="BlobAlreadyExists")
        stale = {"etag": '"0x1"', "match_condition": MatchConditions.IfNotModified, "overwrite": True}
        failing(412, large.upload_blob, data, code="ConditionNotMet", **stale)
    wrong = ContentSettings(content_md5=bytearray(16))
    failing(400, large.upload_blob, b"x", overwrite=True, content_settings=wrong, code="Md5Mismatch")


@checks.of("BlobClient.stage_block", "BlobClient.commit_block_list", "BlobClient.get_block_list")
def block_lists():
    container = new_container("blocks")
    blob = container.get_blob_client("b")
    for block_id in ("1", "2", "3"):
        blob.stage_block(block_id, b"<" + block_id.encode() + b">", validate_content=True)
    committed, uncommitted = blob.get_block_list("all")
    assert (committed, [(each.id, each.size) for each in uncommitted]) == ([], [("1", 3), ("2", 3), ("3", 3)])
    failing(404, blob.get_blob_properties)
    assert [each.name for each in container.list_blobs(include=["uncommittedblobs"])] == ["b"]
    blob.commit_block_list(
        [BlobBlock("2"), BlobBlock("1")], ContentSettings(content_type="a/b"), {"a": "1"}, validate_content=True
    )
    assert content(blob) == b"<2><1>"
    found = blob.get_blob_properties()
    assert found.content_settings.content_type == "a/b"
    assert found.metadata == ({"a": "1"} if VERSION >= (12, 8) else {})  # 12.0 does not send it
    committed, uncommitted = blob.get_block_list()
    assert ([each.id for each in committed], uncommitted) == (["2", "1"], [])
    blob.stage_block("9", b"x")
    failing(400, blob.stage_block, "another length", b"x", code="InvalidBlobOrBlock")
    failing(400, blob.commit_block_list, [BlobBlock("8")], code="InvalidBlockList")
    stale = {"etag": '"0x1"', "match_condition": MatchConditions.IfNotModified}
    failing(412, blob.commit_block_list, [], code="ConditionNotMet", **stale)
    failing(404, container.get_blob_client("gone").get_block_list, code="BlobNotFound")


@checks.of("BlobClient.stage_block_from_url")
def blocks_from_urls():
    container = new_container("blocks-from-urls")
    source = readable(container.upload_blob("source å", LARGE))
    blob = container.get_blob_client("b")
    md5 = bytearray(hashlib.md5(LARGE[5:1000]).digest())
    blob.stage_block_from_url("1", source, 5, 995, source_content_md5=md5)
    blob.stage_block_from_url("2", source, 0, 3)
    blob.commit_block_list([BlobBlock("2"), BlobBlock("1")])
    assert content(blob) == LARGE[:3] + LARGE[5:1000]
    wrong = bytearray(16)
    failing(400, blob.stage_block_from_url, "1", source, 5, 995, source_content_md5=wrong, code="Md5Mismatch")
    failing(404, blob.stage_block_from_url, "1", readable(container.get_blob_client("gone")), 0, 1)


@checks.of("BlobClient.upload_blob_from_url", unless=VERSION < (12, 8))
def uploads_from_urls():
    container = new_container("uploads-from-urls")
    settings = ContentSettings(content_type="a/b")
    source = readable(container.upload_blob("source å", LARGE, content_settings=settings, metadata={"a": "1"}))
    blob = container.get_blob_client("b")
    blob.upload_blob_from_url(source, metadata={"b": "2"}, standard_blob_tier=StandardBlobTier("Cool"))
    found = blob.get_blob_properties()
    assert (content(blob), found.blob_tier) == (LARGE, "Cool")
    assert found.metadata == ({"b": "2"} if VERSION >= (12, 20) else {})  # those before send it as one header
    assert found.content_settings.content_type == "a/b"
    failing(409, blob.upload_blob_from_url, source, code="BlobAlreadyExists")
    blob.upload_blob_from_url(
        source, overwrite=True, include_source_blob_properties=False, content_settings=ContentSettings("c/d")
    )
    assert blob.get_blob_properties().content_settings.content_type == "c/d"


@checks.of("BlobClient.set_standard_blob_tier")
def tiers():
    container = new_container("tiers")
    blob = container.upload_blob("b", b"hello")
    for tier in ("Cool", "Hot", "Archive"):
        blob.set_standard_blob_tier(StandardBlobTier(tier))
        found = blob.get_blob_properties()
        assert (found.blob_tier, bool(found.blob_tier_change_time)) == (tier, True)
        (listed,) = container.list_blobs()
        assert listed.blob_tier == tier
    failing(409, blob.download_blob, code="BlobArchived")
    again = container.get_blob_client("again")
    again.start_copy_from_url(blob.url, standard_blob_tier=StandardBlobTier("Hot"), rehydrate_priority="High")
    blob.set_standard_blob_tier("Cool", rehydrate_priority="High")
    for each, status in ((blob, "rehydrate-pending-to-cool"), (again, "rehydrate-pending-to-hot")):
        assert each.get_blob_properties().archive_status == status
    listed = next(each for each in container.list_blobs() if each.name == "b")
    assert (listed.blob_tier, listed.archive_status) == ("Archive", "rehydrate-pending-to-cool")
    if VERSION >= (12, 8):
        assert blob.get_blob_properties().rehydrate_priority == "High"
    failing(404, container.get_blob_client("gone").set_standard_blob_tier, "Cool", code="BlobNotFound")


@checks.of("BlobClient.query_blob", refused="select over the content of blobs is left out", unless=VERSION < (12, 8))
def queries():
    blob = new_container("queries").upload_blob("b", b"a,b\n1,2\n")
    failing(501, blob.query_blob, "SELECT * from BlobStorage", code="NotImplemented")
