"""The operations on the account and on containers."""

from __future__ import annotations

from ..errors import error, invalid_query
from ..service import containers
from ..service.listing import BlobListing
from ..service.listing import list_blobs as list_blobs_of
from ..store import Shown, Transaction
from . import headers, paging, xml
from .answer import (
    Answer,
    container_headers,
    metadata_headers,
    modified,
    public_access_headers,
    xml_answer,
)
from .call import Call, read_document

_CONTAINER_INCLUDES = frozenset({"metadata", "deleted", "system"})
_BLOB_INCLUDES = frozenset(
    {
        "copy",
        "deleted",
        "deletedwithversions",
        "immutabilitypolicy",
        "legalhold",
        "metadata",
        "permissions",
        "snapshots",
        "tags",
        "uncommittedblobs",
        "versions",
    }
)


async def get_account_information(call: Call) -> Answer:
    return Answer(
        200,
        [
            ("x-ms-sku-name", "Standard_RAGRS"),
            ("x-ms-account-kind", "StorageV2"),
            ("x-ms-is-hns-enabled", "false"),
        ],
    )


async def list_containers(call: Call) -> Answer:
    request = call.request
    include = paging.included(request, _CONTAINER_INCLUDES)
    with_system = "system" in include
    if with_system:
        await call.store.write(containers.ensure_system_containers, call.name.account)
    first = paging.position(request)
    page = await call.store.read_long(
        containers.list_containers,
        call.name.account,
        prefix=request.parameter("prefix"),
        first=first.name,
        first_deleted_at=first.generation,
        count=paging.page_size(request),
        with_deleted="deleted" in include,
        with_system=with_system,
    )
    now = call.service.clock.now()
    return xml_answer(
        xml.container_page(page, request, now, metadata="metadata" in include, immutable=call.features.immutability)
    )


async def create_container(call: Call) -> Answer:
    container = await call.store.write(
        containers.create_container,
        call.name,
        headers.metadata(call.request),
        headers.public_access(call.request),
        headers.scope_policy(call.request),
    )
    return Answer(201, modified(container.last_modified))


async def get_container_properties(call: Call) -> Answer:
    container = call.store.read(containers.get_container, call.name, headers.demands(call.request))
    return Answer(200, container_headers(container, call.service.clock.now(), call.features))


async def get_container_metadata(call: Call) -> Answer:
    container = call.store.read(containers.get_container, call.name, headers.demands(call.request))
    return Answer(200, modified(container.last_modified) + metadata_headers(container.metadata))


async def set_container_metadata(call: Call) -> Answer:
    container = await call.store.write(
        containers.set_container_metadata,
        call.name,
        headers.metadata(call.request),
        headers.demands(call.request),
    )
    return Answer(200, modified(container.last_modified))


async def get_container_acl(call: Call) -> Answer:
    container = call.store.read(containers.get_container, call.name, headers.demands(call.request))
    return xml_answer(
        xml.signed_identifiers(container.policies),
        modified(container.last_modified) + public_access_headers(container),
    )


async def set_container_acl(call: Call) -> Answer:
    policies = xml.read_signed_identifiers(await read_document(call))
    container = await call.store.write(
        containers.set_container_acl,
        call.name,
        policies,
        headers.public_access(call.request),
        headers.demands(call.request),
    )
    return Answer(200, modified(container.last_modified))


async def delete_container(call: Call) -> Answer:
    await call.store.write(containers.delete_container, call.name, headers.demands(call.request), call.features)
    return Answer(202)


async def restore_container(call: Call) -> Answer:
    found = []
    for header in ("x-ms-deleted-container-name", "x-ms-deleted-container-version"):
        if header not in call.request.headers:
            raise error("MissingRequiredHeader", HeaderName=header)
        found.append(call.request.headers[header])
    await call.store.write(containers.restore_container, call.name, *found)
    return Answer(201)


async def list_blobs(call: Call) -> Answer:
    request = call.request
    include = paging.included(request, _BLOB_INCLUDES)
    first = paging.position(request)
    listing = BlobListing(
        prefix=request.parameter("prefix"),
        delimiter=request.parameter("delimiter"),
        first=first.name,
        first_generation=first.generation,
        end=request.parameter("endbefore"),
        length=paging.page_size(request),
        uncommitted="uncommittedblobs" in include,
        shown=Shown(
            snapshots="snapshots" in include,
            versions="versions" in include,
            deleted="deleted" in include,
            last_versions="deletedwithversions" in include,
        ),
    )
    if request.parameter("startfrom") > listing.first:
        listing = listing._replace(first=request.parameter("startfrom"), first_generation=0)
    if listing.delimiter and listing.shown.snapshots:
        raise invalid_query("include", "snapshots", "Snapshots are not listed together with a delimiter.")

    def make_document(transaction: Transaction) -> str:
        page = list_blobs_of(transaction, call.name, listing)
        return xml.blob_page(page, request, include, transaction.now)

    return xml_answer(await call.store.read_long(make_document))
