"""``millpond serve``: prepare the data directory and the sockets, then supervise the services."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack

import msgspec

from millpond.common.authority import authority_file, issue_certificate
from millpond.common.config import WELL_KNOWN_ACCOUNT, Settings

from .data_directory import RunningServer, locked, open_accounts, publish, service_url, withdraw
from .errors import CommandError
from .supervisor import SERVICE_NAMES, Service, ServiceName, Supervisor


def serve(settings: Settings, only: ServiceName | None = None) -> None:
    """Run until a signal ends it. Raises ``CommandError`` where it cannot start or a service does not stay up."""
    if settings.well_known_account and not _is_loopback(settings.host):
        raise CommandError(
            f"everybody knows the key of {WELL_KNOWN_ACCOUNT}:"
            f" --well-known-account is for loopback, not {settings.host}"
        )
    with ExitStack() as stack:
        lock = stack.enter_context(locked(settings.data))
        withdraw(settings.data)
        open_accounts(settings.data, with_defaults=True)
        if settings.tls:
            _issue_certificate(settings)
        services = [
            Service(name, stack.enter_context(_listen(name, settings)))
            for name in SERVICE_NAMES
            if only in (None, name)
        ]
        urls = {service.name: _url(settings, service.socket) for service in services}
        settings = msgspec.structs.replace(settings, blob_url=urls.get("blob", settings.blob_url))
        supervisor = Supervisor(settings, services, urls, lock)

        def announce(processes: dict[str, int]) -> None:
            publish(settings.data, RunningServer(supervisor.pid, processes, urls.get("batch"), urls.get("blob")))

        stack.callback(withdraw, settings.data)
        supervisor.run(on_ready=lambda: _say_ready(settings, urls), on_processes=announce)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _issue_certificate(settings: Settings) -> None:
    try:
        issue_certificate(settings.data, settings.host)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot make a certificate in {settings.data / 'tls'}: {error}") from error


def _listen(name: ServiceName, settings: Settings) -> socket.socket:
    port = settings.batch_port if name == "batch" else settings.blob_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        title = name.capitalize()
        raise CommandError(f"{title} cannot listen on {settings.host}:{port}: {error.strerror}") from error
    return listener


def _url(settings: Settings, listener: socket.socket) -> str:
    return service_url(settings, listener.getsockname()[1])


def _say_ready(settings: Settings, urls: dict[ServiceName, str]) -> None:
    places = [f"{name.capitalize()} at {url}" for name, url in urls.items()]
    trust = f", authority in {authority_file(settings.data)}" if settings.tls else ""
    print(f"Millpond is ready: {', '.join(places)}, data in {settings.data}{trust}", flush=True)
