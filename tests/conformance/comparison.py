"""What the two services pass, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .results import Outcome, Results


class Comparison(NamedTuple):
    """Of one file of tests: the tests that reach a service, by who passes them."""

    file: str
    tests: int
    #: Tests that connect to nothing, or that their authors skip.
    left_out: int
    both: list[str]
    only_millpond: list[str]
    #: With the reason why it fails here.
    only_azurite: dict[str, str]
    #: What neither passes, with the reason why it fails here.
    neither: dict[str, str]
    #: All that was run here.
    run: list[str]


def plain_name(file: str, test: str) -> str:
    """A test without its class: ``test_container::test_create_container``."""
    return f"{file}::{test.rpartition('::')[2]}"


def compare(results: Results, file: str) -> Comparison:
    ours, azurites = results.load("millpond", file), results.load("azurite", file)
    tests = sorted(ours.keys() | azurites.keys())
    counted = [test for test in tests if _counts(ours.get(test)) or _counts(azurites.get(test))]
    passed = {test for test in counted if _passed(ours.get(test))}
    passed_by_azurite = {test for test in counted if _passed(azurites.get(test))}
    return Comparison(
        file,
        tests=len(counted),
        left_out=len(tests) - len(counted),
        both=sorted(passed & passed_by_azurite),
        only_millpond=sorted(passed - passed_by_azurite),
        only_azurite={test: _reason(ours.get(test)) for test in sorted(passed_by_azurite - passed)},
        neither={test: _reason(ours.get(test)) for test in counted if test not in passed | passed_by_azurite},
        run=sorted(ours),
    )


def markdown(comparisons: Iterable[Comparison]) -> str:
    """The table, a row for each file that has tests which reach a service."""
    rows = [each for each in comparisons if each.tests]
    lines = [
        "| tests | count | Millpond | Azurite | both | only Azurite | only Millpond |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(_row(f"`{each.file}`", [each]) for each in rows),
        _row("**all**", rows),
    ]
    return "\n".join(lines) + "\n"


def listing(comparisons: Iterable[Comparison]) -> str:
    """The tests that only Azurite passes, by file, each with the reason why it fails here."""
    parts = []
    for each in comparisons:
        if each.only_azurite:
            parts.append(f"{each.file} ({len(each.only_azurite)})\n")
            parts += [f"  {test}\n      {reason}\n" for test, reason in each.only_azurite.items()]
    return "".join(parts)


def _counts(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.reached


def _passed(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.outcome == "passed"


def _reason(outcome: Outcome | None) -> str:
    return outcome.reason if outcome else "not run"


def _row(title: str, comparisons: list[Comparison]) -> str:
    both = sum(len(each.both) for each in comparisons)
    only_azurite = sum(len(each.only_azurite) for each in comparisons)
    only_millpond = sum(len(each.only_millpond) for each in comparisons)
    tests = sum(each.tests for each in comparisons)
    numbers = (tests, both + only_millpond, both + only_azurite, both, only_azurite, only_millpond)
    return f"| {title} | " + " | ".join(map(str, numbers)) + " |"
