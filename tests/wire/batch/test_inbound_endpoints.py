"""Programs on nodes, reached by the endpoints of their pool."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient

_LISTEN = (
    "import socket; server = socket.create_server(({address!r}, {port})); client, _ = server.accept(); "
    "client.sendall({address!r}.encode() + client.recv(100))"
)
_BACKEND = 18080


def _pool(pool_id: str, nodes: int) -> dict[str, Any]:
    nat_pool = {
        "name": "web",
        "protocol": "tcp",
        "backendPort": _BACKEND,
        "frontendPortRangeStart": 20000,
        "frontendPortRangeEnd": 20039,
    }
    return make.pool(pool_id, nodes, networkConfiguration={"endpointConfiguration": {"inboundNATPools": [nat_pool]}})


def _nodes(raw: RawClient, pool_id: str, count: int) -> list[dict[str, Any]]:
    def idle() -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = raw.send("GET", f"/pools/{pool_id}/nodes").content["value"]
        return nodes if [node["state"] for node in nodes] == ["idle"] * count else []

    return make.wait_for(idle)


@pytest.mark.skipif(sys.platform != "linux", reason="nodes have addresses of their own on Linux alone")
def test_each_node_is_reached_by_its_own_port(raw: RawClient) -> None:
    assert raw.send("POST", "/pools", _pool("endpoints", 2)).status == 201
    nodes = _nodes(raw, "endpoints", 2)
    assert raw.send("POST", "/jobs", make.job("endpoints", "endpoints")).status == 201
    found = set()
    for number, node in enumerate(nodes):
        program = _LISTEN.format(address=node["ipAddress"], port=_BACKEND)
        command = f'/usr/bin/env python3 -c "{program}"'
        task = make.task(f"t{number}", command, affinityInfo={"affinityId": node["affinityId"]})
        assert raw.send("POST", "/jobs/endpoints/tasks", task).status == 201
        [endpoint] = node["endpointConfiguration"]["inboundEndpoints"]
        assert endpoint["name"] == f"web.{endpoint['frontendPort'] - 20000}"
        assert (endpoint["protocol"], endpoint["backendPort"]) == ("tcp", _BACKEND)
        found.add((endpoint["publicIPAddress"], endpoint["frontendPort"]))

        def answer(endpoint: dict[str, Any] = endpoint) -> bytes:
            try:
                with socket.create_connection((endpoint["publicIPAddress"], endpoint["frontendPort"]), 5) as client:
                    client.settimeout(5)
                    client.sendall(b" hears us")
                    return client.recv(100)
            except OSError:
                return b""  # it does not listen yet

        assert make.wait_for(answer) == f"{node['ipAddress']} hears us".encode()
        make.wait_for_task(raw, "endpoints", f"t{number}")
    assert {port for _, port in found} == {20000, 20001}
    assert raw.send("DELETE", "/pools/endpoints").status == 202
    make.wait_for(lambda: raw.send("GET", "/pools/endpoints").status == 404)
    address, port = found.pop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address, port), 5)
