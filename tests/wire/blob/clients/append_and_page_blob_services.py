"""AppendBlobService and PageBlobService of azure-storage 0.36 and azure-storage-blob 2.1: arguments are the account,
its key and its URL."""

import os
import sys
from urllib.parse import urlsplit

from azure.storage.blob import AppendBlobService, BlockBlobService, PageBlobService

account, key, url = sys.argv[1:]
connection = (
    f"DefaultEndpointsProtocol={urlsplit(url).scheme};AccountName={account};AccountKey={key};BlobEndpoint={url}"
)
container = f"old-{os.getpid()}"
BlockBlobService(connection_string=connection).create_container(container)

log = AppendBlobService(connection_string=connection)
log.create_blob(container, "log")
log.append_blob_from_text(container, "log", "hello ")
done = log.append_block(container, "log", b"world", validate_content=True, appendpos_condition=6)
assert (done.append_offset, done.committed_block_count) == (6, 2), vars(done)
assert log.get_blob_to_bytes(container, "log").content == b"hello world"
assert log.get_blob_properties(container, "log").properties.append_blob_committed_block_count == 2

disk = PageBlobService(connection_string=connection)
data = os.urandom(8 * 512)
disk.create_blob_from_bytes(container, "disk", data)
snapshot = disk.snapshot_blob(container, "disk").snapshot
disk.clear_page(container, "disk", 512, 1023)
disk.update_page(container, "disk", bytes(512), 1024, 1535)
assert [(found.start, found.end) for found in disk.get_page_ranges(container, "disk")] == [(0, 511), (1024, 4095)]
changes = disk.get_page_ranges_diff(container, "disk", snapshot)
assert sorted((found.start, found.is_cleared) for found in changes) == [(512, True), (1024, False)], changes
disk.resize_blob(container, "disk", 512)
disk.set_sequence_number(container, "disk", "update", "5")
assert disk.get_blob_properties(container, "disk").properties.page_blob_sequence_number == 5
assert disk.get_blob_to_bytes(container, "disk").content == data[:512]
disk.delete_container(container)
print("done")
