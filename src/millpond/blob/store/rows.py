"""Records to rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ..model import Blob, Container, ContentProperties, CopyState, Metadata, StoredPolicy

_NO_METADATA: Final[Metadata] = MappingProxyType({})
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_policies = msgspec.json.Decoder(tuple[StoredPolicy, ...]).decode
_decode_copy = msgspec.json.Decoder(CopyState).decode


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def container_from(row: Sequence[Any]) -> Container:
    """A container of a row with all columns of its table, in their order."""
    *columns, metadata, policies = row
    return Container._make((*columns, _decode_metadata(metadata), _decode_policies(policies)))


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
    }


def blob_from(row: Sequence[Any]) -> Blob:
    """A blob of a row with all columns of its table, in their order, with or without the last one (``data``)."""
    metadata, access_tier, copy = row[12:15]
    return Blob._make(
        (
            *row[:6],
            ContentProperties._make(row[6:12]),
            _NO_METADATA if metadata == "{}" else _decode_metadata(metadata),
            access_tier,
            _decode_copy(copy) if copy else None,
            row[15] if len(row) > 15 else None,
        )
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
    }
