"""Page blobs: pages and what changed in them, sizes, sequence numbers, incremental copies, tiers."""

import hashlib
import io

from azure.core import MatchConditions
from azure.storage.blob import ContentSettings, PremiumPageBlobTier
from common import ACCOUNT, KEY, LARGE, LATER, VERSION, checks, content, failing, library, new_container, readable

PAGE = LARGE[:512]


def spans(ranges):
    return [(each["start"], each["end"]) for each in ranges]


@checks.of(
    "BlobClient.create_page_blob", "BlobClient.upload_page", "BlobClient.clear_page", "BlobClient.get_page_ranges"
)
def by_pages():
    container = new_container("pages")
    blob = container.get_blob_client("b")
    done = blob.create_page_blob(8 * 512, ContentSettings(content_type="a/b"), {"a": "1"}, sequence_number=3)
    assert done["etag"] == blob.get_blob_properties().etag
    failing(409, blob.create_page_blob, 512, match_condition=MatchConditions.IfMissing, code="BlobAlreadyExists")
    assert blob.get_page_ranges() == ([], [])
    done = blob.upload_page(PAGE * 4, 512, 2048, validate_content=True, if_sequence_number_lte=3)
    assert done["blob_sequence_number"] == 3
    assert spans(blob.get_page_ranges()[0]) == [(512, 2559)]
    snapshot = blob.create_snapshot()["snapshot"]
    blob.clear_page(1024, 512, if_sequence_number_eq=3)
    blob.upload_page(PAGE, 3584, 512, if_sequence_number_lt=4)
    assert spans(blob.get_page_ranges()[0]) == [(512, 1023), (1536, 2559), (3584, 4095)]
    assert spans(blob.get_page_ranges(0, 1024)[0]) == [(512, 1023)]
    assert spans(container.get_blob_client("b", snapshot=snapshot).get_page_ranges()[0]) == [(512, 2559)]
    changed, cleared = blob.get_page_ranges(previous_snapshot_diff=snapshot)
    assert (spans(changed), spans(cleared)) == ([(3584, 4095)], [(1024, 1535)])
    nothing = bytes(512)
    assert content(blob) == nothing + PAGE + nothing + PAGE * 2 + nothing * 2 + PAGE
    number = {"code": "SequenceNumberConditionNotMet"}
    failing(412, blob.upload_page, PAGE, 0, 512, if_sequence_number_lt=3, **number)
    failing(412, blob.clear_page, 0, 512, if_sequence_number_eq=4, **number)
    stale = {"etag": '"0x1"', "match_condition": MatchConditions.IfNotModified}
    failing(412, blob.clear_page, 0, 512, code="ConditionNotMet", **stale)
    failing(416, blob.upload_page, PAGE, 4096, 512, code="InvalidPageRange")
    (listed,) = container.list_blobs()
    assert (listed.blob_type, listed.size) == ("PageBlob", 8 * 512)
    lease = blob.acquire_lease()
    failing(412, blob.clear_page, 0, 512, code="LeaseIdMissing")
    blob.clear_page(0, 4096, lease=lease)
    assert blob.get_page_ranges(lease=lease) == ([], [])
    lease.release()
    failing(409, blob.stage_block, "1", b"x", code="InvalidBlobType")


@checks.of("BlobClient.list_page_ranges", unless=VERSION < (12, 19))
def lists():
    blob = new_container("pages-lists").get_blob_client("b")
    blob.create_page_blob(20 * 512)
    for number in range(0, 20, 2):
        blob.upload_page(PAGE, number * 512, 512)
    snapshot = blob.create_snapshot()
    blob.clear_page(0, 1024)
    blob.upload_page(PAGE, 512 * 9, 512)
    found = [(each.start // 512, each.end // 512, each.cleared) for each in blob.list_page_ranges(results_per_page=2)]
    alone = [(number, number, False) for number in (2, 4, 6, 12, 14, 16, 18)]
    assert found == [*alone[:3], (8, 10, False), *alone[3:]]
    found = [(each.start // 512, each.cleared) for each in blob.list_page_ranges(previous_snapshot=snapshot)]
    assert sorted(found) == [(0, True), (9, False)]
    assert [each.start for each in blob.list_page_ranges(offset=2048, length=512)] == [2048]


@checks.of("BlobClient.get_page_range_diff_for_managed_disk", unless=VERSION < (12, 8))
def differences_by_url():
    container = new_container("pages-differences")
    blob = container.get_blob_client("b")
    blob.create_page_blob(2048)
    blob.upload_page(PAGE, 0, 512)
    snapshot = container.get_blob_client("b", snapshot=blob.create_snapshot())
    blob.upload_page(PAGE, 1024, 512)
    changed, cleared = blob.get_page_range_diff_for_managed_disk(snapshot.url)
    assert (spans(changed), cleared) == ([(1024, 1535)], [])


@checks.of("BlobClient.resize_blob", "BlobClient.set_sequence_number")
def sizes_and_numbers():
    blob = new_container("pages-sizes").get_blob_client("b")
    blob.create_page_blob(1024)
    blob.upload_page(PAGE * 2, 0, 1024)
    etag = blob.get_blob_properties().etag
    stale = {"etag": '"0x1"', "match_condition": MatchConditions.IfNotModified}
    failing(412, blob.resize_blob, 512, code="ConditionNotMet", **stale)
    assert blob.resize_blob(512, etag=etag, match_condition=MatchConditions.IfNotModified)["etag"] != etag
    blob.resize_blob(2048)
    assert content(blob) == PAGE + bytes(3 * 512)
    for action, given, expected in (("update", "5", 5), ("max", "4", 5), ("max", "9", 9), ("increment", None, 10)):
        assert blob.set_sequence_number(action, given)["blob_sequence_number"] == expected
        assert blob.get_blob_properties().page_blob_sequence_number == expected


@checks.of("BlobClient.upload_blob")
def from_everything():
    container = new_container("pages-from")
    data = LARGE[: 1 << 20] + bytes(2 << 20) + LARGE
    for options in ({}, {"max_concurrency": 3}, {"validate_content": True}):
        for name, source in (("bytes", data), ("stream", io.BytesIO(data))):
            blob = container.get_blob_client(name)
            blob.upload_blob(source, blob_type="PageBlob", length=len(data), overwrite=True, **options)
            assert content(blob) == data, (name, options)
            # pieces of zeros are not sent
            assert spans(blob.get_page_ranges()[0])[0] == (0, (1 << 20) - 1)
    failing(409, blob.upload_blob, PAGE, blob_type="PageBlob", code="BlobAlreadyExists")


# Between these two, the library hands an option of other copies on to the transport, which does not know it.
@checks.of("BlobClient.start_copy_from_url", unless=(12, 8) <= VERSION < (12, 20))
def incremental_copies():
    container = new_container("pages-increments")
    source, backup = container.get_blob_client("source"), container.get_blob_client("backup")
    source.create_page_blob(1024)
    token = library.generate_container_sas(
        ACCOUNT, container.container_name, account_key=KEY, permission="r", expiry=LATER
    )
    urls = []
    for number, start in enumerate((0, 512)):
        source.upload_page(PAGE, start, 512)
        snapshot = container.get_blob_client("source", snapshot=source.create_snapshot())
        urls.append(f"{snapshot.url}&{token}")
        backup.start_copy_from_url(urls[-1], incremental_copy=True)
        found = backup.get_blob_properties()
        assert (found.copy.status, found.copy.incremental_copy) == ("success", True)
        listed = [each for each in container.list_blobs(include=["snapshots", "copy"]) if each.name == "backup"]
        assert len([each for each in listed if each.snapshot]) == number + 1
        newest = container.get_blob_client("backup", snapshot=listed[-2].snapshot)
        assert spans(newest.get_page_ranges()[0]) == [(0, start + 511)]
    earlier = {"code": "IncrementalCopyOfEarlierVersionSnapshotNotAllowed", "incremental_copy": True}
    failing(409, backup.start_copy_from_url, urls[0], **earlier)


@checks.of("BlobClient.set_premium_page_blob_tier", refused="only premium accounts have these tiers")
def tiers():
    container = new_container("pages-tiers")
    blob, copy = container.get_blob_client("b"), container.get_blob_client("copy")
    blob.create_page_blob(512, premium_page_blob_tier=PremiumPageBlobTier("P10"))
    copy.start_copy_from_url(blob.url, premium_page_blob_tier=PremiumPageBlobTier("P20"))
    assert [each.get_blob_properties().blob_tier for each in (blob, copy)] == ["P10", "P20"]
    failing(400, blob.set_premium_page_blob_tier, "P20", code="InvalidBlobTier")


@checks.of("BlobClient.upload_pages_from_url")
def from_urls():
    container = new_container("pages-from-urls")
    source = container.upload_blob("source å", LARGE)
    url, etag = readable(source), source.get_blob_properties().etag
    blob = container.get_blob_client("b")
    blob.create_page_blob(2048)
    md5 = bytearray(hashlib.md5(LARGE[5 : 5 + 1024]).digest())
    fresh = {"source_etag": etag, "source_match_condition": MatchConditions.IfNotModified}
    blob.upload_pages_from_url(url, 512, 1024, 5, source_content_md5=md5, if_sequence_number_eq=0, **fresh)
    assert content(blob) == bytes(512) + LARGE[5 : 5 + 1024] + bytes(512)
    stale = {"source_etag": '"0x1"', "source_match_condition": MatchConditions.IfNotModified}
    failing(412, blob.upload_pages_from_url, url, 0, 512, 0, code="SourceConditionNotMet", **stale)
