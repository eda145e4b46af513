from __future__ import annotations

import sys

import pytest

from millpond.node.passwords import NoCryptError, _crypt, hash_password


@pytest.mark.skipif(sys.platform != "linux", reason="nodes have users of their own on Linux only")
@pytest.mark.parametrize("password", ["secret", "ünïcode", "x" * 200, "with:colon and 'quotes'"])
def test_hash_is_what_the_system_checks_passwords_by(password: str) -> None:
    try:
        crypt = _crypt()
    except NoCryptError as problem:
        pytest.skip(str(problem))
    hashed = hash_password(password)
    assert hashed.startswith("$6$")
    assert ":" not in hashed
    assert crypt(password.encode(), hashed.encode()) == hashed.encode()
    assert crypt(b"another", hashed.encode()) != hashed.encode()
    assert hash_password(password) != hashed
