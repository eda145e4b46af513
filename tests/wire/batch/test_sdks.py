"""One scenario, told by the SDKs of nine years in their own environments."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clients import run_client
from tests.servers import Server

_CLIENTS = Path(__file__).with_name("clients")


@pytest.mark.parametrize("version", ["2.0.0", "3.1.0", "4.1.3", "6.0.1", "8.0.0", "10.0.0", "14.2.0"])
def test_sdk_of_the_first_generation(version: str, server: Server) -> None:
    name = f"v{version.replace('.', '-')}"
    run_client(f"batch-{version}", _CLIENTS / "scenario_msrest.py", name, env=server.credentials)


@pytest.mark.parametrize("version", ["2.0.0", "14.2.0"])
def test_tasks_around_jobs(version: str, server: Server) -> None:
    name = f"around-v{version.replace('.', '-')}"
    run_client(f"batch-{version}", _CLIENTS / "scenario_job_tasks.py", name, env=server.credentials)
