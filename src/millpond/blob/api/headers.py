"""What the headers of requests mean. Every function raises the service's error for a value that is wrong."""

from __future__ import annotations

import hashlib
import re
import uuid

from millpond.common.clock import from_http
from millpond.common.conditions import NO_CONDITIONS, Conditions, parse_etags

from ..content import checksums
from ..errors import error, invalid_header
from ..model import (
    NO_ENCRYPTION,
    NOT_IMMUTABLE,
    ContentProperties,
    Encryption,
    Immutability,
    Metadata,
    PublicAccess,
    Tags,
)
from ..request import Request
from ..service.blobs import Span
from ..service.conditions import Demands
from ..service.containers import ScopePolicy
from ..service.tier import BLOCK_BLOB_TIERS, PAGE_BLOB_TIERS
from ..tags import TagCondition, read_condition, read_tags

#: Most bytes of a blob's or container's metadata, names and values together.
MAX_METADATA_SIZE = 8 << 10
_PRIORITIES = frozenset({"High", "Standard"})

#: Bytes of a client's key.
_KEY_SIZE = 32
_SCOPE_HEADER = "x-ms-encryption-scope"
_ENCRYPTION_HEADERS = frozenset(
    {_SCOPE_HEADER, "x-ms-encryption-key", "x-ms-encryption-key-sha256", "x-ms-encryption-algorithm"}
)
#: How the account's own key is called where a scope is told.
ACCOUNT_SCOPE = "$account-encryption-key"
UNTIL = "x-ms-immutability-policy-until-date"
MODE = "x-ms-immutability-policy-mode"
LEGAL_HOLD = "x-ms-legal-hold"
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{1,61}[A-Za-z0-9]")
MAX_NUMBER = (1 << 63) - 1
_MAX_DIGITS = 19

_METADATA_PREFIX = "x-ms-meta-"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


def demands(request: Request) -> Demands:
    return Demands(
        conditions(request),
        lease_id(request, "x-ms-lease-id"),
        encryption=encryption(request),
        if_tags=if_tags(request),
    )


def demands_on_tagged(request: Request) -> Demands:
    """For the operations on tags, where new clients write ``x-ms-blob-if-match`` for ``If-Match``, and so on."""
    found = demands(request)
    of_blob = conditions(request, "x-ms-blob-")
    return found if of_blob == NO_CONDITIONS else found._replace(conditions=of_blob)


def demands_of_deletion(request: Request) -> Demands:
    """With those of the access tier, which only a deletion may have."""
    since = _date(request.headers, "x-ms-access-tier-if-modified-since")
    unmodified_since = _date(request.headers, "x-ms-access-tier-if-unmodified-since")
    tier = Conditions(if_modified_since=since, if_unmodified_since=unmodified_since)
    return demands(request)._replace(tier_conditions=tier)


def encryption(request: Request) -> Encryption:
    """The client's key, which is checked against its hash and not kept, or the scope, which a SAS may prescribe."""
    if "ses" not in request.query and request.headers.keys().isdisjoint(_ENCRYPTION_HEADERS):
        return NO_ENCRYPTION
    scope, prescribed = request.header(_SCOPE_HEADER), request.parameter("ses")
    if scope and prescribed and scope != prescribed:
        raise invalid_header(_SCOPE_HEADER, scope)
    scope = scope or prescribed
    if scope and not _SCOPE.fullmatch(scope):
        raise invalid_header(_SCOPE_HEADER, scope)
    key_hash = key_of(request)
    if scope and key_hash:
        raise invalid_header(_SCOPE_HEADER, scope)
    return Encryption(key_hash, scope)


def scope_policy(request: Request) -> ScopePolicy:
    """That of a new container."""
    name = "x-ms-default-encryption-scope"
    scope, denies_others = request.header(name), flag(request, "x-ms-deny-encryption-scope-override")
    if denies_others and not scope:
        raise error("MissingRequiredHeader", HeaderName=name)
    if scope == ACCOUNT_SCOPE:
        return ScopePolicy()
    if scope and not _SCOPE.fullmatch(scope):
        raise invalid_header(name, scope)
    return ScopePolicy(scope, denies_others)


def immutability(request: Request) -> Immutability:
    """The policy and the legal hold that a blob is to have."""
    until, mode = request.header(UNTIL), request.header(MODE).lower()
    if mode not in ("", "locked", "unlocked"):
        raise invalid_header(MODE, mode)
    if mode and not until:
        raise error("MissingRequiredHeader", HeaderName=UNTIL)
    if not until and LEGAL_HOLD not in request.headers:
        return NOT_IMMUTABLE
    return Immutability(_date(request.headers, UNTIL) or 0, mode == "locked", flag(request, LEGAL_HOLD))


def key_of(request: Request, prefix: str = "x-ms-") -> str:
    """The hash of the client's key, of the request's own resource or (``x-ms-source-``) of a copy's source."""
    key, key_hash, algorithm = (f"{prefix}encryption-{part}" for part in ("key", "key-sha256", "algorithm"))
    if not any(name in request.headers for name in (key, key_hash, algorithm)):
        return ""
    for name in (key, key_hash, algorithm):
        if name not in request.headers:
            raise error("MissingRequiredHeader", HeaderName=name)
    try:
        found = hashlib.sha256(checksums.decode(request.headers[key], _KEY_SIZE)).digest()
    except ValueError:
        raise error("InvalidHeaderValue", HeaderName=key) from None
    if request.headers[key_hash] != checksums.encode(found):
        raise invalid_header(key_hash, request.headers[key_hash])
    if request.headers[algorithm] != "AES256":
        raise invalid_header(algorithm, request.headers[algorithm])
    return request.headers[key_hash]


def number(request: Request, name: str) -> int | None:
    """A whole number of at least 0 and below 2^63, or ``None`` where there is no such header."""
    text = request.header(name)
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > _MAX_DIGITS or int(text) > MAX_NUMBER:
        raise invalid_header(name, text)
    return int(text)


def required_number(request: Request, name: str) -> int:
    found = number(request, name)
    if found is None:
        raise error("MissingRequiredHeader", HeaderName=name)
    return found


def if_tags(request: Request, name: str = "x-ms-if-tags") -> TagCondition | None:
    """What is demanded of a blob's tags, or nothing where there is no such header."""
    text = request.header(name)
    try:
        return read_condition(text) if text else None
    except ValueError:
        raise invalid_header(name, text) from None


def tags(request: Request) -> Tags:
    """``x-ms-tags``."""
    return read_tags(request.header("x-ms-tags"))


def copies_tags(request: Request) -> bool:
    """Whether a copy takes over the tags of its source."""
    text = request.header("x-ms-copy-source-tag-option")
    if text.upper() not in ("", "COPY", "REPLACE") or (text.upper() == "COPY" and "x-ms-tags" in request.headers):
        raise invalid_header("x-ms-copy-source-tag-option", text)
    return text.upper() == "COPY"


def lease_id(request: Request, name: str) -> str:
    """A GUID in lower case with hyphens, or nothing where there is no such header."""
    text = request.header(name)
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        raise invalid_header(name, text) from None


def conditions(request: Request, prefix: str = "") -> Conditions:
    """If-Match and kin, of the request's own resource or (``x-ms-source-``) of a copy's source."""
    headers = request.headers
    return Conditions(
        parse_etags(headers.get(f"{prefix}if-match", "")),
        parse_etags(headers.get(f"{prefix}if-none-match", "")),
        _date(headers, f"{prefix}if-modified-since"),
        _date(headers, f"{prefix}if-unmodified-since"),
    )


def _date(headers: dict[str, str], name: str) -> int | None:
    text = headers.get(name)
    if not text:
        return None
    try:
        return from_http(text)
    except ValueError:
        raise invalid_header(name, text) from None


def span(request: Request, name: str = "x-ms-range") -> Span | None:
    """The range asked for. A malformed ``Range`` is ignored, as HTTP has it; ``x-ms-range`` must be right."""
    text = request.header(name)
    is_own = bool(text)
    if not text and name == "x-ms-range":
        text = request.header("range")
    if not text:
        return None
    match = _RANGE.fullmatch(text)
    begin, last = (int(match[1]), int(match[2]) if match[2] else None) if match else (0, -1)
    if last is not None and last < begin:
        if is_own:
            raise invalid_header(name, text)
        return None
    return Span(begin, None if last is None else last + 1)


def metadata(request: Request) -> Metadata:
    """The ``x-ms-meta-`` headers, names in the case they were sent in."""
    found: dict[str, str] = {}
    for sent in request.header_names:
        name = sent.lower()
        if name.startswith(_METADATA_PREFIX):
            key = sent[len(_METADATA_PREFIX) :]
            if not key:
                raise error("EmptyMetadataKey")
            if not _IDENTIFIER.fullmatch(key):
                raise error("InvalidMetadata")
            found[key] = request.headers[name]
    if sum(len(key) + len(value) for key, value in found.items()) > MAX_METADATA_SIZE:
        raise error("MetadataTooLarge")
    return found


def content_properties(request: Request, *, only_own: bool = False, md5_of_any_size: bool = False) -> ContentProperties:
    """The headers a blob is to be served with: ``x-ms-blob-content-type`` or, unless ``only_own``, ``Content-Type``.

    ``md5_of_any_size``: what is called its MD5 is stored as it is, whatever it is.
    """

    def one(own: str, standard: str) -> str:
        return request.header(own) or ("" if only_own else request.header(standard))

    return ContentProperties(
        content_type=one("x-ms-blob-content-type", "content-type") or ContentProperties().content_type,
        content_encoding=one("x-ms-blob-content-encoding", "content-encoding"),
        content_language=one("x-ms-blob-content-language", "content-language"),
        content_disposition=request.header("x-ms-blob-content-disposition"),
        cache_control=one("x-ms-blob-cache-control", "cache-control"),
        content_md5=md5(request, "x-ms-blob-content-md5", of_any_size=md5_of_any_size),
    )


def md5(request: Request, name: str = "content-md5", *, of_any_size: bool = False) -> bytes:
    """An MD5, or nothing where there is no such header."""
    text = request.header(name)
    try:
        return checksums.decode(text, None if of_any_size else checksums.MD5_SIZE) if text else b""
    except ValueError:
        raise error("InvalidMd5") from None


def crc64(request: Request, name: str = "x-ms-content-crc64") -> bytes:
    """A CRC-64, or nothing where there is no such header."""
    text = request.header(name)
    try:
        return checksums.decode(text, checksums.CRC64_SIZE) if text else b""
    except ValueError:
        raise invalid_header(name, text) from None


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    """A header that is ``true`` or ``false``."""
    text = request.header(name)
    if text.lower() not in ("", "true", "false"):
        raise invalid_header(name, text)
    return text.lower() == "true" if text else default


def access_tier(request: Request) -> str:
    """One of any type of blobs, or nothing where there is no such header."""
    tier = request.header("x-ms-access-tier").capitalize()
    if tier and tier not in BLOCK_BLOB_TIERS | PAGE_BLOB_TIERS:
        raise invalid_header("x-ms-access-tier", tier)
    return tier


def rehydrate_priority(request: Request) -> str:
    """``High``, ``Standard``, or nothing where there is no such header."""
    text = request.header("x-ms-rehydrate-priority")
    if text and text.capitalize() not in _PRIORITIES:
        raise invalid_header("x-ms-rehydrate-priority", text)
    return text.capitalize()


def public_access(request: Request) -> PublicAccess:
    match request.header("x-ms-blob-public-access").lower():
        case "" | "none":
            return ""
        case "blob":
            return "blob"
        case "container" | "true":
            return "container"
        case other:
            raise invalid_header("x-ms-blob-public-access", other)
