"""A first-day program of 2017 to 2019: azure-storage 0.34 to 0.37 and azure-storage-blob 2.1.

It is run by the Python of such a set with the account's name, key and URL as arguments, and "path" or "host" for
where its requests name the account. It fails where the service does not do what these libraries expect.
"""

import datetime
import io
import os
import pathlib
import socket
import sys
import tempfile
from urllib.parse import urlsplit

import requests
from azure.common import AzureConflictHttpError, AzureHttpError, AzureMissingResourceHttpError
from azure.storage.blob import BlobPermissions, BlockBlobService, ContainerPermissions, ContentSettings, Include

try:
    from azure.storage.models import AccessPolicy, AccountPermissions, Logging, Metrics, ResourceTypes
except ImportError:
    from azure.storage.common.models import AccessPolicy, AccountPermissions, Logging, Metrics, ResourceTypes

NAME, KEY, URL, STYLE = sys.argv[1:]
LATER = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=2)
LARGE = os.urandom(5 * 1024 * 1024 + 17)


def make_service():
    parts = urlsplit(URL)
    if STYLE == "path":
        endpoint = f"DefaultEndpointsProtocol=http;AccountName={NAME};AccountKey={KEY};BlobEndpoint={URL}"
        return BlockBlobService(connection_string=endpoint)
    found = socket.getaddrinfo
    # Not every machine knows that names under localhost mean itself.
    socket.getaddrinfo = lambda host, *rest, **more: found(
        "127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more
    )
    suffix = f"localhost:{parts.port}"
    return BlockBlobService(account_name=NAME, account_key=KEY, protocol="http", endpoint_suffix=suffix)


def failing(error, act, *args, **options):
    try:
        act(*args, **options)
    except error as failure:
        return failure
    raise AssertionError(f"{act.__name__} did not fail")


service = make_service()


def containers():
    name = f"containers-{os.getpid()}"
    assert service.create_container(name, metadata={"a": "1"}) is True
    assert service.create_container(name) is False
    assert failing(AzureConflictHttpError, service.create_container, name, fail_on_exist=True).status_code == 409
    assert service.exists(name)
    assert not service.exists(name + "x")
    properties = service.get_container_properties(name)
    assert properties.metadata == {"a": "1"}, properties.metadata
    service.set_container_metadata(name, {"b": "2"})
    assert service.get_container_metadata(name) == {"b": "2"}
    assert [each.name for each in service.list_containers(prefix=name, include_metadata=True)] == [name]
    service.set_container_acl(name, {"p": AccessPolicy(ContainerPermissions.READ, LATER)}, public_access="blob")
    assert list(service.get_container_acl(name)) == ["p"]
    assert service.delete_container(name) is True
    assert service.delete_container(name) is False
    failing(AzureMissingResourceHttpError, service.delete_container, name, fail_not_exist=True)
    pages = [f"{name}-{number}" for number in range(5)]
    for page in pages:
        service.create_container(page)
    assert [each.name for each in service.list_containers(prefix=name, num_results=2)] == pages[:2]
    first = service.list_containers(prefix=name, num_results=2)
    assert first.next_marker
    for page in pages:
        service.delete_container(page)


def uploads_and_downloads(container, directory):
    service.create_blob_from_text(container, "text", "hé")
    assert service.get_blob_to_text(container, "text").content == "hé"
    service.create_blob_from_bytes(container, "dir/a b+c.txt", b"hello", metadata={"key": "v"})
    assert service.get_blob_to_bytes(container, "dir/a b+c.txt").content == b"hello"
    assert service.get_blob_to_bytes(container, "dir/a b+c.txt", start_range=1, end_range=2).content == b"el"
    service.create_blob_from_bytes(container, "empty", b"")
    assert service.get_blob_to_bytes(container, "empty").content == b""
    path = directory / "large"
    path.write_bytes(LARGE)
    service.MAX_SINGLE_PUT_SIZE = 1024 * 1024
    service.MAX_BLOCK_SIZE = 1024 * 1024
    service.MAX_SINGLE_GET_SIZE = 1024 * 1024
    service.MAX_CHUNK_GET_SIZE = 1024 * 1024
    progress = []
    service.create_blob_from_path(
        container,
        "large",
        str(path),
        content_settings=ContentSettings(content_type="application/x-large"),
        progress_callback=lambda done, total: progress.append(done),
    )
    assert progress[-1] == len(LARGE), progress
    for connections in (1, 3):
        target = directory / "target"
        service.get_blob_to_path(container, "large", str(target), max_connections=connections)
        assert target.read_bytes() == LARGE
    service.create_blob_from_stream(container, "stream", io.BytesIO(LARGE), max_connections=2)
    stream = io.BytesIO()
    service.get_blob_to_stream(container, "stream", stream)
    assert stream.getvalue() == LARGE
    service.create_blob_from_stream(container, "small stream", io.BytesIO(b"abc"))
    service.create_blob_from_stream(container, "empty stream", io.BytesIO(b""))
    assert service.get_blob_properties(container, "empty stream").properties.content_length == 0
    service.create_blob_from_bytes(container, "checked", LARGE, validate_content=True)
    assert service.get_blob_to_bytes(container, "checked", validate_content=True).content == LARGE


def blobs(container):
    assert service.exists(container, "text")
    assert not service.exists(container, "gone")
    assert failing(AzureMissingResourceHttpError, service.get_blob_to_bytes, container, "gone").status_code == 404
    properties = service.get_blob_properties(container, "large")
    assert properties.properties.content_length == len(LARGE)
    assert properties.properties.content_settings.content_type == "application/x-large"
    assert service.get_blob_metadata(container, "dir/a b+c.txt") == {"key": "v"}
    service.set_blob_metadata(container, "large", {"k": "v"})
    service.set_blob_properties(container, "large", ContentSettings(content_type="a/b"))
    assert service.get_blob_properties(container, "large").metadata == {"k": "v"}
    etag = service.get_blob_properties(container, "text").properties.etag
    service.create_blob_from_text(container, "text", "again", if_match=etag)
    stale = failing(AzureHttpError, service.create_blob_from_text, container, "text", "more", if_match=etag)
    assert stale.status_code == 412, stale.status_code
    copied = service.copy_blob(container, "copy", service.make_blob_url(container, "large"))
    assert copied.status == "success", copied.status
    assert service.get_blob_properties(container, "copy").properties.copy.status == "success"
    service.put_block(container, "blocks", b"123", "AAAA")
    blocks = service.get_block_list(container, "blocks", block_list_type="all")
    assert [block.id for block in blocks.uncommitted_blocks] == ["AAAA"]
    service.put_block_list(container, "blocks", blocks.uncommitted_blocks)
    assert service.get_blob_to_bytes(container, "blocks").content == b"123"
    service.delete_blob(container, "blocks")
    failing(AzureMissingResourceHttpError, service.delete_blob, container, "blocks")


def lists(container):
    every = [blob.name for blob in service.list_blobs(container)]
    assert every == sorted(every) and len(every) == 9, every
    assert [blob.name for blob in service.list_blobs(container, prefix="dir/")] == ["dir/a b+c.txt"]
    assert "dir/" in [blob.name for blob in service.list_blobs(container, delimiter="/")]
    page = service.list_blobs(container, num_results=4)
    names = [blob.name for blob in page]
    marker = page.next_marker
    while marker:
        page = service.list_blobs(container, num_results=4, marker=marker)
        names += [blob.name for blob in page]
        marker = page.next_marker
    assert names == every, names


def signatures(container):
    blob = service.generate_blob_shared_access_signature(
        container, "text", permission=BlobPermissions.READ, expiry=LATER
    )
    url = service.make_blob_url(container, "text", sas_token=blob)
    assert requests.get(url, timeout=30).content == b"again"
    assert requests.get(url + "x", timeout=30).status_code == 403
    write = service.generate_container_shared_access_signature(container, ContainerPermissions.WRITE, LATER)
    put = requests.put(
        service.make_blob_url(container, "by-signature", sas_token=write),
        data=b"x",
        headers={"x-ms-blob-type": "BlockBlob"},
        timeout=30,
    )
    assert put.status_code == 201, put.text
    got = requests.get(service.make_blob_url(container, "by-signature", sas_token=write), timeout=30)
    assert (got.status_code, got.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    account = service.generate_account_shared_access_signature(ResourceTypes.OBJECT, AccountPermissions.READ, LATER)
    assert requests.get(service.make_blob_url(container, "text", sas_token=account), timeout=30).content == b"again"


def leases_and_snapshots(container):
    service.create_blob_from_text(container, "leased", "one")
    lease = service.acquire_blob_lease(container, "leased", lease_duration=15)
    assert service.get_blob_properties(container, "leased").properties.lease.state == "leased"
    assert failing(AzureHttpError, service.create_blob_from_text, container, "leased", "x").status_code == 412
    service.create_blob_from_text(container, "leased", "two", lease_id=lease)
    service.renew_blob_lease(container, "leased", lease)
    other = "1d3a1e5c-25a0-4d4e-b2d0-3f4f2a9b6c11"
    service.change_blob_lease(container, "leased", lease, other)
    assert failing(AzureConflictHttpError, service.release_blob_lease, container, "leased", lease).status_code == 409
    assert service.break_blob_lease(container, "leased", lease_break_period=0) == 0
    service.create_blob_from_text(container, "leased", "two")
    held = service.acquire_container_lease(container)
    assert failing(AzureHttpError, service.delete_container, container).status_code == 412
    service.release_container_lease(container, held)
    snapshot = service.snapshot_blob(container, "leased").snapshot
    service.create_blob_from_text(container, "leased", "three")
    assert service.get_blob_to_text(container, "leased", snapshot=snapshot).content == "two"
    found = list(service.list_blobs(container, prefix="leased", include=Include(snapshots=True)))
    assert [blob.snapshot for blob in found] == [snapshot, None], found
    assert failing(AzureConflictHttpError, service.delete_blob, container, "leased").status_code == 409
    source = service.make_blob_url(container, "leased", snapshot=snapshot)
    assert service.copy_blob(container, "leased", source).status == "success"
    assert service.get_blob_to_text(container, "leased").content == "two"
    service.delete_blob(container, "leased", delete_snapshots="include")


def properties():
    service.set_blob_service_properties(logging=Logging(read=True), minute_metrics=Metrics(enabled=False))
    found = service.get_blob_service_properties()
    assert (found.logging.read, found.logging.write, found.minute_metrics.enabled) == (True, False, False)


containers()
properties()
CONTAINER = f"c{os.getpid()}"
service.create_container(CONTAINER)
with tempfile.TemporaryDirectory() as temporary:
    uploads_and_downloads(CONTAINER, pathlib.Path(temporary))
blobs(CONTAINER)
lists(CONTAINER)
leases_and_snapshots(CONTAINER)
signatures(CONTAINER)
service.delete_container(CONTAINER)
print("done")
