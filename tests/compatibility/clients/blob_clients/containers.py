"""Containers: create, delete, restore, properties, metadata, access, lists of them, special names."""

import datetime

from azure.storage.blob import AccessPolicy, ContainerSasPermissions
from common import (
    ACCOUNT,
    EARLIER,
    KEY,
    LATER,
    NAME,
    NOW,
    VERSION,
    checks,
    content,
    failing,
    fetch,
    kept,
    library,
    new_container,
    readable,
    service,
)

TOMORROW = NOW + datetime.timedelta(days=1)


@checks.of(
    "BlobServiceClient.create_container",
    "BlobServiceClient.delete_container",
    "ContainerClient.create_container",
    "ContainerClient.delete_container",
)
def from_creation_to_deletion():
    name = f"{NAME}-first"
    container = service.create_container(name, metadata={"Owner": "me"}, timeout=20)
    failing(409, service.create_container, name, code="ContainerAlreadyExists")
    failing(409, container.create_container, code="ContainerAlreadyExists")
    failing(412, service.delete_container, name, if_modified_since=TOMORROW, code="ConditionNotMet")
    service.delete_container(name)
    failing(404, service.delete_container, name, code="ContainerNotFound")
    created = container.create_container(metadata={"a": "1"}, public_access="blob")
    found = container.get_container_properties()
    assert (found.etag, found.metadata, found.public_access) == (created["etag"], {"a": "1"}, "blob")
    container.delete_container(if_unmodified_since=TOMORROW)
    failing(404, container.delete_container, code="ContainerNotFound")
    failing(400, service.create_container, "No_Capitals", code="InvalidResourceName")


@checks.of("ContainerClient.exists", unless=VERSION < (12, 8))
def existence():
    container = service.get_container_client(f"{NAME}-container-existence")
    assert not container.exists()
    container.create_container()
    assert container.exists()


@checks.of("ContainerClient.get_container_properties", "ContainerClient.set_container_metadata")
def properties_and_metadata():
    container = new_container("metadata", metadata={"Owner": "me", "_1": "two words"}, public_access="container")
    found = container.get_container_properties()
    assert (found.name, found.metadata) == (container.container_name, {"Owner": "me", "_1": "two words"})
    assert (found.public_access, found.lease.state, found.lease.status) == ("container", "available", "unlocked")
    assert (found.has_immutability_policy, found.has_legal_hold) == (False, False)
    assert found.etag
    assert found.last_modified
    changed = container.set_container_metadata({"B": "2"}, if_modified_since=EARLIER)
    assert changed["etag"] != found.etag
    assert container.get_container_properties().metadata == {"B": "2"}
    container.set_container_metadata()
    assert not container.get_container_properties().metadata
    failing(412, container.set_container_metadata, {"b": "3"}, if_modified_since=TOMORROW, code="ConditionNotMet")
    failing(404, service.get_container_client(f"{NAME}-gone").get_container_properties, code="ContainerNotFound")


@checks.of("ContainerClient.get_container_access_policy", "ContainerClient.set_container_access_policy")
def access():
    container = new_container("access")
    blob = container.upload_blob("b", b"hello")
    assert fetch(blob.url)[0] in (401, 404, 409)
    policies = {
        "reading": AccessPolicy(ContainerSasPermissions(read=True), expiry=LATER, start=EARLIER),
        "past": AccessPolicy("r", expiry=EARLIER, start=EARLIER - datetime.timedelta(hours=1)),
        "empty": None,
    }
    etag = container.get_container_properties().etag
    assert container.set_container_access_policy(dict(policies), public_access="container")["etag"] != etag
    found = container.get_container_access_policy()
    assert [each.id for each in found["signed_identifiers"]] == list(policies)
    assert (found["signed_identifiers"][0].access_policy.permission, found["public_access"]) == ("r", "container")
    assert fetch(blob.url)[2] == b"hello"
    assert b"<Name>b</Name>" in fetch(f"{container.url}?restype=container&comp=list")[2]
    container.set_container_access_policy(dict(policies))
    assert container.get_container_access_policy()["public_access"] is None
    for policy, status in (("reading", 200), ("past", 403), ("unknown", 403)):
        for token in (
            library.generate_blob_sas(ACCOUNT, container.container_name, "b", account_key=KEY, policy_id=policy),
            library.generate_container_sas(ACCOUNT, container.container_name, account_key=KEY, policy_id=policy),
        ):
            assert fetch(f"{blob.url}?{token}")[0] == status, policy
    container.set_container_access_policy({})
    assert container.get_container_access_policy()["signed_identifiers"] == []
    failing(412, container.set_container_access_policy, {}, if_modified_since=TOMORROW, code="ConditionNotMet")


@checks.of("BlobServiceClient.list_containers")
def lists():
    names = [new_container(f"listed-{number}", metadata={"Number": str(number)}).container_name for number in range(5)]
    prefix = names[0][:-1]
    pages = service.list_containers(prefix, results_per_page=2).by_page()
    assert [[each.name for each in page] for page in pages] == [names[:2], names[2:4], names[4:]]
    pages = service.list_containers(prefix, results_per_page=2).by_page()
    next(pages)
    again = service.list_containers(prefix, results_per_page=2).by_page(pages.continuation_token)
    assert [each.name for page in again for each in page] == names[2:]
    found = list(service.list_containers(prefix, include_metadata=True, timeout=20))
    assert [each.metadata for each in found] == [{"Number": str(number)} for number in range(5)]
    assert found[0].etag == service.get_container_client(names[0]).get_container_properties().etag
    assert found[0].last_modified
    assert found[0].lease.state == "available"
    assert all(not each.metadata for each in service.list_containers(prefix))


@checks.of("BlobServiceClient.undelete_container", "BlobServiceClient.list_containers", unless=VERSION < (12, 8))
def restored():
    container = new_container("restored", of=kept, metadata={"a": "1"})
    container.upload_blob("b", b"hello")
    container.delete_container()
    name = container.container_name
    (found,) = kept.list_containers(name, include_deleted=True, include_metadata=True)
    assert (found.deleted, bool(found.version), found.metadata) == (True, True, {"a": "1"})
    assert list(kept.list_containers(name)) == []
    failing(404, kept.undelete_container, name, "00000000000000AA")
    again = kept.undelete_container(name, found.version)
    assert content(again.get_blob_client("b")) == b"hello"
    assert again.get_container_properties().metadata == {"a": "1"}


@checks.of("ContainerClient.upload_blob", "ContainerClient.delete_blob")
def special_names():
    for name in ("$root", "$web"):
        container = service.get_container_client(name)
        if name not in [each.name for each in service.list_containers(name)]:
            container.create_container()
        blob = container.upload_blob(f"{NAME}.txt", name, overwrite=True)
        assert content(blob) == name.encode()
        assert f"{NAME}.txt" in [each.name for each in container.list_blobs(name_starts_with=NAME)]
        if name == "$root":
            at_root = readable(blob).replace("/$root/", "/").replace("/%24root/", "/")
            assert fetch(at_root)[2] == b"$root"
        container.delete_blob(f"{NAME}.txt")
        assert f"{NAME}.txt" not in [each.name for each in container.list_blobs(name_starts_with=NAME)]
    logs = service.get_container_client("$logs")
    service.set_service_properties(analytics_logging=library.BlobAnalyticsLogging(write=True))
    assert list(logs.list_blobs()) == []
