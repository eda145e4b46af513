"""The table of routes is held against the published operations; paths are matched as they are sent."""

from __future__ import annotations

import pytest
from tests.unit.batch_api import reference
from tests.unit.batch_api.calls import make_call

from millpond.batch.api.operations import OPERATIONS, not_implemented
from millpond.batch.api.routes import Routes
from millpond.common.errors import ServiceError

ROUTES = Routes(OPERATIONS)

#: Operations that stand for themselves until they are built.
BUILT = {
    "Certificate_Add",
    "Certificate_CancelDeletion",
    "Certificate_Delete",
    "Certificate_Get",
    "Certificate_List",
    "Account_ListNodeAgentSkus",
    "Account_ListPoolNodeCounts",
    "Account_ListSupportedImages",
    "Application_Get",
    "Application_List",
    "ComputeNodeExtension_Get",
    "ComputeNodeExtension_List",
    "ComputeNode_AddUser",
    "ComputeNode_Deallocate",
    "ComputeNode_DeleteUser",
    "ComputeNode_DisableScheduling",
    "ComputeNode_EnableScheduling",
    "ComputeNode_Get",
    "ComputeNode_GetRemoteDesktop",
    "ComputeNode_GetRemoteLoginSettings",
    "ComputeNode_List",
    "ComputeNode_Reboot",
    "ComputeNode_Reimage",
    "ComputeNode_Start",
    "ComputeNode_UpdateUser",
    "ComputeNode_UploadBatchServiceLogs",
    "File_DeleteFromComputeNode",
    "File_DeleteFromTask",
    "File_GetFromComputeNode",
    "File_GetFromTask",
    "File_GetPropertiesFromComputeNode",
    "File_GetPropertiesFromTask",
    "File_ListFromComputeNode",
    "File_ListFromTask",
    "JobSchedule_Add",
    "JobSchedule_Delete",
    "JobSchedule_Disable",
    "JobSchedule_Enable",
    "JobSchedule_Exists",
    "JobSchedule_Get",
    "JobSchedule_List",
    "JobSchedule_Patch",
    "JobSchedule_Terminate",
    "JobSchedule_Update",
    "Job_ListPreparationAndReleaseTaskStatus",
    "Job_Add",
    "Job_Delete",
    "Job_Disable",
    "Job_Enable",
    "Job_Get",
    "Job_GetTaskCounts",
    "Job_List",
    "Job_ListFromJobSchedule",
    "Job_Patch",
    "Job_Terminate",
    "Job_Update",
    "Pool_Add",
    "Pool_Delete",
    "Pool_DisableAutoScale",
    "Pool_EnableAutoScale",
    "Pool_EvaluateAutoScale",
    "Pool_Exists",
    "Pool_Get",
    "Pool_List",
    "Pool_Patch",
    "Pool_RemoveNodes",
    "Pool_Resize",
    "Pool_StopResize",
    "Pool_UpdateProperties",
    "Pool_UpgradeOS",
    "Task_Add",
    "Task_AddCollection",
    "Task_Delete",
    "Task_Get",
    "Task_List",
    "Task_ListSubtasks",
    "Task_Reactivate",
    "Task_Terminate",
    "Task_Update",
}


def test_every_published_operation_is_there_and_no_other() -> None:
    published = {(about["method"], about["path"]) for about in reference.operations().values()}
    assert {(operation.method, operation.path) for operation in OPERATIONS} == published
    assert len(OPERATIONS) == len(published)


@pytest.mark.parametrize("name", sorted(reference.operations()))
def test_operations_exist_in_the_versions_that_have_them(name: str) -> None:
    about = reference.operations()[name]
    [operation] = [one for one in OPERATIONS if (one.method, one.path) == (about["method"], about["path"])]
    introduced = about["introduced"].partition(" ")[0][:10]
    assert operation.since in (introduced, "2024-07-01")  # a preview that was not published
    last = about["lastSeen"][:10]
    assert operation.until == last
    assert (operation.handler is not not_implemented) == (name in BUILT)
    if name in BUILT:
        assert operation.handler.__name__ == _python_name(name)


def _python_name(operation_id: str) -> str:
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation_id.replace("OS", "Os"))
    return words.replace("__", "_").strip("_")


@pytest.mark.parametrize(
    ("target", "params"),
    [
        ("/jobs/J-1/tasks/t", {"jobId": "J-1", "taskId": "t"}),
        ("/jobs/J-1/tasks/t/", {"jobId": "J-1", "taskId": "t"}),
        ("/jobs/s%3Ajob-1", {"jobId": "s:job-1"}),
        ("/jobs/j/tasks/t/files/wd%2Fsub%20dir%2Fa%2Bb.txt", {"filePath": "wd/sub dir/a+b.txt"}),
        ("/jobs/j/tasks/t/files/wd/a.txt", {"filePath": "wd/a.txt"}),
        ("/jobs/j/tasks/t/files/%252e%252e", {"filePath": "%2e%2e"}),
        ("/jobs/j/tasks/t/files/..%2f..%2fx", {"filePath": "../../x"}),
        ("/jobs/j/tasks/t/files/../../x", {"filePath": "../../x"}),
        ("/certificates(thumbprintAlgorithm=sha1,thumbprint=a1)", {}),
    ],
)
def test_paths_are_matched_as_sent_and_their_parts_decoded_once(target: str, params: dict[str, str]) -> None:
    call = make_call("GET", target, version="2024-02-01")
    ROUTES.find(call)
    assert params.items() <= call.params.items()


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 400, "InvalidUri"),
        ("GET", "/nothing", 400, "InvalidUri"),
        ("GET", "/pools/p/nothing", 400, "InvalidUri"),
        ("GET", "/jobs/j/tasks/t/x/y", 400, "InvalidUri"),
        ("GET", "/jobs/%ff", 400, "RequestUrlFailedToParse"),
        ("PUT", "/pools/p", 405, "UnsupportedHttpVerb"),
        ("HEAD", "/jobs/j", 405, "UnsupportedHttpVerb"),
        ("BREW", "/jobs", 400, "InvalidHttpVerb"),
        ("GET", "/nodeagentskus", 400, "UnsupportedRequestVersion"),
    ],
)
def test_paths_that_lead_nowhere_are_told_so(method: str, target: str, status: int, code: str) -> None:
    with pytest.raises(ServiceError) as refused:
        ROUTES.find(make_call(method, target))
    assert (refused.value.status, refused.value.code) == (status, code)
