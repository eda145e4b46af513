"""The rows and the collector of a Blob service, without its processes."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from millpond.blob.collector import Collector
from millpond.blob.content import ContentStore
from millpond.blob.store import Store, Work, Writer, bring_up_to_date
from millpond.common.clock import Clock

T = TypeVar("T")


class OwnStore(Store):
    """A store with a writer of its own; what goes there and comes back is as it is where another process writes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        bring_up_to_date(path)
        self.writer = Writer(path, clock)
        super().__init__(path, clock, _AsFromAfar(self.writer))

    async def end(self) -> None:
        await self.writer.close()
        self.close()


class _AsFromAfar:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, work: Work) -> Any:
        if not work.function.__module__.startswith("millpond."):  # a test's own
            return await self._writer.write(work)
        try:
            return _portable(await self._writer.write(_portable(work)))
        except Exception as failure:
            raise _portable(failure) from None


def _portable(value: T) -> T:
    found = pickle.loads(pickle.dumps(value))
    if not isinstance(value, Exception):
        assert found == value
    else:
        assert vars(found) == vars(value)
    return found  # type: ignore[no-any-return]


def make_collector(store: OwnStore, content: ContentStore, clock: Clock) -> Collector:
    """One for a service that is a single process."""

    async def in_use(files: Sequence[str]) -> set[str]:
        return content.pinned_of(files)

    return Collector(store, store.writer, content, clock, in_use)
