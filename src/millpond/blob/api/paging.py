"""The parameters of lists."""

from __future__ import annotations

import base64
import binascii

from ..errors import error, invalid_query
from ..request import Request

#: Most items in a page, and how many there are where the client does not say.
MAX_PAGE_SIZE = 5000


def page_size(request: Request) -> int:
    """``maxresults``. Raises ``OutOfRangeQueryParameterValue`` for less than one."""
    text = request.parameter("maxresults")
    if not text:
        return MAX_PAGE_SIZE
    if not text.lstrip("-").isascii() or not text.lstrip("-").isdecimal():
        raise invalid_query("maxresults", text)
    if len(text) > 10 or int(text) < 1:
        raise error(
            "OutOfRangeQueryParameterValue",
            QueryParameterName="maxresults",
            QueryParameterValue=text,
            MinimumAllowed="1",
            MaximumAllowed=str(MAX_PAGE_SIZE),
        )
    return min(int(text), MAX_PAGE_SIZE)


def included(request: Request, known: frozenset[str]) -> frozenset[str]:
    """What ``include`` asks for; it may be blank. Raises ``InvalidQueryParameterValue`` for what is not known."""
    words = {word.strip().lower() for value in request.query.get("include", ()) for word in value.split(",")} - {""}
    for word in words - known:
        raise invalid_query("include", word)
    return frozenset(words)


def first_name(request: Request) -> str:
    """The name that a ``marker`` stands for, or the least one."""
    marker = request.parameter("marker")
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid_query("marker", marker) from None


def marker_for(name: str | None) -> str:
    """An opaque marker for the page that begins with a name; empty where there is none."""
    return base64.urlsafe_b64encode(name.encode()).decode() if name else ""
