"""The asynchronous side."""

from __future__ import annotations

from .. import StorageManagementClient as _SyncClient
from .. import _BlobContainers


class _AsyncBlobContainers:
    async def create(self, resource_group: str, account: str, name: str, blob_container: object) -> None:
        _BlobContainers().create(resource_group, account, name, blob_container)

    async def delete(self, resource_group: str, account: str, name: str) -> None:
        _BlobContainers().delete(resource_group, account, name)


class StorageManagementClient:
    models = _SyncClient.models

    def __init__(self, credential: object, subscription: str, api_version: str) -> None:
        self.blob_containers = _AsyncBlobContainers()
