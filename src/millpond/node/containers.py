"""Containers: the machine's podman, the images that a node has, and the containers that its tasks run in.

A container sees the node's root directory where the node does, has the network that the node has, runs as the task's
user and gets the task's environment. What the runtime keeps, images included, lies in the node's own directory and goes
with it; images that the machine has are there as well, read-only. A container is removed when its command has ended.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from millpond.common.agent_protocol import ContainerInfo, FailureInfo

from . import failures
from .cancellation import Cancellation, CancelledError
from .commandline import split
from .container_host import ContainerHost, HostGoneError
from .documents import ContainerConfiguration, ContainerRegistry, ContainerSettings
from .process import NEW_FILE
from .users import User
from .workdir import last_errors

#: How long a pull may take, and anything else that is asked of the runtime, in seconds.
_PULL_S, _ASK_S = 3600.0, 60.0
#: How often a thread that waits for a pull looks whether its task was ended.
_LOOK_S = 0.1
#: Where podman keeps the machine's images: root's, and below the home directory of anybody else.
_IMAGES_OF_ROOT, _IMAGES = Path("/var/lib/containers/storage"), Path(".local/share/containers/storage")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What the agent sets for its own programs: an image has its own.
_NOT_PASSED = frozenset({"PATH", "PWD"})
#: What ``containerHostBatchBindMounts`` calls the node's directories; a task's own come from its run.
_SOURCES = {"shared": "shared", "startup": "startup", "vfsmounts": "fsmounts", "applications": "applications"}
#: States of a container whose command has not begun.
_NOT_BEGUN = ("created", "configured", "initialized")
_SIGKILLED = -9


class ContainerError(Exception):
    """Something that the runtime refuses or cannot do."""

    def __init__(self, failure: FailureInfo) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Places:
    """Where a node's runtime has what it has."""

    #: A directory for images and containers, and one for what runs, whose path podman wants to be short.
    kept: Path
    running: Path
    #: For the containers; empty: podman's own choice.
    control_group: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a command in a container. With a ``failure`` it was never begun."""

    exit_code: int
    info: ContainerInfo | None = None
    failure: FailureInfo | None = None


@dataclass(slots=True, eq=False)
class Container:
    """One command of a run, in a container of its own."""

    settings: ContainerSettings
    command_line: str
    #: The task's directory, and where its output goes.
    directory: str
    output_directory: str
    user: User
    environment: dict[str, str]
    #: Variables that are the task's business, and not the image's.
    own_variables: frozenset[str] = frozenset()
    is_ended: bool = False
    #: Of its command, once that has begun.
    number: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sees_task(self) -> bool:
        """Whether the task's directory is mounted."""
        mounts = self.settings.container_host_batch_bind_mounts
        return mounts is None or any((mount.source or "task").lower() == "task" for mount in mounts)


class Containers:
    """What can be asked of a node's runtime. All of it is slow, and for threads, but for :meth:`end`."""

    def __init__(self, host: ContainerHost, runtime: str, root: Path, places: Places) -> None:
        """``runtime``: the path of podman."""
        self.host = host
        self._root = root
        self._place = place = places.kept
        self._run_place = places.running
        self._group = group = places.control_group
        self._numbers = itertools.count()
        machine = _IMAGES_OF_ROOT if os.geteuid() == 0 else Path.home() / _IMAGES
        self._words = [
            runtime,
            "--root",
            f"{place}/storage",
            "--runroot",
            str(self._run_place),
            "--tmpdir",
            f"{self._run_place}/state",
        ]
        self._words.append("--events-backend=none")
        if group:
            self._words.append("--cgroup-manager=cgroupfs")
        if machine.is_dir():
            self._words += ["--storage-opt", f"additionalimagestore={machine}"]
        self._environment = {
            "PATH": _PATH,
            "HOME": str(Path.home()),
            "REGISTRY_AUTH_FILE": f"{place}/auth.json",
            **{name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "SSL_CERT_FILE") if name in os.environ},
        }

    # --- images

    def prepare(self, configuration: ContainerConfiguration) -> None:
        """Forget the containers of an earlier boot, and have the images that the pool names.

        Raises :class:`ContainerError`.
        """
        try:
            for place in (self._run_place, self._place / "tasks"):
                if place.exists():
                    shutil.rmtree(place)
            self._run_place.mkdir(parents=True, mode=0o700)
            (self._place / "tasks").mkdir(parents=True, mode=0o700)
            logins = self._place / "auth.json"
            logins.touch(mode=0o600)
            logins.write_text('{"auths": {}}')
        except OSError as error:
            raise ContainerError(failures.container_runtime_failed(str(error))) from error
        never = Cancellation()
        exit_code, said = self._ask("rm", "--all", "--force")
        if exit_code:
            raise ContainerError(failures.container_runtime_failed(said))
        for registry in configuration.container_registries or ():
            self._log_in(registry, never)
        for image in configuration.container_image_names or ():
            self._have(image, never)

    def have(self, settings: ContainerSettings, cancelled: Cancellation) -> None:
        """Have a task's image. Raises :class:`ContainerError`, :class:`CancelledError`."""
        if settings.registry:
            self._log_in(settings.registry, cancelled)
        self._have(settings.image_name, cancelled)

    def _have(self, image: str, cancelled: Cancellation) -> None:
        if self._ask("image", "exists", image)[0] == 0:
            return
        exit_code, said = self._ask("pull", "--quiet", full_name(image), timeout_s=_PULL_S, cancelled=cancelled)
        if exit_code:
            raise ContainerError(failures.container_image_failed(image, said))

    def _log_in(self, registry: ContainerRegistry, cancelled: Cancellation) -> None:
        if not registry.username:
            return
        server = registry.registry_server or "docker.io"
        words = ("login", "--username", registry.username, "--password-stdin", server)
        exit_code, said = self._ask(*words, given=registry.password or "", cancelled=cancelled)
        if exit_code:
            raise ContainerError(failures.container_registry_failed(server, said))

    def _ask(
        self, *words: str, given: str = "", timeout_s: float = _ASK_S, cancelled: Cancellation | None = None
    ) -> tuple[int, str]:
        """Run a command of the runtime's. Returns its exit code and what it wrote: its errors, if it failed.

        Raises :class:`ContainerError` where there is no answer, :class:`CancelledError`.
        """
        with tempfile.TemporaryFile() as input_, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            input_.write(given.encode())
            input_.seek(0)
            files = (input_.fileno(), output.fileno(), errors.fileno())
            try:
                number, done = self.host.run([*self._words, *words], self._environment, files)
                exit_code = self._wait(number, done, timeout_s, cancelled)
            except (HostGoneError, TimeoutError, OSError) as error:
                problem = str(error) or "The container runtime does not answer"
                raise ContainerError(failures.container_runtime_failed(problem)) from error
            source = errors if exit_code else output
            source.seek(0)
            return exit_code, source.read().decode(errors="replace").strip()

    def _wait(self, number: int, done: Future[int], timeout_s: float, cancelled: Cancellation | None) -> int:
        """Raises what it ended with, ``TimeoutError``, :class:`CancelledError`."""
        if cancelled is not None:
            left = timeout_s
            while left > 0 and not done.done():
                if cancelled.wait(_LOOK_S):
                    self.host.end(number)
                    raise CancelledError
                left -= _LOOK_S
            timeout_s = 0.0 if left <= 0 else _LOOK_S
        try:
            return done.result(timeout_s)
        except TimeoutError:
            self.host.end(number)
            raise TimeoutError(f"{self._words[0]} does not answer") from None

    # --- containers

    def run(self, container: Container) -> Ending:
        """Run a container to its end, and remove it."""
        place = self._place / "tasks" / str(next(self._numbers))
        try:
            place.mkdir(mode=0o700)
            try:
                return self._run(container, place)
            finally:
                shutil.rmtree(place, ignore_errors=True)
        except (OSError, ValueError) as error:
            return Ending(_SIGKILLED, None, failures.launch_failed(str(error)))
        except HostGoneError:
            return Ending(_SIGKILLED, None, failures.container_runtime_failed("The container runtime has ended"))
        except ContainerError as error:
            return Ending(_SIGKILLED, None, error.failure)

    def _run(self, container: Container, place: Path) -> Ending:
        words = [*self._words, *self.words(container, place)]
        with container.lock:
            if container.is_ended:
                return Ending(_SIGKILLED)
            container.number, done = self._start(container, words)
        exit_code = done.result()
        try:
            container_id = (place / "id").read_text().strip()
        except FileNotFoundError:
            if container.is_ended:
                return Ending(exit_code)
            return Ending(exit_code, None, failures.container_not_created(last_errors(container.output_directory)))
        info = self._conclude(container_id)
        if info.state in _NOT_BEGUN and not container.is_ended:
            return Ending(exit_code, info, failures.container_not_started(exit_code, info.error))
        return Ending(exit_code, info)

    def _start(self, container: Container, words: list[str]) -> tuple[int, Future[int]]:
        opened = [os.open(os.devnull, os.O_RDONLY)]
        try:
            for name in ("stdout.txt", "stderr.txt"):
                path = f"{container.output_directory}/{name}"
                opened.append(os.open(path, NEW_FILE, 0o644))
                container.user.credentials.own(path)
            return self.host.run(words, self._environment, (opened[0], opened[1], opened[2]))
        finally:
            for file in opened:
                os.close(file)

    def end(self, container: Container) -> None:
        """Have a container's run end, whatever it is at."""
        with container.lock:
            container.is_ended = True
            if container.number is not None:
                self.host.end(container.number)

    def _conclude(self, container_id: str) -> ContainerInfo:
        """See how a container has ended, and remove it."""
        _, said = self._ask("container", "inspect", "--format", "{{.State.Status}}|{{.State.Error}}", container_id)
        exit_code, problem = self._ask("rm", "--force", "--time", "0", container_id)
        if exit_code:
            raise ContainerError(failures.container_runtime_failed(problem))
        status, _, error = said.partition("|")
        # What was killed from outside had no time to say so.
        return ContainerInfo(container_id, "exited" if status in ("running", "stopped", "stopping") else status, error)

    def words(self, container: Container, place: Path) -> list[str]:
        """What is said to the runtime to run a container; what it needs for that is written to ``place``.

        Raises ``ValueError``, ``OSError``.
        """
        settings = container.settings
        options = split(settings.container_run_options or "")
        words = ["run", "--cidfile", f"{place}/id", "--pull=never", "--log-driver=none", *_limits()]
        if self._group:
            words += ["--cgroups=no-conmon", f"--cgroup-parent={self._group}"]
        if not any(option.partition("=")[0] in ("--network", "--net") for option in options):
            words.append("--network=host")
        words += self._mounts(container)
        words += _variables(container, place / "environment")
        credentials = container.user.credentials
        if credentials.uid is not None:
            words += ["--user", f"{credentials.uid}:{credentials.gid}"]
            words += [word for group in credentials.groups for word in ("--group-add", str(group))]
        if (settings.working_directory or "").lower() != "containerimagedefault" and container.sees_task:
            words += ["--workdir", f"{container.directory}/wd"]
        words += options
        command = split(container.command_line)
        entry = ["--entrypoint", command[0]] if command else []
        return [*words, *entry, settings.image_name, *command[1:]]

    def _mounts(self, container: Container) -> list[str]:
        chosen = container.settings.container_host_batch_bind_mounts
        if chosen is None:
            return ["--volume", f"{self._root}:{self._root}"]
        own = {"task": container.directory, "jobprep": container.environment.get("AZ_BATCH_JOB_PREP_DIR", "")}
        words = []
        for mount in chosen:
            source = (mount.source or "task").lower()
            path = own[source] if source in own else f"{self._root}/{_SOURCES[source]}"
            if path:
                words += ["--volume", f"{path}:{path}{':ro' if mount.is_read_only else ''}"]
        return words


def find_runtime(wanted: str, *, is_sandboxed: bool) -> str:
    """The path of podman, where it is wanted and can be used; else nothing."""
    if wanted == "none" or (is_sandboxed and os.geteuid() != 0):
        return ""
    return shutil.which("podman", path=_PATH) or ""


def full_name(image: str) -> str:
    """An image's name with its registry: without one, it is at ``docker.io``."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _variables(container: Container, file: Path) -> list[str]:
    """How a container gets its variables: by a file that nobody else may read, as far as that can say it."""
    passed = {
        name: value
        for name, value in container.environment.items()
        if name not in _NOT_PASSED or name in container.own_variables
    }
    file.touch(mode=0o600)
    lines = [f"{name}={value}\n" for name, value in passed.items() if "\n" not in value]
    file.write_text("".join(lines), errors="surrogateescape")
    others = [word for name, value in passed.items() if "\n" in value for word in ("--env", f"{name}={value}")]
    return ["--env-file", str(file), *others]


def _limits() -> Sequence[str]:
    """The node's own limits, for a runtime may not be allowed to raise them."""
    words: list[str] = []
    named: Mapping[str, int] = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    for name, number in named.items():
        soft, hard = resource.getrlimit(number)
        words += ["--ulimit", f"{name}={soft}:{hard}"]
    return words
