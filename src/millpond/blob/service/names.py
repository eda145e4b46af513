"""What containers and blobs may be called."""

from __future__ import annotations

import re

from ..errors import error

ROOT_CONTAINER = "$root"
LOGS_CONTAINER = "$logs"

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9])*")
_SPECIAL_CONTAINERS = frozenset({ROOT_CONTAINER, LOGS_CONTAINER, "$web"})
_MAX_BLOB_NAME = 1024
_MAX_BLOB_SEGMENTS = 254


def check_container_name(name: str) -> None:
    """3 to 63 lower-case letters, digits and single hyphens, or one of the special names.

    Raises ``OutOfRangeInput`` for the length and ``InvalidResourceName`` for the characters, as the service does.
    """
    if name in _SPECIAL_CONTAINERS:
        return
    if not 3 <= len(name) <= 63:
        raise error("OutOfRangeInput")
    if not _CONTAINER.fullmatch(name):
        raise error("InvalidResourceName")


def check_blob_name(name: str) -> None:
    """1 to 1,024 characters in at most 254 path segments; any character but NUL. Raises ``InvalidResourceName``."""
    if len(name) > _MAX_BLOB_NAME or name.count("/") >= _MAX_BLOB_SEGMENTS or "\0" in name:
        raise error("InvalidResourceName")


def after_prefix(prefix: str) -> str | None:
    """The least text greater than every text with this prefix, in order of code points; ``None``: there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1
            return prefix[:index] + chr(following)
    return None
