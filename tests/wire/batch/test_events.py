"""The stream of changes, as a program of today follows it."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from tests.servers import Server
from tests.wire.batch.make import wait_for


class Event(NamedTuple):
    id: str
    kind: str
    content: dict[str, Any]


@contextmanager
def following(client: BatchClient, last: str = "", **what: str) -> Iterator[Callable[[], Event]]:
    """What gives the next event. The stream is read by a thread of its own."""
    found: queue.Queue[Event] = queue.Queue()
    connected = threading.Event()
    headers = {"Last-Event-ID": last} if last else {}
    request = HttpRequest("GET", "/events", params={"api-version": "2024-07-01.20.0", **what}, headers=headers)
    answer = client.send_request(request, stream=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"

    def read() -> None:
        text = ""
        try:
            for part in answer.iter_raw():
                text += part.decode()
                connected.set()
                *events, text = text.split("\n\n")
                for event in events:
                    if not event.startswith(":"):
                        fields = dict(line.split(": ", 1) for line in event.split("\n"))
                        found.put(Event(fields["id"], fields["event"], json.loads(fields["data"])))
        except Exception:  # closed from the other thread, which is how it ends
            connected.set()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert connected.wait(30)
        yield lambda: found.get(timeout=30)
    finally:
        cast(Any, answer)._internal_response.raw._connection.sock.shutdown(2)
        thread.join(30)
        answer.close()


@pytest.fixture(scope="module")
def pool(client: BatchClient) -> str:
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    machines = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    client.create_pool(
        models.BatchPoolCreateOptions(
            id="Followed", vm_size="standard_a1_v2", virtual_machine_configuration=machines, target_dedicated_nodes=1
        )
    )
    return "Followed"


def add_job(client: BatchClient, job_id: str, pool_id: str) -> None:
    client.create_job(models.BatchJobCreateOptions(id=job_id, pool_info=models.BatchPoolInfo(pool_id=pool_id)))


def until(next_event: Callable[[], Event], kind: str, **members: Any) -> Event:
    while True:
        event = next_event()
        if event.kind == kind and all(event.content.get(name) == value for name, value in members.items()):
            return event


def test_task_is_followed_from_its_addition_to_its_end(client: BatchClient, pool: str) -> None:
    add_job(client, "Watched", pool)
    with following(client, job="watched") as next_event:
        client.create_task("Watched", models.BatchTaskCreateOptions(id="One", command_line="/bin/sh -c 'exit 3'"))
        ended = until(next_event, "task", state="completed")
        assert (ended.content["id"], ended.content["jobId"]) == ("One", "Watched")
        assert ended.content["executionInfo"]["exitCode"] == 3
        assert ended.content["nodeInfo"]["poolId"] == pool
        assert ended.content["url"].endswith("/jobs/Watched/tasks/One")
        assert until(next_event, "job").content["taskCounts"]["failed"] == 1
        client.delete_task("Watched", "One")
        assert until(next_event, "task", deleted=True).content == {"id": "one", "jobId": "Watched", "deleted": True}
        client.begin_delete_job("Watched", polling_interval=1)
        assert until(next_event, "job", deleted=True).content["id"] == "watched"


def test_job_filter_leaves_other_jobs_out_and_pool_filter_takes_what_runs_there(client: BatchClient, pool: str) -> None:
    with following(client, job="mine") as mine, following(client, pool=pool) as here:
        add_job(client, "other", "nowhere")
        add_job(client, "mine", pool)
        client.create_task("other", models.BatchTaskCreateOptions(id="task", command_line="true"))
        client.create_task("mine", models.BatchTaskCreateOptions(id="task", command_line="true"))
        assert mine().content["id"] == "mine"
        assert until(mine, "task", state="completed").content["jobId"] == "mine"
        seen: list[Event] = []
        while not seen or seen[-1].content.get("state") != "completed":
            seen.append(here())
        assert {event.content.get("jobId", "mine") for event in seen if event.kind in ("job", "task")} == {"mine"}
        node = next(iter(client.list_nodes(pool)))
        options: Any = {"nodeRebootOption": "requeue"}
        client.begin_reboot_node(pool, node.id, options, polling_interval=1)
        assert until(here, "node", state="rebooting").content["poolId"] == pool
        until(here, "node", state="idle")


def test_client_that_was_cut_off_misses_nothing(client: BatchClient, pool: str) -> None:
    with following(client) as next_event:
        add_job(client, "resumed", pool)
        last = until(next_event, "job", id="resumed")
    client.begin_disable_job("resumed", models.BatchJobDisableOptions(disable_tasks="wait"), polling_interval=1)
    wait_for(lambda: client.get_job("resumed").state == "disabled")
    with following(client, last.id, job="resumed") as next_event:
        assert next_event().content["state"] in ("disabling", "disabled")


@pytest.mark.parametrize("last", ["5f-1", "nonsense", "-", "99999999999999999999999999"])
def test_client_that_missed_something_is_told(client: BatchClient, last: str) -> None:
    with following(client, last) as next_event:
        assert next_event().kind == "reset"


def test_strangers_follow_nothing(server: Server) -> None:
    request = HttpRequest("GET", "/events", params={"api-version": "2024-07-01.20.0"})
    with (
        BatchClient(server.batch_url, AzureNamedKeyCredential("millpond", "AAAA")) as stranger,
        pytest.raises(HttpResponseError, match="AuthenticationFailed"),
    ):
        stranger.send_request(request)
