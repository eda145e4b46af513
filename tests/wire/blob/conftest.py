"""A real Blob service for the tests of this directory."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from tests.servers import Server, millpond, running_server
from tests.wire.blob.intrusion import hide
from tests.wire.blob.permissions import PROPERTIES, Call, World
from tests.wire.blob.raw import KeptClient, RawClient
from tests.wire.blob.tokens import Credential, make_token

from millpond.common.authority import authority_file


@pytest.fixture(scope="module")
def blob_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("blob") / "data", "--only", "blob") as server:
        yield server


@pytest.fixture(scope="module")
def two_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With things that those who visit the first account's container ``cont`` must not reach."""
    with running_server(tmp_path_factory.mktemp("blob") / "data", "--only", "blob") as server:
        hide(server)
        yield server


@pytest.fixture
def raw(blob_server: Server) -> RawClient:
    return RawClient.of(blob_server.credentials)


@pytest.fixture
def service(blob_server: Server) -> Iterator[BlobServiceClient]:
    """The newest SDK; it gives up at the first failure, and does large things in small pieces."""
    with BlobServiceClient.from_connection_string(
        blob_server.credentials["STORAGE_CONNECTION_STRING"],
        retry_total=0,
        max_single_put_size=1 << 20,
        max_block_size=256 << 10,
        max_single_get_size=1 << 20,
        max_chunk_get_size=256 << 10,
    ) as service:
        yield service


@pytest.fixture
def container(service: BlobServiceClient, request: pytest.FixtureRequest) -> Iterator[ContainerClient]:
    """A container of the test's own."""
    name = f"t{abs(hash(request.node.nodeid)):x}"
    container = service.create_container(name)
    yield container
    container.delete_container()


@pytest.fixture(scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With all that an account may keep, and over https, which a user's key is only given by."""
    data = tmp_path_factory.mktemp("blob") / "data"
    with running_server(data, "--only", "blob", "--tls") as server:
        features = ("--versioning", "--container-retention", "7", "--immutability")
        account = server.credentials["STORAGE_ACCOUNT_NAME"]
        assert millpond("account", "blob", account, *features, "--data", server.data).returncode == 0
        yield server


@pytest.fixture(scope="module")
def world(full_server: Server) -> Iterator[World]:
    raw, authority = RawClient.of(full_server.credentials), str(authority_file(full_server.data))
    owner = KeptClient(raw.host, raw.port, raw.account, raw.key, ssl.create_default_context(cafile=authority))
    now = datetime.now(UTC)
    with BlobServiceClient(
        full_server.blob_url, Credential(make_token(full_server)), connection_verify=authority, retry_total=0
    ) as service:
        delegation_key = service.get_user_delegation_key(now - timedelta(minutes=1), now + timedelta(hours=6))
    world = World(owner, delegation_key)
    world.new(Call("PUT", query="restype=service&comp=properties", body=PROPERTIES, status=202))
    yield world
    owner.close()
