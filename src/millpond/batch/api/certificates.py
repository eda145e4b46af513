"""Operations on certificates, and what references to them must satisfy."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from millpond.common.clock import to_iso

from ..certificates import Certificate
from ..errors import error
from ..store.base import Query
from . import odata
from .http import Answer, Call, changed, created, entity, listing
from .lists import page_of
from .wire import certificates as wire
from .wire.common import NameValuePair
from .wire.fields import maybe, maybe_time
from .wire.pools import CertificateReference

if TYPE_CHECKING:
    from ..service import BatchService

_KEY = re.compile(r"\(thumbprintAlgorithm=([^,]*),\s*thumbprint=([^)]*)\)", re.IGNORECASE)


async def certificate_add(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.CertificateAdd)
    _check_algorithm(request.thumbprint_algorithm)
    public = _public_part(request)
    certificate = Certificate(
        thumbprint=request.thumbprint.lower(),
        format=request.certificate_format or "pfx",
        data=request.data,
        password=request.password or None,
        public_data=base64.b64encode(public).decode(),
        state_transition_time=call.now,
    )
    if not await asyncio.to_thread(service.certificates.add, call.account, certificate):
        raise error("CertificateExists")
    url = _url(call, certificate)
    return created(url, call.now, url)


async def certificate_list(service: BatchService, call: Call) -> Answer:
    what = odata.read_filter(call, "certificates")
    found = [
        (certificate.thumbprint, certificate)
        for certificate in service.certificates.all(call.account)
        if what is None or odata.holds(what, _values(certificate))
    ]
    page, following = page_of(call, found)
    return listing(call, [_content(call, each) for each in page], wire.Certificate, "certificates", following)


def _values(certificate: Certificate) -> dict[str, str | int]:
    return {"state": certificate.state, "state_transition_time": certificate.state_transition_time}


async def certificate_get(service: BatchService, call: Call) -> Answer:
    return entity(call, _content(call, _find(service, call)), wire.Certificate, "certificates")


async def certificate_delete(service: BatchService, call: Call) -> Answer:
    """It goes at once, unless a pool refers to it: then the deletion has failed, until it is cancelled or repeated."""
    certificate = _find(service, call)
    if users := await asyncio.to_thread(lambda: tuple(_users(service, call, certificate))):
        failed = _moved(certificate, "deletefailed", call.now, users)
        await asyncio.to_thread(service.certificates.replace, call.account, failed)
    else:
        await asyncio.to_thread(service.certificates.remove, call.account, certificate.thumbprint)
    return Answer(202)


async def certificate_cancel_deletion(service: BatchService, call: Call) -> Answer:
    certificate = _find(service, call)
    if certificate.state == "active":
        raise error("CertificateStateActive")
    active = _moved(certificate, "active", call.now)
    await asyncio.to_thread(service.certificates.replace, call.account, active)
    return changed(call, 204, call.now)


def check_certificates(
    service: BatchService, call: Call, references: Sequence[CertificateReference] | UnsetType
) -> None:
    """Whether each certificate is there for a pool's nodes. Raises ``InvalidCertificateReferences``."""
    for reference in references or ():
        _check_algorithm(reference.thumbprint_algorithm)
        if service.certificates.get(call.account, reference.thumbprint) is None:
            raise error("InvalidCertificateReferences", ("Thumbprint", reference.thumbprint))


def _check_algorithm(name: str) -> None:
    if name.lower() != "sha1":
        raise error(
            "InvalidPropertyValue",
            ("PropertyName", "thumbprintAlgorithm"),
            ("PropertyValue", name),
            ("Reason", "The algorithm must be sha1."),
        )


def _public_part(request: wire.CertificateAdd) -> bytes:
    """The certificate in DER. Raises ``InvalidPropertyValue`` where it cannot be read, or is another one."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

    try:
        content = base64.b64decode(request.data, validate=True)
        if request.certificate_format == "cer":
            if request.password:
                raise _wrong("password", "Only certificates in pfx have a password.")
            is_text = content.lstrip().startswith(b"-----")
            found = x509.load_pem_x509_certificate(content) if is_text else x509.load_der_x509_certificate(content)
        else:
            password = (request.password or "").encode() or None
            loaded = pkcs12.load_pkcs12(content, password).cert
            if loaded is None:
                raise ValueError("there is no certificate in it")
            found = loaded.certificate
        public = found.public_bytes(Encoding.DER)
    except (ValueError, binascii.Error) as problem:
        raise _wrong("data", f"The certificate cannot be read: {problem}") from None
    if hashlib.sha1(public, usedforsecurity=False).hexdigest() != request.thumbprint.lower():
        raise _wrong("thumbprint", "It is not the thumbprint of the certificate.")
    return public


def _wrong(name: str, reason: str) -> Exception:
    return error("InvalidPropertyValue", ("PropertyName", name), ("Reason", reason))


def _find(service: BatchService, call: Call) -> Certificate:
    """The certificate that the path names. Raises ``CertificateNotFound``."""
    key = _KEY.search(call.url)
    found = key and key[1].lower() == "sha1" and service.certificates.get(call.account, key[2])
    if not found:
        raise error("CertificateNotFound")
    return found


def _users(service: BatchService, call: Call, certificate: Certificate) -> Iterator[str]:
    """Ids of the account's pools that refer to it. Slow."""
    after: str | None = None
    while True:
        page = service.reader.pools(call.account, Query(1000, after=after))
        for pool in page.items:
            for reference in pool.document.get("certificateReferences", ()):
                if reference["thumbprint"].lower() == certificate.thumbprint:
                    yield pool.id
        after = page.next
        if after is None:
            return


def _moved(certificate: Certificate, state: str, now: int, users: tuple[str, ...] = ()) -> Certificate:
    return msgspec.structs.replace(
        certificate,
        state=state,
        state_transition_time=now,
        previous_state=certificate.state,
        previous_state_transition_time=certificate.state_transition_time,
        used_by=users,
    )


def _content(call: Call, certificate: Certificate) -> wire.Certificate:
    problem: wire.DeleteCertificateError | UnsetType = UNSET
    if certificate.used_by:
        problem = wire.DeleteCertificateError(
            code="PoolsReferencingCertificate",
            message="The specified certificate is being used by the below mentioned pool(s)",
            values=[NameValuePair(name="Pools", value=",".join(certificate.used_by))],
        )
    return wire.Certificate(
        thumbprint=certificate.thumbprint,
        thumbprint_algorithm="sha1",
        url=_url(call, certificate),
        state=certificate.state,
        state_transition_time=to_iso(certificate.state_transition_time),
        previous_state=maybe(certificate.previous_state),
        previous_state_transition_time=maybe_time(certificate.previous_state_transition_time),
        public_data=certificate.public_data,
        delete_certificate_error=problem,
    )


def _url(call: Call, certificate: Certificate) -> str:
    return f"{call.base_url}/certificates(thumbprintAlgorithm=sha1,thumbprint={certificate.thumbprint})"
