"""From a method and a path to an operation. Paths are matched as sent, and their parts decoded once."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from millpond.common.errors import ServiceError

from ..errors import error
from . import versions
from .http import Answer, Call

if TYPE_CHECKING:
    from ..service import BatchService

Handler = Callable[["BatchService", Call], Awaitable[Answer]]


class Operation(NamedTuple):
    """An operation of the specification, and the API versions that have it."""

    method: str
    #: Parts in braces are named; ``{filePath}`` is all the rest of a path, slashes included.
    path: str
    handler: Handler
    since: str = versions.OLDEST
    until: str = versions.NEWEST


#: The verbs of HTTP (RFC 9110) and PATCH; others are no verbs to the service.
_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})

#: The key of an entity as certificates have theirs: ``certificates(thumbprintAlgorithm=sha1,thumbprint=…)``.
_KEY = re.compile(r"\(.*\)$")


class _Place:
    """What may follow at one point of a path."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Place] = {}
        self.named: _Place | None = None
        self.name = ""
        self.takes_rest = False
        self.operations: dict[str, Operation] = {}


class Routes:
    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Place()
        for operation in operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        place = self._root
        for part in operation.path.strip("/").split("/"):
            if not part.startswith("{"):
                place = place.fixed.setdefault(_KEY.sub("()", part), _Place())
                continue
            if place.named is None:
                place.named = _Place()
                place.named.name = part.strip("{}")
                place.named.takes_rest = part == "{filePath}"
            if place.named.name != part.strip("{}"):
                raise ValueError(f"{operation.path} gives {place.named.name} another name")
            place = place.named
        place.operations[operation.method] = operation

    def find(self, call: Call) -> Operation:
        """The operation that the call is for; the named parts of its path are put into ``call.params``.

        Raises ``InvalidHttpVerb``, ``RequestUrlFailedToParse``, ``InvalidUri``, ``UnsupportedHttpVerb`` or
        ``UnsupportedRequestVersion``.
        """
        if call.method not in _VERBS:
            raise error("InvalidHttpVerb", ("HttpVerb", call.method))
        place = self._match(call)
        operation = place.operations.get(call.method)
        if operation is None:
            raise error("UnsupportedHttpVerb", ("HttpVerb", call.method))
        if not operation.since <= call.version <= operation.until:
            raise error(
                "UnsupportedRequestVersion",
                ("QueryParameterName", "api-version"),
                ("QueryParameterValue", call.version),
                ("Reason", f"The operation exists from {operation.since} to {operation.until}."),
            )
        return operation

    def _match(self, call: Call) -> _Place:
        place = self._root
        parts = call.raw_path.removeprefix("/").removesuffix("/").split("/")
        for index, part in enumerate(parts):
            following = place.fixed.get(_KEY.sub("()", part) if "(" in part else part)
            if following is None:
                following = place.named
                if following is None:
                    raise _nowhere()
                rest = "/".join(parts[index:]) if following.takes_rest else part
                call.params[following.name] = _decode(rest)
                if following.takes_rest:
                    place = following
                    break
            place = following
        if not place.operations:
            raise _nowhere()
        return place


def _nowhere() -> ServiceError:
    return error("InvalidUri")


def _decode(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise error("RequestUrlFailedToParse", ("Reason", "The path is not UTF-8.")) from None
