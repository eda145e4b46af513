from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from millpond.common.agent_protocol import FILE_CHUNK, FileReply, FileRequest
from millpond.node.files import FileService


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "startup" / "wd").mkdir(parents=True)
    (made / "startup" / "certs").mkdir()
    (made / "startup" / "stdout.txt").write_text("hello\n")
    (made / "startup" / "wd" / "big").write_bytes(bytes(range(256)) * 8192 + b"!")
    (tmp_path / "secret").write_text("key")
    (tmp_path / "root-of-another").mkdir()
    (tmp_path / "root-of-another" / "file").write_text("other")
    return made


def ask(root: Path, operation: Any, path: str, **arguments: Any) -> list[FileReply]:
    replies = list(FileService(root).answer(FileRequest(request=1, operation=operation, path=path, **arguments)))
    assert [reply.last for reply in replies] == [False] * (len(replies) - 1) + [True]
    return replies


def names(replies: list[FileReply]) -> list[str]:
    return [entry.name for reply in replies for entry in reply.entries]


def data(replies: list[FileReply]) -> bytes:
    return b"".join(reply.data for reply in replies)


def test_list_names_what_is_in_a_directory_without_certificates(root: Path) -> None:
    assert names(ask(root, "list", "startup")) == ["stdout.txt", "wd"]
    assert names(ask(root, "list", "")) == ["startup"]


def test_recursive_list_walks_the_tree(root: Path) -> None:
    replies = ask(root, "list", "", recursive=True)
    assert names(replies) == ["startup", "startup/stdout.txt", "startup/wd", "startup/wd/big"]
    sizes = {entry.name: (entry.is_directory, entry.size) for entry in replies[0].entries}
    assert sizes["startup/stdout.txt"] == (False, 6)
    assert sizes["startup/wd"] == (True, 0)


def test_long_list_comes_in_parts(root: Path) -> None:
    for number in range(2500):
        (root / "startup" / "wd" / f"f{number:04}").touch()
    replies = ask(root, "list", "startup/wd")
    assert len(replies) == 3
    assert len(names(replies)) == 2501


def test_stat_tells_size_and_time(root: Path) -> None:
    os.utime(root / "startup" / "stdout.txt", ns=(0, 1_600_000_000_123_456_000))
    [reply] = ask(root, "stat", "startup/stdout.txt")
    [entry] = reply.entries
    assert (entry.name, entry.size, entry.modified) == ("stdout.txt", 6, 1_600_000_000_123_456)


def test_read_comes_in_parts_of_one_chunk(root: Path) -> None:
    replies = ask(root, "read", "startup/wd/big")
    assert data(replies) == bytes(range(256)) * 8192 + b"!"
    assert max(len(reply.data) for reply in replies) == FILE_CHUNK


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 2, b"he"), (4, None, b"o\n"), (4, 100, b"o\n"), (6, None, b""), (100, 5, b""), (0, 0, b"")],
)
def test_read_of_a_range(root: Path, offset: int, length: int | None, expected: bytes) -> None:
    assert data(ask(root, "read", "startup/stdout.txt", offset=offset, length=length)) == expected


@pytest.mark.parametrize("operation", ["list", "stat", "read", "delete"])
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("missing", "notFound"),
        ("startup/missing/file", "notFound"),
        ("startup/stdout.txt/file", "notFound"),
        ("../secret", "invalidPath"),
        ("startup/../../secret", "invalidPath"),
        ("startup/..", "invalidPath"),
        ("/etc/passwd", "invalidPath"),
        ("startup/\0", "invalidPath"),
        ("x" * 5000, "ioError"),
    ],
)
def test_path_to_nothing_or_outside_is_refused(root: Path, operation: str, path: str, error: str) -> None:
    [reply] = ask(root, operation, path)
    assert reply.error == error
    assert (root.parent / "secret").exists()


@pytest.mark.parametrize("operation", ["list", "stat", "read"])
@pytest.mark.parametrize("target", ["../secret", "../root-of-another", "/etc", "../root-of-another/file"])
def test_link_that_leads_out_is_not_followed(root: Path, operation: str, target: str) -> None:
    (root / "link").symlink_to(target)
    [reply] = ask(root, operation, "link")
    assert reply.error == "notFound"
    assert not reply.entries
    assert not reply.data


def test_directory_link_that_leads_out_is_not_passed_through(root: Path) -> None:
    (root / "link").symlink_to("..")
    for operation in ("read", "stat", "delete"):
        [reply] = ask(root, operation, "link/secret")
        assert reply.error == "notFound"
    assert (root.parent / "secret").exists()


def test_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "startup" / "stdout.txt")
    assert data(ask(root, "read", "link")) == b"hello\n"


def test_delete_of_a_link_leaves_what_it_points_to(root: Path) -> None:
    (root / "link").symlink_to("../secret")
    assert ask(root, "delete", "link")[0].error is None
    assert not (root / "link").is_symlink()
    assert (root.parent / "secret").exists()


def test_delete_of_a_directory_needs_recursion_unless_it_is_empty(root: Path) -> None:
    assert ask(root, "delete", "startup/wd")[0].error == "directoryNotEmpty"
    assert ask(root, "delete", "startup/certs")[0].error is None
    assert ask(root, "delete", "startup/wd", recursive=True)[0].error is None
    assert names(ask(root, "list", "startup")) == ["stdout.txt"]


def test_root_itself_is_not_deleted(root: Path) -> None:
    assert ask(root, "delete", "", recursive=True)[0].error == "invalidPath"


def test_read_of_what_is_no_file_is_refused(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert ask(root, "read", "startup")[0].error == "isDirectory"
    assert ask(root, "read", "pipe")[0].error == "notFound"
    assert ask(root, "list", "startup/stdout.txt")[0].error == "notFound"


def test_name_that_is_no_text_does_not_spoil_the_list(root: Path) -> None:
    Path(os.fsdecode(bytes(root / "startup") + b"/caf\xe9")).touch()
    assert names(ask(root, "list", "startup")) == ["caf�", "stdout.txt", "wd"]


def test_link_swapped_while_it_is_read_never_shows_what_is_outside(root: Path) -> None:
    """Nothing but the inside file's content is ever answered, however the race goes."""
    inside, outside, link = root / "startup" / "stdout.txt", root.parent / "secret", root / "link"
    link.symlink_to(inside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in (outside, inside):
                (root / "next").symlink_to(target)
                (root / "next").rename(link)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = {data(ask(root, "read", "link")) for _ in range(2000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"hello\n", b""}
