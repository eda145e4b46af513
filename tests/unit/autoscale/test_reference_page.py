"""The page about formulas says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millpond.batch.engine.autoscale import METRICS, Targets
from millpond.batch.engine.autoscale.formula import MOST_CHARACTERS, MOST_ELEMENTS
from millpond.batch.engine.autoscale.values import CONSTANTS

from .scripted import run, value

_PAGE = (Path(__file__).parents[3] / "docs/reference/autoscale.md").read_text()
_EXAMPLE = re.compile(
    r"^```autoscale\n(.*?)^```$(?:(?!^```).)*?^```(results|error)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
_EXAMPLES = _EXAMPLE.findall(_PAGE)
_VALUES = re.findall(r"\| `([^`]+)` \| `([^`]+)` \|$", _PAGE, re.MULTILINE)


def _samples() -> dict[str, list[float | None]]:
    block = re.search(r"^```samples\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    assert block
    script: dict[str, list[float | None]] = {}
    for line in block[1].splitlines():
        name, _, runs = line.partition(": ")
        script[name] = [
            float(number) for number, times in re.findall(r"(\S+) x (\d+)", runs) for _ in range(int(times))
        ]
    return script


def test_every_example_has_an_outcome() -> None:
    assert len(_EXAMPLES) == _PAGE.count("```autoscale\n") > 5
    assert len(_VALUES) > 25


@pytest.mark.parametrize(("formula", "kind", "outcome"), _EXAMPLES)
def test_example_has_its_outcome(formula: str, kind: str, outcome: str) -> None:
    found = run(formula, _samples(), targets=Targets(4))
    if kind == "results":
        assert (found.results, found.error) == (outcome.strip(), None)
    else:
        assert found.error is not None
        assert [found.error.code, found.error.reason] == outcome.splitlines()
        assert found.targets == Targets(4)


@pytest.mark.parametrize(("expression", "expected"), _VALUES)
def test_expression_has_its_value(expression: str, expected: str) -> None:
    assert value(expression, _samples()) == expected


def test_page_names_every_metric_as_the_code_does() -> None:
    rows = re.findall(r"^\| `(\$\w+)` \| (.+) \|$", _PAGE, re.MULTILINE)
    assert [(name, text) for name, text in rows if name in METRICS] == list(METRICS.items())


def test_page_names_every_constant() -> None:
    for name in CONSTANTS:
        assert f"`{name.removeprefix('TimeInterval')}`" in _PAGE or f"`{name}`" in _PAGE


def test_page_names_every_function_and_method() -> None:
    from millpond.batch.engine.autoscale import functions

    names = [*functions._OF_LIST, *functions._OF_EACH, *functions._OF_VECTOR_AND_DOUBLE, "time", "rand", "stop"]
    names += [*functions._WITHOUT_ARGUMENTS, "GetSample", "GetSamplePercent"]
    assert [name for name in names if not re.search(rf"`{name}\(", _PAGE)] == []


def test_page_names_the_limits() -> None:
    assert f"{MOST_CHARACTERS} characters" in _PAGE
    assert f"{MOST_ELEMENTS:,} elements" in _PAGE
