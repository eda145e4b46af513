"""What ``pip install`` gives: the command, and every file that the code reads at run time."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "src" / "millpond"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", directory, _ROOT], check=True)
    (built,) = directory.glob("millpond-*.whl")
    return built


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    files = {str(path.relative_to(_ROOT / "src")) for path in _PACKAGE.rglob("*") if path.is_file()}
    wanted = {name for name in files if "__pycache__" not in name}
    assert "millpond/tutorial/data/taskdata1.txt" in wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_installed_wheel_gives_the_command(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", _ROOT / "requirements" / "runtime.txt"], check=True)
    subprocess.run([*pip, wheel], check=True)
    done = subprocess.run([environment / "bin" / "millpond", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("millpond ")


@pytest.mark.parametrize("lock", ["runtime.txt", "dev.txt"])
def test_lock_says_what_to_install_and_never_from_where(lock: str) -> None:
    text = (_ROOT / "requirements" / lock).read_text()
    assert "==" in text
    assert "--hash=sha256:" in text
    assert "://" not in text
    assert "--index-url" not in text
