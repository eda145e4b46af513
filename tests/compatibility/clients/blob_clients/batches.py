"""Batches of deletions and tiers."""

from azure.storage.blob import PartialBatchErrorException
from common import VERSION, checks, new_container

#: 12.0 does not encode names in batches.
ODD = "dir/a b+c%2F å.txt" if VERSION >= (12, 8) else "dir/odd.txt"


@checks.of("ContainerClient.delete_blobs")
def deletions():
    container = new_container("batch-delete")
    names = ["plain", ODD, "with-snapshot", "kept"]
    for name in names:
        container.upload_blob(name, b"x")
    container.get_blob_client("with-snapshot").create_snapshot()
    lease = container.get_blob_client("kept").acquire_lease()
    answers = container.delete_blobs(*names, "gone", raise_on_any_failure=False)
    assert [each.status_code for each in answers] == [202, 202, 409, 412, 404]
    try:
        container.delete_blobs("kept", "gone")
    except PartialBatchErrorException as failure:
        assert sorted(each.status_code for each in failure.parts) == [404, 412]
    else:
        raise AssertionError("a batch with failures did not fail")
    # Later versions document it as 12.0 does, and take it with the name alone.
    if VERSION < (12, 8):
        answers = container.delete_blobs("kept", lease=lease)
    else:
        answers = container.delete_blobs({"name": "kept", "lease_id": lease.id})
    assert [each.status_code for each in answers] == [202]
    answers = container.delete_blobs("with-snapshot", delete_snapshots="include")
    assert [each.status_code for each in answers] == [202]
    assert not list(container.list_blobs())


@checks.of("ContainerClient.set_standard_blob_tier_blobs")
def tiers():
    container = new_container("batch-tier")
    for name in ("a", ODD):
        container.upload_blob(name, b"x")
    answers = container.set_standard_blob_tier_blobs("Cool", "a", ODD, "gone", raise_on_any_failure=False)
    assert [each.status_code for each in answers] == [200, 200, 404]
    assert {each.blob_tier for each in container.list_blobs()} == {"Cool"}
    if VERSION >= (12, 8):
        each_its_own = [{"name": "a", "blob_tier": "Hot"}, {"name": ODD, "blob_tier": "Archive"}]
        container.set_standard_blob_tier_blobs(None, *each_its_own)
        assert [each.blob_tier for each in container.list_blobs()] == ["Hot", "Archive"]


@checks.of("ContainerClient.set_premium_page_blob_tier_blobs", refused="only premium accounts have these tiers")
def premium_tiers():
    container = new_container("batch-premium")
    container.get_blob_client("a").create_page_blob(512)
    answers = container.set_premium_page_blob_tier_blobs("P10", "a", raise_on_any_failure=False)
    assert [each.status_code for each in answers] == [400]
