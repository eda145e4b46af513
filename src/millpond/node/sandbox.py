"""A node's own view of the machine: namespaces, and a copy-on-write file system over what the machine has.

What a node changes stays in its directory, in one upper layer for each of the machine's file systems, and is seen by
that node alone; the network is the machine's. The node's directory holds::

    root/              the node's root, seen inside as /mnt/batch/tasks
    upper/<n>  work/<n>   what was changed on the n-th file system
    view/              where the new file system is put together
    tmp/               the node's /tmp
    containers/        what its container runtime keeps

Where the agent is root, its tasks' capabilities are bounded so that they cannot undo any of it
(:func:`millpond.node.linux.bound_task_capabilities`). Where it is not, a user namespace gives it the right to do this,
and the only user inside is the agent's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

from . import linux
from .hosts import name_hosts

#: Where a node's root is seen, as on a real node.
ROOT = Path("/mnt/batch/tasks")
#: Where its container runtime keeps what it has, on no overlay: it needs to make its own.
CONTAINERS = Path("/mnt/batch/containers")

#: File systems that the kernel makes up: they are not the machine's files.
_VIRTUAL = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    ]
)
#: What the node has of its own.
_OWN = ("/proc", "/sys", "/dev", "/tmp")  # noqa: S108 - a place, not a file
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse")
_DEVICE_PATTERNS = ("nvidia*", "dri", "kfd", "infiniband")
#: Parts of ``/proc`` that set up the machine, not the node.
_KERNEL_SETTINGS = ("sys", "irq", "bus", "fs", "sysrq-trigger")
#: What has a meaning in the options of an overlay.
_SEPARATORS, _ESCAPED = re.compile(r"([\\,:])"), r"\\\1"
_SAFE = linux.MS_NODEV if sys.platform == "linux" else 0


def unshare() -> None:
    """Leave the machine's namespaces; the next child is the first process of the new ones. Raises ``OSError``."""
    uid, gid = os.geteuid(), os.getegid()
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    if uid == 0:
        linux.unshare(flags)
        return
    linux.unshare(flags | linux.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def enter(directory: Path, hidden: list[Path], hostname: str, address: str) -> None:
    """Build the view and move into it, as the first process of the new namespaces. Raises ``OSError``."""
    if os.getpid() != 1:
        raise OSError(
            "a sandbox is built by the first process of new namespaces, or it would be the machine that changes"
        )
    linux.sethostname(hostname)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    for name in ("root", "upper", "work", "view", "tmp", "containers"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "containers").chmod(0o700)
    (directory / "tmp").chmod(0o1777)
    view = directory / "view"
    _overlay_machine(directory, view)
    _mount_own(directory, view)
    for path in _needed_by_agent():
        _keep(path, view)
    for name, place in (("root", ROOT), ("containers", CONTAINERS)):
        seen = Path(f"{view}{place}")
        seen.mkdir(parents=True, exist_ok=True)
        linux.mount(str(directory / name), str(seen), flags=linux.MS_BIND)
    for path in hidden:
        place = Path(f"{view}{path.resolve()}")  # a link on the way would lead out of the view
        if place.is_dir():
            linux.mount("tmpfs", str(place), "tmpfs", linux.MS_NOSUID | _SAFE | linux.MS_RDONLY, "size=0,mode=000")
    os.chdir(view)
    linux.pivot_root(".", ".")
    linux.unmount(".")
    os.chdir("/")
    name_hosts([(hostname, address)])


def _overlay_machine(directory: Path, view: Path) -> None:
    """Put a changeable copy of each of the machine's file systems in its place.

    Where one is refused because others are mounted inside of it (as the kernel does in a user namespace), its
    directories are taken one by one; where the kernel refuses for another reason, the place is fixed: read-only.
    Raises ``OSError`` where nothing could be changed at all.
    """
    inner = _file_systems()
    refusal: OSError | None = None
    has_layers = False
    waiting = ["/"]
    while waiting:
        place = waiting.pop(0)
        target = Path(f"{view}{place}")
        try:
            _overlay(place, directory, target)
        except OSError as error:
            refusal = refusal or error
            if any(other.startswith(place.rstrip("/") + "/") for other in _mount_points()):
                waiting += _lay_out(place, target)
            else:
                _fix(place, target)
        else:
            has_layers = True
            below = place.rstrip("/") + "/"
            waiting += [other for other in inner if other.startswith(below) and other != "/"]
            inner = [other for other in inner if not other.startswith(below)]
    if refusal and not has_layers:
        raise refusal


def _overlay(place: str, directory: Path, target: Path) -> None:
    if not target.is_dir():
        raise NotADirectoryError(target)
    layer = place.strip("/").replace("_", "__").replace("/", "_") or "_"
    upper, work = directory / "upper" / layer, directory / "work" / layer
    upper.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    shutil.copystat(place, upper)
    layers = (("lowerdir", place), ("upperdir", str(upper)), ("workdir", str(work)))
    options = ",".join(f"{name}={re.sub(_SEPARATORS, _ESCAPED, path)}" for name, path in layers)
    linux.mount("overlay", str(target), "overlay", _SAFE, options if os.geteuid() == 0 else f"{options},userxattr")


def _lay_out(place: str, target: Path) -> list[str]:
    """Make a directory that has what ``place`` has, empty. Returns what is to be put there."""
    linux.mount("tmpfs", str(target), "tmpfs", linux.MS_NOSUID | _SAFE, "mode=755")
    names = []
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.is_symlink():
                (target / entry.name).symlink_to(Path(entry.path).readlink())
                continue
            if entry.is_dir():
                (target / entry.name).mkdir()
            else:
                (target / entry.name).touch()
            if entry.path not in _OWN:
                names.append(entry.path)
    return names


def _fix(place: str, target: Path) -> None:
    """Show a place as it is, read-only; nothing where this user may not even look at it."""
    if target.exists():
        with contextlib.suppress(OSError):
            linux.mount(place, str(target), flags=linux.MS_BIND | linux.MS_REC)
            linux.make_read_only(str(target))


def _mount_points() -> dict[str, str]:
    """Where something is mounted, with the kind of file system."""
    points = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        points[re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])] = after.split()[0]
    return points


def _file_systems() -> list[str]:
    """Where the machine's own file systems are mounted, the outer before the inner."""
    places = [
        place
        for place, kind in _mount_points().items()
        if kind not in _VIRTUAL and not any(place == own or place.startswith(f"{own}/") for own in _OWN)
    ]
    return sorted(places, key=lambda place: place.count("/") if place != "/" else 0)


def _mount_own(directory: Path, view: Path) -> None:
    """What a node does not share: processes, devices, temporary files."""
    linux.mount("proc", f"{view}/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for name in _KERNEL_SETTINGS:
        place = f"{view}/proc/{name}"
        if Path(place).exists():
            linux.mount(place, place, flags=linux.MS_BIND | linux.MS_REC)
            linux.make_read_only(place)
    linux.mount("/sys", f"{view}/sys", flags=linux.MS_BIND | linux.MS_REC)
    with contextlib.suppress(OSError):
        linux.make_read_only(f"{view}/sys")
    linux.mount(str(directory / "tmp"), str(view / "tmp"), flags=linux.MS_BIND)
    _mount_devices(Path(f"{view}/dev"))


def _mount_devices(dev: Path) -> None:
    linux.mount("tmpfs", str(dev), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=64k")
    host = Path("/dev")
    found = [host / name for name in _DEVICES] + [path for pattern in _DEVICE_PATTERNS for path in host.glob(pattern)]
    for device in found:
        if device.exists():
            place = dev / device.name
            if device.is_dir():
                place.mkdir()
            else:
                place.touch()
            linux.mount(str(device), str(place), flags=linux.MS_BIND | linux.MS_REC)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (dev / name).symlink_to(target)
    (dev / "pts").mkdir()
    linux.mount("devpts", str(dev / "pts"), "devpts", linux.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    (dev / "ptmx").symlink_to("pts/ptmx")
    for name, kind, options in (("shm", "tmpfs", "mode=1777"), ("mqueue", "mqueue", "")):
        (dev / name).mkdir()
        linux.mount(kind, str(dev / name), kind, linux.MS_NOSUID | linux.MS_NODEV, options)


def _needed_by_agent() -> set[Path]:
    """Directories that the agent's Python is made of: it may load more of itself later."""
    package = Path(__file__).parents[2]
    parts = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix), package, Path(os.__file__).parent}
    return {part.resolve() for part in parts}


def _keep(path: Path, view: Path) -> None:
    """Show a directory inside where the view would hide it (a Python below /tmp).

    At a later boot there is the empty directory that it was shown in.
    """
    place = Path(f"{view}{path}")
    if path.is_dir() and not (place.exists() and any(place.iterdir())):
        place.mkdir(parents=True, exist_ok=True)
        linux.mount(str(path), str(place), flags=linux.MS_BIND)
        linux.make_read_only(str(place))
