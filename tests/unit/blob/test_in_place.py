"""The rules of append and page blobs, of keys and scopes, and of what may not change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.blob_store import OwnStore

from millpond.blob.model import (
    NO_ENCRYPTION,
    Blob,
    Content,
    ContentProperties,
    CopyState,
    Encryption,
    Immutability,
    InPlace,
    ResourceName,
)
from millpond.blob.service import append, blobs, blocks, containers, copying, holding, in_place, pages
from millpond.blob.service.append import MAX_BLOCKS, NO_APPEND_DEMANDS, AppendDemands
from millpond.blob.service.blobs import BlobDraft, Span
from millpond.blob.service.conditions import NO_DEMANDS, Demands
from millpond.blob.service.containers import ScopePolicy
from millpond.blob.service.pages import PageBlobChange, PageQuery, Pages, SequenceDemands
from millpond.blob.service.segments import PageRange
from millpond.blob.store import Transaction
from millpond.common.clock import DAY, SECOND, SystemClock
from millpond.common.config import BlobFeatures
from millpond.common.errors import ServiceError

CONTAINER = ResourceName("acct", "cont")
NAME = CONTAINER._replace(blob="b")
OTHER = CONTAINER._replace(blob="other")
DRAFT = BlobDraft(ContentProperties(), {}, "", NO_DEMANDS, may_overwrite=True)
APPEND = DRAFT._replace(type="AppendBlob")
PAGE = DRAFT._replace(type="PageBlob")
EMPTY = Content(0, "", None)
HOLDS = BlobFeatures(immutability=True)
ALL = PageQuery()
KEY = Demands(encryption=Encryption("key"))


class SetClock(SystemClock):
    moment = 1_780_000_000_000_000

    def now(self) -> int:
        self.moment += 1
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


def added(size: int, file: str = "tail", offset: int = 0) -> Content:
    return Content(size, file, None, offset=offset, is_added=True)


async def refusal(work: object) -> str:
    with pytest.raises(ServiceError) as failure:
        await work  # type: ignore[misc]
    return failure.value.code


async def appended(store: OwnStore, content: Content, of_size: AppendDemands = NO_APPEND_DEMANDS) -> Blob:
    return await store.write(append.append_block, NAME, content, NO_DEMANDS, of_size)


async def test_what_is_appended_follows_what_is_there(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, APPEND, EMPTY)
    await appended(store, added(3))
    await appended(store, added(4, offset=3))
    await appended(store, Content(5, "large", None))
    blob = await appended(store, added(6, offset=7))
    assert (blob.size, blob.in_place.committed_blocks, blob.in_place.tail) == (18, 4, "tail")
    found = [(each.start, each.size, each.file, each.offset) for each in store.read(blobs.read_blob, NAME).segments]
    assert found == [(0, 7, "tail", 0), (7, 5, "large", 0), (12, 6, "tail", 7)]
    assert [each.file for each in store.read(blobs.read_blob, NAME, span=Span(8, 9)).segments] == ["large"]


async def test_conditions_of_size_and_position(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, APPEND, EMPTY)
    await appended(store, added(3), AppendDemands(max_size=3, position=0))
    too_large = AppendDemands(max_size=5)
    assert await refusal(appended(store, added(3, offset=3), too_large)) == "MaxBlobSizeConditionNotMet"
    elsewhere = AppendDemands(position=2)
    for work in (
        appended(store, added(3, offset=3), elsewhere),
        store.write(append.seal, NAME, NO_DEMANDS, elsewhere),
    ):
        assert await refusal(work) == "AppendPositionConditionNotMet"
    await store.write(append.seal, NAME, NO_DEMANDS, AppendDemands(position=3))
    assert await refusal(appended(store, added(3, offset=3))) == "BlobIsSealed"


async def test_a_blob_is_appended_to_so_often_and_no_more(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, APPEND._replace(in_place=InPlace(MAX_BLOCKS - 1)), EMPTY)
    await appended(store, added(1))
    assert await refusal(appended(store, added(1, offset=1))) == "BlockCountExceedsLimit"


async def test_other_types_of_blobs_have_no_such_operations(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, DRAFT, Content(1, "", b"x"))
    assert await refusal(appended(store, added(1))) == "InvalidBlobType"
    assert await refusal(store.write(pages.put_pages, NAME, None, Pages(0, 512))) == "InvalidBlobType"
    await store.write(blobs.put_blob, NAME, APPEND, EMPTY)
    assert await refusal(store.write(blocks.put_block, NAME, "QQ==", added(1), NO_DEMANDS)) == "InvalidBlobType"
    with pytest.raises(ServiceError):
        store.read(pages.list_pages, NAME, PageQuery())


async def test_a_tail_that_is_given_up_takes_nothing_more(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, APPEND, EMPTY)
    await appended(store, added(3))
    await store.write(blobs.put_blob, NAME, APPEND, EMPTY)
    with pytest.raises(in_place.TailGoneError):
        await appended(store, added(3, offset=3))
    assert store.read(Transaction.list_garbage, 10) == ["tail"]
    await appended(store, added(3, "next"))
    assert store.read(in_place.tail_of, NAME) == "next"


async def test_snapshots_and_copies_keep_what_they_had_and_share_files(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, PAGE, Content(2048, "", None))
    await store.write(pages.put_pages, NAME, added(1024), Pages(0, 1024))
    snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
    source = NAME._replace(snapshot=snapshot.snapshot)
    await store.write(pages.put_pages, NAME, None, Pages(0, 512))
    await store.write(pages.put_pages, NAME, added(512, offset=1024), Pages(512, 1024))
    assert ranges(store, source) == [PageRange(0, 1024)]
    assert ranges(store, NAME) == [PageRange(512, 1024)]
    assert ranges(store, NAME, PageQuery(previous=source)) == [PageRange(0, 512, is_clear=True), PageRange(512, 1024)]
    await store.write(
        copying.copy_blob,
        source,
        OTHER,
        DRAFT,
        CopyState("id", "http://x/b", 1),
    )
    assert (ranges(store, OTHER), store.read(in_place.tail_of, OTHER)) == ([PageRange(0, 1024)], "")
    await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "include")
    assert store.read(Transaction.list_garbage, 10) == []
    await store.write(blobs.delete_blob, OTHER, NO_DEMANDS)
    assert store.read(Transaction.list_garbage, 10) == ["tail"]


def ranges(store: OwnStore, name: ResourceName, query: PageQuery = ALL) -> list[PageRange]:
    return store.read(pages.list_pages, name, query).ranges


async def test_a_list_of_ranges_comes_in_parts(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, PAGE, Content(4096, "", None))
    for begin in (0, 1024, 2048):
        await store.write(pages.put_pages, NAME, added(512, f"f{begin}"), Pages(begin, begin + 512))
    first = store.read(pages.list_pages, NAME, PageQuery(most=2))
    assert ([each.begin for each in first.ranges], first.following) == ([0, 1024], 2048)
    rest = store.read(pages.list_pages, NAME, PageQuery(first=first.following, most=2))
    assert ([each.begin for each in rest.ranges], rest.following) == ([2048], 0)
    assert ranges(store, NAME, PageQuery(Span(100, 1100))) == [PageRange(100, 512), PageRange(1024, 1100)]


async def test_sequence_numbers_count_and_are_demanded(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, PAGE, Content(512, "", None))

    async def number(change: PageBlobChange) -> int:
        blob = await store.write(pages.set_page_blob_properties, NAME, None, change, NO_DEMANDS)
        return blob.in_place.sequence_number

    assert await number(PageBlobChange(action="update", number=7)) == 7
    assert await number(PageBlobChange(action="max", number=3)) == 7
    assert await number(PageBlobChange(action="increment")) == 8
    for demand, holds in (
        (SequenceDemands(at_most=8), True),
        (SequenceDemands(at_most=7), False),
        (SequenceDemands(below=9), True),
        (SequenceDemands(below=8), False),
        (SequenceDemands(equal=8), True),
        (SequenceDemands(equal=0), False),
    ):
        work = store.write(pages.put_pages, NAME, None, Pages(0, 512, demand))
        if holds:
            await work
        else:
            assert await refusal(work) == "SequenceNumberConditionNotMet"
    await number(PageBlobChange(action="update", number=pages.MAX_SEQUENCE_NUMBER))
    assert await refusal(number(PageBlobChange(action="increment"))) == "SequenceNumberIncrementTooLarge"


async def test_what_lay_beyond_a_smaller_size_is_gone(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, PAGE, Content(2048, "", None))
    await store.write(pages.put_pages, NAME, added(2048), Pages(0, 2048))
    for size in (512, 4096):
        change = PageBlobChange(size=size)
        await store.write(pages.set_page_blob_properties, NAME, None, change, NO_DEMANDS)
    assert ranges(store, NAME) == [PageRange(0, 512)]
    assert await refusal(store.write(pages.put_pages, NAME, None, Pages(3584, 4608))) == "InvalidPageRange"
    for span in (Span(1, 512), Span(0, 511), Span(0)):
        with pytest.raises(ServiceError):
            Pages.of(span, SequenceDemands())


async def incremental(store: OwnStore, source: ResourceName) -> Blob:
    copy = CopyState("id", f"http://x/{source.blob}?snapshot={source.snapshot}", 1, is_incremental=True)
    return await store.write(copying.copy_incrementally, source, OTHER, DRAFT, copy)


async def test_incremental_copies_are_snapshots_of_their_target(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, PAGE, Content(1024, "", None))
    assert await refusal(incremental(store, NAME)) == "IncrementalCopySourceMustBeSnapshot"
    sources = []
    for begin in (0, 512):
        await store.write(pages.put_pages, NAME, added(512, f"f{begin}"), Pages(begin, begin + 512))
        snapshot = await store.write(blobs.snapshot_blob, NAME, {}, NO_DEMANDS)
        sources.append(NAME._replace(snapshot=snapshot.snapshot))
    made = [await incremental(store, source) for source in sources]
    copies = [blob.copy.destination_snapshot for blob in made if blob.copy]
    assert copies[0] < copies[1]
    found = [ranges(store, OTHER._replace(snapshot=moment)) for moment in copies]
    assert found == [[PageRange(0, 512)], [PageRange(0, 1024)]]
    assert await refusal(incremental(store, sources[0])) == "IncrementalCopyOfEarlierVersionSnapshotNotAllowed"
    assert await refusal(store.write(pages.put_pages, OTHER, None, Pages(0, 512))) == (
        "OperationNotAllowedOnIncrementalCopyBlob"
    )


async def test_a_blob_with_a_customers_key_needs_that_key(store: OwnStore) -> None:
    await store.write(blobs.put_blob, NAME, APPEND._replace(demands=KEY), EMPTY)
    for given, code in (
        (NO_ENCRYPTION, "BlobUsesCustomerSpecifiedEncryption"),
        (Encryption("another"), "BlobCustomerSpecifiedEncryptionMismatch"),
    ):
        demands = Demands(encryption=given)
        for work in (
            store.write(append.append_block, NAME, added(1), demands, NO_APPEND_DEMANDS),
            store.write(blobs.set_blob_metadata, NAME, {}, demands),
            store.write(blobs.snapshot_blob, NAME, {}, demands),
        ):
            assert await refusal(work) == code
        for read in (blobs.read_blob, blobs.get_blob_properties):
            with pytest.raises(ServiceError, match="customer"):
                store.read(read, NAME, demands)
    await store.write(append.append_block, NAME, added(1), KEY, NO_APPEND_DEMANDS)
    assert store.read(blobs.read_blob, NAME, KEY).blob.size == 1
    await store.write(blobs.put_blob, OTHER, DRAFT, Content(1, "", b"x"))
    with pytest.raises(ServiceError, match="is not encrypted"):
        store.read(blobs.read_blob, OTHER, KEY)


async def test_blocks_need_the_key_that_they_came_with(store: OwnStore) -> None:
    await store.write(blocks.put_block, NAME, "QQ==", Content(1, "f", None), KEY)
    named: list[tuple[blocks.BlockSource, str]] = [("Latest", "QQ==")]
    commit = store.write(blocks.put_block_list, NAME, DRAFT, named)
    assert await refusal(commit) == "BlobUsesCustomerSpecifiedEncryption"
    blob = await store.write(blocks.put_block_list, NAME, DRAFT._replace(demands=KEY), named)
    assert blob.encryption == KEY.encryption


async def test_a_containers_scope_is_that_of_its_blobs(store: OwnStore) -> None:
    for name, policy in (("open", ScopePolicy("own")), ("closed", ScopePolicy("own", denies_others=True))):
        place = ResourceName("acct", name)
        await store.write(containers.create_container, place, {}, "", policy)
        blob = await store.write(blobs.put_blob, place._replace(blob="b"), DRAFT, Content(1, "", b"x"))
        assert blob.encryption == Encryption(scope="own")
        other = DRAFT._replace(demands=Demands(encryption=Encryption(scope="other")))
        work = store.write(blobs.put_blob, place._replace(blob="b"), other, Content(1, "", b"x"))
        if policy.denies_others:
            assert await refusal(work) == "RequestForbiddenByContainerEncryptionPolicy"
        else:
            assert (await work).encryption.scope == "other"


async def test_a_policy_keeps_a_blob_as_it_is_until_its_end(store: OwnStore, clock: SetClock) -> None:
    held = APPEND._replace(immutability=Immutability(clock.moment + DAY), features=HOLDS)
    await store.write(blobs.put_blob, NAME, held, EMPTY)
    for work in (
        appended(store, added(1)),
        store.write(append.seal, NAME, NO_DEMANDS, NO_APPEND_DEMANDS),
        store.write(blobs.set_blob_metadata, NAME, {}, NO_DEMANDS),
        store.write(blobs.set_blob_properties, NAME, ContentProperties(), NO_DEMANDS),
        store.write(blobs.put_blob, NAME, APPEND, EMPTY),
        store.write(blobs.delete_blob, NAME, NO_DEMANDS, "", HOLDS),
    ):
        assert await refusal(work) == "BlobImmutableDueToPolicy"
    clock.moment += 2 * DAY
    await store.write(blobs.delete_blob, NAME, NO_DEMANDS, "", HOLDS)


async def test_a_locked_policy_can_only_be_extended(store: OwnStore, clock: SetClock) -> None:
    await store.write(blobs.put_blob, NAME, DRAFT, Content(1, "", b"x"))
    now = clock.moment

    async def set_policy(days: int, *, is_locked: bool) -> Blob:
        return await store.write(holding.set_policy, NAME, Immutability(now + days * DAY, is_locked), NO_DEMANDS, HOLDS)

    await set_policy(5, is_locked=False)
    await set_policy(3, is_locked=True)
    assert await refusal(set_policy(2, is_locked=True)) == "BlobImmutableDueToPolicy"
    assert await refusal(set_policy(9, is_locked=False)) == "BlobImmutableDueToPolicy"
    assert (await set_policy(4, is_locked=True)).immutability.until == now + 4 * DAY
    assert await refusal(set_policy(-1, is_locked=True)) == "InvalidHeaderValue"
    deletion = store.write(holding.delete_policy, NAME, NO_DEMANDS, HOLDS)
    assert await refusal(deletion) == "ImmutabilityPolicyDeleteOnLockedPolicy"


async def test_a_legal_hold_keeps_a_version_and_its_container(store: OwnStore) -> None:
    features = BlobFeatures(versioning=True, immutability=True)
    draft = DRAFT._replace(features=features)
    first = await store.write(blobs.put_blob, NAME, draft, Content(1, "", b"x"))
    hold = Immutability(legal_hold=True)
    await store.write(holding.set_legal_hold, NAME, hold, features)
    await store.write(blobs.put_blob, NAME, draft, Content(1, "", b"y"))
    version = NAME._replace(version=first.version)
    for work in (
        store.write(blobs.delete_blob, version, NO_DEMANDS, "", features),
        store.write(blobs.delete_blob, version, NO_DEMANDS, "", BlobFeatures()),
    ):
        assert await refusal(work) == "BlobImmutableDueToLegalHold"
    deletion = store.write(containers.delete_container, CONTAINER, NO_DEMANDS, features)
    assert await refusal(deletion) == "ContainerImmutableStorageWithVersioningEnabled"
    await store.write(holding.set_legal_hold, version, Immutability(), features)
    await store.write(blobs.delete_blob, version, NO_DEMANDS, "", features)
    await store.write(containers.delete_container, CONTAINER, NO_DEMANDS, features)


async def test_an_account_without_immutability_says_so(store: OwnStore, clock: SetClock) -> None:
    wanted = Immutability(clock.moment + SECOND * 100)
    held = DRAFT._replace(immutability=wanted)
    assert await refusal(store.write(blobs.put_blob, NAME, held, EMPTY)) == "FeatureNotSupportedForAccount"
    await store.write(blobs.put_blob, NAME, DRAFT, Content(1, "", b"x"))
    setting = store.write(holding.set_policy, NAME, wanted, NO_DEMANDS, BlobFeatures())
    assert await refusal(setting) == "FeatureNotSupportedForAccount"


async def test_what_writes_to_a_blob_with_a_scope_names_it(store: OwnStore) -> None:
    def scoped(scope: str) -> Demands:
        return Demands(encryption=Encryption(scope=scope))

    await store.write(blobs.put_blob, NAME, APPEND._replace(demands=scoped("own")), EMPTY)
    for scope, code in (
        ("", "BlobUsesCustomerSpecifiedEncryption"),
        ("other", "BlobCustomerSpecifiedEncryptionMismatch"),
    ):
        for work in (
            store.write(append.append_block, NAME, added(1), scoped(scope), NO_APPEND_DEMANDS),
            store.write(blobs.set_blob_metadata, NAME, {}, scoped(scope)),
            store.write(blobs.snapshot_blob, NAME, {}, scoped(scope)),
        ):
            assert await refusal(work) == code
    await store.write(append.append_block, NAME, added(1), scoped("own"), NO_APPEND_DEMANDS)
    assert store.read(blobs.read_blob, NAME).blob.size == 1
