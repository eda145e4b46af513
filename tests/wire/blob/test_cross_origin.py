"""What browsers are told of the rules that the account has, and the account's second endpoint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, CorsRule
from tests.wire.blob.raw import RawClient

PAGE = "https://page.example.com"


@pytest.fixture
def path(service: BlobServiceClient, container: ContainerClient, raw: RawClient) -> Iterator[str]:
    service.set_service_properties(
        cors=[
            CorsRule(
                [PAGE, "https://*.example.org"],
                ["GET", "PUT"],
                allowed_headers=["x-ms-meta-*", "x-ms-blob-type"],
                exposed_headers=["x-ms-meta-*", "ETag"],
                max_age_in_seconds=77,
            ),
            CorsRule(["*"], ["HEAD"], max_age_in_seconds=5),
        ]
    )
    container.upload_blob("b", b"hello", metadata={"one": "1"})
    yield f"{raw.path(container.container_name)}/b"
    service.set_service_properties(cors=[])


def preflight(raw: RawClient, path: str, origin: str, method: str, headers: str = "") -> dict[str, str] | str:
    asked = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    answer = raw.send("OPTIONS", path, {name: value for name, value in asked.items() if value})
    if answer.status != 200:
        assert answer.status == 403
        return answer.code
    return {
        name: value for name, value in answer.headers.items() if name.startswith("access-control") or name == "vary"
    }


def test_preflights(raw: RawClient, path: str) -> None:
    assert preflight(raw, path, PAGE, "PUT", "x-ms-meta-a, X-MS-Blob-Type") == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "PUT",
        "access-control-allow-headers": "x-ms-meta-a, X-MS-Blob-Type",
        "access-control-max-age": "77",
        "vary": "Origin",
    }
    assert preflight(raw, path, "http://anywhere", "HEAD") == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "HEAD",
        "access-control-max-age": "5",
    }
    assert isinstance(preflight(raw, path, "https://a.b.example.org", "GET"), dict)
    for origin, method, headers in (
        (PAGE, "DELETE", ""),
        (PAGE, "PUT", "x-other"),
        ("https://example.org", "GET", ""),
        ("http://page.example.com", "GET", ""),
        ("https://evil.com/.example.org.evil.com", "GET", ""),
        (PAGE.upper(), "GET", ""),
    ):
        assert preflight(raw, path, origin, method, headers) == "CorsPreflightFailure"
    assert raw.send("OPTIONS", path, {"origin": PAGE}).outcome == (400, "MissingRequiredHeader")


def test_answers_say_who_may_read_them(raw: RawClient, path: str) -> None:
    answer = raw.signed("GET", path, {"origin": PAGE})
    assert answer.body == b"hello"
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == "etag,x-ms-meta-one"
    refused = raw.send("GET", path, {"origin": PAGE})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (404, PAGE)
    for headers in ({}, {"origin": "https://evil.com"}):
        answer = raw.signed("GET", path, headers)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, None)


def test_without_rules_nothing_is_said(raw: RawClient) -> None:
    path = raw.path("?comp=list")
    assert raw.signed("GET", path, {"origin": PAGE}).headers["access-control-allow-origin"] is None
    assert preflight(raw, path, PAGE, "GET") == "CorsPreflightFailure"
    assert raw.send("OPTIONS", "/nobody/c", {"origin": PAGE}).status == 404


def test_the_default_version_is_that_of_requests_without_one(service: BlobServiceClient, raw: RawClient) -> None:
    service.set_service_properties(target_version="2019-12-12")
    answer = raw.signed("GET", raw.path("?restype=account&comp=properties"), {"x-ms-version": ""})
    assert (answer.status, answer.headers["x-ms-version"]) == (200, "2019-12-12")


def test_the_secondary_endpoint_is_for_reads(raw: RawClient, container: ContainerClient) -> None:
    container.upload_blob("b", b"hello")
    path = f"/{raw.account}-secondary/{container.container_name}/b"
    assert raw.signed("GET", path).body == b"hello"
    by_host = {"host": f"{raw.account}-secondary.blob.localhost:{raw.port}"}
    assert raw.signed("GET", f"/{container.container_name}/b", by_host).body == b"hello"
    for method in ("DELETE", "PUT"):
        answer = raw.signed(method, path, {"x-ms-blob-type": "BlockBlob"})
        assert answer.outcome == (403, "InsufficientAccountPermissions")
    stats = raw.signed("GET", f"/{raw.account}-secondary/?restype=service&comp=stats")
    assert stats.xml.findtext("GeoReplication/Status") == "live"
    primary = raw.signed("GET", raw.path("?restype=service&comp=stats"))
    assert primary.outcome == (400, "InvalidQueryParameterValue")
