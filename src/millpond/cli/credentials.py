"""``millpond credentials``: what a client needs to reach the services."""

from __future__ import annotations

import json
import shlex
from typing import Literal

from millpond.common.config import AccountKind, Accounts, Settings

from .data_directory import RunningServer, expected_server, open_accounts, running_server
from .errors import CommandError


def print_credentials(
    settings: Settings, format: Literal["table", "env", "json"], batch_account: str | None, storage_account: str | None
) -> None:
    values = credentials(settings, batch_account, storage_account)
    if format == "env":
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()))
    elif format == "json":
        print(json.dumps(values, indent=2))
    else:
        print("\n".join(f"{name:<27}{value}" for name, value in values.items()))


def credentials(
    settings: Settings, batch_account: str | None = None, storage_account: str | None = None
) -> dict[str, str]:
    """Names, keys and URLs under the names that programs for Azure Batch use.

    The accounts are made where there are none yet, so that they can be handed out before the first start. Raises
    ``CommandError`` for an account that does not exist.
    """
    accounts = open_accounts(settings.data, with_defaults=True)
    server = running_server(settings.data) or RunningServer(0, {})
    expected = expected_server(settings)
    batch_name, batch_key = _account(accounts, "batch", batch_account)
    storage_name, storage_key = _account(accounts, "storage", storage_account)
    storage_url = f"{server.blob_url or expected.blob_url}/{storage_name}"
    return {
        "BATCH_ACCOUNT_NAME": batch_name,
        "BATCH_ACCOUNT_KEY": batch_key,
        "BATCH_ACCOUNT_URL": server.batch_url or expected.batch_url or "",
        "STORAGE_ACCOUNT_NAME": storage_name,
        "STORAGE_ACCOUNT_KEY": storage_key,
        "STORAGE_ACCOUNT_URL": storage_url,
        "STORAGE_CONNECTION_STRING": (
            f"DefaultEndpointsProtocol={storage_url.partition(':')[0]};AccountName={storage_name};"
            f"AccountKey={storage_key};BlobEndpoint={storage_url};"
        ),
    }


def _account(accounts: Accounts, kind: AccountKind, name: str | None) -> tuple[str, str]:
    name = name or accounts.names(kind)[0]
    keys = accounts.get(kind, name)
    if keys is None:
        raise CommandError(f"there is no {kind} account {name}")
    return name, keys.key1
