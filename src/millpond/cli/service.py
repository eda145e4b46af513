"""One service as a process of its own, started by the supervisor: ``python -m millpond.cli.service``."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import msgspec

from millpond.common.authority import server_certificate_file
from millpond.common.config import Accounts, Settings, load_settings
from millpond.common.workers import First, Worker, alone, fork_workers

from .processes import end_with_parent
from .supervisor import STOP_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def main(name: str, listener_fd: str, control_fd: str, lock_fd: str, base_url: str, settings_json: str) -> None:
    """Answer on the socket that was handed over until SIGTERM, or until the supervisor is gone."""
    gc.disable()  # until it serves: among what is being loaded a collection finds nothing, for a tenth of the time
    for descriptor in (listener_fd, control_fd, lock_fd):
        os.set_inheritable(int(descriptor), False)  # they end with this process, not with what it starts
    logging.basicConfig(format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    control = socket.socket(fileno=int(control_fd))
    settings = load_settings(None, **msgspec.json.decode(settings_json))
    from millpond.common.server import run  # before the fork, so that the workers share it

    try:
        make_app = _app_maker(name, settings, base_url)
        process = fork_workers(settings.blob_processes - 1) if name == "blob" else alone()
        if isinstance(process, Worker):
            control.close()
            end_with_parent(signal.SIGKILL)
        else:
            threading.Thread(target=_end_with_supervisor, args=(control,), daemon=True).start()
            end_with_parent(signal.SIGTERM)
        app = make_app(process)
    except Exception as error:
        _refuse(control, f"{type(error).__name__}: {error}")
        raise
    is_first = isinstance(process, First)
    run(
        _telling_why(app, control) if is_first else app,
        socket.socket(fileno=int(listener_fd)),
        certificate=server_certificate_file(settings.data) if settings.tls else None,
        ready=(lambda: control.sendall(b"ready")) if is_first else None,
        process=process,
        websockets=name == "batch",  # its agents' channels
    )
    if isinstance(process, First) and process.has_lost_one:
        sys.exit(1)


def _app_maker(name: str, settings: Settings, base_url: str) -> Callable[[First | Worker], ASGIApp]:
    accounts = Accounts(settings.data, with_well_known=settings.well_known_account)
    if name == "batch":
        from millpond.batch.api.app import create_app as create_batch_app

        return lambda _: create_batch_app(settings, accounts, base_url)
    from millpond.blob.api.app import create_app as create_blob_app

    return lambda process: create_blob_app(settings, accounts, process=process)


def _telling_why(app: ASGIApp, control: socket.socket) -> ASGIApp:
    """The application, with the last line of the error that keeps it from starting told to the supervisor."""

    async def with_reason(scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                _refuse(control, message.get("message", "").strip().rpartition("\n")[2])
            await send(message)

        await app(scope, receive, tell if scope["type"] == "lifespan" else send)

    return with_reason


def _refuse(control: socket.socket, reason: str) -> None:
    control.sendall(reason.encode()[:4096] or b"it does not say why")


def _end_with_supervisor(control: socket.socket) -> None:
    """Wait for the end of the supervisor, which closes its end of the pair, and follow it."""
    while control.recv(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(STOP_TIMEOUT_S)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
