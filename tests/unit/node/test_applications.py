"""What is unpacked where, and what no package can do."""

from __future__ import annotations

import contextlib
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.common.agent_protocol import PackageInfo
from millpond.node.applications import unpack, variables
from millpond.node.documents import ApplicationPackageReference


def _archive(path: Path, *entries: tuple[str, str, int]) -> Path:
    """A zip file of names, contents and ``st_mode``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16 or 0x20
            entry.create_system = 3 if mode else 0
            archive.writestr(entry, content)
    return path


def test_files_keep_their_modes_and_all_may_read_them(tmp_path: Path) -> None:
    archive = _archive(
        tmp_path / "a.zip",
        ("bin/run", "program", stat.S_IFREG | 0o750),
        ("private", "x", stat.S_IFREG | 0o622),
        ("elevated", "x", stat.S_IFREG | 0o4755),
        ("made-on-windows", "x", 0),
        ("dir\\backslash.txt", "y", 0),
        ("empty/", "", stat.S_IFDIR | 0o700),
        ("links/run", "../bin/run", stat.S_IFLNK | 0o777),
    )
    target = tmp_path / "target"
    unpack(archive, target)
    modes = {path.name: path.lstat().st_mode & 0o7777 for path in target.rglob("*") if path.is_file()}
    assert modes.pop("run") in (0o754, 0o777)
    assert modes == {"private": 0o644, "elevated": 0o755, "made-on-windows": 0o755, "backslash.txt": 0o755}
    assert (target / "bin/run").stat().st_mode & 0o777 == 0o754
    assert (target / "links/run").read_text() == "program"
    assert (target / "dir/backslash.txt").read_text() == "y"
    assert (target / "empty").is_dir()


@pytest.mark.parametrize(
    "entries",
    [
        [("../out", "x", 0)],
        [("/out", "x", 0)],
        [("a/../../out", "x", 0)],
        [("..\\out", "x", 0)],
        [("link", "/etc", stat.S_IFLNK | 0o777)],
        [("link", "..", stat.S_IFLNK | 0o777)],
        [("a/link", "../../out", stat.S_IFLNK | 0o777)],
        [("link", ".", stat.S_IFLNK | 0o777), ("link/../../out", "x", 0)],
    ],
)
def test_nothing_leads_out(tmp_path: Path, entries: list[tuple[str, str, int]]) -> None:
    archive = _archive(tmp_path / "a.zip", *entries)
    with pytest.raises(ValueError, match="leads out"):
        unpack(archive, tmp_path / "target")
    assert not (tmp_path / "out").exists()


_PARTS = st.lists(st.sampled_from(["..", ".", "a", "b", "", "c\\.."]), min_size=1, max_size=5)


@given(names=st.lists(_PARTS.map("/".join), min_size=1, max_size=4, unique=True))
def test_whatever_the_names_everything_stays_inside(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("unpack")
    archive = _archive(directory / "a.zip", *((name, "x", 0) for name in names))
    (directory / "deep").mkdir()
    with contextlib.suppress(ValueError, OSError):
        unpack(archive, directory / "deep" / "target")
    assert {path.name for path in (directory / "deep").iterdir()} == {"target"}
    assert {path.name for path in directory.iterdir()} <= {"a.zip", "deep"}


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (None, {"AZ_BATCH_APP_PACKAGE_My_App", "AZ_BATCH_APP_PACKAGE_my_app", "AZ_BATCH_APP_PACKAGE_MY_APP"}),
        (
            "2.7-RC",
            {
                "AZ_BATCH_APP_PACKAGE_My_App_2_7_rc",
                "AZ_BATCH_APP_PACKAGE_my_app_2_7_rc",
                "AZ_BATCH_APP_PACKAGE_MY_APP_2_7_RC",
            },
        ),
    ],
)
def test_names_of_variables(version: str | None, names: set[str]) -> None:
    package = PackageInfo(application_id="My-App", version="2.7-rc", digest="", directory="")
    assert set(variables(ApplicationPackageReference("my-app", version), package)) == names


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: data.replace(b"content", b"CONTENT")])
def test_a_damaged_archive_is_an_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("name", "content")
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(zipfile.BadZipFile):
        unpack(archive, tmp_path / "target")
