"""Real client libraries of every age, each set in a virtual environment of its own.

``client_python("batch-2.0.0")`` is the interpreter of the set that ``venvs.toml`` names so. Its environment is made
when it is first asked for, and kept in ``.venvs/`` of the checkout until what it is made of changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_TESTS = Path(__file__).parent
_LOCKS = _TESTS / "venvs"
_ENVIRONMENTS = _TESTS.parent / ".venvs"


class ClientSet(NamedTuple):
    """What ``venvs.toml`` says of one set."""

    requires: tuple[str, ...]
    without: tuple[str, ...] = ()


def client_sets() -> dict[str, ClientSet]:
    """All sets by name."""
    content = tomllib.loads((_TESTS / "venvs.toml").read_text())
    return {
        name: ClientSet(tuple(entry["requires"]), tuple(entry.get("without", ()))) for name, entry in content.items()
    }


def client_python(name: str) -> Path:
    """The interpreter of a set's environment, which is made first where there is none (some seconds).

    Any number of processes may ask at once: one makes it, the others wait.
    """
    lock = _LOCKS / f"{name}.txt"
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    environment = _ENVIRONMENTS / f"{name}-{key}"
    python = environment / "bin" / "python"
    complete = environment / "complete"  # written last: without it the making was cut short
    if not complete.exists():
        _ENVIRONMENTS.mkdir(exist_ok=True)
        with _exclusively(_ENVIRONMENTS / f"{name}.lock"):
            if not complete.exists():
                _make(environment, python, lock)
                complete.touch()
    return python


def run_client(
    name: str, *command: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in a set's environment, with ``env`` over this process's own environment.

    Raises ``AssertionError`` with everything it printed where it does not exit with 0.
    """
    done = subprocess.run(
        [client_python(name), *command],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def _make(environment: Path, python: Path, lock: Path) -> None:
    for older in _ENVIRONMENTS.glob(f"{lock.stem}-" + "[0-9a-f]" * 16):
        shutil.rmtree(older)
    # This interpreter's own pip fills it: an environment without a pip is made in a tenth of the time.
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
    subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "-r", lock], check=True)


@contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock(flags: list[str]) -> None:
    """Write the closure of every set to its lock file."""
    _LOCKS.mkdir(exist_ok=True)
    sets = client_sets()
    for stale in set(_LOCKS.glob("*.txt")) - {_LOCKS / f"{name}.txt" for name in sets}:
        stale.unlink()
    for name, entry in sets.items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as without:
            without.writelines(f"{package} ; python_version < '3'\n" for package in entry.without)
            without.flush()
            uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--custom-compile-command", "make lock"]
            options = ["--universal", "--python-version", "3.11", "--no-annotate", "--override", without.name, *flags]
            subprocess.run(
                [*uv, *options, "-", "-o", _LOCKS / f"{name}.txt"],
                input="\n".join(entry.requires),
                text=True,
                check=True,
            )


if __name__ == "__main__" and sys.argv[1:2] == ["lock"]:
    _lock(sys.argv[2:])
