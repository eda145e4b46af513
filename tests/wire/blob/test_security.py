"""Nothing leads from what one may do to what one may not: names, paths, headers, keys; and nothing secret is told."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from azure.storage.blob import BlobServiceClient, generate_account_sas, generate_container_sas
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import Server, millpond, running_server
from tests.wire.blob.intrusion import BLOCK_BLOB, SECRET, client_of, sent, untouched
from tests.wire.blob.raw import RawClient

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="module")
def server(two_accounts: Server) -> Server:
    return two_accounts


@pytest.fixture(scope="module")
def visitor(server: Server) -> tuple[RawClient, str]:
    """Somebody with a signature for the container ``cont`` of the first account."""
    raw = client_of(server)
    permission = "racwdltfx"
    return raw, generate_container_sas(raw.account, "cont", account_key=raw.key, permission=permission, expiry=LATER)


WAYS = [
    "/{own}/cont/../hidden/secret",
    "/{own}/cont/..%2fhidden%2fsecret",
    "/{own}/cont/%2e%2e/hidden/secret",
    "/{own}/cont%2f..%2fhidden/secret",
    "/{own}/cont%00/secret",
    "/{own}/cont/../../victim/cont/secret",
    "/{own}//victim/cont/secret",
    "//victim/cont/secret",
    "/{own}/%2fvictim/cont/secret",
    "/victim/cont/secret",
    "/VICTIM/cont/secret",
    "/vict%69m/cont/secret",
    "/{own}/hidden/secret",
    "/{own}/%68idden/secret",
    "/{own}/hidden%2fsecret",
    "/{own}/HIDDEN/secret",
    "/{own}/hidden/../cont/b/../../hidden/secret",
    "/{own}/cont;/../hidden/secret",
    "/{own}/cont%5c..%5chidden%5csecret",
    "/{own}/%252e%252e/hidden/secret",
    "/{own}-secondary/hidden/secret",
    "/victim-secondary/cont/secret",
    "/{own}/ｈｉｄｄｅｎ/secret".encode().decode("latin-1"),
    "http://victim/cont/secret",
    "/{own}/hidden/secret#",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_no_path_leads_elsewhere(visitor: tuple[RawClient, str], server: Server, way: str, method: str) -> None:
    raw, signature = visitor
    path = way.format(own=raw.account)
    for hosts in ({}, {"host": f"victim.blob.localhost:{raw.port}"}, {"host": "victim"}):
        answer = sent(raw, method, f"{path}?{signature}", {**hosts, **BLOCK_BLOB})
        assert SECRET not in answer
    untouched(server)


_pieces = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "%2f",
        "%2F",
        "%5c",
        "%00",
        "%252f",
        "//",
        "hidden",
        "victim",
        "cont",
        "secret",
        "%c0%ae",
        "é",
        "%",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_pieces, max_size=8).map("".join), st.sampled_from(["GET", "HEAD", "DELETE"]))
def test_no_made_up_path_leads_elsewhere(
    visitor: tuple[RawClient, str], server: Server, path: str, method: str
) -> None:
    raw, signature = visitor
    assert SECRET not in sent(raw, method, f"/{raw.account}/cont/{path}?{signature}", {})


def test_what_was_made_up_did_no_harm(server: Server) -> None:
    untouched(server)


NAMES = [
    "..",
    "../..",
    "a/./b",
    "a//b",
    "/leading",
    "trailing/",
    "trailing.",
    " ",
    "a\\b",
    "a%2fb",
    "é",
    "e\u0301",
    "\u202e",
    "\ufeff",
    "\U0001f600",
    "CON",
    "a:b|c*d?e",
    "line\nbreak",
    "\x7f",
    "n" * 1024,
]


def test_names_are_what_they_are(server: Server, service_of: BlobServiceClient) -> None:
    container = service_of.create_container("names")
    raw = client_of(server)
    paths = {name: raw.path(f"names/{quote(name, safe='').replace('.', '%2E')}") for name in NAMES}
    for name, path in paths.items():  # by a client that does not resolve dots
        assert raw.signed("PUT", path, BLOCK_BLOB, name.encode()).status == 201
    for name, path in paths.items():
        assert raw.signed("GET", path).body == name.encode()
    assert sorted(blob.name for blob in container.list_blobs()) == sorted(NAMES)


@pytest.fixture
def service_of(server: Server) -> Iterator[BlobServiceClient]:
    connection = server.credentials["STORAGE_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(connection, retry_total=0) as service:
        yield service


@pytest.mark.parametrize(
    "name", ["%00", "a%00b", "%ED%A0%80", "%ff", "n" * 1025, "/".join("a" * 255)], ids=lambda name: name[:10]
)
def test_names_that_are_none(server: Server, name: str) -> None:
    raw = client_of(server)
    answer = raw.signed("PUT", raw.path(f"cont/{name}"), BLOCK_BLOB)
    assert (answer.status, answer.code) in ((400, "InvalidResourceName"), (400, "InvalidUri"))


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "a%2fb", "A", "a_b", "-a-", "a--b", "a%00b", "é", "ab", "n" * 64]
)
def test_containers_that_are_none(server: Server, name: str) -> None:
    raw = client_of(server)
    answer = raw.signed("PUT", raw.path(f"{quote(name, safe='%')}?restype=container"))
    assert answer.status == 400
    assert answer.code in ("InvalidResourceName", "OutOfRangeInput")


@pytest.mark.parametrize(
    "source",
    [
        "http://{here}/victim/cont/secret",
        "http://victim.blob.localhost:{port}/cont/secret",
        "http://localhost:{port}/victim/cont/secret",
        "http://[::1]:{port}/victim/cont/secret",
        "http://127.1.2.3:{port}/victim/cont/secret",
        "http://victim:x@{here}/victim/cont/secret",
        "https://victim.blob.core.windows.net/cont/secret",
        "http://{here}/{own}/hidden/../../victim/cont/secret",
        "http://{here}//victim/cont/secret",
        "http://{here}/victim-secondary/cont/secret",
        "http://{here}/cont/secret",
    ],
)
@pytest.mark.parametrize("sync", ["true", "false"])
def test_no_copy_opens_another_account(server: Server, source: str, sync: str) -> None:
    raw = client_of(server)
    url = source.format(here=f"{raw.host}:{raw.port}", port=raw.port, own=raw.account)
    headers = {"x-ms-copy-source": url, "x-ms-requires-sync": sync}
    answer = raw.signed("PUT", raw.path("cont/stolen"), headers)
    assert 400 <= answer.status < 500
    assert raw.signed("GET", raw.path("cont/stolen")).status == 404


def test_a_copy_to_itself_is_one(server: Server) -> None:
    raw = client_of(server)
    url = f"http://{raw.host}:{raw.port}{raw.path('cont/b')}"
    assert raw.signed("PUT", raw.path("cont/b"), {"x-ms-copy-source": url}).status == 202
    assert raw.signed("GET", raw.path("cont/b")).body == b"open"


def test_no_value_makes_a_header(server: Server) -> None:
    raw = client_of(server)
    signature = generate_account_sas(raw.account, raw.key, resource_types="o", permission="r", expiry=LATER)
    for override in ("rscd=a%0d%0aSet-Cookie:%20x", "rsct=a%0aSet-Cookie:%20x", "rscc=%00"):
        answer = sent(raw, "GET", f"{raw.path('cont/b')}?{signature}&{override}", {})
        assert b"Set-Cookie" not in answer.partition(b"\r\n\r\n")[0]
    blob = generate_container_sas(
        raw.account, "cont", account_key=raw.key, permission="r", expiry=LATER, content_disposition="a\r\nSet-Cookie: x"
    )
    answer = sent(raw, "GET", f"{raw.path('cont/b')}?{blob}", {})
    assert b" 400 " in answer.partition(b"\r\n")[0]


def test_neither_log_nor_error_tells_a_secret(server: Server) -> None:
    raw = client_of(server)
    own_signature = "sig=Zm9yZ2VkIGJ1dCBzZWNyZXQ%3D"
    key = base64.b64encode(os.urandom(32)).decode()
    told = [
        raw.send("GET", f"{raw.path('cont/b')}?sv=2021-12-02&sr=b&sp=r&se=2099-01-01&{own_signature}"),
        raw.send("GET", f"{raw.path('cont/b')}?snapshot={quote(own_signature)}&{own_signature}"),
        raw.signed("PUT", raw.path("cont/c"), {"x-ms-copy-source": f"ftp://h/x?{own_signature}"}),
        raw.signed("PUT", raw.path("cont/c"), {"x-ms-copy-source": f"http://127.0.0.1:1/x?{own_signature}"}),
        RawClient(raw.host, raw.port, raw.account, base64.b64encode(b"wrong").decode()).signed(
            "PUT",
            raw.path("cont/c"),
            {
                "x-ms-copy-source": f"http://127.0.0.1:1/x?{own_signature}",
                "x-ms-encryption-key": key,
                "x-ms-copy-source-authorization": "Bearer secretsecret",
            },
        ),
        raw.send("GET", raw.path("cont/b"), {"authorization": "Bearer secretsecret"}),
        raw.send("GET", raw.path("cont/b"), {"authorization": f"SharedKey {raw.account}:secretsecret"}),
    ]
    log = server.log.read_text()
    for answer in told:
        assert 400 <= answer.status < 500
        for secret in ("Zm9yZ2Vk", key, "secretsecret", raw.key):
            assert secret not in answer.body.decode()
            assert secret not in log
    assert "Traceback" not in log


# --- the account that everybody knows ----------------------------------------------------------------------------

_DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint={};"
)


def test_the_well_known_account_is_there_on_demand(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("known") / "data"
    with running_server(data, "--only", "blob", "--well-known-account") as known:
        url = known.blob_url.rpartition("/")[0] + "/devstoreaccount1"
        with BlobServiceClient.from_connection_string(_DEVELOPMENT.format(url), retry_total=0) as client:
            client.create_container("cont").upload_blob("b", b"hello")
            assert client.get_blob_client("cont", "b").download_blob().readall() == b"hello"
    assert "devstoreaccount1" not in (data / "accounts.json").read_text()
    key = _DEVELOPMENT.partition("AccountKey=")[2].partition(";")[0]
    raw = client_of(server)
    stranger = RawClient(raw.host, raw.port, "devstoreaccount1", key)
    assert stranger.signed("GET", stranger.path("?comp=list")).outcome == (403, "AuthenticationFailed")


def test_the_well_known_account_is_for_loopback_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("known") / "data"
    refused = millpond("serve", "--data", data, "--host", "0.0.0.0", "--well-known-account")
    assert refused.returncode == 1
    assert "is for loopback" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
