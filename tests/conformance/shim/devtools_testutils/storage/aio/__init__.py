"""The asynchronous side."""

from .. import GenericTestProxyParametrize1, GenericTestProxyParametrize2, StorageRecordedTestCase

__all__ = ["AsyncStorageRecordedTestCase", "GenericTestProxyParametrize1", "GenericTestProxyParametrize2"]


class AsyncStorageRecordedTestCase(StorageRecordedTestCase):
    pass
