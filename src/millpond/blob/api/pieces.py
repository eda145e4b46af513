"""Storing what is put into a blob in place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec

from millpond.common.errors import ServiceError

from ..model import Blob, Content, ResourceName
from ..service import in_place
from ..store import Transaction
from .call import Call

P = ParamSpec("P")

#: What is larger has a file of its own.
MAX_SMALL_PIECE: Final = 256 << 10


async def store_piece(
    call: Call,
    work: Callable[Concatenate[Transaction, ResourceName, Content, P], Blob],
    content: Content,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Blob:
    """Run a work with content that is in a file, or that is added to the blob's tail before."""
    if content.data is None:
        return await call.store.write(work, call.name, content, *args, **kwargs)
    files, in_thread = call.service.content, asyncio.get_running_loop().run_in_executor
    tail = call.store.read(in_place.tail_of, call.name)
    while True:
        file, offset = await in_thread(files.threads, files.add, tail, content.data)
        added = content._replace(file=file, offset=offset, data=None, is_added=True)
        try:
            blob = await call.store.write(work, call.name, added, *args, **kwargs)
        except in_place.TailGoneError:
            tail = ""
        except ServiceError:
            if file != tail:
                files.unlink([file])
            raise
        else:
            if file != tail:
                files.publish(file)
            return blob
