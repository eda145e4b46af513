"""What is kept of blobs that are overwritten, changed or deleted: snapshots, versions and deleted blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.blob_store import OwnStore, make_collector

from millpond.blob.content import ContentStore
from millpond.blob.model import Blob, Content, ContentProperties, CopyState, ResourceName
from millpond.blob.properties import DeleteRetention, ServiceProperties
from millpond.blob.service import blobs, containers, copying, tiering
from millpond.blob.service.blobs import BlobDraft
from millpond.blob.service.conditions import NO_DEMANDS
from millpond.blob.service.listing import BlobListing, list_blobs
from millpond.blob.store import Shown, Transaction
from millpond.common.clock import DAY, SECOND, SystemClock
from millpond.common.config import BlobFeatures
from millpond.common.errors import ServiceError

CONTAINER = ResourceName("acct", "cont")
NAME = CONTAINER._replace(blob="b")
DRAFT = BlobDraft(ContentProperties(), {}, "", NO_DEMANDS, may_overwrite=True)
VERSIONING = BlobFeatures(versioning=True)
ALL = Shown(snapshots=True, versions=True, deleted=True)


class SetClock(SystemClock):
    """A clock that stands still until a test moves it."""

    moment = 1_780_000_000_000_000

    def now(self) -> int:
        return self.moment


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(tmp_path: Path, clock: SetClock) -> AsyncIterator[OwnStore]:
    store = OwnStore(tmp_path / "blob.db", clock)
    await store.write(containers.create_container, CONTAINER, {}, "")
    yield store
    await store.end()


async def retain(store: OwnStore, days: int, **more: bool) -> None:
    properties = ServiceProperties(delete_retention=DeleteRetention(days > 0, days, **more))
    await store.write(lambda transaction: transaction.put_service_properties("acct", properties))


async def put(store: OwnStore, text: str, draft: BlobDraft = DRAFT, name: ResourceName = NAME) -> Blob:
    return await store.write(blobs.put_blob, name, draft, Content(len(text), "", text.encode()))


def text_of(store: OwnStore, *, snapshot: int = 0, version: int = 0) -> str:
    data = store.read(blobs.read_blob, NAME._replace(snapshot=snapshot, version=version)).blob.data
    assert data is not None
    return data.decode()


def listed(store: OwnStore, shown: Shown = ALL) -> list[tuple[str, bool]]:
    """What a list shows, in its order: its kind, and whether it is deleted."""
    page = store.read(list_blobs, CONTAINER, BlobListing(shown=shown))
    return [(kind(item), bool(item.deleted_at)) for item in page.items if isinstance(item, Blob)]


def kind(blob: Blob) -> str:
    if blob.snapshot:
        return "snapshot"
    return "version" if blob.version and not blob.is_current else "blob"


# --- snapshots ---------------------------------------------------------------------------------------------------


async def test_a_snapshot_stays_as_the_blob_was(store: OwnStore) -> None:
    await put(store, "one")
    first = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    await put(store, "two")
    second = await store.write(blobs.snapshot_blob, NAME, {"k": "v"}, NO_DEMANDS)
    assert second.snapshot > first.snapshot
    assert [text_of(store), text_of(store, snapshot=first.snapshot), text_of(store, snapshot=second.snapshot)] == [
        "two",
        "one",
        "two",
    ]
    assert store.read(blobs.find_blob, NAME._replace(snapshot=second.snapshot)).metadata == {"k": "v"}
    assert listed(store) == [("snapshot", False), ("snapshot", False), ("blob", False)]
    assert listed(store, Shown()) == [("blob", False)]
    for moment in (second.snapshot + 1, 1):
        with pytest.raises(ServiceError, match="BlobNotFound"):
            text_of(store, snapshot=moment)


async def test_a_blob_with_snapshots_goes_with_them_or_not_at_all(store: OwnStore) -> None:
    await put(store, "one")
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    with pytest.raises(ServiceError, match="SnapshotsPresent"):
        await store.write(blobs.delete_blob, NAME, NO_DEMANDS)
    assert await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "only")
    assert listed(store) == [("blob", False)]
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    await store.write(blobs.delete_blob, NAME._replace(snapshot=snapshot.snapshot), NO_DEMANDS)
    await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "include")
    assert listed(store) == []


async def test_the_files_of_a_snapshot_live_as_long_as_it(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, DRAFT, Content(100_000, "f1", None))
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    await put(store, "two")
    assert store.read(Transaction.list_garbage, 9) == []
    reading = store.read(blobs.read_blob, NAME._replace(snapshot=snapshot.snapshot))
    assert [segment.file for segment in reading.segments] == ["f1"]
    await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "only")
    assert store.read(Transaction.list_garbage, 9) == ["f1"]


async def test_a_copy_of_its_own_snapshot_brings_a_blob_back(store: OwnStore) -> None:
    await put(store, "one")
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    await put(store, "two")
    await store.write(
        copying.copy_blob,
        NAME._replace(snapshot=snapshot.snapshot),
        NAME,
        DRAFT,
        CopyState("id", "url", 5),
    )
    assert text_of(store) == "one"
    assert listed(store) == [("snapshot", False), ("blob", False)]


# --- versions ----------------------------------------------------------------------------------------------------


async def test_every_write_makes_a_version_and_keeps_the_one_before(store: OwnStore) -> None:
    versioned = DRAFT._replace(features=VERSIONING)
    first = await put(store, "one", versioned)
    second = await put(store, "two", versioned)
    third = await store.write(blobs.set_blob_metadata, NAME, {"k": "3"}, NO_DEMANDS, VERSIONING)
    assert 0 < first.version < second.version < third.version
    assert [text_of(store, version=each.version) for each in (first, second, third)] == ["one", "two", "two"]
    assert store.read(blobs.find_blob, NAME._replace(version=second.version)).metadata == {}
    assert store.read(blobs.find_blob, NAME._replace(version=third.version)).is_current
    assert listed(store) == [("version", False), ("version", False), ("blob", False)]


async def test_a_deleted_blob_lives_on_as_versions_one_of_which_can_be_made_the_blob_again(store: OwnStore) -> None:
    versioned = DRAFT._replace(features=VERSIONING)
    first = await put(store, "one", versioned)
    await put(store, "two", versioned)
    with pytest.raises(ServiceError, match="OperationNotAllowedOnRootBlob"):
        current = store.read(blobs.find_blob, NAME).version
        await store.write(blobs.delete_blob, NAME._replace(version=current), NO_DEMANDS, "", VERSIONING)
    assert not await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "", VERSIONING)
    with pytest.raises(ServiceError, match="BlobNotFound"):
        text_of(store)
    assert listed(store) == [("version", False), ("version", False)]
    assert len(listed(store, Shown(last_versions=True))) == 1
    await store.write(
        copying.copy_blob,
        NAME._replace(version=first.version),
        NAME,
        versioned,
        CopyState("id", "url", 5),
    )
    assert text_of(store) == "one"
    assert listed(store) == [("version", False), ("version", False), ("blob", False)]
    await store.write(blobs.delete_blob, NAME._replace(version=first.version), NO_DEMANDS, "", VERSIONING)
    assert listed(store) == [("version", False), ("blob", False)]


async def test_a_blob_from_before_versioning_is_kept_too_and_one_from_after_is_not(store: OwnStore) -> None:
    await put(store, "before")
    await put(store, "with", DRAFT._replace(features=VERSIONING))
    assert listed(store) == [("version", False), ("blob", False)]
    await put(store, "after")
    await put(store, "later")
    assert listed(store) == [("version", False), ("version", False), ("blob", False)]
    assert store.read(blobs.find_blob, NAME).version == 0


async def test_a_snapshot_begins_a_version(store: OwnStore) -> None:
    first = await put(store, "one", DRAFT._replace(features=VERSIONING))
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS, VERSIONING)
    current = store.read(blobs.find_blob, NAME)
    assert snapshot.version == current.version > first.version
    assert sorted(listed(store)) == [("blob", False), ("snapshot", False), ("version", False)]


# --- soft delete -------------------------------------------------------------------------------------------------


async def test_what_is_deleted_can_be_brought_back_with_its_snapshots(store: OwnStore) -> None:
    await retain(store, 7)
    await put(store, "one")
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    assert not await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "include")
    assert listed(store) == [("snapshot", True), ("blob", True)]
    assert listed(store, Shown(snapshots=True)) == []
    for moment in (0, snapshot.snapshot):
        with pytest.raises(ServiceError, match="BlobNotFound"):
            text_of(store, snapshot=moment)
    await store.write(blobs.undelete_blob, NAME)
    assert listed(store) == [("snapshot", False), ("blob", False)]
    assert text_of(store) == "one"
    with pytest.raises(ServiceError, match="BlobNotFound"):
        await store.write(blobs.undelete_blob, NAME._replace(blob="nothing"))


async def test_what_is_overwritten_is_a_deleted_snapshot(store: OwnStore) -> None:
    await retain(store, 7)
    await put(store, "one")
    await put(store, "two")
    assert listed(store) == [("snapshot", True), ("blob", False)]
    await store.write(blobs.delete_blob, NAME, NO_DEMANDS)
    await put(store, "three")
    assert listed(store) == [("snapshot", True), ("snapshot", True), ("blob", False)]
    await store.write(blobs.undelete_blob, NAME)
    texts = [
        text_of(store, snapshot=blob.snapshot)
        for blob in store.read(lambda transaction: transaction.list_history(1, "b"))
    ]
    assert (texts, text_of(store)) == (["one", "two"], "three")


async def test_metadata_are_overwritten_for_good_without_versioning(store: OwnStore) -> None:
    await retain(store, 7)
    await put(store, "one")
    await store.write(blobs.set_blob_metadata, NAME, {"k": "v"}, NO_DEMANDS)
    assert listed(store) == [("blob", False)]


async def test_what_is_due_goes_with_its_files(store: OwnStore, tmp_path: Path, clock: SetClock) -> None:
    content = ContentStore(tmp_path, clock)
    await retain(store, 2)
    file, descriptor = content.create()
    content.sync(descriptor)
    await store.write(blobs.put_blob, NAME, DRAFT, Content(100_000, file, None))
    content.publish(file)
    await store.write(blobs.delete_blob, NAME, NO_DEMANDS)
    for days, count in ((1, 1), (2, 0)):
        clock.moment = SetClock.moment + days * DAY
        collector = make_collector(store, content, clock)
        collector.start()
        while count == 0 and any(path.is_file() for path in (tmp_path / "content").rglob("*")):
            await store.read_long(lambda _: None)
        await collector.stop()
        assert len(listed(store)) == count
    content.close()


async def test_permanent_deletion_needs_leave_and_something_deleted(store: OwnStore) -> None:
    await retain(store, 7)
    await put(store, "one")
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    named = NAME._replace(snapshot=snapshot.snapshot)
    with pytest.raises(ServiceError, match="PermanentDeleteNotAllowed"):
        await store.write(blobs.delete_permanently, named, NO_DEMANDS)
    await retain(store, 7, allow_permanent_delete=True)
    with pytest.raises(ServiceError, match="BlobNotFound"):
        await store.write(blobs.delete_permanently, named, NO_DEMANDS)
    await store.write(blobs.delete_blob, named, NO_DEMANDS)
    await store.write(blobs.delete_permanently, named, NO_DEMANDS)
    assert listed(store) == [("blob", False)]


# --- containers --------------------------------------------------------------------------------------------------


async def test_a_deleted_container_comes_back_with_its_blobs(store: OwnStore, clock: SetClock) -> None:
    await put(store, "one")
    kept = BlobFeatures(container_retention_days=7)
    await store.write(containers.delete_container, CONTAINER, NO_DEMANDS, kept)
    with pytest.raises(ServiceError, match="ContainerNotFound"):
        text_of(store)
    await store.write(containers.create_container, CONTAINER, {}, "")
    page = store.read(containers.list_containers, "acct", prefix="", first="", count=9, with_deleted=True)
    assert [bool(container.deleted_at) for container in page.containers] == [False, True]
    version = containers.version_of(page.containers[1])
    with pytest.raises(ServiceError, match="ContainerAlreadyExists"):
        await store.write(containers.restore_container, CONTAINER, "cont", version)
    other = ResourceName("acct", "restored")
    for wrong in ("0" * 16, "x", version[:-1] + "X"):
        with pytest.raises(ServiceError, match="ContainerNotFound"):
            await store.write(containers.restore_container, other, "cont", wrong)
    await store.write(containers.restore_container, other, "cont", version)
    assert store.read(blobs.read_blob, other._replace(blob="b")).blob.data == b"one"
    assert len(store.read(containers.list_containers, "acct", prefix="", first="", count=9).containers) == 2


# --- tiers -------------------------------------------------------------------------------------------------------


async def test_an_archived_blob_is_not_read_until_it_is_back(store: OwnStore, clock: SetClock) -> None:
    await put(store, "one", DRAFT._replace(access_tier="Archive"))
    for change in (
        lambda: store.read(blobs.read_blob, NAME),
        lambda: store.read(blobs.find_blob_to_change, NAME, NO_DEMANDS),
    ):
        with pytest.raises(ServiceError, match="BlobArchived"):
            change()
    blob = await store.write(tiering.set_tier, NAME, "Cool", "", NO_DEMANDS)
    assert (blob.access_tier, blob.tiering.target, blob.tiering.priority) == ("Archive", "Cool", "Standard")
    with pytest.raises(ServiceError, match="BlobBeingRehydrated"):
        text_of(store)
    with pytest.raises(ServiceError, match="BlobBeingRehydrated"):
        await store.write(tiering.set_tier, NAME, "Hot", "High", NO_DEMANDS)
    hurried = await store.write(tiering.set_tier, NAME, "Cool", "High", NO_DEMANDS)
    assert hurried.tiering.due_at < blob.tiering.due_at
    clock.moment = hurried.tiering.due_at - SECOND
    assert store.read(blobs.find_blob, NAME).access_tier == "Archive"
    clock.moment = hurried.tiering.due_at
    back = store.read(blobs.find_blob, NAME)
    assert (back.access_tier, back.tiering.target, back.tiering.changed_at) == ("Cool", "", clock.moment)
    assert text_of(store) == "one"
