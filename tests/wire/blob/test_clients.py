"""Azure's storage libraries of every age: the same first day for each, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clients import run_client
from tests.servers import Server

CLIENTS = Path(__file__).parent / "clients"


@pytest.mark.parametrize("style", ["path", "host"])
@pytest.mark.parametrize("name", ["blob-0.34.3", "blob-0.36.0", "blob-0.37.1", "blob-2.1.0"])
def test_a_first_day_with_block_blob_service(blob_server: Server, name: str, style: str) -> None:
    run(name, "block_blob_service.py", blob_server, style)


@pytest.mark.parametrize("name", ["blob-12.0.0", "blob-12.8.1", "blob-12.19.1", "blob-newest"])
def test_a_first_day_with_blob_service_client(blob_server: Server, name: str) -> None:
    run(name, "blob_service_client.py", blob_server, "connection string")
    if name != "blob-12.0.0":  # it takes the account's name from nothing but a connection string
        run(name, "blob_service_client.py", blob_server, "url")


def test_the_extras_of_the_newest_client(blob_server: Server) -> None:
    run("blob-newest-extras", "extras.py", blob_server, "url")


def run(name: str, script: str, server: Server, style: str) -> None:
    account, key = server.credentials["STORAGE_ACCOUNT_NAME"], server.credentials["STORAGE_ACCOUNT_KEY"]
    done = run_client(name, CLIENTS / script, account, key, server.blob_url, style)
    assert done.stdout == "done\n"
