"""Fixtures for tests of the Batch API over the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from tests.servers import Server
from tests.wire.batch.raw import RawClient


@pytest.fixture(scope="module")
def raw(server: Server) -> RawClient:
    return RawClient(server)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[BatchClient]:
    credentials = server.credentials
    key = AzureNamedKeyCredential(credentials["BATCH_ACCOUNT_NAME"], credentials["BATCH_ACCOUNT_KEY"])
    with BatchClient(credentials["BATCH_ACCOUNT_URL"], key) as client:
        yield client
