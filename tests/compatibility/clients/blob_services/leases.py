"""Leases of containers and blobs, and what they guard."""

import time
import uuid

from common import blocks, checks, failing, new_container, properties


@checks.of(
    "BaseBlobService.acquire_container_lease",
    "BaseBlobService.renew_container_lease",
    "BaseBlobService.change_container_lease",
    "BaseBlobService.break_container_lease",
    "BaseBlobService.release_container_lease",
)
def of_containers():
    name = new_container("leased")
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    assert blocks.acquire_container_lease(name, lease_duration=15, proposed_lease_id=first) == first
    lease = blocks.get_container_properties(name).properties.lease
    assert (lease.state, lease.status, lease.duration) == ("leased", "locked", "fixed")
    failing(409, blocks.acquire_container_lease, name, code="LeaseAlreadyPresent")
    failing(412, blocks.delete_container, name, fail_not_exist=True, code="LeaseIdMissing")
    blocks.set_container_metadata(name, {"a": "1"})  # a lease guards nothing but deletion
    blocks.set_container_metadata(name, {"a": "1"}, lease_id=first)
    failing(412, blocks.set_container_metadata, name, {"a": "1"}, lease_id=second)
    assert blocks.renew_container_lease(name, first) == first
    blocks.change_container_lease(name, first, second)
    failing(409, blocks.renew_container_lease, name, first, code="LeaseIdMismatchWithLeaseOperation")
    assert 0 <= int(blocks.break_container_lease(name, lease_break_period=1)) <= 1
    assert blocks.get_container_properties(name).properties.lease.state == "breaking"
    time.sleep(1.1)
    assert blocks.get_container_properties(name).properties.lease.state == "broken"
    failing(409, blocks.renew_container_lease, name, second, code="LeaseIsBrokenAndCannotBeRenewed")
    third = blocks.acquire_container_lease(name)
    assert blocks.get_container_properties(name, lease_id=third).properties.lease.duration == "infinite"
    blocks.release_container_lease(name, third)
    assert blocks.get_container_properties(name).properties.lease.state == "available"
    fourth = blocks.acquire_container_lease(name)
    assert blocks.delete_container(name, lease_id=fourth)


@checks.of(
    "BaseBlobService.acquire_blob_lease",
    "BaseBlobService.renew_blob_lease",
    "BaseBlobService.change_blob_lease",
    "BaseBlobService.break_blob_lease",
    "BaseBlobService.release_blob_lease",
)
def of_blobs():
    container, other = new_container("leases"), str(uuid.uuid4())
    blocks.create_blob_from_text(container, "b", "one")
    etag = properties(container, "b").etag
    failing(412, blocks.acquire_blob_lease, container, "b", if_none_match=etag, code="ConditionNotMet")
    lease = blocks.acquire_blob_lease(container, "b", lease_duration=60, if_match=etag)
    found = properties(container, "b").lease
    assert (found.state, found.status, found.duration) == ("leased", "locked", "fixed")
    (listed,) = blocks.list_blobs(container)
    assert (listed.properties.lease.state, listed.properties.lease.duration) == ("leased", "fixed")
    failing(409, blocks.acquire_blob_lease, container, "b", code="LeaseAlreadyPresent")
    writes = [
        (blocks.create_blob_from_text, ("two",)),
        (blocks.set_blob_metadata, ({"a": "1"},)),
        (blocks.set_blob_properties, ()),
        (blocks.put_block, (b"x", "AAAA")),
        (blocks.put_block_list, ([],)),
    ]
    for write, arguments in writes:
        failing(412, write, container, "b", *arguments, code="LeaseIdMissing")
        failing(412, write, container, "b", *arguments, lease_id=other, code="LeaseIdMismatchWithBlobOperation")
        write(container, "b", *arguments, lease_id=lease)
    failing(412, blocks.delete_blob, container, "b", code="LeaseIdMissing")
    failing(412, blocks.get_blob_to_bytes, container, "b", lease_id=other, code="LeaseIdMismatchWithBlobOperation")
    assert blocks.get_blob_to_bytes(container, "b", lease_id=lease).content == b""
    assert blocks.renew_blob_lease(container, "b", lease) == lease
    blocks.change_blob_lease(container, "b", lease, other)
    failing(409, blocks.release_blob_lease, container, "b", lease, code="LeaseIdMismatchWithLeaseOperation")
    assert 0 <= int(blocks.break_blob_lease(container, "b", lease_break_period=1)) <= 1
    assert properties(container, "b").lease.state == "breaking"
    time.sleep(1.1)
    assert properties(container, "b").lease.state == "broken"
    blocks.create_blob_from_text(container, "b", "free")
    lease = blocks.acquire_blob_lease(container, "b", proposed_lease_id=other)
    assert (lease, properties(container, "b").lease.duration) == (other, "infinite")
    assert int(blocks.break_blob_lease(container, "b")) == 0
    blocks.release_blob_lease(container, "b", lease)
    assert properties(container, "b").lease.state == "available"
    lease = blocks.acquire_blob_lease(container, "b")
    blocks.delete_blob(container, "b", lease_id=lease)
    failing(404, blocks.acquire_blob_lease, container, "b", code="BlobNotFound")
