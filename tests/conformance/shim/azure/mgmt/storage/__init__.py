"""The management client, as far as the tests use it: it makes and deletes containers for immutable blobs.

There is no resource manager here, so the Blob service itself is asked. The account is always the versioned one.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

from azure.storage.blob import BlobServiceClient


class _BlobContainers:
    def create(self, resource_group: str, account: str, name: str, blob_container: object) -> None:
        with _service(account) as service:
            service.create_container(name)

    def delete(self, resource_group: str, account: str, name: str) -> None:
        with _service(account) as service:
            service.delete_container(name)


class StorageManagementClient:
    def __init__(self, credential: object, subscription: str, api_version: str) -> None:
        self.blob_containers = _BlobContainers()

    def models(self) -> SimpleNamespace:
        return SimpleNamespace(BlobContainer=SimpleNamespace, ImmutableStorageWithVersioning=SimpleNamespace)


def _service(account: str) -> BlobServiceClient:
    url = os.environ["CONFORMANCE_ACCOUNT_URL"].format(account=account)
    return BlobServiceClient(url, os.environ["VERSIONED_STORAGE_ACCOUNT_KEY"], retry_total=0)
