"""Services that speak https: real clients that trust the local authority, and tasks that do so unasked."""

from __future__ import annotations

import socket
import ssl
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    generate_container_sas,
)
from tests.servers import Server, millpond, running_server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("tls") / "data", "--tls") as server:
        yield server


def authority(server: Server) -> Path:
    return server.data / "tls" / "authority.pem"


def storage(server: Server, *, verify: str | bool) -> BlobServiceClient:
    names = server.credentials
    credential = {"account_name": names["STORAGE_ACCOUNT_NAME"], "account_key": names["STORAGE_ACCOUNT_KEY"]}
    return BlobServiceClient(server.blob_url, credential=credential, connection_verify=verify, retry_total=0)


def test_says_where_its_authority_is(secure: Server) -> None:
    assert f"authority in {authority(secure)}" in secure.ready_line
    assert secure.batch_url.startswith("https://")
    assert secure.blob_url.startswith("https://")
    assert "DefaultEndpointsProtocol=https;" in secure.credentials["STORAGE_CONNECTION_STRING"]
    for name in ("authority.key", "server.pem"):
        assert stat.S_IMODE((secure.data / "tls" / name).stat().st_mode) == 0o600


def test_names_of_accounts_may_be_in_the_host(secure: Server) -> None:
    address = urlsplit(secure.blob_url)
    name = f"{secure.credentials['STORAGE_ACCOUNT_NAME']}.blob.localhost"
    context = ssl.create_default_context(cafile=str(authority(secure)))
    with (
        socket.create_connection((address.hostname, address.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        certificate = connection.getpeercert()
        assert certificate
        assert ("DNS", "*.blob.localhost") in tuple(certificate["subjectAltName"])


def test_clients_that_do_not_trust_it_are_not_served(secure: Server) -> None:
    with storage(secure, verify=True) as client, pytest.raises(ServiceRequestError, match="certificate verify failed"):
        client.get_account_information()


def test_large_blobs_come_through(secure: Server) -> None:
    content = bytes(range(256)) * (20 << 12)
    with storage(secure, verify=str(authority(secure))) as client:
        container = client.create_container("large")
        container.upload_blob("blob", content, max_concurrency=2)
        assert container.download_blob("blob").readall() == content


class _Token:
    """A credential as identity libraries have them."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._token, 2**31)


def test_the_newest_sdk_signs_in_by_a_token(secure: Server) -> None:
    token = millpond("account", "token", "--data", secure.data).stdout.strip()
    verify = str(authority(secure))
    with BatchClient(secure.batch_url, _Token(token), connection_verify=verify) as client:
        assert list(client.list_jobs()) == []
    client = BatchClient(secure.batch_url, _Token("wrong"), connection_verify=verify)
    with client, pytest.raises(ClientAuthenticationError):
        list(client.list_jobs())


def test_tasks_trust_it(secure: Server) -> None:
    """Files by https URLs, an output file, and a program of the task's own."""
    names = secure.credentials
    account, key = names["STORAGE_ACCOUNT_NAME"], names["STORAGE_ACCOUNT_KEY"]
    expiry = datetime.now(UTC) + timedelta(hours=1)
    verify = str(authority(secure))
    batch = BatchClient(
        secure.batch_url,
        AzureNamedKeyCredential(names["BATCH_ACCOUNT_NAME"], names["BATCH_ACCOUNT_KEY"]),
        connection_verify=verify,
    )
    with storage(secure, verify=verify) as client, batch:
        container = client.create_container("files")
        container.upload_blob("input.txt", b"from afar")
        container.upload_blob(
            "fetch.py", b"import os, urllib.request as r; print(r.urlopen(os.environ['URL']).read().decode())"
        )
        readable = generate_container_sas(
            account, "files", account_key=key, permission=ContainerSasPermissions(read=True), expiry=expiry
        )
        writable = generate_container_sas(
            account, "files", account_key=key, permission=ContainerSasPermissions(write=True), expiry=expiry
        )
        url = f"{container.url}/input.txt?{readable}"
        image = models.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
        machines = models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
        )
        batch.create_pool(
            models.BatchPoolCreateOptions(
                id="pool", vm_size="standard_a1_v2", virtual_machine_configuration=machines, target_dedicated_nodes=1
            )
        )
        batch.create_job(models.BatchJobCreateOptions(id="job", pool_info=models.BatchPoolInfo(pool_id="pool")))
        destination = models.OutputFileBlobContainerDestination(container_url=f"{container.url}?{writable}")
        batch.create_task(
            "job",
            models.BatchTaskCreateOptions(
                id="task",
                command_line="/bin/sh -c 'cat input.txt && /usr/bin/python3 fetch.py'",
                environment_settings=[models.EnvironmentSetting(name="URL", value=url)],
                resource_files=[
                    models.ResourceFile(http_url=f"{container.url}/{name}?{readable}", file_path=name)
                    for name in ("input.txt", "fetch.py")
                ],
                output_files=[
                    models.OutputFile(
                        file_pattern="../stdout.txt",
                        destination=models.OutputFileDestination(container=destination),
                        upload_options=models.OutputFileUploadConfiguration(upload_condition="taskcompletion"),
                    )
                ],
            ),
        )
        end = time.monotonic() + 60
        while (task := batch.get_task("job", "task")).state != models.BatchTaskState.COMPLETED:
            assert time.monotonic() < end, "waited for too long"
            time.sleep(0.05)
        assert task.execution_info
        assert task.execution_info.failure_info is None, task.execution_info.failure_info
        assert container.download_blob("stdout.txt").readall() == b"from afarfrom afar\n"
