"""A pool's ``mountConfiguration``: file systems below ``fsmounts``, mounted at every boot before the start task.

They are mounted in the node's own namespace, and so go with the node, whatever becomes of it. A container of blobs is
served by a process of its own (:mod:`.blob_mount`), whose log is ``fsmounts/<path>.log``; NFS and SMB are the kernel's.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from .blob_mount import MountRequest
from .cancellation import Cancellation
from .documents import AzureBlobMount, AzureFileShareMount, CifsMount, MountConfiguration, NfsMount
from .supplies import Supplies, SupplyError

#: How long a container may take to answer for the first time.
_PATIENCE_S = 90.0
_NFS_VERSIONS = ("4.2", "4.1", "4.0", "3")


class MountError(Exception):
    """A file system could not be mounted; the message says which, and why."""


class Served:
    """A mounted container: the process that serves it, and the socket that ends with that process."""

    def __init__(self, path: str, pid: int, connection: socket.socket) -> None:
        self.path = path
        self.pid = pid
        self._connection = connection

    def wait(self) -> None:
        """Wait for the process to end. In a thread."""
        while self._connection.recv(1024):
            pass
        self._connection.close()


class Mounts:
    """``can_mount``: this process may mount file systems, in a namespace of its own."""

    def __init__(self, root: Path, supplies: Supplies, *, can_mount: bool) -> None:
        self._root = root
        self._supplies = supplies
        self._can_mount = can_mount

    def mount_all(self, configurations: Sequence[MountConfiguration]) -> Iterator[Served]:
        """Slow. Raises :class:`MountError` at the first that fails."""
        for configuration in configurations:
            if served := self._mount(configuration):
                yield served

    def _mount(self, configuration: MountConfiguration) -> Served | None:
        path, kind = "", "file system"
        try:
            if blobs := configuration.azure_blob_file_system_configuration:
                path, kind = blobs.relative_mount_path, f"container {blobs.container_name}"
                return self._mount_blobs(blobs)
            if share := configuration.azure_file_share_configuration:
                path, kind = share.relative_mount_path, f"file share {share.azure_file_url}"
                self._mount_smb(_as_cifs(share))
            elif cifs := configuration.cifs_mount_configuration:
                path, kind = cifs.relative_mount_path, f"file share {cifs.source}"
                self._mount_smb(cifs)
            elif nfs := configuration.nfs_mount_configuration:
                path, kind = nfs.relative_mount_path, f"NFS export {nfs.source}"
                self._mount_nfs(nfs)
        except (OSError, SupplyError, ValueError) as error:
            reason = "this machine's kernel has no such file system" if _is_unknown(error) else str(error)
            raise MountError(f"The {kind} could not be mounted at {path}: {reason}") from error
        return None

    def _place(self, path: str) -> str:
        if not self._can_mount:
            raise OSError(errno.EPERM, "only nodes in a sandbox can mount file systems")
        place = self._root / "fsmounts" / path
        place.mkdir(parents=True, exist_ok=True)
        return str(place)

    # --- containers of blobs

    def _mount_blobs(self, blobs: AzureBlobMount) -> Served:
        from . import linux

        place = self._place(blobs.relative_mount_path)
        url = self._supplies.storage_url(blobs.account_name, Cancellation())
        directory = self._root / "volatile" / "mounts"
        directory.mkdir(exist_ok=True, mode=0o700)
        options = BlobfuseOptions(blobs.blobfuse_options or "")
        request = MountRequest(
            container_url=f"{url}/{blobs.container_name}",
            account_name=blobs.account_name,
            account_key=blobs.account_key,
            sas_key=blobs.sas_key,
            directory=str(directory),
            attribute_timeout=options.attribute_timeout,
        )
        flags = linux.MS_NOSUID | linux.MS_NODEV | (linux.MS_RDONLY if options.is_read_only else 0)
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            kernel = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},allow_other"
            linux.mount("blobfuse", place, "fuse.blobfuse", flags, kernel)
            try:
                return _serve(blobs.relative_mount_path, request, device, f"{place}.log")
            except BaseException:
                linux.unmount(place)
                raise
        finally:
            os.close(device)

    # --- the kernel's own

    def _mount_smb(self, cifs: CifsMount) -> None:
        from . import linux

        flags, options = mount_options(cifs.mount_options or "")
        source = cifs.source.replace("\\", "/")
        address = _address(source.lstrip("/").partition("/")[0])
        doubled = cifs.password.replace(",", ",,")
        text = ",".join([f"ip={address}", f"username={cifs.username}", f"password={doubled}", *options])
        linux.mount(source, self._place(cifs.relative_mount_path), "cifs", flags, text)

    def _mount_nfs(self, nfs: NfsMount) -> None:
        from . import linux

        flags, options = mount_options(nfs.mount_options or "")
        place = self._place(nfs.relative_mount_path)
        address = f"addr={_address(nfs.source.partition(':')[0])}"
        if any(option.startswith(("vers=", "nfsvers=")) for option in options):
            linux.mount(nfs.source, place, "nfs", flags, ",".join([*options, address]))
            return
        for version in _NFS_VERSIONS:
            lock = ["nolock"] if version == "3" and "lock" not in options else []
            try:
                linux.mount(nfs.source, place, "nfs", flags, ",".join([f"vers={version}", *lock, *options, address]))
            except OSError as error:
                if version == _NFS_VERSIONS[-1] or error.errno not in (errno.EPROTONOSUPPORT, errno.EINVAL):
                    raise
            else:
                return


class BlobfuseOptions:
    """What of blobfuse's options means something here; how it caches is its own affair. Raises ``ValueError``."""

    def __init__(self, text: str) -> None:
        self.is_read_only = False
        #: In seconds.
        self.attribute_timeout = 1.0
        words = shlex.split(text)
        options = [option for word in words for option in word.removeprefix("-o").split(",") if option]
        for option in options:
            name, _, value = option.partition("=")
            if name in ("ro", "--read-only", "--read-only-mount") and value.lower() != "false":
                self.is_read_only = True
            elif name.lstrip("-").replace("-", "_") == "attr_timeout":
                self.attribute_timeout = float(value)


def _serve(path: str, request: MountRequest, device: int, log: str) -> Served:
    """Start the process that serves a mount, and wait until it has reached the container. Raises ``OSError``."""
    own, other = socket.socketpair()
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, other.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, device, 1),
            (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644),
        ]
        words = [sys.executable, "-m", "millpond.node.blob_mount"]
        pid = os.posix_spawn(
            words[0],
            words,
            dict(os.environ),
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE,),
        )
        other.close()
        own.settimeout(_PATIENCE_S)
        own.sendall(msgspec.json.encode(request) + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = own.recv(4096)
            if not piece:
                raise OSError(errno.EIO, f"its process ended at once; {Path(log).name} says more")
            answer += piece
        if reason := answer.decode(errors="replace").strip():
            raise OSError(reason)
        own.settimeout(None)
    except BaseException:
        own.close()  # which ends the process where it waits
        other.close()
        raise
    return Served(path, pid, own)


def _as_cifs(share: AzureFileShareMount) -> CifsMount:
    """Azure's file shares speak SMB; the account is the user."""
    return CifsMount(
        username=share.account_name,
        source=share.azure_file_url.removeprefix("https:"),
        relative_mount_path=share.relative_mount_path,
        password=share.account_key,
        mount_options=share.mount_options,
    )


def mount_options(text: str) -> tuple[int, list[str]]:
    """Options as the command ``mount`` takes them: flags of the kernel, and what the file system is told."""
    from . import linux

    flags_by_name = {
        "ro": linux.MS_RDONLY,
        "nosuid": linux.MS_NOSUID,
        "nodev": linux.MS_NODEV,
        "noexec": linux.MS_NOEXEC,
    }
    ours = {"rw", "defaults", "nofail", "_netdev", "auto", "noauto", "suid", "dev", "exec"}
    flags, rest = linux.MS_NOSUID | linux.MS_NODEV, []
    for word in shlex.split(text):
        for option in word.removeprefix("-o").split(","):
            if option in flags_by_name:
                flags |= flags_by_name[option]
            elif option and option not in ours:
                rest.append(option)
    return flags, rest


def _address(host: str) -> str:
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def _is_unknown(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENODEV
