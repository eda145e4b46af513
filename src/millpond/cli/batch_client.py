"""Signed requests of the command line to the Batch service of a running server."""

from __future__ import annotations

import email.utils
import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from millpond.common.authority import authority_file
from millpond.common.config import Settings
from millpond.common.shared_key import decode_key, sign

from .credentials import credentials
from .data_directory import running_server
from .errors import CommandError

_VERSION = "2025-06-01"
_TIMEOUT_S = 30


def post(settings: Settings, account: str | None, path: str, query: dict[str, str]) -> None:
    """Send a request without a body. Raises ``CommandError`` with what the service has against it."""
    _send(settings, account, "POST", path, query)


def get(settings: Settings, account: str | None, path: str) -> dict[str, Any]:
    """The JSON that the service answers with. Raises ``CommandError`` with what the service has against it."""
    content: dict[str, Any] = json.loads(_send(settings, account, "GET", path, {}))
    return content


def _send(settings: Settings, account: str | None, method: str, path: str, query: dict[str, str]) -> bytes:
    server = running_server(settings.data)
    if server is None or server.batch_url is None:
        raise CommandError(f"no server with Batch runs on {settings.data}")
    known = credentials(settings, account)
    parameters = {**query, "api-version": _VERSION}
    target = f"{path}?{'&'.join(f'{name}={value}' for name, value in parameters.items())}"
    connection = _connect(server.batch_url, settings)
    try:
        headers = _signed(known["BATCH_ACCOUNT_NAME"], known["BATCH_ACCOUNT_KEY"], method, path, parameters)
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    except OSError as error:
        raise CommandError(f"Batch at {server.batch_url} cannot be reached: {error}") from error
    finally:
        connection.close()
    if answer.status >= 300:
        raise CommandError(_reason(content, answer.status))
    return content


def _connect(url: str, settings: Settings) -> http.client.HTTPConnection:
    place = urlsplit(url)
    if place.scheme != "https":
        return http.client.HTTPConnection(place.netloc, timeout=_TIMEOUT_S)
    context = ssl.create_default_context(cafile=str(authority_file(settings.data)))
    return http.client.HTTPSConnection(place.netloc, timeout=_TIMEOUT_S, context=context)


def _signed(account: str, key: str, method: str, path: str, parameters: dict[str, str]) -> dict[str, str]:
    """The headers of a request without a body."""
    date = email.utils.formatdate(usegmt=True)
    length = "0" if method == "POST" else ""
    before = "\n".join([method, "", "", length, "", "", "", "", "", "", "", ""])
    resource = "".join(f"\n{name}:{value}" for name, value in sorted(parameters.items()))
    signature = sign(decode_key(key), f"{before}\nocp-date:{date}\n/{account}{path}{resource}")
    headers = {"ocp-date": date, "Authorization": f"SharedKey {account}:{signature}"}
    return headers | ({"Content-Length": length} if length else {})


def _reason(content: bytes, status: int) -> str:
    """What an error says, with the reason that is among its values."""
    try:
        error = json.loads(content)
        message = error["message"]["value"].partition("\n")[0]
        reasons = [value["value"] for value in error.get("values", ()) if value["key"] == "Reason"]
    except (ValueError, KeyError, TypeError):
        return f"the service answered with status {status}"
    return " ".join([message, *reasons])
