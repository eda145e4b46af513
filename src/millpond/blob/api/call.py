"""What an operation has at hand: its request, what that may do, and the service."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from millpond.common.clock import Clock
from millpond.common.config import Accounts, BlobFeatures
from millpond.common.errors import ServiceError

from ..auth import Access
from ..content import ContentStore, Upload, checksums
from ..errors import error, invalid_header
from ..model import Content, ResourceName
from ..remote import Remote
from ..request import Request
from ..store import Store, Transaction
from . import headers, structured

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: Most bytes of an XML document in a request; a block list of 50,000 has less.
MAX_DOCUMENT_SIZE = 16 << 20


class Service(NamedTuple):
    """The parts that all requests share."""

    store: Store
    content: ContentStore
    clock: Clock
    accounts: Accounts
    remote: Remote


class Call(NamedTuple):
    service: Service
    request: Request
    access: Access
    receive: Receive

    @property
    def name(self) -> ResourceName:
        return self.request.resource

    @property
    def store(self) -> Store:
        return self.service.store

    @property
    def features(self) -> BlobFeatures:
        """What the account that is named asks for."""
        return self.service.accounts.blob_features(self.name.account)


class DisconnectError(Exception):
    """The client is gone before its request was complete; nobody waits for an answer."""


def content_length(request: Request, limit: int) -> int:
    """The size of the body. Raises ``MissingContentLengthHeader``, ``RequestBodyTooLarge``."""
    text = request.header("content-length")
    if not text:
        raise error("MissingContentLengthHeader")
    if not text.isdecimal():
        raise invalid_header("content-length", text)
    if int(text) > limit:
        raise error("RequestBodyTooLarge", MaxLimit=str(limit))
    return int(text)


async def read_document(call: Call) -> bytes:
    """The body of a request that sends XML, checked where it comes with a checksum."""
    content_length(call.request, MAX_DOCUMENT_SIZE)
    expected = Checksums.of(call.request)
    document = b"".join([piece async for piece in body(call)])
    expected.compare(
        checksums.md5(document) if expected.md5 else b"", checksums.crc64(document) if expected.crc64 else b""
    )
    return document


@asynccontextmanager
async def stored(
    call: Call,
    pieces: AsyncIterator[bytes],
    expected: Checksums,
    *,
    inline_size: int = 0,
    md5: bool = False,
    crc64: bool = False,
) -> AsyncIterator[Content]:
    """The pieces, checked and safe on disk; the block under this makes a row name them.

    Up to ``inline_size`` bytes are for the row itself. There are checksums of the kinds that are asked for or
    expected. The content is dropped where the block ends
    with an error of the service; after any other end nobody knows what the database holds, so that it stays for the
    next start to sort out.
    """
    upload = Upload(
        call.service.content,
        inline_size=inline_size,
        md5_wanted=md5 or bool(expected.md5),
        crc64_wanted=crc64 or bool(expected.crc64),
    )
    try:
        async for piece in pieces:
            await upload.write(piece)
        content = await upload.finish()
        expected.compare(content.md5, content.crc64)
    except BaseException:
        await upload.discard()
        raise
    try:
        yield content
    except ServiceError:
        await upload.discard()
        raise
    except sqlite3.Error:  # as where the disk is full; it has been rolled back by now, so that the rows tell
        if not call.store.read(Transaction.is_used, content.file):
            await upload.discard()
        raise
    if content.file:
        call.service.content.publish(content.file)


class Checksums(NamedTuple):
    """What a request says of the bytes it brings; empty where it says nothing."""

    md5: bytes
    crc64: bytes

    @staticmethod
    def of(request: Request, prefix: str = "") -> Checksums:
        """Of its body, or (``x-ms-source-``) of the source of a copy."""
        return Checksums(
            headers.md5(request, f"{prefix}content-md5"),
            headers.crc64(request, f"{prefix or 'x-ms-'}content-crc64"),
        )

    def compare(self, md5: bytes, crc64: bytes) -> None:
        """Raises ``Md5Mismatch`` or ``Crc64Mismatch``."""
        for code, sent, found in (("Md5Mismatch", self.md5, md5), ("Crc64Mismatch", self.crc64, crc64)):
            if sent and sent != found:
                raise error(code, UserSpecified=checksums.encode(sent), ServerCalculated=checksums.encode(found))


def uploaded(call: Call, limit: int) -> tuple[int, AsyncIterator[bytes]]:
    """The size of what a request uploads, and its bytes as they come, out of a structured message where it is one."""
    request = call.request
    length = content_length(request, limit)
    if not structured.is_structured(request):
        return length, body(call)
    text = request.header(structured.LENGTH_HEADER)
    if not text.isdecimal():
        raise invalid_header(structured.LENGTH_HEADER, text)
    return int(text), structured.decode(body(call), length, int(text))


async def body(call: Call) -> AsyncIterator[bytes]:
    """The body as it comes. Raises :class:`DisconnectError` where it never does."""
    while True:
        message = await call.receive()
        if message["type"] != "http.request":
            raise DisconnectError
        if body := message.get("body"):
            yield body
        if not message.get("more_body"):
            return
