"""The machine's podman for tests, and an image that needs no registry."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.system.nodes import sandbox_problem

IMAGE = "localhost/millpond-tests/busybox:1"
_BUSYBOX = "/bin/busybox"
_COMMANDS = ("sh", "cat", "echo", "id", "pwd", "sleep", "env", "mkdir", "touch", "ls")


@functools.cache
def podman_problem() -> str:
    """Why no node of this machine can run containers; empty where they can."""
    if os.geteuid() != 0:
        return "needs root: the nodes of other users have no containers"
    if shutil.which("podman") is None or shutil.which("runc") is None:
        return "needs the Debian packages podman and runc"
    linked = subprocess.run(["ldd", _BUSYBOX], capture_output=True, text=True, check=False)
    if linked.returncode == 0:
        return "needs the Debian package busybox-static, to make an image of"
    return sandbox_problem()


def make_image() -> None:
    """Have the image on the machine: busybox and nothing else, which says ``by default`` unless told otherwise."""
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "root.tar"
        with tarfile.open(archive, "w") as root:
            root.add(_BUSYBOX, "bin/busybox")
            for name in _COMMANDS:
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                root.addfile(link)
        changes = ['ENTRYPOINT ["/bin/echo"]', 'CMD ["by", "default"]', "WORKDIR /bin", "ENV FROM_IMAGE=yes"]
        words = ["podman", "import", "--quiet", *(f"--change={change}" for change in changes), str(archive), IMAGE]
        subprocess.run(words, check=True, capture_output=True, timeout=60)


def remove_image() -> None:
    subprocess.run(["podman", "image", "rm", "--force", IMAGE], check=True, capture_output=True, timeout=60)
