from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.batch.engine.slots import NodeSlots, PoolSlots
from millpond.batch.model.pool import FillType

SLOTS = 6


def make_pool(free: list[int], fill_type: FillType) -> PoolSlots:
    """A pool whose open nodes have these numbers of free slots."""
    pool = PoolSlots("pool")
    pool.fill_type = fill_type
    pool.resize_nodes(SLOTS)
    for number, slots in enumerate(free):
        node = NodeSlots(f"n{number}", pool, SLOTS)
        node.is_open = True
        pool.nodes[node.key] = node
        node.shelve()
        if slots < SLOTS:
            node.occupy(("j", f"t{number}"), SLOTS - slots)
    return pool


free_slots = st.lists(st.integers(0, SLOTS), max_size=8)


@given(free_slots, st.integers(1, SLOTS))
def test_spread_picks_an_emptiest_node(free: list[int], size: int) -> None:
    node = make_pool(free, FillType.SPREAD).pick(size)
    fitting = [slots for slots in free if slots >= size]
    assert (node.free if node else None) == max(fitting, default=None)


@given(free_slots, st.integers(1, SLOTS))
def test_pack_picks_a_fullest_node_with_room(free: list[int], size: int) -> None:
    node = make_pool(free, FillType.PACK).pick(size)
    fitting = [slots for slots in free if slots >= size]
    assert (node.free if node else None) == min(fitting, default=None)


@given(free_slots)
def test_most_free_is_the_largest_number_of_free_slots(free: list[int]) -> None:
    assert make_pool(free, FillType.SPREAD).most_free == max(free, default=0)


@pytest.mark.parametrize("fill_type", list(FillType))
def test_among_equals_the_one_not_used_for_longest_is_picked(fill_type: FillType) -> None:
    pool = make_pool([SLOTS, SLOTS, SLOTS], fill_type)
    names = []
    for number in range(6):
        node = pool.pick(1)
        assert node is not None
        names.append(node.key)
        node.occupy(("j", f"x{number}"), 1)
        node.vacate(("j", f"x{number}"))
    assert names == ["n0", "n1", "n2", "n0", "n1", "n2"]
