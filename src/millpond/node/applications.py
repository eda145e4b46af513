"""Application packages: fetched from the service, unpacked once on a node, and shared by all of its tasks.

A package is unpacked beside its place and moved there when it is complete, so a directory that is there is whole. Its
files belong to the agent's user; every task's user may read and run them, and not change them.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from millpond.common.agent_protocol import PackageInfo

from .cancellation import Cancellation, CancelledError
from .documents import ApplicationPackageReference
from .supplies import Supplies

#: What an entry says of the system it was made on (``create_system``).
_WINDOWS = 0
#: For entries that say nothing of a mode, as those of Windows: what is a program cannot be told.
_DEFAULT_MODE = 0o755
_COPY_SIZE = 1 << 20
_LONGEST_LINK = 4096


class PackageError(Exception):
    """A package could not be installed. ``details`` name it."""

    def __init__(self, message: str, reference: ApplicationPackageReference) -> None:
        super().__init__(message)
        self.details = (
            ("ApplicationId", reference.application_id),
            ("Version", reference.version or ""),
            ("Message", message),
        )


class Applications:
    """The packages on one node. Its method is for threads."""

    def __init__(self, root: Path, supplies: Supplies) -> None:
        self._directory = root / "applications"
        self._volatile = root / "volatile"
        self._supplies = supplies
        self._guard = threading.Lock()
        #: By directory: held by whoever installs it.
        self._locks: dict[str, threading.Lock] = {}

    def install(self, references: Iterable[ApplicationPackageReference], cancelled: Cancellation) -> dict[str, str]:
        """Have all packages on the node. Returns the environment variables that name their directories.

        Raises :class:`PackageError`, and :class:`CancelledError` when ``cancelled`` is set meanwhile.
        """
        environment: dict[str, str] = {}
        for reference in references:
            try:
                package = self._supplies.package_info(reference.application_id, reference.version, cancelled)
                place = self._directory / package.directory
                with self._lock(package.directory):
                    if not place.exists():
                        self._unpack(package, place, cancelled)
            except CancelledError:
                raise
            except Exception as error:  # whatever may be wrong with an archive, it does not end the agent
                raise PackageError(str(error), reference) from error
            environment |= dict.fromkeys(variables(reference, package), str(place))
        return environment

    def _lock(self, directory: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(directory, threading.Lock())

    def _unpack(self, package: PackageInfo, place: Path, cancelled: Cancellation) -> None:
        archive = self._volatile / f"{package.directory}.zip"
        draft = self._volatile / package.directory
        try:
            self._supplies.download_package(package.digest, archive, cancelled)
            shutil.rmtree(draft, ignore_errors=True)
            unpack(archive, draft)
            draft.rename(place)
        finally:
            archive.unlink(missing_ok=True)
            shutil.rmtree(draft, ignore_errors=True)


def variables(reference: ApplicationPackageReference, package: PackageInfo) -> Iterator[str]:
    """Names of the variables for a package (``node.md`` 2): with its version where the reference says one.

    The id is spelled as the application was added, as the reference has it, and in upper case.
    """
    suffix = f"_{package.version}" if reference.version else ""
    for name in (f"{package.application_id}{suffix}", f"{reference.application_id}{suffix}"):
        plain = re.sub(r"[.#-]", "_", name)
        yield f"AZ_BATCH_APP_PACKAGE_{plain}"
        yield f"AZ_BATCH_APP_PACKAGE_{plain.upper()}"


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a zip file into a new directory. Nothing of it lands elsewhere, or leads elsewhere.

    Raises ``OSError``, ``ValueError`` (what an entry is called, or points to), and for an archive that is damaged,
    encrypted or packed in a way that is not known, whatever ``zipfile`` and what is below it raise.
    """
    directory.mkdir(mode=0o755)
    links: list[tuple[Path, str]] = []
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            relative = _inside(entry.filename)
            target = directory / relative
            mode = 0 if entry.create_system == _WINDOWS else entry.external_attr >> 16
            if entry.filename.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
            elif stat.S_ISLNK(mode) and entry.file_size <= _LONGEST_LINK:
                links.append((relative, content.read(entry).decode()))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, _COPY_SIZE)
                target.chmod((mode & 0o755 or _DEFAULT_MODE) | 0o444)
    for relative, pointer in links:  # last, so that nothing is written by way of one
        _inside(os.path.normpath(relative.parent / pointer), pointer)
        (directory / relative.parent).mkdir(parents=True, exist_ok=True)
        (directory / relative).symlink_to(pointer)


def _inside(name: str, shown: str = "") -> Path:
    """An entry's path below the package's directory; backslashes separate too, as some archives of Windows have it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the package has an entry that leads out of its directory: {shown or name}")
    return Path(path)
