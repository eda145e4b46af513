"""A client of any Blob service that costs little itself: SAS URLs, ``sendfile``, wrk."""

from __future__ import annotations

import datetime
import http.client
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobClient as AzureBlobClient
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from .environments import system_program

_VERSION = "2021-12-02"
_NEXT_MARKER = re.compile(rb"<NextMarker>(.+?)</NextMarker>")


class BlobClient(NamedTuple):
    """``url`` ends with the account's name."""

    url: str
    account: str
    key: str

    def new_container(self, name: str) -> Container:
        credential = AzureNamedKeyCredential(self.account, self.key)
        with BlobServiceClient(self.url, credential=credential, api_version=_VERSION) as service:
            service.create_container(name)
        sas = generate_container_sas(
            self.account,
            name,
            account_key=self.key,
            permission=ContainerSasPermissions.from_string("racwdl"),
            expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1),
        )
        return Container(f"{self.url}/{name}", sas)


class Container(NamedTuple):
    url: str
    sas: str

    def _path(self, blob: str) -> str:
        return f"{urlsplit(self.url).path}/{blob}?{self.sas}"

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc)

    def upload(self, blob: str, file: Path) -> None:
        """One Put Blob, the file sent by the kernel."""
        connection = self._connect()
        connection.putrequest("PUT", self._path(blob))
        for name, value in _put_headers(file.stat().st_size).items():
            connection.putheader(name, value)
        connection.endheaders()
        assert isinstance(connection.sock, socket.socket)
        with file.open("rb") as content:
            connection.sock.sendfile(content)
        _expect(connection, 201)
        connection.close()

    def download(self, blob: str, first: int = 0, last: int | None = None) -> int:
        """Get a blob or a range of it and drop it; the count of bytes."""
        connection = self._connect()
        headers = {"x-ms-version": _VERSION}
        if last is not None:
            headers["x-ms-range"] = f"bytes={first}-{last}"
        connection.request("GET", self._path(blob), headers=headers)
        response = connection.getresponse()
        assert response.status in (200, 206), response.read()
        buffer, count = memoryview(bytearray(1 << 20)), 0
        while read := response.readinto(buffer):
            count += read
        connection.close()
        return count

    def put_small(self, names: Iterator[str], content: bytes) -> None:
        """Put Blob, one after the other over one connection."""
        connection = self._connect()
        for name in names:
            connection.request("PUT", self._path(name), content, _put_headers(len(content)))
            _expect(connection, 201)
        connection.close()

    def pages(self, prefix: str = "", delimiter: str = "") -> Iterator[int]:
        """Go through the list of blobs; how many items each page has, which are counted and not parsed."""
        connection, marker = self._connect(), ""
        path = f"{urlsplit(self.url).path}?restype=container&comp=list&{self.sas}"
        path += f"&prefix={quote(prefix)}&delimiter={quote(delimiter)}" if delimiter else ""
        while True:
            connection.request("GET", f"{path}&marker={quote(marker)}", headers={"x-ms-version": _VERSION})
            page = _expect(connection, 200)
            yield page.count(b"<Blob>") + page.count(b"<BlobPrefix>")
            following = _NEXT_MARKER.search(page, max(0, len(page) - 4096))
            if not following:
                connection.close()
                return
            marker = following[1].decode()

    def upload_by_sdk(self, blob: str, file: Path, concurrency: int) -> None:
        with self._sdk(blob) as client, file.open("rb") as content:
            client.upload_blob(content, overwrite=True, max_concurrency=concurrency)

    def download_by_sdk(self, blob: str, concurrency: int) -> int:
        with self._sdk(blob) as client, Path("/dev/null").open("wb") as sink:
            return client.download_blob(max_concurrency=concurrency).readinto(sink)

    def _sdk(self, blob: str) -> AzureBlobClient:
        return AzureBlobClient.from_blob_url(f"{self.url}/{blob}", credential=self.sas, api_version=_VERSION)

    def upload_by_curl(self, blob: str, file: Path) -> None:
        headers = ["-H", "x-ms-blob-type: BlockBlob", "-H", f"x-ms-version: {_VERSION}", "-H", "Expect:"]
        self._curl(blob, "-T", str(file), *headers)

    def download_by_curl(self, blob: str) -> None:
        self._curl(blob, "-H", f"x-ms-version: {_VERSION}")

    def _curl(self, blob: str, *arguments: str) -> None:
        command = [system_program("curl"), "--silent", "--show-error", "--fail", "--output", "/dev/null", *arguments]
        subprocess.run([*command, f"{self.url}/{blob}?{self.sas}"], check=True)

    def rate(self, script: str, seconds: int, connections: int) -> float:
        """Requests per second that wrk makes by a Lua script, in which ``PATH`` and ``SAS`` stand for this container's.

        Raises ``AssertionError`` where any of them failed.
        """
        parts = urlsplit(self.url)
        lua = script.replace("PATH", parts.path).replace("SAS", self.sas)
        lua += (
            '\ndone = function(summary) io.write("errors: ", summary.errors.status + summary.errors.read, "\\n") end\n'
        )
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:  # not a pipe: wrk reads it more than once
            file.write(lua)
            file.flush()
            command = [system_program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name]
            done = subprocess.run([*command, f"http://{parts.netloc}/"], capture_output=True, text=True, check=True)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        assert rate and "errors: 0\n" in done.stdout, done.stdout
        return float(rate[1])


def _put_headers(length: int) -> dict[str, str]:
    return {"x-ms-blob-type": "BlockBlob", "x-ms-version": _VERSION, "Content-Length": str(length)}


def _expect(connection: http.client.HTTPConnection, status: int) -> bytes:
    response = connection.getresponse()
    body = response.read()
    assert response.status == status, f"{response.status}: {body[:500]!r}"
    return body
