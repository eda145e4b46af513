"""The tutorial's client as its readers wrote it in 2017: `BatchServiceClient` and `BlockBlobService`.

Arguments: the directory of the texts, the directory for the results.
"""

import datetime
import os
import sys
import time

import azure.batch as batch
import azure.batch.batch_auth as batchauth
import azure.batch.models as batchmodels
import azure.storage.blob as azureblob

_BATCH_ACCOUNT_NAME = os.environ["BATCH_ACCOUNT_NAME"]
_BATCH_ACCOUNT_KEY = os.environ["BATCH_ACCOUNT_KEY"]
_BATCH_ACCOUNT_URL = os.environ["BATCH_ACCOUNT_URL"]
_STORAGE_ACCOUNT_NAME = os.environ["STORAGE_ACCOUNT_NAME"]
_STORAGE_ACCOUNT_KEY = os.environ["STORAGE_ACCOUNT_KEY"]
_STORAGE_ACCOUNT_URL = os.environ["STORAGE_ACCOUNT_URL"]

_POOL_ID = "PythonTutorialPool"
_POOL_NODE_COUNT = 1
_POOL_VM_SIZE = "STANDARD_A1"
_NODE_OS_PUBLISHER = "Canonical"
_NODE_OS_OFFER = "UbuntuServer"
_NODE_OS_SKU = "16"
_JOB_ID = "PythonTutorialJob"
_TASK_SCRIPT = "python_tutorial_task.py"


def upload_file_to_container(block_blob_client, container_name, file_path):
    """Upload a local file, and return it as a resource file with a read-only signature for two hours."""
    blob_name = os.path.basename(file_path)
    print(f"Uploading file {file_path} to container [{container_name}]...")
    block_blob_client.create_blob_from_path(container_name, blob_name, file_path)
    sas_token = block_blob_client.generate_blob_shared_access_signature(
        container_name,
        blob_name,
        permission=azureblob.BlobPermissions.READ,
        expiry=datetime.datetime.utcnow() + datetime.timedelta(hours=2),
    )
    sas_url = block_blob_client.make_blob_url(container_name, blob_name, sas_token=sas_token)
    return batchmodels.ResourceFile(file_path=blob_name, blob_source=sas_url)


def get_container_sas_token(block_blob_client, container_name, blob_permissions):
    return block_blob_client.generate_container_shared_access_signature(
        container_name,
        permission=blob_permissions,
        expiry=datetime.datetime.utcnow() + datetime.timedelta(hours=2),
    )


def select_latest_verified_vm_image_with_node_agent_sku(batch_client, publisher, offer, sku_starts_with):
    """The newest verified image of an offer, and the node agent that goes with it."""
    node_agent_skus = batch_client.account.list_node_agent_skus()
    skus_to_use = [
        (sku, image_ref)
        for sku in node_agent_skus
        for image_ref in sorted(sku.verified_image_references, key=lambda item: item.sku)
        if image_ref.publisher.lower() == publisher.lower()
        and image_ref.offer.lower() == offer.lower()
        and image_ref.sku.startswith(sku_starts_with)
    ]
    sku_to_use, image_ref_to_use = skus_to_use[-1]
    return sku_to_use.id, image_ref_to_use


def wrap_commands_in_shell(commands):
    return "/bin/bash -c 'set -e; set -o pipefail; {}; wait'".format(";".join(commands))


def target_nodes(count):
    """azure-batch 3.0 renamed the property, when it added low-priority nodes."""
    return {"target_dedicated" if batch.__version__ < "3" else "target_dedicated_nodes": count}


def create_pool(batch_service_client, pool_id, resource_files, publisher, offer, sku):
    print(f"Creating pool [{pool_id}]...")
    task_commands = [
        "cp -r $AZ_BATCH_TASK_WORKING_DIR/* $AZ_BATCH_NODE_SHARED_DIR",
        "python3 -m venv $AZ_BATCH_NODE_SHARED_DIR/venv",
        "$AZ_BATCH_NODE_SHARED_DIR/venv/bin/pip install azure-storage==0.36.0",
    ]
    sku_to_use, image_ref_to_use = select_latest_verified_vm_image_with_node_agent_sku(
        batch_service_client, publisher, offer, sku
    )
    new_pool = batchmodels.PoolAddParameter(
        id=pool_id,
        virtual_machine_configuration=batchmodels.VirtualMachineConfiguration(
            image_reference=image_ref_to_use, node_agent_sku_id=sku_to_use
        ),
        vm_size=_POOL_VM_SIZE,
        start_task=batchmodels.StartTask(
            command_line=wrap_commands_in_shell(task_commands),
            user_identity=batchmodels.UserIdentity(
                auto_user=batchmodels.AutoUserSpecification(
                    scope=batchmodels.AutoUserScope.pool, elevation_level=batchmodels.ElevationLevel.admin
                )
            ),
            wait_for_success=True,
            resource_files=resource_files,
            environment_settings=[
                batchmodels.EnvironmentSetting(name, value)
                for name, value in os.environ.items()
                if name.startswith("PIP_")
            ],
        ),
        **target_nodes(_POOL_NODE_COUNT),
    )
    batch_service_client.pool.add(new_pool)


def create_job(batch_service_client, job_id, pool_id):
    print(f"Creating job [{job_id}]...")
    batch_service_client.job.add(batchmodels.JobAddParameter(job_id, batchmodels.PoolInformation(pool_id=pool_id)))


def add_tasks(batch_service_client, job_id, input_files, output_container_name, output_container_sas_token):
    print(f"Adding {len(input_files)} tasks to job [{job_id}]...")
    tasks = []
    for index, input_file in enumerate(input_files):
        command = [
            f"$AZ_BATCH_NODE_SHARED_DIR/venv/bin/python $AZ_BATCH_NODE_SHARED_DIR/{_TASK_SCRIPT} "
            f"--filepath {input_file.file_path} --numwords 3 --storageaccount {_STORAGE_ACCOUNT_URL} "
            f'--storagecontainer {output_container_name} --sastoken "{output_container_sas_token}"'
        ]
        tasks.append(
            batchmodels.TaskAddParameter(
                f"topNtask{index}", wrap_commands_in_shell(command), resource_files=[input_file]
            )
        )
    batch_service_client.task.add_collection(job_id, tasks)


def wait_for_tasks_to_complete(batch_service_client, job_id, timeout):
    timeout_expiration = datetime.datetime.now() + timeout
    print(f"Monitoring all tasks for 'Completed' state, timeout in {timeout}...", end="")
    while datetime.datetime.now() < timeout_expiration:
        print(".", end="")
        sys.stdout.flush()
        tasks = batch_service_client.task.list(job_id)
        incomplete_tasks = [task for task in tasks if task.state != batchmodels.TaskState.completed]
        if not incomplete_tasks:
            print()
            return
        time.sleep(0.5)
    print()
    raise RuntimeError(f"ERROR: Tasks did not reach 'Completed' state within timeout period of {timeout}")


def download_blobs_from_container(block_blob_client, container_name, directory_path):
    print(f"Downloading all files from container [{container_name}]...")
    container_blobs = block_blob_client.list_blobs(container_name)
    for blob in container_blobs.items:
        destination_file_path = os.path.join(directory_path, blob.name)
        block_blob_client.get_blob_to_path(container_name, blob.name, destination_file_path)
        print(f"  Downloaded blob [{blob.name}] from container [{container_name}] to {destination_file_path}")
    print("  Download complete!")


if __name__ == "__main__":
    data_directory, output_directory = sys.argv[1:]

    start_time = datetime.datetime.now().replace(microsecond=0)
    print(f"Sample start: {start_time}\n")

    blob_client = azureblob.BlockBlobService(
        account_name=_STORAGE_ACCOUNT_NAME, account_key=_STORAGE_ACCOUNT_KEY, custom_domain=_STORAGE_ACCOUNT_URL
    )
    app_container_name = "application"
    input_container_name = "input"
    output_container_name = "output"
    blob_client.create_container(app_container_name, fail_on_exist=False)
    blob_client.create_container(input_container_name, fail_on_exist=False)
    blob_client.create_container(output_container_name, fail_on_exist=False)

    application_file_paths = [os.path.join(os.path.dirname(os.path.realpath(__file__)), _TASK_SCRIPT)]
    input_file_paths = [os.path.join(data_directory, name) for name in sorted(os.listdir(data_directory))]
    application_files = [
        upload_file_to_container(blob_client, app_container_name, file_path) for file_path in application_file_paths
    ]
    input_files = [
        upload_file_to_container(blob_client, input_container_name, file_path) for file_path in input_file_paths
    ]
    output_container_sas_token = get_container_sas_token(
        blob_client, output_container_name, azureblob.BlobPermissions.WRITE
    )

    credentials = batchauth.SharedKeyCredentials(_BATCH_ACCOUNT_NAME, _BATCH_ACCOUNT_KEY)
    batch_client = batch.BatchServiceClient(credentials, base_url=_BATCH_ACCOUNT_URL)
    create_pool(batch_client, _POOL_ID, application_files, _NODE_OS_PUBLISHER, _NODE_OS_OFFER, _NODE_OS_SKU)
    create_job(batch_client, _JOB_ID, _POOL_ID)
    add_tasks(batch_client, _JOB_ID, input_files, output_container_name, output_container_sas_token)
    wait_for_tasks_to_complete(batch_client, _JOB_ID, datetime.timedelta(minutes=20))
    print("  Success! All tasks reached the 'Completed' state within the specified timeout period.")

    download_blobs_from_container(blob_client, output_container_name, output_directory)

    print("Deleting containers...")
    blob_client.delete_container(app_container_name)
    blob_client.delete_container(input_container_name)
    blob_client.delete_container(output_container_name)

    end_time = datetime.datetime.now().replace(microsecond=0)
    print(f"\nSample end: {end_time}")
    print(f"Elapsed time: {end_time - start_time}\n")

    batch_client.job.delete(_JOB_ID)
    batch_client.pool.delete(_POOL_ID)
