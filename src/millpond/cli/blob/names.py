"""Patterns of blob names, and what a place names in its container."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import CommandError
from .places import Place

if TYPE_CHECKING:
    from azure.storage.blob import BlobPrefix, BlobProperties, ContainerClient

_TOKEN = re.compile(r"\*\*/?|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def pattern(text: str) -> re.Pattern[str]:
    """Of names: ``*`` and ``?`` stand for what has no slash, ``**`` for anything, ``[abc]`` for one of these."""
    return re.compile("".join([_translated(token) for token in _TOKEN.findall(text)]), re.DOTALL)


def _translated(token: str) -> str:
    match token:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
        case _ if len(token) > 2 and token.startswith("["):
            inverted = token[1] == "!"
            characters = token[2 if inverted else 1 : -1].replace("\\", "\\\\").replace("^", "\\^").replace("[", "\\[")
            return f"[{'^/' if inverted else ''}{characters}]"
        case _:
            return re.escape(token)


def blobs(client: ContainerClient, place: Place, *, recursive: bool) -> Iterator[BlobProperties]:
    """The blobs that a place names; what lies below a name, ``recursive`` only.

    Raises ``CommandError`` where there is none.
    """
    if place.path and not recursive and not place.is_pattern:
        yield _blob(client, place)
        return
    matches = pattern(place.path) if place.is_pattern else None
    directory = f"{place.path}/" if place.path and not place.path.endswith("/") else place.path
    count = 0
    for blob in client.list_blobs(name_starts_with=place.prefix or None):
        name = str(blob.name)
        is_named = bool(matches.fullmatch(name)) if matches else name == place.path
        if is_named or (recursive and not matches and name.startswith(directory)):
            count += 1
            yield blob
    if not count:
        raise CommandError(f"there is no such blob: {place}")


def _blob(client: ContainerClient, place: Place) -> BlobProperties:
    """The one of that very name, which a signature for it alone opens too."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return client.get_blob_client(place.path).get_blob_properties()
    except ResourceNotFoundError as error:
        what = "container" if getattr(error, "error_code", None) == "ContainerNotFound" else "blob"
        raise CommandError(f"there is no such {what}: {place} (--recursive takes what is below a name)") from error


def level(client: ContainerClient, place: Place) -> Iterator[BlobProperties | BlobPrefix]:
    """What a directory's listing shows: the blobs in it, and the names of those below it up to the next slash.

    Of a name that is no directory, the blob itself.
    """
    path = place.path
    if path and not path.endswith("/"):
        found = {str(item.name): item for item in client.walk_blobs(path, delimiter="/")}
        if path in found:
            yield found[path]
        elif f"{path}/" not in found:
            raise CommandError(f"there is no such blob: {place}")
        if f"{path}/" not in found:
            return
        path += "/"
    yield from client.walk_blobs(path or None, delimiter="/")
