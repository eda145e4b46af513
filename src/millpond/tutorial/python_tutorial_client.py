"""The client of the tutorial: run a parallel workload with Azure Batch and Azure Storage, from nothing to results.

It knows the services by their URLs, account names and keys alone, which it takes from the environment; `millpond
credentials --format env` prints them for a Millpond. docs/tutorial.md explains it step by step.
"""

from __future__ import annotations

import datetime
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from azure.batch import BatchClient
from azure.batch import models as batchmodels
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)

# Batch account credentials
BATCH_ACCOUNT_NAME = os.environ["BATCH_ACCOUNT_NAME"]
BATCH_ACCOUNT_KEY = os.environ["BATCH_ACCOUNT_KEY"]
BATCH_ACCOUNT_URL = os.environ["BATCH_ACCOUNT_URL"]

# Storage account credentials
STORAGE_ACCOUNT_NAME = os.environ["STORAGE_ACCOUNT_NAME"]
STORAGE_ACCOUNT_KEY = os.environ["STORAGE_ACCOUNT_KEY"]
STORAGE_ACCOUNT_URL = os.environ["STORAGE_ACCOUNT_URL"]

APP_CONTAINER_NAME = "application"
INPUT_CONTAINER_NAME = "input"
OUTPUT_CONTAINER_NAME = "output"

POOL_ID = "PythonTutorialPool"
POOL_NODE_COUNT = 2
POOL_VM_SIZE = "STANDARD_D2S_V3"
NODE_OS_PUBLISHER = "Canonical"
NODE_OS_OFFER = "ubuntu-24_04-lts"
NODE_OS_SKU = "server"
JOB_ID = "PythonTutorialJob"

TASK_SCRIPT = "python_tutorial_task.py"


def upload_file_to_container(
    blob_service_client: BlobServiceClient, container_name: str, file_path: Path
) -> batchmodels.ResourceFile:
    """Upload a local file, and return it as a resource file that a task may read for the next two hours."""
    print(f"Uploading file {file_path} to container [{container_name}]...")

    blob_client = blob_service_client.get_blob_client(container_name, file_path.name)
    with file_path.open("rb") as data:
        blob_client.upload_blob(data, overwrite=True)

    sas_token = generate_blob_sas(
        STORAGE_ACCOUNT_NAME,
        container_name,
        file_path.name,
        account_key=STORAGE_ACCOUNT_KEY,
        permission=BlobSasPermissions(read=True),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2),
    )
    return batchmodels.ResourceFile(file_path=file_path.name, http_url=f"{blob_client.url}?{sas_token}")


def get_container_sas_token(container_name: str) -> str:
    """A signature that allows nothing but writing blobs to a container, for the next two hours."""
    return generate_container_sas(
        STORAGE_ACCOUNT_NAME,
        container_name,
        account_key=STORAGE_ACCOUNT_KEY,
        permission=ContainerSasPermissions(write=True),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2),
    )


def select_latest_verified_image(
    batch_client: BatchClient, publisher: str, offer: str, sku_starts_with: str
) -> tuple[str, batchmodels.BatchVmImageReference]:
    """The node agent SKU and the reference of the newest verified image of a publisher's offer."""
    matching = {
        str(image.image_reference.sku): image
        for image in batch_client.list_supported_images()
        if image.verification_type == batchmodels.ImageVerificationType.VERIFIED
        and str(image.image_reference.publisher).lower() == publisher.lower()
        and str(image.image_reference.offer).lower() == offer.lower()
        and str(image.image_reference.sku).startswith(sku_starts_with)
    }
    newest = matching[max(matching)]
    return newest.node_agent_sku_id, newest.image_reference


def wrap_commands_in_shell(commands: Iterable[str]) -> str:
    """One command line that runs commands in a shell, one after the other, and ends at the first that fails.

    Batch runs a command line as it is: variables, pipes and `&&` need a shell.
    """
    return "/bin/bash -c " + shlex.quote("set -e; set -o pipefail; " + "; ".join(commands))


def create_pool(batch_client: BatchClient, pool_id: str, resource_files: list[batchmodels.ResourceFile]) -> None:
    """Create a pool of Linux nodes, each prepared by a start task to run our task script."""
    print(f"Creating pool [{pool_id}]...")

    task_commands = [
        # The script goes to the "shared" directory, which all tasks on the node have access to.
        "cp -r $AZ_BATCH_TASK_WORKING_DIR/* $AZ_BATCH_NODE_SHARED_DIR",
        # So does the library that it needs, in an environment of its own: nothing else on the node changes.
        "python3 -m venv $AZ_BATCH_NODE_SHARED_DIR/venv",
        "$AZ_BATCH_NODE_SHARED_DIR/venv/bin/pip install azure-storage-blob",
    ]
    node_agent_sku_id, image_reference = select_latest_verified_image(
        batch_client, NODE_OS_PUBLISHER, NODE_OS_OFFER, NODE_OS_SKU
    )
    batch_client.create_pool(
        batchmodels.BatchPoolCreateOptions(
            id=pool_id,
            virtual_machine_configuration=batchmodels.VirtualMachineConfiguration(
                image_reference=image_reference, node_agent_sku_id=node_agent_sku_id
            ),
            vm_size=POOL_VM_SIZE,
            target_dedicated_nodes=POOL_NODE_COUNT,
            start_task=batchmodels.BatchStartTask(
                command_line=wrap_commands_in_shell(task_commands),
                user_identity=batchmodels.UserIdentity(
                    auto_user=batchmodels.AutoUserSpecification(
                        scope=batchmodels.AutoUserScope.POOL, elevation_level=batchmodels.ElevationLevel.ADMIN
                    )
                ),
                wait_for_success=True,
                resource_files=resource_files,
                environment_settings=list(pip_settings()),
            ),
        )
    )


def pip_settings() -> Iterator[batchmodels.EnvironmentSetting]:
    """This machine's settings for pip, so that nodes install from where it does."""
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            yield batchmodels.EnvironmentSetting(name=name, value=value)


def create_job(batch_client: BatchClient, job_id: str, pool_id: str) -> None:
    """Create a job whose tasks run on the nodes of a pool."""
    print(f"Creating job [{job_id}]...")
    batch_client.create_job(
        batchmodels.BatchJobCreateOptions(id=job_id, pool_info=batchmodels.BatchPoolInfo(pool_id=pool_id))
    )


def add_tasks(
    batch_client: BatchClient,
    job_id: str,
    input_files: list[batchmodels.ResourceFile],
    output_container_name: str,
    output_container_sas_token: str,
) -> None:
    """Add one task for each input file, all in one call."""
    print(f"Adding {len(input_files)} tasks to job [{job_id}]...")

    tasks = []
    for index, input_file in enumerate(input_files):
        command = (
            f"$AZ_BATCH_NODE_SHARED_DIR/venv/bin/python $AZ_BATCH_NODE_SHARED_DIR/{TASK_SCRIPT}"
            f" --filepath {input_file.file_path} --numwords 3"
            f" --storageaccount {STORAGE_ACCOUNT_URL} --storagecontainer {output_container_name}"
            f' --sastoken "{output_container_sas_token}"'
        )
        tasks.append(
            batchmodels.BatchTaskCreateOptions(
                id=f"topNtask{index}", command_line=wrap_commands_in_shell([command]), resource_files=[input_file]
            )
        )
    batch_client.create_task_collection(job_id, batchmodels.BatchTaskGroup(task_values=tasks))


def wait_for_tasks_to_complete(
    batch_client: BatchClient, pool_id: str, job_id: str, timeout: datetime.timedelta
) -> None:
    """Return when all tasks of a job are completed. Raises `RuntimeError` if they are not in time, or cannot be."""
    deadline = time.monotonic() + timeout.total_seconds()
    is_terminal = sys.stdout.isatty()
    print(f"Monitoring all tasks for 'Completed' state, timeout in {timeout}...", end="\n" if is_terminal else "")

    while time.monotonic() < deadline:
        tasks = list(batch_client.list_tasks(job_id))
        completed = [task for task in tasks if task.state == batchmodels.BatchTaskState.COMPLETED]
        show_progress(len(completed), len(tasks), is_terminal=is_terminal)
        if len(completed) == len(tasks):
            print()
            raise_failures(batch_client, job_id, completed)
            return
        raise_failed_start_task(batch_client, pool_id)
        time.sleep(0.2)

    print()
    raise RuntimeError(f"ERROR: Tasks did not reach 'Completed' state within timeout period of {timeout}")


def show_progress(done: int, total: int, *, is_terminal: bool) -> None:
    """A bar on a terminal, a dot elsewhere."""
    text = f"\r  [{'#' * (30 * done // total):<30}] {done} of {total} tasks completed" if is_terminal else "."
    print(text, end="", flush=True)


def raise_failed_start_task(batch_client: BatchClient, pool_id: str) -> None:
    """Tasks wait as long as no node is ready for them: if a start task failed, say so, and what it printed."""
    for node in batch_client.list_nodes(pool_id, filter="state eq 'starttaskfailed'"):
        output = b"".join(batch_client.download_node_file(pool_id, node.id, "startup/stderr.txt")).decode()
        print()
        raise RuntimeError(f"ERROR: The start task failed on node {node.id}:\n{output}")


def raise_failures(batch_client: BatchClient, job_id: str, tasks: list[batchmodels.BatchTask]) -> None:
    """A completed task need not have succeeded."""
    for task in tasks:
        info = task.execution_info
        if info and info.result == batchmodels.BatchTaskExecutionResult.FAILURE:
            reason = info.failure_info.message if info.failure_info else ""
            output = b"".join(batch_client.download_task_file(job_id, task.id, "stderr.txt")).decode()
            raise RuntimeError(f"ERROR: Task {task.id} failed: {reason}\n{output}")


def download_blobs_from_container(
    blob_service_client: BlobServiceClient, container_name: str, directory: Path
) -> list[Path]:
    """Download every blob of a container; the paths of the files."""
    print(f"Downloading all files from container [{container_name}]...")

    container_client = blob_service_client.get_container_client(container_name)
    files = []
    for blob in container_client.list_blobs():
        file = directory / blob.name
        with file.open("wb") as output:
            container_client.download_blob(blob.name).readinto(output)
        print(f"  Downloaded blob [{blob.name}] from container [{container_name}] to {file}")
        files.append(file)

    print("  Download complete!")
    return files


def query_yes_no(question: str) -> bool:
    """Ask on the terminal; ENTER means yes, and so does having nobody to ask."""
    while True:
        try:
            answer = input(f"{question} [Y/n] ").strip().lower()
        except EOFError:
            print()
            return True
        if answer in {"", "y", "yes"}:
            return True
        if answer in {"n", "no"}:
            return False


def main(output_directory: Path, *, yes: bool = False) -> None:
    """Run the tutorial from its first step to its last; `yes` answers the questions at the end."""
    start_time = datetime.datetime.now().astimezone().replace(microsecond=0)
    print(f"Sample start: {start_time:%Y-%m-%d %H:%M:%S}\n")

    # Step 1: create the containers for the script, the data and the results.
    blob_service_client = BlobServiceClient(
        STORAGE_ACCOUNT_URL, credential=AzureNamedKeyCredential(STORAGE_ACCOUNT_NAME, STORAGE_ACCOUNT_KEY)
    )
    for container_name in (APP_CONTAINER_NAME, INPUT_CONTAINER_NAME, OUTPUT_CONTAINER_NAME):
        container_client = blob_service_client.get_container_client(container_name)
        if not container_client.exists():
            container_client.create_container()

    # Step 2: upload the task script and the data files.
    here = Path(__file__).resolve().parent
    application_files = [upload_file_to_container(blob_service_client, APP_CONTAINER_NAME, here / TASK_SCRIPT)]
    input_files = [
        upload_file_to_container(blob_service_client, INPUT_CONTAINER_NAME, file_path)
        for file_path in sorted((here / "data").glob("taskdata*.txt"))
    ]
    output_container_sas_token = get_container_sas_token(OUTPUT_CONTAINER_NAME)

    # Step 3: create the pool.
    batch_client = BatchClient(
        BATCH_ACCOUNT_URL, credential=AzureNamedKeyCredential(BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY)
    )
    create_pool(batch_client, POOL_ID, application_files)

    # Steps 4 and 5: create the job, and add the tasks to it.
    create_job(batch_client, JOB_ID, POOL_ID)
    add_tasks(batch_client, JOB_ID, input_files, OUTPUT_CONTAINER_NAME, output_container_sas_token)

    # Step 6: monitor the tasks.
    wait_for_tasks_to_complete(batch_client, POOL_ID, JOB_ID, datetime.timedelta(minutes=20))
    print("  Success! All tasks reached the 'Completed' state within the specified timeout period.")

    # Step 7: download the results.
    output_files = download_blobs_from_container(blob_service_client, OUTPUT_CONTAINER_NAME, output_directory)

    # Step 8: delete the containers.
    print("Deleting containers...")
    for container_name in (APP_CONTAINER_NAME, INPUT_CONTAINER_NAME, OUTPUT_CONTAINER_NAME):
        blob_service_client.delete_container(container_name)

    end_time = datetime.datetime.now().astimezone().replace(microsecond=0)
    print(f"\nSample end: {end_time:%Y-%m-%d %H:%M:%S}")
    print(f"Elapsed time: {end_time - start_time}\n")
    for output_file in output_files:
        print(f"{output_file.name}:\n{output_file.read_text(encoding='utf-8')}")

    # Step 9: delete the job and the pool.
    if yes or query_yes_no("Delete job?"):
        batch_client.begin_delete_job(JOB_ID)
    if yes or query_yes_no("Delete pool?"):
        batch_client.begin_delete_pool(POOL_ID)


if __name__ == "__main__":
    try:
        main(Path.home(), yes="--yes" in sys.argv[1:])
    except (HttpResponseError, RuntimeError) as error:
        sys.exit(str(error))
