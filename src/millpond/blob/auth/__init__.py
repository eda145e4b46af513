"""Who may do what: Shared Key, shared access signatures, and public containers."""

from .access import ANY_PERMISSION, READ_BLOB, Access, Need, authorize

__all__ = ["ANY_PERMISSION", "READ_BLOB", "Access", "Need", "authorize"]
