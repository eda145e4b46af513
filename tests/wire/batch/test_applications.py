"""Application packages, from the command line to the task that runs a program of one."""

from __future__ import annotations

import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from tests.servers import Server, millpond
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient


def zip_file(path: Path, files: dict[str, tuple[str, int]]) -> Path:
    """A zip file with these contents and modes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
    return path


def app(server: Server, *arguments: str | Path) -> str:
    """Run ``millpond app`` on the server's data."""
    done = millpond("app", *arguments, "--data", server.data)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tool(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An application with two versions; ``1.0`` is the default."""
    directory = tmp_path_factory.mktemp("packages")
    for version in ("1.0", "2-beta.1"):
        program = f"#!/bin/sh\necho tool {version} $@\n"
        file = zip_file(directory / f"{version}.zip", {"bin/tool": (program, 0o755), "data.txt": ("data", 0o600)})
        app(server, "add", "My-Tool", version, file, *(["--default", "--display-name", "A tool"] * (version == "1.0")))
    return "My-Tool"


def test_applications_are_listed_by_the_sdk(client: BatchClient, tool: str) -> None:
    (application,) = client.list_applications()
    assert (application.id, application.display_name) == ("My-Tool", "A tool")
    assert application.versions == ["1.0", "2-beta.1"]
    assert client.get_application("my-tool").id == "My-Tool"
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_application("other")
    assert missing.value.error is not None
    assert missing.value.error.code == "ApplicationNotFound"


def test_a_pool_refuses_packages_that_there_are_not(client: BatchClient, raw: RawClient, tool: str) -> None:
    for number, (application_id, version) in enumerate([("other", None), ("my-tool", "3"), ("other", "1.0")]):
        reference = {"applicationId": application_id} | ({"version": version} if version else {})
        refused = raw.send("POST", "/pools", make.pool(f"refused{number}", applicationPackageReferences=[reference]))
        assert (refused.status, refused.code) == (409, "InvalidApplicationPackageReferences")
        assert refused.values["ApplicationId"] == application_id
    client.create_pool(models.BatchPoolCreateOptions(make.pool("empty")))
    other = models.BatchApplicationPackageReference(application_id="other")
    with pytest.raises(ResourceExistsError):
        client.update_pool("empty", models.BatchPoolUpdateOptions(application_package_references=[other]))
    known = models.BatchApplicationPackageReference(application_id="My-Tool", version="1.0")
    client.update_pool("empty", models.BatchPoolUpdateOptions(application_package_references=[known]))
    kept = client.get_pool("empty").application_package_references
    assert kept is not None
    assert [(each.application_id, each.version) for each in kept] == [("my-tool", "1.0")]
    raw.send("DELETE", "/pools/empty")


def test_no_more_than_ten_references(raw: RawClient, tool: str) -> None:
    references = [{"applicationId": tool}] * 11
    refused = raw.send("POST", "/pools", make.pool("eleven", applicationPackageReferences=references))
    assert (refused.status, refused.code) == (400, "InvalidPropertyValue")
    assert refused.values["PropertyName"] == "applicationPackageReferences"


def test_packages_of_pool_and_task_reach_the_task(raw: RawClient, tool: str) -> None:
    pool = make.pool(
        "with-packages",
        nodes=1,
        applicationPackageReferences=[{"applicationId": tool}],
        startTask={"commandLine": "/bin/sh -c '$AZ_BATCH_APP_PACKAGE_MY_TOOL/bin/tool start'", "waitForSuccess": True},
    )
    assert raw.send("POST", "/pools", pool).status == 201
    assert raw.send("POST", "/jobs", make.job("packages", "with-packages")).status == 201
    command = "/bin/sh -c 'env | grep AZ_BATCH_APP | sort; $AZ_BATCH_APP_PACKAGE_my_tool_2_beta_1/bin/tool task; "
    command += "stat -c %a $AZ_BATCH_APP_PACKAGE_my_tool/data.txt; touch $AZ_BATCH_APP_PACKAGE_my_tool/x && echo bad'"
    reference = {"applicationId": tool, "version": "2-beta.1"}
    task = make.task("t", command, applicationPackageReferences=[reference])
    assert raw.send("POST", "/jobs/packages/tasks", task).status == 201
    ended = make.wait_for_task(raw, "packages", "t")
    assert ended["applicationPackageReferences"] == [{"applicationId": "my-tool", "version": "2-beta.1"}]
    output = raw.send("GET", "/jobs/packages/tasks/t/files/stdout.txt").body.decode()
    *variables, ran, mode = output.splitlines()
    values = dict(line.split("=", 1) for line in variables)
    assert {name.removeprefix("AZ_BATCH_APP_PACKAGE_") for name in values} == {
        "My_Tool",
        "my_tool",
        "MY_TOOL",
        "My_Tool_2_beta_1",
        "my_tool_2_beta_1",
        "MY_TOOL_2_BETA_1",
    }
    assert values["AZ_BATCH_APP_PACKAGE_MY_TOOL"].partition("/applications/")[2].startswith("My-Tool1.020")
    assert (ran, mode) == ("tool 2-beta.1 task", "644")
    node = raw.send("GET", "/pools/with-packages/nodes").content["value"][0]["id"]
    started = raw.send("GET", f"/pools/with-packages/nodes/{node}/files/startup/stdout.txt").body
    assert started == b"tool 1.0 start\n"

    missing = make.task("missing", applicationPackageReferences=[{"applicationId": tool, "version": "9"}])
    assert raw.send("POST", "/jobs/packages/tasks", missing).status == 201
    failure = make.wait_for_task(raw, "packages", "missing")["executionInfo"]["failureInfo"]
    assert (failure["category"], failure["code"]) == ("usererror", "ApplicationPackageError")
    details = {detail["name"]: detail["value"] for detail in failure["details"]}
    assert (details["ApplicationId"], details["Version"]) == ("my-tool", "9")
    raw.send("DELETE", "/jobs/packages")
    raw.send("DELETE", "/pools/with-packages")


def test_a_node_whose_package_cannot_be_unpacked_is_unusable(server: Server, raw: RawClient, tmp_path: Path) -> None:
    app(server, "add", "evil", "1", zip_file(tmp_path / "evil.zip", {"../../evil": ("out", 0o644)}), "--default")
    pool = make.pool("evil", nodes=1, applicationPackageReferences=[{"applicationId": "evil"}])
    assert raw.send("POST", "/pools", pool).status == 201

    def unusable() -> list[dict[str, Any]]:
        nodes = raw.send("GET", "/pools/evil/nodes").content["value"]
        return [node for node in nodes if node["state"] == "unusable"]

    (node,) = make.wait_for(unusable)
    assert [problem["code"] for problem in node["errors"]] == ["ApplicationPackageError"]
    raw.send("DELETE", "/pools/evil")


@pytest.mark.parametrize("what", ["applications/My-Tool", "packages/abc", "containers/c", "certificates/abc"])
def test_what_agents_fetch_is_for_agents(raw: RawClient, tool: str, what: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        target = f"/agents/millpond/pool/node/{what}"
        assert raw.send("GET", target, headers=headers, sign_it=False, version=None).status == 403
    assert raw.send("GET", f"/agents/millpond/pool/node/{what}").status == 403  # an account's key opens nothing here


def test_what_the_command_line_refuses(server: Server, tmp_path: Path, tool: str) -> None:
    text = tmp_path / "text.zip"
    text.write_text("no zip file")
    good = zip_file(tmp_path / "good.zip", {"a": ("a", 0o644)})
    for arguments, words in [
        (("add", "x", "1", text), "not a zip file"),
        (("add", "x y", "1", good), "application id"),
        (("add", "x", "1/2", good), "version"),
        (("add", "x", "1", tmp_path / "none.zip"), "No such file"),
        (("remove", "x"), "no application x"),
        (("remove", tool, "3"), "no version 3"),
        (("set-default", tool, "3"), "no version 3"),
        (("list", "--account", "nobody"), "no batch account nobody"),
    ]:
        done = millpond("app", *arguments, "--data", server.data)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert "2-beta.1" in app(server, "list")


def test_nodes_get_their_packages_though_the_service_is_killed(own_server: Server, tmp_path: Path) -> None:
    """Also over and over, and with a package that takes a while."""
    raw = RawClient(own_server)
    package = tmp_path / "big.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("data", os.urandom(64 << 20))
    app(own_server, "add", "big", "1", package)
    reference = {"applicationId": "big", "version": "1"}
    pool = make.pool("big", nodes=2, applicationPackageReferences=[reference])
    assert raw.send("POST", "/pools", pool).status == 201
    for _ in range(3):
        pid = own_server.service_pid("batch")
        os.kill(pid, signal.SIGKILL)
        make.wait_for(lambda pid=pid: own_server.service_pid("batch") != pid)  # type: ignore[misc]

    def idle() -> bool:
        states = [node["state"] for node in raw.send("GET", "/pools/big/nodes").content["value"]]
        assert "unusable" not in states
        return states == ["idle", "idle"]

    make.wait_for(idle)
    raw.send("POST", "/jobs", make.job("big", "big"))
    raw.send("POST", "/jobs/big/tasks", make.task("t", "/bin/sh -c 'stat -c %s $AZ_BATCH_APP_PACKAGE_big_1/data'"))
    make.wait_for_task(raw, "big", "t")
    assert raw.send("GET", "/jobs/big/tasks/t/files/stdout.txt").body == b"%d\n" % (64 << 20)
