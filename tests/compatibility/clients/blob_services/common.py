"""What the modules share: the three services of azure-storage 0.34 to azure-storage-blob 2.1, and small helpers.

``ACCOUNT`` and so on are of an account that has been left as it is made, ``KEPT_ACCOUNT`` of one with versions.
"""

import base64
import datetime
import hashlib
import importlib
import importlib.metadata
import os
from urllib.parse import urlsplit

import azure.storage.blob as library
from azure.common import AzureHttpError
from azure.storage.blob import AppendBlobService, BlockBlobService, PageBlobService
from recording import Checks


def _version():
    try:
        return importlib.metadata.version("azure-storage-blob")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("azure-storage")


VERSION = tuple(int(part) for part in _version().split(".")[:2])
models = importlib.import_module("azure.storage.models" if VERSION < (0, 37) else "azure.storage.common.models")
NAME, ACCOUNT, KEY, URL = (os.environ[name] for name in ("NAME", "ACCOUNT", "KEY", "URL"))
NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
LATER = NOW + datetime.timedelta(hours=2)
#: Several blocks, and a rest.
LARGE = os.urandom((5 << 20) + 512)
SMALL_PIECES = {
    "MAX_SINGLE_PUT_SIZE": 1 << 20,
    "MAX_BLOCK_SIZE": 1 << 20,
    "MAX_PAGE_SIZE": 1 << 20,
    "MAX_SINGLE_GET_SIZE": 1 << 20,
    "MAX_CHUNK_GET_SIZE": 1 << 20,
}

checks = Checks()
checks.watch(
    BlockBlobService,
    AppendBlobService,
    PageBlobService,
    apart_from=("StorageClient.set_proxy", "BaseBlobService.make_blob_url", "BaseBlobService.make_container_url"),
)


def service(kind=BlockBlobService, **options):
    """One that gives up at the first failure, and does large things in small pieces."""
    if not options:
        options["connection_string"] = (
            f"DefaultEndpointsProtocol={urlsplit(URL).scheme};AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={URL};BlobSecondaryEndpoint={URL}-secondary"
        )
    made = kind(**options)
    made.retry = lambda context: None
    for name, size in SMALL_PIECES.items():
        if hasattr(made, name):
            setattr(made, name, size)
    return made


def signed(token, kind=BlockBlobService):
    """A service that has a signature in place of the key."""
    return service(kind, account_name=ACCOUNT, sas_token=token, custom_domain=URL)


blocks, appends, pages = service(), service(AppendBlobService), service(PageBlobService)


def new_container(label, **options):
    name = f"{NAME}-{label}"
    assert blocks.create_container(name, **options)
    return name


def failing(status, call, *args, code=None, **options):
    """The failure of a call that has to fail; the libraries tell its code as part of the text."""
    try:
        call(*args, **options)
    except AzureHttpError as failure:
        assert failure.status_code == status, failure
        assert code is None or code in str(failure), failure
        return failure
    raise AssertionError("the call did not fail")


def readable(container, blob, **options):
    """The blob's URL with leave to read it."""
    token = blocks.generate_blob_shared_access_signature(container, blob, permission="r", expiry=LATER)
    return blocks.make_blob_url(container, blob, sas_token=token, **options)


def properties(container, blob, **options):
    return blocks.get_blob_properties(container, blob, **options).properties


def content(container, blob, **options):
    return blocks.get_blob_to_bytes(container, blob, **options).content


def customer_key():
    """A key that the service is not to keep (of 2.1 alone)."""
    key = os.urandom(32)
    encoded = [base64.b64encode(each).decode() for each in (key, hashlib.sha256(key).digest())]
    return library.CustomerProvidedEncryptionKey(*encoded)
