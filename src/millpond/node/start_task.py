"""The node's start task: run at every boot, and again when it fails, as often as its retries allow."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from millpond.common.agent_protocol import FailureInfo, StartTaskReport
from millpond.common.clock import Clock
from millpond.common.durations import UNLIMITED

from .documents import StartTaskDocument
from .runner import Outcome, Run, Runner
from .workdir import last_errors

#: The first retry is at once; a task that may fail forever does not keep the machine busy with it.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
#: Most characters of a line that is told as the reason of a failure.
_LONGEST_LINE = 1024


class StartTask:
    """Reports each change of its state."""

    def __init__(
        self,
        document: StartTaskDocument,
        directory: str,
        runner: Runner,
        clock: Clock,
        tell: Callable[[StartTaskReport], None],
    ) -> None:
        self._document = document
        self._directory = directory
        self._runner = runner
        self._clock = clock
        self._tell = tell
        self._retry_at: float | None = None
        self._pause_s = 0.0
        #: As last told.
        self.report = StartTaskReport(state="running", start_time=clock.now())

    @property
    def due_in_s(self) -> float:
        """Seconds until :meth:`tend` has something to do."""
        return 3600.0 if self._retry_at is None else self._retry_at - time.monotonic()

    def begin(self) -> None:
        self._tell(self.report)
        self._runner.start(Run(self._directory, self._document, UNLIMITED, self._on_end))

    def tend(self) -> None:
        """Try again if it is time to."""
        if self._retry_at is not None and time.monotonic() >= self._retry_at:
            self._retry_at = None
            now = self._clock.now()
            self.report = StartTaskReport(
                state="running", start_time=now, retry_count=self.report.retry_count + 1, last_retry_time=now
            )
            self.begin()

    def _on_end(self, outcome: Outcome) -> None:
        last = self.report
        retries = self._document.max_task_retry_count or 0
        if outcome.exit_code and (retries < 0 or last.retry_count < retries):
            self._retry_at = time.monotonic() + self._pause_s
            self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _LONGEST_PAUSE_S)
            return
        self.report = StartTaskReport(
            state="completed",
            start_time=last.start_time,
            end_time=self._clock.now(),
            exit_code=outcome.exit_code,
            failure=outcome.failure and self._with_last_words(outcome.failure),
            retry_count=last.retry_count,
            last_retry_time=last.last_retry_time,
            container_info=outcome.container_info,
        )
        self._tell(self.report)

    def _with_last_words(self, failure: FailureInfo) -> FailureInfo:
        """The failure, with the last line that the task has written to its standard error."""
        lines = last_errors(self._directory).splitlines()
        line = lines[-1].strip()[-_LONGEST_LINE:] if lines else ""
        return replace(failure, details=(*failure.details, ("StandardError", line))) if line else failure
