"""What the newest library does only with its extras: content checked by CRC-64, and the asynchronous client.

It is run by the Python of such a set with the account's name, key and URL as arguments.
"""

import asyncio
import io
import os
import sys

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient

NAME, KEY, URL, _ = sys.argv[1:]
CREDENTIAL = AzureNamedKeyCredential(NAME, KEY)
SMALL_PIECES = {
    "max_single_put_size": 1 << 20,
    "max_block_size": 1 << 20,
    "max_single_get_size": 1 << 20,
    "max_chunk_get_size": 1 << 20,
}
SIZES = [0, 1, 40_000, 1 << 20, (5 << 20) + 17]


def checked(service: BlobServiceClient) -> None:
    container = service.create_container(f"checked-{os.getpid()}")
    for options in (SMALL_PIECES, {}):
        with BlobServiceClient(URL, CREDENTIAL, **options) as other:
            blob = other.get_blob_client(container.container_name, "b")
            for size in SIZES:
                data = os.urandom(size)
                for source in (data, io.BytesIO(data), iter([data[:7], data[7:]])):
                    blob.upload_blob(source, validate_content="crc64", overwrite=True)
                    assert blob.download_blob(validate_content="crc64").readall() == data
                    assert blob.download_blob(validate_content="crc64", max_concurrency=3).readall() == data
                    assert blob.download_blob().readall() == data
                if size > 9:
                    part = blob.download_blob(3, size - 5, validate_content="crc64").readall()
                    assert part == data[3 : size - 2]
    try:
        container.get_blob_client("gone").download_blob(validate_content="crc64")
        raise AssertionError("it is not there")
    except HttpResponseError as failure:
        assert failure.error_code == "BlobNotFound"
    container.delete_container()


async def asynchronous() -> None:
    async with AsyncBlobServiceClient(URL, CREDENTIAL, **SMALL_PIECES) as service:
        container = await service.create_container(f"asynchronous-{os.getpid()}", metadata={"Key": "1"})
        for name in ("plain", "dir/a b+c%2F å~'()*.txt"):
            for size in SIZES:
                data = os.urandom(size)
                blob = container.get_blob_client(name)
                await blob.upload_blob(data, overwrite=True, max_concurrency=2)
                assert await (await blob.download_blob(max_concurrency=3)).readall() == data
        assert [found.name async for found in container.list_blobs()] == ["dir/a b+c%2F å~'()*.txt", "plain"]
        assert [found.name async for found in container.walk_blobs(name_starts_with="dir")] == ["dir/"]
        assert (await container.get_container_properties()).metadata == {"Key": "1"}
        deleted = await container.delete_blobs("plain", "gone", raise_on_any_failure=False)
        assert [part.status_code async for part in deleted] == [202, 404]
        await container.delete_container()


with BlobServiceClient(URL, CREDENTIAL) as main:
    checked(main)
asyncio.run(asynchronous())
print("done")
