"""Who may do what: Shared Key, shared access signatures, and public containers."""

from .access import READ_BLOB, Access, Need, authorize

__all__ = ["READ_BLOB", "Access", "Need", "authorize"]
