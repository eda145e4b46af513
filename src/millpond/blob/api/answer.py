"""Answers, and the headers that tell of a blob or container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from millpond.common.clock import to_etag
from millpond.common.config import BlobFeatures
from millpond.common.errors import ServiceError
from millpond.common.identities import RESOURCE, TENANT

from ..content import checksums
from ..errors import CopySourceError
from ..model import NOT_IMMUTABLE, Blob, Container, CopyState, Encryption, Immutability, Lease, Metadata
from ..moments import http_date, to_snapshot
from ..service.blobs import RangeError, Reading
from ..service.conditions import NotModifiedError
from ..service.lease import INFINITE, is_locked, state_of
from ..service.tier import DEFAULT_TIER
from . import structured
from .headers import ACCOUNT_SCOPE
from .xml import DECLARATION, archive_status, element

#: Where clients would get a token. They are told of the tenant, and ask their own credential.
_CHALLENGE = (
    f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}/oauth2/authorize resource_id={RESOURCE}"
)

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
    if isinstance(failure, CopySourceError):
        headers.append(("x-ms-copy-source-status-code", str(failure.source_status)))
        if failure.source_code:
            headers.append(("x-ms-copy-source-error-code", failure.source_code))
    if failure.status == 401:
        headers.append(("www-authenticate", _CHALLENGE))
    return Answer(failure.status, headers, document.encode())


def modified(last_modified: int) -> Headers:
    return [("etag", f'"{to_etag(last_modified)}"'), ("last-modified", http_date(last_modified))]


def metadata_headers(metadata: Metadata) -> Headers:
    return [(f"x-ms-meta-{name}", value) for name, value in metadata.items()]


def lease_headers(lease: Lease, now: int) -> Headers:
    if not lease.id:
        return [("x-ms-lease-status", "unlocked"), ("x-ms-lease-state", "available")]
    state = state_of(lease, now)
    headers = [("x-ms-lease-status", "locked" if is_locked(lease, now) else "unlocked"), ("x-ms-lease-state", state)]
    if state == "leased":
        headers.append(("x-ms-lease-duration", "infinite" if lease.duration == INFINITE else "fixed"))
    return headers


def container_headers(container: Container, now: int, features: BlobFeatures) -> Headers:
    headers = modified(container.last_modified)
    headers += metadata_headers(container.metadata)
    headers += lease_headers(container.lease, now)
    headers += [
        ("x-ms-has-immutability-policy", "false"),
        ("x-ms-has-legal-hold", "false"),
        ("x-ms-immutable-storage-with-versioning-enabled", str(features.immutability).lower()),
        ("x-ms-default-encryption-scope", container.default_scope or ACCOUNT_SCOPE),
        ("x-ms-deny-encryption-scope-override", str(container.denies_other_scopes).lower()),
    ]
    return headers + public_access_headers(container)


def public_access_headers(container: Container) -> Headers:
    return [("x-ms-blob-public-access", container.public_access)] if container.public_access else []


def blob_headers(blob: Blob, now: int, *, whole: bool, tags: bool = True) -> Headers:
    """Everything that is told about a blob; its MD5 by another name where the answer is not ``whole``.

    ``tags``: whether how many it has may be known.
    """
    properties = blob.properties
    headers = modified(blob.last_modified)
    headers += [
        ("x-ms-creation-time", http_date(blob.created_at)),
        ("content-type", properties.content_type),
        ("accept-ranges", "bytes"),
        ("x-ms-blob-type", blob.type),
        ("x-ms-server-encrypted", "true"),
    ]
    headers += encryption_headers(blob.encryption)
    headers += lease_headers(blob.lease, now)
    if blob.type == "BlockBlob" or blob.access_tier:
        headers += _tier_headers(blob)
    headers += in_place_headers(blob)
    if blob.immutability != NOT_IMMUTABLE:
        headers += immutability_headers(blob.immutability)
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
        headers += _copy_headers(blob.copy)
    if blob.version:
        headers += version_headers(blob)
        if blob.is_current:
            headers.append(("x-ms-is-current-version", "true"))
    if blob.tags and tags:
        headers.append(("x-ms-tag-count", str(len(blob.tags))))
    if blob.accessed_at:
        headers.append(("x-ms-last-access-time", http_date(blob.accessed_at)))
    return headers + metadata_headers(blob.metadata)


def encryption_headers(encryption: Encryption) -> Headers:
    if encryption.key_hash:
        return [("x-ms-encryption-key-sha256", encryption.key_hash)]
    return [("x-ms-encryption-scope", encryption.scope)] if encryption.scope else []


def immutability_headers(immutability: Immutability) -> Headers:
    headers = []
    if immutability.until:
        headers.append(("x-ms-immutability-policy-until-date", http_date(immutability.until)))
        headers.append(("x-ms-immutability-policy-mode", "locked" if immutability.is_locked else "unlocked"))
    if immutability.legal_hold:
        headers.append(("x-ms-legal-hold", "true"))
    return headers


def in_place_headers(blob: Blob) -> Headers:
    """What is told of append and page blobs alone."""
    in_place = blob.in_place
    if blob.type == "BlockBlob":
        return []
    if blob.type == "PageBlob":
        return [("x-ms-blob-sequence-number", str(in_place.sequence_number))]
    headers = [("x-ms-blob-committed-block-count", str(in_place.committed_blocks))]
    return [*headers, ("x-ms-blob-sealed", "true")] if in_place.is_sealed else headers


def version_headers(blob: Blob) -> Headers:
    return [("x-ms-version-id", to_snapshot(blob.version))] if blob.version else []


def _tier_headers(blob: Blob) -> Headers:
    tiering = blob.tiering
    headers = [("x-ms-access-tier", blob.access_tier or DEFAULT_TIER)]
    if not blob.access_tier:
        headers.append(("x-ms-access-tier-inferred", "true"))
    elif blob.access_tier == "Smart":
        headers.append(("x-ms-smart-access-tier", DEFAULT_TIER))
    if tiering.changed_at:
        headers.append(("x-ms-access-tier-change-time", http_date(tiering.changed_at)))
    if tiering.target:
        headers.append(("x-ms-archive-status", archive_status(blob)))
        headers.append(("x-ms-rehydrate-priority", tiering.priority))
    return headers


def _copy_headers(copy: CopyState) -> Headers:
    headers = [
        ("x-ms-copy-id", copy.id),
        ("x-ms-copy-source", copy.source),
        ("x-ms-copy-status", copy.status),
        ("x-ms-copy-progress", f"{copy.copied}/{copy.total}"),
    ]
    if copy.completed_at:
        headers.append(("x-ms-copy-completion-time", http_date(copy.completed_at)))
    if copy.is_incremental:
        headers.append(("x-ms-incremental-copy", "true"))
    if copy.destination_snapshot:
        headers.append(("x-ms-copy-destination-snapshot", to_snapshot(copy.destination_snapshot)))
    if copy.description:
        headers.append(("x-ms-copy-status-description", copy.description))
    return headers
