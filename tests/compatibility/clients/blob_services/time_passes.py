"""What ends by itself. It begins when this module is read, and is looked at after all other checks."""

import datetime
import time

from common import NOW, blocks, checks, failing, new_container, properties, signed

_CONTAINER = new_container("time")
_STARTED_AT = time.monotonic()
for _name in ("renewed", "overwritten", "leased"):
    blocks.create_blob_from_text(_CONTAINER, _name, "x")
_LEASES = {name: blocks.acquire_blob_lease(_CONTAINER, name, lease_duration=15) for name in ("renewed", "overwritten")}
_LEASE_OF_ALL = blocks.acquire_container_lease(_CONTAINER, lease_duration=15)


@checks.of(
    "BaseBlobService.renew_blob_lease",
    "BaseBlobService.acquire_container_lease",
    "BaseBlobService.generate_blob_shared_access_signature",
)
def leases_and_signatures_end():
    soon = NOW + datetime.timedelta(seconds=1)
    token = blocks.generate_blob_shared_access_signature(_CONTAINER, "leased", permission="r", expiry=soon)
    time.sleep(max(0, _STARTED_AT + 15.5 - time.monotonic()))
    failing(403, signed(token).get_blob_to_text, _CONTAINER, "leased", code="AuthenticationFailed")
    assert properties(_CONTAINER, "renewed").lease.state == "expired"
    assert blocks.get_container_properties(_CONTAINER).properties.lease.state == "expired"
    lost = _LEASES["overwritten"]
    failing(412, blocks.create_blob_from_text, _CONTAINER, "overwritten", "y", lease_id=lost, code="LeaseLost")
    blocks.create_blob_from_text(_CONTAINER, "overwritten", "y")
    failing(409, blocks.renew_blob_lease, _CONTAINER, "overwritten", lost)
    assert blocks.renew_blob_lease(_CONTAINER, "renewed", _LEASES["renewed"]) == _LEASES["renewed"]
    assert properties(_CONTAINER, "renewed").lease.state == "leased"
    assert blocks.acquire_container_lease(_CONTAINER) != _LEASE_OF_ALL
