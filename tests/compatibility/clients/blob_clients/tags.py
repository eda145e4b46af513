"""Tags of blobs, and searches by them."""

from common import NAME, VERSION, checks, content, failing, new_container, service

OLD = VERSION < (12, 8)


@checks.of("BlobClient.set_blob_tags", "BlobClient.get_blob_tags", unless=OLD)
def of_blobs():
    container = new_container("tags")
    blob = container.upload_blob("b", b"hello", tags={"year": "2026", "Kind of": "a/b +-.:=_"})
    assert blob.get_blob_tags() == {"year": "2026", "Kind of": "a/b +-.:=_"}
    assert blob.get_blob_properties().tag_count == 2
    (listed,) = container.list_blobs(include=["tags"])
    assert listed.tags == {"year": "2026", "Kind of": "a/b +-.:=_"}
    blob.set_blob_tags({"year": "2027"})
    assert blob.get_blob_tags() == {"year": "2027"}
    assert content(blob, if_tags_match_condition="year > '2026'") == b"hello"
    failing(412, blob.download_blob, if_tags_match_condition="year = '2026'", code="ConditionNotMet")
    failing(412, blob.set_blob_tags, {}, if_tags_match_condition="year = '2026'", code="ConditionNotMet")
    failing(400, blob.set_blob_tags, {str(number): "x" for number in range(11)})
    blob.set_blob_tags()
    assert blob.get_blob_tags() == {}


@checks.of("BlobServiceClient.find_blobs_by_tags", unless=OLD)
def searches():
    container = new_container("tags-searches")
    for number in range(5):
        container.upload_blob(f"b{number}", b"", tags={"owner": NAME, "number": str(number)})
    where = f"owner = '{NAME}' AND number >= '1'"
    pages = service.find_blobs_by_tags(where, results_per_page=3).by_page()
    found = [[each.name for each in page] for page in pages]
    assert found == [["b1", "b2", "b3"], ["b4"]]
    (one,) = service.find_blobs_by_tags(f"@container = '{container.container_name}' AND number = '4'")
    assert (one.name, one.container_name) == ("b4", container.container_name)
    failing(400, lambda: list(service.find_blobs_by_tags("owner")))


@checks.of("ContainerClient.find_blobs_by_tags", unless=VERSION < (12, 19))
def searches_of_containers():
    container = new_container("tags-containers")
    container.upload_blob("b", b"", tags={"color": "red"})
    new_container("tags-containers-other").upload_blob("b", b"", tags={"color": "red"})
    (found,) = container.find_blobs_by_tags("color = 'red'")
    assert (found.name, found.container_name, found.tags) == ("b", container.container_name, {"color": "red"})
