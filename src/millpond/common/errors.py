"""The one exception that becomes an answer to a client."""

from __future__ import annotations


class ServiceError(Exception):
    """An error of the service's own: HTTP status, code, message, and the key/value details that name the culprit.

    It knows no HTTP library and no body format: the Batch API writes it as JSON, the Blob API as XML.
    """

    def __init__(self, status: int, code: str, message: str, *details: tuple[str, str]) -> None:
        # Without Exception's own __init__: "args" stay what the error is made of, so that it can be pickled.
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message} {dict(self.details) or ''}".rstrip()
