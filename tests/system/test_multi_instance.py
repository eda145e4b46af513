"""Multi-instance tasks on real nodes: a user's MPI program over ssh, and kills of whatever can be killed."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.models._models import BatchNodeRebootOptions  # the SDK forgot to export it
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from tests.servers import Server
from tests.system.nodes import sandbox_problem

pytestmark = pytest.mark.timeout(240)

_PATIENCE_S = 90.0

#: Sums up the ranks by the MPI library itself, which is on every node that has mpirun.
_PROGRAM = """
import ctypes, socket
mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
mpi.MPI_Init(None, None)
named = lambda name: ctypes.byref(ctypes.c_char.in_dll(mpi, name))
world, number, plus = named("ompi_mpi_comm_world"), named("ompi_mpi_int"), named("ompi_mpi_op_sum")
rank, total = ctypes.c_int(), ctypes.c_int()
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mpi.MPI_Allreduce(ctypes.byref(ctypes.c_int(rank.value + 1)), ctypes.byref(total), 1, number, plus, world)
print("rank", rank.value, "sum", total.value, "on", socket.gethostname(), flush=True)
mpi.MPI_Finalize()
"""

#: Starts a node's own sshd, as the task's user, on the node's own address: local nodes share the machine's ports.
_COORDINATE = """
cd $AZ_BATCH_TASK_SHARED_DIR
ssh-keygen -q -t ed25519 -N '' -f host_key
address=$(getent hosts $(hostname) | cut -d' ' -f1)
exec /usr/sbin/sshd -f /dev/null -h $PWD/host_key -p 2222 -o ListenAddress=$address -o PidFile=none -o UsePAM=no \
  -o StrictModes=no -o AuthorizedKeysFile=$PWD/key.pub -E $PWD/sshd.log
"""

_RUN = """
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
key=$AZ_BATCH_TASK_SHARED_DIR/key
exec mpirun --host $AZ_BATCH_HOST_LIST -np 2 \
  --mca plm_rsh_agent "ssh -p 2222 -i $key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null" \
  /usr/bin/python3 $AZ_BATCH_TASK_SHARED_DIR/program.py
"""


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
            pass  # the service is away for a moment
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _add_pool(client: Any, nodes: int) -> None:
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    client.create_pool(
        models.BatchPoolCreateOptions(
            id="pool",
            vm_size="standard_d2s_v3",
            virtual_machine_configuration=models.VirtualMachineConfiguration(
                image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
            ),
            target_dedicated_nodes=nodes,
            enable_inter_node_communication=True,
        )
    )
    client.create_job(models.BatchJobCreateOptions(id="job", pool_info=models.BatchPoolInfo(pool_id="pool")))


def _add_task(
    client: Any,
    command: str,
    coordination: str,
    *,
    task: str = "task",
    instances: int = 2,
    files: list[models.ResourceFile] | None = None,
    **options: Any,
) -> None:
    settings = models.MultiInstanceSettings(
        number_of_instances=instances, coordination_command_line=coordination, common_resource_files=files
    )
    client.create_task(
        "job",
        models.BatchTaskCreateOptions(id=task, command_line=command, multi_instance_settings=settings, **options),
    )


def _ended(client: Any, task: str = "task") -> Any:
    return _until(lambda: (found := client.get_task("job", task)) and (found.state == "completed" and found))


def _text(client: Any, file: str, task: str = "task") -> str:
    return b"".join(client.download_task_file("job", task, file)).decode()


def _container(server: Server, files: dict[str, bytes]) -> str:
    """A container's URL with a signature to read these files."""
    names = server.credentials
    key = names["STORAGE_ACCOUNT_KEY"]
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with BlobServiceClient(names["STORAGE_ACCOUNT_URL"], credential=key) as storage:
        container = storage.create_container("input")
        for name, content in files.items():
            container.upload_blob(name, content)
        signature = generate_container_sas(
            names["STORAGE_ACCOUNT_NAME"],
            "input",
            account_key=key,
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=until,
        )
        return f"{container.url}?{signature}"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("mpirun"), reason="mpirun is not installed (Debian: openmpi-bin)")
@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="sshd is not installed (Debian: openssh-server)")
@pytest.mark.skipif(bool(sandbox_problem()), reason="nodes of their own name and users need a sandbox")
def test_mpi_program_runs_over_two_nodes(own_server: Server, client: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    url = _container(
        own_server,
        {
            "key": key.read_bytes(),
            "key.pub": key.with_suffix(".pub").read_bytes(),
            "coordinate.sh": _COORDINATE.encode(),
            "run.sh": _RUN.encode(),
            "program.py": _PROGRAM.encode(),
        },
    )
    _add_pool(client, 2)
    files = [models.ResourceFile(storage_container_url=url, file_mode="0600")]
    _add_task(
        client, "/bin/sh -c 'sh ../run.sh'", "/bin/sh -c 'sh $AZ_BATCH_TASK_SHARED_DIR/coordinate.sh'", files=files
    )
    task = _ended(client)
    assert task.execution_info.exit_code == 0, (_text(client, "stderr.txt"), task.execution_info.failure_info)
    lines = sorted(_text(client, "stdout.txt").splitlines())
    assert [line.rpartition(" on ")[0] for line in lines] == ["rank 0 sum 3", "rank 1 sum 3"]
    assert len({line.rpartition(" ")[2] for line in lines}) == 2
    [subtask] = client.list_subtasks("job", "task")
    assert (subtask.id, subtask.state, subtask.exit_code, subtask.result) == (1, "completed", 0, "success")
    assert subtask.node_info.node_id != task.node_info.node_id


def test_gang_waits_for_its_nodes_and_tells_of_its_subtasks(client: Any) -> None:
    _add_pool(client, 2)
    client.create_task("job", models.BatchTaskCreateOptions(id="first", command_line="sleep 0.3"))
    tell = "echo $AZ_BATCH_HOST_LIST $AZ_BATCH_NODE_LIST $AZ_BATCH_MASTER_NODE; cat ../coordination/stdout.txt"
    _add_task(client, f"/bin/sh -c '{tell}'", "/bin/sh -c 'echo $AZ_BATCH_IS_CURRENT_NODE_MASTER; sleep 1000 &'")
    task = _ended(client)
    assert (task.execution_info.exit_code, task.execution_info.result) == (0, "success")
    hosts, nodes, master, is_master = _text(client, "stdout.txt").split()
    assert hosts.split(",") == nodes.split(";") == sorted(hosts.split(","))
    assert (master, is_master) == (f"{hosts.split(',')[0]}:6000", "true")
    [subtask] = client.list_subtasks("job", "task")
    path = f"{subtask.node_info.task_root_directory}/stdout.txt"
    assert b"".join(client.download_node_file("pool", subtask.node_info.node_id, path)) == b"false\n"
    recent = client.get_node("pool", subtask.node_info.node_id).recent_tasks
    assert [(each.task_id, each.subtask_id) for each in recent if each.task_id == "task"] == [("task", 1)]
    assert list(client.list_subtasks("job", "first")) == []


def test_failed_coordination_fails_the_whole_after_its_retries(client: Any) -> None:
    _add_pool(client, 2)
    once = models.BatchTaskConstraints(max_task_retry_count=1)
    _add_task(client, "true", "/bin/sh -c 'test $AZ_BATCH_IS_CURRENT_NODE_MASTER = true || exit 3'", constraints=once)
    info = _ended(client).execution_info
    assert (info.exit_code, info.result, info.retry_count) == (3, "failure", 1)
    assert info.failure_info.code == "FailureExitCode"
    [subtask] = client.list_subtasks("job", "task")
    assert (subtask.exit_code, subtask.result, subtask.failure_info.code) == (3, "failure", "FailureExitCode")


def test_command_that_does_not_exist_fails_the_task_and_ends_what_its_coordination_left(client: Any) -> None:
    _add_pool(client, 2)
    _add_task(client, "nosuch", "/bin/sh -c 'sleep 1000 &'")
    info = _ended(client).execution_info
    assert (info.exit_code, info.failure_info.code) == (None, "CommandProgramNotFound")
    _add_task(client, "/bin/sh -c '! pgrep -x sleep'", "true", task="after")
    assert _ended(client, "after").execution_info.exit_code == 0


def test_gang_outlives_kills_of_the_service_and_of_its_nodes(own_server: Server, client: Any) -> None:
    _add_pool(client, 2)
    _add_task(client, "sleep 1000", "true")
    _until(lambda: _runs(client) and all(each.state == "running" for each in client.list_subtasks("job", "task")))
    os.kill(own_server.service_pid("batch"), signal.SIGKILL)
    before = _until(lambda: client.get_task("job", "task"))
    assert (before.state, before.execution_info.requeue_count) == ("running", 0)
    [subtask] = _until(lambda: list(client.list_subtasks("job", "task")))
    options = BatchNodeRebootOptions(node_reboot_kind="requeue")
    _until(lambda: client.begin_reboot_node("pool", subtask.node_info.node_id, options, polling_interval=0))
    again = _until(lambda: (task := client.get_task("job", "task")).execution_info.requeue_count == 1 and task)
    assert again.execution_info.retry_count == 0
    _until(lambda: client.get_task("job", "task").state == "running")
    client.terminate_task("job", "task")
    assert _ended(client).execution_info.failure_info.code == "TaskEnded"
    _until(lambda: [node.state for node in client.list_nodes("pool")] == ["idle", "idle"])


def _runs(client: Any) -> bool:
    return [node.running_tasks_count for node in client.list_nodes("pool")] == [1, 1]
