"""The errors of the Batch service, by code: HTTP status and message."""

from __future__ import annotations

from millpond.common.errors import ServiceError

_ERRORS: dict[str, tuple[int, str]] = {
    # common
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed"
        " correctly including the signature.",
    ),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "InsufficientAccountPermissions": (
        403,
        "The account being accessed does not have sufficient permissions to execute this operation.",
    ),
    "EmptyMetadataKey": (400, "The key for one of the metadata key-value pairs is empty."),
    "InternalError": (500, "Server encountered an internal error. Please try again after some time."),
    "InvalidAuthenticationInfo": (
        400,
        "The authentication information was not provided in the correct format.",
    ),
    "InvalidHeaderValue": (
        400,
        "The value provided for one of the HTTP headers was not in the correct format.",
    ),
    "InvalidHttpVerb": (400, "The HTTP verb specified was not recognized by the server."),
    "InvalidPropertyValue": (
        400,
        "The value provided for one of the properties in the request body is invalid.",
    ),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "InvalidRequestBody": (400, "The specified Request Body is not syntactically valid."),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "MissingContentLengthHeader": (411, "The Content-Length header was not specified."),
    "MissingRequiredHeader": (400, "An HTTP header that's mandatory for this request is not specified."),
    "MissingRequiredProperty": (
        400,
        "A required property was not specified in the request body.",
    ),
    "MissingRequiredQueryParameter": (
        400,
        "A query parameter that's mandatory for this request is not specified.",
    ),
    "MultipleConditionHeadersNotSupported": (
        400,
        "Multiple condition headers are not supported.",
    ),
    "NotImplemented": (501, "The requested operation is not implemented on the specified resource."),
    "OperationInvalidForCurrentState": (
        409,
        "The specified operation is not valid for the current state of the resource.",
    ),
    "OutOfRangePriority": (400, "The specified priority is out of range."),
    "OutOfRangeQueryParameterValue": (
        400,
        "A query parameter specified in the request URI is outside the permissible range.",
    ),
    "RequestBodyTooLarge": (413, "The size of the request body exceeds the maximum permissible limit."),
    "RequestUrlFailedToParse": (400, "The URL in the request could not be parsed."),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "ServerBusy": (503, "The server is currently unable to receive requests. Please retry your request."),
    "UnsupportedHeader": (400, "One of the HTTP headers specified in the request is not supported."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "UnsupportedProperty": (400, "One of the properties specified in the request body is not supported."),
    "UnsupportedQueryParameter": (
        400,
        "One of the query parameters specified in the request URI is not supported.",
    ),
    "UnsupportedRequestVersion": (
        400,
        "The request is not supported for the specified api version.",
    ),
    # certificates
    "CertificateExists": (409, "The specified certificate already exists."),
    "CertificateNotFound": (404, "The specified certificate does not exist."),
    "CertificateStateActive": (409, "The specified certificate is in active state."),
    "InvalidCertificateReferences": (400, "One or more certificate references are invalid."),
    # applications
    "ApplicationNotFound": (404, "The specified application does not exist."),
    "InvalidApplicationPackageReferences": (
        409,
        "One or more application package references could not be satisfied. This occurs if the application id or"
        " version does not exist or is not active, or if the reference did not specify a version and there is no"
        " default version.",
    ),
    # pools and nodes
    "NodeAgentSKUNotFound": (404, "The specified node agent SKU does not exist."),
    "NodeAlreadyInTargetSchedulingState": (409, "The specified node is already in the target scheduling state."),
    "InvalidAutoScalingSettings": (400, "The specified auto-scaling settings are not valid."),
    "NodeBeingCreated": (409, "The specified node is being created."),
    "NodeBeingRebooted": (409, "The specified node is being rebooted."),
    "NodeBeingReimaged": (409, "The specified node is being reimaged."),
    "NodeBeingStarted": (409, "The specified node is being started."),
    "NodeNotFound": (404, "The specified node does not exist."),
    "NodeNotReady": (
        409,
        "Node is not able to perform the requested operations in its current state.",
    ),
    "NodeUserExists": (409, "The specified node user already exists."),
    "NodeUserNotFound": (404, "The specified node user does not exist."),
    "NodeStateUnusable": (409, "Operation is not allowed on a node that is in unusable state."),
    "PoolBeingDeleted": (409, "The specified pool has been marked for deletion and is being deleted."),
    "PoolBeingResized": (409, "The specified pool is being resized."),
    "PoolExists": (409, "The specified pool already exists."),
    "PoolNotFound": (404, "The specified pool does not exist."),
    "PoolNotBeingResized": (409, "The specified pool is not being resized."),
    "PoolNotEligibleForOSVersionUpgrade": (
        400,
        "The specified pool is not eligible for an upgrade of its operating system's version.",
    ),
    "PoolQuotaReached": (409, "The pool quota for the account has been reached."),
    "TooManyEnableAutoScaleRequests": (
        503,
        "Automatic scaling of the specified pool was enabled a moment ago. Please retry your request.",
    ),
    # jobs and tasks
    "ActiveJobAndScheduleQuotaReached": (
        409,
        "The active job and job schedule quota for the account has been reached.",
    ),
    "JobBeingDeleted": (
        409,
        "The specified job has been marked for deletion and is being garbage collected.",
    ),
    "JobBeingTerminated": (409, "The specified job is being terminated."),
    "JobCompleted": (409, "The specified job is in a completed state."),
    "JobExists": (409, "The specified job already exists."),
    "JobNotDisabled": (409, "The specified job is not disabled."),
    "JobNotFound": (404, "The specified job does not exist."),
    "JobScheduleBeingDeleted": (
        409,
        "The specified job schedule has been marked for deletion and is being garbage collected.",
    ),
    "JobScheduleBeingTerminated": (409, "The specified job schedule is being terminated."),
    "JobScheduleCompleted": (409, "The specified job schedule is in a completed state."),
    "JobScheduleDisabled": (409, "The specified job schedule is disabled."),
    "JobScheduleExists": (409, "The specified job schedule already exists."),
    "JobScheduleNotFound": (404, "The specified job schedule does not exist."),
    "JobScheduleWithSameIdExists": (409, "A job schedule with the same id as the specified job exists."),
    "JobWithSameIdExists": (409, "A job with the same id as the specified job schedule exists."),
    "JobPreparationTaskNotSpecified": (409, "The specified job has no job preparation task."),
    "TaskCompleted": (409, "The specified task is already in completed state."),
    "TaskDependenciesNotSpecifiedOnJob": (
        400,
        "The task has dependencies, but the job does not use task dependencies.",
    ),
    "TaskDependencyListTooLong": (400, "The list of tasks that the task depends on is too long."),
    "TaskDependencyRangesTooLong": (400, "The list of ranges of tasks that the task depends on is too long."),
    "TaskExists": (409, "The specified task already exists."),
    "TaskIdSameAsJobPreparationTask": (409, "The specified task id is the id of the job preparation task."),
    "TaskIdSameAsJobReleaseTask": (409, "The specified task id is the id of the job release task."),
    "TaskNotCompleted": (409, "The specified task has not completed."),
    "TaskNotFound": (404, "The specified task does not exist."),
    "TaskSucceeded": (409, "The specified task has completed successfully."),
    # files
    "FileNotFound": (404, "The specified file does not exist."),
    "OperationNotValidOnNode": (409, "The specified operation is not valid on the node."),
    "TaskFilesCleanedup": (409, "The files of the specified task have been cleaned up."),
    "TaskFilesUnavailable": (409, "The files of the specified task cannot be accessed."),
}


def error(code: str, *details: tuple[str, str], message: str | None = None, status: int | None = None) -> ServiceError:
    """The service's error of that code; ``details`` are its ``values``, which name the culprit."""
    default_status, default_message = _ERRORS[code]
    return ServiceError(status or default_status, code, message or default_message, *details)
