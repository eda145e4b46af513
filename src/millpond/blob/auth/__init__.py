"""Who may do what: Shared Key, shared access signatures, and public containers."""

from .access import Access, Need, authorize

__all__ = ["Access", "Need", "authorize"]
