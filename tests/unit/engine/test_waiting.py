from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond.batch.engine.waiting import JobQueue

LIMIT = 5

#: (what to do, which task)
actions = st.lists(st.tuples(st.sampled_from(["push", "pop", "remove"]), st.integers(0, 30), st.integers(1, 3)))


@given(actions)
def test_window_is_always_a_prefix_of_what_waits(story: list[tuple[str, int, int]]) -> None:
    queue = JobQueue()
    waiting: dict[int, int] = {}  # seq -> size: everything that waits, in the window or beyond
    sizes: dict[int, int] = {}  # a task does not change its size
    for action, seq, wanted_size in story:
        size = sizes.setdefault(seq, wanted_size)
        window = sorted(-negative for tasks in queue.by_size.values() for negative, _ in tasks)
        if action == "push" and seq not in waiting:
            waiting[seq] = size
            queue.push(seq, size, str(seq), LIMIT)
        elif action == "pop" and (first := queue.first(size)) is not None:
            popped = int(queue.pop(first))
            assert popped == min(s for s in window if waiting[s] <= size)
            del waiting[popped]
        elif action == "remove" and seq in window:
            queue.remove(seq, waiting.pop(seq), str(seq))
        window = sorted(-negative for tasks in queue.by_size.values() for negative, _ in tasks)
        assert len(window) == queue.length <= LIMIT
        assert window == sorted(waiting)[: len(window)]
        if queue.more:
            assert all(seq > queue.loaded_to for seq in set(waiting) - set(window))
        else:
            assert window == sorted(waiting)


@given(st.sets(st.tuples(st.integers(0, 100), st.integers(1, 4))), st.integers(1, 4))
def test_first_is_the_lowest_seq_that_fits(tasks: set[tuple[int, int]], largest: int) -> None:
    queue = JobQueue()
    by_seq = dict(tasks)
    for seq, size in by_seq.items():
        queue.push(seq, size, str(seq), 1000)
    fitting = [seq for seq, size in by_seq.items() if size <= largest]
    first = queue.first(largest)
    assert (first is None) == (not fitting)
    if first is not None:
        assert int(queue.pop(first)) == min(fitting)
