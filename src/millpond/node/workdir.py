"""The node's directories, and the environment that tasks see.

Below the node's root (``AZ_BATCH_NODE_ROOT_DIR``)::

    applications/ fsmounts/ shared/ startup/{stdout.txt,stderr.txt,wd/} volatile/
    workitems/<job>/job-1/<task>/{stdout.txt,stderr.txt,wd/}

``volatile`` is the agent's own. A task's directory belongs to the task's user and is closed to others.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from millpond.common.agent_protocol import Attempt, Membership, Welcome, task_directory

from .disk import RESERVED_BYTES
from .expansion import expanded
from .users import User

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where OpenSSL, Python's requests and curl look for a file of authorities.
_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: The port in the primary's address that multi-instance tasks are told. Nobody listens there by itself.
_PRIMARY_PORT = 6000
#: How much of the end of a standard error is told.
_LAST_BYTES = 4096


class WorkDirectory:
    """The directory tree of one node. Methods raise ``OSError``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = str(root)
        self._trash = str(root / "volatile" / "trash")
        self._trash_numbers = itertools.count()
        #: Whether something was discarded since :meth:`empty_trash` was last asked for.
        self.has_trash = False
        self._node_variables: dict[str, str] = {}
        #: What the node sets unless a task's own settings do.
        self._defaults: dict[str, str] = {}

    def prepare(self) -> None:
        """Make what every node has, and forget what an earlier boot meant to remove."""
        os.umask(0o022)
        shutil.rmtree(self.root / "applications", ignore_errors=True)  # a boot installs what the pool has now
        for name in ("applications", "fsmounts", "shared", "startup", "volatile/startup", "workitems"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        (self.root / "shared").chmod(0o777)
        (self.root / "volatile").chmod(0o700)
        shutil.rmtree(self._trash, ignore_errors=True)
        Path(self._trash).mkdir()

    def trust(self, authorities: str) -> None:
        """Have this process and all tasks trust these authorities (PEM)."""
        bundle = self.root / "authorities.pem"
        bundle.write_text(authorities)
        self._defaults = dict.fromkeys(_BUNDLE_VARIABLES, str(bundle))
        os.environ.update(self._defaults)

    @property
    def is_gone(self) -> bool:
        """Whether the root was removed from outside."""
        try:
            return self.root.stat().st_nlink == 0
        except FileNotFoundError:
            return True

    def welcome(self, welcome: Welcome) -> None:
        """Learn whose node this is."""
        root = self._root
        self._node_variables = {
            "AZ_BATCH_ACCOUNT_NAME": welcome.account_name,
            "AZ_BATCH_ACCOUNT_URL": welcome.account_url,
            "AZ_BATCH_POOL_ID": welcome.pool_id,
            "AZ_BATCH_NODE_ID": welcome.node_id,
            "AZ_BATCH_NODE_IS_DEDICATED": "true" if welcome.is_dedicated else "false",
            "AZ_BATCH_NODE_ROOT_DIR": root,
            "AZ_BATCH_NODE_SHARED_DIR": f"{root}/shared",
            "AZ_BATCH_NODE_STARTUP_DIR": f"{root}/startup",
            "AZ_BATCH_NODE_STARTUP_WORKING_DIR": f"{root}/startup/wd",
            "AZ_BATCH_NODE_MOUNTS_DIR": f"{root}/fsmounts",
            "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": str(RESERVED_BYTES),
        }

    def path(self, relative: str) -> str:
        return f"{self._root}/{relative}"

    def directory_of(self, attempt: Attempt) -> str:
        return f"{self._root}/{task_directory(attempt.job_id, attempt.task_id)}"

    @property
    def startup(self) -> str:
        return f"{self._root}/startup"

    def open(self, directory: str, user: User, *, is_public: bool = False) -> None:
        """A fresh directory for a run, with its ``wd``; what an earlier run left there is put away.

        ``is_public``: every task may read it (the start task's).
        """
        try:
            os.mkdir(directory, 0o700)  # noqa: PTH102 - this module makes directories for every task
        except FileNotFoundError:
            os.makedirs(directory, 0o755)  # noqa: PTH103
            os.chmod(directory, 0o700)  # noqa: PTH101
        except FileExistsError:
            self.discard(directory)
            os.mkdir(directory, 0o700)  # noqa: PTH102
        working_directory = f"{directory}/wd"
        os.mkdir(working_directory, 0o755)  # noqa: PTH102
        user.credentials.own(working_directory)
        user.credentials.own(directory)
        if is_public:
            os.chmod(directory, 0o755)  # noqa: PTH101, S103

    def coordination(self, directory: str, user: User) -> str:
        """Where the output of the primary's coordination command goes, beside that of the task's own."""
        path = f"{directory}/coordination"
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)  # noqa: PTH102
            user.credentials.own(path)
        return path

    def close(self, directory: str, user: User) -> None:
        """Make sure that the output files exist where nothing could be started."""
        for name in ("stdout.txt", "stderr.txt"):
            path = f"{directory}/{name}"
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))
                user.credentials.own(path)

    def discard(self, directory: str) -> None:
        """Move a directory out of sight at once; :meth:`empty_trash` takes the time that removing it takes."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(directory, f"{self._trash}/{next(self._trash_numbers)}")  # noqa: PTH104
            self.has_trash = True

    def empty_trash(self) -> None:
        """Remove what was discarded. Slow; not for the agent's loop."""
        with os.scandir(self._trash) as entries:
            for entry in entries:
                shutil.rmtree(entry.path, ignore_errors=True)

    def environment(
        self,
        directory: str,
        user: User,
        settings: Sequence[Mapping[str, str]],
        attempt: Attempt | None = None,
        preparation: str | None = None,
    ) -> dict[str, str]:
        """The environment of a task (``attempt`` ``None``: the start task). The service's own names win.

        ``settings``: the job's, then the task's own. ``preparation``: the id of the job's preparation task.
        """
        working_directory = f"{directory}/wd"
        system = {
            "PATH": f"{_SYSTEM_PATH}:{self._root}/shared:{working_directory}",
            "HOME": working_directory,
            "PWD": working_directory,
            "USER": user.login,
            **self._defaults,
        }
        own = {
            **self._node_variables,
            "AZ_BATCH_CERTIFICATES_DIR": f"{directory}/certs",
            "AZ_BATCH_TASK_DIR": directory,
            "AZ_BATCH_TASK_WORKING_DIR": working_directory,
            "AZ_BATCH_TASK_USER": user.name,
            "AZ_BATCH_TASK_USER_IDENTITY": user.identity,
        }
        if attempt:
            own["AZ_BATCH_JOB_ID"] = attempt.job_id
            own["AZ_BATCH_TASK_ID"] = attempt.task_id
        if attempt and preparation:
            prepared = f"{self._root}/{task_directory(attempt.job_id, preparation)}"
            own["AZ_BATCH_JOB_PREP_DIR"] = prepared
            own["AZ_BATCH_JOB_PREP_WORKING_DIR"] = f"{prepared}/wd"
        return {**system, **expanded(settings, {**system, **own}), **own}


def last_errors(directory: str) -> str:
    """The end of what a command has written to its standard error."""
    try:
        file = os.open(f"{directory}/stderr.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            end = os.pread(file, _LAST_BYTES, max(0, os.fstat(file).st_size - _LAST_BYTES))
        finally:
            os.close(file)
    except OSError:
        return ""
    return end.decode(errors="replace").strip()


def gang_variables(directory: str, membership: Membership) -> dict[str, str]:
    """What the commands of a multi-instance task are told of its nodes."""
    addresses = [member.ip_address for member in membership.members]
    return {
        "AZ_BATCH_HOST_LIST": ",".join(addresses),
        "AZ_BATCH_NODE_LIST": ";".join(addresses),
        "AZ_BATCH_MASTER_NODE": f"{addresses[0]}:{_PRIMARY_PORT}",
        "AZ_BATCH_IS_CURRENT_NODE_MASTER": "false" if membership.number else "true",
        "AZ_BATCH_TASK_SHARED_DIR": directory,
        "CCP_NODES": " ".join([str(len(addresses)), *(f"{address} 1" for address in addresses)]),
    }
