"""Why something failed, as it is answered with."""

from __future__ import annotations

from msgspec import UNSET

from ..model.task import Failure
from .wire.common import FailureInfo, NameValuePair


def failure_info(failure: Failure) -> FailureInfo:
    return FailureInfo(
        category=failure.category.value,
        code=failure.code,
        message=failure.message,
        details=[NameValuePair(name=name, value=value) for name, value in failure.details] or UNSET,
    )
