"""The client library's source distribution, which carries its tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.clients import client_python

ROOT = Path(__file__).parent.parent.parent
#: The set of ``tests/venvs.toml`` that the tests run in.
ENVIRONMENT = "conformance-blob"

_PACKAGE = "azure-storage-blob"


def library_version() -> str:
    """The version of the library that the environment is locked to."""
    lock = (ROOT / "tests" / "venvs" / f"{ENVIRONMENT}.txt").read_text()
    match = re.search(rf"^{_PACKAGE}==(\S+)", lock, re.MULTILINE)
    assert match, f"{ENVIRONMENT}.txt locks no {_PACKAGE}"
    return match[1]


def python() -> Path:
    """The interpreter that the tests run under."""
    return client_python(ENVIRONMENT)


def tests_directory() -> Path:
    """The directory of the library's tests, downloaded when it is first asked for. Nothing in it is ours."""
    release = f"{_PACKAGE}-{library_version()}"
    unpacked = ROOT / ".venvs" / f"sdist-{release}"
    if not unpacked.exists():
        unpacked.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=unpacked.parent, prefix="sdist-") as scratch:
            directory = Path(scratch)
            _download(directory)
            (archive,) = directory.glob("*.tar.gz")
            with tarfile.open(archive) as content:
                content.extractall(directory / "content", filter="data")
            (top,) = (directory / "content").iterdir()
            shutil.move(top, unpacked)
    return unpacked / "tests"


def test_files() -> list[str]:
    """Every file of tests, as a path in the directory of tests without its suffix: ``avro/test_avro``."""
    tests = tests_directory()
    found = [path.relative_to(tests).with_suffix("") for path in tests.rglob("test_*.py")]
    return sorted(str(path) for path in found if "helpers" not in path.name and "perfstress_tests" not in path.parts)


def _download(directory: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-binary", ":all:", "--dest", directory, f"{_PACKAGE}=={library_version()}"], check=True)
