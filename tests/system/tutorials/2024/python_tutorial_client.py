"""The tutorial's client as its readers wrote it in 2024: `BatchServiceClient` 14 and `BlobServiceClient` 12.

Arguments: the task script, the directory of the texts, the directory for the results.
"""

import datetime
import os
import sys
import time

from azure.batch import BatchServiceClient
from azure.batch import models as batchmodels
from azure.batch.batch_auth import SharedKeyCredentials
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import (
    BlobSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)

BATCH_ACCOUNT_NAME = os.environ["BATCH_ACCOUNT_NAME"]
BATCH_ACCOUNT_KEY = os.environ["BATCH_ACCOUNT_KEY"]
BATCH_ACCOUNT_URL = os.environ["BATCH_ACCOUNT_URL"]
STORAGE_ACCOUNT_NAME = os.environ["STORAGE_ACCOUNT_NAME"]
STORAGE_ACCOUNT_KEY = os.environ["STORAGE_ACCOUNT_KEY"]
STORAGE_ACCOUNT_URL = os.environ["STORAGE_ACCOUNT_URL"]

POOL_ID = "PythonTutorialPool"
POOL_NODE_COUNT = 2
POOL_VM_SIZE = "STANDARD_D2S_V3"
NODE_OS_PUBLISHER = "canonical"
NODE_OS_OFFER = "0001-com-ubuntu-server-jammy"
NODE_OS_SKU = "22_04-lts"
JOB_ID = "PythonTutorialJob"


def in_two_hours():
    return datetime.datetime.utcnow() + datetime.timedelta(hours=2)


def upload_file_to_container(blob_service_client, container_name, file_path):
    blob_name = os.path.basename(file_path)
    print(f"Uploading file {file_path} to container [{container_name}]...")
    blob_client = blob_service_client.get_blob_client(container_name, blob_name)
    with open(file_path, "rb") as data:
        blob_client.upload_blob(data, overwrite=True)
    sas_token = generate_blob_sas(
        STORAGE_ACCOUNT_NAME,
        container_name,
        blob_name,
        account_key=STORAGE_ACCOUNT_KEY,
        permission=BlobSasPermissions(read=True),
        expiry=in_two_hours(),
    )
    return batchmodels.ResourceFile(http_url=f"{blob_client.url}?{sas_token}", file_path=blob_name)


def select_latest_verified_image(batch_client, publisher, offer, sku_starts_with):
    options = batchmodels.AccountListSupportedImagesOptions(filter="verificationType eq 'verified'")
    images = [
        image
        for image in batch_client.account.list_supported_images(account_list_supported_images_options=options)
        if image.image_reference.publisher.lower() == publisher.lower()
        and image.image_reference.offer.lower() == offer.lower()
        and image.image_reference.sku.startswith(sku_starts_with)
    ]
    newest = max(images, key=lambda image: image.image_reference.sku)
    return newest.node_agent_sku_id, newest.image_reference


def wrap_commands_in_shell(commands):
    return "/bin/bash -c 'set -e; set -o pipefail; {}; wait'".format(";".join(commands))


def create_pool(batch_client, application_files):
    print(f"Creating pool [{POOL_ID}]...")
    node_agent_sku_id, image_reference = select_latest_verified_image(
        batch_client, NODE_OS_PUBLISHER, NODE_OS_OFFER, NODE_OS_SKU
    )
    task_commands = [
        "cp -r $AZ_BATCH_TASK_WORKING_DIR/* $AZ_BATCH_NODE_SHARED_DIR",
        "python3 -m venv $AZ_BATCH_NODE_SHARED_DIR/venv",
        "$AZ_BATCH_NODE_SHARED_DIR/venv/bin/pip install azure-storage-blob==12.19.1",
    ]
    batch_client.pool.add(
        batchmodels.PoolAddParameter(
            id=POOL_ID,
            virtual_machine_configuration=batchmodels.VirtualMachineConfiguration(
                image_reference=image_reference, node_agent_sku_id=node_agent_sku_id
            ),
            vm_size=POOL_VM_SIZE,
            target_dedicated_nodes=POOL_NODE_COUNT,
            start_task=batchmodels.StartTask(
                command_line=wrap_commands_in_shell(task_commands),
                user_identity=batchmodels.UserIdentity(
                    auto_user=batchmodels.AutoUserSpecification(
                        scope=batchmodels.AutoUserScope.pool, elevation_level=batchmodels.ElevationLevel.admin
                    )
                ),
                wait_for_success=True,
                resource_files=application_files,
                environment_settings=[
                    batchmodels.EnvironmentSetting(name=name, value=value)
                    for name, value in os.environ.items()
                    if name.startswith("PIP_")
                ],
            ),
        )
    )


def create_job(batch_client):
    print(f"Creating job [{JOB_ID}]...")
    batch_client.job.add(batchmodels.JobAddParameter(id=JOB_ID, pool_info=batchmodels.PoolInformation(pool_id=POOL_ID)))


def add_tasks(batch_client, script, input_files, output_container_sas_token):
    print(f"Adding {len(input_files)} tasks to job [{JOB_ID}]...")
    tasks = [
        batchmodels.TaskAddParameter(
            id=f"topNtask{index}",
            command_line=wrap_commands_in_shell(
                [
                    f"$AZ_BATCH_NODE_SHARED_DIR/venv/bin/python $AZ_BATCH_NODE_SHARED_DIR/{script} "
                    f"--filepath {input_file.file_path} --numwords 3 --storageaccount {STORAGE_ACCOUNT_URL} "
                    f'--storagecontainer output --sastoken "{output_container_sas_token}"'
                ]
            ),
            resource_files=[input_file],
        )
        for index, input_file in enumerate(input_files)
    ]
    batch_client.task.add_collection(JOB_ID, tasks)


def wait_for_tasks_to_complete(batch_client, timeout):
    deadline = time.monotonic() + timeout.total_seconds()
    print(f"Monitoring all tasks for 'Completed' state, timeout in {timeout}...", end="", flush=True)
    options = batchmodels.TaskListOptions(select="id,state")
    while time.monotonic() < deadline:
        print(".", end="", flush=True)
        tasks = batch_client.task.list(JOB_ID, task_list_options=options)
        if all(task.state == batchmodels.TaskState.completed for task in tasks):
            print()
            return
        time.sleep(0.5)
    raise RuntimeError(f"ERROR: Tasks did not reach 'Completed' state within timeout period of {timeout}")


def download_blobs_from_container(blob_service_client, container_name, directory):
    print(f"Downloading all files from container [{container_name}]...")
    container_client = blob_service_client.get_container_client(container_name)
    for blob in container_client.list_blobs():
        destination = os.path.join(directory, blob.name)
        with open(destination, "wb") as file:
            file.write(container_client.download_blob(blob.name).readall())
        print(f"  Downloaded blob [{blob.name}] from container [{container_name}] to {destination}")
    print("  Download complete!")


if __name__ == "__main__":
    task_script, data_directory, output_directory = sys.argv[1:]

    start_time = datetime.datetime.now().replace(microsecond=0)
    print(f"Sample start: {start_time}\n")

    blob_service_client = BlobServiceClient(STORAGE_ACCOUNT_URL, credential=STORAGE_ACCOUNT_KEY)
    for container_name in ("application", "input", "output"):
        try:
            blob_service_client.create_container(container_name)
        except ResourceExistsError:
            pass

    application_files = [upload_file_to_container(blob_service_client, "application", task_script)]
    input_files = [
        upload_file_to_container(blob_service_client, "input", os.path.join(data_directory, name))
        for name in sorted(os.listdir(data_directory))
    ]
    output_container_sas_token = generate_container_sas(
        STORAGE_ACCOUNT_NAME,
        "output",
        account_key=STORAGE_ACCOUNT_KEY,
        permission=ContainerSasPermissions(write=True),
        expiry=in_two_hours(),
    )

    batch_client = BatchServiceClient(
        SharedKeyCredentials(BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY), batch_url=BATCH_ACCOUNT_URL
    )
    create_pool(batch_client, application_files)
    create_job(batch_client)
    add_tasks(batch_client, os.path.basename(task_script), input_files, output_container_sas_token)
    wait_for_tasks_to_complete(batch_client, datetime.timedelta(minutes=20))
    print("  Success! All tasks reached the 'Completed' state within the specified timeout period.")

    download_blobs_from_container(blob_service_client, "output", output_directory)

    print("Deleting containers...")
    for container_name in ("application", "input", "output"):
        blob_service_client.delete_container(container_name)

    end_time = datetime.datetime.now().replace(microsecond=0)
    print(f"\nSample end: {end_time}")
    print(f"Elapsed time: {end_time - start_time}\n")

    batch_client.job.delete(JOB_ID)
    batch_client.pool.delete(POOL_ID)
