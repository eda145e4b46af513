"""Who a storage account's bearer token stands for: one user for each account, all of one tenant."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from typing import Final

#: The tenant of all.
TENANT: Final = str(uuid.uuid5(uuid.NAMESPACE_DNS, "millpond"))
#: What tokens are for.
RESOURCE: Final = "https://storage.azure.com"
# 2100-01-01: it does not expire.
_EXPIRY_S: Final = 4_102_444_800


def object_id(account: str) -> str:
    """The id of the user that an account's token stands for."""
    return str(uuid.uuid5(uuid.UUID(TENANT), account))


def new_storage_token(account: str) -> str:
    """A new token in the form of those of Microsoft Entra, for clients that read the user's and tenant's ids in it.

    Nothing is signed: what counts is that it is the one that the accounts file has.
    """
    user = object_id(account)
    claims = {
        "aud": RESOURCE,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "exp": _EXPIRY_S,
        "oid": user,
        "sub": user,
        "tid": TENANT,
    }
    header = {"alg": "HS256", "typ": "JWT"}
    return ".".join([_part(header), _part(claims), secrets.token_urlsafe(32)])


def _part(content: dict[str, object] | dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).rstrip(b"=").decode()
