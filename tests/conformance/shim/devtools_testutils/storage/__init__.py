"""What the tests of the storage libraries add."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

from .. import AzureRecordedTestCase, Test

__all__ = ["GenericTestProxyParametrize1", "GenericTestProxyParametrize2", "LogCaptured", "StorageRecordedTestCase"]

#: Where a test or its file is named so, the account is in the host's name: else clients do not know where its secondary
#: location is, and those of blobs that have no key take it for ``account/container`` when they sign for a user.
_BY_HOST = ("test_blob_service_stats", "test_retry.", "test_retry_async.", "delegation_sas", "_uds")

#: What a test was told of the bytes sent so far, and of all there are.
Progress = Sequence[tuple[int | None, int | None]]


class StorageRecordedTestCase(AzureRecordedTestCase):
    def account_url(self, account: str, storage_type: str) -> str:
        by_host = any(part in os.environ["PYTEST_CURRENT_TEST"] for part in _BY_HOST)
        return os.environ["CONFORMANCE_HOST_URL" if by_host else "CONFORMANCE_ACCOUNT_URL"].format(account=account)

    def connection_string(self, account: str, key: str) -> str:
        return f"AccountName={account};AccountKey={key};BlobEndpoint={self.account_url(account, 'blob')}"

    def assertNamedItemInContainer(self, items: Iterable[Any], name: str) -> None:  # noqa: N802
        names = [item.name for item in items]
        assert name in names, f"{name} is not in {names}"

    def assert_upload_progress(self, size: int, chunk_size: int, progress: Progress) -> None:
        """One call for each chunk, with the bytes sent before it (``None``: nothing is known yet)."""
        assert len(progress) == ceil(size / chunk_size)
        for current, total in progress:
            assert total == size
            assert current in (None, size) or current % chunk_size == 0

    def assert_download_progress(self, size: int, chunk_size: int, first_size: int, progress: Progress) -> None:
        """One call for the first request, which asks for ``first_size`` bytes, and one for each chunk after it."""
        assert len(progress) == 1 + ceil(max(size - first_size, 0) / chunk_size)
        for current, total in progress:
            assert total is not None and total >= size  # the whole blob, of which size bytes are asked for
            assert current is None or 0 <= current <= total


class GenericTestProxyParametrize1:
    """Tells the recorder of a test's parameters; the number says how many."""

    def __call__(self, test: Test) -> Test:
        return test


GenericTestProxyParametrize2 = GenericTestProxyParametrize1


class LogCaptured:
    """All that the library logs in a ``with`` block."""

    def __init__(self, test: object) -> None:
        self._logger = logging.getLogger("azure.storage")

    def __enter__(self) -> io.StringIO:
        text = io.StringIO()
        self._handler = logging.StreamHandler(text)
        self._level_before = self._logger.level
        self._logger.addHandler(self._handler)
        self._logger.setLevel(logging.DEBUG)
        return text

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._level_before)
