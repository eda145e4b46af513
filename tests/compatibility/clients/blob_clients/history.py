"""Versions, and blobs that may not change."""

import datetime

from common import NOW, VERSION, checks, content, failing, kept, library, new_container


@checks.of("BlobClient.upload_blob", "BlobClient.delete_blob", "ContainerClient.list_blobs", unless=VERSION < (12, 8))
def versions():
    container = new_container("versions", of=kept)
    blob = container.get_blob_client("b")
    first = blob.upload_blob(b"one")["version_id"]
    second = blob.upload_blob(b"two", overwrite=True)["version_id"]
    third = blob.set_blob_metadata({"a": "1"})["version_id"]
    assert first < second < third
    found = list(container.list_blobs(include=["versions"]))
    assert [(each.version_id, bool(each.is_current_version)) for each in found] == [
        (first, False),
        (second, False),
        (third, True),
    ]
    given = {"version_id": first}
    if VERSION >= (12, 19):
        past = container.get_blob_client("b", version_id=first)
        assert content(past) == b"one"
        assert content(blob, **given) == b"one"
    assert blob.get_blob_properties(**given).is_current_version in (False, None)
    assert blob.get_blob_properties().version_id == third
    copy = container.get_blob_client("copy")
    copy.start_copy_from_url(f"{blob.url}?versionid={first}")
    assert content(copy) == b"one"
    blob.delete_blob()
    failing(404, blob.get_blob_properties)
    found = [each.version_id for each in container.list_blobs("b", include=["versions"])]
    assert found == [first, second, third]
    blob.delete_blob(version_id=second)
    assert [each.version_id for each in container.list_blobs("b", include=["versions"])] == [first, third]


@checks.of(
    "BlobClient.set_immutability_policy",
    "BlobClient.delete_immutability_policy",
    "BlobClient.set_legal_hold",
    unless=VERSION < (12, 19),
)
def immutability():
    container = new_container("immutable", of=kept)
    blob = container.upload_blob("b", b"hello")
    until = (NOW + datetime.timedelta(days=1)).replace(microsecond=0)
    policy = library.ImmutabilityPolicy(expiry_time=until, policy_mode="Unlocked")
    assert blob.set_immutability_policy(policy)["immutability_policy_mode"].lower() == "unlocked"
    found = blob.get_blob_properties().immutability_policy
    assert (found.expiry_time.replace(tzinfo=datetime.timezone.utc), found.policy_mode) == (until, "unlocked")
    (listed,) = container.list_blobs(include=["immutabilitypolicy", "legalhold"])
    assert (listed.immutability_policy.policy_mode.lower(), bool(listed.has_legal_hold)) == ("unlocked", False)
    failing(409, blob.set_blob_metadata, {"a": "1"}, code="BlobImmutableDueToPolicy")
    failing(409, container.delete_container)
    blob.delete_immutability_policy()
    assert blob.set_legal_hold(True)["legal_hold"] is True
    assert blob.get_blob_properties().has_legal_hold is True
    failing(409, blob.set_blob_metadata, {"a": "1"}, code="BlobImmutableDueToLegalHold")
    blob.set_legal_hold(False)
    blob.set_blob_metadata({"a": "1"})
