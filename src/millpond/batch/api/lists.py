"""Pages of lists: the store's, and those that are made here."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..store.base import ContinuationError, Page, Query
from .http import Call
from .odata import read_filter

T = TypeVar("T")


async def stored_page(call: Call, kind: str, read: Callable[[Query], Page[T]]) -> Page[T]:
    """The page of one of the store's lists that a request is for; read in a thread, for it may take a while."""
    query = Query(call.page_size(), read_filter(call, kind), call.query.get("$skiptoken"))
    try:
        return await asyncio.to_thread(read, query)
    except ContinuationError:
        raise _bad_token(call) from None


def page_of(call: Call, items: Sequence[tuple[str, T]]) -> tuple[list[T], str | None]:
    """The page of a list made here that a request is for, and the token of the next.

    Items come with the keys that they are in the order of.
    """
    limit = call.page_size()
    token = call.query.get("$skiptoken")
    if token is not None:
        try:
            padded = token + "=" * (-len(token) % 4)
            last = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        except (ValueError, binascii.Error):
            raise _bad_token(call) from None
        items = [item for item in items if item[0] > last]
    page = [item for _, item in items[:limit]]
    if len(items) <= limit:
        return page, None
    return page, base64.urlsafe_b64encode(items[limit - 1][0].encode()).decode().rstrip("=")


def _bad_token(call: Call) -> Exception:
    return call.bad_parameter("$skiptoken", "The token is not one that a page of this list ended with.")
