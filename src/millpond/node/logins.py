"""Users who log in to the node: made, changed and removed by request, and removed when their time is over.

They are the node's own: its disk remembers them (``volatile/logins.json``, and the system's files), so they outlive
reboots and go with the disk. The service keeps nothing of them, their passwords least of all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
from pathlib import Path

import msgspec

from millpond.common.agent_protocol import PutUser

from . import system_files
from .failures import RefusedError
from .passwords import hash_password
from .users import LOGIN_IDS, SHARED_GROUP, SHARED_GROUP_ID, allow_sudo

log = logging.getLogger(__name__)

#: The group of those who may log in.
GROUP, _GROUP_ID = "_azbatchlogin", 61000
#: What programs that manage users take for a name.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")


class _Login(msgspec.Struct):
    uid: int
    expiry_time: int


class Logins:
    """``can_make``: this process is root in a sandbox of its own. Methods raise ``OSError``, :class:`RefusedError`."""

    def __init__(self, root: Path, *, can_make: bool) -> None:
        self._file = root / "volatile" / "logins.json"
        self._can_make = can_make
        self._logins: dict[str, _Login] = {}

    @property
    def due(self) -> int | None:
        """When the next user's time is over."""
        return min((login.expiry_time for login in self._logins.values()), default=None)

    def restore(self) -> None:
        """Know the users that the disk remembers."""
        if self._can_make and self._file.exists():
            self._logins = msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Login])
            self._share()

    def put(self, user: PutUser) -> None:
        self._require()
        if not _NAME.fullmatch(user.name):
            raise RefusedError("notValid", "The name is none that this system takes for a user.")
        known = self._logins.get(user.name)
        if user.replaces:
            if known is None:
                raise RefusedError("notFound")
            login = _Login(known.uid, user.expiry_time)
        else:
            if known is not None or user.name in system_files.names("passwd"):
                raise RefusedError("exists")
            login = _Login(self._free_id(), user.expiry_time)
        hashed = "*" if user.password is None else hash_password(user.password)
        self._logins[user.name] = login
        self._save()  # first: what is half made must be known
        if not user.replaces:
            self._make(user.name, login.uid, is_admin=user.is_admin)
        system_files.enter("shadow", user.name, f"{hashed}:19000:0:99999:7:::")
        self._set_key(user.name, user.ssh_public_key)
        log.info("user %s may log in", user.name)

    def delete(self, name: str) -> None:
        """Remove a user, with processes and files at home."""
        self._require()
        login = self._logins.get(name)
        if login is None:
            raise RefusedError("notFound")
        for file in ("shadow", "passwd"):
            system_files.drop(file, name)
        _end_processes(login.uid)
        shutil.rmtree(_home(name), ignore_errors=True)
        (KEYS / name).unlink(missing_ok=True)
        del self._logins[name]
        self._save()
        self._share()
        log.info("user %s may not log in any more", name)

    def expire(self, now: int) -> None:
        """Remove those whose time is over."""
        for name in [name for name, login in self._logins.items() if login.expiry_time <= now]:
            self.delete(name)

    def _require(self) -> None:
        if not self._can_make:
            raise RefusedError("notValid", "Only nodes that run in a sandbox, as root, have users of their own.")

    def _free_id(self) -> int:
        taken = {login.uid for login in self._logins.values()}
        free = next((uid for uid in LOGIN_IDS if uid not in taken), None)
        if free is None:
            raise RefusedError("notValid", f"A node has at most {len(LOGIN_IDS)} users.")
        return free

    def _make(self, name: str, uid: int, *, is_admin: bool) -> None:
        """Where there is no ``sudo``, an administrator is root by another name."""
        can_sudo = is_admin and allow_sudo(name)
        shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
        system_files.enter("group", GROUP, f"x:{_GROUP_ID}:")
        seen_uid = 0 if is_admin and not can_sudo else uid
        system_files.enter("passwd", name, f"x:{seen_uid}:{_GROUP_ID}::{_home(name)}:{shell}")
        self._share()
        home = _home(name)
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        os.chown(home, seen_uid, _GROUP_ID)

    def _share(self) -> None:
        """Let them read what a start task has brought, as all of the node's users can."""
        system_files.enter("group", SHARED_GROUP, f"x:{SHARED_GROUP_ID}:{','.join(self._logins)}")

    def _set_key(self, name: str, key: str | None) -> None:
        """Keys lie with root, not in the user's home, where the user could point them anywhere."""
        KEYS.mkdir(parents=True, exist_ok=True, mode=0o755)
        (KEYS / name).write_text("" if key is None else f"{key}\n")

    def _save(self) -> None:
        new = self._file.with_name("logins.json.new")
        new.write_bytes(msgspec.json.encode(self._logins))
        new.replace(self._file)


#: Where the users' public keys are, one file for each.
KEYS = Path("/etc/ssh/millpond_keys")


def _home(name: str) -> Path:
    return Path("/home") / name


def _end_processes(uid: int) -> None:
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, StopIteration):
            line = next(line for line in status.read_text(errors="replace").splitlines() if line.startswith("Uid:"))
            if line.split()[1] == str(uid):
                os.kill(int(status.parent.name), signal.SIGKILL)
