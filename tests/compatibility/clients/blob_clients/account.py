"""The account: properties and statistics of its service, information, a user's key."""

import socket
from urllib.parse import urlsplit

from azure.storage.blob import (
    BlobAnalyticsLogging,
    BlobClient,
    BlobServiceClient,
    CorsRule,
    Metrics,
    RetentionPolicy,
    StaticWebsite,
)
from common import (
    ACCOUNT,
    EARLIER,
    LATER,
    OPTIONS,
    URL,
    Token,
    checks,
    connection_string,
    content,
    failing,
    fetch,
    library,
    new_container,
    service,
)

_found = socket.getaddrinfo
# Not every machine knows that names under localhost mean itself.
socket.getaddrinfo = lambda host, *rest, **more: _found(
    "127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more
)


@checks.of("BlobServiceClient.set_service_properties", "BlobServiceClient.get_service_properties")
def service_properties():
    service.set_service_properties(
        analytics_logging=BlobAnalyticsLogging(read=True, retention_policy=RetentionPolicy(enabled=True, days=3)),
        hour_metrics=Metrics(enabled=True, include_apis=True, retention_policy=RetentionPolicy(enabled=True, days=5)),
        minute_metrics=Metrics(enabled=False),
        cors=[CorsRule(["http://example.org"], ["GET"], max_age_in_seconds=60, allowed_headers=["*"])],
        target_version="2019-02-02",
        static_website=StaticWebsite(enabled=True, index_document="index.html", error_document404_path="404.html"),
    )
    found = service.get_service_properties()
    logging, metrics, website = found["analytics_logging"], found["hour_metrics"], found["static_website"]
    assert (logging.read, logging.write, logging.retention_policy.days) == (True, False, 3)
    assert (metrics.enabled, metrics.include_apis, metrics.retention_policy.days) == (True, True, 5)
    assert found["minute_metrics"].enabled is False
    assert (found["cors"][0].allowed_origins, found["cors"][0].max_age_in_seconds) == ("http://example.org", 60)
    assert found["target_version"] == "2019-02-02"
    assert (website.enabled, website.index_document, website.error_document404_path) == (True, "index.html", "404.html")
    asked = {"Origin": "http://example.org", "Access-Control-Request-Method": "GET"}
    assert fetch(f"{URL}/c/b", "OPTIONS", asked)[1]["Access-Control-Max-Age"] == "60"
    service.set_service_properties(cors=[], static_website=StaticWebsite(enabled=False))
    found = service.get_service_properties()
    assert (found["cors"], found["analytics_logging"].read) == ([], True)  # what is not named stays
    assert fetch(f"{URL}/c/b", "OPTIONS", asked)[0] == 403


@checks.of("BlobServiceClient.get_service_stats")
def secondary():
    container = new_container("secondary")
    container.upload_blob("b", b"hello")
    # These clients write the host of the one endpoint for that of the other: that is for hosts which name the account.
    port = urlsplit(URL).port
    second = BlobServiceClient.from_connection_string(
        connection_string().replace(URL, f"https://{ACCOUNT}.blob.localhost:{port}"),
        secondary_hostname=f"{ACCOUNT}-secondary.blob.localhost:{port}",
        **OPTIONS,
    )
    found = second.get_service_stats()["geo_replication"]
    assert (found["status"], bool(found["last_sync_time"])) == ("live", True)
    second.location_mode = "secondary"
    reader = second.get_blob_client(container.container_name, "b")
    assert f"{ACCOUNT}-secondary" in reader.url
    assert content(reader) == b"hello"
    assert [each.name for each in second.get_container_client(container.container_name).list_blobs()] == ["b"]


@checks.of(
    "BlobServiceClient.get_account_information",
    "ContainerClient.get_account_information",
    "BlobClient.get_account_information",
)
def information():
    container = new_container("information")
    for client in (service, container, container.upload_blob("b", b"hello")):
        found = client.get_account_information()
        assert (found["sku_name"], found["account_kind"]) == ("Standard_RAGRS", "StorageV2"), found


@checks.of("BlobServiceClient.get_user_delegation_key")
def user_delegation():
    by_token = BlobServiceClient(URL, credential=Token(), **OPTIONS)
    container = new_container("delegated", of=by_token)
    blob = container.upload_blob("b", b"hello")
    key = by_token.get_user_delegation_key(EARLIER, LATER)
    assert key.signed_oid
    for token in (
        library.generate_blob_sas(
            ACCOUNT, container.container_name, "b", user_delegation_key=key, permission="r", expiry=LATER
        ),
        library.generate_container_sas(
            ACCOUNT, container.container_name, user_delegation_key=key, permission="rl", expiry=LATER
        ),
    ):
        assert fetch(f"{blob.url}?{token}")[2] == b"hello"
        failing(403, BlobClient.from_blob_url(f"{blob.url}?{token}").delete_blob)
    failing(403, service.get_user_delegation_key, EARLIER, LATER)
