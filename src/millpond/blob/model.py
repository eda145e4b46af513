"""What the Blob service keeps: containers, blobs, their blocks, and where the bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

PublicAccess = Literal["", "blob", "container"]
Metadata = Mapping[str, str]


class ResourceName(NamedTuple):
    """What a URL names; empty where it names nothing so deep."""

    account: str
    container: str = ""
    blob: str = ""


class StoredPolicy(NamedTuple):
    """A stored access policy of a container. Times are text as they were set, checked to be times."""

    id: str
    start: str = ""
    expiry: str = ""
    permissions: str = ""


class Container(NamedTuple):
    id: int
    account: str
    name: str
    created_at: int
    last_modified: int
    public_access: PublicAccess
    metadata: Metadata
    policies: tuple[StoredPolicy, ...]


class ContentProperties(NamedTuple):
    """The headers that a blob is served with, empty where unset."""

    content_type: str = "application/octet-stream"
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    content_md5: bytes = b""


class CopyState(NamedTuple):
    """The copy that made a blob; copies end before they are answered, so its status is ``success``."""

    id: str
    source: str
    completed_at: int


class Content(NamedTuple):
    """Bytes that are safe on disk (``file``), or small and go into a row (``data``, and no ``file``)."""

    size: int
    file: str
    data: bytes | None
    md5: bytes = b""
    crc64: bytes = b""


class Blob(NamedTuple):
    """A committed block blob. ``id`` is 0 before it is stored; ``data`` is ``None`` where segments hold the bytes."""

    id: int
    container_id: int
    name: str
    created_at: int
    last_modified: int
    size: int
    properties: ContentProperties
    metadata: Metadata
    access_tier: str
    copy: CopyState | None
    data: bytes | None


class Segment(NamedTuple):
    """A stretch of a blob's bytes: a committed block (``block_id``), or the whole of a Put Blob (no ``block_id``)."""

    start: int
    size: int
    block_id: str
    file: str


class Block(NamedTuple):
    """An uncommitted block."""

    block_id: str
    size: int
    file: str
