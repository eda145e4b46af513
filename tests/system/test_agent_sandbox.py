"""What a sandbox keeps apart: the machine from the node, the service from its tasks, users from each other."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
import venv
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.system.agent_server import task
from tests.system.nodes import KEY, Node, local_node

from millpond.common.clock import SECOND

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="users and their rights are tested as root")

WORK = "workitems/job/job-1"
ROOT = "/mnt/batch/tasks"
POOL = {
    "userAccounts": [
        {"name": "alice", "password": "x", "elevationLevel": "nonadmin"},
        {"name": "bob", "linuxUserConfiguration": {"uid": 61050, "gid": 61051}},
        {"name": "chief", "elevationLevel": "admin"},
        {"name": "daemon", "elevationLevel": "nonAdmin"},
    ]
}


def auto(scope: str, elevation_level: str = "nonAdmin") -> dict[str, Any]:
    return {"userIdentity": {"autoUser": {"scope": scope, "elevationLevel": elevation_level}}}


def named(name: str) -> dict[str, Any]:
    return {"userIdentity": {"username": name}}


ADMIN = auto("pool", "admin")
SCRIPT = 'echo "$(id -un) $(id -u) $(id -g) $USER $AZ_BATCH_TASK_USER $AZ_BATCH_TASK_USER_IDENTITY $HOME"'


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with local_node(tmp_path / "data", "sandbox", pool=POOL, task_slots=4) as node:
        yield node


# --- users -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({}, "_azbatch 60600 60600 _azbatch _azbatch PoolNonAdmin"),
        ({"userIdentity": {"autoUser": {}}}, "_azbatch 60600 60600 _azbatch _azbatch PoolNonAdmin"),
        (auto("Pool"), "_azbatch 60600 60600 _azbatch _azbatch PoolNonAdmin"),
        (ADMIN, "root 0 60600 root _azbatchadmin PoolAdmin"),
        (auto("task", "admin"), "root 0 60600 root _azbatchadmin TaskAdmin"),
        (auto("task"), "_azbatchtask_1 60700 60700 _azbatchtask_1 _azbatchtask_1 TaskNonAdmin"),
        (named("alice"), "alice 60601 60601 alice alice alice"),
        (named("bob"), "bob 61050 61051 bob bob bob"),
        (named("daemon"), "daemon 60604 60604 daemon daemon daemon"),  # the machine has one of that name
    ],
)
async def test_task_runs_as_the_user_it_names(node: Node, identity: dict[str, Any], expected: str) -> None:
    assert await node.output(f"/bin/sh -c '{SCRIPT}'", **identity) == f"{expected} {ROOT}/{WORK}/task/wd\n"


async def test_elevated_account_is_root_by_itself_or_by_sudo(node: Node) -> None:
    program = "sudo -n id -u" if shutil.which("sudo") else "id -u"
    assert await node.output(program, **named("chief")) == "0\n"


async def test_user_that_the_pool_does_not_know_fails_the_task(node: Node) -> None:
    end = await node.run("true", **named("mallory"))
    assert end.exit_code is None
    assert end.failure
    assert end.failure.category == "usererror"
    assert "mallory" in str(end.failure.details)


async def test_every_id_of_a_task_is_its_users(node: Node) -> None:
    lines = (await node.output("grep -E ^(Uid|Gid|Groups|CapEff|CapPrm|CapInh|CapAmb): /proc/self/status")).splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == status["Gid"] == ["60600"] * 4
    assert status["Groups"] == ["60600"]
    assert all(int(status[name][0], 16) == 0 for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"))


async def test_tasks_with_users_of_their_own_do_not_share_one(node: Node) -> None:
    await node.order(*(task(f"t{number}", "/bin/sh -c 'id -u; sleep 0.3'", **auto("task")) for number in range(3)))
    users = set()
    for number in range(3):
        await node.server.ended(KEY, f"t{number}")
        users.add(await node.text(f"{WORK}/t{number}/stdout.txt"))
    assert len(users) == 3


async def test_next_task_under_a_used_id_cannot_read_what_the_last_one_left(node: Node) -> None:
    assert await node.output("/bin/sh -c 'echo secret > file; id -u'", "first", **auto("task")) == "60700\n"
    end = await node.run(f"cat {ROOT}/{WORK}/first/wd/file", "second", **auto("task"))
    assert end.exit_code == 1
    assert await node.output("id -u", "third", **auto("task")) == "60700\n"
    assert await node.text(f"{WORK}/first/wd/file") == "secret\n"  # the service still can


async def test_node_keeps_its_users_over_a_reboot(node: Node) -> None:
    await node.boot(2)
    assert (await node.output("grep -c alice /etc/passwd", **named("alice"))) == "1\n"


# --- access ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "identity", "allowed"),
    [
        ("touch $AZ_BATCH_NODE_SHARED_DIR/new", {}, True),
        ("cat $AZ_BATCH_NODE_SHARED_DIR/from-start", {}, True),
        ("cat $AZ_BATCH_NODE_SHARED_DIR/from-start", auto("task"), True),
        ("cat $AZ_BATCH_NODE_SHARED_DIR/from-start", named("alice"), True),
        ("cat $AZ_BATCH_NODE_STARTUP_DIR/stdout.txt $AZ_BATCH_NODE_STARTUP_WORKING_DIR/made", {}, True),
        ("touch $AZ_BATCH_NODE_STARTUP_WORKING_DIR/new", {}, False),
        ("touch $AZ_BATCH_NODE_STARTUP_DIR/new", {}, False),
        ("ls $AZ_BATCH_NODE_ROOT_DIR/applications", {}, True),
        ("ls $AZ_BATCH_NODE_ROOT_DIR/volatile", {}, False),
        ("touch $AZ_BATCH_TASK_DIR/new", {}, True),
        ("cat ../../other/wd/file", {}, True),  # the same user's
        ("cat ../../other/wd/file", auto("task"), False),
        ("cat ../../other/wd/file", named("alice"), False),
        ("cat ../../other/wd/file", ADMIN, True),
        ("touch /usr/local/new", {}, False),
        ("touch /usr/local/new", ADMIN, True),
        ("cat /etc/shadow", {}, False),
    ],
)
async def test_access_follows_the_rules(tmp_path: Path, command: str, identity: dict[str, Any], allowed: bool) -> None:
    script = "umask 027; echo > made; echo > $AZ_BATCH_NODE_SHARED_DIR/from-start"
    start_task = {"commandLine": f"/bin/sh -c '{script}'", **ADMIN}
    async with local_node(tmp_path / "data", "sandbox", pool=POOL | {"startTask": start_task}) as node:
        assert (await node.server.start_task(KEY)).exit_code == 0
        await node.run("/bin/sh -c 'echo x > file'", "other")
        end = await node.run(f"/bin/sh -c '{command}'", **identity)
        assert (end.exit_code == 0) == allowed


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A server of one file."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    directory = tmp_path / "web"
    directory.mkdir()
    (directory / "data.txt").write_text("data")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("identity", "owner"),
    [({}, "_azbatch:_azbatchgrp"), (named("bob"), "bob:bob"), (ADMIN, "root:_azbatchgrp")],
)
async def test_resource_files_belong_to_the_tasks_user(
    node: Node, web: str, identity: dict[str, Any], owner: str
) -> None:
    files = [{"httpUrl": f"{web}/data.txt", "filePath": "in/data.txt"}]
    output = await node.output("stat -c %U:%G:%a in in/data.txt", resourceFiles=files, **identity)
    assert output == f"{owner}:755\n{owner}:770\n"


async def test_resource_file_is_not_written_through_a_link_that_its_user_planted(node: Node, web: str) -> None:
    """Both tasks are the same user's, and the link leads where that user may not write."""
    script = f"cd {ROOT}/{WORK}/victim && until ln -s /etc wd/in 2>/dev/null; do :; done"
    await node.order(task("planter", f"/bin/sh -c 'until {script}; do :; done'", max_wall_clock_time=5 * SECOND))
    await node.server.started(KEY, "planter")
    for attempt in range(1, 20):
        files = [{"httpUrl": f"{web}/data.txt", "filePath": f"in/planted-{attempt}"}]
        await node.run("true", "victim", attempt=attempt, resourceFiles=files)
    assert (await node.output("/bin/sh -c 'ls /etc | grep -c planted; :'", "look")) == "0\n"


async def test_missing_resource_file_fails_the_task_before_it_runs(node: Node, web: str) -> None:
    end = await node.run("true", resourceFiles=[{"httpUrl": f"{web}/missing", "filePath": "file"}])
    assert end.exit_code is None
    assert end.failure
    assert (end.failure.code, end.may_retry) == ("BlobNotFound", False)


# --- the machine and the service ---------------------------------------------------------------------------------


async def test_changes_stay_in_the_node(node: Node) -> None:
    mark = f"/usr/local/mark-of-{os.getpid()}"
    await node.run(
        f"/bin/sh -c 'echo x > {mark}; rm -f /etc/hostname; echo x > /tmp/mark; echo x > /root/mark'", **ADMIN
    )
    assert not Path(mark).exists()
    assert not Path("/root/mark").exists()
    assert not Path("/tmp/mark").exists()
    assert Path("/etc/hostname").exists()
    await node.boot(2)  # and stay there
    assert await node.output(f"cat {mark} /tmp/mark", "again", **ADMIN) == "x\nx\n"


async def test_services_data_is_not_visible(node: Node) -> None:
    data = node.settings.data
    (data / "accounts.json").write_text("the key")
    for identity in ({}, ADMIN):
        end = await node.run(f"/bin/sh -c 'ls {data}; cat {data}/accounts.json'", f"task{len(identity)}", **identity)
        assert end.exit_code != 0
        assert "the key" not in await node.text(f"{WORK}/task{len(identity)}/stdout.txt")


@pytest.mark.parametrize("place", ["/var/tmp", "/srv", "/opt"])
async def test_services_data_is_not_visible_wherever_it_is(place: str) -> None:
    data = Path(place) / f"millpond-data-{os.getpid()}"
    try:
        async with local_node(data, "sandbox") as node:
            (data / "accounts.json").write_text("the key")
            script = (
                f"ls -A {data}; cat {data}/accounts.json; umount {data}; umount -l {data}; cat {data}/accounts.json"
            )
            end = await node.run(f"/bin/sh -c '{script}'", **ADMIN)
            assert end.exit_code != 0
            assert await node.text(f"{WORK}/task/stdout.txt") == ""
    finally:
        shutil.rmtree(data)


async def test_services_data_is_not_visible_behind_a_link() -> None:
    place = Path(f"/var/tmp/millpond-data-{os.getpid()}")
    link = place.with_name(f"{place.name}-link")
    place.mkdir()
    try:
        link.symlink_to(place)
        async with local_node(link, "sandbox") as node:
            (place / "accounts.json").write_text("the key")
            await node.run(
                f"/bin/sh -c 'ls -A {link}/ {place}; cat {link}/accounts.json {place}/accounts.json'", **ADMIN
            )
            assert (await node.text(f"{WORK}/task/stdout.txt")).split() == [f"{place}:", f"{link}/:"]
    finally:
        link.unlink()
        shutil.rmtree(place)


async def test_other_processes_are_not_visible(node: Node) -> None:
    output = await node.output("/bin/sh -c 'ls /proc | grep -E ^[0-9]+$ | wc -l'", **ADMIN)
    assert int(output) < 10


async def test_node_has_a_name_and_devices_and_temporary_files_of_its_own(node: Node) -> None:
    script = "hostname; ls /dev; ls -A /tmp; getent hosts $(hostname)"
    output = await node.output(f"/bin/sh -c '{script}'")
    assert output.splitlines()[0] == "tvmps-0123456789ab" != socket.gethostname()
    assert {"null", "random", "shm", "pts"} <= set(output.split())
    assert not any(name.startswith(("sd", "vd", "nvme", "mem", "kmsg")) for name in output.split())
    assert "127.64.0.1" in output
    await node.run("/bin/sh -c 'echo x > /dev/null && head -c 1 /dev/urandom > /dev/shm/x && exec 3<>/dev/ptmx'", "use")
    assert (await node.server.ended(KEY, "use")).exit_code == 0


@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "mount -o remount,rw /sys",
        "mknod /dev/vda b 254 0 && cat /dev/vda",
        "unshare -m true",
        "kill -9 1 && sleep 0.2 && ! kill -0 1",
        "cat /proc/1/environ",
        "cat /proc/1/mem",
        "ls /proc/1/root/",
        "ls -l /proc/1/fd/",
        "echo 1 > /proc/sys/kernel/panic",
        "echo h > /proc/sysrq-trigger",
        "touch /sys/fs/cgroup/cpu/new",
        "dmesg",
        "chroot /proc/1/root ls",
        "nsenter -t 1 -m true",
        '/usr/bin/python3 -c "from socket import *; socket(AF_PACKET, SOCK_RAW, htons(3))"',
    ],
)
async def test_root_of_the_node_is_not_root_of_the_machine(node: Node, script: str) -> None:
    end = await node.run(f"/bin/sh -c '{script}'", **ADMIN)
    assert end.exit_code != 0
    assert (await node.run("true", "after")).exit_code == 0


async def test_user_cannot_harm_the_agent(node: Node) -> None:
    script = "kill -9 1; kill -TERM 1; kill -STOP 1; kill -9 -1; for t in /proc/1/task/*; do kill -9 ${t##*/}; done; :"
    for number in range(10):
        await node.run(f"/bin/sh -c '{script}'", f"t{number}")
    assert (await node.run("true", "after")).exit_code == 0
    assert len(node.server.hellos[KEY]) == 1


async def test_elevated_start_task_can_install_software_for_the_tasks(tmp_path: Path) -> None:
    where = '/usr/bin/python3 -c "import site; print(site.getsitepackages()[0])"'
    script = f'echo "WORD = 1" > $({where})/pond_made.py'
    start_task = {"commandLine": f"/bin/sh -c '{script}'", **ADMIN}
    async with local_node(tmp_path / "data", "sandbox", pool={"startTask": start_task}) as node:
        report = await node.server.start_task(KEY)
        assert report.exit_code == 0, await node.text("startup/stderr.txt")
        assert await node.output("/usr/bin/python3 -c 'import pond_made; print(pond_made.WORD)'") == "1\n"


async def test_a_python_below_tmp_is_there_at_every_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which an agent may load more at any time; ``tmp_path`` is where nodes have a directory of their own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        venv.create(place, symlinks=True)
        (own,) = Path(place).glob("lib/python3*/site-packages")
        (own / "millpond.pth").write_text("\n".join(path for path in sys.path if path.startswith("/")))
        monkeypatch.setattr(sys, "executable", f"{place}/bin/python")
        async with local_node(tmp_path / "data", "sandbox") as node:
            for boot in (2, 3):
                await node.boot(boot)
                assert await node.output(f"ls {place}", f"look-{boot}") == "bin\ninclude\nlib\nlib64\npyvenv.cfg\n"


async def test_network_is_the_machines(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f'import socket; socket.create_connection(("127.0.0.1", {port})).close()'
        assert (await node.run(f"/usr/bin/python3 -c '{program}'")).exit_code == 0
