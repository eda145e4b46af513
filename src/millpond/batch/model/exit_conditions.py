"""What a task's end is to lead to, by the way it ended."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class JobAction(StrEnum):
    """What becomes of the job; takes place where the job performs its tasks' exit options."""

    NONE = "none"
    DISABLE = "disable"
    TERMINATE = "terminate"


class DependencyAction(StrEnum):
    """What becomes of the tasks that depend on it."""

    SATISFY = "satisfy"
    BLOCK = "block"


class ExitOptions(msgspec.Struct, frozen=True):
    """``None``: as it is by default."""

    job_action: JobAction | None = None
    dependency_action: DependencyAction | None = None


class ExitConditions(msgspec.Struct, frozen=True):
    """The clauses of a task, each with its options."""

    exit_codes: tuple[tuple[int, ExitOptions], ...] = ()
    #: First and last code of each range.
    exit_code_ranges: tuple[tuple[int, int, ExitOptions], ...] = ()
    pre_processing_error: ExitOptions | None = None
    file_upload_error: ExitOptions | None = None
    default: ExitOptions | None = None
