"""Reading from other services over HTTP, for copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

#: Requests to other services at one time; each keeps a thread while it waits.
_THREADS = 8
_CONNECT_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 30.0
_PIECE_SIZE: Final = 256 << 10

T = TypeVar("T")


class RemoteError(Exception):
    """A source that cannot be read: it is not reached (``status`` is 0), or it refuses."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        #: The error's code, where the source is a Blob service.
        self.code = code


class RemoteBody(NamedTuple):
    """An answer whose body is still to be read. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    #: Bytes of the body.
    size: int
    pieces: AsyncIterator[bytes]


class Remote:
    """A pool of connections, used by threads of its own: urllib3 waits for what it reads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "blob-remote")
        self._pool: Any = None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.clear()

    @asynccontextmanager
    async def opened(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[RemoteBody]:
        """The answer to a GET. Raises :class:`RemoteError` where it is none, an error, or of unknown size."""
        response = await self._run(lambda: self._get(url, headers))
        try:
            found = {name.lower(): value for name, value in response.headers.items()}
            if response.status not in (200, 206):
                message = f"{response.status} {response.reason or ''}".strip()
                raise RemoteError(response.status, message, found.get("x-ms-error-code", ""))
            length = found.get("content-length", "")
            if not length.isdecimal():
                raise RemoteError(0, "The source does not tell its Content-Length.")
            yield RemoteBody(response.status, found, int(length), self._pieces(response, int(length)))
        finally:
            _hang_up(response)

    async def _pieces(self, response: Any, length: int) -> AsyncIterator[bytes]:
        while piece := await self._run(lambda: response.read(_PIECE_SIZE)):
            length -= len(piece)
            yield piece
        if length:
            raise RemoteError(0, "The source ended early.")

    def _get(self, url: str, headers: Mapping[str, str]) -> Any:
        import urllib3  # imported when the first copy from elsewhere comes

        if self._pool is None:
            timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
            self._pool = urllib3.PoolManager(maxsize=_THREADS, timeout=timeout, retries=urllib3.Retry(0, redirect=5))
        # What is copied are the bytes as they lie there.
        wanted = {"accept-encoding": "identity", **headers}
        return self._pool.request("GET", url, headers=wanted, preload_content=False, decode_content=False)

    async def _run(self, work: Callable[[], T]) -> T:
        from urllib3.exceptions import HTTPError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (HTTPError, OSError, ValueError) as failure:
            raise RemoteError(0, f"The source cannot be read: {type(failure).__name__}.") from failure


def _hang_up(response: Any) -> None:
    """End a connection whose answer is not read to its end; one that is has gone back to the pool.

    A thread may be waiting in a read, and closing would wait for it: the shutdown ends its wait.
    """
    with suppress(ValueError, RuntimeError, OSError):  # it has no connection any more
        response.shutdown()
    response.close()
