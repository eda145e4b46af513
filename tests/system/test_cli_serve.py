"""``millpond serve``: start, stop, restarts of its services, and what keeps it from starting."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.servers import Server, millpond, millpond_credentials, running_server, start_server

_PATIENCE_S = 15.0


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _answers(url: str) -> bool:
    """Whether an HTTP server answers there, be it with an error."""
    try:
        urllib.request.urlopen(url, timeout=_PATIENCE_S).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def test_ready_line_names_both_urls_and_the_data_directory(server: Server) -> None:
    blob_base = server.blob_url.rpartition("/")[0]
    assert server.ready_line == (
        f"Millpond is ready: Batch at {server.batch_url}, Blob at {blob_base}, data in {server.data}\n"
    )
    assert _answers(server.batch_url)
    assert _answers(server.blob_url)


def test_data_directory_is_for_its_owner_alone(server: Server) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) & 0o077 == 0


def test_server_listens_on_loopback_alone(server: Server) -> None:
    supervisor = psutil.Process(server.process.pid)
    addresses = {
        connection.laddr.ip
        for process in (supervisor, *supervisor.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_second_server_on_the_directory_is_refused_and_the_first_goes_on(server: Server) -> None:
    done = millpond("serve", "--data", server.data, "--batch-port", "0", "--blob-port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"millpond: another server is running on the data directory {server.data}\n"
    assert millpond_credentials(server.data) == server.credentials


@pytest.mark.parametrize("option", ["--batch-port", "--blob-port"])
def test_taken_port_is_one_line(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = {"--batch-port": "0", "--blob-port": "0"} | {option: str(port)}
        done = millpond("serve", "--data", tmp_path / "data", *(text for pair in options.items() for text in pair))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stderr


def test_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = millpond("serve", "--data", tmp_path / "file" / "data")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"millpond: cannot use the data directory {tmp_path}/file/data: Not a directory\n"


def test_unwritable_directory_is_one_line() -> None:
    done = millpond("serve", "--data", "/proc/data")  # where not even root may write
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("millpond: cannot use the data directory /proc/data: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["198.51.100.1", "no-such-host.invalid"])
def test_address_of_another_machine_is_one_line(tmp_path: Path, host: str) -> None:
    done = millpond("serve", "--data", tmp_path / "data", "--host", host)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert host in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_stops_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    server = start_server(tmp_path / "data")
    server.process.send_signal(number)
    server.stop()


def test_stop_ends_the_tasks_that_run(tmp_path: Path) -> None:
    from azure.batch import BatchClient, models
    from azure.core.credentials import AzureNamedKeyCredential

    with running_server(tmp_path / "data") as server:
        credential = AzureNamedKeyCredential(
            server.credentials["BATCH_ACCOUNT_NAME"], server.credentials["BATCH_ACCOUNT_KEY"]
        )
        with BatchClient(server.batch_url, credential) as client:
            image = next(iter(client.list_supported_images()))
            configuration = models.VirtualMachineConfiguration(
                image_reference=image.image_reference, node_agent_sku_id=image.node_agent_sku_id
            )
            client.create_pool(
                models.BatchPoolCreateOptions(
                    id="pool",
                    vm_size="standard_d2s_v3",
                    target_dedicated_nodes=2,
                    virtual_machine_configuration=configuration,
                )
            )
            client.create_job(models.BatchJobCreateOptions(id="job", pool_info=models.BatchPoolInfo(pool_id="pool")))
            for name in ("one", "two"):
                # They refuse to end, and so does what they leave behind in a session of its own.
                command = "/bin/bash -c 'trap \"\" TERM INT HUP; setsid sleep 1000 & while true; do sleep 1000; done'"
                client.create_task("job", models.BatchTaskCreateOptions(id=name, command_line=command))
            _wait_until(lambda: all(task.state == "running" for task in client.list_tasks("job")))
            supervisor = psutil.Process(server.process.pid)
            _wait_until(lambda: sum(each.name() == "sleep" for each in supervisor.children(recursive=True)) == 4)
    # Leaving the block has stopped the server, and seen all of them end.


def test_stop_does_not_wait_for_a_service_that_hangs(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        os.kill(server.service_pid("batch"), signal.SIGSTOP)


def test_stop_while_it_starts_is_clean(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "data"), "--batch-port", "0", "--blob-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "millpond.cli", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until(lambda: len(psutil.Process(process.pid).children()) == 2)
    children = psutil.Process(process.pid).children()
    process.terminate()
    _, errors = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, errors
    assert psutil.wait_procs(children, timeout=_PATIENCE_S)[1] == []


@pytest.mark.parametrize("name", ["batch", "blob"])
def test_service_that_dies_is_started_again_at_the_same_url(own_server: Server, name: str) -> None:
    url = own_server.batch_url if name == "batch" else own_server.blob_url
    before = own_server.service_pid(name)
    os.kill(before, signal.SIGKILL)
    assert _answers(url)  # connections wait for the service that is being started
    _wait_until(lambda: own_server.service_pid(name) != before)
    assert "killed by SIGKILL" in own_server.log.read_text()


def test_services_end_when_the_supervisor_is_killed_and_another_server_takes_over(tmp_path: Path) -> None:
    first = start_server(tmp_path / "data")
    services = psutil.Process(first.process.pid).children(recursive=True)
    first.kill()
    with running_server(tmp_path / "data") as second:
        assert second.credentials["BATCH_ACCOUNT_KEY"] == first.credentials["BATCH_ACCOUNT_KEY"]
    assert psutil.wait_procs(services, timeout=_PATIENCE_S)[1] == []


@pytest.mark.parametrize(("only", "title"), [("batch", "Batch"), ("blob", "Blob")])
def test_one_service_alone(tmp_path: Path, only: str, title: str) -> None:
    with running_server(tmp_path / "data", "--only", only) as server:
        (service,) = psutil.Process(server.process.pid).children()
        assert server.service_pid(only) == service.pid
        assert server.ready_line.startswith(f"Millpond is ready: {title} at http://127.0.0.1:")
        assert server.ready_line.endswith(f", data in {server.data}\n")


def test_credentials_are_of_the_running_server_and_of_the_settings_after_it(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        assert server.batch_url in server.ready_line
        assert not server.batch_url.endswith(":10100")
    assert millpond_credentials(tmp_path / "data")["BATCH_ACCOUNT_URL"] == "http://127.0.0.1:10100"


def test_rotated_key_holds_on_the_running_server(own_server: Server) -> None:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobServiceClient

    name = own_server.credentials["STORAGE_ACCOUNT_NAME"]
    with BlobServiceClient.from_connection_string(own_server.credentials["STORAGE_CONNECTION_STRING"]) as client:
        client.create_container("before")
        assert millpond("account", "rotate-key", name, "--data", own_server.data).returncode == 0
        with pytest.raises(HttpResponseError) as refused:
            client.create_container("between")
        assert refused.value.status_code == 403
    fresh = millpond_credentials(own_server.data)
    with BlobServiceClient.from_connection_string(fresh["STORAGE_CONNECTION_STRING"]) as client:
        assert [container.name for container in client.list_containers()] == ["before"]
