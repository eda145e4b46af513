"""What has no effect yet is refused by name, not taken in silence."""

from __future__ import annotations

from typing import Any

import pytest

from millpond.batch.api.unbuilt import REFUSED, refuse_unbuilt
from millpond.batch.api.wire import jobs, pools, tasks
from millpond.batch.api.wire.codec import from_json
from millpond.batch.api.wire.fields import Model
from millpond.common.errors import ServiceError

MACHINE = {"imageReference": {}, "nodeAgentSKUId": "x"}
POOL = {"id": "p", "vmSize": "s", "virtualMachineConfiguration": MACHINE}
JOB = {"id": "j", "poolInfo": {"poolId": "p"}}
TASK = {"id": "t", "commandLine": "true"}


def test_refused_members_are_members() -> None:
    for model, names in REFUSED.items():
        assert set(names) <= set(model.__struct_fields__)


@pytest.mark.parametrize(
    ("model", "content", "name"),
    [
        (
            pools.PoolAdd,
            POOL
            | {
                "virtualMachineConfiguration": MACHINE
                | {
                    "containerConfiguration": {
                        "type": "dockerCompatible",
                        "containerRegistries": [{"identityReference": {}}],
                    }
                }
            },
            "virtualMachineConfiguration.containerConfiguration.containerRegistries[0].identityReference",
        ),
        (
            pools.PoolAdd,
            POOL
            | {
                "startTask": {
                    "commandLine": "x",
                    "containerSettings": {"imageName": "i", "registry": {"identityReference": {}}},
                }
            },
            "startTask.containerSettings.registry.identityReference",
        ),
        (
            pools.PoolPatch,
            {
                "mountConfiguration": [
                    {
                        "azureBlobFileSystemConfiguration": {
                            "accountName": "a",
                            "containerName": "c",
                            "relativeMountPath": "m",
                            "identityReference": {"resourceId": "i"},
                        }
                    }
                ]
            },
            "mountConfiguration[0].azureBlobFileSystemConfiguration.identityReference",
        ),
        (jobs.JobAdd, JOB | {"allowTaskPreemption": True}, "allowTaskPreemption"),
        (jobs.JobPatch, {"allowTaskPreemption": True}, "allowTaskPreemption"),
        (
            tasks.TaskAdd,
            TASK | {"resourceFiles": [{"httpUrl": "http://u", "filePath": "f", "identityReference": {}}]},
            "resourceFiles[0].identityReference",
        ),
        (
            tasks.TaskAdd,
            TASK
            | {
                "outputFiles": [
                    {
                        "filePattern": "*",
                        "destination": {"container": {"containerUrl": "http://u", "identityReference": {}}},
                        "uploadOptions": {"uploadCondition": "taskcompletion"},
                    }
                ]
            },
            "outputFiles[0].destination.container.identityReference",
        ),
    ],
)
def test_members_without_effect_are_refused(model: type[Model], content: Any, name: str) -> None:
    with pytest.raises(ServiceError) as refused:
        refuse_unbuilt(from_json(content, model))
    assert (refused.value.status, refused.value.code) == (400, "UnsupportedProperty")
    values = dict(refused.value.details)
    assert values["PropertyName"] == name
    assert values["Reason"]


@pytest.mark.parametrize(
    ("model", "content"),
    [
        (pools.PoolAdd, POOL | {"enableAutoScale": False, "applicationPackageReferences": []}),
        (pools.PoolAdd, POOL | {"networkConfiguration": {"subnetId": "s"}}),
        (pools.PoolAdd, POOL | {"virtualMachineConfiguration": MACHINE | {"osDisk": {"diskSizeGB": 64}}}),
        (jobs.JobAdd, JOB | {"usesTaskDependencies": True, "allowTaskPreemption": False}),
        (tasks.TaskAdd, TASK | {"affinityInfo": {"affinityId": "TVM:n"}, "outputFiles": []}),
        (
            tasks.TaskAdd,
            TASK | {"resourceFiles": [{"storageContainerUrl": "http://u", "blobPrefix": "a/"}]},
        ),
    ],
)
def test_members_that_say_nothing_or_describe_a_cloud_are_taken(model: type[Model], content: Any) -> None:
    refuse_unbuilt(from_json(content, model))
