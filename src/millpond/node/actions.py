"""What a node does at once when it is asked to: users who log in, the SSH server for them, uploads of its logs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from millpond.common.agent_protocol import (
    ActionReply,
    ActionRequest,
    DeleteUser,
    PutUser,
    UploadLogs,
)

from .failures import RefusedError
from .logins import Logins
from .loop import Loop
from .process import Trees
from .service_logs import upload_logs
from .ssh import SshServer

log = logging.getLogger(__name__)


class Actions:
    """``is_own_system``: this process is root in a sandbox of its own, and may make users there."""

    def __init__(self, loop: Loop, trees: Trees, root: Path, address: str, *, is_own_system: bool) -> None:
        self._loop = loop
        self._logins = Logins(root, can_make=is_own_system)
        self._ssh = SshServer(trees, root, address, can_run=is_own_system)

    @property
    def due(self) -> int | None:
        """The moment at which :meth:`tend` has something to do."""
        return self._logins.due

    def restore(self) -> None:
        """Know what the node's disk remembers. Raises ``OSError``."""
        self._logins.restore()

    def tend(self, now: int) -> None:
        """Remove the users whose time is over."""
        try:
            self._logins.expire(now)
        except OSError as error:
            log.error("cannot remove users whose time is over: %s", error)

    def take(self, request: ActionRequest, reply: Callable[[ActionReply], None]) -> None:
        """Do it, and reply; what waits for something waits in a thread, and replies later."""
        action = request.action
        answer = partial(_answer, request.request)
        if isinstance(action, PutUser):
            reply(answer(partial(self._logins.put, action)))
        elif isinstance(action, DeleteUser):
            reply(answer(partial(self._logins.delete, action.name)))
        elif isinstance(action, UploadLogs):
            self._loop.in_thread("logs", 1, partial(answer, partial(_upload, action)), reply)
        elif (started := answer(self._ssh.start)).error is not None:
            reply(started)
        else:
            self._loop.in_thread("login", 1, partial(answer, self._wait_for_ssh), reply)

    def _wait_for_ssh(self) -> ActionReply:
        self._ssh.wait()
        return ActionReply(request=0, port=self._ssh.port)


def _upload(order: UploadLogs) -> ActionReply:
    return ActionReply(request=0, files=upload_logs(order))


def _answer(number: int, work: Callable[[], ActionReply | None]) -> ActionReply:
    """Do the work; the answer to it is what it returns, if it returns something, as the reply to that request."""
    try:
        return replace(work() or ActionReply(request=number), request=number)
    except RefusedError as refusal:
        return ActionReply(request=number, error=refusal.code, message=str(refusal))
    except OSError as error:
        log.exception("cannot do what is asked for")
        return ActionReply(request=number, error="failed", message=str(error))
