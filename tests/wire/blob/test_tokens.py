"""Bearer tokens and user delegation, over https with the newest SDK."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    UserDelegationKey,
    generate_blob_sas,
    generate_container_sas,
)
from tests.servers import Server, running_server
from tests.wire.blob.tokens import Credential, make_token

from millpond.common.authority import authority_file


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("blob") / "data", "--only", "blob", "--tls") as server:
        yield server


@pytest.fixture
def options(tls_server: Server) -> dict[str, Any]:
    return {"connection_verify": str(authority_file(tls_server.data)), "retry_total": 0}


@pytest.fixture
def service(tls_server: Server, options: dict[str, Any]) -> Iterator[BlobServiceClient]:
    with BlobServiceClient(tls_server.blob_url, Credential(make_token(tls_server)), **options) as service:
        yield service


@pytest.fixture
def container(service: BlobServiceClient, request: pytest.FixtureRequest) -> ContainerClient:
    container = service.create_container(f"t{abs(hash(request.node.nodeid)):x}")
    container.upload_blob("b", b"hello")
    return container


@pytest.fixture
def delegation_key(service: BlobServiceClient) -> UserDelegationKey:
    now = datetime.now(UTC)
    return service.get_user_delegation_key(now - timedelta(minutes=1), now + timedelta(hours=1))


def test_a_token_opens_what_a_key_does(container: ContainerClient, service: BlobServiceClient) -> None:
    blob = container.get_blob_client("b")
    assert blob.download_blob().readall() == b"hello"
    blob.upload_blob(b"again", overwrite=True, tags={"a": "1"})
    assert blob.get_blob_tags() == {"a": "1"}
    copy = container.get_blob_client("copy")
    copy.start_copy_from_url(blob.url)
    assert copy.download_blob().readall() == b"again"
    assert container.container_name in [found.name for found in service.list_containers()]
    container.delete_blobs("b", "copy")
    assert not list(container.list_blobs())


def test_another_token_is_challenged(tls_server: Server, options: dict[str, Any]) -> None:
    credential = Credential("not-the-token")
    with (
        BlobServiceClient(tls_server.blob_url, credential, **options) as service,
        pytest.raises(ClientAuthenticationError) as failure,
    ):
        list(service.list_containers())
    assert failure.value.status_code == 401
    # The client understood the challenge: it asked once more, for a token of the tenant named there.
    assert len(credential.tenants) == 2
    assert credential.tenants[1]
    assert "not-the-token" not in str(failure.value)


def test_a_source_may_be_opened_by_the_token(
    container: ContainerClient, tls_server: Server, service: BlobServiceClient
) -> None:
    source = container.get_blob_client("b").url
    copy = container.get_blob_client("copy")
    with pytest.raises(HttpResponseError):
        copy.upload_blob_from_url(source)
    with pytest.raises(HttpResponseError):
        copy.upload_blob_from_url(source, source_authorization="Bearer other")
    copy.upload_blob_from_url(source, source_authorization=f"Bearer {make_token(tls_server)}")
    assert copy.download_blob().readall() == b"hello"


def test_a_new_token_ends_the_old_and_all_delegation(
    tls_server: Server,
    options: dict[str, Any],
    service: BlobServiceClient,
    container: ContainerClient,
    delegation_key: UserDelegationKey,
) -> None:
    signature = sign(container, delegation_key)
    with BlobClient.from_blob_url(f"{container.url}/b?{signature}", **options) as client:
        assert client.exists()
        new = make_token(tls_server, "--new")
        with pytest.raises(ClientAuthenticationError):
            client.get_blob_properties()
        with pytest.raises(ClientAuthenticationError):
            list(service.list_containers())
        with BlobServiceClient(tls_server.blob_url, Credential(new), **options) as later:
            assert list(later.list_containers())


def sign(container: ContainerClient, key: UserDelegationKey, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "user_delegation_key": key,
        "permission": "r",
        "expiry": datetime.now(UTC) + timedelta(minutes=30),
        **changes,
    }
    account = container.account_name
    assert account
    if fields.pop("whole_container", False):
        return generate_container_sas(account, container.container_name, **fields)
    return generate_blob_sas(account, container.container_name, "b", **fields)


def test_a_delegated_signature_opens_what_it_says(
    container: ContainerClient, delegation_key: UserDelegationKey, options: dict[str, Any]
) -> None:
    with BlobClient.from_blob_url(f"{container.url}/b?{sign(container, delegation_key)}", **options) as client:
        assert client.download_blob().readall() == b"hello"
        with pytest.raises(HttpResponseError) as failure:
            client.delete_blob()
        assert failure.value.error_code == "AuthorizationPermissionMismatch"  # type: ignore[attr-defined]
    listing = sign(container, delegation_key, permission="l", whole_container=True)
    with ContainerClient.from_container_url(f"{container.url}?{listing}", **options) as reader:
        assert [blob.name for blob in reader.list_blobs()] == ["b"]


def test_a_delegated_signature_may_be_for_a_directory(
    container: ContainerClient, delegation_key: UserDelegationKey, options: dict[str, Any]
) -> None:
    signature = sign(container, delegation_key, permission="cwr", is_directory=True)
    for name in ("b", "b/below"):
        with BlobClient.from_blob_url(f"{container.url}/{name}?{signature}", **options) as client:
            client.upload_blob(b"again", overwrite=True)
    with (
        BlobClient.from_blob_url(f"{container.url}/beside?{signature}", **options) as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.upload_blob(b"again")


def _changed(name: str, value: str) -> Callable[[str], str]:
    def change(signature: str) -> str:
        parts = [part for part in signature.split("&") if not part.startswith(f"{name}=")]
        return "&".join([*parts, f"{name}={value}"])

    return change


@pytest.mark.parametrize(
    "change",
    [
        _changed("skoid", "00000000-0000-0000-0000-000000000000"),
        _changed("sktid", "00000000-0000-0000-0000-000000000000"),
        _changed("skt", "2020-01-01T00:00:00Z"),
        _changed("ske", "2099-01-01T00:00:00Z"),
        _changed("sks", "f"),
        _changed("skv", "2019-01-01"),
        _changed("saoid", "x"),
        _changed("suoid", "x"),
        _changed("scid", "x"),
        _changed("sp", "rw"),
        _changed("se", "2099-01-01T00:00:00Z"),
        _changed("sr", "c"),
        _changed("sduoid", "x"),
        _changed("skdutid", "x"),
        _changed("srh", "x-ms-version"),
        _changed("si", "policy"),
    ],
    ids=lambda change: str(change.__closure__[0].cell_contents),
)
def test_no_field_of_a_delegated_signature_may_be_changed(
    container: ContainerClient,
    delegation_key: UserDelegationKey,
    tls_server: Server,
    change: Callable[[str], str],
) -> None:
    signature = sign(container, delegation_key)
    assert fetch(tls_server, f"{container.url}/b?{signature}") == (200, "")
    assert fetch(tls_server, f"{container.url}/b?{change(signature)}") == (403, "AuthenticationFailed")


def fetch(server: Server, url: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=str(authority_file(server.data)))
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), context=context) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as failure:
        with failure:
            return failure.code, failure.headers["x-ms-error-code"] or ""


def test_a_signature_may_ask_for_headers_and_parameters(
    container: ContainerClient, delegation_key: UserDelegationKey, tls_server: Server
) -> None:
    signature = sign(
        container, delegation_key, request_headers={"Company": "mill"}, request_query_params={"City": "pond"}
    )
    url = f"{container.url}/b?{signature}"
    assert fetch(tls_server, f"{url}&City=pond", {"Company": "mill"}) == (200, "")
    assert fetch(tls_server, f"{url}&City=pond", {"Company": "other"}) == (403, "AuthenticationFailed")
    assert fetch(tls_server, f"{url}&City=other", {"Company": "mill"}) == (403, "AuthenticationFailed")
    assert fetch(tls_server, url) == (403, "AuthenticationFailed")


def test_a_signature_bound_to_a_user_needs_that_users_token(
    container: ContainerClient, delegation_key: UserDelegationKey, tls_server: Server
) -> None:
    assert delegation_key.signed_oid
    url = f"{container.url}/b?{sign(container, delegation_key, user_delegation_oid=delegation_key.signed_oid)}"
    bearer = {"Authorization": f"Bearer {make_token(tls_server)}", "x-ms-version": "2026-10-06"}
    assert fetch(tls_server, url, bearer) == (200, "")
    assert fetch(tls_server, url) == (403, "AuthenticationFailed")
    other = sign(container, delegation_key, user_delegation_oid="00000000-0000-0000-0000-000000000000")
    assert fetch(tls_server, f"{container.url}/b?{other}", bearer) == (403, "AuthenticationFailed")


def test_a_key_lives_for_a_week_at_most(
    service: BlobServiceClient, tls_server: Server, options: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    for start, expiry in ((now, now + timedelta(days=8)), (now, now - timedelta(hours=1))):
        with pytest.raises(HttpResponseError) as failure:
            service.get_user_delegation_key(start, expiry)
        assert failure.value.status_code == 400
    with (
        BlobServiceClient(tls_server.blob_url, tls_server.credentials["STORAGE_ACCOUNT_KEY"], **options) as by_key,
        pytest.raises(HttpResponseError) as failure,
    ):
        by_key.get_user_delegation_key(now, now + timedelta(hours=1))
    assert failure.value.status_code == 403


def test_tokens_are_not_logged(tls_server: Server, service: BlobServiceClient) -> None:
    token = make_token(tls_server)
    list(service.list_containers())
    assert fetch(tls_server, f"{tls_server.blob_url}?comp=list", {"Authorization": f"Bearer {token}x"})[0] == 401
    assert token not in tls_server.log.read_text()
    assert json.loads((tls_server.data / "accounts.json").read_text())["storage_tokens"]
