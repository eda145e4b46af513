"""A container as a mounted node shows it: the rules of files over a real Blob service, without a kernel between."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from millpond.node.blob_files import WINDOW, BlobFiles


@pytest.fixture
def files(container: ContainerClient, tmp_path: Path) -> BlobFiles:
    return BlobFiles(container, tmp_path)


def write(files: BlobFiles, path: str, content: bytes) -> None:
    handle = files.create(path)
    files.write(handle, content, 0)
    files.release(handle)


def read(files: BlobFiles, path: str) -> bytes:
    handle = files.open(path, os.O_RDONLY)
    try:
        return b"".join(pieces(files, handle))
    finally:
        files.release(handle)


def pieces(files: BlobFiles, handle: int) -> Iterator[bytes]:
    offset = 0
    while piece := files.read(handle, 128 << 10, offset):
        yield piece
        offset += len(piece)


def blob(container: ContainerClient, name: str) -> bytes:
    return container.download_blob(name).readall()


def names(container: ContainerClient) -> set[str]:
    return set(container.list_blob_names())


def test_blobs_are_files_and_their_prefixes_directories(files: BlobFiles, container: ContainerClient) -> None:
    container.upload_blob("a/b/c.txt", b"content")
    container.upload_blob("a-b", b"")  # sorts before "a/"
    assert dict(files.names("/")) == {"a": True, "a-b": False}
    assert dict(files.names("/a")) == {"b": True}
    for path in ("/", "/a", "/a/b"):
        assert files.entry(path).is_directory
    entry = files.entry("/a/b/c.txt")
    assert (entry.is_directory, entry.size) == (False, 7)
    assert read(files, "/a/b/c.txt") == b"content"
    for path in ("/nothing", "/a/b/c.txt/d"):
        with pytest.raises(FileNotFoundError):
            files.entry(path)


def test_files_are_uploaded_when_they_are_closed_or_synchronised(files: BlobFiles, container: ContainerClient) -> None:
    handle = files.create("/new.json")
    assert names(container) == set()
    assert files.entry("/new.json").size == 0
    assert dict(files.names("/")) == {"new.json": False}
    files.write(handle, b"12345", 0)
    assert files.read(handle, 10, 1) == b"2345"
    files.flush(handle)
    assert blob(container, "new.json") == b"12345"
    files.write(handle, b"67", 5)
    files.release(handle)
    assert blob(container, "new.json") == b"1234567"
    kind = container.get_blob_client("new.json").get_blob_properties().content_settings.content_type
    assert kind == "application/json"


def test_files_that_are_there_are_changed_in_place(files: BlobFiles, container: ContainerClient) -> None:
    container.upload_blob("f", b"0123456789")
    handle = files.open("/f", os.O_WRONLY)
    files.write(handle, b"ab", 2)
    other = files.open("/f", os.O_RDONLY)  # sees what is being written
    assert files.read(other, 20, 0) == b"01ab456789"
    files.release(handle)
    files.release(other)
    assert blob(container, "f") == b"01ab456789"
    files.truncate("/f", 4)
    assert blob(container, "f") == b"01ab"
    files.release(files.open("/f", os.O_WRONLY | os.O_TRUNC))
    assert blob(container, "f") == b""
    with pytest.raises(FileNotFoundError):
        files.open("/nothing", os.O_RDWR)
    assert "nothing" not in dict(files.names("/"))


def test_large_files_go_both_ways_in_pieces(files: BlobFiles, container: ContainerClient) -> None:
    content = os.urandom(2 * WINDOW + 12345)
    write(files, "/large", content)
    assert blob(container, "large") == content
    assert read(files, "/large") == content
    handle = files.open("/large", os.O_RDONLY)
    assert files.read(handle, 1000, WINDOW + 77) == content[WINDOW + 77 : WINDOW + 1077]
    assert files.read(handle, 1000, 5) == content[5:1005]
    assert files.read(handle, 1000, len(content) - 10) == content[-10:]
    assert files.read(handle, 1000, len(content) + 10) == b""
    files.release(handle)


def test_a_file_that_was_replaced_is_not_mixed_with_the_old_one(files: BlobFiles, container: ContainerClient) -> None:
    container.upload_blob("f", b"old" * 100)
    handle = files.open("/f", os.O_RDONLY)
    container.upload_blob("f", b"new" * 100, overwrite=True)
    with pytest.raises(OSError, match="has changed") as refused:
        files.read(handle, 10, 50)
    assert refused.value.errno == errno.ESTALE
    files.release(handle)
    assert read(files, "/f") == b"new" * 100


def test_directories_are_made_and_removed(files: BlobFiles, container: ContainerClient) -> None:
    files.make_directory("/d")
    assert files.entry("/d").is_directory
    assert container.get_blob_client("d").get_blob_properties().metadata == {"hdi_isfolder": "true"}
    with pytest.raises(FileExistsError):
        files.make_directory("/d")
    write(files, "/d/f", b"")
    with pytest.raises(OSError, match="not empty") as refused:
        files.remove_directory("/d")
    assert refused.value.errno == errno.ENOTEMPTY
    files.unlink("/d/f")
    files.remove_directory("/d")
    assert names(container) == set()
    with pytest.raises(FileNotFoundError):
        files.unlink("/d")


def test_files_and_directories_are_renamed(files: BlobFiles, container: ContainerClient) -> None:
    files.make_directory("/d")
    write(files, "/d/e/f", b"1")
    write(files, "/g", b"2")
    files.rename("/g", "/d/g")
    files.rename("/d", "/new")
    assert names(container) == {"new", "new/e/f", "new/g"}
    assert (blob(container, "new/e/f"), blob(container, "new/g")) == (b"1", b"2")
    assert files.entry("/new").is_directory
    write(files, "/over", b"3")
    files.rename("/over", "/new/g")
    assert blob(container, "new/g") == b"3"
    with pytest.raises(IsADirectoryError):
        files.rename("/new/g", "/new/e")


def test_what_is_being_written_keeps_its_content_under_its_new_name(
    files: BlobFiles, container: ContainerClient
) -> None:
    handle = files.create("/part")
    files.write(handle, b"1", 0)
    files.rename("/part", "/whole")
    files.write(handle, b"2", 1)
    files.release(handle)
    assert names(container) == {"whole"}
    assert blob(container, "whole") == b"12"


def test_what_is_removed_while_it_is_written_does_not_come_back(files: BlobFiles, container: ContainerClient) -> None:
    handle = files.create("/f")
    files.flush(handle)
    files.unlink("/f")
    files.write(handle, b"1", 0)
    files.release(handle)
    assert names(container) == set()


def test_one_file_is_written_by_many_threads(files: BlobFiles, container: ContainerClient) -> None:
    write(files, "/f", b"." * 64)

    def put(index: int) -> None:
        handle = files.open("/f", os.O_WRONLY)
        files.write(handle, b"%02d" % index, 2 * index)
        files.release(handle)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(put, index) for index in range(32)]:
            done.result(timeout=30)
    assert blob(container, "f") == b"".join(b"%02d" % index for index in range(32))


def test_a_container_that_is_not_there(container: ContainerClient, tmp_path: Path) -> None:
    url = container.url + "x"
    missing = ContainerClient.from_container_url(url, credential=container.credential)
    with missing, pytest.raises(FileNotFoundError):
        BlobFiles(missing, tmp_path).check()
