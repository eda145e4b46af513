"""Containers: create, delete, properties, metadata, access, lists of them, ``$root``, ``$web`` and ``$logs``."""

import datetime

import requests
from azure.common import AzureException
from common import LATER, NAME, NOW, VERSION, blocks, checks, failing, models, new_container, signed


@checks.of("BaseBlobService.create_container", "BaseBlobService.delete_container", "BaseBlobService.exists")
def from_creation_to_deletion():
    name = f"{NAME}-first"
    assert not blocks.exists(name)
    assert blocks.create_container(name, metadata={"Owner": "me"}, timeout=20)
    assert blocks.exists(name)
    assert not blocks.create_container(name)
    failing(409, blocks.create_container, name, fail_on_exist=True, code="ContainerAlreadyExists")
    tomorrow = NOW + datetime.timedelta(days=1)
    failing(412, blocks.delete_container, name, if_modified_since=tomorrow, code="ConditionNotMet", fail_not_exist=True)
    assert blocks.delete_container(name, if_unmodified_since=tomorrow)
    assert not blocks.exists(name)
    assert not blocks.delete_container(name)
    failing(404, blocks.delete_container, name, fail_not_exist=True, code="ContainerNotFound")


@checks.of(
    "BaseBlobService.get_container_properties",
    "BaseBlobService.get_container_metadata",
    "BaseBlobService.set_container_metadata",
)
def properties_and_metadata():
    name = new_container("metadata", metadata={"Owner": "me", "_1": "two words"}, public_access="blob")
    found = blocks.get_container_properties(name)
    assert {key.lower(): value for key, value in found.metadata.items()} == {"owner": "me", "_1": "two words"}
    assert found.properties.etag
    assert found.properties.last_modified
    assert (found.properties.lease.status, found.properties.lease.state) == ("unlocked", "available")
    listed = next(each for each in blocks.list_containers(name) if each.name == name)
    assert listed.properties.public_access == "blob"
    if VERSION >= (2, 0):
        assert found.properties.public_access == "blob"
        assert (found.properties.has_immutability_policy, found.properties.has_legal_hold) == (False, False)
    changed = blocks.set_container_metadata(name, {"B": "2"}, if_modified_since=NOW - datetime.timedelta(days=1))
    assert changed.etag not in ("", found.properties.etag)
    assert {key.lower(): value for key, value in blocks.get_container_metadata(name).items()} == {"b": "2"}
    blocks.set_container_metadata(name)
    assert not blocks.get_container_metadata(name)
    tomorrow = NOW + datetime.timedelta(days=1)
    failing(412, blocks.set_container_metadata, name, {"b": "3"}, if_modified_since=tomorrow)
    failing(404, blocks.get_container_properties, f"{name}-gone")


@checks.of("BaseBlobService.get_container_acl", "BaseBlobService.set_container_acl")
def access():
    name = new_container("access")
    blocks.create_blob_from_text(name, "b", "hello")
    url = blocks.make_blob_url(name, "b")
    assert requests.get(url, timeout=30).status_code in (401, 404, 409)
    policies = {
        "reading": models.AccessPolicy("r", LATER, NOW - datetime.timedelta(minutes=5)),
        "past": models.AccessPolicy("r", NOW - datetime.timedelta(hours=1)),
        "empty": models.AccessPolicy(),
    }
    before = blocks.get_container_properties(name).properties.etag
    assert blocks.set_container_acl(name, policies, public_access="container").etag != before
    found = blocks.get_container_acl(name)
    assert (sorted(found), found.public_access) == (["empty", "past", "reading"], "container")
    assert found["reading"].permission == "r"
    assert requests.get(url, timeout=30).content == b"hello"
    listed = requests.get(url[: -len("/b")], params={"restype": "container", "comp": "list"}, timeout=30)
    assert b"<Name>b</Name>" in listed.content
    blocks.set_container_acl(name, policies)
    assert blocks.get_container_acl(name).public_access is None
    for policy, status in (("reading", 200), ("past", 403), ("unknown", 403)):
        for token in (
            blocks.generate_blob_shared_access_signature(name, "b", id=policy),
            blocks.generate_container_shared_access_signature(name, id=policy),
        ):
            answer = requests.get(blocks.make_blob_url(name, "b", sas_token=token), timeout=30)
            assert answer.status_code == status, (policy, answer.text)
    blocks.set_container_acl(name)
    assert not list(blocks.get_container_acl(name))
    tomorrow = NOW + datetime.timedelta(days=1)
    failing(412, blocks.set_container_acl, name, policies, if_modified_since=tomorrow, code="ConditionNotMet")
    six = {f"p{number}": models.AccessPolicy("r", LATER) for number in range(6)}
    try:
        blocks.set_container_acl(name, six)
    except AzureException as failure:
        assert "Too many access policies" in str(failure), failure  # the library counts itself


@checks.of("BaseBlobService.list_containers")
def lists():
    names = [new_container(f"listed-{number}", metadata={"Number": str(number)}) for number in range(5)]
    prefix = names[0][:-1]
    assert [each.name for each in blocks.list_containers(prefix)] == names
    first = blocks.list_containers(prefix, num_results=2)
    assert [each.name for each in first] == names[:2]
    assert [each.name for each in blocks.list_containers(prefix, marker=first.next_marker)] == names[2:]
    found = list(blocks.list_containers(prefix, include_metadata=True, timeout=20))
    assert [next(iter(each.metadata.values())) for each in found] == ["0", "1", "2", "3", "4"]
    assert found[0].properties.etag
    assert found[0].properties.last_modified
    assert all(each.metadata is None for each in blocks.list_containers(prefix))
    lease = blocks.acquire_container_lease(names[0])
    found = next(iter(blocks.list_containers(prefix)))
    state = found.properties.lease.state or found.properties.lease_state  # 2.1 puts it beside
    assert state == "leased", vars(found.properties)
    blocks.release_container_lease(names[0], lease)


@checks.of("BaseBlobService.create_container", "BaseBlobService.get_blob_to_text")
def special_names():
    for container in ("$root", "$web"):
        blocks.create_container(container)
        blob = f"{NAME}.txt"
        blocks.create_blob_from_text(container, blob, container)
        assert blocks.get_blob_to_text(container, blob).content == container
        assert blob in [each.name for each in blocks.list_blobs(container, prefix=NAME)]
        blocks.delete_blob(container, blob)
    blocks.create_blob_from_text("$root", NAME, "at the root")
    assert blocks.get_blob_to_text("$root", NAME).content == "at the root"
    token = blocks.generate_blob_shared_access_signature("$root", NAME, permission="r", expiry=LATER)
    assert signed(token).get_blob_to_text("$root", NAME).content == "at the root"
    url = blocks.make_blob_url("$root", NAME, sas_token=token).replace("$root/", "")
    assert requests.get(url, timeout=30).content == b"at the root"
    failing(400, blocks.create_container, "No_Capitals", fail_on_exist=True, code="InvalidResourceName")
