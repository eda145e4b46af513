"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server on a data directory and free ports of its own, stopped cleanly after the module's last test."""
    with running_server(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server for a single test."""
    with running_server(tmp_path_factory.mktemp("server") / "data") as server:
        yield server
