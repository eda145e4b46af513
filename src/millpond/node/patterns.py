"""File patterns of output files: which of a task's files are meant.

``*`` and ``?`` match within a name, ``[abc]``, ``[a-c]`` and ``[!abc]`` one character, ``**`` directories at any depth.
A name that begins with a dot is matched only by a pattern that says the dot. ``/`` alone separates directories.
Environment variables (``$NAME``, ``${NAME}``) are put in first.

Nothing outside of the node's root is ever looked into, and links to directories are followed only where the pattern
names them.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .files import is_inside, place_of

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_WILDCARDS = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Pattern:
    #: The part without wildcards, absolute.
    directory: str
    #: What is below it, by directory; the last is the file's name.
    parts: tuple[str, ...]

    @property
    def has_wildcards(self) -> bool:
        return bool(_WILDCARDS.search(self.parts[-1])) or len(self.parts) > 1

    def files(self, root: str) -> Iterator[str]:
        """Paths of regular files below :attr:`directory`, in order, each once. What cannot be read is passed over."""
        yield from dict.fromkeys(_files(self.directory, self.parts, root))


def parse(pattern: str, working_directory: str, environment: Mapping[str, str]) -> Pattern:
    """Read a pattern, relative to the working directory unless it is absolute. Unknown variables stay as they are."""
    text = _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], found[0]), pattern)
    parts: list[str] = []
    for part in text.split("/"):
        if part.startswith("**") and part != "**":
            parts += ["**", f"*{part.lstrip('*')}"]
        elif part not in ("", "."):
            parts.append(part)
    if not parts or parts[-1] == "**":
        parts.append("*")
    fixed = next((index for index, part in enumerate(parts) if _WILDCARDS.search(part)), len(parts) - 1)
    base = "/" if text.startswith("/") else working_directory
    return Pattern(os.path.normpath(os.path.join(base, *parts[:fixed])), tuple(parts[fixed:]))  # noqa: PTH118


def _files(directory: str, parts: tuple[str, ...], root: str) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _files(directory, rest, root)
        for name in _names(directory, "*", root, only_directories=True):
            yield from (f"{name}/{path}" for path in _files(f"{directory}/{name}", parts, root))
    elif rest:
        for name in _names(directory, part, root, only_directories=True):
            yield from (f"{name}/{path}" for path in _files(f"{directory}/{name}", rest, root))
    elif _WILDCARDS.search(part):
        yield from _names(directory, part, root, only_directories=False)
    elif _is_file(f"{directory}/{part}"):
        yield part


def _names(directory: str, part: str, root: str, *, only_directories: bool) -> list[str]:
    """Names in a directory that match: of its directories, links left out, or of its files."""
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        if not is_inside(place_of(handle), root):
            return []
        with os.scandir(handle) as entries:
            return sorted(
                entry.name
                for entry in entries
                if _matches(entry.name, part)
                and (entry.is_dir(follow_symlinks=False) if only_directories else entry.is_file())
            )
    except OSError:
        return []
    finally:
        os.close(handle)


def _matches(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    return fnmatch.fnmatchcase(name, part)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return False
