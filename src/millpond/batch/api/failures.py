"""Why something failed, and what became of its container, as it is answered with."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from ..model.task import ContainerInfo, Failure
from .wire import common as wire
from .wire.common import FailureInfo, NameValuePair


def failure_info(failure: Failure) -> FailureInfo:
    return FailureInfo(
        category=failure.category.value,
        code=failure.code,
        message=failure.message,
        details=[NameValuePair(name=name, value=value) for name, value in failure.details] or UNSET,
    )


def container_info(info: ContainerInfo | None) -> wire.ContainerInfo | UnsetType:
    if info is None:
        return UNSET
    return wire.ContainerInfo(container_id=info.container_id, state=info.state, error=info.error)
