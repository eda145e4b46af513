"""Records to rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from ..model import (
    NO_ENCRYPTION,
    NO_LEASE,
    NO_TAGS,
    NO_TIERING,
    NOT_IMMUTABLE,
    NOT_IN_PLACE,
    Blob,
    Block,
    Container,
    ContentProperties,
    CopyState,
    Encryption,
    Immutability,
    InPlace,
    Lease,
    Metadata,
    StoredPolicy,
    Tags,
    Tiering,
)
from ..properties import ServiceProperties

_new = tuple.__new__
_NO_METADATA: Final[Metadata] = {}
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_policies = msgspec.json.Decoder(tuple[StoredPolicy, ...]).decode
_decode_copy = msgspec.json.Decoder(CopyState).decode
_decode_lease = msgspec.json.Decoder(Lease).decode
_decode_tiering = msgspec.json.Decoder(Tiering).decode
_decode_in_place = msgspec.json.Decoder(InPlace).decode
_decode_encryption = msgspec.json.Decoder(Encryption).decode
_decode_immutability = msgspec.json.Decoder(Immutability).decode


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _encode_lease(lease: Lease) -> str:
    return _encode(lease) if lease.id else ""


def _encode_encryption(encryption: Encryption) -> str:
    return _encode(encryption) if encryption != NO_ENCRYPTION else ""


def container_from(row: Sequence[Any]) -> Container:
    """A container of a row with all columns of its table, in their order."""
    *columns, metadata, policies, lease, deleted_at, purge_at, default_scope, denies_other_scopes = row
    return Container._make(
        (
            *columns,
            _decode_metadata(metadata),
            _decode_policies(policies),
            _decode_lease(lease) if lease else NO_LEASE,
            deleted_at,
            purge_at,
            default_scope,
            bool(denies_other_scopes),
        )
    )


def container_values(container: Container) -> dict[str, object]:
    """A container by column, and ``this_id``."""
    return {
        "this_id": container.id,
        "account": container.account,
        "name": container.name,
        "created_at": container.created_at,
        "last_modified": container.last_modified,
        "public_access": container.public_access,
        "metadata": _encode(container.metadata),
        "policies": _encode(container.policies),
        "lease": _encode_lease(container.lease),
        "deleted_at": container.deleted_at,
        "purge_at": container.purge_at,
        "default_scope": container.default_scope,
        "denies_other_scopes": container.denies_other_scopes,
    }


def blob_from(row: Sequence[Any]) -> Blob:
    """A blob of a row with all columns of its table, in their order, with or without the last one (``data``)."""
    metadata, access_tier, copy, blob_type, generation, snapshot, version, deleted_at, purge_at = row[12:21]
    lease, tiering, accessed_at, in_place, encryption, immutability, tags = row[21:28]
    return _new(  # half the time of Blob(...) and of Blob._make; a page of a list has thousands
        Blob,
        (
            *row[:6],
            _new(ContentProperties, row[6:12]),
            _NO_METADATA if metadata == "{}" else _decode_metadata(metadata),
            access_tier,
            _decode_copy(copy) if copy else None,
            row[28] if len(row) > 28 else None,
            blob_type,
            generation,
            snapshot,
            version,
            deleted_at,
            purge_at,
            _decode_lease(lease) if lease else NO_LEASE,
            _decode_tiering(tiering) if tiering else NO_TIERING,
            accessed_at,
            _decode_in_place(in_place) if in_place else NOT_IN_PLACE,
            _decode_encryption(encryption) if encryption else NO_ENCRYPTION,
            _decode_immutability(immutability) if immutability else NOT_IMMUTABLE,
            tags_from(tags),
        ),
    )


def blob_head_values(blob: Blob) -> dict[str, object]:
    """A blob without its data by column, and ``this_id``."""
    return {
        "this_id": blob.id,
        "container_id": blob.container_id,
        "name": blob.name,
        "created_at": blob.created_at,
        "last_modified": blob.last_modified,
        "size": blob.size,
        **blob.properties._asdict(),
        "metadata": _encode(dict(blob.metadata)) if blob.metadata else "{}",
        "access_tier": blob.access_tier,
        "copy": _encode(blob.copy) if blob.copy else "",
        "type": blob.type,
        "generation": blob.generation,
        "snapshot": blob.snapshot,
        "version": blob.version,
        "deleted_at": blob.deleted_at,
        "purge_at": blob.purge_at,
        "lease": _encode_lease(blob.lease),
        "tiering": _encode(blob.tiering) if blob.tiering != NO_TIERING else "",
        "accessed_at": blob.accessed_at,
        "in_place": _encode(blob.in_place) if blob.in_place != NOT_IN_PLACE else "",
        "encryption": _encode_encryption(blob.encryption),
        "immutability": _encode(blob.immutability) if blob.immutability != NOT_IMMUTABLE else "",
        "tags": _encode(dict(blob.tags)) if blob.tags else "",
    }


def tags_from(text: str) -> Tags:
    return _decode_metadata(text) if text else NO_TAGS


def block_from(row: Sequence[Any]) -> Block:
    """A block of a row with its id, size, file and encryption."""
    block_id, size, file, encryption = row
    return Block(block_id, size, file, _decode_encryption(encryption) if encryption else NO_ENCRYPTION)


def block_values(block: Block) -> dict[str, object]:
    return {**block._asdict(), "encryption": _encode_encryption(block.encryption)}


@lru_cache(64)
def service_properties_from(text: str) -> ServiceProperties:
    """Remembered, since every change of a blob asks for them."""
    return msgspec.json.decode(text, type=ServiceProperties)


def service_properties_text(properties: ServiceProperties) -> str:
    return _encode(properties)
