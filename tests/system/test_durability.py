"""What was acknowledged outlives everything that can be killed: services, agents, and the server as a whole."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, HttpResponseError
from tests.servers import Server, running_server, start_server

pytestmark = pytest.mark.timeout(240)

#: For what must happen, on a machine that may be busy.
_PATIENCE_S = 90.0


#: The clients of the test that runs.
_clients = contextlib.ExitStack()


@pytest.fixture(autouse=True)
def clients_closed() -> Iterator[None]:
    with _clients:
        yield


def _client(server: Server) -> BatchClient:
    names = server.credentials
    credential = AzureNamedKeyCredential(names["BATCH_ACCOUNT_NAME"], names["BATCH_ACCOUNT_KEY"])
    return _clients.enter_context(BatchClient(names["BATCH_ACCOUNT_URL"], credential))


def _until(is_so: Callable[[], Any]) -> Any:
    """Wait until something is so, whatever the service says in the meantime; returns what was truthy."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with contextlib.suppress(AzureError):
            if found := is_so():
                return found
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _add_pool(client: BatchClient, nodes: int, slots: int = 1) -> None:
    image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
    configuration = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
    )
    client.create_pool(
        models.BatchPoolCreateOptions(
            id="pool",
            vm_size="standard_d2s_v3",
            virtual_machine_configuration=configuration,
            target_dedicated_nodes=nodes,
            task_slots_per_node=slots,
        )
    )


def _add_job(client: BatchClient, job: str = "job") -> None:
    client.create_job(models.BatchJobCreateOptions(id=job, pool_info=models.BatchPoolInfo(pool_id="pool")))


def _idle_nodes(client: BatchClient, count: int) -> list[Any]:
    def idle() -> list[Any]:
        nodes = list(client.list_nodes("pool"))
        return nodes if [node.state for node in nodes] == ["idle"] * count else []

    nodes: list[Any] = _until(idle)
    return nodes


def _tasks(client: BatchClient, job: str = "job") -> dict[str, Any]:
    return {task.id: task for task in client.list_tasks(job)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Adder(threading.Thread):
    """Adds tasks in collections of ten, each again and again until it is acknowledged."""

    def __init__(self, server: Server, names: list[str], command_line: str) -> None:
        super().__init__(daemon=True)
        self._client = _client(server)
        self._names = names
        self._command_line = command_line
        self.acknowledged: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for first in range(0, len(self._names), 10):
                self._add(self._names[first : first + 10])
        except BaseException as failure:
            self.failure = failure
            raise

    def _add(self, names: list[str]) -> None:
        tasks = [models.BatchTaskCreateOptions(id=name, command_line=self._command_line) for name in names]
        while True:
            try:
                answer = self._client.create_task_collection("job", models.BatchTaskGroup(task_values=tasks))
            except HttpResponseError as refusal:
                assert refusal.status_code in (500, 503), refusal
            except AzureError:
                pass  # no answer came: it may have been added, or not
            else:
                results: list[Any] = answer.as_dict()["value"]
                for each in results:
                    # After an attempt without an answer, a task may be there already.
                    assert each.get("error", {"code": "TaskExists"})["code"] == "TaskExists", each
                    self.acknowledged.append(each["taskId"])
                return


class _Observer(threading.Thread):
    """Notes each task that it sees completed, and how often it had run by then."""

    def __init__(self, server: Server, evidence: Path) -> None:
        super().__init__(daemon=True)
        self._client = _client(server)
        self._evidence = evidence
        self._is_over = threading.Event()
        self.completed: dict[str, tuple[Any, int]] = {}

    def run(self) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(AzureError):
                tasks = list(self._client.list_tasks("job", filter="state eq 'completed'"))
                runs = _runs(self._evidence)
                for task in tasks:
                    self.completed.setdefault(task.id, (_record(task), runs[task.id]))
            time.sleep(0.2)

    def finish(self) -> None:
        self._is_over.set()
        self.join()


def _record(task: Any) -> tuple[Any, ...]:
    info = task.execution_info
    return (task.state, info.result, info.exit_code, info.start_time, info.end_time, task.node_info.node_id)


def _runs(evidence: Path) -> Counter[str]:
    """How often each task has run, by what the tasks themselves have written."""
    return Counter(evidence.read_text().split()) if evidence.exists() else Counter()


def _services(server: Server) -> list[psutil.Process]:
    """The processes of the services, as long as their server lives."""
    children = psutil.Process(server.process.pid).children()
    return [each for each in children if "millpond.cli.service" in each.cmdline()]


def _kill_service(server: Server) -> None:
    for service in _services(server):
        if "batch" in service.cmdline():
            service.kill()


def _kill_server(server: Server) -> None:
    """End the whole server at once, as far as that can be done from outside."""
    services = _services(server)
    server.kill()
    for service in services:
        with contextlib.suppress(psutil.NoSuchProcess):
            service.kill()
    psutil.wait_procs(services, timeout=_PATIENCE_S)


@contextlib.contextmanager
def _unbreakable(server: Server) -> Iterator[list[Server]]:
    """The server, and those that are started in its place: the last in the list is the one that runs.

    Ends with a clean stop of that one.
    """
    servers = [server]
    try:
        yield servers
    except BaseException:
        _kill_server(servers[-1])
        raise
    servers[-1].stop()


@pytest.mark.parametrize("killed", ["service", "server"])
def test_kill_loses_no_task_and_repeats_none(tmp_path: Path, killed: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    data, evidence = tmp_path / "data", tmp_path / "evidence"
    # Plain processes can leave evidence outside of their node; the port stays, so that agents find a new server.
    options = ("--isolation", "process", "--batch-port", str(_free_port()))
    with _unbreakable(start_server(data, *options)) as servers:
        _add_pool(_client(servers[-1]), nodes=2, slots=4)
        _add_job(_client(servers[-1]))
        names = [f"task-{number:03d}" for number in range(500)]
        command_line = f"/bin/sh -c 'echo $AZ_BATCH_TASK_ID >> {evidence}; sleep 0.05'"
        adder, observer = _Adder(servers[-1], names, command_line), _Observer(servers[-1], evidence)
        adder.start()
        observer.start()
        for _ in range(4):
            time.sleep(moments.uniform(0.2, 1.5))
            if killed == "service":
                _kill_service(servers[-1])
            else:
                _kill_server(servers[-1])
                servers.append(start_server(data, *options))
        adder.join(_PATIENCE_S)
        assert adder.failure is None
        assert sorted(adder.acknowledged) == names
        client = _client(servers[-1])
        _until(lambda: client.get_job_task_counts("job").task_counts.completed == 500)
        observer.finish()

        tasks = _tasks(client)
        assert sorted(tasks) == names
        assert {_record(task)[:3] for task in tasks.values()} == {("completed", "success", 0)}
        assert {task.execution_info.retry_count for task in tasks.values()} == {0}
        assert {task.execution_info.requeue_count for task in tasks.values()} == {0}
        runs = _runs(evidence)
        assert set(runs) == set(names)
        if killed == "service":  # the nodes lived on, so no task had a reason to run twice, completed or not
            assert {name: count for name, count in runs.items() if count != 1} == {}
        assert observer.completed
        for name, (record, count) in observer.completed.items():
            assert _record(tasks[name]) == record
            assert runs[name] == count
        assert {node.state for node in client.list_nodes("pool")} == {"idle"}


def test_kills_leave_tasks_in_the_order_of_their_dependencies(own_server: Server) -> None:
    """A diamond: one task, forty that depend on it, one that depends on all of those by a range; then a chain."""
    client = _client(own_server)
    _add_pool(client, nodes=2, slots=4)
    pool = models.BatchPoolInfo(pool_id="pool")
    client.create_job(models.BatchJobCreateOptions(id="job", pool_info=pool, uses_task_dependencies=True))
    numbers = range(1, 41)
    all_numbers = models.BatchTaskIdRange(start=numbers[0], end=numbers[-1])
    wants: dict[str, models.BatchTaskDependencies | None] = {
        "end": models.BatchTaskDependencies(task_ids=["chain-4"]),
        **{f"chain-{n}": models.BatchTaskDependencies(task_ids=[f"chain-{n - 1}"]) for n in range(1, 5)},
        "chain-0": models.BatchTaskDependencies(task_id_ranges=[all_numbers]),
        **{str(n): models.BatchTaskDependencies(task_ids=["begin"]) for n in numbers},
        "begin": None,
    }
    for name, depends_on in wants.items():
        task = models.BatchTaskCreateOptions(id=name, command_line="sleep 0.1", depends_on=depends_on)
        client.create_task("job", task)
    for _ in range(4):
        time.sleep(random.uniform(0.1, 0.6))
        _kill_service(own_server)
    _until(lambda: client.get_job_task_counts("job").task_counts.succeeded == len(wants))
    infos = {name: task.execution_info for name, task in _tasks(client).items()}
    assert all(infos[str(n)].start_time >= infos["begin"].end_time for n in numbers)
    assert infos["chain-0"].start_time >= max(infos[str(n)].end_time for n in numbers)
    chain = ["chain-0", "chain-1", "chain-2", "chain-3", "chain-4", "end"]
    assert all(infos[one].end_time <= infos[next_].start_time for one, next_ in pairwise(chain))


def test_killed_agent_gives_its_tasks_back_without_a_retry(own_server: Server) -> None:
    client = _client(own_server)
    _add_pool(client, nodes=2, slots=2)
    nodes = {node.id: node for node in _idle_nodes(client, 2)}
    _add_job(client)
    script = "/bin/sh -c 'echo ran >> $AZ_BATCH_NODE_SHARED_DIR/runs; sleep 3'"
    for name in ("a", "b"):
        client.create_task("job", models.BatchTaskCreateOptions(id=name, command_line=script))

    def running() -> dict[str, Any]:
        tasks = _tasks(client)
        return tasks if all(task.state == "running" for task in tasks.values()) else {}

    before = _until(running)
    first = before["a"].node_info.node_id
    other = next(node for node in nodes if node != first)
    assert before["b"].node_info.node_id == other  # tasks are spread over the nodes
    os.kill(_agent_pid(own_server.data, first), signal.SIGKILL)

    def moved() -> Any:
        task: Any = client.get_task("job", "a")
        return task if task.node_info and task.node_info.node_id == other else None

    again = _until(moved)
    assert again.execution_info.retry_count == again.execution_info.requeue_count == 0
    _until(lambda: client.get_job_task_counts("job").task_counts.completed == 2)
    tasks = _tasks(client)
    for task in tasks.values():
        assert (task.state, task.execution_info.result) == ("completed", "success")
        assert task.execution_info.retry_count == task.execution_info.requeue_count == 0
        assert task.node_info.node_id == other
    after = {node.id: node for node in _idle_nodes(client, 2)}
    assert set(after) == set(nodes)
    assert after[first].last_boot_time > nodes[first].last_boot_time
    assert after[other].last_boot_time == nodes[other].last_boot_time
    runs = b"".join(client.download_node_file("pool", other, "shared/runs"))
    assert runs.split() == [b"ran", b"ran"]


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _agent_pid(data: Path, node_id: str) -> int:
    (record,) = (data / "batch" / "nodes").glob(f"*{node_id.lower()}/agent.json")
    pid: int = msgspec.json.decode(record.read_bytes())["pid"]
    return pid


def test_stopped_server_takes_its_tasks_up_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--isolation", "process")
    with running_server(data, *options) as server:
        client = _client(server)
        _add_pool(client, nodes=1, slots=2)
        _add_job(client)
        script = f"/bin/sh -c 'echo $$ >> {tmp_path}/pids; sleep 1000'"
        client.create_task("job", models.BatchTaskCreateOptions(id="long", command_line=script))
        quick = f"/bin/sh -c 'test -e {tmp_path}/go || exec sleep 1000'"
        client.create_task("job", models.BatchTaskCreateOptions(id="quick", command_line=quick))
        _until((tmp_path / "pids").exists)
    assert not _is_running(int((tmp_path / "pids").read_text().split()[0]))
    (tmp_path / "go").touch()
    with running_server(data, *options) as server:
        client = _client(server)
        done = _until(lambda: (task := client.get_task("job", "quick")).state == "completed" and task)
        assert done.execution_info.result == "success"
        assert done.execution_info.retry_count == done.execution_info.requeue_count == 0
        assert client.get_task("job", "long").state == "running"
        assert len((tmp_path / "pids").read_text().split()) == 2
        client.terminate_task("job", "long")
        ended = _until(lambda: (task := client.get_task("job", "long")).state == "completed" and task)
        assert ended.execution_info.failure_info.code == "TaskEnded"


def test_copy_of_a_stopped_servers_data_opens_again(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        client = _client(server)
        _add_pool(client, nodes=1)
        _add_job(client)
        client.create_task("job", models.BatchTaskCreateOptions(id="before", command_line="/bin/true"))
        _until(lambda: client.get_task("job", "before").state == "completed")
        client.begin_resize_pool("pool", models.BatchPoolResizeOptions(target_dedicated_nodes=0))
        _until(lambda: client.get_pool("pool").allocation_state == "steady" and not list(client.list_nodes("pool")))
        tasks = [models.BatchTaskCreateOptions(id=f"task-{number}", command_line="/bin/true") for number in range(50)]
        client.create_task_collection("job", models.BatchTaskGroup(task_values=tasks))
        pool, job, stored = client.get_pool("pool"), client.get_job("job"), _tasks(client)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    shutil.rmtree(tmp_path / "data")
    with running_server(tmp_path / "copy") as server:
        client = _client(server)
        assert server.credentials["BATCH_ACCOUNT_KEY"]
        assert _without_urls(client.get_pool("pool")) == _without_urls(pool)
        assert _without_urls(client.get_job("job")) == _without_urls(job)
        assert {name: _without_urls(task) for name, task in _tasks(client).items()} == {
            name: _without_urls(task) for name, task in stored.items()
        }
        client.begin_resize_pool("pool", models.BatchPoolResizeOptions(target_dedicated_nodes=2))
        _until(lambda: client.get_job_task_counts("job").task_counts.completed == 51)
        assert client.get_job_task_counts("job").task_counts.succeeded == 51


def _without_urls(value: Any) -> Any:
    """What the service says of an entity, without the places, which name the server's port."""
    if isinstance(value, list):
        return [_without_urls(each) for each in value]
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        places = ("url", "Url", "odata.metadata")
        return {name: _without_urls(each) for name, each in value.items() if not name.endswith(places)}
    return value
