"""The certificates of the Batch accounts, which old versions of the API put on nodes.

They are kept in one file that only its owner may read (mode 0600), because private keys and passwords are among them.
Every change replaces the file in one step.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import msgspec

from millpond.common.config import write_private


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    thumbprint: str
    format: Literal["pfx", "cer"]
    #: As its client sent it, in base64.
    data: str
    password: str | None = None
    #: The certificate without its private key: DER in base64.
    public_data: str
    state: Literal["active", "deletefailed"] = "active"
    state_transition_time: int
    previous_state: Literal["active", "deleting", "deletefailed"] | None = None
    previous_state_transition_time: int | None = None
    #: Keys of the pools that kept it from being deleted.
    used_by: tuple[str, ...] = ()


class Certificates:
    """By account and thumbprint, whose case does not matter. Changes are slow: not for the event loop."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._content: dict[str, dict[str, Certificate]] = {}
        if file.exists():
            self._content = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Certificate]])

    def all(self, account: str) -> list[Certificate]:
        return [certificate for _, certificate in sorted(self._content.get(account, {}).items())]

    def get(self, account: str, thumbprint: str) -> Certificate | None:
        return self._content.get(account, {}).get(thumbprint.lower())

    def add(self, account: str, certificate: Certificate) -> bool:
        """Add it, unless there is one of its thumbprint; returns whether there was none."""
        with self._lock:
            if self.get(account, certificate.thumbprint) is not None:
                return False
            self._put(account, certificate.thumbprint, certificate)
        return True

    def replace(self, account: str, certificate: Certificate) -> None:
        with self._lock:
            self._put(account, certificate.thumbprint, certificate)

    def remove(self, account: str, thumbprint: str) -> None:
        with self._lock:
            self._put(account, thumbprint, None)

    def _put(self, account: str, thumbprint: str, certificate: Certificate | None) -> None:
        own = {key: value for key, value in self._content.get(account, {}).items() if key != thumbprint.lower()}
        if certificate is not None:
            own[thumbprint.lower()] = certificate
        content = {**self._content, account: own}
        write_private(self._file, msgspec.json.encode(content))
        self._content = content
