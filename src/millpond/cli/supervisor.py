"""The process that keeps the services alive: each is a child of it, started again where it dies.

The listening sockets belong to this process, so clients of a service that is being started again wait in its queue
instead of being refused. Each child holds one end of a socket pair: it says there that it is ready, or why it cannot
be, and it ends when the other end is gone, however this process ended.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import msgspec

from millpond.common.config import Settings

from .errors import CommandError
from .processes import adopt_orphans, descendants, kill

ServiceName = Literal["batch", "blob"]
SERVICE_NAMES: Final[tuple[ServiceName, ...]] = ("batch", "blob")

#: A stop takes no longer than this, in seconds: then what still runs is killed.
STOP_TIMEOUT_S = 4.0
#: The pause before a service that died is started again: the first, doubled at each further failure, and the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
#: A service that lived this long did start well: its earlier failures no longer count.
_STABLE_S = 30.0
#: So many failures in a row end the server.
_MOST_FAILURES = 5


class Service(NamedTuple):
    """A service to run, and the socket that it answers on."""

    name: ServiceName
    socket: socket.socket


@dataclass(eq=False)
class _Running:
    """A process that runs a service."""

    service: Service
    process: subprocess.Popen[bytes]
    control: socket.socket
    started_at: float
    is_ready: bool = False
    refusal: str = ""  # why it cannot run, in its own words


@dataclass
class _Restart:
    """When a service is to be started, and how often in a row it has not stayed up."""

    due_at: float = 0.0
    failures: int = 0
    was_ready: bool = False


class Supervisor:
    """Runs the services until a signal comes or one of them does not stay up."""

    def __init__(
        self, settings: Settings, services: Sequence[Service], urls: Mapping[ServiceName, str], lock: int
    ) -> None:
        self.pid = os.getpid()
        self._settings = settings
        self._services = services
        self._urls = urls
        self._lock = lock
        self._running: dict[int, _Running] = {}  # by process id
        self._restarts = {service.name: _Restart() for service in services}
        self._selector = selectors.DefaultSelector()
        self._stop_signals = 0
        self._is_stopping = False

    def run(self, on_ready: Callable[[], None], on_processes: Callable[[dict[str, int]], None]) -> None:
        """Return after a clean stop by SIGTERM, SIGINT or SIGHUP.

        ``on_ready`` is called once, when all services answer for the first time; ``on_processes`` with the services'
        process ids then and whenever they change. Raises ``CommandError`` where a service does not stay up.
        """
        adopt_orphans()
        with self._signals_wake_up():
            try:
                self._keep_alive(on_ready, on_processes)
            finally:
                self._stop()
                self._selector.close()

    def _keep_alive(self, on_ready: Callable[[], None], on_processes: Callable[[dict[str, int]], None]) -> None:
        announced: dict[str, int] = {}
        while not self._stop_signals:
            self._wait(self._start_due())
            self._reap()
            ready: dict[str, int] = {each.service.name: pid for pid, each in self._running.items() if each.is_ready}
            if len(ready) == len(self._services) and ready != announced:
                on_processes(ready)
                if not announced:
                    on_ready()
                announced = ready

    def _start_due(self) -> float | None:
        """Start the services whose time has come; the seconds until the next one's."""
        now = time.monotonic()
        up = {running.service.name for running in self._running.values()}
        pauses = []
        for service in self._services:
            if service.name not in up:
                pause = self._restarts[service.name].due_at - now
                if pause <= 0:
                    self._start(service)
                else:
                    pauses.append(pause)
        return min(pauses, default=None)

    def _start(self, service: Service) -> None:
        control, theirs = socket.socketpair()
        listener = service.socket.fileno()
        settings = msgspec.json.encode(msgspec.structs.asdict(self._settings), enc_hook=str).decode()
        descriptors = [str(listener), str(theirs.fileno()), str(self._lock)]
        arguments = [service.name, *descriptors, self._urls[service.name], settings]
        process = subprocess.Popen(
            [sys.executable, "-m", "millpond.cli.service", *arguments],
            pass_fds=(listener, theirs.fileno(), self._lock),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,  # stdout is for the one line that says ready
            start_new_session=True,  # Ctrl-C is for this process: it stops the others in order
        )
        theirs.close()
        control.setblocking(False)
        running = _Running(service, process, control, time.monotonic())
        self._running[process.pid] = running
        self._selector.register(control, selectors.EVENT_READ, lambda: self._listen_to(running))

    def _wait(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(None if timeout_s is None else max(timeout_s, 0)):
            key.data()

    def _listen_to(self, running: _Running) -> None:
        """Take a child's word: it says one line, and closes its end when it ends."""
        try:
            said = running.control.recv(4096).decode(errors="replace")
        except (BlockingIOError, ConnectionResetError):
            said = ""
        if said == "ready":
            running.is_ready = self._restarts[running.service.name].was_ready = True
        elif said:
            running.refusal = said
        elif running.control in self._selector.get_map():
            self._selector.unregister(running.control)

    def _reap(self) -> None:
        """Take the exit statuses of all that ended: services, and orphans that came to this process."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if running := self._running.pop(pid, None):
                    self._has_ended(running, os.waitstatus_to_exitcode(status))

    def _has_ended(self, running: _Running, exit_code: int) -> None:
        while running.control in self._selector.get_map():
            self._listen_to(running)  # until its last word is read
        running.control.close()
        running.process.returncode = exit_code  # reaped here, not by its own wait()
        if self._is_stopping or self._stop_signals:
            return
        title = running.service.name.capitalize()
        reason = running.refusal or _describe(exit_code)
        now = time.monotonic()
        restart = self._restarts[running.service.name]
        restart.failures = 1 if now - running.started_at > _STABLE_S else restart.failures + 1
        if restart.failures >= _MOST_FAILURES or (running.refusal and not restart.was_ready):
            raise CommandError(f"{title} does not start: {reason}")
        restart.due_at = now + min(_FIRST_PAUSE_S * 2 ** (restart.failures - 1), _LONGEST_PAUSE_S)
        print(f"millpond: {title} ended ({reason}) and is started again", file=sys.stderr, flush=True)

    def _stop(self) -> None:
        """Let the services stop in order, then kill whatever is left of them and of what they started.

        A further signal, as from a second Ctrl-C, cuts it short.
        """
        self._is_stopping = True
        signals = self._stop_signals
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        started_by_services = descendants(self.pid)
        while self._running and time.monotonic() < deadline and self._stop_signals == signals:
            self._wait(deadline - time.monotonic())
            self._reap()
        kill([*started_by_services, *descendants(self.pid)])
        self._reap()

    @contextlib.contextmanager
    def _signals_wake_up(self) -> Iterator[None]:
        """Count stop signals, and let every signal interrupt the wait, without a race between the two."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ, lambda: ours.recv(4096))
        wakeup = signal.set_wakeup_fd(theirs.fileno())
        handlers = {number: signal.signal(number, self._on_stop) for number in _STOP_SIGNALS}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            ours.close()
            theirs.close()

    def _on_stop(self, *_: object) -> None:
        self._stop_signals += 1


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _describe(exit_code: int) -> str:
    return f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
