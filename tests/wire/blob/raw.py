"""A client that sends just what a test wants, signed by the documented rules and by none of the service's own code."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

VERSION = "2021-12-02"
_SIGNED = ["content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"]
_SIGNED += ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        """The service's error code, which header and body must agree on."""
        code = self.headers["x-ms-error-code"] or ""
        if self.body and self.headers["content-type"] == "application/xml" and code:
            assert self.xml.tag == "Error"
            assert self.xml.findtext("Code") == code
            assert (self.xml.findtext("Message") or "").split("\n")[1] == f"RequestId:{self.headers['x-ms-request-id']}"
        return code

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.code

    @property
    def xml(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)

    def detail(self, name: str) -> str:
        """An element of the error's body."""
        return self.xml.findtext(name) or ""


@dataclass(frozen=True)
class RawClient:
    host: str
    port: int
    account: str
    key: str

    @classmethod
    def of(cls, credentials: Mapping[str, str]) -> Self:
        url = urlsplit(credentials["STORAGE_ACCOUNT_URL"])
        assert url.hostname
        assert url.port
        return cls(url.hostname, url.port, credentials["STORAGE_ACCOUNT_NAME"], credentials["STORAGE_ACCOUNT_KEY"])

    def path(self, name: str) -> str:
        return f"/{self.account}/{name}"

    def signed(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """A request with Shared Key. A header given here replaces what it would have had; ``path`` has the query."""
        return self.send(method, path, self.signed_headers(method, path, headers, len(body)), body)

    def signed_headers(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, length: int = 0
    ) -> dict[str, str]:
        """The headers of :meth:`signed`, with a body of that length."""
        full = {
            "x-ms-version": VERSION,
            "x-ms-date": email.utils.formatdate(usegmt=True),
            "content-length": str(length),
            **(headers or {}),
        }
        full = {name: value for name, value in full.items() if value}
        if "authorization" not in full:
            full["authorization"] = f"SharedKey {self.account}:{self.sign(method, path, full)}"
        return full

    def sign(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        low = {name.lower(): value for name, value in headers.items()}
        plain = [low.get(name, "") for name in _SIGNED]
        plain[2] = "" if plain[2] == "0" else plain[2]
        bare, _, query = path.partition("?")
        own = "".join(f"{name}:{low[name]}\n" for name in sorted(low) if name.startswith("x-ms-"))
        parameters: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            parameters.setdefault(name.lower(), []).append(value)
        lines = "".join(f"\n{name}:{','.join(sorted(parameters[name]))}" for name in sorted(parameters))
        text = "\n".join([method, *plain]) + f"\n{own}/{self.account}{bare}{lines}"
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """A request with these headers, Host, and no others."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.putrequest(
                method, path, skip_host=bool(headers and "host" in headers), skip_accept_encoding=True
            )
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class KeptClient(RawClient):
    """One that keeps its connection, for thousands of requests; over https where it has a context."""

    context: ssl.SSLContext | None = None
    _connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        answer = self.begin(method, path, headers, body)
        return Answer(answer.status, answer.headers, answer.read())

    def begin(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> http.client.HTTPResponse:
        """:meth:`send`, with a body of the answer that is still to be read."""
        if not self._connections:
            self._connections.append(
                http.client.HTTPSConnection(self.host, self.port, timeout=30, context=self.context)
                if self.context
                else http.client.HTTPConnection(self.host, self.port, timeout=30)
            )
        connection = self._connections[0]
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()
