"""The bytes of blobs: files for those that are too large for a row, and their checksums."""

from . import checksums
from .files import ContentStore
from .upload import Upload

__all__ = ["ContentStore", "Upload", "checksums"]
