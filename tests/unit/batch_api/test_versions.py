"""Each difference between API versions, both ways."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from millpond.batch.api import versions
from millpond.batch.api.wire import common, jobs, nodes, pools, tasks
from millpond.batch.api.wire.codec import from_json
from millpond.batch.api.wire.fields import Model
from millpond.common.errors import ServiceError


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2017-01-01.4.0", "2017-01-01"),
        ("2024-02-01.19.0", "2024-02-01"),
        ("2024-02-01", "2024-02-01"),
        ("2024-07-01.20.0", "2024-07-01"),
        ("2025-06-01", "2025-06-01"),
    ],
)
def test_versions_are_known_by_their_date(text: str, date: str) -> None:
    assert versions.parse_version(text) == date


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "MissingRequiredQueryParameter"),
        ("", "MissingRequiredQueryParameter"),
        ("2017-01-02", "UnsupportedRequestVersion"),
        ("2026-10-01", "UnsupportedRequestVersion"),
        ("2014-10-01.1.0", "UnsupportedRequestVersion"),
        ("latest", "UnsupportedRequestVersion"),
        ("2017-01-01.4.0.0", "UnsupportedRequestVersion"),
    ],
)
def test_other_versions_are_refused(text: str | None, code: str) -> None:
    with pytest.raises(ServiceError) as refused:
        versions.parse_version(text)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert ("QueryParameterName", "api-version") in refused.value.details


def test_changes_are_in_order_and_each_is_of_a_version() -> None:
    dates = [change.date for change in versions.CHANGES]
    assert dates == sorted(dates)
    assert set(dates) <= set(versions.VERSIONS)
    assert len(versions.CHANGES) == 21


#: The last version with the older form, the model, the older form, the newer form.
BOTH_WAYS: list[tuple[str, type[Model], dict[str, Any], dict[str, Any]]] = [
    (
        "2015-12-01",
        pools.PoolAdd,
        {"osFamily": "4", "targetOSVersion": "*"},
        {"cloudServiceConfiguration": {"osFamily": "4", "osVersion": "*"}},
    ),
    (
        "2015-12-01",
        pools.CertificateReference,
        {"visibility": "task,starttask"},
        {"visibility": ["task", "starttask"]},
    ),
    (
        "2016-07-01",
        tasks.TaskAdd,
        {"runElevated": True},
        {"userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}},
    ),
    (
        "2016-07-01",
        pools.StartTask,
        {"runElevated": False},
        {"userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}},
    ),
    (
        "2017-06-01",
        tasks.MultiInstanceSettings,
        {"numberOfInstances": 2},
        {"numberOfInstances": 2, "coordinationCommandLine": ""},
    ),
    ("2017-01-01", pools.PoolResize, {"targetDedicated": 3}, {"targetDedicatedNodes": 3}),
    ("2017-01-01", pools.PoolAdd, {"targetDedicated": 0}, {"targetDedicatedNodes": 0}),
    ("2017-01-01", pools.Pool, {"currentDedicated": 2}, {"currentDedicatedNodes": 2}),
    ("2017-01-01", pools.Pool, {"resizeError": {"code": "a"}}, {"resizeErrors": [{"code": "a"}]}),
    (
        "2017-01-01",
        tasks.TaskExecutionInfo,
        {"schedulingError": {"code": "BlobNotFound"}},
        {"failureInfo": {"code": "BlobNotFound"}},
    ),
    (
        "2017-01-01",
        tasks.ExitConditions,
        {"schedulingError": {"jobAction": "none"}},
        {"preProcessingError": {"jobAction": "none"}},
    ),
    ("2018-03-01", pools.ContainerConfiguration, {"type": "docker"}, {"type": "dockerCompatible"}),
    (
        "2018-08-01",
        common.ResourceFile,
        {"blobSource": "http://x/b", "filePath": "b"},
        {"httpUrl": "http://x/b", "filePath": "b"},
    ),
    (
        "2018-08-01",
        tasks.TaskAdd,
        {"resourceFiles": [{"blobSource": "http://x/b"}, {"blobSource": "http://x/c"}]},
        {"resourceFiles": [{"httpUrl": "http://x/b"}, {"httpUrl": "http://x/c"}]},
    ),
    (
        "2019-08-01",
        pools.NetworkConfiguration,
        {"publicIPs": ["a"]},
        {"publicIPAddressConfiguration": {"provision": "usermanaged", "ipAddressIds": ["a"]}},
    ),
    ("2020-03-01", pools.PoolAdd, {"maxTasksPerNode": 4}, {"taskSlotsPerNode": 4}),
    (
        "2024-02-01",
        pools.DataDisk,
        {"storageAccountType": "premium_lrs"},
        {"managedDisk": {"storageAccountType": "premium_lrs"}},
    ),
]


@pytest.mark.parametrize(("version", "model", "older", "newer"), BOTH_WAYS)
def test_requests_come_up_and_answers_go_down(
    version: str, model: type[Model], older: dict[str, Any], newer: dict[str, Any]
) -> None:
    assert versions.upgrade(copy.deepcopy(older), model) == newer
    assert versions.upgrade(copy.deepcopy(newer), model) == newer
    down = copy.deepcopy(newer)
    versions.downgrade(down, model, version)
    assert older.items() <= down.items()
    newest = copy.deepcopy(newer)
    versions.downgrade(newest, model, versions.NEWEST)
    assert not (set(older) - set(newer)) & set(newest)


def test_an_exit_code_was_no_scheduling_error() -> None:
    info = {"exitCode": 1, "failureInfo": {"code": "FailureExitCode"}, "result": "failure"}
    versions.downgrade(info, nodes.StartTaskInfo, "2017-01-01")
    assert info == {"exitCode": 1}


def test_task_counts_were_flat_and_marked() -> None:
    counts = {"active": 1, "running": 2, "completed": 3, "succeeded": 2, "failed": 1}
    result: dict[str, Any] = {"taskCounts": counts, "taskSlotCounts": dict(counts)}
    versions.downgrade(result, tasks.TaskCountsResult, "2020-03-01")
    assert result == counts
    result = {"taskCounts": counts, "taskSlotCounts": dict(counts)}
    versions.downgrade(result, tasks.TaskCountsResult, "2017-06-01")
    assert result == counts | {"validationStatus": "validated"}


def test_results_of_an_evaluation_knew_one_kind_of_nodes() -> None:
    results = "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;x=1"
    pool: dict[str, Any] = {"autoScaleRun": {"timestamp": "2020-01-01T00:00:00Z", "results": results}}
    versions.downgrade(pool, pools.Pool, "2017-05-01")
    assert pool["autoScaleRun"]["results"] == results
    versions.downgrade(pool, pools.Pool, "2017-01-01")
    assert pool["autoScaleRun"]["results"] == "$TargetDedicated=3;$NodeDeallocationOption=requeue;x=1"


def test_secrets_are_left_out_of_answers_of_every_version() -> None:
    for version in versions.VERSIONS:
        pool: dict[str, Any] = {
            "userAccounts": [
                {"name": "u", "password": "secret", "linuxUserConfiguration": {"sshPrivateKey": "secret"}}
            ],
            "mountConfiguration": [{"azureBlobFileSystemConfiguration": {"accountKey": "secret", "sasKey": "secret"}}],
            "startTask": {"containerSettings": {"registry": {"password": "secret"}}},
        }
        versions.downgrade(pool, pools.Pool, version)
        assert "secret" not in repr(pool)


def test_enumerations_are_understood_in_any_case() -> None:
    job = versions.upgrade({"onAllTasksComplete": "terminateJob", "onTaskFailure": "NOACTION"}, jobs.JobAdd)
    assert job == {"onAllTasksComplete": "terminatejob", "onTaskFailure": "noaction"}
    policy = versions.upgrade({"nodeFillType": "Pack"}, pools.TaskSchedulingPolicy)
    assert policy == {"nodeFillType": "pack"}


def test_nulls_and_odata_members_are_left_out_at_every_depth() -> None:
    task = {
        "id": "t",
        "commandLine": "true",
        "displayName": None,
        "odata.metadata": "x",
        "constraints": {"retentionTime": None, "odata.type": "y"},
        "resourceFiles": [{"httpUrl": "http://x", "filePath": "x", "fileMode": None}],
    }
    assert versions.upgrade(task, tasks.TaskAdd) == {
        "id": "t",
        "commandLine": "true",
        "constraints": {},
        "resourceFiles": [{"httpUrl": "http://x", "filePath": "x"}],
    }


@pytest.mark.parametrize("odd", [5, "x", [], [1], {"a": 1}])
@pytest.mark.parametrize(
    "name",
    [
        "osFamily",
        "cloudServiceConfiguration",
        "startTask",
        "userAccounts",
        "networkConfiguration",
        "certificateReferences",
        "virtualMachineConfiguration",
        "maxTasksPerNode",
    ],
)
def test_odd_values_come_through_to_where_they_are_refused(name: str, odd: object) -> None:
    content = {"id": "p", "vmSize": "s", name: odd, "osFamily": "4", "runElevated": odd, "targetDedicated": odd}
    with pytest.raises(ServiceError) as refused:
        from_json(versions.upgrade(content, pools.PoolAdd), pools.PoolAdd)
    assert refused.value.status == 400
