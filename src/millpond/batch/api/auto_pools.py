"""What requests say of pools that are made for jobs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from millpond.common.errors import ServiceError

from ..errors import error
from ..model.job import AutoPool, Job
from . import versions
from .http import Call
from .pools import new_pool
from .wire.jobs import AutoPoolSpecification

if TYPE_CHECKING:
    from ..service import BatchService

#: Where a job says how its pool is to be made.
_PATH = "poolInfo.autoPoolSpecification."


def new_auto_pool(service: BatchService, call: Call, specification: AutoPoolSpecification) -> AutoPool:
    """How a pool is to be made for a job. What a pool would be refused for, the job is."""
    if specification.pool is UNSET:
        raise error("MissingRequiredProperty", ("PropertyName", f"{_PATH}pool"))
    try:
        pool = new_pool(service, call, specification.pool, "")
    except ServiceError as refusal:
        raise within(f"{_PATH}pool.", refusal) from None
    return AutoPool(
        id_prefix=specification.auto_pool_id_prefix or "",
        lifetime=specification.pool_lifetime_option,
        keep_alive=specification.keep_alive or False,
        pool=pool,
    )


def keep_alive_of(job: Job, specification: AutoPoolSpecification) -> bool:
    """What a change of a job says of its pool, of which nothing else may differ."""
    there: dict[str, Any] = copy.deepcopy(job.document.get("poolInfo", {}).get("autoPoolSpecification", {}))
    wanted: dict[str, Any] = msgspec.to_builtins(specification)
    for content in (there, wanted):
        versions.downgrade(content, AutoPoolSpecification, versions.NEWEST)  # answers have no secrets to send back
    for name in set(wanted) - {"keepAlive"}:
        if wanted[name] != there.get(name):
            raise error(
                "InvalidPropertyValue",
                ("PropertyName", f"{_PATH}{name}"),
                ("Reason", "Of a pool that was made for a job, only keepAlive can be changed."),
            )
    return specification.keep_alive or False


def within(path: str, refusal: ServiceError) -> ServiceError:
    """A refusal that names its culprit by the path that leads to it in the request."""
    details = [(key, path + value if key == "PropertyName" else value) for key, value in refusal.details]
    return ServiceError(refusal.status, refusal.code, refusal.message, *details)
