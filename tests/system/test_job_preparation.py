"""Nodes are prepared for a job and released from it, whatever is killed in the meantime."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import BatchJobTerminateOptions, BatchNodeRebootOptions  # the SDK forgot to export them
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, ResourceNotFoundError
from tests.servers import Server, running_server

pytestmark = pytest.mark.timeout(120)

_REBOOT = BatchNodeRebootOptions(node_reboot_kind="requeue")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[BatchClient]:
    names = server.credentials
    key = AzureNamedKeyCredential(names["BATCH_ACCOUNT_NAME"], names["BATCH_ACCOUNT_KEY"])
    with BatchClient(names["BATCH_ACCOUNT_URL"], key) as client:
        yield client


def _until(is_so: Callable[[], Any]) -> Any:
    """Wait until something is so, whatever the service says in the meantime; returns what was truthy."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(AzureError):
            if found := is_so():
                return found
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _kill_service(server: Server) -> None:
    service = psutil.Process(server.service_pid("batch"))
    service.kill()
    with contextlib.suppress(psutil.TimeoutExpired):
        service.wait(10)


def _pool(client: BatchClient, pool_id: str) -> str:
    """A pool with one node; the node's id."""
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    machine = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    options = models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="standard_d2s_v3",
        virtual_machine_configuration=machine,
        target_dedicated_nodes=1,
        task_slots_per_node=2,
    )
    client.create_pool(options)
    node = _until(lambda: [one for one in client.list_nodes(pool_id) if one.state == "idle"])[0]
    return str(node.id)


def _job(client: BatchClient, job_id: str, preparation: str, release: str) -> None:
    """Each writes to a file of its node's, outside of the job's directories, that it has begun, and waits to go on."""
    client.create_job(
        models.BatchJobCreateOptions(
            id=job_id,
            pool_info=models.BatchPoolInfo(pool_id=job_id),
            job_preparation_task=models.BatchJobPreparationTask(command_line=preparation),
            job_release_task=models.BatchJobReleaseTask(command_line=release),
        )
    )


def _script(name: str) -> str:
    shared = "$AZ_BATCH_NODE_SHARED_DIR"
    return f"/bin/sh -c 'echo x >> {shared}/{name}; while ! [ -e {shared}/go-{name} ]; do sleep 0.05; done'"


def _runs(client: BatchClient, pool: str, node: str, name: str) -> int:
    try:
        return len(b"".join(client.download_node_file(pool, node, f"shared/{name}")).split())
    except ResourceNotFoundError:
        return 0


def _go(client: BatchClient, pool: str, name: str) -> None:
    """Let what waits on the pool's node go on, by way of a job of its own."""
    client.create_job(
        models.BatchJobCreateOptions(id=f"go-{pool}-{name}", pool_info=models.BatchPoolInfo(pool_id=pool))
    )
    command = f"/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/go-{name}'"
    client.create_task(f"go-{pool}-{name}", models.BatchTaskCreateOptions(id="go", command_line=command))


def _status(client: BatchClient, job: str) -> Any:
    (status,) = client.list_job_preparation_and_release_task_status(job)
    return status


def test_preparation_and_release_outlive_the_service(server: Server, client: BatchClient) -> None:
    node = _pool(client, "kill")
    _job(client, "kill", "/bin/sh -c 'echo x >> $AZ_BATCH_NODE_SHARED_DIR/prepared; sleep 2'", _script("released"))
    client.create_task("kill", models.BatchTaskCreateOptions(id="task", command_line="true"))
    _until(lambda: _runs(client, "kill", node, "prepared") == 1)
    assert client.get_task("kill", "task").state == models.BatchTaskState.PREPARING
    _kill_service(server)
    _until(lambda: client.get_task("kill", "task").state == models.BatchTaskState.COMPLETED)
    assert _runs(client, "kill", node, "prepared") == 1
    reason = BatchJobTerminateOptions(termination_reason="enough")
    client.begin_terminate_job("kill", reason, polling_interval=0)
    _until(lambda: _runs(client, "kill", node, "released") == 1)
    assert client.get_job("kill").state == models.BatchJobState.TERMINATING
    _kill_service(server)
    _until(lambda: client.get_job("kill").state == models.BatchJobState.TERMINATING)
    _go(client, "kill", "released")
    _until(lambda: client.get_job("kill").state == models.BatchJobState.COMPLETED)
    assert _runs(client, "kill", node, "released") == 1
    status = _status(client, "kill")
    assert status.job_preparation_task_execution_info.result == "success"
    assert status.job_release_task_execution_info.result == "success"


def test_node_that_reboots_is_prepared_again_and_released_again(client: BatchClient) -> None:
    node = _pool(client, "die")
    _job(client, "die", _script("prepared"), _script("released"))
    client.create_task("die", models.BatchTaskCreateOptions(id="task", command_line="true"))
    _until(lambda: _runs(client, "die", node, "prepared") == 1)
    client.begin_reboot_node("die", node, _REBOOT, polling_interval=0)
    _until(lambda: _runs(client, "die", node, "prepared") == 2)
    assert client.get_task("die", "task").state == models.BatchTaskState.PREPARING
    _go(client, "die", "prepared")
    _until(lambda: client.get_task("die", "task").state == models.BatchTaskState.COMPLETED)
    client.begin_delete_job("die", polling_interval=0)
    _until(lambda: _runs(client, "die", node, "released") == 1)
    assert client.get_job("die").state == models.BatchJobState.DELETING
    client.begin_reboot_node("die", node, _REBOOT, polling_interval=0)
    _until(lambda: _runs(client, "die", node, "released") == 2)
    _go(client, "die", "released")

    def is_gone() -> bool:
        try:
            client.get_job("die")
        except ResourceNotFoundError:
            return True
        return False

    _until(is_gone)
    entries = _until(lambda: [entry.name for entry in client.list_node_files("die", node, recursive=True)])
    assert not [name for name in entries if "workitems/die" in name]
