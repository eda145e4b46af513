"""What the Blob service keeps: containers, blobs, their blocks, and where the bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

PublicAccess = Literal["", "blob", "container"]
BlobType = Literal["BlockBlob", "AppendBlob", "PageBlob"]
CopyStatus = Literal["pending", "success", "aborted", "failed"]
Metadata = Mapping[str, str]
Tags = Mapping[str, str]

#: The generation of a blob itself: greater than that of any snapshot, earlier version or deleted blob of its name.
CURRENT: Final = (1 << 63) - 1


NO_TAGS: Final[Tags] = {}


class ResourceName(NamedTuple):
    """What a URL names; empty where it names nothing so deep."""

    account: str
    container: str = ""
    blob: str = ""
    #: The moments of the snapshot or the version that it names, 0 for none.
    snapshot: int = 0
    version: int = 0


class Lease(NamedTuple):
    """The last lease of a blob or container; without ``id`` there was none."""

    id: str = ""
    #: Seconds, or -1 for one without end.
    duration: int = 0
    #: When it ends by itself; 0 for one without end.
    expires_at: int = 0
    #: When it ends, or ended, because it was broken; 0 where it was not.
    broken_at: int = 0


NO_LEASE: Final = Lease()


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
    lease: Lease = NO_LEASE
    #: When it was deleted, and when nothing can bring it back any more; 0 for one that is there.
    deleted_at: int = 0
    purge_at: int = 0
    #: The encryption scope of blobs that name none, empty for that of the account; and whether all must have it.
    default_scope: str = ""
    denies_other_scopes: bool = False


class ContentProperties(NamedTuple):
    """The headers that a blob is served with, empty where unset."""

    content_type: str = "application/octet-stream"
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    content_md5: bytes = b""


class CopyState(NamedTuple):
    """The copy that makes a blob, or made it. ``completed_at`` is 0 while it is pending."""

    id: str
    source: str
    completed_at: int
    status: CopyStatus = "success"
    #: Bytes copied, and to be copied.
    copied: int = 0
    total: int = 0
    #: Why it failed.
    description: str = ""
    is_incremental: bool = False
    #: The moment of the snapshot that the last incremental copy made.
    destination_snapshot: int = 0


class Tiering(NamedTuple):
    """What became of a blob's tier since the blob was made."""

    #: When the tier was set, 0 where it never was.
    changed_at: int = 0
    #: The tier that an archived blob is on its way to, when it gets there, and how urgent that is.
    target: str = ""
    due_at: int = 0
    priority: str = ""


NO_TIERING: Final = Tiering()


class InPlace(NamedTuple):
    """What a blob has besides whose bytes change in place: an append blob, or a page blob."""

    #: How often an append blob was appended to, and whether that is over.
    committed_blocks: int = 0
    is_sealed: bool = False
    #: That of a page blob, which means what its client wants it to.
    sequence_number: int = 0
    #: The file that small pieces are added to, empty where the next one begins a new one.
    tail: str = ""


NOT_IN_PLACE: Final = InPlace()


class Encryption(NamedTuple):
    """With what a client wants a blob to be encrypted: a key of its own or a scope of the account, or neither."""

    #: The SHA-256 of the key, in base64. The key itself is nowhere kept.
    key_hash: str = ""
    scope: str = ""


NO_ENCRYPTION: Final = Encryption()


class Immutability(NamedTuple):
    """What keeps a blob from being changed or deleted."""

    #: The end of its policy, 0 for a blob without one, and whether the policy may still be shortened or removed.
    until: int = 0
    is_locked: bool = False
    legal_hold: bool = False


NOT_IMMUTABLE: Final = Immutability()


class Content(NamedTuple):
    """Bytes that are safe on disk (``file``), or small and not in a file yet (``data``, and no ``file``)."""

    size: int
    file: str
    data: bytes | None
    md5: bytes = b""
    crc64: bytes = b""
    #: Where in the file they begin, and whether they were added to it.
    offset: int = 0
    is_added: bool = False


class Blob(NamedTuple):
    """A blob, a snapshot or an earlier version of one, or a deleted one of these.

    ``id`` is 0 before it is stored; ``data`` is ``None`` where segments hold the bytes.
    """

    id: int
    container_id: int
    name: str
    created_at: int
    last_modified: int
    size: int
    properties: ContentProperties
    metadata: Metadata
    #: Empty where it is the account's default.
    access_tier: str
    copy: CopyState | None
    data: bytes | None
    type: BlobType = "BlockBlob"
    #: Tells what there is of one name apart: the moment of a snapshot, a version or a deletion, or :data:`CURRENT`.
    generation: int = CURRENT
    #: The moment of a snapshot, 0 for what is none.
    snapshot: int = 0
    #: The moment that names this version, 0 for what was made without versioning.
    version: int = 0
    #: When it was deleted, and when nothing can bring it back any more; 0 for what is there.
    deleted_at: int = 0
    purge_at: int = 0
    lease: Lease = NO_LEASE
    tiering: Tiering = NO_TIERING
    #: When it was last read or written, where the account keeps track of that; else 0.
    accessed_at: int = 0
    in_place: InPlace = NOT_IN_PLACE
    encryption: Encryption = NO_ENCRYPTION
    immutability: Immutability = NOT_IMMUTABLE
    tags: Tags = NO_TAGS

    @property
    def is_current(self) -> bool:
        """Whether it is the blob itself, and there."""
        return self.generation == CURRENT


class Segment(NamedTuple):
    """A stretch of a blob's bytes, which begin at ``offset`` in a file.

    It is a committed block (``block_id``), the whole of a Put Blob, or some of what was appended or put as pages (no
    ``block_id``). What lies between the segments of a page blob is zero. So is a segment without a file: these pages
    were cleared, at the moment ``offset``.
    """

    start: int
    size: int
    block_id: str
    file: str
    offset: int = 0

    @property
    def end(self) -> int:
        return self.start + self.size


class Block(NamedTuple):
    """An uncommitted block."""

    block_id: str
    size: int
    file: str
    encryption: Encryption = NO_ENCRYPTION


class PendingCopy(NamedTuple):
    """A copy that is under way, and the blob that it makes."""

    copy_id: str
    container_id: int
    name: str
    #: As the client gave it, with its signature.
    url: str
