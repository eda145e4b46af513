"""The rules of containers, blobs, blocks, copies and lists, on a real database."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.blob_store import OwnStore

from millpond.blob.model import (
    Blob,
    Content,
    ContentProperties,
    CopyState,
    ResourceName,
    StoredPolicy,
)
from millpond.blob.service import blobs, blocks, containers, copying
from millpond.blob.service.blobs import BlobDraft, RangeError, Span
from millpond.blob.service.conditions import NO_DEMANDS, Demands
from millpond.blob.service.listing import BlobListing, BlobPrefix, list_blobs
from millpond.blob.store import Shown
from millpond.common.clock import SystemClock, to_etag
from millpond.common.conditions import Conditions
from millpond.common.errors import ServiceError

CONTAINER = ResourceName("acct", "cont")
BLOB = CONTAINER._replace(blob="b")
DRAFT = BlobDraft(ContentProperties(), {}, "", NO_DEMANDS, may_overwrite=True)
ONLY_NEW = Demands(Conditions(if_none_match=("*",)))


def inline(data: bytes) -> Content:
    return Content(len(data), "", data)


def file(name: str, size: int) -> Content:
    return Content(size, name, None)


def block_id(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[OwnStore]:
    store = OwnStore(tmp_path / "blob.db", SystemClock())
    await store.write(containers.create_container, CONTAINER, {}, "")
    yield store
    await store.end()


async def put(store: OwnStore, name: str, content: Content, draft: BlobDraft = DRAFT) -> Blob:
    return await store.write(blobs.put_blob, CONTAINER._replace(blob=name), draft, content)


async def put_block(store: OwnStore, text: str, content: Content) -> None:
    await store.write(blocks.put_block, BLOB, block_id(text), content)


async def commit(store: OwnStore, *texts: str, draft: BlobDraft = DRAFT, source: str = "Latest") -> Blob:
    listed = [(source, block_id(text)) for text in texts]
    return await store.write(blocks.put_block_list, BLOB, draft, listed)  # type: ignore[arg-type]


def bytes_of(store: OwnStore, span: Span | None = None, name: ResourceName = BLOB) -> bytes | list[str]:
    """The bytes of a small blob, or the files that those of another one are in."""
    reading = store.read(blobs.read_blob, name, NO_DEMANDS, span)
    if reading.blob.data is not None:
        return reading.blob.data[reading.begin : reading.end]
    return [segment.file for segment in reading.segments]


def garbage(store: OwnStore) -> set[str]:
    return set(store.read(lambda transaction: transaction.list_garbage(1000)))


# --- containers --------------------------------------------------------------------------------------------------


async def test_a_container_is_made_once_and_after_its_deletion_again(store: OwnStore) -> None:
    with pytest.raises(ServiceError, match="ContainerAlreadyExists"):
        await store.write(containers.create_container, CONTAINER, {}, "")
    await put(store, "b", inline(b"old"))
    await store.write(containers.delete_container, CONTAINER, NO_DEMANDS)
    with pytest.raises(ServiceError, match="ContainerNotFound"):
        store.read(containers.get_container, CONTAINER)
    await store.write(containers.create_container, CONTAINER, {"k": "v"}, "blob")
    assert store.read(containers.get_container, CONTAINER).metadata == {"k": "v"}
    with pytest.raises(ServiceError, match="BlobNotFound"):
        store.read(blobs.read_blob, BLOB)


async def test_accounts_have_containers_of_their_own(store: OwnStore) -> None:
    other = CONTAINER._replace(account="other")
    with pytest.raises(ServiceError, match="ContainerNotFound"):
        store.read(containers.get_container, other)
    await store.write(containers.create_container, other, {}, "")
    page = store.read(containers.list_containers, "other", prefix="", first="", count=10)
    assert [container.account for container in page.containers] == ["other"]


async def test_a_change_of_a_container_moves_its_etag_even_within_a_microsecond(store: OwnStore) -> None:
    before = store.read(containers.get_container, CONTAINER)
    changed = await store.write(containers.set_container_metadata, CONTAINER, {"a": "1"}, NO_DEMANDS)
    assert changed.last_modified > before.last_modified
    stale = Demands(Conditions(if_match=(to_etag(before.last_modified),)))
    with pytest.raises(ServiceError, match="ConditionNotMet"):
        await store.write(containers.delete_container, CONTAINER, stale)


async def test_five_policies_with_ids_of_their_own_are_kept(store: OwnStore) -> None:
    policies = tuple(StoredPolicy(str(number), permissions="r") for number in range(5))
    await store.write(containers.set_container_acl, CONTAINER, policies, "container", NO_DEMANDS)
    found = store.read(containers.get_container, CONTAINER)
    assert (found.policies, found.public_access) == (policies, "container")
    for bad in ((*policies, StoredPolicy("5")), (policies[0], policies[0]), (StoredPolicy("x" * 65),)):
        with pytest.raises(ServiceError, match="InvalidXmlDocument"):
            await store.write(containers.set_container_acl, CONTAINER, bad, "", NO_DEMANDS)


async def test_containers_are_listed_by_name_in_pages(store: OwnStore) -> None:
    for name in ("aaa", "abc", "abd", "zzz"):
        await store.write(containers.create_container, ResourceName("acct", name), {}, "")
    first = store.read(containers.list_containers, "acct", prefix="a", first="", count=2)
    assert [container.name for container in first.containers] == ["aaa", "abc"]
    assert first.following
    assert first.following.name == "abd"
    last = store.read(containers.list_containers, "acct", prefix="a", first="abd", count=2)
    assert ([container.name for container in last.containers], last.following) == (["abd"], None)


# --- blobs -------------------------------------------------------------------------------------------------------


async def test_a_blob_is_replaced_whole(store: OwnStore) -> None:
    first = await put(store, "b", file("f1", 100_000), DRAFT._replace(metadata={"a": "1"}))
    second = await put(store, "b", inline(b"short"))
    assert second.last_modified > first.last_modified
    assert (second.metadata, bytes_of(store)) == ({}, b"short")
    assert garbage(store) == {"f1"}


async def test_only_a_new_blob_is_made_where_nothing_may_be_replaced(store: OwnStore) -> None:
    draft = DRAFT._replace(may_overwrite=False)
    await put(store, "b", inline(b"1"), draft)
    with pytest.raises(ServiceError, match="UnauthorizedBlobOverwrite"):
        await put(store, "b", inline(b"2"), draft)
    with pytest.raises(ServiceError, match="BlobAlreadyExists"):
        await put(store, "b", inline(b"2"), DRAFT._replace(demands=ONLY_NEW))
    assert bytes_of(store) == b"1"


async def test_properties_and_metadata_change_without_the_bytes(store: OwnStore) -> None:
    before = await put(store, "b", file("f1", 100_000))
    properties = ContentProperties(content_type="a/b", content_md5=b"m" * 16)
    changed = await store.write(blobs.set_blob_properties, BLOB, properties, NO_DEMANDS)
    await store.write(blobs.set_blob_metadata, BLOB, {"k": "v"}, NO_DEMANDS)
    found = store.read(blobs.get_blob_properties, BLOB)
    assert (found.properties, found.metadata, found.created_at) == (properties, {"k": "v"}, before.created_at)
    assert before.last_modified < changed.last_modified < found.last_modified
    assert bytes_of(store) == ["f1"]


@pytest.mark.parametrize("size", [0, 1, 10])
async def test_a_range_is_cut_at_the_end_and_fails_beyond_it(store: OwnStore, size: int) -> None:
    await put(store, "b", inline(bytes(range(size))))
    for span in (Span(size), Span(size, size + 5)):
        with pytest.raises(RangeError) as failure:
            store.read(blobs.read_blob, BLOB, NO_DEMANDS, span)
        assert failure.value.size == size
    if size:
        assert bytes_of(store, Span(size - 1, 99)) == bytes([size - 1])


async def test_a_missing_blob_cannot_be_read_changed_or_deleted(store: OwnStore) -> None:
    for work in (
        lambda transaction: blobs.read_blob(transaction, BLOB),
        lambda transaction: blobs.set_blob_metadata(transaction, BLOB, {}, NO_DEMANDS),
        lambda transaction: blobs.delete_blob(transaction, BLOB, NO_DEMANDS),
        lambda transaction: blocks.get_block_list(transaction, BLOB, NO_DEMANDS),
    ):
        with pytest.raises(ServiceError, match="BlobNotFound"):
            await store.write(work)


# --- blocks ------------------------------------------------------------------------------------------------------


async def test_blocks_become_a_blob_in_the_order_of_the_list(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 3))
    await put_block(store, "2", file("f2", 100_000))
    await put_block(store, "3", file("f3", 5))
    with pytest.raises(ServiceError, match="BlobNotFound"):
        store.read(blobs.read_blob, BLOB)
    blob = await commit(store, "3", "2", "1", "3")
    assert blob.size == 100_013
    assert bytes_of(store) == ["f3", "f2", "f1", "f3"]
    assert bytes_of(store, Span(5, 6)) == ["f2"]
    assert bytes_of(store, Span(4, 5)) == ["f3"]
    assert bytes_of(store, Span(100_004, 100_009)) == ["f2", "f1", "f3"]
    lists = store.read(blocks.get_block_list, BLOB, NO_DEMANDS)
    assert [segment.block_id for segment in lists.committed] == [block_id(text) for text in "3213"]
    assert lists.uncommitted == []


async def test_a_list_takes_blocks_from_where_it_says(store: OwnStore) -> None:
    await put_block(store, "1", file("old", 3))
    await put_block(store, "2", file("f2", 5))
    await commit(store, "1", "2")
    await put_block(store, "1", file("new", 3))
    with pytest.raises(ServiceError, match="InvalidBlockList"):
        await commit(store, "2", source="Uncommitted")
    await commit(store, "1", source="Committed")
    assert bytes_of(store) == ["old"]
    assert garbage(store) == {"f2", "new"}
    with pytest.raises(ServiceError, match="InvalidBlockList"):
        await commit(store, "1", source="Uncommitted")  # all that was not in the list is gone
    await put_block(store, "1", file("newer", 3))
    await commit(store, "1")
    assert bytes_of(store) == ["newer"]


async def test_an_empty_list_makes_an_empty_blob(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 5))
    blob = await commit(store)
    assert (blob.size, bytes_of(store), garbage(store)) == (0, b"", {"f1"})


async def test_a_block_that_is_put_again_replaces_the_first(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 5))
    await put_block(store, "1", file("f2", 6))
    assert garbage(store) == {"f1"}
    assert (await commit(store, "1")).size == 6


async def test_put_blob_and_delete_drop_the_uncommitted_blocks(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 5))
    await put(store, "b", inline(b"x"))
    await put_block(store, "1", file("f2", 5))
    await store.write(blobs.delete_blob, BLOB, NO_DEMANDS)
    assert garbage(store) == {"f1", "f2"}
    with pytest.raises(ServiceError, match="BlobNotFound"):
        store.read(blocks.get_block_list, BLOB, NO_DEMANDS)


async def test_block_ids_are_base64_and_equally_long(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 1))
    with pytest.raises(ServiceError, match="InvalidBlobOrBlock"):
        await put_block(store, "long id", file("f2", 1))
    for bad in ("", "no base64", block_id("x" * 65), "QQ"):
        with pytest.raises(ServiceError, match="InvalidBlockId"):
            await store.write(blocks.put_block, BLOB, bad, file("f2", 1))


async def test_too_long_a_list_fails(store: OwnStore) -> None:
    listed: Sequence[tuple[blocks.BlockSource, str]] = [("Latest", "QQ==")] * (blocks.MAX_COMMITTED_BLOCKS + 1)
    with pytest.raises(ServiceError, match="BlockListTooLong"):
        await store.write(blocks.put_block_list, BLOB, DRAFT, listed)


async def test_a_blob_may_have_all_the_blocks_there_can_be(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 1))
    listed: Sequence[tuple[blocks.BlockSource, str]] = [("Latest", block_id("1"))] * blocks.MAX_COMMITTED_BLOCKS
    blob = await store.write_long(blocks.put_block_list, BLOB, DRAFT, listed)
    assert blob.size == blocks.MAX_COMMITTED_BLOCKS
    assert len(bytes_of(store, Span(40_000, 40_003))) == 3


# --- copies ------------------------------------------------------------------------------------------------------


async def copy(
    store: OwnStore, source: str, target: str, demands: Demands = NO_DEMANDS, draft: BlobDraft = DRAFT
) -> Blob:
    return await store.write(
        copying.copy_blob,
        CONTAINER._replace(blob=source),
        CONTAINER._replace(blob=target),
        draft,
        CopyState("id", f"http://host/{source}", 5),
        source_demands=demands,
    )


async def test_a_copy_shares_the_files_until_nobody_needs_them(store: OwnStore) -> None:
    await put(store, "b", file("f1", 100_000), DRAFT._replace(metadata={"k": "v"}))
    copied = await copy(store, "b", "copy")
    state = CopyState("id", "http://host/b", 5, copied=100_000, total=100_000)
    assert (copied.size, copied.metadata, copied.copy) == (100_000, {"k": "v"}, state)
    await store.write(blobs.delete_blob, BLOB, NO_DEMANDS)
    assert garbage(store) == set()
    assert bytes_of(store, name=CONTAINER._replace(blob="copy")) == ["f1"]
    await put(store, "copy", inline(b""))
    assert garbage(store) == {"f1"}


async def test_a_blob_may_be_copied_onto_itself(store: OwnStore) -> None:
    await put_block(store, "1", file("f1", 5))
    await commit(store, "1")
    assert (await copy(store, "b", "b")).size == 5
    assert (bytes_of(store), garbage(store)) == (["f1"], set())


async def test_a_copy_says_which_side_failed_its_condition(store: OwnStore) -> None:
    await put(store, "b", inline(b"x"))
    other = Demands(Conditions(if_match=("0x1",)))
    unchanged = Demands(Conditions(if_none_match=("*",)))
    for demands in (other, unchanged):
        with pytest.raises(ServiceError, match="SourceConditionNotMet"):
            await copy(store, "b", "copy", demands)
    with pytest.raises(ServiceError, match="TargetConditionNotMet"):
        await copy(store, "b", "copy", draft=DRAFT._replace(demands=other))
    with pytest.raises(ServiceError, match="BlobAlreadyExists"):
        await copy(store, "b", "b", draft=DRAFT._replace(demands=ONLY_NEW))
    with pytest.raises(ServiceError, match="BlobNotFound"):
        await copy(store, "nothing", "copy")


# --- lists -------------------------------------------------------------------------------------------------------


NAMES = st.text("ab/é", min_size=1, max_size=5)
LISTINGS = st.builds(
    BlobListing,
    prefix=st.text("ab/é", max_size=2),
    delimiter=st.sampled_from(["", "/", "b", "a/"]),
    first=st.just(""),
    first_generation=st.just(0),
    end=st.sampled_from(["", "b", "é/"]),
    shown=st.builds(Shown, *[st.booleans()] * 4),  # there is nothing more to show
    length=st.integers(1, 5),
    uncommitted=st.booleans(),
)


def all_items(names: set[str], listing: BlobListing) -> list[str]:
    """The names and prefixes that a list has on all its pages, worked out one by one."""
    found: list[str] = []
    for name in sorted(names):
        if name.startswith(listing.prefix) and (not listing.end or name < listing.end):
            cut = name.find(listing.delimiter, len(listing.prefix)) if listing.delimiter else -1
            item = name[: cut + len(listing.delimiter)] if cut >= 0 else name
            if item not in found:
                found.append(item)
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(committed=st.sets(NAMES, max_size=25), uncommitted=st.sets(NAMES, max_size=6), listing=LISTINGS)
async def test_the_pages_of_a_list_are_all_names_once_in_order(
    store: OwnStore, committed: set[str], uncommitted: set[str], listing: BlobListing
) -> None:
    container = ResourceName("acct", str(uuid.uuid4()))
    await store.write(containers.create_container, container, {}, "")
    await asyncio.gather(
        *(store.write(blobs.put_blob, container._replace(blob=name), DRAFT, inline(b"x")) for name in committed),
        *(store.write(blocks.put_block, container._replace(blob=name), "QQ==", file("f1", 1)) for name in uncommitted),
    )
    found: list[str] = []
    following: Blob | BlobPrefix | None = BlobPrefix("")
    while following is not None:
        begun = listing._replace(first=following.name, first_generation=following.generation)
        page = store.read(list_blobs, container, begun)
        assert len(page.items) == listing.length or page.following is None
        found += [item.name for item in page.items]
        following = page.following
    assert found == all_items(committed | uncommitted if listing.uncommitted else committed, listing)


async def test_a_folder_of_many_blobs_is_one_prefix(store: OwnStore) -> None:
    names = [*(f"dir/{number:03}" for number in range(250)), "dir", "dirt", "a"]
    await asyncio.gather(*(put(store, name, inline(b"x")) for name in names))
    page = store.read(list_blobs, CONTAINER, BlobListing(delimiter="/"))
    assert [(type(item), item.name) for item in page.items] == [
        (Blob, "a"),
        (Blob, "dir"),
        (BlobPrefix, "dir/"),
        (Blob, "dirt"),
    ]


async def test_a_list_of_a_missing_container_fails(store: OwnStore) -> None:
    with pytest.raises(ServiceError, match="ContainerNotFound"):
        store.read(list_blobs, ResourceName("acct", "gone"), BlobListing())
