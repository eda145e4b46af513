"""Signatures that the library makes, given back to the library and to plain HTTP clients."""

from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobSasPermissions,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
)
from common import (
    ACCOUNT,
    EARLIER,
    KEY,
    LARGE,
    LATER,
    OPTIONS,
    VERSION,
    checks,
    content,
    failing,
    fetch,
    library,
    new_container,
    signed,
)


@checks.of("generate_account_sas")
def of_accounts():
    container = new_container("sas-account")
    container.upload_blob("b", b"hello")
    everything = ResourceTypes(service=True, container=True, object=True)
    permissions = AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True)

    def token(types=everything, permission=permissions, **options):
        return library.generate_account_sas(
            ACCOUNT, KEY, resource_types=types, permission=permission, expiry=LATER, **options
        )

    holder = signed(token(start=EARLIER, ip="127.0.0.0-127.0.0.2", protocol="https,http"))
    held = holder.get_container_client(container.container_name)
    assert held.container_name in [each.name for each in holder.list_containers(held.container_name)]
    assert holder.get_service_properties()["hour_metrics"]
    assert [each.name for each in held.list_blobs()] == ["b"]
    blob = held.upload_blob("c", LARGE)
    assert content(blob) == LARGE
    log, pages = held.get_blob_client("log"), held.get_blob_client("pages")
    log.create_append_blob()
    log.append_block(b"x")
    pages.create_page_blob(512)
    pages.upload_page(bytes(512), 0, 512)
    blob.delete_blob()
    holder.create_container(f"{held.container_name}-more")
    objects = signed(token(ResourceTypes(object=True), "r"))
    assert content(objects.get_blob_client(held.container_name, "b")) == b"hello"
    failing(403, lambda: list(objects.list_containers()), code="AuthorizationResourceTypeMismatch")
    failing(
        403,
        objects.get_blob_client(held.container_name, "b").upload_blob,
        b"x",
        overwrite=True,
        code="AuthorizationPermissionMismatch",
    )
    elsewhere = signed(token(ip="10.0.0.1"))
    failing(403, lambda: list(elsewhere.list_containers()), code="AuthorizationSourceIPMismatch")
    future = signed(token(start=LATER))
    failing(403, lambda: list(future.list_containers()), code="AuthenticationFailed")


@checks.of("generate_container_sas")
def of_containers():
    container = new_container("sas-container")
    container.upload_blob("b å", b"hello")

    def client(permission, **options):
        token = library.generate_container_sas(
            ACCOUNT, container.container_name, account_key=KEY, permission=permission, expiry=LATER, **options
        )
        return ContainerClient.from_container_url(f"{container.url}?{token}", **OPTIONS)

    reader = client(ContainerSasPermissions(read=True, list=True), start=EARLIER, protocol="https")
    assert [each.name for each in reader.list_blobs()] == ["b å"]
    assert content(reader.get_blob_client("b å")) == b"hello"
    failing(403, reader.upload_blob, "c", b"x", code="AuthorizationPermissionMismatch")
    failing(403, reader.delete_container)
    writer = client(ContainerSasPermissions(read=True, write=True, delete=True, list=True))
    blob = writer.upload_blob("c", LARGE, metadata={"a": "1"})
    lease = blob.acquire_lease()
    lease.break_lease(0)
    lease.release()
    writer.delete_blob("c")
    assert writer.get_account_information()["account_kind"] == "StorageV2"
    other = new_container("sas-container-other")
    token = library.generate_container_sas(
        ACCOUNT, container.container_name, account_key=KEY, permission="rl", expiry=LATER
    )
    failing(403, lambda: list(signed(token).get_container_client(other.container_name).list_blobs()))


@checks.of("generate_blob_sas")
def of_blobs():
    container = new_container("sas-blob")
    blob = container.upload_blob("dir/b å+.txt", b"hello")

    def client(name, permission, **options):
        token = library.generate_blob_sas(
            ACCOUNT, container.container_name, name, account_key=KEY, permission=permission, expiry=LATER, **options
        )
        return BlobClient.from_blob_url(f"{container.get_blob_client(name).url}?{token}", **OPTIONS)

    holder = client(
        "dir/b å+.txt",
        BlobSasPermissions(read=True, write=True),
        start=EARLIER,
        cache_control="no-cache",
        content_disposition='attachment; filename="ü.txt"',
        content_encoding="identity",
        content_language="fr",
        content_type="text/html; charset=utf-8",
    )
    status, headers, body = fetch(holder.url)
    assert (status, body, headers["Cache-Control"]) == (200, b"hello", "no-cache")
    assert headers["Content-Disposition"].startswith("attachment; filename=")
    assert (headers["Content-Language"], headers["Content-Type"]) == ("fr", "text/html; charset=utf-8")
    holder.upload_blob(b"again", overwrite=True)
    assert content(holder) == b"again"
    failing(403, holder.delete_blob, code="AuthorizationPermissionMismatch")
    log = client("log", BlobSasPermissions(add=True, create=True))
    log.create_append_blob()
    log.append_block(b"x")
    failing(403, log.download_blob, code="AuthorizationPermissionMismatch")
    snapshot = blob.create_snapshot()["snapshot"]
    token = library.generate_blob_sas(
        ACCOUNT,
        container.container_name,
        blob.blob_name,
        snapshot=snapshot,
        account_key=KEY,
        permission="r",
        expiry=LATER,
    )
    past = container.get_blob_client(blob.blob_name, snapshot=snapshot)
    assert fetch(f"{past.url}&{token.replace('snapshot=', 'x=')}")[2] == b"again"
    assert fetch(f"{blob.url}?{token.replace('snapshot=', 'x=')}")[0] == 403
    if VERSION >= (12, 8):
        tagging = client("dir/b å+.txt", BlobSasPermissions(tag=True))
        tagging.set_blob_tags({"a": "1"})
        assert tagging.get_blob_tags() == {"a": "1"}
