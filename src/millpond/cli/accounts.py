"""``millpond account``: list and change the accounts file."""

from __future__ import annotations

import json
import re
import secrets
from typing import Literal

import msgspec

from millpond.common.config import AccountKeys, AccountKind, Accounts, Settings, new_key
from millpond.common.identities import new_storage_token

from .data_directory import open_accounts
from .errors import CommandError

_KINDS: tuple[AccountKind, ...] = ("batch", "storage")
_NAME = re.compile(r"[a-z0-9]{3,24}")


def list_accounts(settings: Settings, format: Literal["table", "json"]) -> None:
    accounts = open_accounts(settings.data)
    rows = [(kind, name) for kind in _KINDS for name in accounts.names(kind)]
    if format == "json":
        print(json.dumps([{"kind": kind, "name": name} for kind, name in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Kind", "Name")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def add_account(settings: Settings, name: str, kind: AccountKind) -> None:
    """Raises ``CommandError`` for a name that is not valid or taken."""
    if not _NAME.fullmatch(name):
        raise CommandError(f"an account's name is 3 to 24 lower-case letters and digits, not {name!r}")
    accounts = open_accounts(settings.data)
    if accounts.get(kind, name):
        raise CommandError(f"there is a {kind} account {name} already")
    _put(accounts, kind, name, AccountKeys.generate())
    print(f"Added the {kind} account {name}. Its keys: millpond credentials --{kind}-account {name}")


def rotate_key(settings: Settings, name: str, kind: AccountKind | None, key: Literal["key1", "key2"]) -> None:
    """Raises ``CommandError`` where no account has the name, or one of each kind and ``kind`` does not say which."""
    accounts = open_accounts(settings.data)
    matches = {each: keys for each in _KINDS if kind in (None, each) and (keys := accounts.get(each, name))}
    if not matches:
        raise CommandError(f"there is no {kind + ' ' if kind else ''}account {name}")
    if len(matches) > 1:
        raise CommandError(f"there is a batch account {name} and a storage account {name}: say which with --kind")
    ((found, keys),) = matches.items()
    _put(accounts, found, name, msgspec.structs.replace(keys, **{key: new_key()}))
    print(f"Replaced {key} of the {found} account {name}.")


def print_token(settings: Settings, name: str | None, kind: AccountKind, *, new: bool) -> None:
    """Print an account's token, made where there is none. Raises ``CommandError`` for an unknown account."""
    accounts = open_accounts(settings.data, with_defaults=True)
    name = name or accounts.names(kind)[0]
    if not accounts.get(kind, name):
        raise CommandError(f"there is no {kind} account {name}")
    token = accounts.token(name) if kind == "batch" else accounts.storage_token(name)
    if token is None or new:
        try:
            if kind == "batch":
                token = secrets.token_urlsafe(32)
                accounts.put_token(name, token)
            else:
                token = new_storage_token(name)
                accounts.put_storage_token(name, token)
        except OSError as error:
            raise CommandError(f"cannot write {accounts.path}: {error.strerror}") from error
    print(token)


def set_blob_features(settings: Settings, name: str, **changes: object) -> None:
    """Change those that are not ``None``, and print all. Raises ``CommandError`` where there is no such account."""
    accounts = open_accounts(settings.data)
    if accounts.get("storage", name) is None:
        raise CommandError(f"there is no storage account {name}")
    features = accounts.blob_features(name)
    wanted = {field: value for field, value in changes.items() if value is not None}
    if wanted:
        features = msgspec.structs.replace(features, **wanted)
        try:
            accounts.put_blob_features(name, features)
        except OSError as error:
            raise CommandError(f"cannot write {accounts.path}: {error.strerror}") from error
    print(f"versioning: {'on' if features.versioning else 'off'}")
    print(f"container retention: {features.container_retention_days} days")
    print(f"last access tracking: {'on' if features.last_access_tracking else 'off'}")
    print(f"immutability: {'on' if features.immutability else 'off'}")


def _put(accounts: Accounts, kind: AccountKind, name: str, keys: AccountKeys) -> None:
    try:
        accounts.put(kind, name, keys)
    except OSError as error:
        raise CommandError(f"cannot write {accounts.path}: {error.strerror}") from error
