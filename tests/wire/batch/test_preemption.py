"""Low-priority nodes, which a person who plays the cloud can take away."""

from __future__ import annotations

from typing import Any

from azure.batch import BatchClient
from tests.servers import Server, millpond
from tests.wire.batch.make import job, pool, task, wait_for
from tests.wire.batch.raw import RawClient


def preempt(server: Server, node: str, *options: str) -> str:
    done = millpond("preempt", node, "--data", server.data, *options)
    return done.stdout if done.returncode == 0 else done.stderr


def nodes(raw: RawClient, pool_id: str) -> dict[str, dict[str, Any]]:
    return {node["id"]: node for node in raw.send("GET", f"/pools/{pool_id}/nodes").content["value"]}


def test_preempted_node_loses_its_task_and_its_files_and_comes_back(
    server: Server, raw: RawClient, client: BatchClient
) -> None:
    raw.send("POST", "/pools", pool("spot", 0, targetLowPriorityNodes=2))
    wait_for(lambda: [node["state"] for node in nodes(raw, "spot").values()] == ["idle", "idle"])
    assert not any(node["isDedicated"] for node in nodes(raw, "spot").values())
    found = client.get_pool("spot")
    assert (found.current_dedicated_nodes, found.current_low_priority_nodes) == (0, 2)
    raw.send("POST", "/jobs", job("spot", "spot"))
    raw.send("POST", "/jobs/spot/tasks", task("t", "/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/mine && sleep 600'"))
    running = wait_for(lambda: raw.send("GET", "/jobs/spot/tasks/t").content.get("nodeInfo"))
    place = running["nodeId"]
    shared = f"/pools/spot/nodes/{place}/files/shared/mine"
    wait_for(lambda: raw.send("HEAD", shared).status == 200)

    assert f"Preempted {place}" in preempt(server, place, "--for", "3")
    assert nodes(raw, "spot")[place]["state"] == "preempted"
    (counts,) = raw.send("GET", "/nodecounts?$filter=poolId eq 'spot'".replace(" ", "%20")).content["value"]
    assert (counts["lowPriority"]["preempted"], counts["lowPriority"]["total"]) == (1, 2)
    assert (counts["dedicated"]["total"], client.get_pool("spot").current_low_priority_nodes) == (0, 2)
    assert client.get_pool("spot").allocation_state == "steady"
    again = wait_for(lambda: raw.send("GET", "/jobs/spot/tasks/t").content["nodeInfo"])
    assert again["nodeId"] != place
    wait_for(lambda: nodes(raw, "spot")[place]["state"] == "idle")
    assert raw.send("HEAD", shared).status == 404
    raw.send("DELETE", "/jobs/spot")
    raw.send("DELETE", "/pools/spot")


def test_what_cannot_be_preempted_says_why(server: Server, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("dedicated", 1))
    wait_for(lambda: [node["state"] for node in nodes(raw, "dedicated").values()] == ["idle"])
    (node,) = nodes(raw, "dedicated")
    assert "Dedicated nodes are not preempted." in preempt(server, node)
    assert "The specified node does not exist." in preempt(server, "nothing")
    assert raw.send("POST", f"/nodes/{node}/preempt", sign_it=False).code == "MissingRequiredHeader"
    assert raw.send("POST", f"/nodes/{node}/preempt?seconds=x").code == "InvalidQueryParameterValue"
    raw.send("DELETE", "/pools/dedicated")
