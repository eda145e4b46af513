"""Containers through the whole service: what a user's program asks for and is told, over kills of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from tests.servers import Server
from tests.system.podman import IMAGE, make_image, podman_problem, remove_image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_PATIENCE_S = 60.0
_SETTINGS = models.BatchTaskContainerSettings(image_name=IMAGE)


@pytest.fixture(scope="module", autouse=True)
def image() -> Iterator[None]:
    if problem := podman_problem():
        pytest.skip(problem)
    make_image()
    yield
    remove_image()


@pytest.fixture
def client(own_server: Server) -> Iterator[BatchClient]:
    names = own_server.credentials
    credential = AzureNamedKeyCredential(names["BATCH_ACCOUNT_NAME"], names["BATCH_ACCOUNT_KEY"])
    with BatchClient(names["BATCH_ACCOUNT_URL"], credential) as client:
        yield client


def _until(is_so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if found := is_so():
                return found
        except AzureError:
            pass  # the service is away for a moment, or the file not there yet
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _ended(client: Any, task: str) -> Any:
    return _until(lambda: (found := client.get_task("job", task)) and (found.state == "completed" and found))


def _text(client: Any, task: str, file: str = "stdout.txt") -> str:
    return b"".join(client.download_task_file("job", task, file)).decode()


def _add_pool(client: Any, containers: models.BatchContainerConfiguration | None) -> None:
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    client.create_pool(
        models.BatchPoolCreateOptions(
            id="pool",
            vm_size="standard_d2s_v3",
            virtual_machine_configuration=models.VirtualMachineConfiguration(
                image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04", container_configuration=containers
            ),
            target_dedicated_nodes=1,
            task_slots_per_node=4,
            start_task=models.BatchStartTask(
                command_line="sh -c 'echo brought > $AZ_BATCH_NODE_SHARED_DIR/file'",
                container_settings=_SETTINGS,
                wait_for_success=True,
            ),
        )
    )


def _add_task(client: Any, task: str, command_line: str, **options: Any) -> None:
    settings = options.pop("container_settings", _SETTINGS)
    client.create_task(
        "job",
        models.BatchTaskCreateOptions(id=task, command_line=command_line, container_settings=settings, **options),
    )


def test_containers_through_the_service(client: Any, own_server: Server) -> None:
    configuration = models.BatchContainerConfiguration(
        type="dockerCompatible",
        container_image_names=[IMAGE],
    )
    _add_pool(client, configuration)
    client.create_job(
        models.BatchJobCreateOptions(
            id="job",
            pool_info=models.BatchPoolInfo(pool_id="pool"),
            job_preparation_task=models.BatchJobPreparationTask(
                id="prep", command_line="sh -c 'echo prepared > made'", container_settings=_SETTINGS
            ),
        )
    )
    _add_task(client, "plain", "sh -c 'cat $AZ_BATCH_NODE_SHARED_DIR/file $AZ_BATCH_JOB_PREP_WORKING_DIR/made'")
    _add_task(client, "default", "")
    _add_task(client, "none", "true", container_settings=None)
    plain = _ended(client, "plain")
    assert _text(client, "plain") == "brought\nprepared\n"
    assert plain.execution_info.result == "success"
    assert plain.execution_info.container_info.state == "exited"
    assert len(plain.execution_info.container_info.container_id) == 64
    assert plain.container_settings.image_name == IMAGE
    assert _ended(client, "default").execution_info.exit_code == 0
    assert _text(client, "default") == "by default\n"
    assert _ended(client, "none").execution_info.failure_info.code == "ContainerInvalidSettings"
    (node,) = client.list_nodes("pool")
    assert node.start_task_info.container_info.state == "exited"
    (status,) = client.list_job_preparation_and_release_task_status("job")
    assert status.job_preparation_task_execution_info.container_info.state == "exited"

    _add_task(client, "kept", "sh -c 'echo on; while [ ! -e go ]; do sleep 0.1; done; echo done'")
    _until(lambda: _text(client, "kept"))
    service = psutil.Process(own_server.service_pid("batch"))
    service.kill()
    service.wait(10)
    assert _until(lambda: client.get_task("job", "kept")).state == "running"
    _add_task(client, "go", "sh -c 'echo > $AZ_BATCH_NODE_ROOT_DIR/workitems/job/job-1/kept/wd/go'")
    assert _ended(client, "kept").execution_info.container_info.state == "exited"
    assert _text(client, "kept") == "on\ndone\n"
    after = client.get_task("job", "plain").execution_info.container_info
    assert after.container_id == plain.execution_info.container_info.container_id


def test_tasks_of_other_pools_have_no_containers(client: Any) -> None:
    _add_pool(client, None)
    client.create_job(models.BatchJobCreateOptions(id="job", pool_info=models.BatchPoolInfo(pool_id="pool")))

    def failed() -> Any:
        (node,) = client.list_nodes("pool")
        return node.state == "starttaskfailed" and node

    node = _until(failed)
    assert node.start_task_info.failure_info.code == "ContainerPoolNotSupported"
