"""What a run of the library's own tests says of those that neither service passes."""

from __future__ import annotations

from tests.conformance.comparison import Comparison
from tests.conformance.reasons import Reason, explain, remarks, section

REASONS = [
    Reason("Fish cannot climb.", ("test_fish*::test_climb_*",)),
    Reason("Nobody plays the harp.", ("test_harp*::*", "test_fish::test_harp")),
]


def comparison(file: str, failed: list[str], passed: list[str]) -> Comparison:
    return Comparison(
        file,
        tests=len(failed) + len(passed),
        left_out=0,
        both=passed,
        only_millpond=[],
        only_azurite={},
        neither=dict.fromkeys(failed, "line 1: AssertionError"),
        run=[*failed, *passed],
    )


def test_each_failing_test_has_its_reason() -> None:
    fish = comparison(
        "test_fish", ["TestFish::test_climb_trees", "TestFish::test_climb_hills"], ["TestFish::test_swim"]
    )
    twin = comparison("test_fish_async", ["TestFishAsync::test_climb_trees"], [])
    explained = explain([fish, twin], REASONS)
    assert remarks(explained) == ""
    assert section(explained).splitlines()[2:] == [
        "| Fish cannot climb. | 3 | `test_fish`: `test_climb_hills`, `test_climb_trees` |"
    ]


def test_a_failing_test_without_a_reason_is_told_of() -> None:
    explained = explain([comparison("test_fish", ["TestFish::test_climb_trees", "TestFish::test_swim"], [])], REASONS)
    assert list(explained.unexplained) == ["test_fish::test_swim"]
    assert "test_fish::test_swim\n      line 1: AssertionError" in remarks(explained)
    assert "| Not known. | 1 | `test_fish`: `test_swim` |" in section(explained)


def test_a_reason_that_no_test_fails_of_any_more_is_told_of() -> None:
    """But not one for tests that were not run."""
    explained = explain([comparison("test_fish", [], ["TestFish::test_climb_trees"])], REASONS)
    assert (explained.idle, explained.by_reason) == (["test_fish*::test_climb_*"], {})
    assert "test_fish*::test_climb_*" in remarks(explained)


def test_many_tests_of_a_file_are_counted() -> None:
    explained = explain([comparison("test_harp", [f"TestHarp::test_{number}" for number in range(6)], [])], REASONS)
    assert "| Nobody plays the harp. | 6 | `test_harp`: 6 tests |" in section(explained)
