"""Whether rows and files agree, in the data directory of a service that does not run."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .content import checksums

_READ_SIZE = 1 << 20


class Problem(NamedTuple):
    """What is wrong with a blob, or with a block that is not committed."""

    container: str
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.container}/{self.name}: {self.what}"


class Check:
    """One look at a directory. Counts of what it looked at are complete once :meth:`problems` has ended."""

    def __init__(self, root: Path, *, deep: bool) -> None:
        self._root = root
        self._deep = deep
        self._database = root / "blob.db"
        self._found = dict(_files_below(root))
        self._needed: set[str] = set()
        self.files = len(self._found)
        self.blobs = self.blocks = 0

    def problems(self) -> Iterator[Problem]:
        connection = sqlite3.connect(self._database)
        try:
            self._needed = {file for (file,) in connection.execute(_NEEDED)}
            if self._deep:
                for (said,) in connection.execute("PRAGMA integrity_check"):
                    if said != "ok":
                        yield Problem("", self._database.name, said)
            yield from self._blobs(connection)
            yield from self._blocks(connection)
        finally:
            connection.close()

    def orphans(self) -> list[Path]:
        """Files that neither a blob nor a block needs; only after :meth:`problems`."""
        return sorted(path for file, path in self._found.items() if file not in self._needed)

    @staticmethod
    def remove(orphans: Iterable[Path]) -> None:
        for path in orphans:
            path.unlink()

    def _blobs(self, connection: sqlite3.Connection) -> Iterator[Problem]:
        for blob_id, container, name, size, kind, data, md5 in connection.execute(_BLOBS):
            self.blobs += 1
            segments = connection.execute(_SEGMENTS, (blob_id,)).fetchall()
            wrong = [_inline(data, size)] if data is not None else self._segments(segments, size, kind)
            if not any(wrong) and self._deep and md5 and self._md5(data, segments, size) != md5:
                wrong = ["its bytes have another MD5"]
            yield from (Problem(container, name, what) for what in wrong if what)

    def _segments(self, segments: list[tuple[int, int, str, int]], size: int, kind: str) -> list[str]:
        wrong = []
        end = 0
        for start, length, file, offset in segments:
            if start < end or (start > end and kind != "PageBlob"):
                wrong.append(f"it has no bytes at {end}" if start > end else f"it has bytes twice at {start}")
            end = start + length
            wrong.append(self._file(file, offset + length))
        if end > size or (end < size and kind != "PageBlob"):
            wrong.append(f"it has {end} bytes instead of {size}")
        return wrong

    def _file(self, file: str, size: int) -> str:
        path = self._found.get(file)
        if path is None:
            return f"its file {file} is missing"
        found = path.stat().st_size
        return f"its file {file} has {found} bytes instead of {size}" if found < size else ""

    def _blocks(self, connection: sqlite3.Connection) -> Iterator[Problem]:
        for container, name, file, size in connection.execute(_BLOCKS):
            self.blocks += 1
            if what := self._file(file, size):
                yield Problem(container, name, f"of an uncommitted block {what}")

    def _md5(self, data: bytes | None, segments: list[tuple[int, int, str, int]], size: int) -> bytes:
        if data is not None:
            return checksums.md5(data)
        digest, end = hashlib.md5(usedforsecurity=False), 0
        for start, length, file, offset in segments:
            _add_zeros(digest, start - end)
            end = start + length
            with self._found[file].open("rb") as content:
                content.seek(offset)
                left = length
                while piece := content.read(min(_READ_SIZE, left)):
                    digest.update(piece)
                    left -= len(piece)
        _add_zeros(digest, size - end)
        return digest.digest()


def _inline(data: bytes, size: int) -> str:
    return f"it has {len(data)} bytes instead of {size}" if len(data) != size else ""


def _add_zeros(digest: hashlib._Hash, count: int) -> None:
    for begin in range(0, count, _READ_SIZE):
        digest.update(bytes(min(_READ_SIZE, count - begin)))


def _files_below(root: Path) -> Iterator[tuple[str, Path]]:
    for place in (root / "content", root / "incoming"):
        for directory, _, names in os.walk(place):
            for name in names:
                yield name, Path(directory, name)


# A file that is still to be unlinked counts as needed: the next start of the service sees to it.
_NEEDED = "SELECT file FROM segment UNION SELECT file FROM block UNION SELECT file FROM garbage"
_BLOBS = """
SELECT blob.id, coalesce(container.name, ''), blob.name, blob.size, blob.type, blob.data, blob.content_md5
FROM blob LEFT JOIN container ON container.id = blob.container_id ORDER BY blob.container_id, blob.name
"""
_SEGMENTS = "SELECT start, size, file, offset FROM segment WHERE blob_id = ? ORDER BY start"
_BLOCKS = """
SELECT coalesce(container.name, ''), blob_name, file, size
FROM block LEFT JOIN container ON container.id = block.container_id
"""
