"""File patterns on a real tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millpond.node import patterns

FILES = [
    "wd/a.txt",
    "wd/ab.txt",
    "wd/b.txt",
    "wd/.hidden.txt",
    "wd/A.TXT",
    "wd/star*.txt",
    "wd/x[1].txt",
    "wd/back\\slash",
    "wd/sub/c.txt",
    "wd/sub/deep/er/d.txt",
    "wd/sub/deep/.dot/e.txt",
    "wd/.config/f.txt",
    "wd/sub/noext",
    "stdout.txt",
    "stderr.txt",
]
DEEP = {"sub/c.txt", "sub/deep/er/d.txt"}
TOP = {"a.txt", "ab.txt", "b.txt", "star*.txt", "x[1].txt"}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = tmp_path_factory.mktemp("node").resolve() / "root" / "task"
    for name in FILES:
        file = task / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (task.parent.parent / "outside.txt").touch()
    (task / "wd" / "links").mkdir()
    (task / "wd" / "links" / "loop").symlink_to(task / "wd")
    (task / "wd" / "links" / "out").symlink_to(task.parent.parent)
    (task / "wd" / "links" / "broken").symlink_to("nowhere")
    os.mkfifo(task / "wd" / "links" / "pipe")
    return task


def matches(task: Path, pattern: str, **environment: str) -> set[str]:
    parsed = patterns.parse(pattern, f"{task}/wd", environment)
    found = [os.path.relpath(f"{parsed.directory}/{name}", task / "wd") for name in parsed.files(str(task.parent))]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.txt", {"a.txt"}),
        ("./a.txt", {"a.txt"}),
        ("missing.txt", set()),
        ("sub", set()),
        ("sub/", set()),
        ("*.txt", TOP),
        ("a*.txt", {"a.txt", "ab.txt"}),
        ("*a*b*.txt", {"ab.txt"}),
        ("?.txt", {"a.txt", "b.txt"}),
        ("??.txt", {"ab.txt"}),
        ("[ab].txt", {"a.txt", "b.txt"}),
        ("[a-b].txt", {"a.txt", "b.txt"}),
        ("[!a].txt", {"b.txt"}),
        ("[!a]*.txt", {"b.txt", "star*.txt", "x[1].txt"}),
        ("[b-a].txt", set()),
        ("star[*].txt", {"star*.txt"}),
        ("x[[]1].txt", {"x[1].txt"}),
        ("x[1].txt", set()),
        ("[a.txt", set()),
        ("*.TXT", {"A.TXT"}),
        (".*.txt", {".hidden.txt"}),
        (".hidden.txt", {".hidden.txt"}),
        ("[.]hidden.txt", set()),
        ("?hidden.txt", set()),
        ("*/*.txt", {"sub/c.txt"}),
        ("sub/*", {"sub/c.txt", "sub/noext"}),
        ("*/deep/er/*", {"sub/deep/er/d.txt"}),
        ("**/*.txt", TOP | DEEP),
        ("**.txt", TOP | DEEP),
        ("sub/**", DEEP | {"sub/noext"}),
        ("sub/**/*", DEEP | {"sub/noext"}),
        ("**/**/*.txt", TOP | DEEP),
        ("**/er/*.txt", {"sub/deep/er/d.txt"}),
        ("**/d.txt", {"sub/deep/er/d.txt"}),
        ("**/.dot/*.txt", {"sub/deep/.dot/e.txt"}),
        (".config/*", {".config/f.txt"}),
        (".*/*", {".config/f.txt"}),
        ("../std*.txt", {"../stdout.txt", "../stderr.txt"}),
        ("../stdout.txt", {"../stdout.txt"}),
        ("sub/../a.txt", {"a.txt"}),
        ("back\\slash", {"back\\slash"}),
        ("links/*", set()),
        ("links/pipe", set()),
        ("links/loop/a.txt", {"links/loop/a.txt"}),
        ("links/**/a.txt", set()),
        ("links/out/*", set()),
        ("../../../*.txt", set()),
        ("", TOP | {"A.TXT", "back\\slash"}),
        ("..", set()),
    ],
)
def test_pattern_matches(task: Path, pattern: str, expected: set[str]) -> None:
    assert matches(task, pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("$DIR/c.txt", {"sub/c.txt"}),
        ("${DIR}/*.txt", {"sub/c.txt"}),
        ("$WD/a.txt", {"a.txt"}),
        ("$ANY", {"a.txt", "b.txt"}),
        ("$UNKNOWN/a.txt", set()),
        ("%DIR%/c.txt", set()),
    ],
)
def test_variables_are_put_in_before_the_pattern_is_read(task: Path, pattern: str, expected: set[str]) -> None:
    assert matches(task, pattern, DIR="sub", WD=f"{task}/wd", ANY="?.txt") == expected


@pytest.mark.parametrize(
    ("pattern", "directory", "has_wildcards"),
    [
        ("a.txt", "wd", False),
        ("sub/c.txt", "wd/sub", False),
        ("../stdout.txt", "", False),
        ("../*.txt", "", True),
        ("sub/*/x.txt", "wd/sub", True),
        ("**/x.txt", "wd", True),
        ("a[b]c", "wd", True),
    ],
)
def test_fixed_part_and_wildcards_are_told_apart(task: Path, pattern: str, directory: str, has_wildcards: bool) -> None:
    parsed = patterns.parse(pattern, f"{task}/wd", {})
    assert parsed.directory == os.path.normpath(task / directory)
    assert parsed.has_wildcards == has_wildcards


def test_names_that_are_no_text_are_found(task: Path) -> None:
    file = os.fsencode(task / "wd" / "links") + b"/\xff.bin"
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
    assert matches(task, "links/*.bin") == {"links/\udcff.bin"}
