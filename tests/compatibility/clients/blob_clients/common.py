"""What the modules share: clients of azure-storage-blob 12, and small helpers.

``ACCOUNT`` and so on are of an account that has been left as it is made, ``KEPT_ACCOUNT`` of one that keeps versions
and deleted containers, and may have blobs that are immutable.
"""

import base64
import datetime
import hashlib
import importlib.metadata
import os
import time

import azure.storage.blob as library
import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobClient,
    BlobLeaseClient,
    BlobServiceClient,
    ContainerClient,
    CustomerProvidedEncryptionKey,
    StorageStreamDownloader,
)
from recording import Checks

VERSION = tuple(int(part) for part in importlib.metadata.version("azure-storage-blob").split(".")[:2])
NAME, ACCOUNT, KEY, URL = (os.environ[name] for name in ("NAME", "ACCOUNT", "KEY", "URL"))
NOW = datetime.datetime.now(datetime.timezone.utc)
EARLIER, LATER = NOW - datetime.timedelta(minutes=5), NOW + datetime.timedelta(hours=2)
#: Several blocks, and a rest.
LARGE = os.urandom((5 << 20) + 512)
#: They give up at the first failure, and do large things in small pieces.
OPTIONS = {
    "retry_total": 0,
    "max_single_put_size": 1 << 20,
    "max_block_size": 1 << 20,
    "max_page_size": 1 << 20,
    "max_single_get_size": 1 << 20,
    "max_chunk_get_size": 1 << 20,
}

checks = Checks()
checks.watch(
    BlobServiceClient,
    ContainerClient,
    BlobClient,
    BlobLeaseClient,
    StorageStreamDownloader,
    library,
    apart_from=[
        f"{holder}.{name}"
        for holder in ("BlobServiceClient", "ContainerClient", "BlobClient", "StorageAccountHostsMixin")
        for name in ("close", "get_blob_client", "get_container_client")
    ],
)


class Token:
    """A credential."""

    def get_token(self, *_, **__):
        return AccessToken(os.environ["TOKEN"], int(time.time()) + 3600)


def connection_string(prefix=""):
    account, key, url = (os.environ[f"{prefix}{name}"] for name in ("ACCOUNT", "KEY", "URL"))
    return f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={key};BlobEndpoint={url}"


service = BlobServiceClient.from_connection_string(connection_string(), **OPTIONS)
kept = BlobServiceClient.from_connection_string(connection_string("KEPT_"), **OPTIONS)


def signed(token):
    """A client that has a signature in place of the key."""
    return BlobServiceClient(URL, credential=token, **OPTIONS)


def new_container(label, of=service, **options):
    return of.create_container(f"{NAME}-{label}", **options)


def failing(status, call, *args, code=None, **options):
    """The failure of a call that has to fail."""
    try:
        call(*args, **options)
    except HttpResponseError as failure:
        assert failure.status_code == status, failure
        assert code is None or failure.error_code == code, failure
        return failure
    raise AssertionError("the call did not fail")


def readable(blob):
    """The blob's URL with leave to read it."""
    token = library.generate_blob_sas(
        ACCOUNT, blob.container_name, blob.blob_name, account_key=KEY, permission="r", expiry=LATER
    )
    return f"{blob.url}?{token}"


def content(blob, **options):
    return blob.download_blob(**options).readall()


def fetch(url, method="GET", headers=None):
    """Status, headers and body of an answer to a client that has nothing but the URL."""
    answer = requests.request(method, url, headers=headers, timeout=30)
    return answer.status_code, answer.headers, answer.content


def customer_key():
    """A key that the service is not to keep."""
    key = os.urandom(32)
    encoded = [base64.b64encode(each).decode() for each in (key, hashlib.sha256(key).digest())]
    return CustomerProvidedEncryptionKey(*encoded)
