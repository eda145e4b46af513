"""What the service does not do yet: the members of requests that it refuses.

A member is refused where taking it would quietly not have its effect. What only describes a machine in a cloud
(disks, virtual networks, placement, upgrades of the operating system) is taken, kept and answered with: the nodes
are what this machine is.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from ..errors import error
from .wire import common, jobs, nodes, pools
from .wire.fields import Model, wire_name
from .wire.shape import members

#: By model, the members that are refused where they say anything, and why.
REFUSED: dict[type[Model], dict[str, str]] = {
    pools.PoolSpecification: {
        "application_licenses": "There are no application licenses.",
        "cloud_service_configuration": "Nodes run Linux; specify virtualMachineConfiguration.",
    },
    pools.AzureBlobMount: {
        "identity_reference": "There are no managed identities; use an account key or a shared access signature.",
    },
    pools.VirtualMachineConfiguration: {
        "windows_configuration": "Nodes run Linux.",
    },
    nodes.ServiceLogsUpload: {
        "identity_reference": "There are no managed identities; use a URL with a shared access signature.",
    },
    common.ContainerRegistry: {
        "identity_reference": "There are no managed identities; use a user name and a password.",
    },
    common.ResourceFile: {
        "identity_reference": "There are no managed identities; use a URL with a shared access signature.",
    },
    common.OutputContainer: {
        "identity_reference": "There are no managed identities; use a URL with a shared access signature.",
    },
    jobs.JobSpecification: {
        "allow_task_preemption": "Tasks are never preempted.",
    },
    jobs.JobChange: {
        "allow_task_preemption": "Tasks are never preempted.",
    },
}


class _Plan(NamedTuple):
    """What is to be looked at in a model: refused members with their reasons, and members that hold more models."""

    refused: tuple[tuple[str, str], ...]
    nested: tuple[str, ...]


@functools.cache
def _plan(model: type[Model]) -> _Plan:
    refused = {
        name: reason for base, names in REFUSED.items() if issubclass(model, base) for name, reason in names.items()
    }
    known = members(model)
    nested = [
        field.name
        for field in msgspec.structs.fields(model)
        if (inner := known[field.encode_name].model) is not None and field.name not in refused and any(_plan(inner))
    ]
    return _Plan(tuple(refused.items()), tuple(nested))


def refuse_unbuilt(value: Model, path: str = "") -> None:
    """Raises ``UnsupportedProperty`` naming the first member that says something and has no effect yet.

    ``False`` and empty lists say nothing.
    """
    plan = _plan(type(value))
    for name, reason in plan.refused:
        item = getattr(value, name)
        if item is not UNSET and item is not False and item != []:
            raise error("UnsupportedProperty", ("PropertyName", path + wire_name(name)), ("Reason", reason))
    for name in plan.nested:
        item = getattr(value, name)
        if item is UNSET:
            continue
        if isinstance(item, list):
            for index, part in enumerate(item):
                refuse_unbuilt(part, f"{path}{wire_name(name)}[{index}].")
        else:
            refuse_unbuilt(item, f"{path}{wire_name(name)}.")
