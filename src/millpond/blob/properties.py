"""The properties of an account's Blob service, as Set Blob Service Properties takes them.

https://learn.microsoft.com/rest/api/storageservices/set-blob-service-properties
"""

from __future__ import annotations

from typing import Final, NamedTuple


class RetentionPolicy(NamedTuple):
    enabled: bool = False
    #: Days that something is kept for.
    days: int = 0


class Logging(NamedTuple):
    version: str = "1.0"
    delete: bool = False
    read: bool = False
    write: bool = False
    retention: RetentionPolicy = RetentionPolicy()


class Metrics(NamedTuple):
    version: str = "1.0"
    enabled: bool = False
    include_apis: bool | None = None
    retention: RetentionPolicy = RetentionPolicy()


class CorsRule(NamedTuple):
    """Lists are as the client wrote them: texts with commas."""

    allowed_origins: str
    allowed_methods: str
    max_age_s: int
    exposed_headers: str = ""
    allowed_headers: str = ""


class StaticWebsite(NamedTuple):
    enabled: bool = False
    index_document: str = ""
    error_document: str = ""
    default_index_document_path: str = ""


class DeleteRetention(NamedTuple):
    """Whether deleted blobs are kept, for how many days, and whether one may be removed for good before."""

    enabled: bool = False
    days: int = 0
    allow_permanent_delete: bool = False


class ServiceProperties(NamedTuple):
    logging: Logging = Logging()
    hour_metrics: Metrics = Metrics()
    minute_metrics: Metrics = Metrics()
    cors: tuple[CorsRule, ...] = ()
    #: The version of requests that name none; empty for the service's own choice.
    default_version: str = ""
    delete_retention: DeleteRetention = DeleteRetention()
    static_website: StaticWebsite = StaticWebsite()


NO_PROPERTIES: Final = ServiceProperties()
