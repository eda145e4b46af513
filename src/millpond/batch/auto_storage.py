"""Auto-storage: the storage account that a Batch account is linked to, whose containers are named without a URL."""

from __future__ import annotations

import datetime
from urllib.parse import quote

from millpond.common.clock import DAY, to_datetime
from millpond.common.config import Accounts

#: How long a node may take to fetch a container's files, counted from when it asks for them.
_VALIDITY = DAY


class NotLinkedError(Exception):
    """The Batch account has no storage account, or it is not known where that is served."""


class AutoStorage:
    """``blob_url`` is where storage accounts are served, each under its name."""

    def __init__(self, accounts: Accounts, blob_url: str | None) -> None:
        self._accounts = accounts
        self._blob_url = blob_url

    def account_url(self, name: str) -> str:
        """Where an account's blobs are served; what is none of ours is Azure's."""
        if self._blob_url and self._accounts.get("storage", name):
            return f"{self._blob_url.rstrip('/')}/{name}"
        return f"https://{name}.blob.core.windows.net"

    def container_url(self, account: str, container: str, now: int) -> str:
        """A URL with a shared access signature, to list and read the container's blobs.

        Slow the first time. Raises :class:`NotLinkedError`.
        """
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        name = self._accounts.auto_storage(account)
        keys = name and self._accounts.get("storage", name)
        if not (name and keys and self._blob_url):
            raise NotLinkedError
        begin = to_datetime(now)
        signature = generate_container_sas(
            name,
            container,
            account_key=keys.key1,
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=begin + datetime.timedelta(microseconds=_VALIDITY),
        )
        return f"{self._blob_url.rstrip('/')}/{name}/{quote(container, safe='$')}?{signature}"
