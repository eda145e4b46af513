"""Which operation a request is: one table of those that there are, and one of those that are still missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple

from millpond.common.errors import ServiceError

from ..auth import ANY_PERMISSION, READ_BLOB, Need
from ..errors import error, invalid_header, invalid_query
from ..model import PublicAccess
from ..request import Request
from . import (
    append,
    batches,
    blobs,
    blocks,
    containers,
    copies,
    delegation,
    headers,
    immutability,
    leases,
    pages,
    paging,
    service_properties,
    tags,
    tiers,
)
from .answer import Answer
from .call import Call

Level = Literal["account", "container", "blob"]


class Route(NamedTuple):
    """What tells operations apart; ``variant`` is for those that only a header or another parameter does."""

    level: Level
    method: str
    restype: str = ""
    comp: str = ""
    variant: str = ""


class Operation(NamedTuple):
    handler: Callable[[Call], Awaitable[Answer]]
    need: Need


_WHOLE_CONTAINER: Final[frozenset[PublicAccess]] = frozenset({"container"})

_account_information = Operation(containers.get_account_information, Need("sco", ANY_PERMISSION))
_information_below = Operation(containers.get_account_information, Need("sco", ANY_PERMISSION, service_sas=True))
_container_properties = Operation(containers.get_container_properties, Need("c", "r", public=_WHOLE_CONTAINER))
_container_metadata = Operation(containers.get_container_metadata, Need("c", "r", public=_WHOLE_CONTAINER))
_container_acl = Operation(containers.get_container_acl, Need("c", ""))
_blob_metadata = Operation(blobs.get_blob_metadata, READ_BLOB)
_make = Need("o", "cw", service_sas=True)
_write = Need("o", "w", service_sas=True)
_put_blocks = _make._replace(since={"c": "2026-06-06"})
_break = {"d": "2017-07-29"}
_hold = Need("o", "i", service_sas=True)
_append = Need("o", "aw", service_sas=True)


async def _blob_batch(call: Call) -> Answer:
    return await batches.blob_batch(call, find_operation)


# Each part of a batch is looked at for itself; the batch as a whole needs to be anybody's who may do any of it.
_BATCHED = "dxwy"

OPERATIONS: Final[dict[Route, Operation]] = {
    Route("account", "POST", "", "batch"): Operation(_blob_batch, Need("o", _BATCHED)),
    Route("container", "POST", "container", "batch"): Operation(_blob_batch, Need("o", _BATCHED, service_sas=True)),
    Route("account", "GET", "service", "stats"): Operation(service_properties.get_service_stats, Need("s", "r")),
    Route("account", "POST", "service", "userdelegationkey"): Operation(
        delegation.get_user_delegation_key, Need("s", "")
    ),
    Route("account", "GET", "account", "properties"): _account_information,
    Route("account", "HEAD", "account", "properties"): _account_information,
    Route("account", "GET", "service", "properties"): Operation(
        service_properties.get_service_properties, Need("s", "r")
    ),
    Route("account", "PUT", "service", "properties"): Operation(
        service_properties.set_service_properties, Need("s", "w")
    ),
    Route("container", "GET", "account", "properties"): _information_below,
    Route("container", "HEAD", "account", "properties"): _information_below,
    Route("blob", "GET", "account", "properties"): _information_below,
    Route("blob", "HEAD", "account", "properties"): _information_below,
    Route("account", "GET", "", "list"): Operation(containers.list_containers, Need("s", "l")),
    Route("container", "PUT", "container"): Operation(containers.create_container, Need("c", "cw")),
    Route("container", "GET", "container"): _container_properties,
    Route("container", "HEAD", "container"): _container_properties,
    Route("container", "GET", "container", "metadata"): _container_metadata,
    Route("container", "HEAD", "container", "metadata"): _container_metadata,
    Route("container", "PUT", "container", "metadata"): Operation(containers.set_container_metadata, Need("c", "w")),
    Route("container", "GET", "container", "acl"): _container_acl,
    Route("container", "HEAD", "container", "acl"): _container_acl,
    Route("container", "PUT", "container", "acl"): Operation(containers.set_container_acl, Need("c", "")),
    Route("container", "PUT", "container", "lease"): Operation(leases.lease_a_container, Need("c", "w")),
    Route("container", "PUT", "container", "lease", "break"): Operation(
        leases.lease_a_container, Need("c", "wd", since=_break)
    ),
    Route("container", "PUT", "container", "undelete"): Operation(containers.restore_container, Need("c", "w")),
    Route("container", "DELETE", "container"): Operation(containers.delete_container, Need("c", "d")),
    Route("container", "GET", "container", "list"): Operation(
        containers.list_blobs, Need("c", "l", service_sas=True, public=_WHOLE_CONTAINER)
    ),
    Route("account", "GET", "", "blobs"): Operation(tags.find_blobs_by_tags, Need("o", "f")),
    Route("container", "GET", "container", "blobs"): Operation(
        tags.find_blobs_by_tags, Need("c", "f", service_sas=True)
    ),
    Route("blob", "GET", "", "tags"): Operation(tags.get_blob_tags, Need("o", "t", service_sas=True)),
    Route("blob", "PUT", "", "tags"): Operation(tags.set_blob_tags, Need("o", "t", service_sas=True)),
    Route("blob", "GET"): Operation(blobs.get_blob, READ_BLOB),
    Route("blob", "HEAD"): Operation(blobs.get_blob_properties, READ_BLOB),
    Route("blob", "GET", "", "metadata"): _blob_metadata,
    Route("blob", "HEAD", "", "metadata"): _blob_metadata,
    Route("blob", "PUT", "", "metadata"): Operation(blobs.set_blob_metadata, _write),
    Route("blob", "PUT", "", "properties"): Operation(blobs.set_blob_properties, _write),
    Route("blob", "PUT", "", "properties", "of a page blob"): Operation(pages.set_page_blob_properties, _write),
    Route("blob", "DELETE"): Operation(blobs.delete_blob, Need("o", "d", service_sas=True)),
    Route("blob", "DELETE", "", "", "version"): Operation(blobs.delete_blob, Need("o", "x", service_sas=True)),
    Route("blob", "DELETE", "", "", "permanent"): Operation(blobs.delete_blob, Need("o", "y", service_sas=True)),
    Route("blob", "PUT", "", "undelete"): Operation(blobs.undelete_blob, _write),
    Route("blob", "PUT", "", "snapshot"): Operation(blobs.snapshot_blob, _make),
    Route("blob", "PUT", "", "lease"): Operation(leases.lease_a_blob, _write),
    Route("blob", "PUT", "", "lease", "break"): Operation(
        leases.lease_a_blob, Need("o", "wd", service_sas=True, since=_break)
    ),
    Route("blob", "PUT", "", "tier"): Operation(tiers.set_blob_tier, _write),
    Route("blob", "PUT", "", "", "BlockBlob"): Operation(blobs.put_blob, _make),
    Route("blob", "PUT", "", "", "BlockBlob from URL"): Operation(copies.put_blob_from_url, _make),
    Route("blob", "PUT", "", "", "copy"): Operation(copies.copy_blob, _make),
    Route("blob", "PUT", "", "copy"): Operation(copies.abort_copy, _write),
    Route("blob", "PUT", "", "incrementalcopy", "from URL"): Operation(copies.incremental_copy, _make),
    Route("blob", "PUT", "", "block"): Operation(blocks.put_block, _put_blocks),
    Route("blob", "PUT", "", "block", "from URL"): Operation(copies.put_block_from_url, _put_blocks),
    Route("blob", "PUT", "", "blocklist"): Operation(blocks.put_block_list, _put_blocks),
    Route("blob", "PUT", "", "", "AppendBlob"): Operation(append.put_append_blob, _make),
    Route("blob", "PUT", "", "appendblock"): Operation(append.append_block, _append),
    Route("blob", "PUT", "", "appendblock", "from URL"): Operation(append.append_block_from_url, _append),
    Route("blob", "PUT", "", "seal"): Operation(append.seal, _write),
    Route("blob", "PUT", "", "", "PageBlob"): Operation(pages.put_page_blob, _make),
    Route("blob", "PUT", "", "page"): Operation(pages.put_page, _write),
    Route("blob", "PUT", "", "page", "from URL"): Operation(pages.put_page_from_url, _write),
    Route("blob", "GET", "", "pagelist"): Operation(pages.get_page_ranges, READ_BLOB),
    Route("blob", "PUT", "", "immutabilitypolicies"): Operation(immutability.set_policy, _hold),
    Route("blob", "DELETE", "", "immutabilitypolicies"): Operation(immutability.delete_policy, _hold),
    Route("blob", "PUT", "", "legalhold"): Operation(immutability.set_legal_hold, _hold),
    Route("blob", "GET", "", "blocklist"): Operation(blocks.get_block_list, READ_BLOB),
    Route("blob", "GET", "", "blocklist", "uncommitted"): Operation(
        blocks.get_block_list, READ_BLOB._replace(public=frozenset())
    ),
}

#: Operations of the service that this one does not have yet, by their documented names.
NOT_IMPLEMENTED: Final[dict[Route, str]] = {
    Route("blob", "PUT", "", "expiry"): "Set Blob Expiry",
    Route("blob", "POST", "", "query"): "Query Blob Contents",
}

#: Headers that need a permission of their own.
_ASKING_HEADERS: Final = {
    "x-ms-if-tags": "t",
    "x-ms-tags": "t",
    headers.UNTIL: "i",
    headers.MODE: "i",
    headers.LEGAL_HOLD: "i",
}
_BLOB_TYPES = frozenset({"BlockBlob", "AppendBlob", "PageBlob"})


def _known(field: str) -> dict[Level, frozenset[str]]:
    """The values that a field has in any route, by level."""
    found: dict[Level, set[str]] = {"account": set(), "container": set(), "blob": set()}
    for route in (*OPERATIONS, *NOT_IMPLEMENTED):
        found[route.level].add(getattr(route, field))
    return {level: frozenset(values) for level, values in found.items()}


_METHODS, _RESTYPES, _COMPS = _known("method"), _known("restype"), _known("comp")


def find_operation(request: Request) -> Operation:
    """Raises ``NotImplemented`` for those that are known and missing, and what is wrong with any other request."""
    route = _route(request)
    operation = OPERATIONS.get(route)
    if operation is None:
        raise _unknown(route)
    if request.is_secondary and request.method not in ("GET", "HEAD"):
        raise error("InsufficientAccountPermissions")
    if also := _also_needed(request):
        return operation._replace(need=operation.need._replace(also=also))
    return operation


def _also_needed(request: Request) -> str:
    """Permissions that headers and parameters ask for beside those of the operation itself."""
    also = {permission for header, permission in _ASKING_HEADERS.items() if header in request.headers}
    if headers.copies_tags(request) or "tags" in paging.words_of(request, "include"):
        also.add("t")
    return "".join(also)


def _route(request: Request) -> Route:
    name = request.resource
    comp = request.parameter("comp").lower()
    if not name.container:
        level: Level = "account"
    else:
        level = "blob" if name.blob else "container"
    return Route(level, request.method, request.parameter("restype").lower(), comp, _variant(request, level, comp))


def _variant(request: Request, level: Level, comp: str) -> str:
    """What a request is by other signs than those that most have."""
    if comp == "lease":
        return "break" if request.header("x-ms-lease-action").lower() == "break" else ""
    if level != "blob":
        return ""
    match request.method, comp:
        case "PUT", _:
            return _put(request, comp)
        case "DELETE", "":
            return _deleted(request)
        case "GET", "blocklist":
            return "" if request.parameter("blocklisttype").lower() in ("", "committed") else "uncommitted"
        case _:
            return ""


def _deleted(request: Request) -> str:
    """What a DELETE on a blob is for, where that takes a permission of its own."""
    if request.parameter("deletetype"):
        return "permanent"
    return "version" if request.resource.version else ""


def _put(request: Request, comp: str) -> str:
    """What the headers of a PUT on a blob make of it."""
    from_url = " from URL" if "x-ms-copy-source" in request.headers else ""
    if comp == "properties" and pages.asks_for_change(request):
        return "of a page blob"
    if comp:
        return from_url.strip()
    blob_type = request.header("x-ms-blob-type")
    if not blob_type:
        if not from_url:
            raise error("MissingRequiredHeader", HeaderName="x-ms-blob-type")
        return "copy"
    if blob_type not in _BLOB_TYPES:
        raise invalid_header("x-ms-blob-type", blob_type)
    return blob_type + from_url


def _unknown(route: Route) -> ServiceError:
    if route in NOT_IMPLEMENTED:
        return error("NotImplemented", Operation=NOT_IMPLEMENTED[route])
    if route.method not in _METHODS[route.level]:
        return error("UnsupportedHttpVerb")
    if route.comp not in _COMPS[route.level]:
        return invalid_query("comp", route.comp)
    if route.restype not in _RESTYPES[route.level]:
        return invalid_query("restype", route.restype)
    return error("UnsupportedHttpVerb")
