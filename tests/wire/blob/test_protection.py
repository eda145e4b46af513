"""What an account keeps of its blobs and containers, by the newest SDK, and through a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import (
    BlobAnalyticsLogging,
    BlobServiceClient,
    CorsRule,
    Metrics,
    RetentionPolicy,
    StaticWebsite,
)
from tests.servers import Server, millpond, running_server, start_server
from tests.wire.blob.raw import RawClient
from tests.wire.blob.test_durability import killed

from millpond.blob.request import DEFAULT_VERSION

LEASE = "1d3a1e5c-25a0-4d4e-b2d0-3f4f2a9b6c11"


def client(server: Server) -> BlobServiceClient:
    return BlobServiceClient.from_connection_string(server.credentials["STORAGE_CONNECTION_STRING"], retry_total=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose account keeps deleted containers, and notes when blobs are read."""
    data = tmp_path_factory.mktemp("protection") / "data"
    with running_server(data, "--only", "blob") as server:
        name = server.credentials["STORAGE_ACCOUNT_NAME"]
        done = millpond("account", "blob", name, "--container-retention", "7", "--last-access", "--data", data)
        assert done.returncode == 0, done.stderr
        yield server


def test_service_properties_change_part_by_part(server: Server) -> None:
    with client(server) as service:
        service.set_service_properties(
            analytics_logging=BlobAnalyticsLogging(read=True, retention_policy=RetentionPolicy(True, 5)),
            hour_metrics=Metrics(enabled=True, include_apis=True),
            cors=[CorsRule(["https://a", "https://b"], ["GET", "PUT"], max_age_in_seconds=9)],
            target_version="2019-02-02",
        )
        service.set_service_properties(static_website=StaticWebsite(enabled=True, index_document="index.html"))
        found = service.get_service_properties()
        assert found["analytics_logging"].retention_policy.days == 5
        assert found["hour_metrics"].include_apis
        assert (found["cors"][0].allowed_origins, found["cors"][0].max_age_in_seconds) == ("https://a,https://b", 9)
        assert found["static_website"].index_document == "index.html"
        assert found["target_version"] == "2019-02-02"
        with pytest.raises(HttpResponseError):
            service.set_service_properties(cors=[CorsRule(["*"], ["GET"])] * 6)
        service.set_service_properties(cors=[])
        assert service.get_service_properties()["cors"] == []


def test_any_published_version_may_be_the_default(server: Server) -> None:
    raw = RawClient.of(server.credentials)
    path = raw.path("?restype=service&comp=properties")
    with client(server) as service:
        for version, served in (("2013-08-15", None), ("2015-02-21", "2015-02-21"), ("2030-01-01", "2030-01-01")):
            service.set_service_properties(target_version=version)
            assert service.get_service_properties()["target_version"] == version
            answer = raw.signed("GET", path, {"x-ms-version": ""})
            assert answer.status == 200
            assert answer.headers["x-ms-version"] == (served or DEFAULT_VERSION)  # older ones are not served
        for version in ("2013-08-16", "yesterday"):
            with pytest.raises(HttpResponseError) as refused:
                service.set_service_properties(target_version=version)
            assert refused.value.error_code == "InvalidXmlNodeValue"  # type: ignore[attr-defined]


def test_a_deleted_container_is_listed_and_restored(server: Server) -> None:
    with client(server) as service:
        with service.create_container("gone") as container:
            container.upload_blob("b", b"hello")
            container.delete_container()
        (deleted,) = [found for found in service.list_containers(include_deleted=True) if found.deleted]
        assert deleted.name == "gone"
        assert deleted.version
        with service.undelete_container("gone", deleted.version) as restored:
            assert restored.download_blob("b").readall() == b"hello"
        assert not [found for found in service.list_containers(include_deleted=True) if found.deleted]
        assert "$logs" in [found.name for found in service.list_containers(include_system=True)]
        assert "$logs" not in [found.name for found in service.list_containers()]


def test_logs_have_their_place_when_something_is_to_be_logged(own_server: Server) -> None:
    with client(own_server) as service, service.get_container_client("$logs") as logs:
        service.set_service_properties(analytics_logging=BlobAnalyticsLogging())
        assert not logs.exists()
        service.set_service_properties(analytics_logging=BlobAnalyticsLogging(read=True))
        assert list(logs.list_blobs()) == []


def test_a_read_is_noted(server: Server) -> None:
    with client(server) as service, service.create_container("read") as container:
        blob = container.upload_blob("b", b"hello")
        blob.download_blob().readall()
        accessed = blob.get_blob_properties().last_accessed_on
        assert accessed is not None
        assert [found.last_accessed_on for found in container.list_blobs()] == [accessed]


def test_leases_snapshots_and_deleted_blobs_outlive_a_crash(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start_server(data, "--only", "blob")
    try:
        with client(server) as service, service.create_container("cont") as container:
            service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=3))
            blob = container.upload_blob("b", b"one")
            snapshot = str(blob.create_snapshot()["snapshot"])
            blob.upload_blob(b"two", overwrite=True)
            blob.acquire_lease(lease_id=LEASE)
            other = container.upload_blob("other", b"three")
            other.set_standard_blob_tier("Archive")
            other.set_standard_blob_tier("Hot")
            container.upload_blob("deleted", b"four").delete_blob()
        killed(server)
        server = start_server(data, "--only", "blob")
        with client(server) as service, service.get_container_client("cont") as container:
            blob = container.get_blob_client("b")
            with pytest.raises(HttpResponseError) as refused:
                blob.delete_blob(delete_snapshots="include")
            assert refused.value.error_code == "LeaseIdMissing"  # type: ignore[attr-defined]
            assert blob.upload_blob(b"five", overwrite=True, headers={"x-ms-lease-id": LEASE})
            assert container.get_blob_client("b", snapshot=snapshot).download_blob().readall() == b"one"
            assert container.get_blob_client("other").get_blob_properties().archive_status == "rehydrate-pending-to-hot"
            deleted = container.get_blob_client("deleted")
            with pytest.raises(ResourceNotFoundError):
                deleted.download_blob()
            (found,) = container.list_blobs(name_starts_with="deleted", include=["deleted"])
            assert (found.deleted, found.remaining_retention_days) == (True, 3)
            deleted.undelete_blob()
            assert deleted.download_blob().readall() == b"four"
    finally:
        killed(server)


def test_a_switch_of_versions_takes_effect_on_a_running_server(server: Server) -> None:
    data = server.data
    name = server.credentials["STORAGE_ACCOUNT_NAME"]
    with client(server) as service, service.create_container("versioned") as container:
        assert container.get_blob_client("b").upload_blob(b"zero").get("version_id") is None
        millpond("account", "blob", name, "--versioning", "--data", data)
        blob = container.get_blob_client("b")
        first = blob.upload_blob(b"one", overwrite=True)["version_id"]
        second = blob.upload_blob(b"two", overwrite=True)["version_id"]
        assert first < second
        assert blob.download_blob(version_id=first).readall() == b"one"
        assert [each.version_id for each in container.list_blobs(include=["versions"])][-2:] == [first, second]
        blob.delete_blob()
        assert not blob.exists()
        assert blob.download_blob(version_id=second).readall() == b"two"
        millpond("account", "blob", name, "--no-versioning", "--data", data)
