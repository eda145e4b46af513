"""Leases of containers and blobs, and what they guard."""

import datetime
import time
import uuid

from azure.storage.blob import BlobLeaseClient
from common import checks, content, failing, new_container


@checks.of("ContainerClient.acquire_lease")
def of_containers():
    container = new_container("leased")
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    lease = container.acquire_lease(15, lease_id=first)
    assert lease.id == first
    found = container.get_container_properties().lease
    assert (found.state, found.status, found.duration) == ("leased", "locked", "fixed")
    failing(409, container.acquire_lease, code="LeaseAlreadyPresent")
    failing(412, container.delete_container, code="LeaseIdMissing")
    container.set_container_metadata({"a": "1"})  # a lease guards nothing but deletion
    container.set_container_metadata({"a": "1"}, lease=lease)
    failing(412, container.set_container_metadata, {"a": "1"}, lease=second)
    lease.renew()
    lease.change(second)
    assert lease.id == second
    failing(409, BlobLeaseClient(container, first).renew, code="LeaseIdMismatchWithLeaseOperation")
    assert 0 <= lease.break_lease(1) <= 1
    assert container.get_container_properties().lease.state == "breaking"
    time.sleep(1.1)
    assert container.get_container_properties().lease.state == "broken"
    failing(409, lease.renew, code="LeaseIsBrokenAndCannotBeRenewed")
    lease.acquire()
    assert container.get_container_properties(lease=lease).lease.duration == "infinite"
    lease.release()
    assert container.get_container_properties().lease.state == "available"
    container.delete_container(lease=container.acquire_lease())


@checks.of(
    "BlobClient.acquire_lease",
    "BlobLeaseClient.acquire",
    "BlobLeaseClient.renew",
    "BlobLeaseClient.change",
    "BlobLeaseClient.break_lease",
    "BlobLeaseClient.release",
)
def of_blobs():
    container, other = new_container("leases"), str(uuid.uuid4())
    blob = container.upload_blob("b", b"one")
    failing(412, blob.acquire_lease, if_unmodified_since=container_made(container), code="ConditionNotMet")
    lease = blob.acquire_lease(60)
    found = blob.get_blob_properties().lease
    assert (found.state, found.status, found.duration) == ("leased", "locked", "fixed")
    (listed,) = container.list_blobs()
    assert (listed.lease.state, listed.lease.duration) == ("leased", "fixed")
    failing(409, blob.acquire_lease, code="LeaseAlreadyPresent")
    writes = [
        lambda **given: blob.upload_blob(b"two", overwrite=True, **given),
        lambda **given: blob.set_blob_metadata({"a": "1"}, **given),
        blob.set_http_headers,
        lambda **given: blob.stage_block("1", b"x", **given),
        lambda **given: blob.commit_block_list([], **given),
    ]
    for write in writes:
        failing(412, write, code="LeaseIdMissing")
        failing(412, write, lease=other, code="LeaseIdMismatchWithBlobOperation")
        write(lease=lease)
    failing(412, blob.delete_blob, code="LeaseIdMissing")
    failing(412, blob.download_blob, lease=other, code="LeaseIdMismatchWithBlobOperation")
    assert content(blob, lease=lease) == b""
    lease.renew()
    former = BlobLeaseClient(blob, lease.id)
    lease.change(other)
    failing(409, former.release, code="LeaseIdMismatchWithLeaseOperation")
    assert 0 <= lease.break_lease(1) <= 1
    assert blob.get_blob_properties().lease.state == "breaking"
    time.sleep(1.1)
    assert blob.get_blob_properties().lease.state == "broken"
    blob.upload_blob(b"free", overwrite=True)
    lease = BlobLeaseClient(blob, other)
    lease.acquire()
    assert (lease.id, blob.get_blob_properties().lease.duration) == (other, "infinite")
    assert lease.break_lease() == 0
    lease.release()
    assert blob.get_blob_properties().lease.state == "available"
    blob.delete_blob(lease=blob.acquire_lease())
    failing(404, blob.acquire_lease, code="BlobNotFound")


def container_made(container):
    """A moment before any of its blobs."""
    return container.get_container_properties().last_modified - datetime.timedelta(seconds=2)
