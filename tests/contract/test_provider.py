"""What every provider must do; for now the only one is the local, in both kinds of isolation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.system.agent_server import agent_server, task
from tests.system.nodes import KEY, Node, local_node, sandbox_problem, until

from millpond.batch.providers.base import NotGranted, Observation
from millpond.batch.providers.local import LocalProvider
from millpond.common.agent_launch import AgentRecord, process_start
from millpond.common.config import Isolation, Settings

AS_ROOT: dict[str, Any] = {"userIdentity": {"autoUser": {"elevationLevel": "admin"}}}


@pytest.fixture(params=["process", "sandbox"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    if request.param == "sandbox" and sandbox_problem():
        pytest.skip(sandbox_problem())
    kind: Isolation = request.param
    return kind


@pytest.fixture
async def node(tmp_path: Path, isolation: Isolation) -> AsyncIterator[Node]:
    async with local_node(tmp_path / "data", isolation) as node:
        yield node


def processes_of(data: Path) -> set[int]:
    """Live processes of nodes below this directory: those on record, those that write there, those of tasks."""
    records = [
        msgspec.json.decode(file.read_bytes(), type=AgentRecord) for file in data.glob("batch/nodes/*/agent.json")
    ]
    found = {record.pid for record in records if process_start(record.pid) == record.started}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(data) in process.environ().get("AZ_BATCH_NODE_ROOT_DIR", ""):
                found.add(process.pid)
            if str(data) in str(Path(f"/proc/{process.pid}/fd/2").readlink()):
                found.add(process.pid)
    return found


async def test_requested_node_says_hello_with_an_address_of_its_own(node: Node) -> None:
    other = "account/other-pool/node"
    await node.provider.request(node.request(key=other))
    addresses = [(await node.server.hello(key)).ip_address for key in (KEY, other)]
    assert addresses == ["127.64.0.1", "127.64.0.2"]


async def test_request_for_the_same_boot_changes_nothing(node: Node) -> None:
    before = node.record
    await asyncio.gather(*(node.provider.request(node.request()) for _ in range(5)))
    assert node.record == before
    assert len(node.server.hellos[KEY]) == 1


async def test_concurrent_requests_start_one_node(tmp_path: Path, isolation: Isolation) -> None:
    async with local_node(tmp_path / "data", isolation, boots=False) as node:
        await asyncio.gather(*(node.provider.request(node.request()) for _ in range(5)))
        await node.server.hello(KEY)
        await node.provider.observe([KEY])
        assert len(node.server.hellos[KEY]) == 1


async def test_later_boot_ends_what_runs_and_keeps_the_files(node: Node) -> None:
    await node.run("/bin/sh -c 'echo kept > $AZ_BATCH_NODE_SHARED_DIR/file'")
    await node.order(task("long", "sleep 4201"))
    await node.server.started(KEY, "long")
    first = node.record
    node.server.wanted.clear()
    await node.boot(2)
    assert not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE
    assert node.record.ip_address == first.ip_address
    assert await node.text("shared/file") == "kept\n"
    assert node.server.hellos[KEY][-1].holding == []
    assert not node.ended_unasked


async def test_new_disk_is_an_empty_one(node: Node, isolation: Isolation) -> None:
    machine = "touch /opt/machine /tmp/node-disk;" if isolation == "sandbox" else ""
    await node.run(f"/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/file; {machine}'", **AS_ROOT)
    address = node.record.ip_address
    await node.boot(2, disk=2)
    names = [entry.name for reply in await node.server.file(KEY, "list", "", recursive=True) for entry in reply.entries]
    assert "shared" in names
    assert not [name for name in names if "/" in name and not name.startswith("volatile/")]
    assert (node.record.disk, node.record.ip_address) == (2, address)
    if isolation == "sandbox":
        assert (await node.run("/bin/ls /opt/machine /tmp/node-disk", "looks")).exit_code == 2
    await node.run("/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/file'", "again")
    await node.boot(3, disk=2)
    assert await node.text("shared/file") == ""


async def test_stopped_node_keeps_its_disk_and_its_end_is_no_news(node: Node, tmp_path: Path) -> None:
    await node.run("/bin/sh -c 'echo kept > $AZ_BATCH_NODE_SHARED_DIR/file'")
    await node.order(task("long", "sleep 4203"))
    await node.server.started(KEY, "long")
    await node.provider.stop(KEY)
    await node.provider.stop(KEY)
    assert not processes_of(tmp_path / "data")
    assert not (await node.provider.observe([KEY]))[0].running
    node.server.wanted.clear()
    await node.boot(2)
    assert await node.text("shared/file") == "kept\n"
    assert not node.ended_unasked


async def test_observe_tells_what_runs(node: Node) -> None:
    [running, unknown] = await node.provider.observe([KEY, "account/pool/none"])
    assert running == Observation(KEY, True)
    assert not unknown.running


async def test_end_that_nobody_asked_for_is_told_once_with_the_last_words(node: Node) -> None:
    with (node.directory / "agent.log").open("a") as log:
        log.write("the last words\n")
    os.kill(node.record.pid, signal.SIGKILL)
    await until(lambda: node.ended_unasked)
    await node.provider.observe([KEY])
    [observation] = node.ended_unasked
    assert (observation.key, observation.running) == (KEY, False)
    assert "the last words" in observation.reason
    assert (await node.provider.observe([KEY]))[0].reason == observation.reason


async def test_node_that_ended_can_be_requested_again(node: Node) -> None:
    os.kill(node.record.pid, signal.SIGKILL)
    await until(lambda: node.ended_unasked)
    await node.boot(2)


async def test_release_leaves_neither_process_nor_file_nor_mount(node: Node, tmp_path: Path) -> None:
    await node.order(task("long", "/bin/sh -c 'setsid sleep 4202 & mkdir -m 0 closed; sleep 4202'"))
    await node.server.started(KEY, "long")
    await node.provider.release(KEY)
    assert not processes_of(tmp_path / "data")
    assert list((tmp_path / "data" / "batch" / "nodes").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not node.ended_unasked
    await node.provider.release(KEY)  # nothing happens


async def test_files_of_released_nodes_are_removed_and_what_is_left_of_them_by_the_next_provider(node: Node) -> None:
    trash = node.directory.parent.parent / "trash"
    closed = node.directory / "closed" / "inner"
    closed.mkdir(parents=True)
    (closed / "file").touch()
    closed.chmod(0)
    await node.provider.release(KEY)
    assert not node.directory.exists()
    removing = [thread for thread in threading.enumerate() if thread.name == "trash"]
    assert removing
    assert all(thread.daemon for thread in removing), "the process can end meanwhile"
    await until(lambda: not list(trash.iterdir()))
    (trash / "left" / "files").mkdir(parents=True)
    (trash / "left" / "files" / "file").touch()
    successor = LocalProvider(node.settings, lambda _: None)
    try:
        await until(lambda: not list(trash.iterdir()))
    finally:
        await successor.close(release_all=True)


async def test_released_nodes_address_is_free_again(node: Node) -> None:
    await node.provider.release(KEY)
    await node.provider.request(node.request(key="account/pool/next"))
    assert (await node.server.hello("account/pool/next")).ip_address == "127.64.0.1"


async def test_nodes_outlive_the_provider_and_are_found_again(node: Node, tmp_path: Path) -> None:
    await node.order(task("long", "/bin/sh -c 'while [ ! -e $AZ_BATCH_NODE_SHARED_DIR/go ]; do sleep 0.02; done'"))
    await node.server.started(KEY, "long")
    await node.provider.close(release_all=False)
    node.provider = LocalProvider(node.settings, node.ended_unasked.append)
    assert (await node.provider.observe([KEY])) == [Observation(KEY, True)]
    await node.provider.request(node.request())  # it is there already
    assert len(node.server.hellos[KEY]) == 1
    (node.directory / "root" / "shared" / "go").touch()
    assert (await node.server.ended(KEY, "long")).exit_code == 0
    os.kill(node.record.pid, signal.SIGKILL)
    await until(lambda: node.ended_unasked)


async def test_node_that_ended_while_nobody_watched_is_found_ended(node: Node) -> None:
    await node.provider.close(release_all=False)
    os.kill(node.record.pid, signal.SIGKILL)
    await until(lambda: not processes_of(node.settings.data))
    node.provider = LocalProvider(node.settings, node.ended_unasked.append)
    [observation] = await node.provider.observe([KEY])
    assert not observation.running
    await node.boot(2)


async def test_process_that_has_the_old_ones_number_is_not_taken_for_the_node(node: Node) -> None:
    await node.provider.close(release_all=True)
    record = node.directory / "agent.json"
    record.write_text(record.read_text().replace(f'"pid":{node.record.pid}', f'"pid":{os.getpid()}'))
    node.provider = LocalProvider(node.settings, node.ended_unasked.append)
    assert not (await node.provider.observe([KEY]))[0].running
    await node.provider.release(KEY)  # and this process lives on


async def test_close_ends_all_nodes_also_those_that_are_starting(tmp_path: Path, isolation: Isolation) -> None:
    async with local_node(tmp_path / "data", isolation) as node:
        requests = [node.request(key=f"account/pool/n{number}", number=number) for number in range(2, 12)]
        starting = [asyncio.create_task(node.provider.request(request)) for request in requests]
        await asyncio.sleep(0.05)
        for start in starting:
            start.cancel()
        await node.provider.close(release_all=True)
        await asyncio.gather(*starting, return_exceptions=True)
        assert not processes_of(tmp_path / "data")
        assert not node.ended_unasked


async def test_node_whose_directory_cannot_be_made_is_not_granted(tmp_path: Path, isolation: Isolation) -> None:
    async with local_node(tmp_path / "data", isolation, boots=False) as node:
        await node.provider.isolation()
        (tmp_path / "data" / "batch" / "nodes").mkdir(parents=True)
        node.directory.mkdir()
        (node.directory / "root").write_text("a file where the directory should be")
        with pytest.raises(NotGranted, match="could not be started") as refusal:
            await node.provider.request(node.request())
        assert refusal.value.code == "AllocationFailed"
        assert not node.ended_unasked


async def test_launcher_that_is_killed_is_replaced(node: Node) -> None:
    launcher = node.provider._launcher._process
    assert launcher
    launcher.kill()
    await launcher.wait()
    await node.provider.request(node.request(key="account/pool/next", number=2))
    await node.server.hello("account/pool/next")
    assert (await node.provider.observe([KEY]))[0].running


async def test_token_is_in_no_command_line_and_no_file(node: Node, tmp_path: Path) -> None:
    token = node.request().token
    for pid in processes_of(tmp_path / "data"):
        with contextlib.suppress(psutil.NoSuchProcess):  # what prepares a sandbox comes and goes
            process = psutil.Process(pid)
            assert token not in " ".join(process.cmdline())
            with contextlib.suppress(psutil.AccessDenied):  # not even for the same user
                assert token not in str(process.environ())
    for file in node.directory.rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert token not in file.read_text(errors="replace")


async def test_isolation_is_found_by_trying(tmp_path: Path) -> None:
    async with agent_server():
        provider = LocalProvider(Settings(data=tmp_path / "data", isolation="auto"), lambda _: None)
        assert await provider.isolation() in ("sandbox", "process")
        await provider.close(release_all=True)
        await until(lambda: not processes_of(tmp_path))  # the trial ends by itself once it has said how it went
        assert not (tmp_path / "data" / "batch" / "sandbox-trial").exists()


async def test_any_directory_name_will_do(tmp_path: Path, isolation: Isolation) -> None:
    async with local_node(tmp_path / "my data, a:b \\ c=d 'é' %41", isolation) as node:
        assert (await node.run("true")).exit_code == 0
