"""What nodes were asked for is done, though the service is killed right after its answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from tests.servers import Server, running_server
from tests.wire.batch.raw import RawClient
from tests.wire.batch.test_nodes import add_pool

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "data") as server:
        yield server


def until(is_so: Callable[[], Any]) -> Any:
    """Wait until something is so, whatever the service says in the meantime; returns what was truthy."""
    end = time.monotonic() + 60
    while True:
        try:
            if found := is_so():
                return found
        except (AzureError, OSError):
            pass
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_node_requests_outlive_the_service(server: Server) -> None:
    names = server.credentials
    credential = AzureNamedKeyCredential(names["BATCH_ACCOUNT_NAME"], names["BATCH_ACCOUNT_KEY"])
    raw = RawClient(server)
    with BatchClient(names["BATCH_ACCOUNT_URL"], credential) as client:
        add_pool(client, "pool")

        def node_in(state: str) -> Any:
            return until(lambda: next((node for node in client.list_nodes("pool") if node.state == state), None))

        node = node_in("idle").id

        def ask_and_kill(operation: str, status: int) -> None:
            reply = raw.send("POST", f"/pools/pool/nodes/{node}/{operation}", {})
            assert reply.status == status, reply.content
            os.kill(server.service_pid("batch"), signal.SIGKILL)

        assert raw.send("POST", f"/pools/pool/nodes/{node}/disablescheduling", {}).status == 200
        ask_and_kill("deallocate", 202)
        node_in("deallocated")
        ask_and_kill("start", 202)
        assert node_in("offline").scheduling_state == "disabled"
        shared = next((server.data / "batch" / "nodes").glob("*/root/shared"))
        (shared / "file").touch()
        ask_and_kill("reimage", 202)
        until(lambda: client.get_node("pool", node).state == "offline" and not (shared / "file").exists())
