"""The application packages of the Batch accounts: zip files that nodes unpack, by application and version.

They belong to the management of an account, as its keys do: the command line changes them, also while a server runs,
which reads the index again whenever it has changed. A package is complete and on disk, under the name of its content,
before the index names it; what the index does not name is removed by the next change. So a change that is cut short
at any moment has either happened or not.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from millpond.common.clock import to_iso
from millpond.common.config import Settings, write_private

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CHUNK = 1 << 20


class PackageError(Exception):
    """An application or package that does not exist, or cannot be as asked for; the text says which."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    #: SHA-256 of the zip file, in hexadecimal.
    digest: str
    #: When it was added, in microseconds.
    activation_time: int


class Application(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    display_name: str = ""
    #: What references without a version mean; one of the packages.
    default_version: str | None = None
    #: Whether a version may be replaced by another package.
    allow_updates: bool = True
    #: By version in lower case.
    packages: dict[str, Package] = {}

    def package(self, version: str | None) -> Package:
        """The package of a version, or of the default one. Raises :class:`PackageError`."""
        if version is None and self.default_version is None:
            raise PackageError(f"the application {self.id} has no default version")
        wanted = version if version is not None else self.default_version or ""
        package = self.packages.get(wanted.lower())
        if package is None:
            raise PackageError(f"the application {self.id} has no version {wanted}")
        return package


def directory_name(application: Application, package: Package) -> str:
    """Where nodes unpack it: as ``node.md`` has it, and a part of the digest to tell what was added in one minute."""
    minute = re.sub(r"[T:]", "-", to_iso(package.activation_time)[:16])
    return f"{application.id}{package.version}{minute}-{package.digest[:8]}"


class Applications:
    """The applications of all accounts, in a directory of their own (mode 0700)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._index = directory / "index.json"
        self._stamp: tuple[int, int] | None = None
        #: By account, then by id in lower case.
        self._content: dict[str, dict[str, Application]] = {}

    # --- reading ---

    def all(self, account: str) -> list[Application]:
        """The account's applications in the order of their ids."""
        self._refresh()
        return [application for _, application in sorted(self._content.get(account, {}).items())]

    def get(self, account: str, application_id: str) -> Application:
        """Raises :class:`PackageError`."""
        self._refresh()
        application = self._content.get(account, {}).get(application_id.lower())
        if application is None:
            raise PackageError(f"there is no application {application_id}")
        return application

    def file(self, account: str, digest: str) -> Path:
        """The zip file of one of the account's packages. Raises :class:`PackageError`."""
        if not any(package.digest == digest for app in self.all(account) for package in app.packages.values()):
            raise PackageError("there is no such package")
        return self._zip(digest)

    # --- changing ---

    def add(
        self,
        account: str,
        application_id: str,
        version: str,
        source: Path,
        now: int,
        *,
        is_default: bool = False,
        display_name: str | None = None,
        allow_updates: bool | None = None,
    ) -> Application:
        """Add a package, with its application where that is new; ``None`` leaves what is not said as it is.

        Raises :class:`PackageError`, and ``OSError`` for files that cannot be read or written.
        """
        if not _ID.fullmatch(application_id):
            raise PackageError(f"an application id has 1 to 64 of A-Z, a-z, 0-9, '-' and '_', not {application_id!r}")
        if not _VERSION.fullmatch(version):
            raise PackageError(f"a version has 1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.', not {version!r}")
        with self._changing():
            applications = self._content.setdefault(account, {})
            application = applications.get(application_id.lower(), Application(id=application_id))
            if version.lower() in application.packages and not application.allow_updates:
                raise PackageError(f"{application.id} has a version {version}, and its versions may not be replaced")
            package = Package(version=version, digest=self._take_in(source), activation_time=now)
            application = msgspec.structs.replace(
                application,
                packages={**application.packages, version.lower(): package},
                default_version=version if is_default else application.default_version,
                display_name=application.display_name if display_name is None else display_name,
                allow_updates=application.allow_updates if allow_updates is None else allow_updates,
            )
            applications[application.id.lower()] = application
        return application

    def remove(self, account: str, application_id: str, version: str | None = None) -> None:
        """Remove a package, or an application with all of them. Raises :class:`PackageError`, ``OSError``."""
        with self._changing():
            application = self.get(account, application_id)
            if version is None:
                del self._content[account][application.id.lower()]
                return
            gone = application.package(version)
            is_default = (application.default_version or "").lower() == gone.version.lower()
            self._content[account][application.id.lower()] = msgspec.structs.replace(
                application,
                packages={key: package for key, package in application.packages.items() if package is not gone},
                default_version=None if is_default else application.default_version,
            )

    def set_default(self, account: str, application_id: str, version: str | None) -> None:
        """Say what references without a version mean; ``None``: nothing. Raises :class:`PackageError`, ``OSError``."""
        with self._changing():
            application = self.get(account, application_id)
            default = None if version is None else application.package(version).version
            self._content[account][application.id.lower()] = msgspec.structs.replace(
                application, default_version=default
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone on the directory, with the newest index; what the block leaves is made durable in one step."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._refresh()
            try:
                yield
                write_private(self._index, msgspec.json.format(msgspec.json.encode(self._content), indent=2))
            finally:
                self._stamp = None
                self._refresh()
                self._sweep()
        finally:
            os.close(lock)

    def _take_in(self, source: Path) -> str:
        """Copy a zip file into the directory; returns its digest."""
        digest = hashlib.sha256()
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix="incoming.")
        with os.fdopen(handle, "w+b") as target, source.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            _check_zip(Path(temporary), source)
            os.fsync(target.fileno())
        name = digest.hexdigest()
        Path(temporary).replace(self._zip(name))
        return name

    def _sweep(self) -> None:
        named = {
            f"{package.digest}.zip"
            for applications in self._content.values()
            for application in applications.values()
            for package in application.packages.values()
        }
        for file in self._directory.iterdir():
            if file.name not in named | {"lock", self._index.name}:
                file.unlink()

    def _zip(self, digest: str) -> Path:
        return self._directory / f"{digest}.zip"

    def _refresh(self) -> None:
        try:
            stat = self._index.stat()
        except FileNotFoundError:
            self._content = {}
            return
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._content = msgspec.json.decode(self._index.read_bytes(), type=dict[str, dict[str, Application]])
            self._stamp = stamp


def open_applications(settings: Settings) -> Applications:
    """Those of a data directory; nothing is made before one is added."""
    return Applications(settings.data / "batch" / "applications")


def _check_zip(file: Path, source: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, IndexError) as error:
        raise PackageError(f"{source} is not a zip file that can be unpacked: {error}") from error
    if damaged is not None:
        raise PackageError(f"{source} is damaged at {damaged}")
