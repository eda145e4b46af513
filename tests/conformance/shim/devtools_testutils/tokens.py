"""Token credentials for a service that takes any well-formed token."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping

from azure.core.credentials import AccessToken

_LIFE_S = 3600
_ANYONE = "00000000-0000-0000-0000-00000000c0de"


def access_token(scope: str) -> AccessToken:
    """A token for a scope: an unsigned JSON Web Token, or the one that the service has named."""
    now = int(time.time())
    named = os.environ["CONFORMANCE_TOKENS"]
    if named != "unsigned":
        return AccessToken(named, now + _LIFE_S)
    claims = {
        "aud": scope.removesuffix("/.default"),
        "iss": f"https://sts.windows.net/{_ANYONE}/",
        "tid": _ANYONE,
        "oid": _ANYONE,
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + _LIFE_S,
    }
    token = ".".join([_part({"alg": "RS256", "typ": "JWT"}), _part(claims), "c2lnbmF0dXJl"])
    return AccessToken(token, now + _LIFE_S)


def _part(content: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


class SyncTokenCredential:
    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return access_token(scopes[0])


class AsyncTokenCredential:
    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return access_token(scopes[0])

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> AsyncTokenCredential:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class FakeTokenCredential:
    """For tests that never get as far as a request, or that count how often they ask: it has always expired."""

    def __init__(self) -> None:
        self.token = AccessToken("fake", 0)
        self.get_token_count = 0

    def get_token(self, *_: str, **__: object) -> AccessToken:
        self.get_token_count += 1
        return self.token


class AsyncFakeCredential(AsyncTokenCredential):
    """The same for asynchronous clients."""

    def __init__(self) -> None:
        self._fake = FakeTokenCredential()

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return self._fake.get_token(*scopes, **options)
