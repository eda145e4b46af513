"""Blob Batch: many deletions or changes of tiers in one request, each with a signature and an answer of its own.

https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""

from __future__ import annotations

import email
import email.policy
import http.client
import io
import logging
import re
from collections.abc import Callable, MutableMapping
from email.message import Message
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from millpond.common.clock import to_iso
from millpond.common.errors import ServiceError

from ..auth import Need, authorize
from ..errors import error, invalid_header
from ..request import Request
from ..service.conditions import NotModifiedError
from . import blobs, tiers
from .answer import Answer, error_answer
from .call import Call, read_document

#: Most parts of a batch.
MAX_PARTS: Final = 256
_HANDLERS: Final = (blobs.delete_blob, tiers.set_blob_tier)
#: Quoted or, although it has characters that want quotes, as it is.
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"\\]+)"|([^";\s]+))', re.IGNORECASE)
_log = logging.getLogger(__name__)


class Part(NamedTuple):
    content_id: str
    request: Request
    query: bytes


#: Which operation a request is: its handler and what it needs. Raises what is wrong with it.
Find = Callable[[Request], tuple[Any, Need]]


async def blob_batch(call: Call, find: Find) -> Answer:
    """Parts are carried out one after the other; that one fails changes nothing for the others.

    Raises ``InvalidInput`` for a body that is no batch, and what is wrong with a batch as a whole.
    """
    content_type = call.request.header("content-type")
    written = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/mixed") or not written:
        raise invalid_header("content-type", content_type)
    parts = _read(call, written[1] or written[2], await read_document(call))
    boundary = f"batchresponse_{call.service.clock.guid()}"
    answers = [await _answered(call, part, find) for part in parts]
    body = b"".join([f"--{boundary}\r\n".encode() + answer + b"\r\n" for answer in answers])
    body += f"--{boundary}--\r\n".encode()
    return Answer(202, [("content-type", f"multipart/mixed; boundary={boundary}")], body)


def _read(call: Call, boundary: str, document: bytes) -> list[Part]:
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode("latin-1")
    message = email.message_from_bytes(head + document, policy=email.policy.HTTP)
    messages = list(message.iter_parts()) if message.is_multipart() else []
    if not messages:
        raise error("InvalidInput", Reason="The body is not a batch.")
    if len(messages) > MAX_PARTS:
        raise error("ExceedsMaxBatchRequestCount")
    parts = [_part(call, each) for each in messages]
    if len({(part.request.method, b"comp=tier" in part.query.lower()) for part in parts}) > 1:
        raise error("AllBatchSubRequestsShouldBeSameApi")
    return parts


def _part(call: Call, message: Message) -> Part:
    if message.get_content_type() != "application/http" or message.is_multipart():
        raise error("InvalidInput", Reason="A part of a batch is of the type application/http.")
    content = message.get_payload(decode=True)
    first, _, rest = (content if isinstance(content, bytes) else b"").lstrip(b"\r\n").partition(b"\n")
    try:
        method, target, protocol = first.decode("ascii").split()
        found = http.client.parse_headers(io.BytesIO(rest))
    except (ValueError, http.client.HTTPException):
        raise error("InvalidInput", Reason="A part of a batch is no request.") from None
    if protocol != "HTTP/1.1" or not target.startswith("/"):
        raise error("InvalidInput", Reason="A part of a batch is no request.")
    path, _, query = target.partition("?")
    headers = {"host": call.request.header("host")}
    headers |= {name.lower(): value for name, value in found.items()}
    if not "".join([*headers, *headers.values()]).isprintable():  # a line break would write into the answer
        raise error("InvalidInput", Reason="A part of a batch has a header that is none.")
    request = Request(
        {
            "method": method,
            "scheme": call.request.scheme,
            "client": (call.request.client_address, 0),
            "raw_path": path.encode(),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        }
    )
    return Part(str(message.get("content-id", "")), request, query.encode())


async def _answered(call: Call, part: Part, find: Find) -> bytes:
    """The answer to one part, as it is written."""
    request, clock = part.request, call.service.clock
    request_id = clock.guid()
    try:
        answer = await _carried_out(call, part, find)
    except (ServiceError, NotModifiedError) as failure:
        answer = error_answer(failure, request_id, to_iso(clock.now()))
    except Exception:
        _log.exception("%s %s in a batch, request %s", request.method, request.raw_path, request_id)
        answer = error_answer(error("InternalError"), request_id, to_iso(clock.now()))
    headers = [*answer.headers, ("x-ms-request-id", request_id), ("x-ms-version", request.version)]
    if client_request_id := request.header("x-ms-client-request-id"):
        headers.append(("x-ms-client-request-id", client_request_id))
    headers.append(("content-length", str(len(answer.body))))
    head = "Content-Type: application/http\r\n"
    head += f"Content-ID: {part.content_id}\r\n" if part.content_id else ""
    head += f"\r\nHTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
    head += "".join([f"{name}: {value}\r\n" for name, value in headers])
    return head.encode() + b"\r\n" + answer.body + b"\r\n"


async def _carried_out(call: Call, part: Part, find: Find) -> Answer:
    request, service = part.request, call.service
    request.read(part.query, service.accounts, account=call.name.account)
    if not request.names_version:
        request.version = call.request.version
    handler, need = find(request)
    if handler not in _HANDLERS:
        raise error("InvalidInput", Reason="A batch deletes blobs or sets their tiers.")
    if request.resource.account != call.name.account:
        raise error("InvalidInput", Reason="A part of the batch is about another account.")
    if call.name.container not in ("", request.resource.container):
        raise error("InvalidInput", Reason="A part of the batch is about another container.")
    access = authorize(request, need, service.accounts, service.store, service.clock.now())
    return await handler(Call(service, request, access, _no_body))  # type: ignore[no-any-return]


async def _no_body() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
