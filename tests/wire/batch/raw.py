"""Signed HTTP without an SDK, for what SDKs do not send."""

from __future__ import annotations

import email.utils
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from tests.servers import Server

from millpond.common.shared_key import decode_key, sign

JSON = "application/json; odata=minimalmetadata"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error, which must have the service's form."""
        content = self.content
        assert self.headers["content-type"] == "application/json;odata=minimalmetadata"
        assert content["odata.metadata"].endswith("Container.errors/@Element")
        assert content["message"]["lang"] == "en-US"
        assert self.headers["request-id"] in content["message"]["value"]
        return str(content["code"])

    @property
    def values(self) -> dict[str, str]:
        return {value["key"]: value["value"] for value in self.content.get("values", [])}


class RawClient:
    def __init__(self, server: Server, *, account: str | None = None, key: str | None = None) -> None:
        self.url = server.batch_url.rstrip("/")
        self._account = account or server.credentials["BATCH_ACCOUNT_NAME"]
        self._key = decode_key(key or server.credentials["BATCH_ACCOUNT_KEY"])

    def send(self, method: str, target: str, body: Any = None, **options: Any) -> Reply:
        """Send a request and read the answer; ``options`` as for :meth:`connect`."""
        with self.open(method, target, body, **options) as answer:
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    @contextmanager
    def open(self, method: str, target: str, body: Any = None, **options: Any) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request, to be read or left."""
        with self.connect(method, target, body, **options) as connection:
            yield connection.getresponse()

    @contextmanager
    def connect(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str | None] | None = None,
        version: str | None = "2025-06-01",
        date: str | None = None,
        sign_it: bool = True,
    ) -> Iterator[http.client.HTTPConnection]:
        """A connection over which a request was sent; ``body`` is JSON, or bytes as they are.

        ``None`` for a header leaves it out.
        """
        if version is not None and "api-version=" not in target:
            target += f"{'&' if '?' in target else '?'}api-version={version}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent: dict[str, str | None] = {
            "Host": urlsplit(self.url).netloc,
            "ocp-date": date or email.utils.formatdate(usegmt=True),
        }
        sent |= {"Content-Type": JSON} if body is not None else {}
        sent |= {"Content-Length": str(len(content))} if method not in ("GET", "HEAD") else {}
        sent |= dict(headers or {})
        if sign_it:
            sent.setdefault("Authorization", self._authorization(method, target, sent))
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders()
            if content:
                connection.send(content)
            yield connection
        finally:
            connection.close()

    def _authorization(self, method: str, target: str, headers: Mapping[str, str | None]) -> str:
        given = {name.lower(): value for name, value in headers.items() if value is not None}
        path, _, query = target.partition("?")
        parameters = sorted(part.split("=", 1) for part in query.split("&") if part.partition("=")[2])
        names = ("content-md5", "content-type", "date", "if-modified-since", "if-match", "if-none-match")
        lines = [method, "", "", given.get("content-length", ""), *(given.get(name, "") for name in names)]
        lines += [given.get("if-unmodified-since", ""), given.get("range", "")]
        lines += [f"{name}:{given[name]}" for name in sorted(given) if name.startswith("ocp-")]
        resource = [f"/{self._account}{path}", *(f"{name}:{unquote_plus(value)}" for name, value in parameters)]
        return f"SharedKey {self._account}:{sign(self._key, chr(10).join(lines + resource))}"
