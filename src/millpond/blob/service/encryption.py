"""Which key or scope a blob has, and who may use it. Pure.

Nothing is encrypted here. A blob that was made with a client's key can be read and changed with that key only; of the
key its hash is kept. A scope is a property.

https://learn.microsoft.com/azure/storage/blobs/encryption-customer-provided-keys
"""

from __future__ import annotations

from ..errors import error
from ..model import NO_ENCRYPTION, Container, Encryption


def of_new_blob(container: Container, asked: Encryption) -> Encryption:
    """What a blob gets whose request asks for that. Raises ``RequestForbiddenByContainerEncryptionPolicy``."""
    if container.denies_other_scopes and asked not in (NO_ENCRYPTION, Encryption(scope=container.default_scope)):
        raise error("RequestForbiddenByContainerEncryptionPolicy")
    if asked == NO_ENCRYPTION and container.default_scope:
        return Encryption(scope=container.default_scope)
    return asked


def check_key(of_blob: Encryption, given: Encryption) -> None:
    """Raises what is wrong with the key of a request that reads a blob; its scope does not matter."""
    if of_blob.key_hash != given.key_hash:
        check_same(of_blob._replace(scope=""), given._replace(scope=""))


def check_same(of_blob: Encryption, given: Encryption) -> None:
    """Raises what is wrong with the key or the scope of a request that writes to a blob."""
    for wanted, found in zip(of_blob, given, strict=True):
        if wanted and not found:
            raise error("BlobUsesCustomerSpecifiedEncryption")
        if found and not wanted:
            raise error("BlobDoesNotUseCustomerSpecifiedEncryption")
        if wanted != found:
            raise error("BlobCustomerSpecifiedEncryptionMismatch")
