"""The processes of the Blob service, both kinds of them in this one."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.blob_store import OwnStore

from millpond.blob.content import ContentStore
from millpond.blob.model import Content, ContentProperties, ResourceName
from millpond.blob.processes import FirstProcess, WorkerProcess
from millpond.blob.service import blobs, containers
from millpond.blob.service.blobs import BlobDraft
from millpond.blob.service.conditions import NO_DEMANDS
from millpond.common.clock import SystemClock
from millpond.common.errors import ServiceError
from millpond.common.workers import Counts, First, Worker, WorkerLink

CONTAINER = ResourceName("acct", "cont")
BLOB = CONTAINER._replace(blob="b")
DRAFT = BlobDraft(ContentProperties(), {}, "", NO_DEMANDS, may_overwrite=True)


@pytest.fixture
def ends() -> Iterator[tuple[First, Worker]]:
    """What both have of each other after a fork."""
    (channel, its_channel), (connections, its_connections) = socket.socketpair(), socket.socketpair()
    ended = Counts(1)
    with subprocess.Popen(["sleep", "600"]) as child, connections, its_connections:  # for the first to end
        yield (
            First([WorkerLink(child.pid, channel, connections)], ended),
            Worker(0, its_channel, its_connections, ended),
        )
        child.returncode = -9


async def leave_garbage(data: Path, count: int) -> None:
    """As a kill leaves it, right after what was overwritten."""
    clock = SystemClock()
    store, content = OwnStore(data / "blob.db", clock), ContentStore(data, clock)
    await store.write(containers.create_container, CONTAINER, {}, "")
    for _ in range(count):
        file, descriptor = content.create()
        open(descriptor, "wb").close()  # noqa: PTH123 - a descriptor
        await store.write(blobs.put_blob, BLOB, DRAFT, Content(5, file, None))
        content.publish(file)
    await store.end()
    content.close()


async def test_a_worker_is_asked_about_garbage_from_its_first_moment_on(
    tmp_path: Path, ends: tuple[First, Worker]
) -> None:
    await leave_garbage(tmp_path, 300)
    clock = SystemClock()
    first, worker = FirstProcess(tmp_path, clock, ends[0]), WorkerProcess(tmp_path, clock, ends[1])
    await first.open()
    asked = asyncio.create_task(first._in_use(["any"]))
    await asyncio.sleep(0)  # it is on its way
    parts = await worker.open()
    assert await asked == set()
    async with asyncio.timeout(20):
        while sum(path.is_file() for path in (tmp_path / "content").rglob("*")) > 1:
            await asyncio.sleep(0.01)
    await parts.store.write(blobs.delete_blob, BLOB, NO_DEMANDS)
    with pytest.raises(ServiceError, match="BlobNotFound"):
        await parts.store.write(blobs.delete_blob, BLOB, NO_DEMANDS)
    ends[0].is_stopping = True
    await worker.close()
    await first.close()
