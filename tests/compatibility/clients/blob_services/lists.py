"""Lists of blobs: prefixes, delimiters, pages, and everything that they can include."""

from azure.storage.blob import BlobPrefix, Include
from common import VERSION, blocks, checks, new_container

NAMES = ["a", "dir/1", "dir/2", "dir/sub/3", "dir2/4", "å <&>.txt"]


@checks.of("BaseBlobService.list_blobs")
def by_prefix_delimiter_and_page():
    container = new_container("lists")
    for name in reversed(NAMES):
        blocks.create_blob_from_text(container, name, name)
    assert [each.name for each in blocks.list_blobs(container)] == NAMES
    assert [each.name for each in blocks.list_blobs(container, prefix="dir/")] == NAMES[1:4]
    found = list(blocks.list_blobs(container, delimiter="/", timeout=20))
    # These libraries give the prefixes of a page before its blobs.
    assert {(type(each) is BlobPrefix, each.name) for each in found} == {
        (False, "a"),
        (True, "dir/"),
        (True, "dir2/"),
        (False, "å <&>.txt"),
    }
    assert {each.name for each in blocks.list_blobs(container, "dir/", delimiter="/")} == {"dir/1", "dir/2", "dir/sub/"}
    page, names = blocks.list_blobs(container, num_results=2), []
    while True:
        names.append([each.name for each in page])
        if not page.next_marker:
            break
        page = blocks.list_blobs(container, num_results=2, marker=page.next_marker)
    assert names == [NAMES[:2], NAMES[2:4], NAMES[4:]]
    assert list(blocks.list_blobs(container, prefix="nothing")) == []


@checks.of("BaseBlobService.list_blobs")
def everything_that_they_include():
    container = new_container("lists-include")
    blocks.create_blob_from_text(container, "b", "hello", metadata={"Key": "v", "x_1": "å".encode().decode("latin-1")})
    first = blocks.snapshot_blob(container, "b").snapshot
    blocks.copy_blob(container, "copy", blocks.make_blob_url(container, "b"))
    blocks.put_block(container, "uncommitted", b"x", "AAAA")
    plain = list(blocks.list_blobs(container))
    assert [(each.name, each.snapshot, each.metadata) for each in plain] == [("b", None, None), ("copy", None, None)]
    found = list(blocks.list_blobs(container, include=Include(snapshots=True, metadata=True)))
    assert [(each.name, each.snapshot) for each in found] == [("b", first), ("b", None), ("copy", None)]
    assert [each.metadata["Key"] for each in found] == ["v", "v", "v"]
    found = list(blocks.list_blobs(container, include=Include(snapshots=True, uncommitted_blobs=True)))
    assert [each.name for each in found] == ["b", "b", "copy", "uncommitted"]
    found = {each.name: each.properties.copy for each in blocks.list_blobs(container, include=Include(copy=True))}
    assert (found["copy"].status, found["copy"].progress, found["b"].status) == ("success", "5/5", None)
    whole = plain[0].properties
    assert (whole.content_length, whole.blob_type, whole.content_settings.content_type) == (
        5,
        "BlockBlob",
        "application/octet-stream",
    )
    assert (whole.etag, whole.content_settings.content_md5) == (
        blocks.get_blob_properties(container, "b").properties.etag.strip('"'),
        "XUFAKrxLKna5cZ2REBfFkg==",
    )
    assert (whole.lease.status, whole.lease.state) == ("unlocked", "available")


@checks.of("BaseBlobService.list_blob_names", unless=VERSION < (2, 0))
def names():
    container = new_container("lists-names")
    for name in NAMES:
        blocks.create_blob_from_text(container, name, name)
    assert list(blocks.list_blob_names(container)) == NAMES
    found = list(blocks.list_blob_names(container, prefix="dir/", delimiter="/"))
    assert found == ["dir/sub/", "dir/1", "dir/2"]  # the prefixes of a page first
    page = blocks.list_blob_names(container, num_results=4)
    assert list(page) == NAMES[:4]
    assert list(blocks.list_blob_names(container, num_results=4, marker=page.next_marker)) == NAMES[4:]
