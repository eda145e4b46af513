"""The account: properties and statistics of its service, information, a user's key, batches."""

import contextlib
import os

import requests
from common import (
    ACCOUNT,
    LATER,
    NOW,
    URL,
    VERSION,
    blocks,
    checks,
    content,
    failing,
    library,
    models,
    new_container,
    properties,
    service,
)


@checks.of("BaseBlobService.set_blob_service_properties", "BaseBlobService.get_blob_service_properties")
def service_properties():
    rule = models.CorsRule(
        ["http://example.org"], ["GET"], max_age_in_seconds=60, exposed_headers=["x-ms-meta-a"], allowed_headers=["*"]
    )
    blocks.set_blob_service_properties(
        logging=models.Logging(read=True, retention_policy=models.RetentionPolicy(True, 3)),
        hour_metrics=models.Metrics(True, include_apis=True, retention_policy=models.RetentionPolicy(True, 5)),
        minute_metrics=models.Metrics(False),
        cors=[rule],
        target_version="2016-05-31",
    )
    found = blocks.get_blob_service_properties()
    assert (found.logging.read, found.logging.write, found.logging.retention_policy.days) == (True, False, 3)
    assert (found.hour_metrics.enabled, found.hour_metrics.include_apis) == (True, True)
    assert (found.hour_metrics.retention_policy.days, found.minute_metrics.enabled) == (5, False)
    assert (found.cors[0].allowed_origins, found.cors[0].max_age_in_seconds) == (["http://example.org"], 60)
    assert found.target_version == "2016-05-31"
    assert list(blocks.list_blobs("$logs")) == []  # it is there since something is to be logged
    asked = {"Origin": "http://example.org", "Access-Control-Request-Method": "GET"}
    assert requests.options(f"{URL}/c/b", headers=asked, timeout=30).headers["Access-Control-Max-Age"] == "60"
    blocks.set_blob_service_properties(cors=[])
    found = blocks.get_blob_service_properties()
    assert (found.cors, found.logging.read) == ([], True)  # what is not named stays
    assert requests.options(f"{URL}/c/b", headers=asked, timeout=30).status_code == 403


@checks.of("BaseBlobService.set_blob_service_properties", unless=VERSION < (2, 0))
def static_website():
    blocks.set_blob_service_properties(static_website=models.StaticWebsite(True, "index.html", "404.html"))
    found = blocks.get_blob_service_properties().static_website
    assert (found.enabled, found.index_document, found.error_document_404_path) == (True, "index.html", "404.html")
    blocks.set_blob_service_properties(static_website=models.StaticWebsite(False))
    assert blocks.get_blob_service_properties().static_website.enabled is False


@checks.of("BaseBlobService.get_blob_service_stats", "BaseBlobService.get_blob_to_text")
def secondary():
    container = new_container("secondary")
    blocks.create_blob_from_text(container, "b", "hello")
    second = service()
    second.secondary_endpoint = f"{URL.partition('://')[2]}-secondary"  # those before 2.0 have no other way
    stats = second.get_blob_service_stats()
    assert stats.geo_replication.status == "live"
    assert stats.geo_replication.last_sync_time
    second.location_mode = models.LocationMode.SECONDARY
    assert second.get_blob_to_text(container, "b").content == "hello"
    assert [blob.name for blob in second.list_blobs(container)] == ["b"]
    assert second.exists(container, "b")


@checks.of("BaseBlobService.get_blob_account_information", unless=VERSION < (2, 0))
def account_information():
    container = new_container("information")
    blocks.create_blob_from_text(container, "b", "hello")
    for names in ((), (container,), (container, "b")):
        found = blocks.get_blob_account_information(*names)
        assert (found.sku_name, found.account_kind) == ("Standard_RAGRS", "StorageV2"), vars(found)


@checks.of("BaseBlobService.get_user_delegation_key", unless=VERSION < (2, 0))
def user_delegation():
    from azure.storage.common import TokenCredential

    container = new_container("delegated")
    by_token = service(account_name=ACCOUNT, token_credential=TokenCredential(os.environ["TOKEN"]), custom_domain=URL)
    by_token.create_blob_from_text(container, "b", "hello")
    key = by_token.get_user_delegation_key(NOW, LATER)
    assert key.signed_oid
    for token in (
        by_token.generate_blob_shared_access_signature(
            container, "b", permission="r", expiry=LATER, user_delegation_key=key
        ),
        by_token.generate_container_shared_access_signature(
            container, permission="rl", expiry=LATER, user_delegation_key=key
        ),
    ):
        assert requests.get(by_token.make_blob_url(container, "b", sas_token=token), timeout=30).content == b"hello"
        assert requests.delete(by_token.make_blob_url(container, "b", sas_token=token), timeout=30).status_code == 403
    failing(403, blocks.get_user_delegation_key, NOW, LATER)


@contextlib.contextmanager
def retention():
    """Deleted blobs are kept in here."""
    blocks.set_blob_service_properties(delete_retention_policy=models.DeleteRetentionPolicy(True, 7))
    try:
        yield
    finally:
        blocks.set_blob_service_properties(delete_retention_policy=models.DeleteRetentionPolicy(False))


@checks.of("BaseBlobService.undelete_blob", "BaseBlobService.delete_blob", unless=VERSION < (2, 0))
def undelete():
    container = new_container("undelete")
    with retention():
        assert blocks.get_blob_service_properties().delete_retention_policy.days == 7
        blocks.create_blob_from_text(container, "b", "hello", metadata={"a": "1"})
        snapshot = blocks.snapshot_blob(container, "b").snapshot
        blocks.delete_blob(container, "b", delete_snapshots="include")
        assert not list(blocks.list_blobs(container))
        found = list(blocks.list_blobs(container, include=library.Include(deleted=True, snapshots=True)))
        assert [(each.snapshot, each.deleted) for each in found] == [(snapshot, True), (None, True)], found
        # 6, not 7, once the first moment of the period has passed; this service rounds up.
        assert {each.properties.remaining_retention_days for each in found} <= {6, 7}
        assert found[1].properties.deleted_time.replace(tzinfo=None) >= NOW.replace(microsecond=0)
        blocks.undelete_blob(container, "b")
        assert content(container, "b") == b"hello"
        assert content(container, "b", snapshot=snapshot) == b"hello"
        assert blocks.get_blob_metadata(container, "b") == {"a": "1"}
    blocks.undelete_blob(container, "b")  # there is nothing to do


@checks.of("BaseBlobService.batch_delete_blobs", unless=VERSION < (2, 0))
def batch_of_deletions():
    container = new_container("batch-delete")
    names = ["plain", "dir/a b+c%2F å.txt", "with-snapshot", "kept"]
    for name in names:
        blocks.create_blob_from_text(container, name, "x")
    blocks.snapshot_blob(container, "with-snapshot")
    lease = blocks.acquire_blob_lease(container, "kept")
    parts = [library.BatchDeleteSubRequest(container, name) for name in (*names, "gone")]
    found = blocks.batch_delete_blobs(parts)
    assert [each.http_response.status for each in found] == [202, 202, 409, 412, 404], vars(found[0])
    assert [each.batch_sub_request for each in found] == parts
    found = blocks.batch_delete_blobs(
        [
            library.BatchDeleteSubRequest(container, "with-snapshot", delete_snapshots="include"),
            library.BatchDeleteSubRequest(container, "kept", lease_id=lease),
        ]
    )
    assert [each.http_response.status for each in found] == [202, 202], found
    assert not list(blocks.list_blobs(container))


@checks.of("BlockBlobService.batch_set_standard_blob_tier", unless=VERSION < (2, 0))
def batch_of_tiers():
    container = new_container("batch-tier")
    for name in ("a", "dir/b å"):
        blocks.create_blob_from_text(container, name, "x")
    found = blocks.batch_set_standard_blob_tier(
        [
            library.BatchSetBlobTierSubRequest(container, "a", "Cool"),
            library.BatchSetBlobTierSubRequest(container, "dir/b å", "Archive"),
            library.BatchSetBlobTierSubRequest(container, "gone", "Archive"),
        ]
    )
    assert [each.http_response.status for each in found] == [200, 200, 404], found
    assert [properties(container, name).blob_tier for name in ("a", "dir/b å")] == ["Cool", "Archive"]
