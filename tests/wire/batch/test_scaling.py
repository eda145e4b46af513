"""Pools that scale by themselves, through the newest SDK and older ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceExistsError
from tests.clients import run_client
from tests.servers import Server, running_server
from tests.wire.batch.make import job, pool, task, wait_for
from tests.wire.batch.raw import RawClient

BY_TASKS = """
    $TargetDedicatedNodes = min(3, $PendingTasks);
    $NodeDeallocationOption = taskcompletion;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which formulas are evaluated every second, and that carries three nodes."""
    directory = tmp_path_factory.mktemp("server")
    settings = directory / "millpond.toml"
    settings.write_text("shortest_evaluation_interval_s = 1\nmost_nodes = 3\n")
    with running_server(directory / "data", "--config", str(settings)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[BatchClient]:
    credentials = server.credentials
    key = AzureNamedKeyCredential(credentials["BATCH_ACCOUNT_NAME"], credentials["BATCH_ACCOUNT_KEY"])
    with BatchClient(credentials["BATCH_ACCOUNT_URL"], key) as client:
        yield client


def test_pool_grows_and_shrinks_with_its_tasks(client: BatchClient, raw: RawClient) -> None:
    assert raw.send("POST", "/pools", pool("tasks") | scaled(BY_TASKS)).status == 201
    run = client.get_pool("tasks").auto_scale_run
    assert run is not None
    assert run.results == "$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0;$NodeDeallocationOption=taskcompletion"
    assert raw.send("POST", "/jobs", job("tasks", "tasks")).status == 201
    for name in ("a", "b"):
        assert raw.send("POST", "/jobs/tasks/tasks", task(name, "sleep 600")).status == 201
    wait_for(lambda: nodes_of(client, "tasks") == ["running", "running"])
    assert client.get_pool("tasks").target_dedicated_nodes == 2
    client.terminate_task("tasks", "a")
    wait_for(lambda: nodes_of(client, "tasks") == ["running"])
    client.terminate_task("tasks", "b")
    wait_for(lambda: nodes_of(client, "tasks") == [])
    raw.send("DELETE", "/pools/tasks")


def nodes_of(client: BatchClient, pool_id: str) -> list[str]:
    return [node.state or "" for node in client.list_nodes(pool_id)]


def scaled(formula: str, interval: str = "PT1S") -> dict[str, object]:
    return {
        "enableAutoScale": True,
        "autoScaleFormula": formula,
        "autoScaleEvaluationInterval": interval,
        "targetDedicatedNodes": None,
    }


def test_scaling_is_enabled_evaluated_and_disabled(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("manual"))
    before = client.get_pool("manual")
    assert before.enable_auto_scale is False
    with pytest.raises(ResourceExistsError) as refused:
        client.evaluate_pool_auto_scale(
            "manual", models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes=1")
        )
    assert refused.value.error is not None
    assert refused.value.error.code == "OperationInvalidForCurrentState"
    client.enable_pool_auto_scale(
        "manual",
        models.BatchPoolEnableAutoScaleOptions(
            auto_scale_formula="$TargetDedicatedNodes = 0;", auto_scale_evaluation_interval=timedelta(minutes=6)
        ),
    )
    after = client.get_pool("manual")
    assert (after.enable_auto_scale, after.auto_scale_formula) == (True, "$TargetDedicatedNodes = 0;")
    assert after.auto_scale_evaluation_interval == timedelta(minutes=6)
    assert after.etag != before.etag
    run = client.evaluate_pool_auto_scale(
        "manual", models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes=1;x=2.5")
    )
    assert run.error is None
    assert run.results == "$TargetDedicatedNodes=1;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;x=2.5"
    run = client.evaluate_pool_auto_scale(
        "manual", models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$something_useless")
    )
    assert run.error is not None
    assert run.error.code == "AutoScalingFormulaEvaluationError"
    assert run.results == "$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    with pytest.raises(ResourceExistsError):
        client.begin_resize_pool("manual", models.BatchPoolResizeOptions(target_dedicated_nodes=1))
    client.disable_pool_auto_scale("manual")
    assert client.get_pool("manual").auto_scale_formula is None


def test_formulas_see_what_nodes_use(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("busy") | scaled("$TargetDedicatedNodes = 1;"))
    formula = "x = $CPUPercent; y = $MemoryBytes; z = $DiskBytes; $TargetDedicatedNodes = $SampleNodeCount;"

    def measured() -> bool:
        options = models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
        results = client.evaluate_pool_auto_scale("busy", options).results or ""
        return results.startswith("$TargetDedicatedNodes=1;") and "z=" in results

    wait_for(measured)
    raw.send("DELETE", "/pools/busy")


@pytest.mark.parametrize(
    ("members", "code", "name"),
    [
        ({"enableAutoScale": True}, "MissingRequiredProperty", "autoScaleFormula"),
        ({"autoScaleFormula": "$TargetDedicatedNodes=1"}, "InvalidAutoScalingSettings", "autoScaleFormula"),
        (
            scaled("$TargetDedicatedNodes=1") | {"targetDedicatedNodes": 1},
            "InvalidAutoScalingSettings",
            "targetDedicatedNodes",
        ),
        (
            scaled("$TargetDedicatedNodes=1") | {"targetLowPriorityNodes": 0},
            "InvalidAutoScalingSettings",
            "targetLowPriorityNodes",
        ),
        (scaled("$TargetDedicatedNodes=1", "PT0.5S"), "InvalidPropertyValue", "autoScaleEvaluationInterval"),
        (scaled("$TargetDedicatedNodes=1", "PT169H"), "InvalidPropertyValue", "autoScaleEvaluationInterval"),
        (scaled("x = 1 y = 2"), "AutoScalingFormulaSyntaxError", None),
        (scaled(f"x = {'1' * 9000}"), "AutoScaleFormulaTooLong", None),
    ],
)
def test_wrong_settings_are_refused(members: dict[str, object], code: str, name: str | None, raw: RawClient) -> None:
    reply = raw.send("POST", "/pools", pool("wrong") | {"targetDedicatedNodes": None} | members)
    assert (reply.status, reply.code) == (400, code)
    assert reply.values.get("PropertyName") == name


def test_interval_is_five_minutes_unless_the_settings_allow_less(own_server: Server) -> None:
    reply = RawClient(own_server).send("POST", "/pools", pool("p") | scaled("$TargetDedicatedNodes=1", "PT4M59S"))
    assert (reply.status, reply.code) == (400, "InvalidPropertyValue")
    assert "300 seconds" in reply.values["Reason"]


def test_enabling_twice_in_a_moment_is_refused(own_server: Server) -> None:
    raw = RawClient(own_server)
    raw.send("POST", "/pools", pool("p"))
    formula = {"autoScaleFormula": "$TargetDedicatedNodes=0"}
    assert raw.send("POST", "/pools/p/enableautoscale", formula).status == 200
    reply = raw.send("POST", "/pools/p/enableautoscale", formula)
    assert (reply.status, reply.code) == (503, "TooManyEnableAutoScaleRequests")
    raw.send("DELETE", "/pools/p")


def test_what_this_machine_does_not_carry_is_a_resize_error(client: BatchClient, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("large", 5))
    wait_for(lambda: client.get_pool("large").allocation_state == models.AllocationState.STEADY)
    large = client.get_pool("large")
    assert (large.target_dedicated_nodes, large.current_dedicated_nodes) == (5, 3)
    assert large.resize_errors is not None
    assert [problem.code for problem in large.resize_errors] == ["AllocationFailed"]
    before = raw.send("GET", "/pools/large", version="2016-07-01.3.1").content
    assert before["resizeError"]["code"] == "AllocationFailed"
    assert (before["currentDedicated"], before["targetDedicated"]) == (3, 5)
    raw.send("DELETE", "/pools/large")
    wait_for(lambda: raw.send("GET", "/pools/large").status == 404)


_OLD_CLIENT = """
import datetime, os
from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

credentials = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
client = BatchServiceClient(credentials, base_url=os.environ["BATCH_ACCOUNT_URL"])
client.pool.enable_auto_scale(
    "old",
    auto_scale_formula="$TargetDedicated = 0; $isWeekday = time().weekday <= 7;",
    auto_scale_evaluation_interval=datetime.timedelta(minutes=5),
)
pool = client.pool.get("old")
assert pool.enable_auto_scale, pool
assert pool.auto_scale_evaluation_interval == datetime.timedelta(minutes=5)
results = "$TargetDedicated=0;$NodeDeallocationOption=requeue;$isWeekday=1"
assert pool.auto_scale_run.results == results, pool.auto_scale_run.results
run = client.pool.evaluate_auto_scale("old", auto_scale_formula="$TargetDedicated = $Nothing;")
assert run.error.code == "AutoScalingFormulaEvaluationError", run.error
assert run.error.values[0].name == "Message", run.error.values
try:
    client.pool.upgrade_os("old", "WA-GUEST-OS-4.45_201708-01")
except models.BatchErrorException as refusal:
    assert refusal.error.code == "PoolNotEligibleForOSVersionUpgrade", refusal.error.code
else:
    raise AssertionError("the pool was upgraded")
client.pool.disable_auto_scale("old")
assert client.pool.get("old").enable_auto_scale is False
"""


def test_sdk_of_2017_scales_a_pool(server: Server, raw: RawClient) -> None:
    raw.send("POST", "/pools", pool("old"))
    run_client("batch-2.0.0", "-c", _OLD_CLIENT, env=server.credentials)


def test_pool_for_old_versions_is_not_upgraded(raw: RawClient) -> None:
    reply = raw.send("POST", "/pools/nowhere/upgradeos", {"targetOSVersion": "*"}, version="2018-08-01.7.0")
    assert (reply.status, reply.code) == (404, "PoolNotFound")
