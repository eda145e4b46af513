"""The process that starts a node's container runtime: a runtime needs rights that no task may have.

It is forked from the agent before the agent bounds what its children may do, runs the commands that the agent sends
over a socket pair, and gathers what they leave behind. It ends, with all of that, when the agent closes the socket,
which it does at once where the node's pool has no containers.

Where it is root it has a PID namespace, and so all that it starts ends with it, and mounts of its own: a runtime's are
seen nowhere else, and the control groups, which are read-only in a sandbox, can be changed here. Linux only.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NoReturn

import msgspec

from .process import end_children

#: Most bytes of an order.
_ORDER_BYTES = 1 << 20
_CONTROL_GROUPS = "/sys/fs/cgroup"


class HostGoneError(Exception):
    """The process has ended, and with it whatever it ran."""


class _Order(msgspec.Struct, array_like=True):
    """Run the words, with three files that come along as input, output and errors; without words: end that command."""

    number: int
    words: list[str]
    environment: dict[str, str]


class _Ended(msgspec.Struct, array_like=True):
    number: int
    #: ``-N``: death by signal N.
    exit_code: int
    #: Why it could not be started.
    problem: str = ""


_encode = msgspec.msgpack.encode
_decode_order = msgspec.msgpack.Decoder(_Order).decode
_decode_ended = msgspec.msgpack.Decoder(_Ended).decode


class ContainerHost:
    """The agent's end. Its methods may be called by any thread, but for the first, which forks."""

    def __init__(self) -> None:
        """Fork the process; nothing else may run in this one yet. Raises ``OSError``."""
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._channel, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _ORDER_BYTES)
        self.pid = os.fork()
        if self.pid == 0:
            _become_host(other)
        other.close()
        self._lock = threading.Lock()
        self._last = 0
        #: What runs, by number; ``None``: it has ended.
        self._waiting: dict[int, Future[int]] | None = {}
        self._reader: threading.Thread | None = None
        self._is_closed = False
        #: Called, in a thread, when it has ended unasked.
        self.on_gone: Callable[[], None] = _ignore

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], files: tuple[int, int, int]
    ) -> tuple[int, Future[int]]:
        """Have a command run. Returns its number, and its exit code to come, or an ``OSError``.

        Raises :class:`HostGoneError`, and ``OSError`` where it cannot be said.
        """
        with self._lock:
            if self._waiting is None:
                raise HostGoneError
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="container host", daemon=True)
                self._reader.start()
            self._last += 1
            number, done = self._last, Future[int]()
            self._waiting[number] = done
        order = _Order(number, list(words), dict(environment))
        try:
            socket.send_fds(self._channel, [_encode(order)], list(files))
        except BrokenPipeError:
            raise HostGoneError from None
        return number, done

    def end(self, number: int) -> None:
        """SIGKILL a command, if it still runs."""
        try:
            self._channel.send(_encode(_Order(number, [], {})))
        except OSError:
            return  # all that it ran has ended

    def close(self) -> None:
        """End it, with all that it has started."""
        self._is_closed = True
        self._channel.close()

    def _read(self) -> None:
        while message := self._receive():
            ended = _decode_ended(message)
            with self._lock:
                done = self._waiting.pop(ended.number) if self._waiting else None
            if done is None:
                continue
            if ended.problem:
                done.set_exception(OSError(ended.problem))
            else:
                done.set_result(ended.exit_code)
        with self._lock:
            left, self._waiting = self._waiting or {}, None
        if not self._is_closed:
            self.on_gone()
        for done in left.values():
            done.set_exception(HostGoneError())

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(_ORDER_BYTES)
        except OSError:
            return b""


def _ignore() -> None:
    """Nobody wants to know."""


def _become_host(channel: socket.socket) -> NoReturn:
    from . import linux

    try:
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        os.setsid()
        linux.set_undumpable()
        if os.geteuid() == 0:
            _go_apart()
        else:
            linux.set_child_subreaper()
        _Host(channel).serve()
    except BaseException:
        traceback.print_exc()
    while end_children():
        time.sleep(0.01)
    os._exit(1)


def _go_apart() -> None:
    """Become the first process of a PID namespace, with mounts of its own and control groups that can be changed.

    The kernel ends all containers with it. Raises ``OSError``.
    """
    from . import linux

    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
    first = os.fork()
    if first:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.waitpid(first, 0)
        os._exit(1)
    linux.set_parent_death_signal(signal.SIGKILL)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4]
        if place == _CONTROL_GROUPS or place.startswith(f"{_CONTROL_GROUPS}/"):
            linux.mount("none", place, flags=linux.MS_REMOUNT | linux.MS_BIND)


class _Host:
    """The process itself: one thread that waits for orders, and for its children."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        #: Numbers of the commands that run, by process.
        self._numbers: dict[int, int] = {}
        self._wake_read, wake_write = os.pipe()
        for end in (self._wake_read, wake_write):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the agent has closed its end."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for file, _ in poll.poll():
                if file == self._wake_read:
                    os.read(self._wake_read, 4096)
                elif not self._take_order():
                    return
            self._collect()

    def _take_order(self) -> bool:
        message, files, _, _ = socket.recv_fds(self._channel, _ORDER_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return False
        order = _decode_order(message)
        try:
            if order.words:
                self._start(order, files)
            else:
                for pid in [pid for pid, number in self._numbers.items() if number == order.number]:
                    os.kill(pid, signal.SIGKILL)
        finally:
            for file in files:
                os.close(file)
        return True

    def _start(self, order: _Order, files: list[int]) -> None:
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        try:
            pid = os.posix_spawn(
                order.words[0],
                order.words,
                order.environment,
                file_actions=actions,
                setsid=True,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except (OSError, ValueError) as error:
            self._channel.send(_encode(_Ended(order.number, 0, str(error) or "it cannot be started")))
        else:
            self._numbers[pid] = order.number

    def _collect(self) -> None:
        """Tell what has ended; what runtimes have left behind ends here too."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                number = self._numbers.pop(pid, None)
                if number is not None:
                    self._channel.send(_encode(_Ended(number, os.waitstatus_to_exitcode(status))))
        except ChildProcessError:
            pass
