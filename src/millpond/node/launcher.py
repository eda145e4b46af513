"""Starts agents on this machine, fast: a process that has everything loaded forks one for each node.

It reads :class:`AgentLaunch` orders from its standard input, one JSON line each, and what comes of them goes to its
standard output as :class:`LaunchReply` lines. It ends with its input. The agents live on: they are not its
children, hold none of its files, and belong to no terminal.

A sandboxed agent is the first process of its namespaces, so the kernel ends everything in the node with it. Elsewhere
a *keeper* stays with the agent: what the agent leaves behind goes to the keeper, which ends it, and itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from millpond.common.agent_launch import AgentLaunch, AgentRecord, LaunchReply, process_start

_LINUX = sys.platform == "linux"
#: How long a launch waits for an earlier agent of the same node to be gone.
_LOCK_TIMEOUT_S = 5.0

_encode = msgspec.json.encode
_decode_launch = msgspec.json.Decoder(AgentLaunch).decode


def main() -> None:
    """Serve until standard input ends."""
    # Event loops may leave their own ends of the pipes open here, and an agent that had one would keep the service
    # waiting for the end of the replies.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    from . import agent, keeper, transfer, upload  # noqa: F401 - loaded once, for every agent that is forked

    if _LINUX:
        from . import linux, sandbox  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        launch = _decode_launch(line)
        if os.fork() == 0:
            _launch(launch)


def _launch(launch: AgentLaunch) -> NoReturn:
    """In a child: become the node, and answer for it."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        directory = Path(launch.directory)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _lock(directory)
        if launch.isolation == "sandbox":
            _launch_in_sandbox(launch, directory)
        else:
            _launch_with_keeper(launch, directory)
    except BaseException as error:
        _reply(launch, "failed", str(error) or type(error).__name__)
        os._exit(1)
    os._exit(0)


def _launch_in_sandbox(launch: AgentLaunch, directory: Path) -> None:
    from . import sandbox

    sandbox.unshare()
    go, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.read(go, 1)
        _become_agent(launch, directory)
    _record(launch, directory, pid)
    _reply(launch, "launched")
    os.write(told, b"\0")


def _launch_with_keeper(launch: AgentLaunch, directory: Path) -> None:
    from .keeper import keep

    _record(launch, directory, os.getpid())
    _reply(launch, "launched")
    if _LINUX:
        from . import linux

        linux.set_child_subreaper()
    keeper = os.getpid()
    agent = os.fork()
    if agent == 0:
        if _LINUX:
            linux.set_parent_death_signal(signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)
        _become_agent(launch, directory)
    _redirect_output(directory)
    keep(agent)


def _become_agent(launch: AgentLaunch, directory: Path) -> NoReturn:
    """Settle in, say so, and work until the end."""
    from .agent import run

    try:
        replies = os.dup(1)
        _redirect_output(directory)
        run(launch, ready=partial(_say_ready, launch, replies))
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            _write(replies, _reply_line(launch, "failed", str(error) or type(error).__name__))
    sys.stderr.flush()
    os._exit(1)


def _say_ready(launch: AgentLaunch, replies: int) -> None:
    _write(replies, _reply_line(launch, "ready"))
    os.close(replies)


def _lock(directory: Path) -> None:
    """Make sure that this is the node's only agent: the lock is held until the last process that has it ends.

    Raises ``OSError`` where an earlier one does not go away.
    """
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _record(launch: AgentLaunch, directory: Path, pid: int) -> None:
    """Write down which process the node is, for a provider that starts later."""
    record = AgentRecord(
        key=launch.key,
        boot=launch.boot,
        disk=launch.disk,
        ip_address=launch.ip_address,
        isolation=launch.isolation,
        pid=pid,
        started=process_start(pid),
    )
    temporary = directory / "agent.json.new"
    temporary.write_bytes(_encode(record))
    temporary.replace(directory / "agent.json")


def _redirect_output(directory: Path) -> None:
    """Input from nowhere, output to the node's log."""
    log = os.open(directory / "agent.log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(nowhere)


def _reply(launch: AgentLaunch, stage: str, message: str = "") -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, and the node goes on
        _write(1, _reply_line(launch, stage, message))


def _reply_line(launch: AgentLaunch, stage: str, message: str = "") -> bytes:
    return _encode(LaunchReply(key=launch.key, boot=launch.boot, stage=stage, message=message[:500])) + b"\n"  # type: ignore[arg-type]


def _write(file: int, line: bytes) -> None:
    """In one piece: short enough for a pipe that several processes write to."""
    with contextlib.suppress(BrokenPipeError):
        os.write(file, line)


if __name__ == "__main__":
    main()
