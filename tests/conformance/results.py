"""What runs have found, kept as one JSON file for each file of tests and service."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """How a test ended."""

    #: ``passed``, ``failed`` or ``skipped``.
    outcome: str
    seconds: float = 0.0
    #: Whether it connected to the service.
    reached: bool = False
    #: Why it failed or was skipped, one line.
    reason: str = ""


class Results:
    """A directory of results."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def log(self, service: str, file: str) -> Path:
        """Where pytest's output of the latest run goes."""
        return self._path(service, file).with_suffix(".log")

    def load(self, service: str, file: str) -> dict[str, Outcome]:
        """Outcomes by test; nothing where the file has not been run against the service."""
        try:
            stored = json.loads(self._path(service, file).read_text())
        except FileNotFoundError:
            return {}
        return {test: Outcome(**outcome) for test, outcome in stored.items()}

    def save(self, service: str, file: str, outcomes: dict[str, Outcome]) -> None:
        path = self._path(service, file)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({test: asdict(outcome) for test, outcome in outcomes.items()}, indent=1))
        temporary.replace(path)

    def _path(self, service: str, file: str) -> Path:
        directory = self.directory / service
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{file.replace('/', '.')}.json"
