"""Ten years of API versions: a list of differences, each with its way up for requests and down for answers.

Handlers know the newest form alone. A request of any version is brought up to it, an answer is brought down to
the version of the request: first the changes of this list, newest first, then the members that the version does
not know (``Since`` and ``Until`` in :mod:`.wire`) are left out.

Requests are read generously: an older member is understood at any version where a newer one has replaced it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import error
from .wire import common, jobs, nodes, pools, scaling, tasks
from .wire.fields import Model
from .wire.shape import members, normalise

Json = dict[str, Any]

#: Every version the service ever had, oldest first; clients add ``.major.minor`` to all but the newest.
VERSIONS = (
    "2015-12-01",
    "2016-02-01",
    "2016-07-01",
    "2017-01-01",
    "2017-05-01",
    "2017-06-01",
    "2017-09-01",
    "2018-03-01",
    "2018-08-01",
    "2018-12-01",
    "2019-06-01",
    "2019-08-01",
    "2020-03-01",
    "2020-09-01",
    "2021-06-01",
    "2022-01-01",
    "2022-10-01",
    "2023-05-01",
    "2023-11-01",
    "2024-02-01",
    "2024-07-01",
    "2025-06-01",
)
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]

_VERSION = re.compile(r"(\d{4}-\d{2}-\d{2})(\.\d+\.\d+)?")


def parse_version(text: str | None) -> str:
    """The date of an ``api-version`` parameter, which is all that is compared.

    Raises ``MissingRequiredQueryParameter`` or ``UnsupportedRequestVersion``.
    """
    if not text:
        raise error("MissingRequiredQueryParameter", ("QueryParameterName", "api-version"))
    match = _VERSION.fullmatch(text)
    if match is None or match[1] not in VERSIONS:
        raise error(
            "UnsupportedRequestVersion",
            ("QueryParameterName", "api-version"),
            ("QueryParameterValue", text),
            ("Reason", f"Versions {OLDEST} to {NEWEST} are supported."),
        )
    return match[1]


class VersionChange(NamedTuple):
    """One difference between a version and those before it, in the models that have it."""

    #: The first version with the newer form.
    date: str
    what: str
    models: tuple[type[Model], ...]
    #: Both change the JSON of one of the models in place, and do nothing where there is nothing to change.
    upgrade: Callable[[Json], None] = lambda _: None
    downgrade: Callable[[Json], None] = lambda _: None
    #: The member that older versions have instead, where it is one.
    older: str = ""


def _renamed(date: str, old: str, new: str, *models: type[Model]) -> VersionChange:
    return VersionChange(date, f"{old} became {new}", models, _move(old, new), _move(new, old), old)


def _move(source: str, target: str) -> Callable[[Json], None]:
    def move(value: Json) -> None:
        if source in value:
            value.setdefault(target, value.pop(source))

    return move


_POOLS = (pools.PoolAdd, pools.PoolSpecification, pools.Pool)
_PROCESSES = (
    pools.StartTask,
    tasks.TaskAdd,
    tasks.Task,
    jobs.JobManagerTask,
    jobs.JobPreparationTask,
    jobs.JobReleaseTask,
)
_ENDED = (
    nodes.StartTaskInfo,
    tasks.TaskExecutionInfo,
    tasks.Subtask,
    jobs.JobPreparationTaskExecutionInfo,
    jobs.JobReleaseTaskExecutionInfo,
)


def _part(value: Json, name: str) -> Json:
    """A member that is an object; where a request has something else there, decoding will say so."""
    part = value.setdefault(name, {})
    return part if isinstance(part, dict) else {}


def _gather_cloud_service(pool: Json) -> None:
    """``osFamily`` and its kin stood in the pool itself."""
    if "osFamily" in pool:
        configuration = _part(pool, "cloudServiceConfiguration")
        for name in ("osFamily", "targetOSVersion", "currentOSVersion"):
            if name in pool:
                configuration.setdefault(name, pool.pop(name))


def _spread_cloud_service(pool: Json) -> None:
    pool.update(pool.pop("cloudServiceConfiguration", {}))


def _list_visibility(certificate: Json) -> None:
    """The visibility of a certificate was a list in one text."""
    visibility = certificate.get("visibility")
    if isinstance(visibility, str):
        certificate["visibility"] = [part.strip() for part in visibility.split(",")]


def _join_visibility(certificate: Json) -> None:
    if "visibility" in certificate:
        certificate["visibility"] = ",".join(certificate["visibility"])


def _identify_elevated(process: Json) -> None:
    """``runElevated`` chose between the two automatic users of a node."""
    if "runElevated" in process:
        level = "admin" if process.pop("runElevated") is True else "nonadmin"
        process.setdefault("userIdentity", {"autoUser": {"scope": "pool", "elevationLevel": level}})


def _elevate_identified(process: Json) -> None:
    user = process.get("userIdentity", {}).get("autoUser", {})
    process["runElevated"] = user.get("elevationLevel") == "admin"


def _list_resize_errors(pool: Json) -> None:
    if "resizeError" in pool:
        pool["resizeErrors"] = [pool.pop("resizeError")]


def _pick_resize_error(pool: Json) -> None:
    errors = pool.pop("resizeErrors", None)
    if errors:
        pool["resizeError"] = errors[0]


def _join_target_results(run: Json) -> None:
    """Results knew one kind of nodes, and had no low-priority ones."""
    results = run.get("results", "")
    kept = [part for part in results.split(";") if not part.startswith("$TargetLowPriorityNodes=")]
    run["results"] = ";".join(kept).replace("$TargetDedicatedNodes=", "$TargetDedicated=", 1)


def _fail_unscheduled(ended: Json) -> None:
    if "schedulingError" in ended:
        ended["failureInfo"] = ended.pop("schedulingError")


def _unschedule_failed(ended: Json) -> None:
    """An exit code was no failure to tell of: only what kept a task from running was."""
    failure = ended.pop("failureInfo", None)
    if failure and failure.get("code") != "FailureExitCode":
        ended["schedulingError"] = failure


def _configure_linux_user(user: Json) -> None:
    if "sshPrivateKey" in user:
        _part(user, "linuxUserConfiguration")["sshPrivateKey"] = user.pop("sshPrivateKey")


def _name_docker(configuration: Json) -> None:
    if str(configuration.get("type")).lower() == "docker":
        configuration["type"] = "dockerCompatible"


def _unname_docker(configuration: Json) -> None:
    configuration["type"] = "docker"


def _drop_image_uris(disk: Json) -> None:
    disk.pop("imageUris", None)


def _drop_public_ips(network: Json) -> None:
    network.pop("publicIPs", None)


def _configure_public_ips(network: Json) -> None:
    if "publicIPs" in network:
        network["publicIPAddressConfiguration"] = {
            "provision": "usermanaged",
            "ipAddressIds": network.pop("publicIPs"),
        }


def _list_public_ips(network: Json) -> None:
    configuration = network.pop("publicIPAddressConfiguration", {})
    if configuration.get("ipAddressIds"):
        network["publicIPs"] = configuration["ipAddressIds"]


def _flatten_task_counts(result: Json) -> None:
    counts = result.pop("taskCounts")
    result.clear()
    result.update(counts)


def _validate_task_counts(result: Json) -> None:
    result["validationStatus"] = "validated"


def _manage_disk(disk: Json) -> None:
    if "storageAccountType" in disk:
        _part(disk, "managedDisk")["storageAccountType"] = disk.pop("storageAccountType")


def _unmanage_disk(disk: Json) -> None:
    managed = disk.pop("managedDisk", {})
    if "storageAccountType" in managed:
        disk["storageAccountType"] = managed["storageAccountType"]


#: Oldest first.
def _need_coordination(settings: Json) -> None:
    settings.setdefault("coordinationCommandLine", "")


def _leave_coordination(settings: Json) -> None:
    if not settings["coordinationCommandLine"]:
        del settings["coordinationCommandLine"]


CHANGES: tuple[VersionChange, ...] = (
    VersionChange(
        "2016-02-01",
        "the operating system of a pool moved into cloudServiceConfiguration",
        _POOLS,
        _gather_cloud_service,
        _spread_cloud_service,
    ),
    VersionChange(
        "2016-02-01",
        "a certificate's visibility became a list",
        (pools.CertificateReference,),
        _list_visibility,
        _join_visibility,
    ),
    VersionChange(
        "2017-01-01",
        "runElevated became userIdentity",
        _PROCESSES,
        _identify_elevated,
        _elevate_identified,
        "runElevated",
    ),
    _renamed("2017-05-01", "targetDedicated", "targetDedicatedNodes", *_POOLS, pools.PoolResize),
    _renamed("2017-05-01", "currentDedicated", "currentDedicatedNodes", pools.Pool),
    VersionChange(
        "2017-05-01",
        "a resize may have several errors, for two kinds of nodes",
        (pools.Pool,),
        _list_resize_errors,
        _pick_resize_error,
        "resizeError",
    ),
    VersionChange(
        "2017-05-01",
        "the results of an evaluation name two kinds of nodes",
        (scaling.AutoScaleRun,),
        downgrade=_join_target_results,
    ),
    VersionChange("2017-05-01", "schedulingError became failureInfo", _ENDED, _fail_unscheduled, _unschedule_failed),
    _renamed("2017-05-01", "schedulingError", "preProcessingError", tasks.ExitConditions),
    VersionChange(
        "2017-05-01",
        "a user's SSH key moved into linuxUserConfiguration",
        (pools.UserAccount,),
        _configure_linux_user,
    ),
    VersionChange(
        "2017-09-01",
        "multi-instance tasks must have a coordination command",
        (tasks.MultiInstanceSettings,),
        _need_coordination,
        _leave_coordination,
    ),
    VersionChange("2017-09-01", "disks are no longer made of images", (pools.OsDisk,), _drop_image_uris),
    VersionChange(
        "2018-08-01",
        "the container type docker became dockerCompatible",
        (pools.ContainerConfiguration,),
        _name_docker,
        _unname_docker,
    ),
    VersionChange(
        "2018-08-01",
        "task counts are no longer marked as validated",
        (tasks.TaskCountsResult,),
        downgrade=_validate_task_counts,
    ),
    _renamed("2018-12-01", "blobSource", "httpUrl", common.ResourceFile),
    _renamed("2018-12-01", "targetOSVersion", "osVersion", pools.CloudServiceConfiguration),
    VersionChange("2019-08-01", "publicIPs was added", (pools.NetworkConfiguration,), downgrade=_drop_public_ips),
    VersionChange(
        "2020-03-01",
        "publicIPs became publicIPAddressConfiguration",
        (pools.NetworkConfiguration,),
        _configure_public_ips,
        _list_public_ips,
    ),
    _renamed("2020-09-01", "maxTasksPerNode", "taskSlotsPerNode", *_POOLS),
    VersionChange(
        "2020-09-01",
        "task slots are counted too",
        (tasks.TaskCountsResult,),
        downgrade=_flatten_task_counts,
    ),
    VersionChange(
        "2025-06-01",
        "the storage account type of a data disk moved into managedDisk",
        (pools.DataDisk,),
        _manage_disk,
        _unmanage_disk,
    ),
)


# --- requests ----------------------------------------------------------------------------------------------------


@functools.cache
def has_changed(model: type[Model], version: str) -> bool:
    """Whether a request of that version may have an older form, in the model or in one that it holds."""
    return any(change.date > version for change in _changes(model)) or any(
        has_changed(member.model, version) for member in members(model).values() if member.model is not None
    )


@functools.cache
def _changes(model: type[Model]) -> tuple[VersionChange, ...]:
    return tuple(change for change in CHANGES if model in change.models)


def upgrade(value: Any, model: type[Model]) -> Any:
    """Decoded JSON of a request in the newest form, without nulls and with enumerations in the newest spelling."""
    _upgrade(value, model)
    return normalise(value, model)


def _upgrade(value: Any, model: type[Model]) -> None:
    if not isinstance(value, dict):
        return
    for change in _changes(model):
        change.upgrade(value)
    known = members(model)
    for name, item in value.items():
        member = known.get(name)
        if member is not None and member.model is not None:
            for part in item if isinstance(item, list) else (item,):
                _upgrade(part, member.model)


# --- answers -----------------------------------------------------------------------------------------------------


class _Downgrade(NamedTuple):
    """What is to be done to the JSON of a model for a version: the parts first, then itself."""

    parts: tuple[tuple[str, _Downgrade], ...]
    changes: tuple[Callable[[Json], None], ...]
    drop: tuple[str, ...]

    def apply(self, value: Json) -> None:
        for name, inner in self.parts:
            part = value.get(name)
            if isinstance(part, list):
                for item in part:
                    inner.apply(item)
            elif part is not None:
                inner.apply(part)
        for change in self.changes:
            change(value)
        for name in self.drop:
            value.pop(name, None)


@functools.cache
def _plan(model: type[Model], version: str) -> _Downgrade | None:
    known = members(model).values()
    plan = _Downgrade(
        tuple(
            (member.name, inner)
            for member in known
            if member.model is not None and not member.is_secret and (inner := _plan(member.model, version)) is not None
        ),
        tuple(change.downgrade for change in reversed(_changes(model)) if change.date > version),
        tuple(member.name for member in known if member.is_secret or not member.since <= version <= member.until),
    )
    return plan if any(plan) else None


def downgrade(value: Json, model: type[Model], version: str) -> None:
    """Bring the JSON of an answer into the version's form, in place; secrets are left out of every version's."""
    plan = _plan(model, version)
    if plan is not None:
        plan.apply(value)


@functools.cache
def older_members(model: type[Model]) -> frozenset[str]:
    """Names that members of the model had in older versions."""
    return frozenset(change.older for change in _changes(model) if change.older)
