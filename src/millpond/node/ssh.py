"""The node's SSH server: the machine's ``sshd``, under a configuration and host key of the node's own.

It listens at the node's address, on port 22 where nothing else has it, and lets in nobody but the users that were made
for the node (:mod:`.logins`). It starts when somebody first asks for it.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import time
from pathlib import Path

from .failures import RefusedError
from .logins import GROUP, KEYS
from .process import Trees

_PORT = 22
#: How long it may take to listen, and how often that is tried.
_PATIENCE_S = 10.0
_AGAIN_S = 0.02
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


class SshServer:
    """``trees`` is what starts processes, and knows when they have ended."""

    def __init__(self, trees: Trees, root: Path, address: str, *, can_run: bool) -> None:
        self._trees = trees
        self._directory = root / "volatile" / "ssh"
        self._address = address
        self._can_run = can_run
        self._process: int | None = None
        self.port = 0

    def start(self) -> None:
        """Have it run. Raises ``OSError``, :class:`RefusedError`."""
        if self._process is not None and self._trees.is_alive(self._process):
            return
        sshd, keygen = (shutil.which(name, path=_PLACES) for name in ("sshd", "ssh-keygen"))
        if not self._can_run:
            raise RefusedError("notValid", "Only nodes that run in a sandbox, as root, can be logged in to.")
        if not sshd or not keygen:
            raise RefusedError("notValid", "There is no SSH server on this machine (sshd).")
        self._directory.mkdir(exist_ok=True, mode=0o700)
        Path("/run/sshd").mkdir(parents=True, exist_ok=True, mode=0o755)
        self.port = self._free_port()
        (self._directory / "sshd_config").write_text(self._configuration())
        key, configuration, output = (str(self._directory / name) for name in ("host_key", "sshd_config", "log"))
        make_key = f"test -s {shlex.quote(key)} || {keygen} -q -t ed25519 -N '' -f {shlex.quote(key)}"
        serve = f"exec {sshd} -D -e -f {shlex.quote(configuration)}"
        self._process = self._trees.spawn_daemon(["/bin/sh", "-c", f"{make_key} </dev/null && {serve}"], output)

    def wait(self) -> None:
        """Wait until it listens; for a thread. Raises :class:`RefusedError`."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex((self._address, self.port)) == 0:
                    return
            time.sleep(_AGAIN_S)
        raise RefusedError("failed", "The SSH server does not come up.")

    def _free_port(self) -> int:
        for port in (_PORT, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self._address, port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise RefusedError("notValid", "The node has no free port for an SSH server.")

    def _configuration(self) -> str:
        return "\n".join(
            [
                f"ListenAddress {self._address}:{self.port}",
                f"HostKey {self._directory / 'host_key'}",
                "PidFile none",
                f"AllowGroups {GROUP}",
                "PermitRootLogin yes",  # an administrator where there is no sudo; the group keeps others out
                f"AuthorizedKeysFile {KEYS}/%u",
                "PasswordAuthentication yes",
                "KbdInteractiveAuthentication no",
                "UsePAM no",  # its modules want more rights than a node has
                "PrintMotd no",
                "Subsystem sftp internal-sftp",
                "",
            ]
        )
