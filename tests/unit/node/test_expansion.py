from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.node.expansion import expanded

GIVEN = {"PATH": "/bin", "HOME": "/wd", "AZ_BATCH_TASK_ID": "task"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("$HOME/data", "/wd/data"),
        ("${HOME}x%HOME%", "/wdx/wd"),
        ("$NOBODY ${NOBODY} %NOBODY%", "$NOBODY ${NOBODY} %NOBODY%"),
        ("5 $ and 100%", "5 $ and 100%"),
        ("$OTHER", "see /wd"),
        ("$AZ_BATCH_TASK_ID", "task"),
        ("", ""),
    ],
)
def test_references_are_replaced(value: str, expected: str) -> None:
    assert expanded([{"X": value, "OTHER": "see $HOME"}], GIVEN)["X"] == expected


def test_setting_that_refers_to_itself_means_what_it_replaces() -> None:
    layers = [{"PATH": "$PATH:/job", "WHO": "all"}, {"PATH": "/task:$PATH", "WHO": "%WHO% of us", "NEW": "$NEW"}]
    assert expanded(layers, GIVEN) == {"PATH": "/task:/bin:/job", "WHO": "all of us", "NEW": "$NEW"}


def test_later_settings_win_and_may_refer_to_earlier_ones() -> None:
    layers = [{"A": "job", "B": "$A"}, {"A": "task", "C": "$A $B"}]
    assert expanded(layers, GIVEN) == {"A": "task", "B": "job", "C": "task job"}


def test_circle_ends() -> None:
    found = expanded([{"A": "a$B", "B": "b$C", "C": "c$A", "D": "$A"}], {})
    assert found["D"] == found["A"]
    assert found["A"].startswith("ab")


def test_expansion_that_grows_beyond_all_bounds_is_cut_short() -> None:
    settings = {f"V{number}": f"$V{number + 1}" * 10 for number in range(40)} | {"V40": "x" * 100}
    assert all(len(value) <= 1 << 17 for value in expanded([settings], {}).values())


@given(st.lists(st.dictionaries(st.sampled_from("ABC"), st.text("$ABC{}% x", max_size=12)), max_size=3))
def test_whatever_is_written_comes_to_an_end(layers: list[dict[str, str]]) -> None:
    found = expanded(layers, {"A": "given"})
    assert set(found) == {name for layer in layers for name in layer}
