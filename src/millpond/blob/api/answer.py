"""Answers, and the headers that tell of a blob or container."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from millpond.common.clock import SECOND, to_etag, to_http
from millpond.common.errors import ServiceError

from ..content import checksums
from ..model import Blob, Container, Metadata
from ..service.blobs import RangeError, Reading
from ..service.conditions import NotModifiedError
from . import structured
from .xml import DECLARATION, element

Headers = list[tuple[str, str]]


class Answer(NamedTuple):
    """What goes back to the client: a body of bytes, or of a blob's content, or only the ``size`` of one (HEAD)."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    reading: Reading | None = None
    size: int = 0
    #: Whether the reading goes as a structured message.
    is_structured: bool = False

    @property
    def length(self) -> int:
        """The Content-Length."""
        if not self.reading:
            return len(self.body) or self.size
        size = self.reading.end - self.reading.begin
        return structured.encoded_length(size) if self.is_structured else size


def xml_answer(document: str, headers: Headers | None = None) -> Answer:
    return Answer(200, [*(headers or []), ("content-type", "application/xml")], document.encode())


def error_answer(failure: ServiceError | NotModifiedError, request_id: str, time: str) -> Answer:
    """The service's error body, and its code in a header for answers that have no body."""
    if isinstance(failure, NotModifiedError):
        return Answer(304, [("x-ms-error-code", "ConditionNotMet"), *modified(failure.last_modified)])
    message = f"{failure.message}\nRequestId:{request_id}\nTime:{time}"
    details = "".join([element(name, value) for name, value in failure.details])
    document = f"{DECLARATION}<Error><Code>{failure.code}</Code>{element('Message', message)}{details}</Error>"
    headers = [("x-ms-error-code", failure.code), ("content-type", "application/xml")]
    if isinstance(failure, RangeError):
        headers.append(("content-range", f"bytes */{failure.size}"))
    if failure.status == 401:
        headers.append(("www-authenticate", "SharedKey"))
    return Answer(failure.status, headers, document.encode())


def modified(last_modified: int) -> Headers:
    return [("etag", f'"{to_etag(last_modified)}"'), ("last-modified", http_date(last_modified))]


def http_date(moment: int) -> str:
    """:func:`~millpond.common.clock.to_http`, remembered: it takes long beside the rest of a small answer."""
    return _http_date(moment // SECOND)


@lru_cache(4096)
def _http_date(second: int) -> str:
    return to_http(second * SECOND)


def metadata_headers(metadata: Metadata) -> Headers:
    return [(f"x-ms-meta-{name}", value) for name, value in metadata.items()]


def container_headers(container: Container) -> Headers:
    headers = modified(container.last_modified)
    headers += metadata_headers(container.metadata)
    headers += [
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-lease-state", "available"),
        ("x-ms-has-immutability-policy", "false"),
        ("x-ms-has-legal-hold", "false"),
    ]
    return headers + public_access_headers(container)


def public_access_headers(container: Container) -> Headers:
    return [("x-ms-blob-public-access", container.public_access)] if container.public_access else []


def blob_headers(blob: Blob, *, whole: bool) -> Headers:
    """Everything that is told about a blob; its MD5 by another name where the answer is not ``whole``."""
    properties = blob.properties
    headers = modified(blob.last_modified)
    headers += [
        ("x-ms-creation-time", http_date(blob.created_at)),
        ("content-type", properties.content_type),
        ("accept-ranges", "bytes"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-lease-state", "available"),
        ("x-ms-server-encrypted", "false"),
        ("x-ms-access-tier", blob.access_tier or "Hot"),
    ]
    if not blob.access_tier:
        headers.append(("x-ms-access-tier-inferred", "true"))
    for name, value in (
        ("content-encoding", properties.content_encoding),
        ("content-language", properties.content_language),
        ("content-disposition", properties.content_disposition),
        ("cache-control", properties.cache_control),
    ):
        if value:
            headers.append((name, value))
    if properties.content_md5:
        name = "content-md5" if whole else "x-ms-blob-content-md5"
        headers.append((name, checksums.encode(properties.content_md5)))
    if blob.copy:
        headers += [
            ("x-ms-copy-id", blob.copy.id),
            ("x-ms-copy-source", blob.copy.source),
            ("x-ms-copy-status", "success"),
            ("x-ms-copy-progress", f"{blob.size}/{blob.size}"),
            ("x-ms-copy-completion-time", http_date(blob.copy.completed_at)),
        ]
    return headers + metadata_headers(blob.metadata)
