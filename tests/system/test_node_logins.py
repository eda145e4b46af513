"""Users who log in to a node by SSH, as a person does: with the machine's own ``sshd`` and ``ssh``."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.agent_server import now, task
from tests.system.nodes import KEY, Node, local_node, sandbox_problem

from millpond.common.agent_protocol import ActionReply, DeleteUser, DescribeLogin, PutUser
from millpond.common.clock import HOUR, SECOND

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="users are made by root"),
    pytest.mark.skipif(bool(sandbox_problem()), reason="users are made in sandboxes"),
]
needs_sshd = pytest.mark.skipif(
    not (shutil.which("sshd", path="/usr/sbin:/usr/bin") and shutil.which("ssh")),
    reason="needs an SSH server and client (openssh-server, openssh-client)",
)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with local_node(tmp_path / "data", "sandbox", task_slots=2) as node:
        yield node


@pytest.fixture
async def key(tmp_path: Path) -> Path:
    """A private key; the public one is beside it."""
    file = tmp_path / "key"
    maker = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file))
    assert await maker.wait() == 0
    return file


async def put(node: Node, name: str = "alice", **fields: Any) -> ActionReply:
    return await node.server.act(KEY, PutUser(name=name, **{"expiry_time": now() + HOUR, **fields}))


async def passwd(node: Node, task_id: str) -> str:
    """The node's list of users, as tasks see it."""
    return await node.output("cat /etc/passwd /etc/group", task_id)


async def ssh(node: Node, name: str, key: Path, command: str, *options: str) -> tuple[int, str, str]:
    reply = await node.server.act(KEY, DescribeLogin())
    assert reply.error is None, reply
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-i", str(key), "-p", str(reply.port), "-F", "none", "-o", "StrictHostKeyChecking=no"),
        *("-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", *options),
        *(f"{name}@{node.record.ip_address}", command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def with_password(node: Node, name: str, password: str, tmp_path: Path) -> bool:
    """Whether the password lets the user in."""
    asker = tmp_path / "ask"
    asker.write_text(f"#!/bin/sh\necho '{password}'\n")
    asker.chmod(0o700)
    reply = await node.server.act(KEY, DescribeLogin())
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-p", str(reply.port), "-F", "none", "-o", "StrictHostKeyChecking=no"),
        *("-o", "UserKnownHostsFile=/dev/null", "-o", "PreferredAuthentications=password"),
        *("-o", "NumberOfPasswordPrompts=1", f"{name}@{node.record.ip_address}", "true"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
        start_new_session=True,
    )
    async with asyncio.timeout(20):
        return await process.wait() == 0


@needs_sshd
async def test_user_logs_in_by_key_and_by_password_to_this_node_and_as_nobody_else(
    node: Node, key: Path, tmp_path: Path
) -> None:
    public = key.with_suffix(".pub").read_text().strip()
    assert (await put(node, ssh_public_key=public, password="it's secret")).error is None
    await node.run("/bin/sh -c 'echo hello > $AZ_BATCH_NODE_SHARED_DIR/file'", "shares")
    script = "id -un; pwd; hostname; cat /mnt/batch/tasks/shared/file; env | grep -c ^AZ_BATCH; ls /root || true"
    code, out, err = await ssh(node, "alice", key, script)
    assert code == 0, err
    assert out.splitlines() == ["alice", "/home/alice", "tvmps-0123456789ab", "hello", "0"]
    assert (await ssh(node, "root", key, "true"))[0] == 255
    assert await with_password(node, "alice", "it's secret".replace("'", "'\\''"), tmp_path)
    assert not await with_password(node, "alice", "wrong", tmp_path)
    assert (await put(node, replaces=True, password="changed")).error is None
    assert (await ssh(node, "alice", key, "true"))[0] == 255, "the key was not named again"
    assert await with_password(node, "alice", "changed", tmp_path)


@needs_sshd
async def test_what_users_leave_behind_outlives_tasks_and_goes_with_them(node: Node, key: Path) -> None:
    public = key.with_suffix(".pub").read_text().strip()
    await put(node, ssh_public_key=public)
    await node.order(task("long", "sleep 4301"))
    await node.server.started(KEY, "long")
    assert (await ssh(node, "alice", key, "nohup setsid sleep 4302 >/dev/null 2>&1 &"))[0] == 0
    await node.run("true", "short")
    assert (await node.run("/bin/sh -c 'grep -al 4302 /proc/[0-9]*/cmdline | grep -v self'", "looks")).exit_code == 0
    assert (await node.server.act(KEY, DeleteUser("alice"))).error is None
    assert (await ssh(node, "alice", key, "true"))[0] == 255
    found = await node.output("/bin/sh -c 'cat /proc/[0-9]*/cmdline | tr -d \"\\0\" | grep -c 430[2] || true'", "gone")
    assert found == "0\n"
    assert (await node.run("ls /home/alice", "home")).exit_code == 2


@needs_sshd
async def test_administrator_is_root_by_sudo_or_by_name(node: Node, key: Path) -> None:
    await put(node, "chief", is_admin=True, ssh_public_key=key.with_suffix(".pub").read_text())
    command = "sudo -n id -u" if shutil.which("sudo") else "id -u"
    assert (await ssh(node, "chief", key, command))[:2] == (0, "0\n")


async def test_users_are_made_changed_and_removed(node: Node) -> None:
    assert (await put(node)).error is None
    assert (await put(node)).error == "exists"
    for machines in ("root", "_azbatch", "daemon"):
        assert (await put(node, machines)).error == "exists"
        assert (await put(node, machines, replaces=True)).error == "notFound"
        assert (await node.server.act(KEY, DeleteUser(machines))).error == "notFound"
    assert (await put(node, "bob", replaces=True)).error == "notFound"
    assert (await put(node, "../bob")).error == "notValid"
    assert (await put(node, replaces=True, password="x")).error is None
    lists = await passwd(node, "before")
    assert "alice:x:61001:61000::/home/alice:" in lists
    assert "_azbatchgrp:x:60600:alice\n" in lists
    assert "alice:$6$" in await node.output(
        "cat /etc/shadow", "shadow", userIdentity={"autoUser": {"elevationLevel": "admin"}}
    )
    assert (await node.server.act(KEY, DeleteUser("alice"))).error is None
    assert "alice" not in await passwd(node, "after")
    assert (await node.server.act(KEY, DeleteUser("alice"))).error == "notFound"


async def test_users_outlive_a_reboot_and_go_with_their_time_and_with_the_disk(node: Node) -> None:
    await put(node, "alice")
    await put(node, "brief", expiry_time=now() + SECOND)
    await node.boot(2)
    assert (await put(node, "alice")).error == "exists"
    number = iter(range(100))

    async def is_gone() -> bool:
        return "brief" not in await passwd(node, f"look{next(number)}")

    async with asyncio.timeout(20):
        while not await is_gone():
            await asyncio.sleep(0.2)
    assert "alice" in await passwd(node, "still")
    await node.boot(3, disk=2)
    assert "alice" not in await passwd(node, "fresh")


async def test_nodes_without_a_sandbox_have_no_users(tmp_path: Path) -> None:
    async with local_node(tmp_path / "data", "process") as node:
        for action in (PutUser(name="alice", expiry_time=now() + HOUR), DeleteUser("alice"), DescribeLogin()):
            reply = await node.server.act(KEY, action)
            assert reply.error == "notValid"
            assert "sandbox" in reply.message
