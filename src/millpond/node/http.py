"""HTTP as the node's transfers use it: kept connections, waits that end with the task, new tries where useful."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import IO, Literal, Protocol, TypeVar, cast

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    URLSchemeUnknown,
)

from .cancellation import Cancellation, CancelledError

_TRIES = 4
_FIRST_PAUSE_S = 0.25
_CONNECT_TIMEOUT_S = 10.0
#: How long the other side may take to send, or to take in, the next piece.
_IDLE_TIMEOUT_S = 60.0
CHUNK = 1 << 20

_T = TypeVar("_T")


class Body(Protocol):
    """What is sent, read a piece at a time."""

    def read(self, size: int, /) -> bytes: ...


class StatusError(Exception):
    """The server's answer was another than the one hoped for."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"HTTP status {status} ({code})" if code else f"HTTP status {status}")
        self.status = status


class ExchangeError(Exception):
    """What a failed exchange means; its text has no SAS in it."""

    def __init__(self, kind: Literal["denied", "missing", "timedOut", "other"], text: str, *, may_pass: bool) -> None:
        super().__init__(without_query(text))
        self.kind = kind
        #: Whether another try may do better.
        self.may_pass = may_pass


class Connections:
    """Kept connections, for one thread. Their waits end when ``cancelled`` is set."""

    def __init__(self, cancelled: Cancellation) -> None:
        self._cancelled = cancelled
        timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_IDLE_TIMEOUT_S)
        self._pools = urllib3.PoolManager(
            timeout=timeout, retries=urllib3.Retry(0, redirect=5, raise_on_redirect=True), blocksize=CHUNK
        )
        self._pools.pool_classes_by_scheme = {
            "http": _covered(urllib3.HTTPConnectionPool, cancelled),
            "https": _covered(urllib3.HTTPSConnectionPool, cancelled),
        }

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pools.clear()

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """A 200 answer, its body not read yet. Raises ``HTTPError``, :class:`StatusError`."""
        answer = self._pools.request("GET", url, headers=headers, preload_content=False)
        with _checked(answer, 200):
            yield answer

    def put(self, url: str, headers: Mapping[str, str], body: Body | bytes) -> None:
        """Have something created. Raises ``HTTPError``, :class:`StatusError`, and what reading the body raises."""
        sent = cast("IO[bytes] | bytes", body)
        answer = self._pools.request("PUT", url, headers=headers, body=sent, preload_content=False, redirect=False)
        with _checked(answer, 201):
            answer.drain_conn()

    def retry(self, action: Callable[[], _T]) -> _T:
        """Do it, and again after what may pass: lost connections, 408, 429 and 5xx.

        Raises :class:`ExchangeError`, :class:`CancelledError`, and what else the action raises.
        """
        pause = _FIRST_PAUSE_S
        for left in reversed(range(_TRIES)):
            if self._cancelled.is_set:
                break
            try:
                return action()
            except (HTTPError, StatusError) as error:
                meaning = _meaning(error)
                if not meaning.may_pass or not left:
                    if self._cancelled.is_set:
                        break
                    raise meaning from error
            if self._cancelled.wait(pause):
                break
            pause *= 2
        raise CancelledError


def without_query(text: str) -> str:
    """A URL, or a message with URLs in it, without their SAS."""
    return re.sub(r"\?[^\s'\")]*", "", text)


@contextlib.contextmanager
def _checked(answer: urllib3.BaseHTTPResponse, status: int) -> Iterator[None]:
    try:
        if answer.status != status:
            raise StatusError(answer.status, answer.headers.get("x-ms-error-code", ""))
        yield
    except BaseException:
        answer.close()  # what is left of the body is not worth reading
        raise
    answer.release_conn()


def _covered(pool: type[urllib3.HTTPConnectionPool], cancelled: Cancellation) -> type[urllib3.HTTPConnectionPool]:
    """A kind of connection pool whose connections end their waits with the cancellation."""

    class Connection(pool.ConnectionCls):  # type: ignore[name-defined, misc]
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(_IDLE_TIMEOUT_S)  # what goes out first would be held to the limit for connecting
            cancelled.covers(self.sock)

    class Pool(pool):  # type: ignore[valid-type, misc]
        ConnectionCls = Connection

    return Pool


def _meaning(error: HTTPError | StatusError) -> ExchangeError:
    if isinstance(error, StatusError):
        text = f"The server answered with {error}"
        if error.status in (401, 403):
            return ExchangeError("denied", text, may_pass=False)
        if error.status in (404, 410):
            return ExchangeError("missing", text, may_pass=False)
        return ExchangeError("other", text, may_pass=error.status >= 500 or error.status in (408, 429))
    cause: BaseException = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(cause, ProtocolError) and isinstance(cause.args[-1], TimeoutError):
        cause = cause.args[-1]
    is_timeout = isinstance(cause, ReadTimeoutError | ConnectTimeoutError | TimeoutError)
    if is_timeout and not isinstance(cause, NewConnectionError):
        return ExchangeError("timedOut", f"The transfer timed out ({cause})", may_pass=True)
    may_pass = not isinstance(cause, LocationValueError | URLSchemeUnknown | NameResolutionError)
    return ExchangeError("other", str(cause), may_pass=may_pass)
