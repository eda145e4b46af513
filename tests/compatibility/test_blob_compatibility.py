"""Every method of eight generations of the Blob libraries, and the page that says so."""

from __future__ import annotations

import pytest
from tests.compatibility.blob import GENERATIONS, PAGE, SERVER_OPTIONS, outcomes, page, prepare
from tests.compatibility.pages import is_right
from tests.servers import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Found = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    directory = tmp_path_factory.mktemp("compatibility")
    with running_server(directory / "data", *SERVER_OPTIONS) as server:
        environment = prepare(server, directory)
        return {generation: outcomes(generation, environment) for generation in GENERATIONS}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_methods_have_their_effects(generation: str, found: Found) -> None:
    wrong = {method: outcome for method, outcome in found[generation].items() if not is_right(outcome)}
    assert found[generation]
    assert not wrong


def test_page_says_what_was_found(found: Found) -> None:
    assert PAGE.read_text() == page(found), "run `make compatibility-blob`"
