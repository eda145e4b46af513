"""The users that tasks run as.

Where the agent is root in a sandbox, it makes them: ``_azbatch`` for the pool's tasks, one that is used by no other
task at the time for each task that wants its own (``_azbatchtask_N``), and the pool's ``userAccounts``. Elevated
auto-users are root, because start tasks call ``apt-get`` and ``pip`` without ``sudo``; a named account that is elevated
may use ``sudo`` without a password where the machine has it, and is root where it has not. All are in one group, so
that everyone can read what a start task has brought, which by default is closed to others.

Elsewhere all tasks run as the agent's own user, whatever they name; a name that the pool does not know still fails.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from . import system_files
from .documents import LinuxUserConfiguration, UserAccount, UserIdentity

#: Ids that systemd's table of user ids leaves unused: they meet no user of the machine.
_FIRST_ID = 60600
_FIRST_TASK_ID = 60700
#: Users who log in (:mod:`.logins`).
LOGIN_IDS = range(61001, 61184)
#: The pool user's own group, and one that every user of the node is in.
SHARED_GROUP, SHARED_GROUP_ID = "_azbatchgrp", _FIRST_ID


class UnknownUserError(Exception):
    """The pool has no user account of that name."""


class Credentials:
    """Who a process will be. As a context: processes spawned by this thread within it are that user's.

    The thread's effective user stays root; its *real* user changes for the moment, which ``posix_spawn`` is told to
    make the child's only one. That spares the full fork that Python's ``subprocess`` needs to change the user. A task
    under the same user may send signals to the thread in that moment; the first process of a sandbox ignores them.
    """

    __slots__ = ("gid", "groups", "uid")

    def __init__(self, uid: int | None, gid: int = 0, groups: tuple[int, ...] = ()) -> None:
        #: ``None``: the agent's own.
        self.uid = uid
        self.gid = gid
        self.groups = groups

    def own(self, path: str) -> None:
        """Give a file or directory to the user."""
        if self.uid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def __enter__(self) -> bool:
        """Returns whether ``posix_spawn`` must reset the ids."""
        if self.uid is None:
            return False
        from . import linux

        linux.set_thread_groups(self.groups)
        linux.set_thread_group_ids(self.gid, 0, 0)
        linux.set_thread_users(self.uid, 0, 0)
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.uid is not None:
            from . import linux

            linux.set_thread_users(0, 0, 0)
            linux.set_thread_group_ids(0, 0, 0)
            linux.set_thread_groups(())


@contextlib.contextmanager
def as_file_user(credentials: Credentials) -> Iterator[None]:
    """Reach files as that user, and no others: for the calling thread, not the agent's own."""
    if credentials.uid is None:
        yield
        return
    from . import linux

    linux.set_thread_groups(credentials.groups)
    linux.set_thread_file_user(credentials.uid, credentials.gid)
    try:
        yield
    finally:
        linux.set_thread_file_user(0, 0)
        linux.set_thread_groups(())


@dataclass(frozen=True, slots=True)
class User:
    #: As the task sees it in ``AZ_BATCH_TASK_USER``; ``identity`` in ``AZ_BATCH_TASK_USER_IDENTITY``.
    name: str
    identity: str
    #: As the system knows it.
    login: str
    credentials: Credentials
    #: The number of a user made for one task, to be given back.
    lease: int | None = None


class Users:
    """The node's users. ``can_switch``: this process is root in a sandbox of its own, and may add users there."""

    def __init__(self, *, can_switch: bool) -> None:
        self._can_switch = can_switch
        self._own_login = _login_of(os.getuid())
        self._accounts: dict[str, User] = {}
        self._auto: dict[tuple[bool, str], User] = {}
        self._free_leases: list[int] = []
        self._leases = 0

    def prepare(self, accounts: list[UserAccount]) -> None:
        """Make the node's users, where they are not there from an earlier boot. Raises ``OSError``."""
        pool_user = self._make("_azbatch", _FIRST_ID, SHARED_GROUP_ID, SHARED_GROUP)
        self._auto[False, "pool"] = User("_azbatch", "PoolNonAdmin", *pool_user)
        self._auto[True, "pool"] = User("_azbatchadmin", "PoolAdmin", *self._root())
        self._auto[True, "task"] = User("_azbatchadmin", "TaskAdmin", *self._root())
        sudo = self._can_switch and has_sudo()
        for number, account in enumerate(accounts, 1):
            configured = account.linux_user_configuration or LinuxUserConfiguration()
            uid = configured.uid if configured.uid is not None else _FIRST_ID + number
            gid = configured.gid if configured.gid is not None else uid
            is_admin = (account.elevation_level or "").lower() == "admin"
            system_user = self._make(account.name, uid, gid, account.name)
            if is_admin and sudo:
                allow_sudo(account.name)
            elif is_admin:
                system_user = self._root()
            self._accounts[account.name] = User(account.name, account.name, *system_user)

    def share(self, directory: str) -> None:
        """Let all users write into a directory, and read what any of them puts there, root's files of mode 0750 too."""
        if self._can_switch:
            os.chown(directory, -1, _FIRST_ID)
            Path(directory).chmod(0o2777)

    def of_task(self, identity: UserIdentity | None, *, is_start_task: bool = False) -> User:
        """The user for a task; to be given back by :meth:`release`. Raises :class:`UnknownUserError`."""
        if identity and identity.username:
            account = self._accounts.get(identity.username)
            if not account:
                raise UnknownUserError(identity.username)
            return account
        auto = identity.auto_user if identity else None
        is_admin = bool(auto and (auto.elevation_level or "").lower() == "admin")
        scope = "task" if auto and (auto.scope or "").lower() == "task" else "pool"
        user = self._auto.get((is_admin, scope))
        return user or self._lease(is_start_task)

    def release(self, user: User, directory: str) -> None:
        """A task is over. The next task under the same ids must not reach what this one's own user left."""
        if user.lease is None:
            return
        if self._can_switch:
            os.chown(directory, 0, 0, follow_symlinks=False)
            Path(directory).chmod(0o700)
        self._free_leases.append(user.lease)

    def _lease(self, is_start_task: bool) -> User:
        if self._free_leases:
            number = self._free_leases.pop()
        else:
            number = self._leases
            self._leases += 1
        name = "_azbatchtask_start" if is_start_task else f"_azbatchtask_{number + 1}"
        made = self._make(f"_azbatchtask_{number + 1}", _FIRST_TASK_ID + number, _FIRST_TASK_ID + number)
        return User(name, "TaskNonAdmin", *made, lease=number)

    def _root(self) -> tuple[str, Credentials]:
        if not self._can_switch:
            return self._own_login, Credentials(None)
        return "root", Credentials(0, _FIRST_ID, (_FIRST_ID,))

    def _make(self, name: str, uid: int, gid: int, group: str = "") -> tuple[str, Credentials]:
        """Enter a user and its group in the node's files, in place of one of the machine's of that name."""
        if not self._can_switch:
            return self._own_login, Credentials(None)
        if name == "root":
            return self._root()
        system_files.enter("group", group or name, f"x:{gid}:")
        system_files.enter("passwd", name, f"x:{uid}:{gid}::/home/{name}:/bin/sh")
        return name, Credentials(uid, gid, tuple({gid, _FIRST_ID}))


def has_sudo() -> bool:
    return shutil.which("sudo") is not None


def allow_sudo(name: str) -> bool:
    """Let a user be root by ``sudo``, without a password. Returns whether there is one. Raises ``OSError``."""
    if not has_sudo():
        return False
    path = system_files.ETC / "sudoers.d" / "batch-users"
    rule = f"{name} ALL=(ALL) NOPASSWD:ALL\n"
    path.parent.mkdir(exist_ok=True)
    content = path.read_text() if path.exists() else ""
    if rule not in content:
        path.write_text(content + rule)
        path.chmod(0o440)
    return True


def _login_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
