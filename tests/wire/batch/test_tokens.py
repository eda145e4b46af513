"""Bearer tokens: an account's, and those of tasks, which open their own job while they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.clients import run_client
from tests.servers import Server, millpond
from tests.wire.batch import make
from tests.wire.batch.raw import RawClient, Reply

VERSION = "2023-05-01.17.0"


def _token(server: Server, *options: str) -> str:
    done = millpond("account", "token", *options, "--data", server.data)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _ask(raw: RawClient, token: str, method: str, target: str, body: Any = None) -> Reply:
    return raw.send(method, target, body, sign_it=False, headers={"Authorization": f"Bearer {token}"}, version=VERSION)


def test_an_account_has_a_token(server: Server, raw: RawClient) -> None:
    token = _token(server)
    assert _token(server) == token
    assert _ask(raw, token, "GET", "/pools").status == 200
    newer = _token(server, "--new")
    refused = _ask(raw, token, "GET", "/pools")
    assert (refused.status, refused.code, refused.headers["www-authenticate"]) == (
        401,
        "AuthenticationFailed",
        "Bearer",
    )
    assert _ask(raw, newer, "GET", "/pools").status == 200
    assert millpond("account", "token", "nobody", "--data", server.data).returncode == 1


_SIGNS_IN_BY_TOKEN = """
import os
from azure.batch import BatchServiceClient
from msrest.authentication import BasicTokenAuthentication

credentials = BasicTokenAuthentication({"access_token": os.environ["TOKEN"]})
with BatchServiceClient(credentials, os.environ["BATCH_ACCOUNT_URL"]) as client:
    print(len(list(client.account.list_supported_images())) > 0)
"""


def test_an_sdk_signs_in_by_a_token(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SIGNS_IN_BY_TOKEN)
    done = run_client("batch-14.2.0", script, env=server.credentials | {"TOKEN": _token(server)})
    assert done.stdout == "True\n"


def test_the_token_of_a_task_opens_its_job_while_it_runs(raw: RawClient) -> None:
    raw.send("POST", "/pools", make.pool("tokens", nodes=1, taskSlotsPerNode=2))
    for job_id in ("own", "other"):
        raw.send("POST", "/jobs", make.job(job_id, "tokens"))
    settings = {"authenticationTokenSettings": {"access": ["job"]}}
    command = "/bin/sh -c 'echo $AZ_BATCH_AUTHENTICATION_TOKEN; sleep 600'"
    assert raw.send("POST", "/jobs/own/tasks", make.task("asks", command, **settings), version=VERSION).status == 201
    raw.send("POST", "/jobs/own/tasks", make.task("silent", "/bin/sh -c 'env | grep TOKEN'"))
    assert make.wait_for_task(raw, "own", "silent")["executionInfo"]["exitCode"] == 1
    task = raw.send("GET", "/jobs/own/tasks/asks", version=VERSION).content
    assert task["authenticationTokenSettings"] == {"access": ["job"]}

    def printed() -> str:
        reply = raw.send("GET", "/jobs/own/tasks/asks/files/stdout.txt")
        return reply.body.decode().strip() if reply.status == 200 else ""

    token = make.wait_for(printed)
    for method, target, status in [
        ("GET", "/jobs/OWN", 200),
        ("GET", "/jobs/own/tasks/asks", 200),
        ("GET", "/jobs/own/tasks/asks/files/stdout.txt", 200),
        ("GET", "/jobs/own/taskcounts", 200),
        ("GET", "/jobs/other", 403),
        ("GET", "/jobs/other/tasks", 403),
        ("GET", "/jobs", 403),
        ("GET", "/pools/tokens", 403),
        ("DELETE", "/pools/tokens", 403),
        ("DELETE", "/jobs/other", 403),
    ]:
        reply = _ask(raw, token, method, target)
        assert reply.status == status, target
        if status == 403:
            assert reply.code == "InsufficientAccountPermissions"
    assert _ask(raw, token, "POST", "/jobs/own/tasks", make.task("added")).status == 201
    make.wait_for_task(raw, "own", "added")
    assert _ask(raw, token, "POST", "/jobs/own/tasks/asks/terminate").status == 204
    over = _ask(raw, token, "GET", "/jobs/own")
    assert (over.status, over.code) == (401, "AuthenticationFailed")
    for job_id in ("own", "other"):
        raw.send("DELETE", f"/jobs/{job_id}")
    raw.send("DELETE", "/pools/tokens")
