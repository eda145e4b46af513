"""A first-day program of 2019 and later: azure-storage-blob 12.

It is run by the Python of such a set with the account's name, key and URL as arguments, and fails where the service
does not do what these libraries expect.
"""

import datetime
import io
import os
import pathlib
import sys
import tempfile
import urllib.request

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

NAME, KEY, URL, STYLE = sys.argv[1:]
LATER = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=2)
LARGE = os.urandom(5 * 1024 * 1024 + 17)
SMALL_PIECES = {
    "max_single_put_size": 1024 * 1024,
    "max_block_size": 1024 * 1024,
    "max_single_get_size": 1024 * 1024,
    "max_chunk_get_size": 1024 * 1024,
}


def make_service():
    if STYLE == "connection string":
        form = "DefaultEndpointsProtocol=http;AccountName={};AccountKey={};BlobEndpoint={};"
        return BlobServiceClient.from_connection_string(form.format(NAME, KEY, URL), **SMALL_PIECES)
    return BlobServiceClient(URL, credential=KEY, **SMALL_PIECES)


def failing(error, act, *args, **options):
    try:
        act(*args, **options)
    except error as failure:
        return failure
    raise AssertionError("nothing failed")


def containers(service):
    name = f"containers-{os.getpid()}"
    container = service.create_container(name, metadata={"Key": "1"})
    assert failing(ResourceExistsError, service.create_container, name).error_code == "ContainerAlreadyExists"
    assert container.get_container_properties().metadata == {"Key": "1"}
    container.set_container_metadata({"b": "2"})
    (found,) = service.list_containers(name_starts_with=name, include_metadata=True)
    assert (found.name, found.metadata) == (name, {"b": "2"})
    container.set_container_access_policy({}, public_access="blob")
    assert container.get_container_access_policy()["public_access"] == "blob"
    container.delete_container()
    assert failing(ResourceNotFoundError, container.delete_container).error_code == "ContainerNotFound"
    assert not list(service.list_containers(name_starts_with=name))


def uploads_and_downloads(container, directory):
    for name, data in (("dir/a b+c.txt", b"hello"), ("empty", b""), ("large å", LARGE)):
        blob = container.get_blob_client(name)
        blob.upload_blob(data, metadata={"Key": "v"}, content_settings=ContentSettings(content_type="a/b"))
        assert failing(ResourceExistsError, blob.upload_blob, data).error_code == "BlobAlreadyExists"
        blob.upload_blob(data, overwrite=True, max_concurrency=2)
        for options in ({}, {"max_concurrency": 3}, {"validate_content": True}):
            assert blob.download_blob(**options).readall() == data
    assert (
        container.get_blob_client("large å").download_blob(offset=1000000, length=3000000).readall()
        == (LARGE[1000000:4000000])
    )
    path = directory / "large"
    path.write_bytes(LARGE)
    blob = container.get_blob_client("from-file")
    with path.open("rb") as file:
        blob.upload_blob(file, validate_content=True)
    stream = io.BytesIO()
    blob.download_blob().readinto(stream)
    assert stream.getvalue() == LARGE


def blobs(container):
    blob = container.get_blob_client("dir/a b+c.txt")
    gone = container.get_blob_client("gone")
    assert failing(ResourceNotFoundError, gone.download_blob).error_code == "BlobNotFound"
    assert failing(ResourceNotFoundError, gone.get_blob_properties).error_code == "BlobNotFound"
    etag = blob.get_blob_properties().etag
    blob.set_blob_metadata({"Other": "w"})
    blob.set_http_headers(ContentSettings(content_type="text/plain"))
    properties = blob.get_blob_properties()
    assert properties.metadata == {"Other": "w"}
    assert properties.content_settings.content_type == "text/plain"
    assert properties.etag != etag
    copy = container.get_blob_client("copy")
    assert copy.start_copy_from_url(container.get_blob_client("large å").url)["copy_status"] == "success"
    assert copy.get_blob_properties().copy.status == "success"
    assert copy.download_blob().readall() == LARGE
    blocks = container.get_blob_client("blocks")
    blocks.stage_block("1", b"one")
    blocks.stage_block("2", b"two")
    assert [block.size for block in blocks.get_block_list("all")[1]] == [3, 3]
    blocks.commit_block_list([BlobBlock("2"), BlobBlock("1")])
    assert blocks.download_blob().readall() == b"twoone"
    blocks.delete_blob()
    assert failing(ResourceNotFoundError, blocks.delete_blob).error_code == "BlobNotFound"


def lists(container):
    names = [blob.name for blob in container.list_blobs()]
    assert names == ["copy", "dir/a b+c.txt", "empty", "from-file", "large å"], names
    assert [blob.name for blob in container.list_blobs(name_starts_with="dir/")] == names[1:2]
    pages = [[blob.name for blob in page] for page in container.list_blobs(results_per_page=2).by_page()]
    assert pages == [names[:2], names[2:4], names[4:]], pages
    walked = sorted(found.name for found in container.walk_blobs())
    assert walked == ["copy", "dir/", "empty", "from-file", "large å"], walked
    (found,) = container.list_blobs(name_starts_with="dir/", include=["metadata"])
    assert (found.metadata, found.size) == ({"Other": "w"}, 5), found


def signatures(service, container):
    name = container.container_name
    may_read = BlobSasPermissions(read=True)
    read = generate_blob_sas(NAME, name, "large å", account_key=KEY, permission=may_read, expiry=LATER)
    url = container.get_blob_client("large å").url + "?" + read
    assert BlobClient.from_blob_url(url).download_blob().readall() == LARGE
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == LARGE
    write = generate_container_sas(
        NAME, name, account_key=KEY, permission=ContainerSasPermissions(write=True), expiry=LATER
    )
    writer = ContainerClient.from_container_url(container.url + "?" + write, **SMALL_PIECES)
    writer.upload_blob("by-signature", LARGE)
    denied = failing(HttpResponseError, lambda: writer.get_blob_client("by-signature").download_blob().readall())
    assert denied.error_code == "AuthorizationPermissionMismatch", denied.error_code
    account = generate_account_sas(NAME, KEY, resource_types="sco", permission="rl", expiry=LATER)
    reader = BlobServiceClient(URL, credential=account)
    assert name in [found.name for found in reader.list_containers()]
    assert reader.get_blob_client(name, "by-signature").download_blob().readall() == LARGE


def leases_and_snapshots(container):
    blob = container.get_blob_client("leased")
    blob.upload_blob(b"one")
    lease = blob.acquire_lease(lease_duration=15)
    assert blob.get_blob_properties().lease.state == "leased"
    failed = failing(HttpResponseError, lambda: blob.upload_blob(b"x", overwrite=True))
    assert failed.error_code == "LeaseIdMissing", failed.error_code
    blob.upload_blob(b"two", lease=lease)
    lease.renew()
    lease.break_lease(0)
    snapshot = blob.create_snapshot()
    blob.upload_blob(b"three", overwrite=True)
    past = container.get_blob_client("leased", snapshot=snapshot["snapshot"])
    assert past.download_blob().readall() == b"two"
    found = list(container.list_blobs(name_starts_with="leased", include=["snapshots"]))
    assert [each.snapshot for each in found] == [snapshot["snapshot"], None], found
    assert failing(HttpResponseError, blob.delete_blob).error_code == "SnapshotsPresent"
    blob.set_standard_blob_tier("Cool")
    assert blob.get_blob_properties().blob_tier == "Cool"
    blob.start_copy_from_url(past.url)
    assert blob.download_blob().readall() == b"two"
    blob.delete_blob(delete_snapshots="include")


with make_service() as main:
    containers(main)
    first = main.create_container(f"c{os.getpid()}")
    with tempfile.TemporaryDirectory() as temporary:
        uploads_and_downloads(first, pathlib.Path(temporary))
    blobs(first)
    lists(first)
    leases_and_snapshots(first)
    signatures(main, first)
    first.delete_container()
print("done")
