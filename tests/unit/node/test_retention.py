from __future__ import annotations

import os
from pathlib import Path

import pytest

from millpond.common.clock import DAY, HOUR, SECOND
from millpond.common.durations import UNLIMITED
from millpond.node.retention import Retention

NOW = 1_700_000_000 * SECOND


@pytest.fixture
def retention(tmp_path: Path) -> Retention:
    made = Retention(tmp_path)
    made.restore()
    return made


def ended(root: Path, *names: str, at: int = NOW) -> None:
    """Make the directories of runs that ended then."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "stdout.txt").touch()
        os.utime(root / name / "stdout.txt", ns=(0, at * 1000))


def files(root: Path) -> list[Path]:
    return list((root / "volatile" / "retention").iterdir())


@pytest.mark.parametrize("time", [0, SECOND, HOUR, 7 * DAY])
def test_directory_is_due_after_its_time_and_at_most_a_hundredth_later(
    retention: Retention, tmp_path: Path, time: int
) -> None:
    ended(tmp_path, "workitems/job/job-1/a")
    retention.note("workitems/job/job-1/a", NOW, time)
    due = retention.due
    assert due is not None
    assert NOW + time <= due <= NOW + time + max(time // 100, SECOND // 10)
    assert retention.take(due - 1) == []
    assert retention.take(due) == ["workitems/job/job-1/a"]
    assert retention.due is None


def test_unlimited_retention_is_never_due(retention: Retention) -> None:
    retention.note("a", NOW, UNLIMITED)
    assert retention.due is None


def test_record_outlives_the_agent(retention: Retention, tmp_path: Path) -> None:
    ended(tmp_path, "a", "b")
    retention.note("a", NOW, DAY)
    retention.note("b", NOW + 1, HOUR)
    later = Retention(tmp_path)
    later.restore()
    assert later.take(NOW + 2 * HOUR) == ["b"]
    assert later.take(NOW + 2 * DAY) == ["a"]
    assert files(tmp_path) == []


def test_line_that_was_cut_short_is_ignored(retention: Retention, tmp_path: Path) -> None:
    ended(tmp_path, "a")
    inode = (tmp_path / "a").stat().st_ino
    for rest in ("17000", f"{NOW} 12", f"{NOW} {inode} "):
        (tmp_path / "volatile" / "retention" / str(NOW)).write_text(f"{NOW} {inode} a\n{rest}")
        retention.restore()
        assert retention.take(NOW) == ["a"]


def test_directory_of_a_later_run_is_not_due_by_an_earlier_one(retention: Retention, tmp_path: Path) -> None:
    ended(tmp_path, "made-anew", "same-inode", "over")
    for name in ("made-anew", "same-inode", "over"):
        retention.note(name, NOW, HOUR)
    (tmp_path / "made-anew").rename(tmp_path / "old")
    ended(tmp_path, "made-anew")
    ended(tmp_path, "same-inode", at=NOW + 1)
    assert retention.take(NOW + DAY) == ["over"]


def test_directory_that_is_gone_is_not_due(retention: Retention, tmp_path: Path) -> None:
    ended(tmp_path, "a")
    retention.note("a", NOW, 0)
    (tmp_path / "a").rename(tmp_path / "elsewhere")
    assert retention.take(NOW) == []


def test_directory_without_output_is_due(retention: Retention, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    retention.note("a", NOW, 0)
    assert retention.take(NOW) == ["a"]


def test_record_that_is_gone_is_as_if_it_had_not_been(retention: Retention, tmp_path: Path) -> None:
    ended(tmp_path, "a")
    retention.note("a", NOW, 0)
    files(tmp_path)[0].unlink()
    assert retention.take(NOW) == []
    assert retention.due is None


def test_many_directories_are_handed_out_in_slices_and_few_files_hold_them(
    retention: Retention, tmp_path: Path
) -> None:
    paths = [f"task{number}" for number in range(1000)]
    ended(tmp_path, *paths)
    for number, path in enumerate(paths):
        retention.note(path, NOW + number * SECOND, 7 * DAY)
    assert len(files(tmp_path)) <= 2
    taken: list[str] = []
    while (due := retention.due) is not None and due <= NOW + 8 * DAY:
        part = retention.take(NOW + 8 * DAY)
        assert len(part) <= 200
        taken += part
    assert taken == paths


def test_note_while_its_file_is_being_read_is_not_lost(retention: Retention, tmp_path: Path) -> None:
    ended(tmp_path, *(f"early{number}" for number in range(300)), "late")
    for number in range(300):
        retention.note(f"early{number}", NOW, 0)
    taken = retention.take(NOW)
    retention.note("late", NOW, 0)
    for _ in range(5):
        taken += retention.take(NOW + SECOND)
    assert taken[-1] == "late"
    assert len(taken) == 301
