"""The parameters of lists."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from ..errors import error, invalid_query
from ..request import Request

#: Most items in a page, and how many there are where the client does not say.
MAX_PAGE_SIZE = 5000


def page_size(request: Request, *, most: int = MAX_PAGE_SIZE) -> int:
    """``maxresults``. Raises ``OutOfRangeQueryParameterValue`` for less than one."""
    text = request.parameter("maxresults")
    if not text:
        return most
    if not text.lstrip("-").isascii() or not text.lstrip("-").isdecimal():
        raise invalid_query("maxresults", text)
    if len(text) > 10 or int(text) < 1:
        raise error(
            "OutOfRangeQueryParameterValue",
            QueryParameterName="maxresults",
            QueryParameterValue=text,
            MinimumAllowed="1",
            MaximumAllowed=str(most),
        )
    return min(int(text), most)


def included(request: Request, known: frozenset[str]) -> frozenset[str]:
    """What ``include`` asks for; it may be blank. Raises ``InvalidQueryParameterValue`` for what is not known."""
    words = words_of(request, "include")
    for word in words - known:
        raise invalid_query("include", word)
    return words


def words_of(request: Request, name: str) -> frozenset[str]:
    """The words of a parameter, which may be there several times, and has them with commas between."""
    return frozenset(word.strip().lower() for value in request.query.get(name, ()) for word in value.split(",")) - {""}


class Position(NamedTuple):
    """Where a page begins: at a name, and at what of that name."""

    name: str = ""
    generation: int = 0


def position(request: Request) -> Position:
    """What a ``marker`` stands for, or the very first."""
    marker = request.parameter("marker")
    if not marker:
        return Position()
    try:
        name, _, generation = base64.b64decode(marker, altchars=b"-_", validate=True).decode().partition("\0")
        return Position(name, int(generation or 0))
    except (binascii.Error, ValueError):
        raise invalid_query("marker", marker) from None


def marker_for(name: str, generation: int) -> str:
    """An opaque marker for the page that begins there."""
    return base64.urlsafe_b64encode(f"{name}\0{generation}".encode()).decode()
