"""Certificates outlive the service, in a file for its owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from millpond.batch import certificates
from millpond.batch.certificates import Certificate, Certificates

ONE = Certificate(thumbprint="ab" * 20, format="cer", data="AA==", public_data="AA==", state_transition_time=1)


def test_changes_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "certificates.json"
    store = Certificates(file)
    assert store.add("alice", ONE)
    assert not store.add("alice", ONE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Certificates(file).get("alice", "AB" * 20) == ONE
    assert Certificates(file).get("bob", ONE.thumbprint) is None
    failed = msgspec.structs.replace(ONE, state="deletefailed", used_by=("pool",))
    store.replace("alice", failed)
    assert Certificates(file).all("alice") == [failed]
    store.remove("alice", ONE.thumbprint)
    assert Certificates(file).all("alice") == []


def test_a_change_that_cannot_be_written_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Certificates(tmp_path / "certificates.json")
    store.add("alice", ONE)

    def fail(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(certificates, "write_private", fail)
    with pytest.raises(OSError, match="no room"):
        store.remove("alice", ONE.thumbprint)
    assert store.get("alice", ONE.thumbprint) == ONE
