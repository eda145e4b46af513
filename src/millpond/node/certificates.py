"""A pool's certificates, as its processes find them in ``AZ_BATCH_CERTIFICATES_DIR``.

``sha1-<thumbprint>.pfx`` with its password in ``sha1-<thumbprint>.pfx.pw``, or ``sha1-<thumbprint>.cer``; the process's
user alone may read them.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from typing import NamedTuple

from .cancellation import Cancellation
from .documents import CertificateReference
from .supplies import Supplies
from .users import User


class InstalledCertificate(NamedTuple):
    #: File names and contents.
    files: dict[str, bytes]
    #: Who sees it: ``starttask``, ``task``, ``remoteuser``; empty: everybody.
    visibility: frozenset[str]


def fetch_certificates(references: Iterable[CertificateReference], supplies: Supplies) -> list[InstalledCertificate]:
    """Slow. Raises :class:`~.supplies.SupplyError`, ``ValueError``."""
    installed = []
    for reference in references:
        content = supplies.certificate(reference.thumbprint, Cancellation())
        name = f"sha1-{reference.thumbprint.lower()}.{content.format}"
        files = {name: base64.b64decode(content.data)}
        if content.format == "pfx":
            files[f"{name}.pw"] = (content.password or "").encode()
        seen_by = frozenset(who.lower() for who in reference.visibility or ())
        installed.append(InstalledCertificate(files, seen_by))
    return installed


def write_certificates(
    certificates: Iterable[InstalledCertificate], directory: str, user: User, *, is_start_task: bool
) -> None:
    """Put those that a run may see into ``certs`` of its fresh directory. Raises ``OSError``."""
    who = "starttask" if is_start_task else "task"
    seen = [each.files for each in certificates if not each.visibility or who in each.visibility]
    if not seen:
        return
    place = f"{directory}/certs"
    os.mkdir(place, 0o700)  # noqa: PTH102 - paths of runs are text
    for files in seen:
        for name, content in files.items():
            path = f"{place}/{name}"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            user.credentials.own(path)
    user.credentials.own(place)
