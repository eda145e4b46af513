from __future__ import annotations

from pathlib import Path

from millpond.node import system_files


def test_entries_are_entered_replaced_and_dropped(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text("root:x:0:0:::\nalice:x:1:1:::\nalicia:x:2:2:::\n")
    file.chmod(0o640)
    system_files.enter("passwd", "alice", "x:7:7:::", tmp_path)
    system_files.enter("passwd", "bob", "x:8:8:::", tmp_path)
    assert file.read_text() == "root:x:0:0:::\nalicia:x:2:2:::\nalice:x:7:7:::\nbob:x:8:8:::\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert system_files.names("passwd", tmp_path) == {"root", "alice", "alicia", "bob"}
    system_files.drop("passwd", "alice", tmp_path)
    assert file.read_text() == "root:x:0:0:::\nalicia:x:2:2:::\nbob:x:8:8:::\n"
    assert [each.name for each in tmp_path.iterdir()] == ["passwd"]


def test_file_that_is_right_already_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "group"
    system_files.enter("group", "g", "x:1:", tmp_path)
    before = file.stat()
    system_files.enter("group", "g", "x:1:", tmp_path)
    system_files.drop("group", "none", tmp_path)
    assert (file.stat().st_ino, file.stat().st_mode & 0o777) == (before.st_ino, 0o644)


def test_what_is_no_utf8_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_bytes(b"m\xfcller:x:1:1:::\n")
    system_files.enter("passwd", "bob", "x:2:2:::", tmp_path)
    assert file.read_bytes() == b"m\xfcller:x:1:1:::\nbob:x:2:2:::\n"
