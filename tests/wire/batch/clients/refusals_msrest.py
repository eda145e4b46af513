"""Provokes the errors that only clients of 2018 and before can, and prints the status of each code as JSON.

Takes the id of a node of the pool ``pool``, and the thumbprint and the content of a certificate from its command line,
and the account from the environment.
"""

import json
import os
import sys

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

node, thumbprint, data = sys.argv[1:]
client = BatchServiceClient(
    SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"]),
    base_url=os.environ["BATCH_ACCOUNT_URL"],
)
found = {}


def refused(call, *args):
    try:
        call(*args)
    except models.BatchErrorException as refusal:
        found[refusal.error.code] = refusal.response.status_code
    else:
        raise AssertionError(f"{call} was not refused")


certificate = models.CertificateAddParameter(
    thumbprint=thumbprint, thumbprint_algorithm="sha1", data=data, certificate_format="cer"
)
client.certificate.add(certificate)
refused(client.certificate.add, certificate)
refused(client.certificate.get, "sha1", "0" * 40)
refused(client.certificate.cancel_deletion, "sha1", thumbprint)
image = models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
machine = models.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
reference = models.CertificateReference(thumbprint="0" * 40, thumbprint_algorithm="sha1")
refused(
    client.pool.add,
    models.PoolAddParameter(
        id="certified", vm_size="a", virtual_machine_configuration=machine, certificate_references=[reference]
    ),
)
refused(client.compute_node.get_remote_desktop, "pool", node)
refused(client.pool.upgrade_os, "pool", "*")
print(json.dumps(found))
