"""Every operation as a request that succeeds, and every kind of signature that may come with it."""

from __future__ import annotations

import email.utils
import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from azure.storage.blob import UserDelegationKey, generate_account_sas, generate_blob_sas, generate_container_sas
from tests.wire.blob.raw import VERSION, Answer, KeptClient

_REFERENCE = Path(__file__).parents[2] / "reference" / "blob-permissions.json"
LATER = datetime.now(UTC) + timedelta(hours=6)
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
APPEND_BLOB = {"x-ms-blob-type": "AppendBlob"}
PAGE_BLOB = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "1024"}
PAGES = {"x-ms-range": "bytes=0-511", "x-ms-page-write": "update"}
PAGE = b"p" * 512
CONTAINER = "restype=container"
BLOCK = "comp=block&blockid=QQ%3D%3D"
LIST = b"<BlockList><Latest>QQ==</Latest></BlockList>"
TAGS = b"<Tags><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tags>"
TIER = {"x-ms-access-tier": "Cool"}
UNTIL = {
    "x-ms-immutability-policy-until-date": "Fri, 01 Jan 2100 00:00:00 GMT",
    "x-ms-immutability-policy-mode": "unlocked",
}
PROPERTIES = (
    b"<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>"
    b"<AllowPermanentDelete>true</AllowPermanentDelete></DeleteRetentionPolicy></StorageServiceProperties>"
)


class Row(NamedTuple):
    """What the documentation says that an operation needs."""

    operation: str
    route: tuple[str, str, str, str, str]
    types: str
    account: str | None
    container: str | None
    blob: str | None
    public: tuple[str, ...]
    refused: Mapping[str, str]
    since: Mapping[str, str]


class Asked(NamedTuple):
    """What a header or parameter needs beside the operation."""

    operation: str
    needs: str
    headers: Mapping[str, str]
    query: str


def rows() -> list[Row]:
    return [
        Row(
            each["operation"],
            tuple(each["route"]),
            each["types"],
            each["account"],
            each["container"],
            each["blob"],
            tuple(each["public"]),
            each.get("refused", {}),
            each.get("since", {}),
        )
        for each in json.loads(_REFERENCE.read_text())["operations"]
    ]


def asked() -> list[Asked]:
    return [
        Asked(operation, each["needs"], dict([each["header"]] if "header" in each else []), each.get("query", ""))
        for each in json.loads(_REFERENCE.read_text())["asks"]
        for operation in each["operations"]
    ]


class Call(NamedTuple):
    """A request without any authorisation, and the status it is answered with by whoever may."""

    method: str
    container: str = ""
    blob: str = ""
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    status: int = 200
    #: In place of the account in the path.
    account: str = ""


class World:
    """A server that has all that the operations are done to; ``owner`` has the account's key."""

    def __init__(self, owner: KeptClient, delegation_key: UserDelegationKey) -> None:
        self.owner = owner
        self.delegation_key = delegation_key
        self.container = ""
        self._numbers = itertools.count()
        self.sign = cache(self._sign)

    def enter_new_container(self) -> None:
        """Let what is made from now on be in a container of its own."""
        self.container = self.new_container()

    def new_container(self) -> str:
        return self.new(Call("PUT", self.fresh("cont"), "", CONTAINER, status=201)).container

    def fresh(self, start: str = "b") -> str:
        return f"{start}{next(self._numbers)}"

    def new(self, call: Call) -> Call:
        """Carry out a call by the account's key."""
        answer = self.owner.signed(call.method, self.path(call), call.headers, call.body)
        assert answer.status == call.status, (call, answer.outcome, answer.body)
        return call

    def new_blob(self, headers: Mapping[str, str] = BLOCK_BLOB, body: bytes = b"hello") -> str:
        call = Call("PUT", self.container, self.fresh(), "", headers, b"" if headers is not BLOCK_BLOB else body, 201)
        return self.new(call).blob

    def answer(self, call: Call) -> Answer:
        return self.owner.signed(call.method, self.path(call), call.headers, call.body)

    def path(self, call: Call, signature: str = "") -> str:
        names = [name for name in (call.container, call.blob) if name]
        query = "&".join(filter(None, [call.query, signature]))
        return "/" + "/".join([call.account or self.owner.account, *names]) + ("" if names else "/") + f"?{query}"

    def url(self, blob: str, query: str = "", permission: str = "r") -> str:
        """Where a blob can be read, by a signature for that alone."""
        signature = self.sign("blob", permission, self.container, blob)
        query = "&".join(filter(None, [query, signature]))
        scheme = "https" if self.owner.context else "http"
        return f"{scheme}://{self.owner.host}:{self.owner.port}/{self.owner.account}/{self.container}/{blob}?{query}"

    def visit(self, call: Call, signature: str) -> Answer:
        """Send it as somebody who has a signature, or nothing."""
        headers = {"content-length": str(len(call.body)), **call.headers}
        if not signature:
            headers["x-ms-version"] = VERSION
        return self.owner.send(call.method, self.path(call, signature), headers, call.body)

    def _sign(
        self, kind: str, permission: str, container: str, blob: str, *, types: str = "o", services: str = "b"
    ) -> str:
        fields: dict[str, Any] = {"permission": permission, "expiry": LATER}
        account = self.owner.account
        if kind == "account":
            return generate_account_sas(account, self.owner.key, types, services=services, **fields)
        if kind.startswith("delegated"):
            fields["user_delegation_key"] = self.delegation_key
        else:
            fields["account_key"] = self.owner.key
        if kind.endswith("container"):
            return generate_container_sas(account, container or "none", **fields)
        is_directory = kind.endswith("directory")
        return generate_blob_sas(account, container or "none", blob or "none", is_directory=is_directory, **fields)


#: Makes all that an operation needs, and says how it is asked for.
Make = Callable[[World], Call]


def _on_account(query: str, **more: Any) -> Make:
    return lambda world: Call(more.pop("method", "GET"), query=query, **more)


def _information(method: str, level: str) -> Make:
    def make(world: World) -> Call:
        container = world.container if level != "account" else ""
        return Call(method, container, "b" if level == "blob" else "", "restype=account&comp=properties")

    return make


def _batch(query: str, *, whole: bool) -> Make:
    def make(world: World) -> Call:
        path = world.path(Call("DELETE", world.container, world.new_blob())).rstrip("?")
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION, "content-length": "0"}
        headers["authorization"] = f"SharedKey {world.owner.account}:{world.owner.sign('DELETE', path, headers)}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = (
            f"--b\r\nContent-Type: application/http\r\n\r\nDELETE {path} HTTP/1.1\r\n{lines}\r\n\r\n--b--\r\n".encode()
        )
        container = "" if whole else world.container
        return Call("POST", container, "", query, {"content-type": "multipart/mixed; boundary=b"}, body, 202)

    return make


def _on_container(method: str, comp: str = "", **more: Any) -> Make:
    query = f"{CONTAINER}&comp={comp}" if comp else CONTAINER
    return lambda world: Call(method, world.container, "", query, **more)


def _create_container(world: World) -> Call:
    return Call("PUT", world.fresh("made"), "", CONTAINER, status=201)


def _delete_container(world: World) -> Call:
    return Call("DELETE", world.new_container(), "", CONTAINER, status=202)


def _restore_container(world: World) -> Call:
    name = world.new_container()
    world.new(Call("DELETE", name, "", CONTAINER, status=202))
    listed = world.answer(Call("GET", query=f"comp=list&include=deleted&prefix={name}"))
    version = listed.xml.findtext(".//Version") or ""
    headers = {"x-ms-deleted-container-name": name, "x-ms-deleted-container-version": version}
    return Call("PUT", world.fresh("back"), "", f"{CONTAINER}&comp=undelete", headers, status=201)


def _lease(action: str, *, of_blob: bool) -> Make:
    def make(world: World) -> Call:
        container = world.container if of_blob else world.new_container()
        blob = world.new_blob() if of_blob else ""
        query = "comp=lease" if of_blob else f"{CONTAINER}&comp=lease"
        lease = str(uuid.uuid4())
        acquire = {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "60", "x-ms-proposed-lease-id": lease}
        call = Call("PUT", container, blob, query, acquire, status=201)
        if action == "acquire":
            return call
        world.new(call)
        headers = {"x-ms-lease-action": action, "x-ms-lease-id": lease, "x-ms-proposed-lease-id": str(uuid.uuid4())}
        return call._replace(headers=headers, status=202 if action == "break" else 200)

    return make


def _put(headers: Mapping[str, str], *, over: bool = False) -> Make:
    def make(world: World) -> Call:
        blob = world.new_blob(headers) if over else world.fresh()
        return Call("PUT", world.container, blob, "", headers, b"new" if headers is BLOCK_BLOB else b"", 201)

    return make


def _copy(headers: Mapping[str, str], status: int, *, over: bool = False) -> Make:
    def make(world: World) -> Call:
        blob = world.new_blob() if over else world.fresh()
        source = {"x-ms-copy-source": world.url(world.new_blob(), permission="rt")}
        return Call("PUT", world.container, blob, "", {**headers, **source}, status=status)

    return make


def _on_blob(
    method: str, query: str = "", of: Mapping[str, str] = BLOCK_BLOB, *, from_url: bool = False, **more: Any
) -> Make:
    """On a new blob; ``from_url``: with 512 bytes of a source."""

    def make(world: World) -> Call:
        call = Call(method, world.container, world.new_blob(of), query, **more)
        if not from_url:
            return call
        source = {"x-ms-copy-source": world.url(world.new_blob(body=PAGE)), "x-ms-source-range": "bytes=0-511"}
        return call._replace(headers={**call.headers, **source})

    return make


def _put_block_list(*, over: bool) -> Make:
    def make(world: World) -> Call:
        blob = world.new_blob() if over else world.fresh()
        world.new(Call("PUT", world.container, blob, BLOCK, body=b"x", status=201))
        return Call("PUT", world.container, blob, "comp=blocklist", body=LIST, status=201)

    return make


def _delete(what: str) -> Make:
    def make(world: World) -> Call:
        blob = world.new_blob()
        if what == "version":
            made = world.answer(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"v"))
            world.new(Call("PUT", world.container, blob, "", BLOCK_BLOB, b"w", 201))
            return Call("DELETE", world.container, blob, f"versionid={made.headers['x-ms-version-id']}", status=202)
        made = world.answer(Call("PUT", world.container, blob, "comp=snapshot"))
        call = Call("DELETE", world.container, blob, f"snapshot={made.headers['x-ms-snapshot']}", status=202)
        if what == "snapshot":
            return call
        world.new(call)
        return call._replace(query=f"{call.query}&deletetype=permanent")

    return make


def _undelete(world: World) -> Call:
    deleted = world.new(_delete("snapshot")(world))
    return Call("PUT", world.container, deleted.blob, "comp=undelete")


def _abort_copy(world: World) -> Call:
    """Of a copy that is over, which only one who may abort it is told."""
    return Call("PUT", world.container, world.new_blob(), "comp=copy&copyid=x", {"x-ms-copy-action": "abort"}, b"", 409)


def _incremental_copy(*, over: bool) -> Make:
    def make(world: World) -> Call:
        blob = world.new_blob(PAGE_BLOB)
        target = world.fresh()

        def copy() -> Call:
            made = world.answer(Call("PUT", world.container, blob, "comp=snapshot"))
            source = {"x-ms-copy-source": world.url(blob, f"snapshot={made.headers['x-ms-snapshot']}")}
            return Call("PUT", world.container, target, "comp=incrementalcopy", source, status=202)

        if over:
            world.new(copy())
        return copy()

    return make


def _delete_policy(world: World) -> Call:
    blob = world.new(_set_policy(world)).blob
    return Call("DELETE", world.container, blob, "comp=immutabilityPolicies")


_set_policy = _on_blob("PUT", "comp=immutabilityPolicies", headers=UNTIL)
_FROM_URL = {"x-ms-blob-type": "BlockBlob", "x-ms-copy-source-blob-properties": "true"}
_SYNC = {"x-ms-requires-sync": "true"}
_KEY_INFO = b"<KeyInfo><Expiry>2099-01-01T00:00:00Z</Expiry></KeyInfo>"

#: By the names of the table of the documentation.
CALLS: Mapping[str, Make] = {
    "List Containers": _on_account("comp=list"),
    "Get Blob Service Properties": _on_account("restype=service&comp=properties"),
    "Set Blob Service Properties": lambda world: Call(
        "PUT", query="restype=service&comp=properties", body=PROPERTIES, status=202
    ),
    "Get Blob Service Stats": lambda world: Call(
        "GET", query="restype=service&comp=stats", account=f"{world.owner.account}-secondary"
    ),
    "Get User Delegation Key": lambda world: Call(
        "POST", query="restype=service&comp=userdelegationkey", body=_KEY_INFO
    ),
    "Get Account Information (GET)": _information("GET", "account"),
    "Get Account Information (GET, by a container)": _information("GET", "container"),
    "Get Account Information (GET, by a blob)": _information("GET", "blob"),
    "Get Account Information (HEAD)": _information("HEAD", "account"),
    "Get Account Information (HEAD, by a container)": _information("HEAD", "container"),
    "Get Account Information (HEAD, by a blob)": _information("HEAD", "blob"),
    "Find Blobs by Tags": _on_account("comp=blobs&where=a%3D%271%27"),
    "Blob Batch": _batch("comp=batch", whole=True),
    "Blob Batch (of a container)": _batch(f"{CONTAINER}&comp=batch", whole=False),
    "Create Container": _create_container,
    "Get Container Properties (GET)": _on_container("GET"),
    "Get Container Properties (HEAD)": _on_container("HEAD"),
    "Get Container Metadata (GET)": _on_container("GET", "metadata"),
    "Get Container Metadata (HEAD)": _on_container("HEAD", "metadata"),
    "Set Container Metadata": _on_container("PUT", "metadata"),
    "Get Container ACL (GET)": _on_container("GET", "acl"),
    "Get Container ACL (HEAD)": _on_container("HEAD", "acl"),
    "Set Container ACL": _on_container("PUT", "acl"),
    **{
        f"Lease Container ({action})": _lease(action, of_blob=False)
        for action in ("acquire", "renew", "change", "release", "break")
    },
    "Restore Container": _restore_container,
    "Delete Container": _delete_container,
    "List Blobs": _on_container("GET", "list"),
    "Find Blobs by Tags in Container": _on_container("GET", "blobs&where=a%3D%271%27"),
    "Put Blob (new BlockBlob)": _put(BLOCK_BLOB),
    "Put Blob (existing BlockBlob)": _put(BLOCK_BLOB, over=True),
    "Put Blob (new AppendBlob)": _put(APPEND_BLOB),
    "Put Blob (existing AppendBlob)": _put(APPEND_BLOB, over=True),
    "Put Blob (new PageBlob)": _put(PAGE_BLOB),
    "Put Blob (existing PageBlob)": _put(PAGE_BLOB, over=True),
    "Put Blob From URL (new blob)": _copy(_FROM_URL, 201),
    "Put Blob From URL (existing blob)": _copy(_FROM_URL, 201, over=True),
    "Get Blob": _on_blob("GET"),
    "Get Blob Properties": _on_blob("HEAD"),
    "Get Blob Metadata (GET)": _on_blob("GET", "comp=metadata"),
    "Get Blob Metadata (HEAD)": _on_blob("HEAD", "comp=metadata"),
    "Set Blob Metadata": _on_blob("PUT", "comp=metadata"),
    "Set Blob Properties": _on_blob("PUT", "comp=properties"),
    "Set Blob Properties (of a page blob)": _on_blob(
        "PUT", "comp=properties", PAGE_BLOB, headers={"x-ms-blob-content-length": "512"}
    ),
    "Get Blob Tags": _on_blob("GET", "comp=tags"),
    "Set Blob Tags": _on_blob("PUT", "comp=tags", body=TAGS, status=204),
    **{
        f"Lease Blob ({action})": _lease(action, of_blob=True)
        for action in ("acquire", "renew", "change", "release", "break")
    },
    "Snapshot Blob": _on_blob("PUT", "comp=snapshot", status=201),
    "Copy Blob (new blob)": _copy({}, 202),
    "Copy Blob (existing blob)": _copy({}, 202, over=True),
    "Copy Blob From URL (new blob)": _copy(_SYNC, 202),
    "Copy Blob From URL (existing blob)": _copy(_SYNC, 202, over=True),
    "Abort Copy Blob": _abort_copy,
    "Incremental Copy Blob (new blob)": _incremental_copy(over=False),
    "Incremental Copy Blob (existing blob)": _incremental_copy(over=True),
    "Delete Blob": _on_blob("DELETE", status=202),
    "Delete Blob (snapshot)": _delete("snapshot"),
    "Delete Blob (version)": _delete("version"),
    "Delete Blob (permanently)": _delete("permanently"),
    "Undelete Blob": _undelete,
    "Set Blob Tier": _on_blob("PUT", "comp=tier", headers=TIER),
    "Put Block": _on_blob("PUT", BLOCK, body=b"x", status=201),
    "Put Block From URL": _on_blob("PUT", BLOCK, from_url=True, status=201),
    "Put Block List (new blob)": _put_block_list(over=False),
    "Put Block List (existing blob)": _put_block_list(over=True),
    "Get Block List (committed)": _on_blob("GET", "comp=blocklist"),
    "Get Block List (uncommitted)": _on_blob("GET", "comp=blocklist&blocklisttype=uncommitted"),
    "Get Block List (all)": _on_blob("GET", "comp=blocklist&blocklisttype=all"),
    "Append Block": _on_blob("PUT", "comp=appendblock", APPEND_BLOB, body=b"x", status=201),
    "Append Block From URL": _on_blob("PUT", "comp=appendblock", APPEND_BLOB, from_url=True, status=201),
    "Append Block Seal": _on_blob("PUT", "comp=seal", APPEND_BLOB),
    "Put Page": _on_blob("PUT", "comp=page", PAGE_BLOB, headers=PAGES, body=PAGE, status=201),
    "Put Page (clear)": _on_blob(
        "PUT", "comp=page", PAGE_BLOB, headers={**PAGES, "x-ms-page-write": "clear"}, status=201
    ),
    "Put Page From URL": _on_blob("PUT", "comp=page", PAGE_BLOB, headers=PAGES, from_url=True, status=201),
    "Get Page Ranges": _on_blob("GET", "comp=pagelist", PAGE_BLOB),
    "Set Blob Immutability Policy": _set_policy,
    "Delete Blob Immutability Policy": _delete_policy,
    "Set Blob Legal Hold": _on_blob("PUT", "comp=legalhold", headers={"x-ms-legal-hold": "true"}),
}
