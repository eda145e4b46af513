"""Passwords as ``/etc/shadow`` keeps them, by the system's own ``crypt``."""

from __future__ import annotations

import ctypes
import secrets

_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_SALT = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class NoCryptError(OSError):
    """The machine has no library that could hash a password, and so no program that could check one."""


def hash_password(password: str) -> str:
    """SHA-512 in ``crypt``'s form. Raises :class:`NoCryptError`; not for several threads at a time."""
    salt = "".join(secrets.choice(_SALT) for _ in range(16))
    hashed = _crypt()(password.encode(), f"$6${salt}".encode())
    if not hashed or not hashed.startswith(b"$6$"):
        raise NoCryptError("the system's crypt does not know SHA-512")
    return bytes(hashed).decode()


def _crypt() -> ctypes._NamedFuncPointer:
    for name in _LIBRARIES:
        try:
            crypt = ctypes.CDLL(name).crypt
        except (OSError, AttributeError):
            continue
        crypt.argtypes, crypt.restype = (ctypes.c_char_p, ctypes.c_char_p), ctypes.c_char_p
        return crypt
    raise NoCryptError("there is no libcrypt")
