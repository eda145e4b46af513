"""Bearer tokens of a storage account, as the SDK wants them."""

from __future__ import annotations

import time

from azure.core.credentials import AccessToken
from tests.servers import Server, millpond


class Credential:
    """A static token."""

    def __init__(self, token: str) -> None:
        self.token = token
        #: The tenants that were asked for.
        self.tenants: list[object] = []

    def get_token(self, *_: str, **options: object) -> AccessToken:
        self.tenants.append(options.get("tenant_id"))
        return AccessToken(self.token, int(time.time()) + 3600)


def make_token(server: Server, *options: str) -> str:
    done = millpond("account", "token", "--kind", "storage", "--data", server.data, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
