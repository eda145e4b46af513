"""Output files, with the newest SDK, real nodes and the Blob service."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas
from tests.servers import Server

JOB = "outputs"
MIB = 1 << 20


@pytest.fixture(scope="module")
def batch(server: Server) -> Iterator[BatchClient]:
    """A client, with a pool of a node and a job on it."""
    values = server.credentials
    key = AzureNamedKeyCredential(values["BATCH_ACCOUNT_NAME"], values["BATCH_ACCOUNT_KEY"])
    with BatchClient(values["BATCH_ACCOUNT_URL"], key) as client:
        image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
        machines = models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
        )
        client.create_pool(
            models.BatchPoolCreateOptions(
                id="pool",
                vm_size="standard_a1_v2",
                virtual_machine_configuration=machines,
                target_dedicated_nodes=1,
                task_slots_per_node=4,
            )
        )
        client.create_job(models.BatchJobCreateOptions(id=JOB, pool_info=models.BatchPoolInfo(pool_id="pool")))
        yield client


class Container:
    """A fresh container, and its URL with a SAS of these permissions."""

    def __init__(self, server: Server, name: str) -> None:
        values = server.credentials
        self._account, self._key = values["STORAGE_ACCOUNT_NAME"], values["STORAGE_ACCOUNT_KEY"]
        self.service = BlobServiceClient(
            server.blob_url, credential={"account_name": self._account, "account_key": self._key}
        )
        self.client: ContainerClient = self.service.create_container(name)

    def url(self, permissions: str = "w", *, container: str | None = None) -> str:
        name = container or self.client.container_name
        sas = generate_container_sas(
            self._account,
            name,
            account_key=self._key,
            permission=ContainerSasPermissions.from_string(permissions),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        url = self.client.url.removesuffix(self.client.container_name) + name
        return f"{url}?{sas}"

    def blobs(self) -> dict[str, bytes]:
        return {name: self.client.download_blob(name).readall() for name in self.client.list_blob_names()}


@pytest.fixture
def container(server: Server, request: pytest.FixtureRequest) -> Iterator[Container]:
    container = Container(server, hashlib.sha256(request.node.name.encode()).hexdigest()[:40])
    with container.service:
        yield container


def output(
    pattern: str, url: str, condition: str = "taskcompletion", path: str | None = None, **headers: str
) -> models.OutputFile:
    pairs = [models.OutputFileUploadHeader(name=name.replace("_", "-"), value=value) for name, value in headers.items()]
    destination = models.OutputFileBlobContainerDestination(container_url=url, path=path, upload_headers=pairs or None)
    return models.OutputFile(
        file_pattern=pattern,
        destination=models.OutputFileDestination(container=destination),
        upload_options=models.OutputFileUploadConfiguration(
            upload_condition=models.OutputFileUploadCondition(condition)
        ),
    )


@pytest.fixture
def run(batch: BatchClient, request: pytest.FixtureRequest) -> Callable[..., models.BatchTask]:
    """Runs a task with these output files to its end."""
    task_id = hashlib.sha256(request.node.name.encode()).hexdigest()[:40]

    def run_task(script: str, *files: models.OutputFile, **options: Any) -> models.BatchTask:
        command = f"/bin/sh -c '{script}'"
        batch.create_task(
            JOB, models.BatchTaskCreateOptions(id=task_id, command_line=command, output_files=list(files), **options)
        )
        end = time.monotonic() + 60
        while (task := batch.get_task(JOB, task_id)).state != models.BatchTaskState.COMPLETED:
            assert time.monotonic() < end, "waited for too long"
            time.sleep(0.02)
        return task

    return run_task


def failure_code(task: models.BatchTask) -> str | None:
    assert task.execution_info
    return task.execution_info.failure_info.code if task.execution_info.failure_info else None


def text(batch: BatchClient, task: models.BatchTask, name: str) -> str:
    assert task.id
    return b"".join(batch.download_task_file(JOB, task.id, name)).decode()


def test_files_that_match_become_blobs_before_the_task_is_completed(
    batch: BatchClient, run: Callable[..., models.BatchTask], container: Container
) -> None:
    task = run(
        "mkdir -p a/b; echo out; echo err >&2; echo 1 > one.txt; echo 2 > a/b/two.txt; echo 3 > .three.txt; echo 4 > x",
        output("../std*.txt", container.url(), path="logs/"),
        output("**/*.txt", container.url(), path="found"),
        output("$MINE/b/two.txt", container.url()),
        output("x", container.url(), path="renamed/y", Content_Type="text/x-mine", x_ms_meta_made="by task"),
        output("$AZ_BATCH_TASK_WORKING_DIR/*", container.url(), path="absolute"),
        output("no-such-file", container.url()),
        environment_settings=[models.EnvironmentSetting(name="MINE", value="a")],
    )
    assert failure_code(task) is None
    assert container.blobs() == {
        "logs/stdout.txt": b"out\n",
        "logs/stderr.txt": b"err\n",
        "found/one.txt": b"1\n",
        "found/a/b/two.txt": b"2\n",
        "two.txt": b"2\n",
        "renamed/y": b"4\n",
        "absolute/one.txt": b"1\n",
        "absolute/x": b"4\n",
    }
    properties = container.client.get_blob_client("renamed/y").get_blob_properties()
    assert properties.content_settings.content_type == "text/x-mine"
    assert properties.metadata == {"made": "by task"}
    told = text(batch, task, "fileuploadout.txt")
    assert told.count("Uploaded ") == 8
    assert "No file matches no-such-file" in told
    assert "sig=" not in told
    assert text(batch, task, "fileuploaderr.txt") == ""


@pytest.mark.parametrize(("exit_code", "uploaded"), [(0, {"always", "success"}), (3, {"always", "failure"})])
def test_condition_says_after_which_end_files_are_uploaded(
    run: Callable[..., models.BatchTask], container: Container, exit_code: int, uploaded: set[str]
) -> None:
    task = run(
        f"exit {exit_code}",
        output("../stdout.txt", container.url(), "tasksuccess", path="success"),
        output("../stdout.txt", container.url(), "taskfailure", path="failure"),
        output("../stdout.txt", container.url(), "taskcompletion", path="always"),
    )
    assert failure_code(task) == ("FailureExitCode" if exit_code else None)
    assert set(container.blobs()) == uploaded


def test_task_without_anything_due_has_no_record_of_uploads(
    batch: BatchClient, run: Callable[..., models.BatchTask], container: Container
) -> None:
    task = run("true", output("../stdout.txt", container.url(), "taskfailure"))
    assert task.id
    with pytest.raises(ResourceNotFoundError):
        batch.get_task_file_properties(JOB, task.id, "fileuploadout.txt")


def test_long_file_goes_by_blocks_with_its_properties(
    run: Callable[..., models.BatchTask], container: Container
) -> None:
    size = 50 * MIB + 17
    task = run(
        f"yes 0123456789 | head -c {size} > big",
        output("big", container.url(), Content_Type="text/x-big", x_ms_meta_big="yes"),
    )
    assert failure_code(task) is None
    client = container.client.get_blob_client("big")
    committed, uncommitted = client.get_block_list("all")
    assert (len(committed), uncommitted) == (4, [])
    properties = client.get_blob_properties()
    assert (properties.size, properties.content_settings.content_type) == (size, "text/x-big")
    assert properties.metadata == {"big": "yes"}
    expected = (b"0123456789\n" * (size // 11 + 1))[:size]
    assert client.download_blob().readall() == expected


@pytest.mark.parametrize("exit_code", [0, 5])
@pytest.mark.parametrize(
    "case",  # permissions, whether the container is missing, file, code
    [
        ("r", False, "../stdout.txt", "FileUploadAccessDenied"),
        ("r", False, "big", "FileUploadAccessDenied"),
        ("w", True, "../stdout.txt", "FileUploadContainerNotFound"),
        ("w", True, "big", "FileUploadContainerNotFound"),
        (None, False, "../stdout.txt", "FileUploadMiscError"),
    ],
)
def test_failed_upload_fails_the_task_keeps_its_exit_code_and_is_not_retried(
    batch: BatchClient,
    run: Callable[..., models.BatchTask],
    container: Container,
    case: tuple[str | None, bool, str, str],
    exit_code: int,
) -> None:
    permissions, missing, file, code = case
    good = output("../stdout.txt", container.url())
    url = "http://127.0.0.1:1/account/container?sig=secret"
    if permissions:
        url = container.url(permissions, container="no-such-container" if missing else None)
    task = run(
        f"head -c {40 * MIB} /dev/zero > big; exit {exit_code}",
        output(file, url),
        good,
        constraints=models.BatchTaskConstraints(max_task_retry_count=3),
    )
    assert failure_code(task) == code
    info = task.execution_info
    assert info
    assert info.failure_info
    assert (info.exit_code, info.retry_count, info.result) == (exit_code, 0, "failure")
    assert info.failure_info.category == ("servererror" if code == "FileUploadMiscError" else "usererror")
    assert "sig=" not in str(info.failure_info.as_dict())
    assert code in text(batch, task, "fileuploaderr.txt")
    assert set(container.blobs()) == {"stdout.txt"}, "what can be uploaded is"


@pytest.mark.parametrize("elevation", ["nonadmin", "admin"])
def test_nothing_outside_of_the_nodes_root_is_uploaded(
    batch: BatchClient, run: Callable[..., models.BatchTask], container: Container, elevation: str
) -> None:
    task = run(
        "ln -s /etc/passwd link; ln -s /proc/1/environ secret; ln -s /etc dir; ln -s ../stdout.txt good; echo good",
        output("*", container.url(), path="links"),
        output("dir/*", container.url()),
        output("/etc/passwd", container.url()),
        output("../../../../../../../../etc/passwd", container.url()),
        output("/proc/self/environ", container.url()),
        user_identity=models.UserIdentity(
            auto_user=models.AutoUserSpecification(elevation_level=models.ElevationLevel(elevation))
        ),
    )
    assert container.blobs() == {"links/good": b"good\n"}
    assert text(batch, task, "fileuploaderr.txt").count("Skipped ") >= 3
    assert failure_code(task) is None


def test_file_that_the_tasks_user_may_not_read_fails_the_upload(
    run: Callable[..., models.BatchTask], container: Container
) -> None:
    task = run(
        "ln -s ../../../../../volatile/retention closed; echo > mine; chmod 0 mine",
        output("closed/*", container.url()),
        output("mine", container.url()),
    )
    assert container.blobs() == {}
    assert failure_code(task) == "FileUploadMiscError"
