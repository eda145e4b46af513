"""Whole stories of the engine with faults: nothing is lost, doubled, oversold or forgotten, whatever happens.

``python -m tests.simulation KIND SEEDS`` tells more of them.
"""

from __future__ import annotations

import pytest
from tests.simulation.story import tell


@pytest.mark.parametrize("seed", range(8))
def test_story_with_small_windows_ends_well(seed: int) -> None:
    tell("small", seed)


@pytest.mark.parametrize("seed", range(300, 304))
def test_story_with_more_work_than_nodes_ends_well(seed: int) -> None:
    tell("crowded", seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 102))
def test_story_with_many_nodes_ends_well(seed: int) -> None:
    tell("many-nodes", seed)


@pytest.mark.parametrize("seed", range(200, 204))
def test_story_with_gangs_ends_well(seed: int) -> None:
    tell("gangs", seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3000, 3004))
def test_long_story_with_gangs_ends_well(seed: int) -> None:
    tell("long-gangs", seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1000, 1004))
def test_long_story_ends_well(seed: int) -> None:
    tell("long", seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_story_of_hundreds_of_nodes_ends_well() -> None:
    tell("hundreds", 2000)
