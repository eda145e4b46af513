"""Requests written so that one part of the service might see in them what another does not."""

from __future__ import annotations

import base64
import email.utils
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import pytest
from azure.storage.blob import generate_account_sas, generate_container_sas
from tests.servers import Server
from tests.wire.blob.intrusion import BLOCK_BLOB, SECRET, client_of, exchanged, sent, untouched
from tests.wire.blob.permissions import LATER
from tests.wire.blob.raw import VERSION, Answer, RawClient
from tests.wire.blob.tokens import make_token

ALL = "racwdxyltfmeopi"
NO_SIGNATURE = (403, "AuthenticationFailed")


@pytest.fixture(scope="module")
def own(two_accounts: Server) -> RawClient:
    return client_of(two_accounts)


@pytest.fixture(scope="module")
def signature(own: RawClient) -> str:
    """For all that may be done in the container ``cont``."""
    return generate_container_sas(own.account, "cont", account_key=own.key, permission=ALL, expiry=LATER)


@pytest.fixture(autouse=True)
def _untouched(two_accounts: Server) -> Iterator[None]:
    yield
    untouched(two_accounts)


def container_sas(own: RawClient, permission: str, **fields: str) -> str:
    return generate_container_sas(own.account, "cont", own.key, permission=permission, expiry=LATER, **fields)  # type: ignore[arg-type]


# --- twice the same ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "permission", "status"),
    [
        ("GET", "cont?restype=container&comp=list&comp=acl", "l", 200),
        ("GET", "cont?restype=container&comp=acl&comp=list", ALL, 403),
        ("GET", "cont?restype=container&restype=account&comp=list", "l", 200),
        ("GET", "cont?comp=list&COMP=acl&restype=container&RESTYPE=service", "l", 200),
        ("DELETE", "cont?restype=container&comp=&comp=list", "l", 403),
        ("GET", "cont/b?comp=metadata&comp=tags", "r", 200),
        ("GET", "cont/b?comp=tags&comp=metadata", "r", 403),
        ("PUT", "cont/b?comp=metadata&comp=appendblock", "a", 403),
        ("PUT", "cont/b?comp=undelete&comp=tags", "t", 403),
        ("DELETE", "cont/b?comp=&comp=tags", "t", 403),
        ("DELETE", "cont/b?deletetype=permanent&deletetype=", "d", 403),
        ("GET", "cont/b?comp=blocklist&blocklisttype=committed&blocklisttype=all", "r", 200),
    ],
)
def test_of_two_parameters_the_first_is_meant(
    own: RawClient, method: str, path: str, permission: str, status: int
) -> None:
    assert own.send(method, f"{own.path(path)}&{container_sas(own, permission)}").status == status
    assert own.signed("GET", own.path("cont/b")).body == b"open"


def head_of(own: RawClient, method: str, target: str, headers: list[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode("latin-1")


def test_of_two_headers_the_one_that_is_checked_is_used(own: RawClient) -> None:
    here = f"http://{own.host}:{own.port}"
    mine, theirs = f"{here}{own.path('cont/b')}", f"{here}/victim/cont/secret"
    target = own.path("cont/copied")
    date = email.utils.formatdate(usegmt=True)
    for sources in ((mine, theirs), (theirs, mine)):
        signed = {"x-ms-date": date, "x-ms-version": VERSION, "content-length": "0", "x-ms-copy-source": mine}
        headers = [(name, value) for name, value in signed.items() if name != "x-ms-copy-source"]
        headers += [("x-ms-copy-source", source) for source in sources]
        headers += [("Host", f"{own.host}:{own.port}")]
        headers += [("Authorization", f"SharedKey {own.account}:{own.sign('PUT', target, signed)}")]
        answer = exchanged(own, head_of(own, "PUT", target, headers))
        assert answer.split()[1] == (b"202" if sources[-1] == mine else b"403")
        assert own.signed("GET", target).body != SECRET


@pytest.mark.parametrize("name", ["Authorization", "x-ms-date", "Host", "x-ms-version"])
def test_a_second_header_opens_nothing(own: RawClient, name: str) -> None:
    target = "/victim/cont/secret"
    signed = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION}
    headers = {
        **signed,
        "Host": f"{own.host}:{own.port}",
        "Authorization": f"SharedKey {own.account}:{own.sign('GET', target, signed)}",
    }
    others = {
        "Authorization": "SharedKey victim:eA==",
        "x-ms-date": "Mon, 01 Jan 2024 00:00:00 GMT",
        "Host": f"victim.blob.localhost:{own.port}",
        "x-ms-version": "2015-02-21",
    }
    for extra in (others[name], headers[name], ""):
        for doubled in ([*headers.items(), (name, extra)], [(name, extra), *headers.items()]):
            answer = exchanged(own, head_of(own, "GET", target, doubled))
            assert answer.split()[1] in (b"400", b"403", b"404")
            assert SECRET not in answer


# --- other names for the same ------------------------------------------------------------------------------------

REWRITES = {
    "X-Original-URL": "/victim/cont/secret",
    "X-Rewrite-URL": "/victim/cont/secret",
    "x-ms-original-uri": "/victim/cont/secret",
    "X-Forwarded-Host": "victim.blob.localhost",
    "X-Forwarded-Prefix": "/victim",
    "X-Host": "victim.blob.localhost",
    "Forwarded": "for=10.0.0.1;host=victim.blob.localhost;proto=https",
    "X-HTTP-Method-Override": "DELETE",
    "X-Method-Override": "DELETE",
    "x_ms_copy_source": "http://{here}/victim/cont/secret",
    "x_ms_version": "2015-02-21",
    "x-ms-account-name": "victim",
    "Upgrade": "websocket",
    "Upgrade-Insecure-Requests": "1",
}


@pytest.mark.parametrize("header", REWRITES)
def test_no_header_stands_for_the_request_line(own: RawClient, header: str) -> None:
    value = REWRITES[header].format(here=f"{own.host}:{own.port}")
    answer = sent(own, "GET", f"{own.path('cont/b')}?{container_sas(own, 'r')}", {header: value})
    assert answer.split()[1] in (b"200", b"400")
    assert SECRET not in answer
    assert own.signed("GET", own.path("cont/b")).body == b"open"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP", "Forwarded"])
def test_no_header_says_where_a_request_comes_from(own: RawClient, header: str) -> None:
    path = own.path(f"cont/b?{container_sas(own, 'r', ip='10.0.0.1')}")
    value = "for=10.0.0.1" if header == "Forwarded" else "10.0.0.1"
    assert own.send("GET", path, {header: value}).outcome == (403, "AuthorizationSourceIPMismatch")


@pytest.mark.parametrize("header", ["X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "Front-End-Https"])
def test_no_header_says_that_a_request_is_safe(own: RawClient, header: str) -> None:
    path = own.path(f"cont/b?{container_sas(own, 'r', protocol='https')}")
    for value in ("https", "on"):
        assert own.send("GET", path, {header: value}).outcome == (403, "AuthorizationProtocolMismatch")


TARGETS = [
    "http://victim.blob.localhost/cont/secret",
    "http://victim.blob.core.windows.net/cont/secret",
    "http://{here}/victim/cont/secret",
    "HTTP://{here}/{own}/hidden/secret",
    "https://{here}/{own}/hidden/secret",
    "http://{own}:x@{here}/{own}/hidden/secret",
    "http://victim:80/cont/secret",
    "//{here}/victim/cont/secret",
    "///victim/cont/secret",
    "*",
    "/*",
    "{own}/hidden/secret",
    "/{own}/{own}/hidden/secret",
    "/{own}/{own}-secondary/hidden/secret",
    "/{own}-secondary-secondary/hidden/secret",
    "/-secondary/hidden/secret",
    "/{own}.blob/hidden/secret",
    "/hidden/secret",
    "/secret",
    "/",
    "/{own}/",
    "/{own}/%24root/../hidden/secret",
    "/{own}/cont?/../hidden/secret",
    "/{own}/hidden/secret?snapshot=",
]
HOSTS = [
    "victim.blob.localhost",
    "VICTIM.blob.localhost",
    "victim",
    "victim-secondary.blob.localhost",
    "victim@127.0.0.1",
    "127.0.0.1, victim.blob.localhost",
    "victim.blob.localhost#",
    "",
    "..",
    "[::1]",
    "x" * 300,
]


@pytest.mark.parametrize("target", TARGETS)
def test_no_form_of_a_target_leads_elsewhere(own: RawClient, signature: str, target: str) -> None:
    written = target.format(here=f"{own.host}:{own.port}", own=own.account)
    written += f"{'&' if '?' in written else '?'}{signature}"
    for host in ("", *HOSTS):
        for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
            assert SECRET not in sent(own, method, written, {"host": host} if host else {})


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_and_a_path_with_two_accounts_are_of_the_host(two_accounts: Server, own: RawClient, host: str) -> None:
    """Signed by either account's key for what it may be taken for, no request of one opens the other's."""
    victim = client_of(two_accounts, "victim")
    for raw, path in ((own, "/victim/cont/secret"), (own, "/cont/secret"), (victim, own.path("hidden/secret"))):
        signed = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION, "content-length": "0"}
        authorization = f"SharedKey {raw.account}:{raw.sign('GET', path, signed)}"
        answer = sent(own, "GET", path, {**signed, "authorization": authorization, "host": host})
        assert SECRET not in answer


def test_what_is_no_account_is_in_the_signers(two_accounts: Server, own: RawClient) -> None:
    victim = client_of(two_accounts, "victim")
    assert own.signed("GET", "/cont/b").body == b"open"
    assert victim.signed("GET", "/cont/b").outcome == (404, "BlobNotFound")
    assert own.signed("GET", "/cont/secret").outcome == (404, "BlobNotFound")
    assert own.send("GET", "/cont/b").status == 404
    forged = f"SharedKey victim:{base64.b64encode(os.urandom(32)).decode()}"
    date = email.utils.formatdate(usegmt=True)
    assert own.send("GET", "/cont/secret", {"authorization": forged, "x-ms-date": date}).outcome == NO_SIGNATURE


def test_the_secondary_is_for_reads_by_the_same_rights(own: RawClient, signature: str) -> None:
    second = f"/{own.account}-secondary/cont/b"
    assert own.send("GET", f"{second}?{signature}").body == b"open"
    assert own.send("GET", f"/{own.account}-secondary/hidden/secret?{signature}").outcome == NO_SIGNATURE
    for method, query in (("PUT", "comp=metadata"), ("DELETE", ""), ("PUT", "comp=lease")):
        answer = own.send(method, f"{second}?{query}&{signature}", {"content-length": "0"})
        assert answer.outcome == (403, "InsufficientAccountPermissions")
    answer = own.send("PUT", f"{second}?{signature}", {**BLOCK_BLOB, "content-length": "0"})
    assert answer.outcome == (403, "InsufficientAccountPermissions")
    assert own.send("GET", "/victim-secondary/cont/secret").outcome == (404, "ResourceNotFound")


# --- framing -----------------------------------------------------------------------------------------------------


def test_no_request_hides_in_another(own: RawClient, signature: str) -> None:
    """What follows a body is a request of its own, which has to be signed; what is ambiguous is refused."""
    hidden = f"GET {own.path('hidden/secret')} HTTP/1.1\r\nHost: x\r\n\r\n"
    start = f"PUT {own.path('cont/framed')}?{signature} HTTP/1.1\r\nHost: x\r\nx-ms-blob-type: BlockBlob\r\n"
    framings = [
        f"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}",
        f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
        f"Content-Length: {len(hidden)}\r\nContent-Length: 0\r\n\r\n{hidden}",
        f"Content-Length: +{len(hidden)}\r\n\r\n{hidden}",
        f"Content-Length: 0x10\r\n\r\n{hidden}",
        f"Content-Length : 0\r\n\r\n{hidden}",
        f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}",
        f"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n{hidden}",
        f"Content-Length: 0\r\nX: a\n\n{hidden}",
        f"Content-Length: 0\r\nX: a\r\n b: c\r\n\r\n{hidden}",
        f"Content-Length: 0\r\n Authorization: x\r\n\r\n{hidden}",
        f"Content-Length: 0\r\nX: a\x00b\r\n\r\n{hidden}",
        f"Content-Length: 0\r\nX: a\rb\r\n\r\n{hidden}",
        f"Content-Length: 0\r\n: empty\r\n\r\n{hidden}",
    ]
    last = f"GET {own.path('cont/none')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for framing in framings:
        answer = exchanged(own, (start + framing + last).encode("latin-1"))
        assert SECRET not in answer
    assert own.signed("GET", own.path("cont/b")).body == b"open"


def test_a_folded_header_is_checked_as_it_is_used(own: RawClient) -> None:
    source = f"http://{own.host}:{own.port}/victim/cont/secret"
    date = email.utils.formatdate(usegmt=True)
    target = own.path("cont/folded")
    signed = {"x-ms-date": date, "x-ms-version": VERSION, "content-length": "0", "x-ms-copy-source": source}
    authorization = f"SharedKey {own.account}:{own.sign('PUT', target, signed)}"
    lines = [f"{name}: {value}" for name, value in signed.items() if name != "x-ms-copy-source"]
    lines += [f"x-ms-copy-source:\r\n {source}", f"Authorization: {authorization}", "Host: x", "Connection: close"]
    answer = exchanged(own, f"PUT {target} HTTP/1.1\r\n{chr(13).join(lines)}\r\n\r\n".encode())
    assert answer.split()[1].startswith(b"4")
    answer = exchanged(own, ("\r\n".join([f"PUT {target} HTTP/1.1", *lines]) + "\r\n\r\n").encode())
    assert answer.split()[1].startswith(b"4")
    assert own.signed("HEAD", target).status == 404


# --- batches -----------------------------------------------------------------------------------------------------


def batch(own: RawClient, path: str, parts: list[tuple[str, dict[str, str]]]) -> Answer:
    """Deletions by target and headers, in one request by whoever may do what ``path`` says."""
    body = ""
    for target, headers in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Content-Length": "0", **headers}.items())
        body += f"--b\r\nContent-Type: application/http\r\n\r\nDELETE {target} HTTP/1.1\r\n{lines}\r\n\r\n"
    body += "--b--\r\n"
    headers = {"content-type": "multipart/mixed; boundary=b", "content-length": str(len(body))}
    return own.send("POST", path, headers, body.encode())


PARTS = [
    "/victim/cont/secret",
    "/victim-secondary/cont/secret",
    "/{own}/hidden/secret",
    "/{own}/cont/../hidden/secret",
    "/{own}/cont/..%2fhidden%2fsecret",
    "/hidden/secret",
    "/cont/../hidden/secret",
    "//hidden/secret",
    "/{own}//hidden/secret",
    "http://{here}/{own}/hidden/secret",
    "/{own}-secondary/hidden/secret",
    "/{own}/hidden/secret?comp=",
    "/{own}/hidden?restype=container",
    "/hidden?restype=container",
]


@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_a_batch_has_more_rights_than_its_own_signature(own: RawClient, signature: str, part: str) -> None:
    target = part.format(own=own.account, here=f"{own.host}:{own.port}")
    in_cont = own.path(f"cont?restype=container&comp=batch&{signature}")
    everything = generate_account_sas(own.account, own.key, "sco", ALL, LATER, services="b")
    whole = own.path(f"?comp=batch&{everything}")
    query = f"{'&' if '?' in target else '?'}{signature}"
    for path in (in_cont, whole):
        for written in (target, target + query):
            for headers in ({}, {"Host": "victim.blob.localhost"}, {"Host": f"{own.account}.blob.localhost"}):
                answer = batch(own, path, [(written, headers)])
                assert answer.status in (202, 400)
                assert b"HTTP/1.1 2" not in answer.body
    # Nor by the rights of the batch as a whole, or of a part beside it.
    answer = batch(own, whole, [(own.path(f"cont/none?{signature}"), {}), (target, {})])
    assert b"HTTP/1.1 2" not in answer.body


def test_a_batch_needs_rights_of_its_own(own: RawClient, signature: str) -> None:
    reading = container_sas(own, "rl")
    part = (own.path(f"cont/none?{signature}"), {"Content-Length": "0"})
    assert batch(own, own.path(f"cont?restype=container&comp=batch&{reading}"), [part]).status == 403
    assert batch(own, own.path("cont?restype=container&comp=batch"), [part]).status == 401
    assert batch(own, own.path(f"?comp=batch&{signature}"), [part]).outcome == NO_SIGNATURE
    assert batch(own, own.path(f"hidden?restype=container&comp=batch&{signature}"), [part]).outcome == NO_SIGNATURE


# --- copies ------------------------------------------------------------------------------------------------------

SOURCES = [
    "http://{here}/victim/cont/secret",
    "http://{here}/{own}/hidden/secret",
    "http://{here}/hidden/secret",
    "http://{own}.blob.localhost:{port}/hidden/secret",
    "http://{own}.localhost:{port}/hidden/secret",
    "http://LOCALHOST:{port}/{own}/hidden/secret",
    "http://0.0.0.0:{port}/{own}/hidden/secret",
    "http://[::ffff:127.0.0.1]:{port}/{own}/hidden/secret",
    "http://127.1:{port}/{own}/hidden/secret",
    "http://2130706433:{port}/{own}/hidden/secret",
    "http://0x7f000001:{port}/{own}/hidden/secret",
    "http://127.0.0.1.:{port}/{own}/hidden/secret",
    "https://{here}/{own}/hidden/secret",
    "https://{own}.blob.core.windows.net/hidden/secret",
    "https://{own}-secondary.blob.core.windows.net/hidden/secret",
    "http://{own}:{own}@{here}/{own}/hidden/secret",
    "http://{here}/{own}/cont/../hidden/secret",
    "http://{here}/{own}-secondary/hidden/secret",
    "http://{here}/{own}/hidden/secret#",
    "http://{here}\\@victim/{own}/hidden/secret",
]
COPYING = [
    ("", {}),
    ("", {"x-ms-requires-sync": "true"}),
    ("", {"x-ms-blob-type": "BlockBlob"}),
    ("comp=block&blockid=QQ%3D%3D", {}),
    ("comp=incrementalcopy", {}),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("operation", COPYING, ids=str)
def test_whoever_may_write_copies_nothing_that_is_hidden(
    own: RawClient, signature: str, source: str, operation: tuple[str, dict[str, str]]
) -> None:
    query, headers = operation
    url = source.format(here=f"{own.host}:{own.port}", port=own.port, own=own.account)
    target = own.path("cont/taken")
    elsewhere = [url, f"{url}?{signature}"]
    asked = [{}, {"x-ms-copy-source-authorization": f"SharedKey {own.account}:eA=="}]
    for written in elsewhere:
        for more in asked:
            full = {**headers, **more, "x-ms-copy-source": written, "content-length": "0"}
            answer = own.send("PUT", f"{target}?{query}&{signature}", full)
            assert 400 <= answer.status < 500, answer.outcome
    assert own.signed("GET", target).body != SECRET


def test_a_token_is_taken_from_no_request_that_came_in_the_clear(two_accounts: Server, own: RawClient) -> None:
    """Whatever the URL says that it would have come over."""
    token = make_token(two_accounts)
    url = f"https://{own.account}.blob.core.windows.net/cont/b"
    for scheme in ("https", "http"):
        for source in (url, f"{scheme}://{own.host}:{own.port}{own.path('cont/b')}"):
            headers = {"x-ms-copy-source": source, "x-ms-copy-source-authorization": f"Bearer {token}"}
            answer = own.signed("PUT", own.path("cont/by-token"), {**headers, "x-ms-requires-sync": "true"})
            assert answer.status == 403, answer.outcome
            assert token not in answer.body.decode()
    # A signature for https alone is for the way to the source, which is none.
    signature = container_sas(own, "r", protocol="https")
    headers = {"x-ms-copy-source": f"{url}?{signature}", "x-ms-requires-sync": "true"}
    assert own.signed("PUT", own.path("cont/by-token"), headers).status == 202


# --- secrets -----------------------------------------------------------------------------------------------------

PLANTED = "cGxhbnRlZCBzaWduYXR1cmU"


class _Source(BaseHTTPRequestHandler):
    """The content of whoever looks at it first, and a refusal after that."""

    seen = 0

    def do_GET(self) -> None:
        type(self).seen += 1
        if type(self).seen > 1:
            self.send_error(403, "Forbidden")
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def source_elsewhere() -> Iterator[int]:
    _Source.seen = 0
    with HTTPServer(("127.0.0.1", 0), _Source) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_copy_that_failed_tells_no_secret(two_accounts: Server, own: RawClient) -> None:
    target = own.path("cont/failed")
    with source_elsewhere() as port:
        url = f"http://somebody:passw0rd@127.0.0.1:{port}/x?snapshot=s&sv=1&sig={PLANTED}%3D"
        assert own.signed("PUT", target, {"x-ms-copy-source": url}).status == 202
        for _ in range(100):
            found = own.signed("HEAD", target)
            if found.headers["x-ms-copy-status"] != "pending":
                break
            time.sleep(0.05)
    assert found.headers["x-ms-copy-status"] == "failed"
    assert "403" in found.headers["x-ms-copy-status-description"]
    assert found.headers["x-ms-copy-source"] == f"http://127.0.0.1:{port}/x?snapshot=s"
    listed = own.signed("GET", own.path("cont?restype=container&comp=list&include=copy")).body.decode()
    log = two_accounts.log.read_text()
    for text in (str(found.headers), listed, log):
        assert PLANTED not in text
        assert "passw0rd" not in text


def planted(own: RawClient) -> Iterator[Answer]:
    """Answers to requests that fail, and have a signature somewhere."""
    sas = f"sv=2021-12-02&sr=c&sp=rw&se=2099-01-01&sig={PLANTED}%3D"
    source = f"http://127.0.0.1:1/x?{sas}"
    blob = own.path("cont/planted")
    user = "&skoid=x&sktid=y&skt=2020-01-01&ske=2099-01-01&sks=b&skv=2020-01-01"
    for query in (sas, sas + user, sas.upper(), sas.replace("sig=", "sig%3D"), f"{sas}&comp={quote(f'sig={PLANTED}')}"):
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            yield own.send(method, f"{blob}?{query}", {**BLOCK_BLOB, "content-length": "0"})
    for name in ("snapshot", "versionid", "comp", "restype", "marker", "maxresults", "include", "where", "deletetype"):
        for path in ("cont/planted", "cont"):
            query = f"{name}={quote(f'?sig={PLANTED}=')}" + ("&comp=list&restype=container" if path == "cont" else "")
            yield own.signed("GET", own.path(f"{path}?{query}"))
    wrong = RawClient(own.host, own.port, own.account, base64.b64encode(b"wrong").decode())
    for client in (own, wrong):
        for headers in (
            {},
            {"x-ms-requires-sync": "true"},
            {"x-ms-requires-sync": f"sig={PLANTED}"},
            {"x-ms-blob-type": "BlockBlob"},
            {"x-ms-copy-source-authorization": f"Bearer {PLANTED}"},
            {"x-ms-copy-source-authorization": f"SharedKey {own.account}:{PLANTED}"},
            {"x-ms-copy-source-authorization": f"Bearer {PLANTED}", "x-ms-requires-sync": "true"},
            {"x-ms-source-encryption-key": PLANTED, "x-ms-source-encryption-algorithm": "AES256"},
            {"x-ms-encryption-key": PLANTED},
            {
                "x-ms-encryption-key": PLANTED,
                "x-ms-encryption-key-sha256": "eA==",
                "x-ms-encryption-algorithm": "AES256",
            },
        ):
            yield client.signed("PUT", blob, {"x-ms-copy-source": source, **headers})
        yield client.signed("PUT", blob, {"x-ms-copy-source": f"ftp://h/x?{sas}"})
        yield client.signed("PUT", f"{blob}?comp=block&blockid=QQ%3D%3D", {"x-ms-copy-source": source})
        yield client.signed("PUT", f"{blob}?comp=incrementalcopy", {"x-ms-copy-source": source})
    for authorization in (f"Bearer {PLANTED}", f"SharedKey {own.account}:{PLANTED}", f"Basic {PLANTED}", PLANTED):
        date = email.utils.formatdate(usegmt=True)
        yield own.send("GET", blob, {"authorization": authorization, "x-ms-date": date})
    part = (own.path(f"cont/planted?{sas}"), {"Content-Length": "0"})
    everything = generate_account_sas(own.account, own.key, "sco", ALL, LATER, services="b")
    yield batch(own, own.path(f"?comp=batch&{everything}"), [part, (part[0], {"Authorization": f"Bearer {PLANTED}"})])
    yield batch(own, own.path(f"?comp=batch&{everything}"), [("x?" + sas, {})])


def test_no_answer_and_no_log_tells_a_secret(two_accounts: Server, own: RawClient) -> None:
    for answer in planted(own):
        assert answer.status < 500
        told = answer.body.decode() + str(answer.headers)
        assert PLANTED not in told
        assert own.key not in told
    log = two_accounts.log.read_text()
    for secret in (PLANTED, "sig=", own.key, client_of(two_accounts, "victim").key):
        assert secret not in log
    assert "Traceback" not in log
