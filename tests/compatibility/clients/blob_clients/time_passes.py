"""What ends by itself. It begins when this module is read, and is looked at after all other checks."""

import datetime
import time

from azure.storage.blob import BlobClient
from common import ACCOUNT, KEY, NOW, OPTIONS, checks, failing, library, new_container

_CONTAINER = new_container("time")
_STARTED_AT = time.monotonic()
_RENEWED, _OVERWRITTEN = (_CONTAINER.upload_blob(name, b"x") for name in ("renewed", "overwritten"))
_RENEWED_LEASE, _LOST_LEASE = _RENEWED.acquire_lease(15), _OVERWRITTEN.acquire_lease(15)
_LEASE_OF_ALL = _CONTAINER.acquire_lease(15)


@checks.of("BlobLeaseClient.renew", "ContainerClient.acquire_lease", "generate_blob_sas")
def leases_and_signatures_end():
    soon = NOW + datetime.timedelta(seconds=1)
    token = library.generate_blob_sas(
        ACCOUNT, _CONTAINER.container_name, "renewed", account_key=KEY, permission="r", expiry=soon
    )
    time.sleep(max(0, _STARTED_AT + 15.5 - time.monotonic()))
    past = BlobClient.from_blob_url(f"{_RENEWED.url}?{token}", **OPTIONS)
    failing(403, past.download_blob, code="AuthenticationFailed")
    assert _RENEWED.get_blob_properties().lease.state == "expired"
    assert _CONTAINER.get_container_properties().lease.state == "expired"
    failing(412, _OVERWRITTEN.upload_blob, b"y", overwrite=True, lease=_LOST_LEASE, code="LeaseLost")
    _OVERWRITTEN.upload_blob(b"y", overwrite=True)
    failing(409, _LOST_LEASE.renew)
    _RENEWED_LEASE.renew()
    assert _RENEWED.get_blob_properties().lease.state == "leased"
    assert _CONTAINER.acquire_lease().id != _LEASE_OF_ALL.id
