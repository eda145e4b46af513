"""Content that the client encrypts, and content that the service is to encrypt by a key of the client."""

from azure.common import AzureException
from azure.storage.blob import AppendBlobService, PageBlobService
from common import (
    LARGE,
    VERSION,
    appends,
    blocks,
    checks,
    content,
    customer_key,
    failing,
    new_container,
    pages,
    readable,
    service,
)
from key_wrapping import Wrapper


@checks.of("BlockBlobService.create_blob_from_bytes", "BaseBlobService.get_blob_to_bytes")
def by_the_client():
    container, wrapper = new_container("encrypted"), Wrapper()
    encrypting = service()
    encrypting.key_encryption_key, encrypting.require_encryption = wrapper, True
    for size in (0, 5, len(LARGE)):
        encrypting.create_blob_from_bytes(container, "b", LARGE[:size], metadata={"a": "1"})
        raw = content(container, "b")
        assert len(raw) == size // 16 * 16 + 16
        assert raw[:size] != LARGE[:size] or not size
        assert set(blocks.get_blob_metadata(container, "b")) == {"a", "encryptiondata"}
        for connections in (1, 3):
            assert content(container, "b") == raw
            found = encrypting.get_blob_to_bytes(container, "b", max_connections=connections).content
            assert found == LARGE[:size]
    found = encrypting.get_blob_to_bytes(container, "b", start_range=1000, end_range=3_000_000, max_connections=3)
    assert found.content == LARGE[1000:3_000_001]
    resolving = service()
    resolving.key_resolver_function = lambda kid: wrapper if kid == wrapper.get_kid() else None
    assert resolving.get_blob_to_bytes(container, "b").content == LARGE
    blocks.create_blob_from_text(container, "plain", "x")
    try:
        encrypting.get_blob_to_bytes(container, "plain")
    except AzureException:
        pass
    else:
        raise AssertionError("what is not encrypted was read")


@checks.of("PageBlobService.create_blob_from_bytes")
def pages_by_the_client():
    container = new_container("encrypted-pages")
    encrypting = service(PageBlobService)
    encrypting.key_encryption_key = Wrapper()
    data = LARGE[: 3 << 20]
    encrypting.create_blob_from_bytes(container, "b", data)
    assert content(container, "b") != data
    assert encrypting.get_blob_to_bytes(container, "b").content == data


@checks.of(
    "BlockBlobService.create_blob_from_bytes",
    "BaseBlobService.get_blob_to_bytes",
    "BaseBlobService.get_blob_properties",
    "BaseBlobService.snapshot_blob",
    unless=VERSION < (2, 0),
)
def by_the_service():
    container, key, other = new_container("customer-keys"), customer_key(), customer_key()
    for size in (5, len(LARGE)):
        done = blocks.create_blob_from_bytes(container, "b", LARGE[:size], cpk=key)
        assert done.encryption_key_sha256 == key.key_hash
        assert blocks.get_blob_to_bytes(container, "b", cpk=key, max_connections=3).content == LARGE[:size]
    found = blocks.get_blob_properties(container, "b", cpk=key).properties
    assert (found.encryption_key_sha256, found.server_encrypted) == (key.key_hash, True)
    for wrong in ({}, {"cpk": other}):
        failing(409, blocks.get_blob_to_bytes, container, "b", **wrong)
        failing(409, blocks.set_blob_metadata, container, "b", {"a": "1"}, **wrong)
        failing(409, blocks.snapshot_blob, container, "b", **wrong)
    assert blocks.set_blob_metadata(container, "b", {"a": "1"}, cpk=key).encryption_key_sha256 == key.key_hash
    assert blocks.get_blob_metadata(container, "b", cpk=key) == {"a": "1"}
    snapshot = blocks.snapshot_blob(container, "b", cpk=key).snapshot
    assert blocks.get_blob_to_bytes(container, "b", snapshot=snapshot, cpk=key).content == LARGE
    blocks.put_block(container, "blocks", b"x", "AAAA", cpk=key)
    blocks.create_blob_from_bytes(container, "plain", b"hello")
    blocks.put_block_from_url(container, "blocks", readable(container, "plain"), "BBBB", 0, 4, cpk=key)
    found = blocks.get_block_list(container, "blocks", block_list_type="all").uncommitted_blocks
    blocks.put_block_list(container, "blocks", found, cpk=key)
    assert blocks.get_blob_to_bytes(container, "blocks", cpk=key).content == b"xhello"


@checks.of(
    "AppendBlobService.append_block",
    "PageBlobService.update_page",
    "PageBlobService.create_blob",
    unless=VERSION < (2, 0),
)
def other_kinds_by_the_service():
    container, key = new_container("customer-keys-more"), customer_key()
    appends.create_blob(container, "log", cpk=key)
    appends.append_block(container, "log", b"x", cpk=key)
    failing(409, appends.append_block, container, "log", b"x")
    assert service(AppendBlobService).get_blob_to_bytes(container, "log", cpk=key).content == b"x"
    pages.create_blob(container, "pages", 512, cpk=key)
    pages.update_page(container, "pages", LARGE[:512], 0, 511, cpk=key)
    failing(409, pages.update_page, container, "pages", LARGE[:512], 0, 511)
    assert pages.get_blob_to_bytes(container, "pages", cpk=key).content == LARGE[:512]
