"""Where the bytes of blobs are that change in place, against an array of pages."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millpond.blob.model import Segment
from millpond.blob.service.segments import PageRange, page_changes, page_ranges, spliced

SIZE = 24
Write = tuple[int, int, bool]


@st.composite
def writes(draw: st.DrawFn) -> Write:
    begin = draw(st.integers(0, SIZE - 1))
    return begin, draw(st.integers(begin + 1, SIZE)), draw(st.booleans())


class Pages:
    """A blob's pages: what wrote each of them last, 0 for what was cleared or never written; and its segments."""

    def __init__(self) -> None:
        self.pages = [0] * SIZE
        self.touched = [0] * SIZE
        self.segments: list[Segment] = []
        self.count = 0

    def write(self, begin: int, end: int, is_clear: bool) -> None:
        self.count += 1
        # Consecutive writes go to one file, so that neighbours may become one segment.
        new = Segment(begin, end - begin, "", "" if is_clear else "tail", self.count * 1000)
        near = [each for each in self.segments if each.end >= begin and each.start <= end]
        far = [each for each in self.segments if each not in near]
        self.segments = sorted(far + spliced(near, begin, end, new))
        for position in range(begin, end):
            self.pages[position] = 0 if is_clear else new.offset + position - begin
            self.touched[position] = self.count

    def read(self) -> list[int]:
        found = [0] * SIZE
        for segment in self.segments:
            if segment.file:
                found[segment.start : segment.end] = range(segment.offset, segment.offset + segment.size)
        return found


def covered(ranges: list[PageRange]) -> dict[int, bool]:
    return {position: each.is_clear for each in ranges for position in range(each.begin, each.end)}


@given(st.lists(writes(), max_size=12))
def test_the_segments_are_what_was_written_last(done: list[Write]) -> None:
    blob = Pages()
    for write in done:
        blob.write(*write)
        assert blob.read() == blob.pages
        assert all(left.end <= right.start for left, right in pairwise(blob.segments))
    ranges = list(page_ranges(blob.segments))
    assert covered(ranges) == {position: False for position, page in enumerate(blob.pages) if page}
    assert all(left.end < right.begin for left, right in pairwise(ranges))


@given(st.lists(writes(), max_size=8), st.lists(writes(), max_size=8), st.integers(1, SIZE))
def test_what_changed_since_a_snapshot_is_what_was_touched(before: list[Write], since: list[Write], size: int) -> None:
    blob = Pages()
    for write in before:
        blob.write(*write)
    snapshot, last = list(blob.segments), blob.count
    for write in since:
        blob.write(*write)
    found = covered(list(page_changes(snapshot, blob.segments, size)))
    assert found == {position: not blob.pages[position] for position in range(size) if blob.touched[position] > last}


def test_what_is_added_to_the_tail_in_turn_is_one_segment() -> None:
    segments: list[Segment] = []
    for number in range(5):
        new = Segment(number * 10, 10, "", "tail", 7 + number * 10)
        segments = spliced(segments, new.start, new.end, new)
    assert segments == [Segment(0, 50, "", "tail", 7)]
