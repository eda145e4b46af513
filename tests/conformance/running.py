"""One file of tests against one service."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from .results import Outcome
from .services import SERVICES, Service
from .sources import python, tests_directory

_SHIM = Path(__file__).parent / "shim"
#: All tests of a file together may take this long; no file takes nearly as long unless its service hangs.
_FILE_LIMIT_S = 1800.0


class Job(NamedTuple):
    """What to run."""

    file: str
    service: str
    #: As pytest's ``-k``; empty for all tests of the file.
    keyword: str
    #: Seconds that one test may take.
    timeout_s: float


def run(job: Job, log: Path) -> dict[str, Outcome]:
    """How each test of the file ended against a new service on an empty directory.

    What pytest prints goes to ``log``. Tests that did not run because the whole ended too early count as failed.
    """
    with tempfile.TemporaryDirectory(prefix="millpond-conformance-") as scratch:
        directory = Path(scratch)
        report = directory / "report"
        with SERVICES[job.service](directory) as service:
            _pytest(job, service, report, log)
        return _outcomes(report)


def _pytest(job: Job, service: Service, report: Path, log: Path) -> None:
    tests = tests_directory()
    command: list[str | Path] = [python(), "-m", "pytest", "-c", _SHIM / "pytest.ini", "--rootdir", tests]
    options = ["--timeout", str(job.timeout_s), "-k", job.keyword, f"{job.file}.py"]
    environment = {
        **os.environ,
        **service.environment(),
        "CONFORMANCE_REPORT": str(report),
        "PYTHONPATH": f"{_SHIM}{os.pathsep}{tests}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with log.open("w") as output, tempfile.TemporaryDirectory(prefix="millpond-conformance-") as scratch:
        process = subprocess.Popen(
            [*command, *options, "--basetemp", scratch],
            cwd=tests,
            env={**environment, "TMPDIR": scratch},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(_FILE_LIMIT_S)
        except subprocess.TimeoutExpired:
            print(f"\nended after {_FILE_LIMIT_S:.0f} s", file=output)
        finally:
            process.kill()
            process.wait()


def _outcomes(report: Path) -> dict[str, Outcome]:
    """By test, without the file's name: ``TestStorageContainer::test_create_container``."""
    if not report.exists():
        return {}  # nothing was collected: the log says why
    first, *lines = (json.loads(line) for line in report.read_text().splitlines())
    outcomes = {_name(test): Outcome("failed", reason="did not run") for test in first["collected"]}
    for line in lines:
        test = _name(line.pop("test"))
        outcomes[test] = Outcome(**line)
    return outcomes


def _name(test: str) -> str:
    return test.partition("::")[2]
