"""Certificates, which API versions until 2024-02-01 have: by an SDK of that time, and on a node."""

from __future__ import annotations

import base64
import datetime
import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from tests.clients import run_client
from tests.servers import Server
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient, Reply

VERSION = "2023-05-01.17.0"
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def certificates() -> dict[str, dict[str, Any]]:
    """A certificate with its key (``pfx``), and another without (``cer``), as requests have them."""
    found = {}
    for kind in ("pfx", "cer"):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, kind)])
        day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(days=9999))
        certificate = builder.sign(key, hashes.SHA256())
        data = der = certificate.public_bytes(Encoding.DER)
        if kind == "pfx":
            encryption = BestAvailableEncryption(PASSWORD.encode())
            data = pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, encryption)
        found[kind] = {
            "thumbprint": hashlib.sha1(der).hexdigest(),
            "thumbprintAlgorithm": "sha1",
            "certificateFormat": kind,
            "data": base64.b64encode(data).decode(),
        } | ({"password": PASSWORD} if kind == "pfx" else {})
    return found


def _ask(raw: RawClient, method: str, target: str, body: Any = None) -> Reply:
    return raw.send(method, target, body, version=VERSION)


def _path(certificate: dict[str, Any], action: str = "") -> str:
    return f"/certificates(thumbprintAlgorithm=sha1,thumbprint={certificate['thumbprint']}){action}"


_SDK = """
import os, sys
from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

key = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
thumbprint, data = sys.argv[1:]
with BatchServiceClient(key, os.environ["BATCH_ACCOUNT_URL"]) as client:
    new = models.CertificateAddParameter(
        thumbprint=thumbprint, thumbprint_algorithm="sha1", data=data, certificate_format="cer")
    client.certificate.add(new)
    print([each.thumbprint == thumbprint for each in client.certificate.list()])
    print(client.certificate.get("sha1", thumbprint).state.value)
    client.certificate.delete("sha1", thumbprint)
    try:
        client.certificate.get("sha1", thumbprint)
    except models.BatchErrorException as problem:
        print(problem.error.code)
"""


def test_an_sdk_adds_and_deletes(server: Server, certificates: dict[str, Any], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SDK)
    cer = certificates["cer"]
    done = run_client("batch-14.2.0", script, cer["thumbprint"], cer["data"], env=server.credentials)
    assert done.stdout.splitlines() == ["[True]", "active", "CertificateNotFound"]


def test_wrong_certificates_are_refused(raw: RawClient, certificates: dict[str, Any]) -> None:
    pfx, cer = certificates["pfx"], certificates["cer"]
    for wrong, name in [
        (cer | {"thumbprintAlgorithm": "md5"}, "thumbprintAlgorithm"),
        (cer | {"thumbprint": pfx["thumbprint"]}, "thumbprint"),
        (cer | {"data": "AAAA"}, "data"),
        (cer | {"data": "not base64"}, "data"),
        (cer | {"password": "x"}, "password"),
        (pfx | {"password": "wrong"}, "data"),
        (pfx | {"data": cer["data"]}, "data"),
    ]:
        refused = _ask(raw, "POST", "/certificates", wrong)
        assert (refused.status, refused.code, refused.values["PropertyName"]) == (400, "InvalidPropertyValue", name)
    assert _ask(raw, "GET", _path(cer)).code == "CertificateNotFound"
    pool = make.pool("no", certificateReferences=[{"thumbprint": "ab" * 20, "thumbprintAlgorithm": "sha1"}])
    assert _ask(raw, "POST", "/pools", pool).code == "InvalidCertificateReferences"
    assert raw.send("GET", "/certificates").code == "UnsupportedRequestVersion"


def test_a_certificate_reaches_the_processes_that_may_see_it(
    server: Server, raw: RawClient, certificates: dict[str, Any]
) -> None:
    for certificate in certificates.values():
        assert _ask(raw, "POST", "/certificates", certificate).status == 201
    pfx, cer = certificates["pfx"], certificates["cer"]
    assert _ask(raw, "POST", "/certificates", pfx).code == "CertificateExists"
    assert stat.S_IMODE((server.data / "batch" / "certificates.json").stat().st_mode) == 0o600
    answer = _ask(raw, "GET", _path(pfx))
    assert PASSWORD not in answer.body.decode()
    assert pfx["data"] not in answer.body.decode()
    references = [
        {"thumbprint": pfx["thumbprint"].upper(), "thumbprintAlgorithm": "SHA1", "visibility": ["task"]},
        {"thumbprint": cer["thumbprint"], "thumbprintAlgorithm": "sha1", "visibility": ["starttask"]},
    ]
    show = "/bin/sh -c 'cd $AZ_BATCH_CERTIFICATES_DIR && stat -c \"%n %a\" * && cat *.pw; true'"
    start = {"commandLine": show, "waitForSuccess": True}
    pool = make.pool("certified", nodes=1, certificateReferences=references, startTask=start)
    assert _ask(raw, "POST", "/pools", pool).status == 201
    _ask(raw, "POST", "/jobs", make.job("certified", "certified"))
    _ask(raw, "POST", "/jobs/certified/tasks", make.task("t", show))
    make.wait_for_task(raw, "certified", "t")
    output = raw.send("GET", "/jobs/certified/tasks/t/files/stdout.txt").body.decode().splitlines()
    file = f"sha1-{pfx['thumbprint']}.pfx"
    assert output == [f"{file} 600", f"{file}.pw 600", PASSWORD]
    node = raw.send("GET", "/pools/certified/nodes").content["value"][0]["id"]
    started = raw.send("GET", f"/pools/certified/nodes/{node}/files/startup/stdout.txt").body.decode().split()
    assert started == [f"sha1-{cer['thumbprint']}.cer", "600"]

    assert _ask(raw, "DELETE", _path(pfx)).status == 202
    failed = _ask(raw, "GET", _path(pfx)).content
    del failed["odata.metadata"]
    assert (failed["state"], failed["previousState"]) == ("deletefailed", "active")
    assert failed["deleteCertificateError"]["values"] == [{"name": "Pools", "value": "certified"}]
    assert _ask(raw, "GET", "/certificates?$filter=state%20eq%20'deletefailed'").content["value"] == [failed]
    assert _ask(raw, "POST", _path(pfx, "/canceldelete")).status == 204
    assert _ask(raw, "POST", _path(pfx, "/canceldelete")).code == "CertificateStateActive"
    raw.send("DELETE", "/jobs/certified")
    raw.send("DELETE", "/pools/certified")
    make.wait_for(lambda: raw.send("GET", "/pools/certified").status == 404)
    assert _ask(raw, "DELETE", _path(pfx)).status == 202
    assert _ask(raw, "GET", _path(pfx)).code == "CertificateNotFound"
