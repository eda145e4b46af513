"""The applications of a data directory: what is said is kept, and a change that was cut short did not happen."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from millpond.batch import applications
from millpond.batch.applications import Applications, PackageError, directory_name

NOW = 1_700_000_000_000_000


def _zip(path: Path, content: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file", content)
    return path


def _files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"lock", "index.json"}


def test_another_process_sees_a_change_at_once(tmp_path: Path) -> None:
    writer, reader = Applications(tmp_path / "apps"), Applications(tmp_path / "apps")
    assert reader.all("alice") == []
    source = _zip(tmp_path / "a.zip", "a")
    writer.add("alice", "Tool", "1.0", source, NOW, is_default=True, display_name="A tool")
    application = reader.get("alice", "TOOL")
    assert (application.id, application.display_name) == ("Tool", "A tool")
    digest = application.package(None).digest
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
    assert reader.file("alice", digest).read_bytes() == source.read_bytes()
    assert directory_name(application, application.package("1.0")) == f"Tool1.02023-11-14-22-13-{digest[:8]}"
    with pytest.raises(PackageError):
        reader.get("bob", "tool")
    with pytest.raises(PackageError):
        reader.file("bob", digest)
    writer.remove("alice", "tool")
    assert reader.all("alice") == []
    assert _files(tmp_path / "apps") == set()


def test_packages_share_content_and_the_last_one_takes_it_along(tmp_path: Path) -> None:
    store = Applications(tmp_path / "apps")
    source = _zip(tmp_path / "a.zip", "a")
    for version in ("1", "2"):
        store.add("alice", "tool", version, source, NOW)
    assert len(_files(tmp_path / "apps")) == 1
    store.remove("alice", "tool", "1")
    assert len(_files(tmp_path / "apps")) == 1
    store.add("alice", "tool", "2", _zip(tmp_path / "b.zip", "b"), NOW)
    assert len(_files(tmp_path / "apps")) == 1
    store.remove("alice", "tool", "2")
    assert _files(tmp_path / "apps") == set()
    assert store.get("alice", "tool").packages == {}


def test_the_default_goes_with_its_package(tmp_path: Path) -> None:
    store = Applications(tmp_path / "apps")
    source = _zip(tmp_path / "a.zip", "a")
    store.add("alice", "tool", "RC", source, NOW)
    with pytest.raises(PackageError, match="no default"):
        store.get("alice", "tool").package(None)
    store.set_default("alice", "tool", "rc")
    assert store.get("alice", "tool").package(None).version == "RC"
    store.remove("alice", "tool", "rc")
    assert store.get("alice", "tool").default_version is None


def test_versions_that_may_not_be_replaced(tmp_path: Path) -> None:
    store = Applications(tmp_path / "apps")
    store.add("alice", "tool", "1", _zip(tmp_path / "a.zip", "a"), NOW, allow_updates=False)
    with pytest.raises(PackageError, match="may not be replaced"):
        store.add("alice", "tool", "1", _zip(tmp_path / "b.zip", "b"), NOW)
    store.add("alice", "tool", "2", tmp_path / "b.zip", NOW)
    assert set(store.get("alice", "tool").packages) == {"1", "2"}


@pytest.mark.parametrize("step", ["_check_zip", "write_private"])
def test_a_change_that_is_cut_short_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    store = Applications(tmp_path / "apps")
    store.add("alice", "tool", "1", _zip(tmp_path / "a.zip", "a"), NOW)
    before = _files(tmp_path / "apps")

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(applications, step, die)
        patch.setattr(Applications, "_sweep", lambda _: None)  # a killed process sweeps nothing
        with pytest.raises(Killed):
            store.add("alice", "tool", "2", _zip(tmp_path / "b.zip", "b"), NOW)
    assert set(store.get("alice", "tool").packages) == {"1"}
    assert _files(tmp_path / "apps") > before
    store.set_default("alice", "tool", "1")
    assert _files(tmp_path / "apps") == before
