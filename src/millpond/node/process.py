"""Process trees: each task's processes start together, are found wherever they hide, and end together.

A tree is the main process, which leads a session of its own, and whatever descends from it. The agent is where
orphans go (as the node's init process, or as a subreaper), so a process that has left its parents behind becomes a
child of the agent: a *stray*. A stray belongs to the tree whose session it is in, or else whose directory its
environment names; one that hides both is put down to the trees that ran when it was first seen, and ends with the
last of them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millpond.common.agent_protocol import RunUsage

from . import commandline, measuring
from .users import LOGIN_IDS, Credentials

log = logging.getLogger(__name__)

#: The environment variable by which a stray's tree is known.
MARKER = "AZ_BATCH_TASK_DIR"

_LINUX = sys.platform == "linux"
#: How a tree is set apart from the agent's own processes.
_APART: dict[str, Any] = {"setsid": True} if _LINUX else {"setpgroup": 0}
#: What Python ignores, and programs do not expect to find ignored.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
_DAEMON_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
#: How the files for a task's output are opened.
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)


class ProgramNotFoundError(Exception):
    """No file of that name along the path."""


class LaunchError(Exception):
    """The program is there and does not start; the message says why."""


@dataclass(slots=True, frozen=True)
class Command:
    words: list[str]
    environment: dict[str, str]
    #: The tree's name: where ``stdout.txt`` and ``stderr.txt`` go.
    directory: str
    working_directory: str
    credentials: Credentials
    #: Where they go instead.
    output_directory: str = ""


@dataclass(slots=True)
class _Tree:
    directory: str
    main: int
    keeps_background: bool
    exit_code: int | None = None
    is_ending: bool = False
    usage: RunUsage | None = None


@dataclass(slots=True, frozen=True)
class TreeEnded:
    """All of a tree's processes are gone. ``exit_code`` is the main process's; ``-N``: death by signal N."""

    directory: str
    exit_code: int
    usage: RunUsage | None


@dataclass(slots=True)
class _Stray:
    #: The directory of its tree, or of every tree that it may be of.
    suspects: set[str] = field(default_factory=set)


class Trees:
    """All process trees below this process. One instance per process: it collects every child that ends."""

    def __init__(self) -> None:
        self._trees: dict[str, _Tree] = {}
        self._by_main: dict[int, _Tree] = {}
        self._ending: list[_Tree] = []
        self._strays: dict[int, _Stray] = {}
        #: Ended trees whose background processes may live on: their main processes as they were, by directory.
        self._background: dict[str, int] = {}
        #: Processes of the node's own, which belong to no task.
        self._daemons: set[int] = set()
        self._children_file = f"/proc/{os.getpid()}/task/{os.getpid()}/children"

    @property
    def wants_another_look(self) -> bool:
        """Whether processes were told to die and are not gone."""
        return bool(self._ending)

    def spawn(self, command: Command, *, keeps_background: bool = False) -> int:
        """Start a tree and return its main process's id.

        Raises :class:`ProgramNotFoundError`, :class:`LaunchError`.
        """
        directory = command.directory
        output = command.output_directory or directory
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, f"{output}/stdout.txt", NEW_FILE, 0o644),
            (os.POSIX_SPAWN_OPEN, 2, f"{output}/stderr.txt", NEW_FILE, 0o644),
        ]
        programs = commandline.candidates(
            command.words[0], command.environment.get("PATH", ""), command.working_directory
        )
        refusal: OSError | None = None
        os.chdir(command.working_directory)
        with command.credentials as resets_ids:
            for program in programs:
                try:
                    main = os.posix_spawn(
                        program,
                        command.words,
                        command.environment,
                        file_actions=actions,
                        **_APART,
                        setsigmask=(),
                        setsigdef=_DEFAULT_SIGNALS,
                        resetids=resets_ids,
                    )
                except PermissionError as error:
                    refusal = error  # as execvp does: the next place on the path may do
                except (OSError, ValueError) as error:
                    raise LaunchError(str(error)) from error
                else:
                    tree = _Tree(directory, main, keeps_background)
                    self._trees[directory] = self._by_main[main] = tree
                    self._background.pop(directory, None)
                    return main
        if refusal:
            raise LaunchError(str(refusal)) from refusal
        raise ProgramNotFoundError(command.words[0])

    def spawn_daemon(self, words: list[str], output: str) -> int:
        """Start a process of the node's own, which is root's and lives as long as it likes. Raises ``OSError``."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, NEW_FILE, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(
            words[0], words, _DAEMON_ENVIRONMENT, file_actions=actions, **_APART, setsigdef=_DEFAULT_SIGNALS
        )
        self._daemons.add(pid)
        return pid

    def adopt(self, pid: int) -> None:
        """A child that was started elsewhere is one of the node's own processes, too."""
        if Path(f"/proc/{pid}").exists():  # else it has been collected already
            self._daemons.add(pid)

    def is_alive(self, daemon: int) -> bool:
        return daemon in self._daemons

    def kill(self, directory: str) -> None:
        """End a tree at once, its background processes too; :meth:`reap` tells when it is gone."""
        tree = self._trees.get(directory)
        if tree is None:
            return
        tree.keeps_background = False
        _kill_all(lambda: self._members(tree))
        if tree.exit_code is not None and not tree.is_ending:
            self._end(tree)

    def kill_background(self, directory: str) -> None:
        """End what an ended tree has left behind; :meth:`reap` tells when all of it is gone."""
        main = self._background.pop(directory, 0)
        # On Linux its processes are known by their descent and environment; the number may be another session's by now.
        tree = self._trees[directory] = _Tree(directory, -1 if _LINUX or not main else main, False, -signal.SIGKILL)
        if _LINUX:
            _kill_all(lambda: self._members(tree))
        self._end(tree)

    def reap(self) -> list[TreeEnded]:
        """Collect what has ended. To be called after each SIGCHLD, and while :attr:`wants_another_look`."""
        has_children = True
        while True:
            try:
                collected = measuring.collect(self._owner)
            except ChildProcessError:
                has_children = False
                break
            if collected is None:
                break
            pid, owner = collected.pid, collected.found
            if owner:
                owner.usage = measuring.total(owner.usage, collected.usage)
            tree = self._by_main.pop(pid, None)
            if tree:
                tree.exit_code = os.waitstatus_to_exitcode(collected.status)
                self._end(tree)
            else:
                self._strays.pop(pid, None)
                self._daemons.discard(pid)
        if not self._ending:
            return []
        self._find_strays(has_children)
        ended = []
        for tree in self._ending:
            if self._strays and not self._settle_strays(tree):
                continue
            del self._trees[tree.directory]
            ended.append(TreeEnded(tree.directory, tree.exit_code or 0, tree.usage))
        if ended:
            self._ending = [tree for tree in self._ending if tree.directory in self._trees]
        return ended

    def _owner(self, pid: int) -> _Tree | None:
        """The tree that an ended child belonged to, where that is certain."""
        tree = self._by_main.get(pid)
        if tree or pid in self._daemons:
            return tree
        known = self._strays.get(pid)
        if known is None:
            return self._led_by(pid)
        return self._trees.get(next(iter(known.suspects))) if len(known.suspects) == 1 else None

    def _led_by(self, pid: int) -> _Tree | None:
        """The tree whose session a process is in."""
        try:
            leader = os.getsid(pid)
        except OSError:
            return None
        return self._by_main.get(leader) or next((tree for tree in self._ending if tree.main == leader), None)

    def _end(self, tree: _Tree) -> None:
        if not _LINUX and not tree.keeps_background and tree.main > 0:
            _signal(-tree.main, signal.SIGKILL)
        tree.is_ending = True
        self._ending.append(tree)

    def _find_strays(self, has_children: bool) -> None:
        """Look which children the agent has that are no tree's main process."""
        if not has_children:
            self._strays.clear()
            return
        present = {pid for pid in self._children() if pid not in self._by_main and pid not in self._daemons}
        for pid in self._strays.keys() - present:
            del self._strays[pid]
        for pid in present - self._strays.keys():
            self._strays[pid] = _Stray(self._suspects(pid))

    def _settle_strays(self, tree: _Tree) -> bool:
        """The main process has ended: end the strays it left, or let them be. Returns whether that is done."""
        if tree.keeps_background:
            self._background[tree.directory] = tree.main
            return True
        mine = []
        for pid, stray in self._strays.items():
            if tree.directory in stray.suspects:
                if stray.suspects == {tree.directory}:
                    mine.append(pid)
                else:
                    stray.suspects.discard(tree.directory)
        if mine:
            _kill_all(lambda: self._members(tree, mine))
        return not mine

    def _suspects(self, pid: int) -> set[str]:
        """Directories of the trees that a stray may belong to; none where a user who logged in has left it."""
        if _user(pid) in LOGIN_IDS:
            return set()
        leader = self._led_by(pid)
        if leader:
            return {leader.directory}
        directory = _marker(pid)
        if directory in self._background or directory in self._trees:
            return {directory}
        return set(self._trees)

    def _members(self, tree: _Tree, strays: Iterable[int] = ()) -> set[int]:
        """Processes of a tree as they are now: below its main process, in its session, or marked as its own."""
        parents, sessions = _process_table()
        if not parents:  # no process table to read: its group is all that can be known
            return {-tree.main}
        members = {pid for pid, session in sessions.items() if session == tree.main}
        if tree.exit_code is None:
            members.add(tree.main)
        members.update(strays)
        own = os.getpid()
        members |= {pid for pid, parent in parents.items() if parent == own and _marker(pid) == tree.directory}
        while True:
            below = {pid for pid, parent in parents.items() if parent in members} - members
            if not below:
                return members - {own}
            members |= below

    def _children(self) -> list[int]:
        try:
            file = os.open(self._children_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            own = os.getpid()
            return [pid for pid, parent in _process_table()[0].items() if parent == own]
        try:
            found = b""
            while part := os.read(file, 1 << 16):
                found += part
        finally:
            os.close(file)
        return [int(pid) for pid in found.split()]


def _kill_all(members: Callable[[], set[int]]) -> None:
    """SIGKILL what ``members()`` finds, stopped first so that none can fork behind our back."""
    stopped: set[int] = set()
    for _ in range(16):
        found = members() - stopped
        if not found:
            break
        for pid in found:
            _signal(pid, signal.SIGSTOP)
        stopped |= found
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        log.warning("not allowed to end process %d", pid)


def _user(pid: int) -> int:
    """A process's real user; -1 where that cannot be read."""
    try:
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    except OSError:
        pass
    return -1


def _marker(pid: int) -> str:
    """The task directory that a process's environment names; empty where that cannot be read."""
    prefix = f"{MARKER}=".encode()
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return ""


def _process_table() -> tuple[dict[int, int], dict[int, int]]:
    """Parent and session of each live process; both empty where there is no ``/proc`` in Linux's form."""
    parents: dict[int, int] = {}
    sessions: dict[int, int] = {}
    if not _LINUX:
        return parents, sessions
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all it needs
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - for every process of the machine
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in b"ZX":
                parents[int(name)] = int(fields[1])
                sessions[int(name)] = int(fields[3])
    return parents, sessions


def end_children() -> bool:
    """Kill all processes below this one, and collect those that have ended. Returns whether any are left."""
    own = os.getpid()

    def below() -> set[int]:
        parents, _ = _process_table()
        found: set[int] = set()
        while more := {pid for pid, parent in parents.items() if parent == own or parent in found} - found:
            found |= more
        return found

    _kill_all(below)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
