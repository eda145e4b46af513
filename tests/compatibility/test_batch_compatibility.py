"""Every method of eight generations of the Batch SDK, and the page that says so."""

from __future__ import annotations

import pytest
from tests.compatibility.batch import GENERATIONS, PAGE, Cell, cells, outcomes, page, prepare
from tests.compatibility.pages import is_right
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Found = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def found(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Found:
    environment = prepare(server, tmp_path_factory.mktemp("compatibility"))
    return {generation: outcomes(generation, environment) for generation in GENERATIONS}


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: f"{cell.generation}-{cell.method}")
def test_method_has_its_effect(cell: Cell, found: Found) -> None:
    outcome = found[cell.generation].get(cell.method, "is not called by any check")
    assert is_right(outcome), outcome


def test_page_says_what_was_found(found: Found) -> None:
    assert PAGE.read_text() == page(found), "run `make compatibility`"
