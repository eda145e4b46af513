"""Agents with real processes, each kind of isolation, and a test's own end of the channel."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import pytest
from tests.system.agent_server import TOKEN, agent_server, task
from tests.system.nodes import KEY, Node, local_node, sandbox_problem, until

from millpond.common.agent_launch import AgentLaunch
from millpond.common.agent_protocol import Attempt, DeleteFiles, Ended, FilesDeleted, Orders, Started
from millpond.common.clock import SECOND
from millpond.common.config import Isolation

WORK = "workitems/job/job-1"
ADMIN = {"userIdentity": {"autoUser": {"elevationLevel": "admin"}}}

_R = TypeVar("_R")


@pytest.fixture(params=["process", "sandbox"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    if request.param == "sandbox" and sandbox_problem():
        pytest.skip(sandbox_problem())
    kind: Isolation = request.param
    return kind


@pytest.fixture
async def node(tmp_path: Path, isolation: Isolation) -> AsyncIterator[Node]:
    async with local_node(tmp_path / "data", isolation, task_slots=2) as node:
        yield node


def processes_with(text: str) -> list[psutil.Process]:
    """Live processes of this machine that have this in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if text in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


# --- how a task ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command_line", "exit_code", "code"),
    [
        ("true", 0, None),
        ("/bin/sh -c 'exit 3'", 3, "FailureExitCode"),
        ("/bin/sh -c 'kill -9 $$'", -9, "FailureExitCode"),
        ("/bin/sh -c 'kill -TERM $$'", -15, "FailureExitCode"),
        ("/bin/sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'", 137, "FailureExitCode"),
        ("no-such-program", None, "CommandProgramNotFound"),
        ("./no-such-program", None, "CommandProgramNotFound"),
        ("/etc", None, "CommandProgramNotFound"),
        ("/etc/passwd", None, "CommandLaunchFailed"),
        ("echo 'open", None, "CommandLaunchFailed"),
    ],
)
async def test_end_is_told_with_its_exit_code_and_failure(
    node: Node, command_line: str, exit_code: int | None, code: str | None
) -> None:
    end = await node.run(command_line)
    assert end.exit_code == exit_code
    assert (end.failure.code if end.failure else None) == code
    assert end.may_retry == (code == "FailureExitCode")
    assert end.start_time is not None
    assert end.start_time <= end.end_time
    for name in ("stdout.txt", "stderr.txt"):
        assert (await node.server.file(KEY, "stat", f"{WORK}/task/{name}"))[0].error is None


_BUSY = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else tells so much")
@pytest.mark.parametrize(
    "command_line",
    [
        f"/bin/sh -c '{_BUSY}; cat {{}}'",
        f"/bin/sh -c 'sh -c \"{_BUSY}\"; cat {{}}'".replace("$", "\\$"),
        f"/bin/sh -c '(sh -c \"{_BUSY}; touch done\" &); until [ -e done ]; do sleep 0.01; done; cat {{}}'".replace(
            "$", "\\$"
        ),
    ],
    ids=["by itself", "by a child", "by an orphan"],
)
async def test_end_tells_what_its_processes_have_used(node: Node, command_line: str) -> None:
    idle = (await node.run("true", "idle")).usage
    busy = (await node.run(command_line.format("/etc/passwd"), "busy")).usage
    assert idle is not None
    assert busy is not None
    assert busy.user_cpu_time + busy.kernel_cpu_time > 10 * (idle.user_cpu_time + idle.kernel_cpu_time)
    assert busy.read_ops > idle.read_ops


async def test_where_nothing_ran_nothing_was_used(node: Node) -> None:
    assert (await node.run("no-such-program")).usage is None


async def test_program_that_cannot_be_executed_fails_to_launch(node: Node) -> None:
    await node.run("/bin/sh -c 'printf x > ../../tool; chmod 755 ../../tool; exit 0'", "maker", **ADMIN)
    end = await node.run("../../tool")
    assert (end.exit_code, end.failure and end.failure.code) == (None, "CommandLaunchFailed")


async def test_long_queue_of_tasks_that_cannot_start_is_worked_off(node: Node) -> None:
    count = 1500
    await node.order(*(task(f"t{number}", "no-such-program") for number in range(count)))
    await node.server.ended(KEY, f"t{count - 1}")
    assert (await node.run("true", "after")).exit_code == 0


async def test_output_goes_to_files_in_the_tasks_directory(node: Node) -> None:
    await node.run("/bin/sh -c 'echo out; echo err >&2; echo file > file.txt; cat'")
    assert await node.text(f"{WORK}/task/stdout.txt") == "out\n"
    assert await node.text(f"{WORK}/task/stderr.txt") == "err\n"
    assert await node.text(f"{WORK}/task/wd/file.txt") == "file\n"


async def test_next_attempt_begins_with_empty_directory_and_output(node: Node) -> None:
    await node.run("/bin/sh -c 'echo first; touch left; exit 1'")
    assert await node.output("/bin/sh -c 'echo second; ls'", attempt=2) == "second\n"


# --- what a task sees --------------------------------------------------------------------------------------------


def variables(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines())


async def test_environment_has_the_services_variables_and_the_users(node: Node) -> None:
    environment = variables(
        await node.output(
            "env",
            environment={"COMMON": "job", "BOTH": "job", "AZ_BATCH_POOL_ID": "mine"},
            environmentSettings=[
                {"name": "BOTH", "value": "task"},
                {"name": "EMPTY"},
                {"name": "AZ_BATCH_TASK_ID", "value": "mine"},
            ],
        )
    )
    root = environment["AZ_BATCH_NODE_ROOT_DIR"]
    assert environment == {
        "AZ_BATCH_ACCOUNT_NAME": "millpond",
        "AZ_BATCH_ACCOUNT_URL": "http://127.0.0.1:1/",
        "AZ_BATCH_CERTIFICATES_DIR": f"{root}/{WORK}/task/certs",
        "AZ_BATCH_JOB_ID": "job",
        "AZ_BATCH_NODE_ID": "tvmps_0123456789abcdef_d",
        "AZ_BATCH_NODE_IS_DEDICATED": "true",
        "AZ_BATCH_NODE_MOUNTS_DIR": f"{root}/fsmounts",
        "AZ_BATCH_NODE_ROOT_DIR": root,
        "AZ_BATCH_NODE_SHARED_DIR": f"{root}/shared",
        "AZ_BATCH_NODE_STARTUP_DIR": f"{root}/startup",
        "AZ_BATCH_NODE_STARTUP_WORKING_DIR": f"{root}/startup/wd",
        "AZ_BATCH_POOL_ID": "pool",
        "AZ_BATCH_TASK_DIR": f"{root}/{WORK}/task",
        "AZ_BATCH_TASK_ID": "task",
        "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": "1000000",
        "AZ_BATCH_TASK_USER": "_azbatch",
        "AZ_BATCH_TASK_USER_IDENTITY": "PoolNonAdmin",
        "AZ_BATCH_TASK_WORKING_DIR": f"{root}/{WORK}/task/wd",
        "BOTH": "task",
        "COMMON": "job",
        "EMPTY": "",
        "HOME": f"{root}/{WORK}/task/wd",
        "PATH": f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{root}/shared:{root}/{WORK}/task/wd",
        "PWD": f"{root}/{WORK}/task/wd",
        "USER": environment["USER"],
    }


async def test_task_runs_in_its_working_directory_and_finds_programs_in_shared(node: Node) -> None:
    program = 'printf "#!/bin/sh\\npwd\\n" > $AZ_BATCH_NODE_SHARED_DIR/tool; chmod 755 $AZ_BATCH_NODE_SHARED_DIR/tool'
    await node.run(f"/bin/sh -c '{program}'", "maker")
    assert (await node.output("tool")).strip().endswith(f"/{WORK}/task/wd")


async def test_start_tasks_environment_names_no_job(tmp_path: Path, isolation: Isolation) -> None:
    start_task = {"commandLine": "env", "environmentSettings": [{"name": "MINE", "value": "1"}]}
    async with local_node(tmp_path / "data", isolation, pool={"startTask": start_task}) as node:
        assert (await node.server.start_task(KEY)).exit_code == 0
        environment = variables(await node.text("startup/stdout.txt"))
        root = environment["AZ_BATCH_NODE_ROOT_DIR"]
        assert environment["AZ_BATCH_TASK_DIR"] == f"{root}/startup"
        assert environment["AZ_BATCH_TASK_WORKING_DIR"] == environment["HOME"] == f"{root}/startup/wd"
        assert environment["MINE"] == "1"
        assert not {"AZ_BATCH_JOB_ID", "AZ_BATCH_TASK_ID"} & environment.keys()


async def test_nothing_of_the_service_is_in_a_tasks_environment_or_files(node: Node) -> None:
    script = "cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline /proc/1/environ; ls -l /proc/self/fd; :"
    assert "token-of-the-node" not in await node.output(f"/bin/sh -c '{script}'")


# --- processes ---------------------------------------------------------------------------------------------------


async def test_time_limit_ends_the_whole_tree(node: Node) -> None:
    script = "setsid sleep 4101 & sleep 4101 & (setsid env -i sleep 4101 &) ; sleep 4101"
    end = await node.run(f"/bin/sh -c '{script}'", max_wall_clock_time=SECOND // 2)
    assert end.failure
    assert (end.exit_code, end.failure.code, end.failure.category) == (-9, "TaskEnded", "servererror")
    assert not end.may_retry
    assert not processes_with("sleep 4101")


@pytest.mark.parametrize(
    "background",
    [
        "sleep 4102 &",
        "setsid sleep 4102 &",
        "(setsid env -i sleep 4102 &);",  # hides its session and its environment
        '(setsid sh -c "sleep 4102; :" &);',
        'nohup setsid sh -c "while :; do sleep 4102 & sleep 4102; done" &',
    ],
)
async def test_background_processes_of_a_task_end_with_it(node: Node, background: str) -> None:
    end = await node.run(f"/bin/sh -c '{background} sleep 0.05'")
    assert end.exit_code == 0
    assert not processes_with("sleep 4102")


async def test_background_process_does_not_outlive_its_task_while_others_run(node: Node) -> None:
    await node.order(task("long", "sleep 4103"))
    await node.server.started(KEY, "long")
    await node.run("/bin/sh -c 'setsid sleep 4104 & sleep 0.05'", "short")
    assert not processes_with("sleep 4104")
    assert processes_with("sleep 4103")


async def test_start_tasks_background_processes_live_on_until_the_node_ends(
    tmp_path: Path, isolation: Isolation
) -> None:
    start_task = {"commandLine": "/bin/sh -c 'sleep 4105 & setsid sleep 4105 & exit 0'"}
    async with local_node(tmp_path / "data", isolation, pool={"startTask": start_task}) as node:
        await node.server.start_task(KEY)
        await node.run("/bin/sh -c 'sleep 4106 & exit 0'")
        assert len(processes_with("sleep 4105")) == 2
        assert not processes_with("sleep 4106")
    assert not processes_with("sleep 4105")


async def test_stop_ends_a_running_task_and_one_that_waits(node: Node) -> None:
    await node.order(*(task(f"t{number}", "/bin/sh -c 'trap : TERM; sleep 4107'") for number in range(3)))
    await node.server.started(KEY, "t1")
    await node.server.send(KEY, Orders(task_slots=2, stop=[Attempt("job", name, 1) for name in ("t0", "t1", "t2")]))
    for name in ("t0", "t1", "t2"):
        end = await node.server.ended(KEY, name)
        assert end.exit_code is None
        assert end.failure
        assert end.failure.code == "TaskEnded"
    assert (await node.server.ended(KEY, "t2")).start_time is None
    assert not processes_with("sleep 4107")


async def test_stop_ends_a_task_that_waits_for_its_files(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        await node.order(task("task", resourceFiles=[{"httpUrl": url, "filePath": "file"}]))
        connection, _ = await asyncio.get_running_loop().run_in_executor(None, silent.accept)
        with connection:
            await node.server.send(KEY, Orders(task_slots=2, stop=[Attempt("job", "task", 1)]))
            end = await node.server.ended(KEY, "task")
    assert end.failure
    assert (end.failure.code, end.exit_code) == ("TaskEnded", None)
    assert end.start_time is not None


async def test_time_limit_counts_the_wait_for_files(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        files = [{"httpUrl": url, "filePath": "file"}]
        end = await node.run("true", max_wall_clock_time=SECOND // 2, resourceFiles=files)
    assert end.failure
    assert (end.failure.code, end.failure.category, end.exit_code) == ("TaskEnded", "servererror", None)


async def test_slots_bound_how_many_run_at_a_time(node: Node) -> None:
    script = (
        "ls .. > /dev/null; echo $(ls -d ../../*/wd/running 2>/dev/null | wc -l); touch running; sleep 0.1; rm running"
    )
    await node.order(*(task(f"t{number}", f"/bin/sh -c '{script}'") for number in range(6)))
    for number in range(6):
        await node.server.ended(KEY, f"t{number}")
        assert int(await node.text(f"{WORK}/t{number}/stdout.txt")) <= 1


# --- the channel -------------------------------------------------------------------------------------------------


async def test_tasks_run_on_while_the_service_is_away_and_their_ends_are_told(node: Node) -> None:
    long = task("long", "/bin/sh -c 'while [ ! -e $AZ_BATCH_NODE_SHARED_DIR/go ]; do sleep 0.02; done; exit 7'")
    short = task("short", "sleep 0.2")
    await node.order(long, short)
    await node.server.started(KEY, "short")
    await node.server.stop()
    await until(lambda: not processes_with("sleep 0.2"))
    await node.server.start()
    hello = await node.server.hello(KEY, 2)
    assert set(hello.holding) == {long.attempt, short.attempt}
    assert (await node.server.ended(KEY, "short")).exit_code == 0
    await node.run("/bin/sh -c 'touch $AZ_BATCH_NODE_SHARED_DIR/go'", "go")
    assert (await node.server.ended(KEY, "long")).exit_code == 7
    starts = {report.start_time for report in reports(node, Started) if report.attempt == long.attempt}
    assert len(starts) == 1  # told again, not started again


def reports(node: Node, kind: type[_R]) -> list[_R]:
    return [report for report in node.server.reports.get(KEY, []) if isinstance(report, kind)]


async def test_end_that_the_service_does_not_forget_is_told_on_every_channel(node: Node) -> None:
    node.server.forgets = False
    await node.run("true")
    for number in (2, 3):
        await node.server.stop()
        await node.server.start()
        await node.server.hello(KEY, number)
        await node.server.until(lambda number=number: len(reports(node, Ended)) >= number)  # type: ignore[misc]
    assert len({report.end_time for report in reports(node, Ended)}) == 1


async def test_full_orders_end_what_they_do_not_name(node: Node) -> None:
    keep, drop = task("keep", "sleep 4108"), task("drop", "sleep 4109")
    await node.order(keep, drop)
    await node.server.started(KEY, "drop")
    await until(lambda: processes_with("sleep 4109"))
    await node.full_orders(keep)
    await until(lambda: not processes_with("sleep 4109"))
    assert processes_with("sleep 4108")


async def test_agent_that_the_service_dismisses_ends_with_all_it_runs(node: Node) -> None:
    await node.order(task("long", "sleep 4110"))
    await node.server.started(KEY, "long")
    await until(lambda: processes_with("sleep 4110"))
    await node.server.connections[KEY].close(4410, "gone")
    await until(lambda: node.ended_unasked)
    assert not processes_with("sleep 4110")


async def test_agent_whose_directory_and_service_are_gone_ends(node: Node) -> None:
    await node.server.stop()
    try:
        shutil.rmtree(node.directory / "root")
        await until(lambda: node.ended_unasked)
    finally:
        await node.server.start()


# --- files -------------------------------------------------------------------------------------------------------


async def test_files_are_read_through_the_channel(node: Node) -> None:
    await node.run("/bin/sh -c 'head -c 20000000 /dev/zero > big; echo small > small'")
    replies = await node.server.file(KEY, "read", f"{WORK}/task/wd/big")
    assert sum(len(reply.data) for reply in replies) == 20_000_000
    [listing] = await node.server.file(KEY, "list", f"{WORK}/task", recursive=True)
    assert [entry.name for entry in listing.entries] == ["stderr.txt", "stdout.txt", "wd", "wd/big", "wd/small"]
    [root] = await node.server.file(KEY, "list", "")
    assert {entry.name for entry in root.entries} == {
        "applications",
        "fsmounts",
        "shared",
        "startup",
        "volatile",
        "workitems",
    }


async def test_link_to_the_machines_files_is_not_read(node: Node) -> None:
    await node.run("/bin/sh -c 'ln -s /etc/passwd link; ln -s / all'")
    for path in ("link", "all/etc/passwd"):
        [reply] = await node.server.file(KEY, "read", f"{WORK}/task/wd/{path}")
        assert reply.error == "notFound"


async def test_deletion_of_a_tasks_files_is_told(node: Node) -> None:
    await node.run("true")
    chore = DeleteFiles(5, "job", "task")
    await node.server.send(KEY, Orders(task_slots=2, delete=[chore, DeleteFiles(6, "other", None)]))
    await node.server.until(lambda: reports(node, FilesDeleted) == [FilesDeleted(5), FilesDeleted(6)])
    assert (await node.server.file(KEY, "stat", f"{WORK}/task"))[0].error == "notFound"


async def test_directory_goes_when_its_retention_time_is_over(node: Node) -> None:
    await node.run("true", "kept")
    await node.run("true", "gone", retention_time=SECOND // 5)
    await until(lambda: not (node.directory / "root" / WORK / "gone").exists())
    assert (node.directory / "root" / WORK / "kept").exists()


async def test_directory_that_a_later_run_uses_stays(node: Node) -> None:
    await node.run("/bin/sh -c 'exit 1'", retention_time=SECOND // 2)
    await node.order(task("task", "sleep 0.5", attempt=2))
    await node.run("sleep 0.7", "other")
    assert (await node.server.ended(KEY, "task", 2)).exit_code == 0
    assert (await node.server.file(KEY, "stat", f"{WORK}/task/wd"))[0].error is None


async def test_what_earlier_attempts_left_is_removed_from_the_disk(node: Node) -> None:
    for attempt in range(1, 4):
        await node.run("/bin/sh -c 'head -c 100000 /dev/zero > big'", attempt=attempt)
    trash = node.directory / "root" / "volatile" / "trash"
    await until(lambda: not any(trash.iterdir()))


async def test_retention_outlives_a_reboot(node: Node) -> None:
    await node.run("true", "gone", retention_time=SECOND)
    await node.boot(2)
    await until(lambda: not (node.directory / "root" / WORK / "gone").exists())


# --- the start task ----------------------------------------------------------------------------------------------


async def test_start_task_is_tried_again_and_told_once_it_succeeds(tmp_path: Path, isolation: Isolation) -> None:
    count = "echo x >> $AZ_BATCH_NODE_SHARED_DIR/tries; [ $(wc -l < $AZ_BATCH_NODE_SHARED_DIR/tries) -ge 3 ]"
    start_task = {"commandLine": f"/bin/sh -c '{count}'", "maxTaskRetryCount": 5}
    async with local_node(tmp_path / "data", isolation, pool={"startTask": start_task}) as node:
        report = await node.server.start_task(KEY)
        assert (report.exit_code, report.retry_count, report.failure) == (0, 2, None)
        assert report.last_retry_time is not None


async def test_start_task_that_fails_to_the_end_says_how(tmp_path: Path, isolation: Isolation) -> None:
    start_task = {"commandLine": "/bin/sh -c 'exit 4'", "maxTaskRetryCount": 1}
    async with local_node(tmp_path / "data", isolation, pool={"startTask": start_task}) as node:
        report = await node.server.start_task(KEY)
        assert (report.exit_code, report.retry_count) == (4, 1)
        assert report.failure
        assert report.failure.code == "FailureExitCode"


async def test_start_task_that_cannot_run_is_not_tried_again(tmp_path: Path, isolation: Isolation) -> None:
    start_task = {"commandLine": "no-such-program", "maxTaskRetryCount": -1}
    async with local_node(tmp_path / "data", isolation, pool={"startTask": start_task}) as node:
        report = await node.server.start_task(KEY)
        assert (report.exit_code, report.retry_count) == (None, 0)


async def test_start_task_runs_at_every_boot_and_not_at_every_channel(tmp_path: Path, isolation: Isolation) -> None:
    start_task = {"commandLine": "/bin/sh -c 'echo x >> $AZ_BATCH_NODE_SHARED_DIR/boots'"}
    async with local_node(tmp_path / "data", isolation, pool={"startTask": start_task}) as node:
        await node.server.start_task(KEY)
        await node.server.stop()
        await node.server.start()
        hello = await node.server.hello(KEY, 2)
        assert hello.start_task
        assert hello.start_task.exit_code == 0
        assert await node.text("shared/boots") == "x\n"
        node.server.reports.clear()
        await node.boot(2)
        await node.server.start_task(KEY)
        assert await node.text("shared/boots") == "x\nx\n"


async def test_container_task_fails_on_a_pool_without_containers(node: Node) -> None:
    end = await node.run("true", containerSettings={"imageName": "ubuntu"})
    assert end.failure
    assert end.failure.code == "ContainerPoolNotSupported"


async def test_document_that_is_no_task_fails_to_launch(node: Node) -> None:
    broken = msgspec.structs.replace(task("task"), task=b'{"commandLine": 5}')
    await node.order(broken)
    end = await node.server.ended(KEY, "task")
    assert end.failure
    assert end.failure.code == "CommandLaunchFailed"


async def test_agent_that_is_killed_leaves_no_process(node: Node) -> None:
    await node.order(task("long", "/bin/sh -c 'setsid sleep 4111 & sleep 4111'"))
    await node.server.started(KEY, "long")
    await until(lambda: len(processes_with("sleep 4111")) >= 2)
    agent = psutil.Process(node.record.pid)
    if node.record.isolation == "process":
        agent = agent.children()[0]  # below its keeper
    agent.kill()
    await until(lambda: node.ended_unasked)
    assert not processes_with("sleep 4111")
    [observation] = node.ended_unasked
    assert (observation.key, observation.running) == (KEY, False)


async def test_agent_started_by_hand_joins_and_runs_tasks(tmp_path: Path) -> None:
    async with agent_server() as server:
        launch = AgentLaunch(
            key=KEY, node_id="hand", boot=3, token=TOKEN, channel_url=server.url(KEY), directory=str(tmp_path / "node")
        )
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "millpond.node.agent", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            assert agent.stdin
            agent.stdin.write(msgspec.json.encode(launch))
            agent.stdin.close()
            assert (await server.hello(KEY)).boot == 3
            await server.run(KEY, task("task", "echo hello"))
            assert (await server.ended(KEY, "task")).exit_code == 0
            assert await server.text(KEY, f"{WORK}/task/stdout.txt") == "hello\n"
        finally:
            agent.kill()
            await agent.wait()
            assert agent.stderr
            await agent.stderr.read()
