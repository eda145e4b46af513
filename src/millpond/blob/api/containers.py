"""The operations on the account and on containers."""

from __future__ import annotations

from ..service import containers
from ..service.listing import BlobListing
from ..service.listing import list_blobs as list_blobs_of
from ..store import Transaction
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
            ("x-ms-sku-name", "Standard_LRS"),
            ("x-ms-account-kind", "StorageV2"),
            ("x-ms-is-hns-enabled", "false"),
        ],
    )


async def list_containers(call: Call) -> Answer:
    request = call.request
    include = paging.included(request, _CONTAINER_INCLUDES)
    page = await call.store.read_long(
        containers.list_containers,
        call.name.account,
        prefix=request.parameter("prefix"),
        first=paging.first_name(request),
        count=paging.page_size(request),
    )
    return xml_answer(xml.container_page(page, request, metadata="metadata" in include))


async def create_container(call: Call) -> Answer:
    container = await call.store.write(
        containers.create_container,
        call.name,
        headers.metadata(call.request),
        headers.public_access(call.request),
    )
    return Answer(201, modified(container.last_modified))


async def get_container_properties(call: Call) -> Answer:
    container = call.store.read(containers.get_container, call.name, headers.demands(call.request))
    return Answer(200, container_headers(container))


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
    await call.store.write(containers.delete_container, call.name, headers.demands(call.request))
    return Answer(202)


async def list_blobs(call: Call) -> Answer:
    request = call.request
    include = paging.included(request, _BLOB_INCLUDES)
    listing = BlobListing(
        prefix=request.parameter("prefix"),
        delimiter=request.parameter("delimiter"),
        first=max(paging.first_name(request), request.parameter("startfrom")),
        length=paging.page_size(request),
        uncommitted="uncommittedblobs" in include,
    )

    def make_document(transaction: Transaction) -> str:
        return xml.blob_page(list_blobs_of(transaction, call.name, listing), request, include)

    return xml_answer(await call.store.read_long(make_document))
