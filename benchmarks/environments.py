"""Where peers are installed: virtual environments and npm packages under ``.venvs`` of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
_ENVIRONMENTS = ROOT / ".venvs"


class NotInstallableError(Exception):
    """A peer cannot be had on this machine; the row goes without it."""


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of a virtual environment with these packages, made when it is first asked for."""
    environment = _ENVIRONMENTS / f"benchmarks-{name}"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        shutil.rmtree(environment, ignore_errors=True)
        venv.create(environment, symlinks=True)
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "-qq",
            "--disable-pip-version-check",
        ]
        _install([*pip, *requirements])
        (environment / "complete").touch()
    return python


def npm_program(package: str, program: str) -> Path:
    """A program of an npm package, installed when it is first asked for."""
    directory = _ENVIRONMENTS / f"benchmarks-{package}"
    path = directory / "node_modules" / ".bin" / program
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        _install(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", directory, package])
    return path


def system_program(program: str) -> str:
    """A program of the operating system (``apt-get install parallel wrk``)."""
    path = shutil.which(program)
    if path is None:
        raise NotInstallableError(f"{program} is not installed on this machine")
    return path


def _install(command: list[str | Path]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotInstallableError(f"{command[0]} is not installed on this machine") from error
    except subprocess.CalledProcessError as error:
        raise NotInstallableError((error.stderr or error.stdout).strip()[-300:]) from error


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory on a disk, not on tmpfs: what is synced there is really written (``MILLPOND_BENCH_DIR``)."""
    return tempfile.TemporaryDirectory(prefix="millpond-bench-", dir=os.environ.get("MILLPOND_BENCH_DIR"))
