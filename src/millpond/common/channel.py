"""Questions and answers between two processes of one service, over a pair of sockets."""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from .errors import ServiceError

#: What stands before each message: its length, the number of its question, and what it is.
_HEAD: Final = struct.Struct("=IIB")
_QUESTION, _ANSWER, _ERROR = range(3)

#: Answers a question, now or later.
Answerer = Callable[[Any], "asyncio.Future[Any]"]


class Channel(asyncio.Protocol):
    """Either side asks, and answers what the other one asks, in any order.

    What is sent is pickled: both ends are forked from one process and trust each other.
    """

    def __init__(self, answer: Answerer, on_end: Callable[[], None]) -> None:
        """``on_end``: called when the other side is gone, or this one has closed."""
        self._answer = answer
        self._on_end = on_end
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.has_ended = asyncio.Event()

    async def open(self, sock: socket.socket) -> None:
        """Begin, on a connected socket."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def close(self) -> None:
        self._transport.close()

    def ask(self, question: object) -> asyncio.Future[Any]:
        """What the other side answers. Raises what it raises, and ``ConnectionError`` where it is gone."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.has_ended.is_set():
            future.set_exception(_gone())
            return future
        self._last = (self._last + 1) & 0xFFFFFFFF
        self._asked[self._last] = future
        self._send(self._last, _QUESTION, question)
        return future

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        begin = 0
        while len(self._received) - begin >= _HEAD.size:
            length, number, kind = _HEAD.unpack_from(self._received, begin)
            end = begin + _HEAD.size + length
            if len(self._received) < end:
                break
            with memoryview(self._received) as received:
                content = pickle.loads(received[begin + _HEAD.size : end])  # noqa: S301 - from a process of our own
            begin = end
            self._take(number, kind, content)
        del self._received[:begin]

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended.set()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_gone())
        self._asked.clear()
        self._on_end()

    # Messages

    def _take(self, number: int, kind: int, content: Any) -> None:
        if kind == _QUESTION:
            self._answer(content).add_done_callback(partial(self._reply, number))
            return
        future = self._asked.pop(number)
        if future.done():  # whoever asked has been cancelled
            return
        if kind == _ANSWER:
            future.set_result(content)
        else:
            future.set_exception(content)

    def _reply(self, number: int, answered: asyncio.Future[Any]) -> None:
        if self.has_ended.is_set():
            return
        failure = answered.exception()
        if failure is None:
            try:
                self._send(number, _ANSWER, answered.result())
            except (TypeError, AttributeError, pickle.PicklingError) as unfit:
                failure = unfit
        if failure:
            self._send(number, _ERROR, _portable(failure))

    def _send(self, number: int, kind: int, content: object) -> None:
        pickled = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        self._transport.write(_HEAD.pack(len(pickled), number, kind) + pickled)


def _portable(failure: BaseException) -> BaseException:
    """An error as another process can have it. One that is no answer to a client tells a log where it came from."""
    if isinstance(failure, ServiceError):
        return failure
    failure.add_note("".join(traceback.format_exception(failure)))
    try:
        pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own
    except Exception:
        return RuntimeError(repr(failure))
    return failure


def _gone() -> ConnectionError:
    return ConnectionError("the other process is gone")
