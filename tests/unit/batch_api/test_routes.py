"""The table of routes is held against the published operations; paths are matched as they are sent."""

from __future__ import annotations

import pytest
from tests.unit.batch_api import reference
from tests.unit.batch_api.calls import make_call

from millpond.batch.api.operations import OPERATIONS
from millpond.batch.api.routes import Routes
from millpond.common.errors import ServiceError

ROUTES = Routes(OPERATIONS)


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
