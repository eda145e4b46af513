"""Signatures that the library makes, given back to the library and to plain HTTP clients."""

import datetime

import requests
from azure.storage.blob import AppendBlobService, BlobPermissions, ContainerPermissions, PageBlobService
from common import LATER, NOW, URL, VERSION, blocks, checks, content, failing, models, new_container, signed

EARLIER = NOW - datetime.timedelta(minutes=5)


@checks.of("BaseBlobService.generate_account_shared_access_signature")
def of_accounts():
    container = new_container("sas-account")
    blocks.create_blob_from_text(container, "b", "hello")
    everything = models.ResourceTypes(service=True, container=True, object=True)
    permissions = models.AccountPermissions(read=True, write=True, delete=True, list=True, add=True, create=True)
    token = blocks.generate_account_shared_access_signature(
        everything, permissions, LATER, start=EARLIER, ip="127.0.0.0-127.0.0.2", protocol="https,http"
    )
    holder = signed(token)
    assert container in [each.name for each in holder.list_containers(prefix=container)]
    assert holder.get_blob_service_properties()
    assert [each.name for each in holder.list_blobs(container)] == ["b"]
    holder.create_blob_from_bytes(container, "c", b"x" * (3 << 20))
    assert len(content(container, "c")) == 3 << 20
    log = signed(token, AppendBlobService)
    log.create_blob(container, "log")
    log.append_block(container, "log", b"x")
    signed(token, PageBlobService).create_blob_from_bytes(container, "pages", bytes(512))
    holder.delete_blob(container, "c")
    assert holder.create_container(f"{container}-more")
    objects = blocks.generate_account_shared_access_signature(models.ResourceTypes.OBJECT, "r", LATER)
    assert signed(objects).get_blob_to_text(container, "b").content == "hello"
    failing(403, signed(objects).list_containers, code="AuthorizationResourceTypeMismatch")
    failing(403, signed(objects).create_blob_from_text, container, "b", "x", code="AuthorizationPermissionMismatch")
    elsewhere = blocks.generate_account_shared_access_signature(everything, permissions, LATER, ip="10.0.0.1")
    failing(403, signed(elsewhere).list_containers, code="AuthorizationSourceIPMismatch")
    future = blocks.generate_account_shared_access_signature(everything, permissions, LATER, start=LATER)
    failing(403, signed(future).list_containers, code="AuthenticationFailed")


@checks.of("BaseBlobService.generate_container_shared_access_signature")
def of_containers():
    container = new_container("sas-container")
    blocks.create_blob_from_text(container, "b å", "hello")
    reading = ContainerPermissions.READ + ContainerPermissions.LIST
    token = blocks.generate_container_shared_access_signature(container, reading, LATER, EARLIER, protocol="https")
    holder = signed(token)
    assert [each.name for each in holder.list_blobs(container)] == ["b å"]
    assert holder.get_blob_to_text(container, "b å").content == "hello"
    failing(403, holder.create_blob_from_text, container, "c", "x", code="AuthorizationPermissionMismatch")
    failing(403, holder.delete_container, container)
    everything = ContainerPermissions(read=True, write=True, delete=True, list=True)
    token = blocks.generate_container_shared_access_signature(container, everything, LATER)
    holder = signed(token)
    holder.create_blob_from_text(container, "c", "x", metadata={"a": "1"})
    lease = holder.acquire_blob_lease(container, "c")
    holder.break_blob_lease(container, "c", 0)
    holder.release_blob_lease(container, "c", lease)
    holder.delete_blob(container, "c")
    failing(403, holder.get_blob_to_text, f"{container}-other", "b")
    if VERSION >= (2, 0):
        assert holder.get_blob_account_information(container).account_kind == "StorageV2"


@checks.of("BaseBlobService.generate_blob_shared_access_signature")
def of_blobs():
    container = new_container("sas-blob")
    blocks.create_blob_from_text(container, "dir/b å+.txt", "hello")
    token = blocks.generate_blob_shared_access_signature(
        container,
        "dir/b å+.txt",
        permission=BlobPermissions.READ + BlobPermissions.WRITE,
        expiry=LATER,
        start=EARLIER,
        cache_control="no-cache",
        content_disposition='attachment; filename="ü.txt"',
        content_encoding="identity",
        content_language="fr",
        content_type="text/html; charset=utf-8",
    )
    answer = requests.get(blocks.make_blob_url(container, "dir/b å+.txt", sas_token=token), timeout=30)
    assert answer.content == b"hello"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert (answer.headers["Content-Language"], answer.headers["Content-Type"]) == ("fr", "text/html; charset=utf-8")
    holder = signed(token)
    holder.create_blob_from_text(container, "dir/b å+.txt", "again")
    assert holder.get_blob_to_text(container, "dir/b å+.txt").content == "again"
    failing(403, holder.delete_blob, container, "dir/b å+.txt", code="AuthorizationPermissionMismatch")
    failing(403, holder.get_blob_to_text, container, "other", code="AuthenticationFailed")
    adding = blocks.generate_blob_shared_access_signature(container, "log", permission="ac", expiry=LATER)
    log = signed(adding, AppendBlobService)
    log.create_blob(container, "log")
    log.append_block(container, "log", b"x")
    failing(403, log.get_blob_to_text, container, "log", code="AuthorizationPermissionMismatch")
    assert URL in blocks.make_blob_url(container, "b")


@checks.of("BaseBlobService.generate_blob_shared_access_signature", unless=VERSION < (2, 0))
def of_snapshots():
    container = new_container("sas-snapshot")
    blocks.create_blob_from_text(container, "b", "hello")
    snapshot = blocks.snapshot_blob(container, "b").snapshot
    blocks.create_blob_from_text(container, "b", "again")
    token = blocks.generate_blob_shared_access_signature(container, "b", snapshot, permission="r", expiry=LATER)
    assert signed(token).get_blob_to_text(container, "b", snapshot=snapshot).content == "hello"
    failing(403, signed(token).get_blob_to_text, container, "b")
