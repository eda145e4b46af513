"""A plugin of pytest that writes down how every test ended, one JSON line each, as soon as it has.

The first line lists all tests that were collected, so that a run that is cut short shows which ones are missing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import pytest

_MARKERS = ("live_test_only", "playback_test_only")


class _Recorder:
    def __init__(self, path: str, port: int) -> None:
        self._path = path
        self._port = port
        self._reached = False
        self._outcome: dict[str, Any] = {}
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][1] == self._port:
            self._reached = True

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._write({"collected": [item.nodeid for item in session.items]})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._reached = False
        self._outcome = {"test": item.nodeid, "outcome": "passed", "seconds": 0.0}
        try:
            return (yield)
        finally:
            self._write({**self._outcome, "reached": self._reached})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._outcome["seconds"] = round(self._outcome["seconds"] + call.duration, 2)
        if report.outcome != "passed" and self._outcome["outcome"] == "passed":
            self._outcome["outcome"] = report.outcome
            if call.excinfo:
                self._outcome["reason"] = _reason(item, call.excinfo)
        return report

    def _write(self, line: object) -> None:
        with open(self._path, "a") as file:  # noqa: PTH123
            file.write(json.dumps(line) + "\n")


def _reason(item: pytest.Item, failure: pytest.ExceptionInfo[BaseException]) -> str:
    """One line: where in the test, which error, and what a service answered."""
    lines = [entry.lineno + 1 for entry in failure.traceback if str(entry.path) == str(item.path)]
    where = f"line {lines[-1]}: " if lines else ""
    error: Any = failure.value
    answered = " ".join(
        str(part)
        for part in (getattr(error, "status_code", None), getattr(error, "error_code", None))
        if part is not None
    )
    text = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{where}{failure.typename} {answered}".rstrip() + (f": {text}" if text else "")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", f"{marker}: ignored here, every test is run live")
    port = urlsplit(os.environ["CONFORMANCE_ACCOUNT_URL"].replace("{account}", "account")).port
    assert port
    config.pluginmanager.register(_Recorder(os.environ["CONFORMANCE_REPORT"], port))


@pytest.fixture(scope="session")
def test_proxy() -> None:
    """The recorder of the real test support; there is none here."""
