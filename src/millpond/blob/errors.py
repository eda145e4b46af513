"""The Blob service's own errors: one table of codes with status and message, and the way to raise one."""

from __future__ import annotations

import errno
import re
import sqlite3
from typing import Final

from millpond.common.errors import ServiceError

#: Of the database: no room for the rows themselves, and none for the index of its log.
_SQLITE_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)

#: Code → (HTTP status, message), as the service documents them.
ERRORS: Final[dict[str, tuple[int, str]]] = {
    "AllBatchSubRequestsShouldBeSameApi": (400, "All requests of a batch must be of the same operation."),
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is"
        " formed correctly including the signature.",
    ),
    "AuthorizationFailure": (403, "This request is not authorized to perform this operation."),
    "AuthorizationPermissionMismatch": (
        403,
        "This request is not authorized to perform this operation using this permission.",
    ),
    "AuthorizationProtocolMismatch": (
        403,
        "This request is not authorized to perform this operation using this protocol.",
    ),
    "AuthorizationResourceTypeMismatch": (
        403,
        "This request is not authorized to perform this operation using this resource type.",
    ),
    "AuthorizationServiceMismatch": (
        403,
        "This request is not authorized to perform this operation using this service.",
    ),
    "AuthorizationSourceIPMismatch": (
        403,
        "This request is not authorized to perform this operation using this source IP.",
    ),
    "AppendPositionConditionNotMet": (412, "The append position condition specified was not met."),
    "BlobAlreadyExists": (409, "The specified blob already exists."),
    "BlobArchived": (409, "This operation is not permitted on an archived blob."),
    "BlobBeingRehydrated": (409, "This operation is not permitted because the blob is being rehydrated."),
    "BlobCustomerSpecifiedEncryptionMismatch": (
        409,
        "The given customer specified encryption does not match the encryption used to encrypt the blob.",
    ),
    "BlobDoesNotUseCustomerSpecifiedEncryption": (
        409,
        "The blob is not encrypted with customer specified encryption, but it was provided in the request.",
    ),
    "BlobImmutableDueToLegalHold": (
        409,
        "This operation is not permitted as the blob is immutable due to a legal hold.",
    ),
    "BlobImmutableDueToPolicy": (409, "This operation is not permitted as the blob is immutable due to a policy."),
    "BlobIsSealed": (
        409,
        "The specified blob is sealed and its contents can't be modified unless the blob is re-created after a delete.",
    ),
    "BlobNotFound": (404, "The specified blob does not exist."),
    "BlobUsesCustomerSpecifiedEncryption": (
        409,
        "The blob is encrypted with customer specified encryption, but it was not provided in the request.",
    ),
    "BlockCountExceedsLimit": (409, "The committed block count cannot exceed the maximum limit of 50,000 blocks."),
    "BlockListTooLong": (400, "The block list may not contain more than 50,000 blocks."),
    "CannotVerifyCopySource": (404, "Could not verify the copy source within the specified time."),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "ContainerAlreadyExists": (409, "The specified container already exists."),
    "ContainerImmutableStorageWithVersioningEnabled": (
        409,
        "The container cannot be deleted while it has blobs with an immutability policy or a legal hold.",
    ),
    "ContainerNotFound": (404, "The specified container does not exist."),
    "CopyIdMismatch": (409, "The specified copy ID did not match the copy ID for the pending copy operation."),
    "CorsPreflightFailure": (403, "CORS not enabled or no matching rule found for this request."),
    "Crc64Mismatch": (
        400,
        "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
    ),
    "EmptyMetadataKey": (400, "The key for one of the metadata key-value pairs is empty."),
    "FeatureNotSupportedForAccount": (409, "The feature is not supported or not enabled for the account."),
    "ImmutabilityPolicyDeleteOnLockedPolicy": (409, "The immutability policy is locked and cannot be deleted."),
    "IncrementalCopyBlobMismatch": (
        409,
        "The specified source blob is different than the copy source of the existing incremental copy blob.",
    ),
    "IncrementalCopyOfEarlierVersionSnapshotNotAllowed": (
        409,
        "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob.",
    ),
    "IncrementalCopySourceMustBeSnapshot": (409, "The source for incremental copy request must be a snapshot."),
    "ExceedsMaxBatchRequestCount": (400, "The batch has more than 256 requests."),
    "InsufficientAccountPermissions": (
        403,
        "The account being accessed does not have sufficient permissions to execute this operation.",
    ),
    "InternalError": (500, "The server encountered an internal error. Please retry the request."),
    "InvalidAuthenticationInfo": (
        401,
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
    ),
    "InvalidBlobOrBlock": (400, "The specified blob or block content is invalid."),
    "InvalidBlobTier": (400, "The specified blob tier is invalid."),
    "InvalidBlobType": (409, "The blob type is invalid for this operation."),
    "InvalidBlockId": (400, "The specified block ID is invalid. The block ID must be Base64-encoded."),
    "InvalidBlockList": (400, "The specified block list is invalid."),
    "InvalidHeaderValue": (400, "The value for one of the HTTP headers is not in the correct format."),
    "InvalidInput": (400, "One of the request inputs is not valid."),
    "InvalidMd5": (
        400,
        "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded.",
    ),
    "InvalidMetadata": (400, "The metadata specified is invalid. It has characters that are not permitted."),
    "InvalidPageRange": (416, "The page range specified is invalid."),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "InvalidResourceName": (400, "The specified resource name contains invalid characters."),
    "InvalidTags": (400, "The tags specified are invalid. It contains characters that are not permitted."),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "InvalidXmlDocument": (400, "XML specified is not syntactically valid."),
    "InvalidXmlNodeValue": (
        400,
        "The value provided for one of the XML nodes in the request body was not in the correct format.",
    ),
    "LeaseAlreadyPresent": (409, "There is already a lease present."),
    "LeaseIdMismatchWithBlobOperation": (412, "The lease ID specified did not match the lease ID for the blob."),
    "LeaseIdMismatchWithContainerOperation": (
        412,
        "The lease ID specified did not match the lease ID for the container.",
    ),
    "LeaseIdMismatchWithLeaseOperation": (409, "The lease ID specified did not match the lease ID for the resource."),
    "LeaseIdMissing": (412, "There is currently a lease on the resource and no lease ID was specified in the request."),
    "LeaseIsBreakingAndCannotBeAcquired": (
        409,
        "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.",
    ),
    "LeaseIsBreakingAndCannotBeChanged": (
        409,
        "The lease ID matched, but the lease is currently in breaking state and cannot be changed.",
    ),
    "LeaseIsBrokenAndCannotBeRenewed": (
        409,
        "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.",
    ),
    "LeaseLost": (412, "A lease ID was specified, but the lease for the resource has expired."),
    "LeaseNotPresentWithBlobOperation": (412, "There is currently no lease on the blob."),
    "LeaseNotPresentWithContainerOperation": (412, "There is currently no lease on the container."),
    "LeaseNotPresentWithLeaseOperation": (409, "There is currently no lease on the resource."),
    "MaxBlobSizeConditionNotMet": (412, "The max blob size condition specified was not met."),
    "Md5Mismatch": (
        400,
        "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
    ),
    "MetadataTooLarge": (400, "The size of the specified metadata exceeds the maximum size permitted."),
    "MissingContentLengthHeader": (411, "The Content-Length header was not specified."),
    "MissingRequiredHeader": (400, "An HTTP header that's mandatory for this request is not specified."),
    "MissingRequiredQueryParameter": (400, "A query parameter that's mandatory for this request is not specified."),
    "NoAuthenticationInformation": (
        401,
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
    ),
    "NoPendingCopyOperation": (409, "There is currently no pending copy operation."),
    "NotImplemented": (501, "The requested operation is not implemented on the specified resource."),
    "OperationNotAllowedOnIncrementalCopyBlob": (
        409,
        "The specified operation is not allowed on an incremental copy blob.",
    ),
    "OperationNotAllowedOnRootBlob": (403, "This operation is not allowed on the current version of a blob."),
    "OutOfRangeInput": (400, "One of the request inputs is out of range."),
    "OutOfRangeQueryParameterValue": (
        400,
        "One of the query parameters specified in the request URI is outside the permissible range.",
    ),
    "PendingCopyOperation": (409, "There is currently a pending copy operation."),
    "PermanentDeleteNotAllowed": (409, "Permanent delete is not enabled for the account."),
    "PreviousSnapshotCannotBeNewer": (
        400,
        "The prevsnapshot query parameter value cannot be newer than snapshot query parameter value.",
    ),
    "PreviousSnapshotNotFound": (409, "The previous snapshot is not found."),
    "RequestBodyTooLarge": (413, "The request body is too large and exceeds the maximum permissible limit."),
    "RequestForbiddenByContainerEncryptionPolicy": (
        403,
        "The request is not allowed because the container denies other encryption scopes than its default.",
    ),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "SequenceNumberConditionNotMet": (412, "The sequence number condition specified was not met."),
    "SequenceNumberIncrementTooLarge": (
        409,
        "The sequence number increment cannot be performed because it would result in overflow of the sequence number.",
    ),
    "SnapshotsPresent": (409, "This operation is not permitted while the blob has snapshots."),
    "SourceConditionNotMet": (412, "The source condition specified using HTTP conditional header(s) is not met."),
    "TagsTooLarge": (400, "The tags specified exceed the maximum permissible limit."),
    "TargetConditionNotMet": (412, "The target condition specified using HTTP conditional header(s) is not met."),
    "ServerBusy": (503, "The server is currently unable to receive requests. Please retry your request."),
    "UnauthorizedBlobOverwrite": (403, "This request is not authorized to perform blob overwrites."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support specified Http Verb."),
    "UnsupportedXmlNode": (400, "One of the XML nodes specified in the request body is not supported."),
}


_SECRET = re.compile(
    r"(\bsig(?:=|%3D)|\bbearer +|\bsharedkey(?:lite)? +\w+:|encryption-key:)[^&\s'<]+",
    re.IGNORECASE,
)


class CopySourceError(ServiceError):
    """A source that the copy may not or cannot read, and how it refused."""

    def __init__(self, status: int, source_code: str, message: str, *, source_status: int = 0) -> None:
        super().__init__(status, "CannotVerifyCopySource", message)
        self.source_status = source_status or status
        self.source_code = source_code


def is_full(failure: Exception) -> bool:
    """Whether it says that there is no room on the disk, or that its owner may not have more of it."""
    if isinstance(failure, sqlite3.Error):
        return getattr(failure, "sqlite_errorcode", None) in _SQLITE_FULL
    return isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT)


def error(code: str, **details: str) -> ServiceError:
    """The error of that code; ``details`` become elements of its XML body (``HeaderName="x-ms-range"``)."""
    status, message = ERRORS[code]
    return ServiceError(status, code, message, *[(name, redacted(value)) for name, value in details.items()])


def redacted(text: str) -> str:
    """A text that may quote a request, without signatures, tokens and keys, which nobody is to find in a log."""
    return _SECRET.sub(r"\1REDACTED", text)


def invalid_header(name: str, value: str) -> ServiceError:
    return error("InvalidHeaderValue", HeaderName=name, HeaderValue=value)


def invalid_query(name: str, value: str, reason: str = "") -> ServiceError:
    details = {"QueryParameterName": name, "QueryParameterValue": value}
    return error("InvalidQueryParameterValue", **details, **({"Reason": reason} if reason else {}))
