"""Content that the client encrypts, and content that the service is to encrypt by a key of the client or a scope."""

from azure.storage.blob import BlobServiceClient
from common import (
    LARGE,
    OPTIONS,
    VERSION,
    checks,
    connection_string,
    content,
    customer_key,
    failing,
    library,
    new_container,
    readable,
)
from key_wrapping import Wrapper


@checks.of("BlobClient.upload_blob", "BlobClient.download_blob")
def by_the_client():
    container = new_container("encrypted")
    plain = container.get_blob_client("b")
    for version in ("1.0", "2.0") if VERSION >= (12, 19) else ("1.0",):
        options = {"encryption_version": version} if VERSION >= (12, 19) else {}
        encrypting = BlobServiceClient.from_connection_string(connection_string(), **OPTIONS, **options)
        client = encrypting.get_blob_client(container.container_name, "b")
        client.require_encryption, client.key_encryption_key = True, Wrapper()
        for size in (0, 5, len(LARGE)):
            client.upload_blob(LARGE[:size], overwrite=True, metadata={"a": "1"})
            raw = content(plain)
            assert len(raw) > size or not size
            assert not size or raw[:size] != LARGE[:size]
            assert set(plain.get_blob_properties().metadata) == {"a", "encryptiondata"}
            for connections in (1, 3):
                assert client.download_blob(max_concurrency=connections).readall() == LARGE[:size]
        begin = 1000 if VERSION >= (12, 19) else 1024  # those before lose bytes where a piece begins within a block
        part = client.download_blob(begin, 3_000_000, max_concurrency=3)
        assert part.readall() == LARGE[begin : begin + 3_000_000]


@checks.of(
    "BlobClient.upload_blob",
    "BlobClient.download_blob",
    "BlobClient.get_blob_properties",
    "BlobClient.create_snapshot",
    "BlobClient.append_block",
    "BlobClient.upload_page",
)
def by_the_service():
    container, key, other = new_container("customer-keys"), customer_key(), customer_key()
    blob = container.get_blob_client("b")
    for size in (5, len(LARGE)):
        done = blob.upload_blob(LARGE[:size], overwrite=True, cpk=key)
        assert done["encryption_key_sha256"] == key.key_hash
        assert blob.download_blob(cpk=key, max_concurrency=3).readall() == LARGE[:size]
    found = blob.get_blob_properties(cpk=key)
    assert (found.encryption_key_sha256, found.server_encrypted) == (key.key_hash, True)
    for wrong in ({}, {"cpk": other}):
        failing(409, blob.download_blob, **wrong)
        failing(409, blob.set_blob_metadata, {"a": "1"}, **wrong)
        failing(409, blob.create_snapshot, **wrong)
    blob.set_blob_metadata({"a": "1"}, cpk=key)
    snapshot = container.get_blob_client("b", snapshot=blob.create_snapshot(cpk=key))
    assert content(snapshot, cpk=key) == LARGE
    blocks = container.get_blob_client("blocks")
    blocks.stage_block("1", b"x", cpk=key)
    blocks.stage_block_from_url("2", readable(container.upload_blob("plain", b"hello")), 0, 5, cpk=key)
    blocks.commit_block_list(blocks.get_block_list("all")[1], cpk=key)
    assert content(blocks, cpk=key) == b"xhello"
    log, pages = container.get_blob_client("log"), container.get_blob_client("pages")
    log.create_append_blob(cpk=key)
    log.append_block(b"x", cpk=key)
    failing(409, log.append_block, b"x")
    assert content(log, cpk=key) == b"x"
    pages.create_page_blob(512, cpk=key)
    pages.upload_page(LARGE[:512], 0, 512, cpk=key)
    failing(409, pages.upload_page, LARGE[:512], 0, 512)
    assert content(pages, cpk=key) == LARGE[:512]


@checks.of("ContainerClient.upload_blob", "BlobServiceClient.create_container", unless=VERSION < (12, 8))
def scopes():
    scope = library.ContainerEncryptionScope("house", prevent_encryption_scope_override=True)
    container = new_container("scopes", container_encryption_scope=scope)
    found = container.get_container_properties().encryption_scope
    assert (found.default_encryption_scope, found.prevent_encryption_scope_override) == ("house", True)
    blob = container.upload_blob("b", b"hello")
    assert blob.get_blob_properties().encryption_scope == "house"
    failing(403, container.upload_blob, "c", b"x", encryption_scope="other")
    free = new_container("scopes-free")
    blob = free.upload_blob("b", b"hello", encryption_scope="garden")
    assert (blob.get_blob_properties().encryption_scope, content(blob)) == ("garden", b"hello")
    (listed,) = free.list_blobs()
    assert listed.encryption_scope == "garden"
    blob.set_blob_metadata({"a": "1"}, encryption_scope="garden")
    failing(409, blob.set_blob_metadata, {"a": "1"})
