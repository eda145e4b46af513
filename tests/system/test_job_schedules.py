"""A schedule in real time, with all that its jobs may have, on a server that is killed now and then."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, ResourceNotFoundError
from tests.servers import Server, running_server

pytestmark = pytest.mark.timeout(180)

#: For what must happen, on a machine that may be busy.
_PATIENCE_S = 90.0


def _client(server: Server) -> BatchClient:
    names = server.credentials
    credential = AzureNamedKeyCredential(names["BATCH_ACCOUNT_NAME"], names["BATCH_ACCOUNT_KEY"])
    return BatchClient(names["BATCH_ACCOUNT_URL"], credential)


def _until(is_so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with contextlib.suppress(AzureError):
            if found := is_so():
                return found
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _is_gone(get: Callable[[], object]) -> bool:
    try:
        get()
    except ResourceNotFoundError:
        return True
    return False


def _schedule() -> models.BatchJobScheduleCreateOptions:
    """Every half second a job with a manager, a preparation and a release task, in one pool that scales itself."""
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    machine = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    pool = models.BatchPoolSpecification(
        vm_size="standard_d2s_v3",
        virtual_machine_configuration=machine,
        enable_auto_scale=True,
        auto_scale_formula="$TargetDedicatedNodes = 1;",
    )
    auto = models.BatchAutoPoolSpecification(pool_lifetime_option="jobschedule", pool=pool)
    prepared = "$AZ_BATCH_NODE_SHARED_DIR/prepared"
    return models.BatchJobScheduleCreateOptions(
        id="often",
        schedule=models.BatchJobScheduleConfiguration(recurrence_interval=datetime.timedelta(seconds=0.5)),
        job_specification=models.BatchJobSpecification(
            pool_info=models.BatchPoolInfo(auto_pool_specification=auto),
            common_environment_settings=[models.EnvironmentSetting(name="COLOUR", value="blue")],
            job_preparation_task=models.BatchJobPreparationTask(command_line=f"/bin/sh -c 'touch {prepared}'"),
            job_release_task=models.BatchJobReleaseTask(command_line=f"/bin/sh -c 'rm {prepared}'"),
            job_manager_task=models.BatchJobManagerTask(
                id="manager", command_line=f"/bin/sh -c 'echo $AZ_BATCH_JOB_ID $COLOUR; test -e {prepared}'"
            ),
        ),
    )


def _kill_batch(server: Server) -> None:
    pid = server.service_pid("batch")
    os.kill(pid, signal.SIGKILL)
    _until(lambda: server.service_pid("batch") != pid)


def _completed(client: BatchClient) -> list[models.BatchJob]:
    return list(client.list_jobs_from_schedule("often", filter="state eq 'completed'"))


def test_a_schedule_goes_on_through_kills_and_leaves_nothing(tmp_path: Path) -> None:
    settings = tmp_path / "millpond.toml"
    settings.write_text("shortest_recurrence_s = 0.1\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--config", str(settings), "--batch-port", str(port))
    with running_server(tmp_path / "data", *options) as server, _client(server) as client:
        client.create_job_schedule(_schedule())
        for count in (2, 4, 6):
            _until(lambda count=count: len(_completed(client)) >= count)  # type: ignore[misc]
            _kill_batch(server)
        _until(lambda: len(_completed(client)) >= 8)
        _until(lambda: client.begin_terminate_job_schedule("often", polling_interval=0) or True)
        _until(lambda: client.get_job_schedule("often").state == "completed")
        jobs = list(client.list_jobs_from_schedule("often"))
        assert [job.id for job in jobs] == [f"often:job-{number}" for number in range(1, len(jobs) + 1)]
        infos = [job.execution_info for job in jobs if job.execution_info is not None]
        assert [info.termination_reason for info in infos[:-1]] == ["JMComplete"] * (len(jobs) - 1)
        assert all(after.start_time >= before.end_time for before, after in pairwise(infos) if before.end_time)
        [pool_id] = {info.pool_id for info in infos}
        for job in jobs[:-1]:
            task = client.get_task(job.id, "manager")
            assert task.execution_info is not None
            assert task.execution_info.exit_code == 0
        _until(lambda: _is_gone(lambda: client.get_pool(pool_id or "")))
        client.begin_delete_job_schedule("often", polling_interval=0)
        _until(lambda: _is_gone(lambda: client.get_job_schedule("often")))
        assert not list(client.list_jobs())
        assert not list(client.list_pools())
