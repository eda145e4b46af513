"""The local authority that signs a server's certificates, so that clients which insist on https can be used.

It is made on the first start with TLS and kept in the data directory: a client that trusts ``tls/authority.pem``
trusts every later start. The server's own certificate is made anew at each start, for the names it has then.
"""

from __future__ import annotations

import socket
from pathlib import Path

from .config import write_private

#: Where a certificate bundle may lie on systems whose Python was built elsewhere.
_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def authority_file(data: Path) -> Path:
    """The authority's certificate, for clients to trust."""
    return data / "tls" / "authority.pem"


def server_certificate_file(data: Path) -> Path:
    """The server's private key and the chain of its certificate."""
    return data / "tls" / "server.pem"


def issue_certificate(data: Path, host: str) -> None:
    """Make the files of a server that listens on ``host``. Raises ``OSError``, ``ValueError`` for damaged ones."""
    import trustme  # takes a tenth of a second, which only a start with TLS should cost

    directory = authority_file(data).parent
    directory.mkdir(mode=0o700, exist_ok=True)
    key_file = directory / "authority.key"
    if key_file.exists():
        authority = trustme.CA.from_pem(authority_file(data).read_bytes(), key_file.read_bytes())
    else:
        authority = trustme.CA(organization_name="Millpond", organization_unit_name="local authority")
        write_private(authority_file(data), authority.cert_pem.bytes())
        write_private(key_file, authority.private_key_pem.bytes())
    certificate = authority.issue_cert(*_names(host), organization_name="Millpond")
    write_private(server_certificate_file(data), certificate.private_key_and_cert_chain_pem.bytes())


def _names(host: str) -> list[str]:
    """What clients may call the server: by address, and by names with an account's in front."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    names += [f"*.{service}.{domain}" for service in ("blob", "batch") for domain in ("localhost", "core.localhost")]
    if host not in ("", "0.0.0.0", "::"):
        names.append(host)
    return list(dict.fromkeys(names))


def bundle_with(authority: str) -> str:
    """The authorities that this system trusts and one more, in PEM."""
    import ssl  # which a server that starts without TLS need not wait for

    paths = ssl.get_default_verify_paths()
    for candidate in (paths.cafile, paths.openssl_cafile, *_SYSTEM_BUNDLES):
        if candidate and Path(candidate).is_file():
            return f"{Path(candidate).read_text()}\n{authority}"
    return authority
