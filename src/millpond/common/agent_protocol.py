"""What the service and a node's agent say to each other over the channel that the agent opens.

The channel is a WebSocket at ``/agents/{node key}`` of the Batch service, authenticated by
``Authorization: Bearer <node token>``; each binary frame is one message in MessagePack. It is level-triggered:

* The agent opens with :class:`Hello`: who it is, which attempts it holds.
* The service answers with :class:`Welcome` and a *full* :class:`Orders`: all that the node should run. The agent
  ends every attempt that is not in it and starts those it does not have.
* From then on both send what has changed. Whatever was lost with a broken channel is settled by the next pair of
  Hello and full Orders; every message may arrive twice.
* The agent reports the end of an attempt until the service tells it to forget the attempt.

Moments and durations are microseconds. Documents are JSON in the newest API version's form, with its names.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PROTOCOL_VERSION = 1

#: The code with which the service closes the channel of an agent that is to end itself, with all that it runs: its
#: node is gone or has booted again, or the two do not speak the same protocol. After any other code it connects again.
CLOSED_FOR_GOOD = 4410

#: Largest piece of file content in one :class:`FileReply`.
FILE_CHUNK = 1 << 20


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One placement of a task: ids as given, and the count of placements."""

    job_id: str
    task_id: str
    attempt: int


class FailureInfo(msgspec.Struct, frozen=True, array_like=True):
    """Why something failed; category ``usererror`` or ``servererror``, code as in the API's ``failureInfo``."""

    category: Literal["usererror", "servererror"]
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


class ContainerInfo(msgspec.Struct, frozen=True, array_like=True):
    """What became of the container that something ran in; ``state`` and ``error`` as the container runtime says it."""

    container_id: str
    state: str
    error: str = ""


class RunUsage(msgspec.Struct, frozen=True, array_like=True):
    """What the processes of an attempt have used: microseconds, system calls, bytes from and to disks."""

    user_cpu_time: int = 0
    kernel_cpu_time: int = 0
    read_ops: int = 0
    write_ops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


# --- from the agent ----------------------------------------------------------------------------------------------


class StartTaskReport(msgspec.Struct, frozen=True, kw_only=True, tag="startTask"):
    """The state of the node's start task; the agent retries it by itself."""

    state: Literal["running", "completed"]
    start_time: int
    end_time: int | None = None
    exit_code: int | None = None
    failure: FailureInfo | None = None
    retry_count: int = 0
    last_retry_time: int | None = None
    container_info: ContainerInfo | None = None


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The node has begun with an attempt (its downloads come first, and count as running)."""

    attempt: Attempt
    start_time: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """An attempt is over. ``exit_code`` is ``None`` where no process ran; ``-N`` for death by signal N."""

    attempt: Attempt
    start_time: int | None
    end_time: int
    exit_code: int | None
    failure: FailureInfo | None = None
    #: Whether the task's retry count applies: it failed by its exit code alone.
    may_retry: bool = False
    container_info: ContainerInfo | None = None
    #: ``None`` where no process ran.
    usage: RunUsage | None = None


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """The node has what it needs before tasks; the first report of its start task, if it has one, came before."""


class Coordinated(msgspec.Struct, frozen=True, tag="coordinated"):
    """The coordination command of a multi-instance task has succeeded on the node."""

    attempt: Attempt


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """The node cannot work until it is rebooted, or says :class:`Recovered`."""

    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


class Recovered(msgspec.Struct, frozen=True, tag="recovered"):
    """Whatever trouble the node has told of in this boot, it has none now."""


class FilesDeleted(msgspec.Struct, frozen=True, tag="filesDeleted"):
    """The answer to a :class:`DeleteFiles`, also where there was nothing to delete."""

    chore: int


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """What the node used in the last half minute, by the names that autoscale formulas have for it."""

    usage: dict[str, float]


Report = Prepared | StartTaskReport | Started | Coordinated | Ended | Trouble | Recovered | FilesDeleted | Measured


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    protocol: int
    agent_version: str
    boot: int
    ip_address: str
    start_task: StartTaskReport | None
    #: Whether :class:`Prepared` is true.
    is_prepared: bool = True
    holding: list[Attempt]


class Reports(msgspec.Struct, frozen=True, tag="reports"):
    """In the order in which they happened."""

    reports: list[Report]


class FileEntry(msgspec.Struct, frozen=True, array_like=True):
    """A file or directory; ``name`` is relative to the directory that was asked about."""

    name: str
    is_directory: bool
    size: int
    modified: int
    #: As ``st_mode``.
    mode: int


class FileReply(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """A part of the answer to a :class:`FileRequest`; the one with ``last`` ends it."""

    request: int
    #: ``notFound``, ``isDirectory``, ``directoryNotEmpty``, ``invalidPath`` or ``ioError``.
    error: str | None = None
    entries: list[FileEntry] = []
    data: bytes = b""
    last: bool = True


class ActionReply(msgspec.Struct, frozen=True, kw_only=True, tag="actionReply"):
    """What came of an :class:`ActionRequest`."""

    request: int
    #: ``exists``, ``notFound``, ``notValid`` (nothing that this node could do) or ``failed``; ``message`` says more.
    error: str | None = None
    message: str = ""
    #: Of :class:`DescribeLogin`: where the node's SSH server listens.
    port: int = 0
    #: Of :class:`UploadLogs`: how many files there were.
    files: int = 0


FromAgent = Hello | Reports | FileReply | ActionReply


# --- from the service --------------------------------------------------------------------------------------------


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """What the agent needs to know of its node and pool, as of this boot."""

    account_name: str
    account_url: str
    pool_id: str
    node_id: str
    is_dedicated: bool
    #: The pool's document (start task, user accounts, …).
    pool: bytes


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A node that runs a multi-instance task."""

    node_id: str
    ip_address: str


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """A node's part in a multi-instance task: its number (0: the primary), and all nodes in order.

    Every node runs the coordination command and reports :class:`Coordinated`. The primary runs the task's own when it
    is ordered to, and ends with it; the others end by order, or with a coordination command that failed.
    """

    number: int
    members: tuple[Member, ...]


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    attempt: Attempt
    #: 0: it takes none, and waits for none.
    required_slots: int
    #: The task's document.
    task: bytes
    #: The effective limits; the document's own may have been changed since.
    max_wall_clock_time: int
    retention_time: int
    #: The job's common environment settings.
    environment: dict[str, str] = {}
    #: Other tasks may read a preparation task's files, and what it leaves in the background lives on.
    kind: Literal["task", "preparation", "release"] = "task"
    #: The id of the job's preparation task, where it has one and this is not it.
    preparation: str | None = None
    #: Opens the Batch API to the task, for its own job; empty where it did not ask for that.
    authentication_token: str = ""
    #: Of a multi-instance task.
    membership: Membership | None = None


class DeleteFiles(msgspec.Struct, frozen=True):
    """Remove a task's directory (``task_id`` ``None``: the whole job's), then report :class:`FilesDeleted`."""

    chore: int
    job_id: str
    task_id: str | None


class Orders(msgspec.Struct, frozen=True, kw_only=True, tag="orders"):
    """``start``: attempts to run, in order, each as soon as slots are free for it; those that the node holds already
    only get the limits that are named here. ``stop``: attempts to end.

    ``run_primary``: attempts at multi-instance tasks that may run the task's own command now.
    ``forget``: attempts whose end is on record. ``discard``: the same, and their directories may go, unless a later
    attempt uses them. ``full``: what is held and not in ``start`` is to be ended (if it runs) or forgotten.
    """

    task_slots: int
    full: bool = False
    start: list[Assignment] = []
    stop: list[Attempt] = []
    run_primary: list[Attempt] = []
    forget: list[Attempt] = []
    discard: list[Attempt] = []
    delete: list[DeleteFiles] = []


class FileRequest(msgspec.Struct, frozen=True, kw_only=True, tag="fileRequest"):
    """``path`` is relative to the node's root directory; nothing outside of it is ever answered for."""

    request: int
    operation: Literal["list", "stat", "read", "delete"]
    path: str
    #: ``list``: walk the tree; ``delete``: a directory with its content.
    recursive: bool = False
    #: ``read``: the range.
    offset: int = 0
    length: int | None = None


class CertificateContent(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, as the service answers an agent's GET of ``certificates/{thumbprint}`` in JSON."""

    format: Literal["pfx", "cer"]
    #: In base64.
    data: str
    password: str | None = None


class PackageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An application package, as the service answers an agent's GET of ``applications/{id}`` (``version=``) in JSON.

    The URL is below that of the agent's channel, with http for ws, and takes the same token; the package itself, a zip
    file, is at ``packages/{digest}`` there.
    """

    #: As the application was added, whatever the case of the id that was asked for.
    application_id: str
    version: str
    #: SHA-256 of the zip file, in hexadecimal.
    digest: str
    #: Where it is unpacked, below ``applications``; no two packages have the same.
    directory: str


class PutUser(msgspec.Struct, frozen=True, kw_only=True, tag="putUser"):
    """Make a user who may log in, or (``replaces``) set all but ``is_admin`` of one who is there."""

    name: str
    replaces: bool = False
    is_admin: bool = False
    #: When the node removes the user by itself.
    expiry_time: int
    password: str | None = None
    #: As in ``authorized_keys``.
    ssh_public_key: str | None = None


class DeleteUser(msgspec.Struct, frozen=True, tag="deleteUser"):
    """Remove such a user, with the processes and the home directory that are the user's."""

    name: str


class DescribeLogin(msgspec.Struct, frozen=True, tag="describeLogin"):
    """Have an SSH server run on the node, and say where it listens."""


class UploadLogs(msgspec.Struct, frozen=True, kw_only=True, tag="uploadLogs"):
    """Upload the agent's logs that have a message of that time, as blobs below ``directory``."""

    container_url: str
    directory: str
    start_time: int
    end_time: int | None = None


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True, tag="action"):
    """Something to do at once, and once: nothing of it is kept but on the node's disk. Done when it is answered."""

    request: int
    action: PutUser | DeleteUser | DescribeLogin | UploadLogs


ToAgent = Welcome | Orders | FileRequest | ActionRequest


def task_directory(job_id: str, task_id: str | None = None) -> str:
    """Where a job's or a task's files are, relative to the node's root directory (``node.md`` 1).

    Jobs made by a schedule (``<schedule>:job-N``) share the schedule's directory.
    """
    schedule, separator, run = job_id.rpartition(":")
    job = f"workitems/{schedule}/{run}" if separator else f"workitems/{job_id}/job-1"
    return job if task_id is None else f"{job}/{task_id}"
