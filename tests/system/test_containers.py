"""Tasks in real containers, on real nodes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.agent_server import task
from tests.system.nodes import KEY, Node, local_node, until
from tests.system.podman import IMAGE, make_image, podman_problem, remove_image

from millpond.common.agent_protocol import Attempt, Ended, Orders, Prepared, StartTaskReport, Trouble
from millpond.common.clock import SECOND

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: Seconds that no other process of the machine sleeps.
_LONG = 1_000_000 + os.getpid()
_DIRECTORY = "workitems/job/job-1"


@pytest.fixture(scope="module", autouse=True)
def image() -> Iterator[None]:
    if problem := podman_problem():
        pytest.skip(problem)
    make_image()
    yield
    remove_image()


def _pool(images: list[str] | None = None, **rest: Any) -> dict[str, Any]:
    containers = {"type": "dockerCompatible", "containerImageNames": images or []}
    return {"virtualMachineConfiguration": {"containerConfiguration": containers}, **rest}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with local_node(tmp_path / "data", "sandbox", pool=_pool([IMAGE]), task_slots=4) as node:
        await _prepared(node)
        yield node


async def _prepared(node: Node, times: int = 1) -> None:
    def told() -> bool:
        reports = node.server.reports.get(KEY, [])
        assert not [each for each in reports if isinstance(each, Trouble)]
        return sum(isinstance(each, Prepared) for each in reports) >= times

    await until(told)


async def _run(node: Node, command_line: str, task_id: str = "task", **settings: Any) -> Ended:
    options = {name: settings.pop(name) for name in ("userIdentity", "environmentSettings") if name in settings}
    limit = {"max_wall_clock_time": settings.pop("limit")} if "limit" in settings else {}
    container = {"imageName": IMAGE, **settings}
    return await node.run(command_line, task_id, containerSettings=container, **limit, **options)


async def _output(node: Node, command_line: str, task_id: str = "task", **settings: Any) -> str:
    end = await _run(node, command_line, task_id, **settings)
    assert end.exit_code == 0, (end, await node.text(f"{_DIRECTORY}/{task_id}/stderr.txt"))
    return await node.text(f"{_DIRECTORY}/{task_id}/stdout.txt")


def _name(node: Node) -> str:
    return f"millpond-{hashlib.sha256(os.fsencode(node.directory)).hexdigest()[:16]}"


def _left(node: Node) -> list[Path]:
    """Control groups of the node's containers."""
    name = _name(node)
    return [path for pattern in (name, f"*/{name}") for path in Path("/sys/fs/cgroup").glob(pattern)]


async def test_containers_get_what_tasks_get(node: Node) -> None:
    said = await _output(
        node,
        "/bin/sh -c 'pwd; id -u; echo $FROM_IMAGE $MINE $AZ_BATCH_TASK_ID; echo x > made;"
        " cat $AZ_BATCH_TASK_WORKING_DIR/made; echo err >&2'",
        environmentSettings=[{"name": "MINE", "value": "of $AZ_BATCH_POOL_ID\nand more"}],
    )
    root = f"/mnt/batch/tasks/{_DIRECTORY}/task/wd"
    assert said.splitlines() == [root, "60600", "yes of pool and more task", "x"]
    assert await node.text(f"{_DIRECTORY}/task/stderr.txt") == "err\n"
    assert await node.text(f"{_DIRECTORY}/task/wd/made") == "x\n"
    assert await _output(node, "", "default") == "by default\n"
    assert await _output(node, "pwd", "image", workingDirectory="containerImageDefault") == "/bin\n"
    assert await _output(node, "id -u", "root", userIdentity={"autoUser": {"elevationLevel": "admin"}}) == "0\n"
    options = "--env EXTRA='so it is' --read-only"
    assert await _output(node, "sh -c 'echo $EXTRA'", "options", containerRunOptions=options) == "so it is\n"


async def test_ends_are_told(node: Node) -> None:
    end = await _run(node, "sh -c 'exit 7'")
    assert (end.exit_code, end.may_retry) == (7, True)
    assert end.container_info is not None
    assert len(end.container_info.container_id) == 64
    assert (end.container_info.state, end.container_info.error) == ("exited", "")
    missing = await _run(node, "nothing-such", "missing")
    assert missing.failure is not None
    assert (missing.exit_code, missing.failure.code) == (None, "CommandProgramNotFound")
    assert missing.container_info is not None
    assert missing.container_info.state == "created"
    wrong = await _run(node, "true", "wrong", containerRunOptions="--no-such-option")
    assert wrong.failure is not None
    assert wrong.failure.code == "ContainerInvalidSettings"
    assert "no-such-option" in dict(wrong.failure.details)["Message"]
    image = await _run(node, "true", "image", imageName="127.0.0.1:1/nothing")
    assert image.failure is not None
    assert (image.exit_code, image.failure.code, image.failure.category) == (None, "ContainerInvalidImage", "usererror")
    assert dict(image.failure.details)["ImageName"] == "127.0.0.1:1/nothing"
    registry = {"registryServer": "127.0.0.1:1", "username": "me", "password": "secret"}
    refused = await _run(node, "true", "registry", registry=registry)
    assert refused.failure is not None
    assert refused.failure.code == "ContainerInvalidRegistry"
    assert "secret" not in str(refused)


async def test_mounts_are_those_that_were_asked_for(node: Node) -> None:
    none = await _output(node, "sh -c 'pwd; ls /mnt || true'", containerHostBatchBindMounts=[])
    assert none == "/bin\n"
    mounts = [{"source": "Task"}, {"source": "Shared", "isReadOnly": True}]
    command = "sh -c 'ls $AZ_BATCH_NODE_ROOT_DIR; touch made; touch $AZ_BATCH_NODE_SHARED_DIR/made || echo refused'"
    said = await _output(node, command, "some", containerHostBatchBindMounts=mounts)
    assert said.splitlines() == ["shared", "workitems", "refused"]


async def test_containers_end_when_they_are_told_to(node: Node) -> None:
    late = await _run(node, f"sleep {_LONG}", "late", limit=SECOND)
    assert late.failure is not None
    assert late.failure.code == "TaskEnded"
    assert late.container_info is not None
    settings = {"imageName": IMAGE}
    await node.order(task("long", f"sh -c 'echo on >&2; sleep {_LONG} & wait'", containerSettings=settings))
    stderr = node.directory / f"root/{_DIRECTORY}/long/stderr.txt"
    await until(lambda: stderr.is_file() and stderr.read_text())
    assert _sleeping()
    await node.server.send(KEY, Orders(task_slots=4, stop=[Attempt("job", "long", 1)]))
    end = await node.server.ended(KEY, "long", 1)
    assert end.failure is not None
    assert end.failure.code == "TaskEnded"
    assert not _sleeping()


async def test_nothing_is_left_when_a_node_is_killed(node: Node) -> None:
    await node.order(task("long", f"sh -c 'echo on; sleep {_LONG}'", containerSettings={"imageName": IMAGE}))
    stdout = node.directory / f"root/{_DIRECTORY}/long/stdout.txt"
    await until(lambda: stdout.is_file() and stdout.read_text())
    assert _left(node)
    os.kill(node.record.pid, 9)
    await until(lambda: node.ended_unasked)
    assert not _sleeping()
    node.server.wanted.clear()
    await node.boot(2)
    await _prepared(node, 2)
    assert await _output(node, "echo again", "again") == "again\n"
    await node.provider.release(KEY)
    assert not _left(node)
    assert not _sleeping()


async def test_start_tasks_run_in_containers(tmp_path: Path) -> None:
    start = {"commandLine": "sh -c 'pwd; exit 3'", "containerSettings": {"imageName": IMAGE}}
    async with local_node(tmp_path / "data", "sandbox", pool=_pool(startTask=start)) as node:

        def last() -> Any:
            told = [each for each in node.server.reports.get(KEY, []) if isinstance(each, StartTaskReport)]
            return told and told[-1].state == "completed" and told[-1]

        await until(last)
        assert last().exit_code == 3
        assert last().container_info.state == "exited"
        assert await node.text("startup/stdout.txt") == "/mnt/batch/tasks/startup/wd\n"


async def test_nodes_without_their_images_are_in_trouble(tmp_path: Path) -> None:
    async with local_node(tmp_path / "data", "sandbox", pool=_pool(["127.0.0.1:1/nothing"])) as node:

        def trouble() -> list[Trouble]:
            return [each for each in node.server.reports.get(KEY, []) if isinstance(each, Trouble)]

        await until(trouble)
        assert trouble()[0].code == "ContainerInvalidImage"


async def test_nodes_without_a_sandbox_have_containers(tmp_path: Path) -> None:
    async with local_node(tmp_path / "data", "process", pool=_pool([IMAGE]), task_slots=2) as node:
        await _prepared(node)
        said = await _output(node, "sh -c 'pwd; echo $AZ_BATCH_TASK_ID'")
        assert said.splitlines() == [f"{node.directory}/root/{_DIRECTORY}/task/wd", "task"]
        await node.order(task("long", f"sh -c 'echo on; sleep {_LONG}'", containerSettings={"imageName": IMAGE}))
        stdout = node.directory / f"root/{_DIRECTORY}/long/stdout.txt"
        await until(lambda: stdout.is_file() and stdout.read_text())
        assert _sleeping()
        await node.provider.release(KEY)
        assert not _sleeping()
        assert not _left(node)
        assert not Path("/run", _name(node)).exists()


async def test_nodes_end_with_what_starts_their_containers(node: Node) -> None:
    agent = node.record.pid
    (host,) = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    await node.order(task("long", f"sleep {_LONG}", containerSettings={"imageName": IMAGE}))
    await until(_sleeping)
    os.kill(int(host), 9)
    await until(lambda: node.ended_unasked)
    assert "the container host has ended" in str(node.ended_unasked[0])
    assert not _sleeping()


async def test_pools_and_tasks_agree_about_containers(tmp_path: Path, node: Node) -> None:
    plain = await node.run("true", "plain")
    assert plain.failure is not None
    assert plain.failure.code == "ContainerInvalidSettings"
    async with local_node(tmp_path / "other", "sandbox") as other:
        end = await other.run("true", containerSettings={"imageName": IMAGE})
        assert end.failure is not None
        assert (end.exit_code, end.failure.code) == (None, "ContainerPoolNotSupported")
        # Nothing on it keeps the rights that a container runtime needs.
        agent = other.record.pid
        children = Path(f"/proc/{agent}/task/{agent}/children")
        await until(lambda: not children.read_text())


def _sleeping() -> list[str]:
    """Processes of these tests' tasks that sleep."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes() == f"sleep\0{_LONG}\0".encode():
                found.append(process.name)
        except OSError:
            continue
    return found
