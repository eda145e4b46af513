"""HMAC-SHA256 signatures of Azure Shared Key, compared in constant time.

What is signed differs between the Batch and the Blob service, so each builds its own strings to sign.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable


def sign(key: bytes, text: str) -> str:
    """Base64 of the HMAC-SHA256 of ``text``."""
    return base64.b64encode(hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")).decode()


def is_signed(signature: str, keys: Iterable[bytes], candidates: Iterable[str]) -> bool:
    """Whether ``signature`` signs any of the candidate strings with any of the keys.

    Clients of different ages canonicalise differently, hence several candidates; an account has two keys.
    """
    given = signature.encode("utf-8", "surrogateescape")
    texts = list(candidates)
    return any(hmac.compare_digest(sign(key, text).encode(), given) for key in keys for text in texts)


def decode_key(text: str) -> bytes:
    """The bytes of a base64 account key. Raises ``ValueError`` where it is not one."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("an account key is base64 text") from error
