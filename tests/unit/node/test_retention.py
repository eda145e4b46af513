from __future__ import annotations

from pathlib import Path

import pytest

from millpond.common.clock import DAY, HOUR, SECOND
from millpond.common.durations import UNLIMITED
from millpond.node.retention import Retention

NOW = 1_700_000_000 * SECOND


@pytest.fixture
def retention(tmp_path: Path) -> Retention:
    made = Retention(tmp_path / "retention")
    made.restore()
    return made


@pytest.mark.parametrize("time", [0, SECOND, HOUR, 7 * DAY])
def test_directory_is_due_after_its_time_and_at_most_a_hundredth_later(retention: Retention, time: int) -> None:
    retention.note("workitems/job/job-1/a", NOW, time)
    due = retention.due
    assert due is not None
    assert NOW + time <= due <= NOW + time + max(time // 100, SECOND // 10)
    assert retention.take(due - 1) == []
    assert retention.take(due) == [("workitems/job/job-1/a", NOW)]
    assert retention.due is None


def test_unlimited_retention_is_never_due(retention: Retention) -> None:
    retention.note("a", NOW, UNLIMITED)
    assert retention.due is None


def test_record_outlives_the_agent(retention: Retention, tmp_path: Path) -> None:
    retention.note("a", NOW, DAY)
    retention.note("b", NOW + 1, HOUR)
    later = Retention(tmp_path / "retention")
    later.restore()
    assert later.take(NOW + 2 * HOUR) == [("b", NOW + 1)]
    assert later.take(NOW + 2 * DAY) == [("a", NOW)]
    assert list((tmp_path / "retention").iterdir()) == []


def test_line_that_was_cut_short_is_ignored(retention: Retention, tmp_path: Path) -> None:
    (tmp_path / "retention" / str(NOW)).write_text(f"{NOW} a\n17000")
    retention.restore()
    assert retention.take(NOW) == [("a", NOW)]


def test_many_directories_are_handed_out_in_slices_and_few_files_hold_them(
    retention: Retention, tmp_path: Path
) -> None:
    paths = [f"task{number}" for number in range(1000)]
    for number, path in enumerate(paths):
        retention.note(path, NOW + number * SECOND, 7 * DAY)
    assert len(list((tmp_path / "retention").iterdir())) <= 2
    taken: list[str] = []
    while (due := retention.due) is not None and due <= NOW + 8 * DAY:
        part = retention.take(NOW + 8 * DAY)
        assert len(part) <= 200
        taken += [path for path, _ in part]
    assert taken == paths


def test_note_while_its_file_is_being_read_is_not_lost(retention: Retention) -> None:
    for number in range(300):
        retention.note(f"early{number}", NOW, 0)
    taken = retention.take(NOW)
    retention.note("late", NOW, 0)
    for _ in range(5):
        taken += retention.take(NOW + SECOND)
    assert [path for path, _ in taken][-1] == "late"
    assert len(taken) == 301
