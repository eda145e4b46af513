"""What starts an agent on a machine: written by a provider, read by :mod:`millpond.node`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec


class AgentLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """All that an agent needs before its first word with the service. It holds a secret: never a command line."""

    #: The node's key, and its id as given.
    key: str
    node_id: str
    boot: int
    #: Which disk of the node's its directory is.
    disk: int = 1
    token: str
    #: The URL of the agent's channel (``ws://…`` or ``wss://…``).
    channel_url: str
    #: The certificate (PEM) of the authority that signed the services' own; empty where they speak http.
    authority: str = ""
    ip_address: str = "127.0.0.1"
    #: The node's own directory: its root, its log, and what its sandbox needs.
    directory: str
    isolation: Literal["sandbox", "process"] = "process"
    #: Directories that nothing on the node may see; applies to a sandbox.
    hidden: list[str] = []
    #: What runs tasks in containers here; empty: nothing does.
    container_runtime: Literal["auto", "podman", "none"] = "none"
    #: End as soon as everything is set up: to find out whether this machine allows it.
    is_trial: bool = False


class AgentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The file ``agent.json`` in a node's directory: which process the node is, or was."""

    key: str
    boot: int
    disk: int = 1
    ip_address: str
    isolation: Literal["sandbox", "process"]
    pid: int = 0
    #: Tells the process from a later one with the same id: its start, as :func:`process_start` gives it.
    started: str = ""


class LaunchReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher says about one launch: first ``launched``, then ``ready`` or ``failed``."""

    key: str
    boot: int
    stage: Literal["launched", "ready", "failed"]
    message: str = ""


def process_start(pid: int) -> str:
    """The moment of a process's start as the system tells it, with the boot of the machine; empty: no such process.

    A zombie does not count as a process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "" if sys.platform == "linux" else _process_start_elsewhere(pid)
    return "" if fields[0] in "ZX" else f"{boot_id}:{fields[19]}"


def _process_start_elsewhere(pid: int) -> str:
    """The same where there is no ``/proc`` in Linux's form."""
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return ""
