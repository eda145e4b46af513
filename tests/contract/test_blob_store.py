"""What the Blob service relies on: its rows, its files, and what becomes of both after a crash."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine
from tests.blob_store import OwnStore, make_collector

from millpond.blob.api.blobs import INLINE_SIZE
from millpond.blob.collector import BLOCK_LIFETIME, Collector
from millpond.blob.content import ContentStore, Upload, checksums
from millpond.blob.model import Blob, Block, Container, ContentProperties, CopyState, Segment, StoredPolicy
from millpond.blob.store import Transaction, migrations, schema
from millpond.common.clock import DAY, SystemClock

CONTAINER = Container(0, "acct", "cont", 5, 6, "blob", {"k": "å"}, (StoredPolicy("p", "2026-01-01", "", "rl"),))
PROPERTIES = ContentProperties("a/b", "gzip", "en", "inline", "no-cache", b"m" * 16)


class SetClock(SystemClock):
    """A clock that a test sets."""

    moment = 1_780_000_000_000_000

    def now(self) -> int:
        return self.moment


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(tmp_path: Path, clock: SetClock) -> AsyncIterator[OwnStore]:
    store = OwnStore(tmp_path / "blob.db", clock)
    yield store
    await store.end()


@pytest.fixture
def content(tmp_path: Path, clock: SetClock) -> Iterator[ContentStore]:
    content = ContentStore(tmp_path, clock)
    yield content
    content.close()


def make_blob(name: str = "b", *, data: bytes | None = b"hello", **changes: Any) -> Blob:
    copy = CopyState("id", "http://host/å", 7)
    blob = Blob(0, 1, name, 5, 6, 5, PROPERTIES, {"Key": "v"}, "Cool", copy, data)
    return blob._replace(**changes)


def paths(root: Path) -> set[str]:
    """The files of blobs, wherever they lie."""
    return {path.name for place in ("content", "incoming") for path in (root / place).rglob("*") if path.is_file()}


# --- rows --------------------------------------------------------------------------------------------------------


async def test_records_come_back_as_they_were_put(store: OwnStore) -> None:
    blob = make_blob()

    def put(transaction: Transaction) -> None:
        transaction.put_container(CONTAINER)
        transaction.put_blob(blob)

    await store.write(put)
    found = store.read(Transaction.get_container, "acct", "cont")
    assert found == CONTAINER._replace(id=1)
    assert store.read(Transaction.get_blob, 1, "b") == blob._replace(id=1)
    assert store.read(Transaction.get_blob_head, 1, "b") == blob._replace(id=1, data=None)
    assert store.read(Transaction.list_blobs, 1, "", None, 9) == [blob._replace(id=1, data=None)]
    assert store.read(Transaction.get_blob, 2, "b") is None


async def test_what_is_committed_is_there_after_a_new_start(store: OwnStore, tmp_path: Path, clock: SetClock) -> None:
    await store.write(Transaction.put_container, CONTAINER)
    other = OwnStore(tmp_path / "blob.db", clock)
    assert other.read(Transaction.get_container, "acct", "cont") is not None
    await other.end()


async def test_names_are_ordered_by_their_characters(store: OwnStore) -> None:
    names = ["", "\x01", "A", "a", "a\0", "ab", "é", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]

    def put(transaction: Transaction) -> None:
        for name in reversed(names):
            transaction.put_blob(make_blob(name))

    await store.write(put)
    assert [blob.name for blob in store.read(Transaction.list_blobs, 1, "", None, 99)] == names
    assert [blob.name for blob in store.read(Transaction.list_blobs, 1, "a\0", "é", 99)] == ["a\0", "ab"]


async def test_segments_are_found_by_the_bytes_they_hold(store: OwnStore) -> None:
    segments = [Segment(0, 3, "QQ==", "f1"), Segment(3, 4, "Qg==", "f2"), Segment(7, 1, "", "f1")]
    await store.write(lambda transaction: transaction.put_blob(make_blob(data=None), segments))
    assert store.read(Transaction.list_segments, 1) == segments
    for begin, end, found in ((0, 8, [0, 1, 2]), (2, 3, [0]), (3, 7, [1]), (6, 8, [1, 2]), (2, 4, [0, 1]), (7, 9, [2])):
        assert store.read(Transaction.list_segments_between, 1, begin, end) == [segments[index] for index in found]


async def test_a_file_is_garbage_once_neither_a_segment_nor_a_block_names_it(store: OwnStore) -> None:
    def put(transaction: Transaction) -> None:
        transaction.put_blob(make_blob("a", data=None), [Segment(0, 5, "QQ==", "f1")])
        transaction.put_blob(make_blob("b", data=None), [Segment(0, 5, "QQ==", "f1")])
        transaction.put_block(1, "c", Block("QQ==", 5, "f1"))

    await store.write(put)
    for work in (
        lambda transaction: transaction.delete_blob(1),
        lambda transaction: transaction.put_blob(make_blob("b", id=2)),
    ):
        await store.write(work)
        assert store.read(Transaction.list_garbage, 9) == []
    await store.write(Transaction.delete_blocks, 1, "c")
    assert store.read(Transaction.list_garbage, 9) == ["f1"]
    await store.write(Transaction.forget_garbage, ["f1"])
    assert store.read(Transaction.list_garbage, 9) == []


# --- transactions ------------------------------------------------------------------------------------------------


def put_named(transaction: Transaction, name: str, failure: Exception | None = None) -> str:
    transaction.put_blob(make_blob(name))
    if failure:
        raise failure
    return name


async def test_writes_that_come_together_are_all_done(store: OwnStore) -> None:
    names = [f"{number:04}" for number in range(600)]
    assert await asyncio.gather(*(store.write(put_named, name) for name in names)) == names
    assert [blob.name for blob in store.read(Transaction.list_blobs, 1, "", None, 999)] == names


async def test_a_work_that_fails_halfway_leaves_nothing_and_does_not_touch_its_neighbours(store: OwnStore) -> None:
    outcomes = await asyncio.gather(
        store.write(put_named, "a"),
        store.write(put_named, "b", KeyError("b")),
        store.write_long(put_named, "c"),
        store.write(put_named, "a"),  # the name is taken
        store.write(put_named, "d"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [str, KeyError, str, sqlite3.IntegrityError, str]
    assert [blob.name for blob in store.read(Transaction.list_blobs, 1, "", None, 9)] == ["a", "c", "d"]


async def test_a_read_sees_one_moment_and_nothing_that_is_not_committed(store: OwnStore) -> None:
    await store.write(put_named, "a")
    seen = []

    def look(transaction: Transaction) -> None:
        seen.append(store.read(Transaction.get_blob_head, 1, "b"))
        put_named(transaction, "b")
        seen.append(store.read(Transaction.get_blob_head, 1, "b"))

    await store.write(look)
    assert seen == [None, None]
    assert store.read(Transaction.get_blob_head, 1, "b") is not None


async def test_whoever_stops_waiting_for_a_write_does_not_stop_it(store: OwnStore) -> None:
    waiting = asyncio.create_task(store.write(put_named, "a"))
    await asyncio.sleep(0)
    waiting.cancel()
    await store.write(put_named, "b")
    assert [blob.name for blob in store.read(Transaction.list_blobs, 1, "", None, 9)] == ["a", "b"]


async def test_a_moment_of_a_change_is_later_than_the_last_one(store: OwnStore, clock: SetClock) -> None:
    assert store.read(lambda transaction: transaction.later_than(clock.moment - 5)) == clock.moment
    assert store.read(lambda transaction: transaction.later_than(clock.moment + 5)) == clock.moment + 6


# --- the history of the tables -----------------------------------------------------------------------------------


def test_migrations_lead_to_the_tables_as_they_are(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'blob.db'}", poolclass=NullPool)
    migrations.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        migrated = set(connection.exec_driver_sql("SELECT name, replace(sql, char(10), '') FROM sqlite_master").all())
    fresh = create_engine("sqlite://")
    with fresh.begin() as connection:
        schema.metadata.create_all(connection)
        made = set(connection.exec_driver_sql("SELECT name, replace(sql, char(10), '') FROM sqlite_master").all())
    fresh.dispose()
    assert {(name, _plain(sql)) for name, sql in migrated if "alembic" not in name} == {
        (name, _plain(sql)) for name, sql in made if "alembic" not in name
    }


def _plain(sql: str | None) -> str:
    return "".join((sql or "").split())


def test_the_newest_migration_is_the_revision_of_the_tables() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [schema.REVISION]


async def test_a_database_of_a_newer_version_is_not_touched(tmp_path: Path, clock: SetClock) -> None:
    await OwnStore(tmp_path / "blob.db", clock).end()
    connection = sqlite3.connect(tmp_path / "blob.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(RuntimeError, match="of another version"):
        OwnStore(tmp_path / "blob.db", clock)


# --- files -------------------------------------------------------------------------------------------------------


def read(content: ContentStore, file: str) -> bytes:
    with os.fdopen(content.open(file), "rb") as reader:
        return reader.read()


@pytest.mark.parametrize("size", [0, 1, INLINE_SIZE, INLINE_SIZE + 1, 1 << 20, (3 << 20) + 17])
async def test_an_upload_ends_in_a_row_or_a_file(content: ContentStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    upload = Upload(content, inline_size=INLINE_SIZE, md5_wanted=True, crc64_wanted=True)
    for start in range(0, size, 70_001):
        await upload.write(data[start : start + 70_001])
    found = await upload.finish()
    assert (found.size, found.md5, found.crc64) == (size, hashlib.md5(data).digest(), checksums.crc64(data))
    if size <= INLINE_SIZE:
        assert (found.data, found.file, paths(tmp_path)) == (data, "", set())
        return
    assert found.data is None
    assert read(content, found.file) == data  # before and after it moved on
    content.publish(found.file)
    assert read(content, found.file) == data
    content.unlink([found.file])
    assert paths(tmp_path) == set()


async def test_checksums_are_computed_on_request_only(content: ContentStore) -> None:
    upload = Upload(content, inline_size=INLINE_SIZE)
    await upload.write(b"hello")
    assert (await upload.finish())[3:5] == (b"", b"")


async def test_many_small_pieces_make_one_file(content: ContentStore) -> None:
    upload = Upload(content, inline_size=INLINE_SIZE)
    for number in range(40_000):
        await upload.write(bytes([number % 256]))
    found = await upload.finish()
    assert read(content, found.file) == bytes(number % 256 for number in range(40_000))


@pytest.mark.parametrize("is_finished", [False, True])
async def test_a_discarded_upload_leaves_nothing(content: ContentStore, tmp_path: Path, is_finished: bool) -> None:
    upload = Upload(content, inline_size=INLINE_SIZE)
    for _ in range(3):
        await upload.write(b"x" * (1 << 20))
    if is_finished:
        await upload.finish()
    await upload.discard()
    assert paths(tmp_path) == set()


def test_the_crc_is_that_of_the_service() -> None:
    # as the service answered for these very bytes
    assert checksums.encode(checksums.crc64(b"hello")) == "V0JSBnCFdzM="
    assert checksums.encode(checksums.crc64(b"abc")) == "6/rBP7vK5QU="
    split = checksums.Crc64()
    split.update(b"he")
    split.update(b"llo")
    assert split.digest() == checksums.crc64(b"hello")


# --- collecting --------------------------------------------------------------------------------------------------


async def make_file(content: ContentStore) -> str:
    upload = Upload(content, inline_size=INLINE_SIZE)
    await upload.write(b"x" * (INLINE_SIZE + 1))
    return (await upload.finish()).file


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def collector(store: OwnStore, content: ContentStore, clock: SetClock) -> AsyncIterator[Collector]:
    collector = make_collector(store, content, clock)
    collector.start()
    yield collector
    await collector.stop()


async def test_a_start_sorts_out_what_a_crash_left(
    store: OwnStore, content: ContentStore, clock: SetClock, tmp_path: Path
) -> None:
    named, block, orphan = [await make_file(content) for _ in range(3)]

    def put(transaction: Transaction) -> None:
        transaction.put_blob(make_blob(data=None), [Segment(0, 5, "", named)])
        transaction.put_block(1, "c", Block("QQ==", 5, block))

    await store.write(put)
    make_collector(store, content, clock).recover()
    assert paths(tmp_path) == {named, block}
    assert content.incoming() == []
    assert len(read(content, named)) == INLINE_SIZE + 1
    assert orphan not in paths(tmp_path)


@pytest.mark.usefixtures("collector")
async def test_a_file_without_a_blob_goes_once_nobody_reads_it(
    store: OwnStore, content: ContentStore, tmp_path: Path
) -> None:
    file = await make_file(content)
    content.publish(file)
    await store.write(lambda transaction: transaction.put_blob(make_blob(data=None), [Segment(0, 5, "", file)]))
    with content.pinned([file]), content.pinned([file]):
        await store.write(Transaction.delete_blob, 1)
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert paths(tmp_path) == {file}
    await until(lambda: paths(tmp_path) == set())
    await until(lambda: store.read(Transaction.list_garbage, 9) == [])


@pytest.mark.usefixtures("collector")
async def test_what_was_in_a_deleted_container_goes(store: OwnStore, content: ContentStore, tmp_path: Path) -> None:
    file, block, shared = [await make_file(content) for _ in range(3)]

    def fill(transaction: Transaction) -> None:
        transaction.put_container(CONTAINER)
        for number in range(250):
            transaction.put_blob(make_blob(str(number), data=None), [Segment(0, 5, "", file)])
            transaction.put_block(1, str(number), Block("QQ==", 5, shared))
        transaction.put_block(1, "other", Block("QQ==", 5, block))
        transaction.put_blob(make_blob("neighbour", container_id=2))

    await store.write(fill)
    await store.write(Transaction.delete_container, 1)
    await until(lambda: store.read(Transaction.list_deleted_containers) == [])
    await until(lambda: paths(tmp_path) == set())
    assert store.read(Transaction.list_blobs, 1, "", None, 9) == []
    assert store.read(Transaction.list_uncommitted, 1, "", None, 9) == []
    assert store.read(Transaction.get_blob, 2, "neighbour") is not None


async def test_blocks_that_nobody_committed_for_a_week_go(
    store: OwnStore, content: ContentStore, clock: SetClock, tmp_path: Path
) -> None:
    old, young, shared = [await make_file(content) for _ in range(3)]
    await store.write(Transaction.put_block, 1, "old", Block("QQ==", 5, old))
    await store.write(Transaction.put_block, 1, "both", Block("QQ==", 5, shared))
    clock.moment += BLOCK_LIFETIME - DAY
    await store.write(Transaction.put_block, 1, "both", Block("Qg==", 5, young))
    clock.moment += DAY + 1
    collector = make_collector(store, content, clock)
    collector.start()
    await until(lambda: paths(tmp_path) == {young, shared})
    await collector.stop()
    assert [name for name, _ in store.read(Transaction.list_uncommitted, 1, "", None, 9)] == ["both"]
    assert len(store.read(Transaction.list_blocks, 1, "both")) == 2


async def test_what_is_added_to_a_file_has_a_place_of_its_own(content: ContentStore) -> None:
    file, offset = content.add("", b"first")
    assert (offset, content.incoming()) == (0, [file])
    content.publish(file)
    loop = asyncio.get_running_loop()
    pieces = [bytes([number]) * (number + 1) for number in range(20)]
    places = await asyncio.gather(*(loop.run_in_executor(None, content.add, file, piece) for piece in pieces))
    found = read(content, file)
    assert {name for name, _ in places} == {file}
    assert [found[at : at + len(piece)] for (_, at), piece in zip(places, pieces, strict=True)] == pieces
    assert len(found) == 5 + sum(map(len, pieces))


async def test_what_is_added_to_a_file_that_is_gone_begins_a_new_one(content: ContentStore) -> None:
    file, _ = content.add("", b"first")
    content.unlink([file])
    other, offset = content.add(file, b"second")
    assert (offset, read(content, other)) == (0, b"second")
    assert other != file
