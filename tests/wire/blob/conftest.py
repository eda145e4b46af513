"""A real Blob service for the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from tests.servers import Server, running_server
from tests.wire.blob.raw import RawClient


@pytest.fixture(scope="module")
def blob_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("blob") / "data", "--only", "blob") as server:
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
