"""Runs: one go at a task or a start task, from its fresh directory to the last of its output files.

A multi-instance task's run on a node begins with the coordination command. What that leaves in the background lives
on until the run is over. The primary's then waits for the order to run the task's own command
(:meth:`Runner.run_primary`); the others' wait for the order to end.

A task whose process has ended counts as running, in its slots, until its output files are uploaded. One that was
ended by order uploads nothing; one that ran for too long does, as a task that failed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from millpond.common.agent_protocol import Attempt, ContainerInfo, FailureInfo, Membership, RunUsage
from millpond.common.clock import SECOND
from millpond.common.durations import UNLIMITED

from . import commandline, failures
from .applications import Applications, PackageError
from .cancellation import Cancellation, CancelledError
from .certificates import InstalledCertificate, write_certificates
from .containers import Container, ContainerError, Containers, Ending
from .documents import OutputFile, ResourceFile, TaskDocument
from .loop import Loop
from .measuring import total
from .process import Command, LaunchError, ProgramNotFoundError, Trees
from .supplies import Supplies
from .users import UnknownUserError, User, Users
from .workdir import WorkDirectory, gang_variables

log = logging.getLogger(__name__)

_DOWNLOADS = 8
_UPLOADS = 8
#: Containers that may run at a time; each takes a thread that waits for it.
_CONTAINERS = 256
#: How often processes that were told to die, and are still there, are told again.
_KILL_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    #: ``None`` where no process ran.
    exit_code: int | None
    failure: FailureInfo | None = None
    container_info: ContainerInfo | None = None
    usage: RunUsage | None = None


@dataclass(slots=True, eq=False)
class Run:
    directory: str
    document: TaskDocument
    #: Microseconds from its start.
    max_wall_clock_time: int
    on_end: Callable[[Outcome], None]
    #: ``None``: the start task.
    attempt: Attempt | None = None
    #: Settings that the task's own override.
    environment: dict[str, str] = field(default_factory=dict)
    #: Variables that the service sets for this run alone: its token, and where its own packages are.
    provided: dict[str, str] = field(default_factory=dict)
    kind: Literal["task", "preparation", "release"] = "task"
    #: The id of the job's preparation task, where it has one.
    preparation: str | None = None
    #: Of a multi-instance task; ``on_coordinated`` is called when its coordination command has succeeded.
    membership: Membership | None = None
    on_coordinated: Callable[[], None] | None = None
    #: Its coordination command is still to come, or runs.
    is_coordinating: bool = False
    #: Of a coordination command that has not succeeded.
    coordination_exit_code: int | None = None
    #: What its processes that have ended have used.
    usage: RunUsage | None = None
    #: Why the task's own command could not be started after it.
    failure: FailureInfo | None = None
    #: Its coordination command has succeeded, and it waits for an order.
    is_coordinated: bool = False
    #: What its present command runs in, and what became of the last one.
    container: Container | None = None
    container_info: ContainerInfo | None = None
    user: User | None = None
    has_process: bool = False
    #: By the monotonic clock, in seconds; ``None``: its time does not count, or no longer.
    began: float | None = None
    has_exceeded: bool = False
    #: It is being ended by order.
    is_stopped: bool = False
    #: Set to end it while its files are being fetched or uploaded.
    cancelled: Cancellation | None = None

    @property
    def is_ordinary(self) -> bool:
        """Whether it is a task of a job that is neither its preparation nor its release."""
        return self.attempt is not None and self.kind == "task"

    @property
    def prepares(self) -> bool:
        """Whether it is for other tasks: they may read its files, and what it leaves in the background lives on."""
        return self.attempt is None or self.kind == "preparation"

    @property
    def deadline(self) -> float | None:
        """By the monotonic clock, in seconds."""
        if self.began is None or self.max_wall_clock_time >= UNLIMITED:
            return None
        return self.began + self.max_wall_clock_time / SECOND


class Runner:
    """Carries runs out. All of it happens in the loop's thread, except for transfers of files."""

    def __init__(self, loop: Loop, work: WorkDirectory, users: Users, supplies: Supplies) -> None:
        self._loop = loop
        self._work = work
        self._users = users
        self._supplies = supplies
        self.applications = Applications(work.root, supplies)
        self.trees = Trees()
        self._runs: dict[str, Run] = {}
        self._next_deadline: float | None = None
        #: Where the pool's tasks run in containers.
        self.containers: Containers | None = None
        self.certificates: list[InstalledCertificate] = []
        #: Variables that name the directories of the pool's packages.
        self.pool_packages: dict[str, str] = {}

    @property
    def due_in_s(self) -> float:
        """Seconds until :meth:`tend` has something to do."""
        due = _KILL_AGAIN_S if self.trees.wants_another_look else 3600.0
        if self._next_deadline is not None:
            due = min(due, self._next_deadline - time.monotonic())
        return due

    def is_running(self, directory: str) -> bool:
        return directory in self._runs

    def start(self, run: Run) -> None:
        """Begin; ``on_end`` is called when it is over, at once where it cannot begin."""
        self._runs[run.directory] = run
        run.began = time.monotonic()
        self._watch(run)
        document = run.document
        try:
            run.user = self._users.of_task(document.user_identity, is_start_task=run.attempt is None)
            self._work.open(run.directory, run.user, is_public=run.prepares)
            write_certificates(self.certificates, run.directory, run.user, is_start_task=run.attempt is None)
        except UnknownUserError as error:
            self._fail_to_start(run, failures.unknown_user(str(error)))
        except OSError as error:
            self._fail_to_start(run, failures.directory_failed(error))
        else:
            if document.container_settings is not None and self.containers is None:
                self._fail_to_start(run, failures.containers_not_supported())
            elif document.container_settings is None and self.containers is not None and run.is_ordinary:
                self._fail_to_start(run, failures.container_settings_missing())
            elif document.container_settings or document.application_package_references or _files(run):
                self._fetch(run, run.user)
            else:
                self._begin(run, run.user)

    def run_primary(self, directory: str) -> None:
        """Run a multi-instance task's own command, if the run in this directory waits for it."""
        run = self._runs.get(directory)
        if run and run.user and run.is_coordinated and not run.is_stopped and not run.has_exceeded:
            run.is_coordinated = False
            self._spawn(run, run.user)

    def limit(self, directory: str, max_wall_clock_time: int) -> None:
        """Give a run another time limit, which counts from its start as the one before did."""
        run = self._runs.get(directory)
        if run:
            run.max_wall_clock_time = max_wall_clock_time
            self._watch(run)

    def _watch(self, run: Run) -> None:
        """See to it that the run's deadline is not missed."""
        deadline = run.deadline
        if deadline is not None and (self._next_deadline is None or deadline < self._next_deadline):
            self._next_deadline = deadline

    def stop(self, directory: str) -> None:
        """End a run and all its processes."""
        run = self._runs.get(directory)
        if run:
            run.is_stopped = True
            self._halt(run)

    def _halt(self, run: Run) -> None:
        if run.container and self.containers:
            self.containers.end(run.container)
        elif run.has_process:
            self.trees.kill(run.directory)
        elif run.is_coordinated:
            run.is_coordinated = False
            self.trees.kill_background(run.directory)
        elif run.cancelled:
            run.cancelled.set()

    def tend(self, *, children: bool) -> None:
        """See to what has ended, and to what has run for too long."""
        if children or self.trees.wants_another_look:
            for ended in self.trees.reap():
                self._finish(self._runs[ended.directory], ended.exit_code, ended.usage)
        if self._next_deadline is not None and time.monotonic() >= self._next_deadline:
            self._enforce_deadlines()

    def _fetch(self, run: Run, user: User) -> None:
        cancelled = run.cancelled = Cancellation()

        def fetch() -> FailureInfo | None:
            from .transfer import fetch_all

            failure = self._install(run, cancelled)
            for directory, files in () if failure else _files(run):
                failure = failure or fetch_all(files, directory, user.credentials, self._supplies, cancelled)
            return failure or self._have_image(run, cancelled)

        def fetched(failure: FailureInfo | None) -> None:
            run.cancelled = None
            if run.has_exceeded:
                failure = failures.time_limit_reached(run.max_wall_clock_time / SECOND)
            elif cancelled.is_set:
                failure = failures.ended_by_user()
            if failure:
                self._fail_to_start(run, failure)
            else:
                self._begin(run, user)

        self._loop.in_thread("download", _DOWNLOADS, fetch, fetched)

    def _install(self, run: Run, cancelled: Cancellation) -> FailureInfo | None:
        """Have the packages that the run refers to. In a thread."""
        try:
            run.provided |= self.applications.install(run.document.application_package_references or (), cancelled)
        except PackageError as error:
            return failures.package_failed(error.details)
        except CancelledError:
            pass
        return None

    def _have_image(self, run: Run, cancelled: Cancellation) -> FailureInfo | None:
        """Have the image that the run needs. In a thread."""
        try:
            if self.containers and run.document.container_settings:
                self.containers.have(run.document.container_settings, cancelled)
        except ContainerError as error:
            return error.failure
        except CancelledError:
            pass
        return None

    def _begin(self, run: Run, user: User) -> None:
        """All is there: run the first command."""
        settings = run.document.multi_instance_settings
        if not run.membership or settings is None:
            self._spawn(run, user)
        elif settings.coordination_command_line:
            run.is_coordinating = True
            self._spawn(run, user, settings.coordination_command_line)
        else:
            self._coordinated(run)

    def _coordinated(self, run: Run) -> None:
        run.is_coordinating, run.has_process, run.is_coordinated = False, False, True
        if run.on_coordinated:
            run.on_coordinated()

    def _spawn(self, run: Run, user: User, coordination: str = "") -> None:
        """Start the task's own command, or the one that comes before it on all nodes."""
        command_line = coordination or run.document.command_line
        try:
            is_primary = run.membership is not None and not run.membership.number
            output = self._work.coordination(run.directory, user) if coordination and is_primary else run.directory
            if run.document.container_settings:
                self._contain(run, user, command_line, output)
                return
            command = Command(
                words=commandline.split(command_line),
                environment=self._environment(run, user),
                directory=run.directory,
                working_directory=f"{run.directory}/wd",
                credentials=user.credentials,
                output_directory=output,
            )
            self.trees.spawn(command, keeps_background=run.prepares or bool(coordination))
        except ProgramNotFoundError as error:
            self._fail_to_spawn(run, failures.program_not_found(str(error)))
        except (LaunchError, ValueError, OSError) as error:
            self._fail_to_spawn(run, failures.launch_failed(str(error)))
        else:
            run.has_process = True

    def _contain(self, run: Run, user: User, command_line: str, output_directory: str) -> None:
        """Run a command in a container, which ends with it."""
        containers, settings = self.containers, run.document.container_settings
        assert containers is not None and settings is not None  # noqa: S101 - it was checked before the start
        own = frozenset(run.environment) | frozenset(run.document.environment())
        environment = self._environment(run, user)
        container = Container(settings, command_line, run.directory, output_directory, user, environment, own)
        run.container, run.has_process = container, True

        def ended(ending: Ending) -> None:
            run.container, run.container_info = None, ending.info
            if not (run.is_stopped or run.has_exceeded):
                run.failure = ending.failure
            self._finish(run, ending.exit_code)

        self._loop.in_thread("containers", _CONTAINERS, partial(containers.run, container), ended)

    def _fail_to_spawn(self, run: Run, failure: FailureInfo) -> None:
        if run.membership and not run.is_coordinating:
            run.failure = failure  # what the coordination command has left behind goes first
            self.trees.kill_background(run.directory)
        else:
            self._fail_to_start(run, failure)

    def _environment(self, run: Run, user: User) -> dict[str, str]:
        settings = (run.environment, run.document.environment())
        environment = self._work.environment(run.directory, user, settings, run.attempt, run.preparation)
        if run.membership:
            environment |= gang_variables(run.directory, run.membership)
        return {**environment, **self.pool_packages, **run.provided}

    def _fail_to_start(self, run: Run, failure: FailureInfo) -> None:
        if run.user:
            self._work.close(run.directory, run.user)
        self._end(run, Outcome(None, failure, run.container_info, run.usage))

    def _finish(self, run: Run, exit_code: int, usage: RunUsage | None = None) -> None:
        if usage:
            run.usage = total(run.usage, usage)
        if run.failure:
            self._fail_to_start(run, run.failure)
            return
        if run.is_coordinating:
            run.is_coordinating = False
            if exit_code or run.has_exceeded or run.is_stopped:
                run.coordination_exit_code = exit_code
                self.trees.kill_background(run.directory)
            else:
                self._coordinated(run)
            return
        failure = None
        if run.has_exceeded:
            failure = failures.time_limit_reached(run.max_wall_clock_time / SECOND)
        elif run.coordination_exit_code is not None:
            exit_code = run.coordination_exit_code
            failure = failures.coordination_failed(exit_code, run.membership)
        elif exit_code:
            failure = failures.exit_code_failure(exit_code)
        outcome = Outcome(exit_code, failure, run.container_info, run.usage)
        due = [file for file in _output_files(run) if file.is_due(exit_code)]
        if due and run.user and not run.is_stopped:
            self._upload(run, run.user, due, outcome)
        else:
            self._end(run, outcome)

    def _upload(self, run: Run, user: User, files: list[OutputFile], outcome: Outcome) -> None:
        run.has_process, run.began = False, None
        cancelled = run.cancelled = Cancellation()
        environment = self._environment(run, user)

        def upload() -> FailureInfo | None:
            from .upload import Upload, upload_all

            root = os.path.realpath(self._work.root)
            return upload_all(Upload(files, run.directory, root, environment, user.credentials), cancelled)

        def uploaded(failure: FailureInfo | None) -> None:
            fails = failure is not None and not run.has_exceeded
            self._end(run, replace(outcome, failure=failure) if fails else outcome)

        self._loop.in_thread("upload", _UPLOADS, upload, uploaded)

    def _end(self, run: Run, outcome: Outcome) -> None:
        del self._runs[run.directory]
        if run.user:
            self._users.release(run.user, run.directory)
        run.on_end(outcome)

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for run in list(self._runs.values()):
            if run.deadline is not None and run.deadline <= now and not run.has_exceeded:
                run.has_exceeded = True
                self._halt(run)
        left = [run.deadline for run in self._runs.values() if run.deadline is not None and not run.has_exceeded]
        self._next_deadline = min(left, default=None)


def _files(run: Run) -> list[tuple[str, list[ResourceFile]]]:
    """What is to be fetched for a run, by directory. Of a multi-instance task's own files, the primary has all."""
    files = []
    settings = run.document.multi_instance_settings
    if run.membership and settings and settings.common_resource_files:
        files.append((run.directory, settings.common_resource_files))
    if run.document.resource_files and not (run.membership and run.membership.number):
        files.append((f"{run.directory}/wd", run.document.resource_files))
    return files


def _output_files(run: Run) -> list[OutputFile]:
    return [] if run.membership and run.membership.number else run.document.output_files or []
