"""What two processes of a service ask each other."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from millpond.common.channel import Channel
from millpond.common.errors import ServiceError


class Ends(NamedTuple):
    asking: Channel
    answering: Channel
    #: Questions that are not answered yet, with where their answers go.
    open: list[tuple[Any, asyncio.Future[Any]]]
    ended: list[str]


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    ours, theirs = socket.socketpair()
    waiting: list[tuple[Any, asyncio.Future[Any]]] = []
    ended: list[str] = []

    def answer(question: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting.append((question, future))
        return future

    asking, answering = Channel(answer, lambda: ended.append("asking")), Channel(answer, lambda: ended.append("other"))
    await asking.open(ours)
    await answering.open(theirs)
    yield Ends(asking, answering, waiting, ended)
    for channel in (asking, answering):
        channel.close()
        await channel.has_ended.wait()


async def arrived(channel: Ends, count: int) -> None:
    async with asyncio.timeout(5):
        while len(channel.open) < count:
            await asyncio.sleep(0.001)


async def test_answers_find_their_questions_in_any_order_and_of_any_size() -> None:
    async with ends() as both:
        large = b"x" * (3 << 20)
        asked = [both.asking.ask(("number", number, large)) for number in range(5)]
        await arrived(both, 5)
        for question, future in reversed(both.open):
            future.set_result((question[1], question[2]))
        assert await asyncio.gather(*asked) == [(number, large) for number in range(5)]


async def test_either_side_asks() -> None:
    async with ends() as both:
        answer = both.answering.ask("in use?")
        await arrived(both, 1)
        both.open[0][1].set_result({"a"})
        assert await answer == {"a"}


async def test_errors_arrive_as_what_they_were_and_unexpected_ones_with_where_they_came_from() -> None:
    async with ends() as both:
        asked, unexpected = both.asking.ask("a"), both.asking.ask("b")
        await arrived(both, 2)
        both.open[0][1].set_exception(ServiceError(404, "BlobNotFound", "gone", ("Name", "b")))
        with pytest.raises(ServiceError) as caught:
            await asked
        assert (caught.value.status, caught.value.code, caught.value.details) == (404, "BlobNotFound", (("Name", "b"),))
        both.open[1][1].set_exception(OSError(5, "disk"))
        with pytest.raises(OSError, match="disk") as broken:
            await unexpected
        assert "disk" in broken.value.__notes__[0]


async def test_what_cannot_be_sent_is_an_error_of_whoever_asked() -> None:
    async with ends() as both:
        with pytest.raises(TypeError, match="lock"):
            both.asking.ask(threading.Lock())
        asked = both.asking.ask("a")
        await arrived(both, 1)
        both.open[0][1].set_result(threading.Lock())
        with pytest.raises(TypeError, match="lock"):
            await asked


async def test_an_answer_that_nobody_waits_for_any_more_does_no_harm() -> None:
    async with ends() as both:
        cancelled, other = both.asking.ask("a"), both.asking.ask("b")
        await arrived(both, 2)
        cancelled.cancel()
        for question, future in both.open:
            future.set_result(question)
        assert await other == "b"


async def test_questions_fail_once_the_other_side_is_gone() -> None:
    async with ends() as both:
        asked = both.asking.ask("a")
        await arrived(both, 1)
        both.answering.close()
        with pytest.raises(ConnectionError):
            await asked
        with pytest.raises(ConnectionError):
            await both.asking.ask("b")
        both.open[0][1].set_result("late")
        assert sorted(both.ended) == ["asking", "other"]
