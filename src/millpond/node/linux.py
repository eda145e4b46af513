"""The Linux system calls that the agent needs and Python does not offer.

Nothing here is touched on other systems. Credentials are set by raw system calls: those change the calling thread
alone, where the C library's wrappers would change the whole process.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36

#: Numbers of system calls: (x86-64, the generic table of newer architectures).
_NUMBERS = {
    "pivot_root": (155, 41),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "mount_setattr": (442, 442),
}
_COLUMN = 0 if platform.machine() == "x86_64" else 1

_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1

#: What a task may ever gain, root's tasks included: enough to install software and to own files, not enough to mount,
#: to trace the agent, or to reach the machine's devices and kernel. Not NET_RAW either: the network is the machine's,
#: and who listens to all of it hears the tokens of other nodes.
_TASK_CAPABILITIES = frozenset(
    {
        0,  # CHOWN
        1,  # DAC_OVERRIDE
        3,  # FOWNER
        4,  # FSETID
        5,  # KILL
        6,  # SETGID
        7,  # SETUID
        8,  # SETPCAP
        10,  # NET_BIND_SERVICE
        18,  # SYS_CHROOT
        29,  # AUDIT_WRITE
        31,  # SETFCAP
    }
)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(name: str, *arguments: object) -> int:
    return _check(int(_syscall(ctypes.c_long(_NUMBERS[name][_COLUMN]), *arguments)), name)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def sethostname(name: str) -> None:
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Raises ``OSError`` naming the target."""
    _check(
        _libc.mount(
            os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), os.fsencode(options) or None
        ),
        f"mount {kind or 'bind'} on {target}",
    )


def unmount(target: str) -> None:
    """Take a mount and all below it out of sight."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def make_read_only(target: str) -> None:
    """Make a mount and all below it read-only (Linux 5.12 or later)."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    _call("mount_setattr", -100, os.fsencode(target), _AT_RECURSIVE, ctypes.byref(attributes), ctypes.c_size_t(size))


def pivot_root(new_root: str, put_old: str) -> None:
    _call("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def set_undumpable() -> None:
    """Keep others under the same user from tracing this process or reading its memory and environment."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def set_child_subreaper() -> None:
    """Orphans below this process become its children."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def set_parent_death_signal(number: int) -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def bound_task_capabilities() -> None:
    """Take from all programs that this thread will start what no task needs; the thread itself keeps its rights."""
    for capability in range(64):
        present = _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)
        if present < 0:
            return  # past the last one that the kernel knows
        if present and capability not in _TASK_CAPABILITIES:
            _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")


def set_thread_groups(groups: Sequence[int]) -> None:
    """The supplementary groups of the calling thread."""
    _call("setgroups", len(groups), (ctypes.c_uint32 * len(groups))(*groups))


def set_thread_users(real: int, effective: int, saved: int) -> None:
    _call("setresuid", real, effective, saved)


def set_thread_group_ids(real: int, effective: int, saved: int) -> None:
    _call("setresgid", real, effective, saved)


def set_thread_file_user(uid: int, gid: int) -> None:
    """The user as whom the calling thread reaches files; the capabilities about files go and come with it."""
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)
