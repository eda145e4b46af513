"""The asynchronous side."""

from .tokens import AsyncFakeCredential

__all__ = ["AsyncFakeCredential"]
