"""Everything about compute nodes that every azure-batch from 2.0.0 to 14.2.0 has, run in the environment of each.

Takes a name for what it makes from its command line, and the account from the environment.
"""

import datetime
import importlib.metadata
import os
import sys
import time

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

VERSION = tuple(int(part) for part in importlib.metadata.version("azure-batch").split(".")[:2])
NAME, HAS_USERS = sys.argv[1], sys.argv[2] == "users"

client = BatchServiceClient(
    SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"]),
    **{"base_url" if VERSION < (6, 0) else "batch_url": os.environ["BATCH_ACCOUNT_URL"]},
)
nodes = client.compute_node


def refused(code, call, *args):
    try:
        call(*args)
    except models.BatchErrorException as refusal:
        assert refusal.error.code == code, (refusal.error.code, refusal.error.message.value)
    else:
        raise AssertionError(f"{call} was not refused with {code}")


def node_in(state):
    end = time.monotonic() + 60
    while True:
        found = list(nodes.list(NAME))
        if found and found[0].state.value == state:
            return found[0]
        assert time.monotonic() < end, f"the node is not {state}: {found and found[0].state}"
        time.sleep(0.05)


image = models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
machine = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
target = "target_dedicated" if VERSION < (3, 0) else "target_dedicated_nodes"
client.pool.add(
    models.PoolAddParameter(id=NAME, vm_size="standard_a1", virtual_machine_configuration=machine, **{target: 1})
)
node = node_in("idle").id

assert (
    nodes.disable_scheduling(
        NAME, node, node_disable_scheduling_option=models.DisableComputeNodeSchedulingOption.task_completion
    )
    is None
)
assert node_in("offline").scheduling_state == models.SchedulingState.disabled
refused("NodeAlreadyInTargetSchedulingState", nodes.disable_scheduling, NAME, node)
assert nodes.enable_scheduling(NAME, node) is None
booted = node_in("idle").last_boot_time

nodes.reboot(NAME, node, node_reboot_option=models.ComputeNodeRebootOption.terminate)
again = node_in("idle").last_boot_time
assert again > booted
nodes.reimage(NAME, node, node_reimage_option=models.ComputeNodeReimageOption.requeue)
assert node_in("idle").last_boot_time > again

refused("OperationNotValidOnNode", nodes.get_remote_desktop, NAME, node)
if HAS_USERS:
    user = models.ComputeNodeUser(name="alice", password="kt#_gahr!@aGERDXA", is_admin=False)
    assert nodes.add_user(NAME, node, user) is None
    refused("NodeUserExists", nodes.add_user, NAME, node, user)
    # whole seconds: the oldest of them writes others with an exponent, now and then
    later = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=2)
    nodes.update_user(NAME, node, "alice", models.NodeUpdateUserParameter(expiry_time=later))
    assert nodes.delete_user(NAME, node, "alice") is None
    refused("NodeUserNotFound", nodes.delete_user, NAME, node, "alice")
if VERSION >= (5, 0):
    now = datetime.datetime.now(datetime.UTC)
    upload = models.UploadBatchServiceLogsConfiguration(container_url="http://127.0.0.1:1/c?sig=x", start_time=now)
    result = nodes.upload_batch_service_logs(NAME, node, upload)
    assert (result.number_of_files_uploaded, result.virtual_directory_name.split("/")[1]) == (0, NAME)
if VERSION >= (11, 0):
    assert list(client.compute_node_extension.list(NAME, node)) == []
client.pool.delete(NAME)
