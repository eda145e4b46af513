"""The agent: one loop that listens to the channel, watches processes and carries out what the machine decides.

Everything that can be done at once is done in the loop; what waits for a disk or a network (downloads, file
requests, removing directories) is done by a few threads, whose results come back to the loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from millpond import __version__
from millpond.common.agent_launch import AgentLaunch
from millpond.common.agent_protocol import (
    PROTOCOL_VERSION,
    ActionReply,
    ActionRequest,
    Assignment,
    Attempt,
    DeleteFiles,
    Ended,
    FailureInfo,
    FileReply,
    FileRequest,
    Hello,
    Measured,
    Orders,
    Prepared,
    Recovered,
    Report,
    Reports,
    ToAgent,
    Trouble,
    Welcome,
    task_directory,
)
from millpond.common.authority import bundle_with
from millpond.common.clock import SECOND, SystemClock
from millpond.common.container_leftovers import control_group, run_directory
from millpond.common.durations import UNLIMITED

from . import failures
from .actions import Actions
from .applications import PackageError
from .cancellation import Cancellation
from .certificates import fetch_certificates
from .channel import Channel
from .containers import ContainerError, Containers, Places, find_runtime
from .disk import Disk
from .documents import PoolDocument, decode_pool, decode_task
from .files import FileService
from .hosts import hostname, name_hosts
from .log import set_up as set_up_log
from .loop import Loop
from .machine import Discard, Instruction, Kill, Launch, Limit, Machine, RunPrimary, Tell
from .mounts import MountError, Mounts, Served
from .retention import Retention
from .runner import Outcome, Run, Runner
from .start_task import StartTask
from .supplies import Supplies, SupplyError
from .usage import Usage
from .users import Users
from .workdir import WorkDirectory

log = logging.getLogger(__name__)

#: Reports wait this long for others to go with them while the node is busy.
_GATHER_S = 0.001
#: How often an agent without a service looks whether its node still has a place on this machine.
_LOOK_S = 5.0
#: Parts of files that may be on their way to the channel at a time.
_FILE_PARTS = 4


class Agent:
    """One node's agent. ``can_switch_users``: it is root in a sandbox of its own, and may make users there."""

    def __init__(
        self, launch: AgentLaunch, root: Path, containers: Containers | None, *, can_switch_users: bool
    ) -> None:
        self._is_sandboxed = launch.isolation == "sandbox"
        self._launch = launch
        self._clock = SystemClock()
        self._loop = Loop()
        self._channel = Channel(launch.channel_url, launch.token)
        self._hellos = 0
        self._machine = Machine()
        self._work = WorkDirectory(root)
        self._users = Users(can_switch=can_switch_users)
        self._supplies = Supplies(launch.channel_url, launch.token)
        self._mounts = Mounts(root, self._supplies, can_mount=self._is_sandboxed)
        self._runner = Runner(self._loop, self._work, self._users, self._supplies)
        #: What the machine has for it, whether the pool uses it or not.
        self._containers = containers
        if containers:
            self._runner.trees.adopt(containers.host.pid)
            containers.host.on_gone = partial(self._loop.post, _give_up)
        self._files = FileService(root)
        self._file_room = threading.Semaphore(_FILE_PARTS)
        self._file_parts_sent = 0
        self._disk = Disk(str(root))
        self._retention = Retention(root)
        #: Of the attempts that run.
        self._retention_times: dict[Attempt, int] = {}
        self._actions = Actions(self._loop, self._runner.trees, root, launch.ip_address, is_own_system=can_switch_users)
        self._usage = Usage(root)
        self._pool: PoolDocument | None = None
        self._is_prepared = False
        self._start_task: StartTask | None = None
        self._trouble: Trouble | None = None
        self._instructions: deque[Instruction] = deque()
        self._is_following = False
        self._reports: list[Report] = []
        self._reported_at = 0.0
        self._look_at = 0.0

    def prepare(self) -> None:
        """Make the node's directories. Raises ``OSError``."""
        self._work.prepare()
        if self._launch.authority:
            self._work.trust(bundle_with(self._launch.authority))
        self._retention.restore()

    def run(self) -> None:
        """Work until the process is ended from outside, or nobody has any use for the node."""
        while not self._channel.is_dismissed and not self._is_abandoned():
            due = min(self._channel.tend(), self._due_in_s())
            self._greet()
            self._loop.watch(self._channel.fileno(), writable=self._channel.wants_to_write)
            children, events = self._loop.wait(due)
            self._runner.tend(children=children)
            if events:
                for message in self._channel.ready(events):
                    self._greet()
                    self._take(message)
            self._tend()
            self._send_reports()

    def _is_abandoned(self) -> bool:
        """Whether the node's directory was removed while the service is away: it will not come back for this node."""
        now = time.monotonic()
        if self._channel.is_open or now < self._look_at:
            return False
        self._look_at = now + _LOOK_S
        return self._work.is_gone

    def _due_in_s(self) -> float:
        due = min(self._runner.due_in_s, self._disk.due_in_s)
        if self._start_task:
            due = min(due, self._start_task.due_in_s)
        if self._retention.due is not None:
            due = min(due, (self._retention.due - self._clock.now()) / SECOND)
        if self._actions.due is not None:
            due = min(due, (self._actions.due - self._clock.now()) / SECOND)
        if self._reports:
            due = min(due, _GATHER_S)
        return min(due, max(0.0, self._usage.due_in_s))

    def _tend(self) -> None:
        if self._usage.due_in_s <= 0:
            usage = self._usage.measure()
            if usage and self._channel.is_open:
                self._tell(Measured(usage))
        if self._start_task:
            self._start_task.tend()
        due = self._retention.due
        if due is not None and due <= self._clock.now():
            self._clean_up()
        if self._actions.due is not None and self._actions.due <= self._clock.now():
            self._actions.tend(self._clock.now())
        if self._disk.look():
            log.warning("the disk is %s", "full" if self._disk.trouble else "no longer full")
            if not self._trouble:
                self._tell(self._disk.trouble or Recovered())
        if self._work.has_trash:
            self._work.has_trash = False
            self._loop.in_thread("trash", 1, self._work.empty_trash, lambda _: None)
        if self._file_parts_sent and not self._channel.is_congested:
            self._file_room.release(self._file_parts_sent)
            self._file_parts_sent = 0

    # --- the channel

    def _greet(self) -> None:
        """Say hello where the channel is a new one."""
        if not self._channel.is_open or self._hellos == self._channel.generation:
            return
        self._hellos = self._channel.generation
        log.info("connected to the service")
        self._reports.clear()  # what they say is in the hello, or told again after the full orders
        self._channel.send(
            Hello(
                protocol=PROTOCOL_VERSION,
                agent_version=__version__,
                boot=self._launch.boot,
                ip_address=self._launch.ip_address,
                start_task=self._start_task.report if self._start_task else None,
                is_prepared=self._is_prepared,
                holding=self._machine.holding,
            )
        )
        self._reports.append(self._trouble or self._disk.trouble or Recovered())

    def _take(self, message: ToAgent) -> None:
        if isinstance(message, Orders):
            self._follow(self._machine.on_orders(message, self._clock.now()))
        elif isinstance(message, FileRequest):
            generation = self._channel.generation
            self._loop.in_thread("files", 2, partial(self._answer, message, generation), lambda _: None)
        elif isinstance(message, ActionRequest):
            generation = self._channel.generation
            self._actions.take(message, partial(self._reply, generation))
        elif isinstance(message, Welcome):
            self._boot(message)

    def _reply(self, generation: int, reply: ActionReply) -> None:
        if generation == self._channel.generation:
            self._channel.send(reply)

    def _tell(self, report: Report) -> None:
        self._reports.append(report)

    def _send_reports(self) -> None:
        """Send what there is to report; while there is more to come, at most once in a while."""
        if not self._reports:
            return
        now = time.monotonic()
        if now - self._reported_at < _GATHER_S and self._machine.is_busy:
            return
        self._reported_at = now
        self._channel.send(Reports(self._reports))
        self._reports = []

    # --- tasks

    def _boot(self, welcome: Welcome) -> None:
        """Learn of the node's pool; the first time after a boot, prepare the node for its start task."""
        self._work.welcome(welcome)
        if self._pool is not None:
            return
        try:
            self._pool = decode_pool(welcome.pool)
            self._use_containers(self._pool)
            self._users.prepare(self._pool.user_accounts or [])
            self._users.share(self._work.path("shared"))
            self._actions.restore()
        except (OSError, msgspec.MsgspecError) as error:
            log.exception("the node cannot be prepared")
            self._pool = self._pool or PoolDocument()
            self._fail("NodePreparationError", "The node could not be prepared", (("Message", str(error)),))
            return
        pool = self._pool
        if pool.needs_preparation:
            self._loop.in_thread("packages", 1, partial(self._install, pool), self._installed)
        else:
            self._begin(pool)

    def _use_containers(self, pool: PoolDocument) -> None:
        """Have the container runtime if the pool needs it; let go of the rights that come with it if not."""
        if pool.container_configuration:
            self._runner.containers = self._containers
        elif self._containers:
            self._containers.host.close()

    def _install(self, pool: PoolDocument) -> FailureInfo | None:
        """Have the pool's file systems, packages, certificates and images. In a thread."""
        try:
            for served in self._mounts.mount_all(pool.mount_configuration or []):
                self._loop.post(partial(self._serve, served))
            if pool.container_configuration:
                if self._containers is None:
                    return failures.container_runtime_missing()
                self._containers.prepare(pool.container_configuration)
            packages = pool.application_package_references or []
            self._runner.pool_packages = self._runner.applications.install(packages, Cancellation())
            self._runner.certificates = fetch_certificates(pool.certificate_references or [], self._supplies)
        except ContainerError as error:
            return error.failure
        except PackageError as error:
            return failures.package_failed(error.details)
        except (SupplyError, ValueError) as error:
            return failures.certificate_failed(str(error))
        except MountError as error:
            return failures.mount_failed(str(error))
        return None

    def _serve(self, served: Served) -> None:
        """Watch the process that serves a mount: without it, nothing there can be read any more."""
        self._runner.trees.adopt(served.pid)

        def lost(_: None) -> None:
            failure = failures.mount_failed(f"The process that serves fsmounts/{served.path} has ended")
            self._fail(failure.code, failure.message, failure.details)

        self._loop.in_thread(f"mount {served.path}", 1, served.wait, lost)

    def _installed(self, failure: FailureInfo | None) -> None:
        if failure:
            self._fail(failure.code, failure.message, failure.details)
        elif self._pool:
            self._begin(self._pool)

    def _fail(self, code: str, message: str, details: tuple[tuple[str, str], ...]) -> None:
        self._trouble = Trouble(code, message, details)
        self._tell(self._trouble)

    def _begin(self, pool: PoolDocument) -> None:
        """The node has all that it needs before its start task, and tasks."""
        self._is_prepared = True
        if pool.start_task:
            self._start_task = StartTask(pool.start_task, self._work.startup, self._runner, self._clock, self._tell)
            self._start_task.begin()
        self._tell(Prepared())

    def _follow(self, instructions: list[Instruction]) -> None:
        """Carry instructions out. What they lead to at once is done after them, not within them."""
        self._instructions += instructions
        if self._is_following:
            return
        self._is_following = True
        while self._instructions:
            instruction = self._instructions.popleft()
            if isinstance(instruction, Tell):
                self._tell(instruction.report)
            elif isinstance(instruction, Launch):
                self._launch_attempt(instruction.assignment)
            elif isinstance(instruction, Limit):
                self._limit_attempt(instruction.assignment)
            elif isinstance(instruction, Kill):
                self._runner.stop(self._work.directory_of(instruction.attempt))
            elif isinstance(instruction, Discard):
                self._discard(task_directory(instruction.attempt.job_id, instruction.attempt.task_id))
            elif isinstance(instruction, RunPrimary):
                self._runner.run_primary(self._work.directory_of(instruction.attempt))
            else:
                self._delete(instruction.chore)
        self._is_following = False

    def _limit_attempt(self, assignment: Assignment) -> None:
        self._retention_times[assignment.attempt] = assignment.retention_time
        self._runner.limit(self._work.directory_of(assignment.attempt), _time_limit(assignment))

    def _launch_attempt(self, assignment: Assignment) -> None:
        started = self._clock.now()
        self._retention_times[assignment.attempt] = assignment.retention_time
        on_end = partial(self._attempt_ended, assignment.attempt, started)
        try:
            document = decode_task(assignment.task)
        except msgspec.MsgspecError as error:
            on_end(Outcome(None, failures.launch_failed(str(error))))
            return
        attempt, membership = assignment.attempt, assignment.membership
        if membership and self._is_sandboxed:
            name_hosts([(hostname(member.node_id), member.ip_address) for member in membership.members])
        self._runner.start(
            Run(
                self._work.directory_of(attempt),
                document,
                _time_limit(assignment),
                on_end,
                attempt,
                assignment.environment,
                kind=assignment.kind,
                preparation=assignment.preparation,
                provided={"AZ_BATCH_AUTHENTICATION_TOKEN": token} if (token := assignment.authentication_token) else {},
                membership=membership,
                on_coordinated=lambda: self._follow(self._machine.on_coordinated(attempt)),
            )
        )

    def _attempt_ended(self, attempt: Attempt, started: int, outcome: Outcome) -> None:
        now = self._clock.now()
        failure, retention_time = outcome.failure, self._retention_times.pop(attempt)
        may_retry = failure is not None and failure.code == "FailureExitCode"
        try:
            self._retention.note(task_directory(attempt.job_id, attempt.task_id), now, retention_time)
        except OSError as error:
            log.error("the end of %s/%s is not on record: %s", attempt.job_id, attempt.task_id, error)
        code = outcome.exit_code
        ended = Ended(attempt, started, now, code, failure, may_retry, outcome.container_info, outcome.usage)
        self._follow(self._machine.on_ended(ended, now))

    # --- files

    def _delete(self, chore: DeleteFiles) -> None:
        directory = task_directory(chore.job_id, chore.task_id)
        self._discard(directory)
        if chore.task_id is None:
            with contextlib.suppress(OSError):  # other jobs of its schedule may be there
                Path(self._work.path(directory)).parent.rmdir()
        self._follow(self._machine.on_deleted(chore.chore, self._clock.now()))

    def _discard(self, directory: str) -> None:
        """Take a directory out of sight at once, and off the disk in a while."""
        try:
            self._work.discard(self._work.path(directory))
        except OSError as error:
            log.error("cannot remove %s: %s", directory, error)

    def _clean_up(self) -> None:
        """Remove directories whose retention time is over, unless a later run uses them."""
        try:
            for relative in self._retention.take(self._clock.now()):
                directory = self._work.path(relative)
                if not self._runner.is_running(directory):
                    self._work.discard(directory)
        except OSError as error:
            log.error("cannot remove directories whose time is over: %s", error)

    def _answer(self, request: FileRequest, generation: int) -> None:
        """Answer a file request, no faster than the channel takes it. In a thread."""
        for reply in self._files.answer(request):
            self._file_room.acquire()
            if generation != self._channel.generation or not self._channel.is_open:
                self._file_room.release()
                return
            self._loop.post(partial(self._send_file, reply, generation))

    def _send_file(self, reply: FileReply, generation: int) -> None:
        self._file_parts_sent += 1  # there is room again when the channel has taken it
        if generation == self._channel.generation:
            self._channel.send(reply)


def _time_limit(assignment: Assignment) -> int:
    """A subtask has none of its own: it ends with the primary."""
    is_subtask = assignment.membership is not None and assignment.membership.number > 0
    return UNLIMITED if is_subtask else assignment.max_wall_clock_time


def _give_up() -> None:
    """End the node with all that runs on it: what its container host has started has nobody else to end it."""
    raise RuntimeError("the container host has ended")


def _containers(launch: AgentLaunch, root: Path, place: Path, run: Path | None) -> Containers | None:
    """The container runtime of this machine, if it has one. It is forked: nothing else may run in this process yet."""
    if sys.platform != "linux" or launch.is_trial or run is None:
        return None
    runtime = find_runtime(launch.container_runtime, is_sandboxed=launch.isolation == "sandbox")
    if not runtime:
        return None
    from .container_host import ContainerHost

    group = control_group(Path(launch.directory)) if os.geteuid() == 0 else ""
    return Containers(ContainerHost(), runtime, root, Places(place, run, group))


def run(launch: AgentLaunch, ready: Callable[[], object]) -> None:
    """Be the agent of a node, in this process; ``ready`` is called when it is set up.

    Returns when nobody has any use for the node. Raises ``OSError`` where it cannot be set up.
    """
    set_up_log()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.setswitchinterval(0.0005)  # threads that work through big files must not keep the loop waiting
    directory = Path(launch.directory)
    is_sandboxed = launch.isolation == "sandbox"
    if is_sandboxed:
        from . import linux, sandbox

        sandbox.enter(directory, [Path(path) for path in launch.hidden], hostname(launch.node_id), launch.ip_address)
        root, place = sandbox.ROOT, sandbox.CONTAINERS
        containers = _containers(launch, root, place, place / "run")
        if os.geteuid() == 0:
            linux.set_thread_groups([])
        linux.bound_task_capabilities()
        linux.set_undumpable()
        if launch.is_trial:
            ready()
            os._exit(0)
    else:
        root = directory / "root"
        containers = _containers(launch, root, directory / "containers", run_directory(directory))
        if sys.platform == "linux":
            from . import linux

            linux.set_child_subreaper()
    agent = Agent(launch, root, containers, can_switch_users=is_sandboxed and os.geteuid() == 0)
    agent.prepare()
    log.info("agent %s of %s, boot %d, disk %d, is set up", __version__, launch.node_id, launch.boot, launch.disk)
    ready()
    agent.run()
    log.info("nobody has any use for this node any more")


def main() -> None:
    """Run one agent in this process, without a sandbox; its :class:`AgentLaunch` comes from standard input (JSON)."""
    launch = msgspec.json.decode(sys.stdin.buffer.read(), type=AgentLaunch)
    launch = msgspec.structs.replace(launch, isolation="process")
    Path(launch.directory).mkdir(parents=True, exist_ok=True)
    run(launch, ready=lambda: log.info("ready"))


if __name__ == "__main__":
    main()
