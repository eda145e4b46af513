"""Lists of blobs: prefixes, delimiters, pages, and everything that they can include."""

from common import VERSION, checks, new_container

NAMES = ["a", "dir/1", "dir/2", "dir/sub/3", "dir2/4", "å <&>.txt"]


def filled(label):
    container = new_container(label)
    for name in reversed(NAMES):
        container.upload_blob(name, name)
    return container


@checks.of("ContainerClient.list_blobs")
def by_prefix_and_page():
    container = filled("lists")
    assert [each.name for each in container.list_blobs()] == NAMES
    assert [each.name for each in container.list_blobs(name_starts_with="dir/", timeout=20)] == NAMES[1:4]
    pages = container.list_blobs(results_per_page=4).by_page()
    assert [[each.name for each in page] for page in pages] == [NAMES[:4], NAMES[4:]]
    pages = container.list_blobs(results_per_page=2).by_page()
    next(pages)
    again = container.list_blobs(results_per_page=2).by_page(pages.continuation_token)
    assert [each.name for page in again for each in page] == NAMES[2:]
    assert list(container.list_blobs(name_starts_with="nothing")) == []


@checks.of("ContainerClient.walk_blobs")
def by_delimiter():
    container = filled("walks")
    assert {each.name for each in container.walk_blobs()} == {"a", "dir/", "dir2/", "å <&>.txt"}
    assert {each.name for each in container.walk_blobs("dir/")} == {"dir/1", "dir/2", "dir/sub/"}
    assert {each.name for each in container.walk_blobs(delimiter="r")} == {"a", "dir", "å <&>.txt"}
    pages = container.walk_blobs(results_per_page=1).by_page()
    found = sorted(each.name for page in pages for each in page)
    assert found == ["a", "dir/", "dir2/", "å <&>.txt"]
    (folder,) = container.walk_blobs("dir/sub")
    assert [each.name for each in folder] == ["dir/sub/3"]  # a folder goes on by itself
    (blob,) = container.walk_blobs("a", include=["metadata"])
    assert (blob.name, blob.size) == ("a", 1)


@checks.of("ContainerClient.list_blob_names", unless=VERSION < (12, 19))
def names():
    container = filled("lists-names")
    assert list(container.list_blob_names()) == NAMES
    assert list(container.list_blob_names(name_starts_with="dir/", results_per_page=2)) == NAMES[1:4]


@checks.of("ContainerClient.list_blobs")
def everything_that_they_include():
    container = new_container("lists-include")
    blob = container.upload_blob("b", b"hello", metadata={"Key": "v", "x_1": "w"})
    first = blob.create_snapshot()["snapshot"]
    container.get_blob_client("copy").start_copy_from_url(blob.url)
    container.get_blob_client("uncommitted").stage_block("1", b"x")
    plain = list(container.list_blobs())
    assert [(each.name, each.snapshot, each.metadata or {}) for each in plain] == [("b", None, {}), ("copy", None, {})]
    found = list(container.list_blobs(include=["snapshots", "metadata"]))
    assert [(each.name, each.snapshot) for each in found] == [("b", first), ("b", None), ("copy", None)]
    assert [each.metadata for each in found] == [{"Key": "v", "x_1": "w"}] * 3
    found = list(container.list_blobs(include=["snapshots", "uncommittedblobs"]))
    assert [each.name for each in found] == ["b", "b", "copy", "uncommitted"]
    found = {each.name: each.copy for each in container.list_blobs(include="copy")}
    assert (found["copy"].status, found["copy"].progress, found["b"].status) == ("success", "5/5", None)
    whole, told = plain[0], blob.get_blob_properties()
    for name in ("size", "blob_type", "creation_time", "last_modified", "blob_tier", "server_encrypted"):
        assert getattr(whole, name) == getattr(told, name), name
    assert whole.etag.strip('"') == told.etag.strip('"')
    assert whole.content_settings.content_type == "application/octet-stream"
    assert bytes(whole.content_settings.content_md5) == bytes(told.content_settings.content_md5)
    assert (whole.lease.status, whole.lease.state) == ("unlocked", "available")
    assert whole.container == container.container_name
