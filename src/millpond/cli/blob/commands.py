"""The smaller commands of ``millpond blob``: ls, rm, sas, mount-hint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import CommandError
from .names import blobs, level
from .places import Accounts, Place, opened

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

_DURATION = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DELETIONS_AT_ONCE = 8

HintFor = Literal["blobfuse2", "rclone", "pool"]


class _Line(NamedTuple):
    name: str
    size: int | None = None
    modified: datetime | None = None


def ls(accounts: Accounts, text: str | None, *, recursive: bool, long: bool, format: Literal["text", "json"]) -> None:
    """Print the containers of the account, or what is in a container, one name on each line."""
    show = _as_json if format == "json" else _as_long_text if long else _as_text
    place = accounts.place(text) if text else Place(accounts.default, "", "")
    with opened(place.account) as client:
        if not place.container:
            for container in client.list_containers():
                print(show(_Line(f"{container.name}/", None, container.last_modified)))
            return
        within = client.get_container_client(place.container)
        if recursive or place.is_pattern:
            if recursive and (not place.path or place.path.endswith("/")):
                found: Any = within.list_blobs(name_starts_with=place.path or None)
            else:
                found = blobs(within, place, recursive=recursive)
        else:
            found = level(within, place)
        for item in found:
            print(show(_line(item)))


def _line(item: BlobProperties) -> _Line:
    """Of a blob, or of the beginning of names, which has neither size nor time."""
    return _Line(str(item.name), getattr(item, "size", None), getattr(item, "last_modified", None))


def _as_text(line: _Line) -> str:
    return line.name


def _as_long_text(line: _Line) -> str:
    modified = f"{line.modified:%Y-%m-%dT%H:%M:%SZ}" if line.modified else ""
    return f"{'' if line.size is None else line.size:>14}  {modified:<20}  {line.name}"


def _as_json(line: _Line) -> str:
    modified = f"{line.modified:%Y-%m-%dT%H:%M:%SZ}" if line.modified else None
    return json.dumps({"name": line.name, "size": line.size, "lastModified": modified})


def rm(accounts: Accounts, texts: list[str], *, recursive: bool) -> None:
    """Delete blobs with their snapshots; ``recursive``, also what is below a name, or a whole container."""
    from azure.core.exceptions import ResourceNotFoundError

    for text in texts:
        place = accounts.place(text)
        _check_container(place)
        with opened(place.account, connections=_DELETIONS_AT_ONCE) as client:
            container = client.get_container_client(place.container)
            if not place.path:
                if not recursive:
                    raise CommandError(f"{place} is a container (--recursive deletes it with all that is in it)")
                container.delete_container()
                continue

            def delete(blob: BlobProperties, delete_blob: Callable[..., None] = container.delete_blob) -> None:
                with suppress(ResourceNotFoundError):  # somebody else was faster
                    delete_blob(blob.name, delete_snapshots="include")

            found = list(blobs(container, place, recursive=recursive))
            with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as threads:
                list(threads.map(delete, found))


def sas(accounts: Accounts, text: str | None, *, permissions: str, expiry: str, start: str | None) -> None:
    """Print the URL of a blob, a container or the account with a signature that opens it."""
    place = accounts.place(text) if text else Place(accounts.default, "", "")
    print(signed_url(place, permissions, expiry=_moment(expiry), start=_moment(start) if start else None))


def signed_url(place: Place, permissions: str, *, expiry: datetime, start: datetime | None = None) -> str:
    """Raises ``CommandError`` where there is no key to sign with, or for a permission that there is not."""
    from azure.storage.blob import (
        AccountSasPermissions,
        BlobSasPermissions,
        ContainerSasPermissions,
        ResourceTypes,
        generate_account_sas,
        generate_blob_sas,
        generate_container_sas,
    )

    account = place.account
    if not account.key:
        raise CommandError(f"there is no key at hand to sign for {place}")
    kind = BlobSasPermissions if place.path else ContainerSasPermissions if place.container else AccountSasPermissions
    allowed: Any = kind.from_string(permissions)
    if not permissions or set(str(allowed)) != set(permissions):
        raise CommandError(f"permissions of a signature here are some of {_all_of(kind)}, not {permissions!r}")
    times: Any = {"permission": allowed, "expiry": expiry, "start": start}
    url = account.url
    if not place.container:
        types = ResourceTypes(service=True, container=True, object=True)
        return f"{url}/?{generate_account_sas(account.name, account.key, types, **times)}"
    url += f"/{place.container}"
    if not place.path:
        return f"{url}?{generate_container_sas(account.name, place.container, account.key, **times)}"
    signature = generate_blob_sas(account.name, place.container, place.path, account_key=account.key, **times)
    return f"{url}/{quote(place.path)}?{signature}"


def _all_of(kind: Any) -> str:
    return str(kind.from_string("racwdxyltmeopi"))


def _moment(text: str) -> datetime:
    """A time of ISO 8601, in UTC where it says no other, or so long from now: ``90m``, ``1h``, ``7d``, ``2w``."""
    if match := _DURATION.fullmatch(text):
        return datetime.now(UTC) + timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"neither a time (2030-01-01T00:00Z) nor a length of time (90m, 1h, 7d): {text}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_container(place: Place) -> None:
    if not place.container:
        raise CommandError(f"a container is missing: {place}")


# Mounting


def mount_hint(accounts: Accounts, text: str, kind: HintFor, directory: str) -> None:
    """Print how a container becomes a directory, by a program that others have made, or on the nodes of a pool."""
    place = accounts.place(text)
    _check_container(place)
    if not place.account.key:
        raise CommandError(f"there is no key at hand that opens {place}")
    print({"blobfuse2": _blobfuse2, "rclone": _rclone, "pool": _pool}[kind](place, directory))


def _blobfuse2(place: Place, directory: str) -> str:
    account = place.account
    is_plain = urlsplit(account.url).scheme == "http"
    return f"""\
# Save this as blobfuse2.yaml (it has the account's key: chmod 600), then run:
#   blobfuse2 mount {directory} --config-file=blobfuse2.yaml
allow-other: false
components: [libfuse, file_cache, attr_cache, azstorage]
file_cache:
  path: /tmp/blobfuse2-{place.container}
azstorage:
  type: block
  account-name: {account.name}
  account-key: {account.key}
  endpoint: {account.url}
  use-http: {str(is_plain).lower()}
  mode: key
  container: {place.container}"""


def _rclone(place: Place, directory: str) -> str:
    account = place.account
    remote = f":azureblob,account={account.name},key='{account.key}',endpoint='{account.url}':"
    return f'rclone mount "{remote}{place.container}/{place.path}" {directory} --vfs-cache-mode writes'


def _pool(place: Place, directory: str) -> str:
    mount = {
        "accountName": place.account.name,
        "containerName": place.container,
        "accountKey": place.account.key,
        "relativeMountPath": directory.strip("/").rpartition("/")[2],
    }
    return json.dumps({"mountConfiguration": [{"azureBlobFileSystemConfiguration": mount}]}, indent=2)
