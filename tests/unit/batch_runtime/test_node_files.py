"""Files read through an agent's channel: in pieces, in order, and never more in memory than is being taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.batch_runtime.simulated import MOMENT_S, Channel, World, file_reply, running_world

from millpond.batch import agents
from millpond.batch.node_files import NodeFiles
from millpond.common.agent_protocol import FILE_CHUNK, FileEntry, FileRequest
from millpond.common.errors import ServiceError


class Node:
    """A connected node whose agent answers file requests as the test says."""

    def __init__(self, world: World, key: str, channel: Channel) -> None:
        self.files: NodeFiles = world.service.files
        self.key = key
        self.channel = channel

    async def asked(self) -> FileRequest:
        request = await self.channel.hear()
        assert isinstance(request, FileRequest)
        return request


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_world(tmp_path) as world:
        await world.add_pool()
        key = await world.requested_node()
        channel, _ = await world.connected(key)
        yield Node(world, key, channel)


def _entry(name: str) -> FileEntry:
    return FileEntry(name, False, 5, 1, 0o100644)


async def test_list_comes_in_parts(node: Node) -> None:
    listing = asyncio.create_task(node.files.list(node.key, "workitems/job", True))
    request = await node.asked()
    assert (request.operation, request.path, request.recursive) == ("list", "workitems/job", True)
    node.channel.say(file_reply(request.request, entries=[_entry("a"), _entry("b")], last=False))
    node.channel.say(file_reply(request.request, entries=[_entry("c")]))
    assert await listing == [_entry("a"), _entry("b"), _entry("c")]


async def test_requests_are_told_apart(node: Node) -> None:
    first = asyncio.create_task(node.files.stat(node.key, "first"))
    second = asyncio.create_task(node.files.stat(node.key, "second"))
    asked = {request.path: request.request for request in (await node.asked(), await node.asked())}
    node.channel.say(file_reply(999_999, entries=[_entry("nobody asked")]))
    node.channel.say(file_reply(asked["second"], entries=[_entry("second")]))
    node.channel.say(file_reply(asked["first"], entries=[_entry("first")]))
    assert (await first).name == "first"
    assert (await second).name == "second"


async def test_delete_waits_for_the_answer(node: Node) -> None:
    deleting = asyncio.create_task(node.files.delete(node.key, "shared/x", True))
    request = await node.asked()
    assert (request.operation, request.recursive) == ("delete", True)
    assert not deleting.done()
    node.channel.say(file_reply(request.request))
    await deleting


async def _answer_reads(node: Node, content: bytes, asked: list[FileRequest]) -> None:
    while True:
        request = await node.asked()
        asked.append(request)
        assert request.length is not None
        data = content[request.offset : request.offset + request.length]
        half = len(data) // 2
        node.channel.say(file_reply(request.request, data=data[:half], last=False))
        node.channel.say(file_reply(request.request, data=data[half:]))


async def test_read_asks_for_pieces_as_they_are_taken(node: Node) -> None:
    content = bytes(range(256)) * (5 * FILE_CHUNK // 256) + b"the end"
    asked: list[FileRequest] = []
    agent = asyncio.create_task(_answer_reads(node, content, asked))
    reading = await node.files.read(node.key, "stdout.txt", 3, len(content) - 3)
    taken = [await anext(reading)]
    await asyncio.sleep(MOMENT_S)
    assert len(asked) == 2  # the piece that is being taken, and the one after it
    taken += [piece async for piece in reading]
    agent.cancel()
    assert b"".join(taken) == content[3:]
    assert max(map(len, taken)) <= FILE_CHUNK
    assert {request.path for request in asked} == {"stdout.txt"}


async def test_read_of_a_part_asks_for_that_part_alone(node: Node) -> None:
    asked: list[FileRequest] = []
    agent = asyncio.create_task(_answer_reads(node, b"0123456789", asked))
    assert b"".join([piece async for piece in await node.files.read(node.key, "f", 2, 4)]) == b"2345"
    agent.cancel()
    assert [(request.offset, request.length) for request in asked] == [(2, 4)]


async def test_empty_read_asks_for_nothing(node: Node) -> None:
    assert [piece async for piece in await node.files.read(node.key, "f", 0, 0)] == []
    await node.channel.hear_nothing()


async def test_file_that_became_shorter_ends_early(node: Node) -> None:
    agent = asyncio.create_task(_answer_reads(node, b"x" * (FILE_CHUNK + 10), []))
    pieces = [piece async for piece in await node.files.read(node.key, "f", 0, 3 * FILE_CHUNK)]
    agent.cancel()
    assert sum(map(len, pieces)) == FILE_CHUNK + 10


async def test_read_that_is_given_up_asks_for_no_more(node: Node) -> None:
    asked: list[FileRequest] = []
    agent = asyncio.create_task(_answer_reads(node, b"x" * (4 * FILE_CHUNK), asked))
    reading = await node.files.read(node.key, "f", 0, 4 * FILE_CHUNK)
    assert isinstance(reading, AsyncIterator)
    await anext(reading)
    await reading.aclose()  # type: ignore[attr-defined]  # it is a generator
    await asyncio.sleep(MOMENT_S)
    agent.cancel()
    assert len(asked) <= 2


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ("notFound", 404, "FileNotFound"),
        ("invalidPath", 404, "FileNotFound"),
        ("isDirectory", 409, "OperationInvalidForCurrentState"),
        ("directoryNotEmpty", 409, "OperationInvalidForCurrentState"),
        ("ioError", 500, "InternalError"),
        ("of a later protocol", 500, "InternalError"),
    ],
)
async def test_agents_errors_become_the_services(node: Node, told: str, status: int, code: str) -> None:
    reading = asyncio.create_task(node.files.read(node.key, "f", 0, 10))
    request = await node.asked()
    node.channel.say(file_reply(request.request, error=told))
    with pytest.raises(ServiceError) as caught:
        await reading
    assert (caught.value.status, caught.value.code) == (status, code)


async def test_node_that_is_not_connected_is_not_ready(node: Node) -> None:
    with pytest.raises(ServiceError, match="NodeNotReady"):
        await node.files.stat("alice/pool/other", "f")


async def test_node_that_hangs_up_is_not_ready(node: Node) -> None:
    listing = asyncio.create_task(node.files.list(node.key, "", False))
    request = await node.asked()
    node.channel.say(file_reply(request.request, entries=[_entry("a")], last=False))
    node.channel.hang_up()
    with pytest.raises(ServiceError, match="NodeNotReady"):
        await listing


async def test_node_that_does_not_answer_is_not_ready(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_ANSWER_S", MOMENT_S)
    with pytest.raises(ServiceError, match="NodeNotReady"):
        await node.files.stat(node.key, "f")
    late = await node.asked()
    node.channel.say(file_reply(late.request, entries=[_entry("f")]))
    again = asyncio.create_task(node.files.stat(node.key, "f"))
    request = await node.asked()
    node.channel.say(file_reply(request.request, entries=[_entry("g")]))
    assert (await again).name == "g"
