"""``millpond blob cp``: files and blobs to blobs and files, several at a time."""

from __future__ import annotations

import mimetypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..errors import CommandError
from .names import blobs
from .places import SCHEME, Account, Accounts, Place, is_remote, opened, said

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobServiceClient

#: Parts of one file that are under way at the same time.
_PARTS_AT_ONCE = 4
_GLOB = frozenset("*?[")

#: Called with how many more bytes of a job are done.
Advance = Callable[[int], None]


class Job(NamedTuple):
    """One file or blob to copy."""

    source: Path | BlobClient
    target: Path | BlobClient
    size: int

    @property
    def name(self) -> str:
        end = self.source
        return str(end) if isinstance(end, Path) else f"{end.container_name}/{end.blob_name}"


class Found(NamedTuple):
    """A file or blob that a source names, and where it lies below that source."""

    source: Path | BlobClient
    below: str
    size: int


def copy(accounts: Accounts, sources: list[str], target: str, *, recursive: bool, jobs: int) -> None:
    """Raises ``CommandError`` where anything could not be copied, after all the rest has been."""
    if not is_remote(target) and not any(is_remote(source) for source in sources):
        raise CommandError(f"none of these is a blob: begin its name with {SCHEME}")
    with ExitStack() as stack:
        clients = _Clients(stack, jobs * _PARTS_AT_ONCE)
        found = [each for source in sources for each in _found(accounts, clients, source, recursive=recursive)]
        several = recursive or len(sources) > 1 or len(found) > 1
        if is_remote(target):
            work = _to_blobs(clients, accounts.place(target), found, several=several)
        else:
            work = _to_files(target, found, several=several)
        _run(work, clients, jobs)


class _Clients:
    """One client for each account, open until the stack ends."""

    def __init__(self, stack: ExitStack, connections: int) -> None:
        self._stack = stack
        self._connections = connections
        self._clients: dict[Account, BlobServiceClient] = {}

    def of(self, account: Account) -> BlobServiceClient:
        if account not in self._clients:
            client = self._stack.enter_context(opened(account, connections=self._connections))
            self._clients[account] = client
        return self._clients[account]

    def key_of(self, client: BlobClient) -> str:
        """The key of the account that a blob is in, empty where there is none."""
        for account in self._clients:
            if account.key and client.url.startswith(f"{account.url}/"):
                return account.key
        return ""


def _found(accounts: Accounts, clients: _Clients, source: str, *, recursive: bool) -> Iterator[Found]:
    if is_remote(source):
        place = accounts.place(source)
        container = clients.of(place.account).get_container_client(_named(place))
        directory = place.directory
        if recursive and not place.is_pattern and place.path:
            directory = place.path.rstrip("/") + "/"
        for blob in blobs(container, place, recursive=recursive):
            below = str(blob.name).removeprefix(directory) or PurePosixPath(str(blob.name)).name
            yield Found(container.get_blob_client(blob.name), below, blob.size)
    else:
        yield from _found_here(Path(source).expanduser(), recursive=recursive)


def _found_here(path: Path, *, recursive: bool) -> Iterator[Found]:
    if path.is_dir():
        if not recursive:
            raise CommandError(f"{path} is a directory (--recursive copies what is in it)")
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield Found(file, file.relative_to(path).as_posix(), file.stat().st_size)
    elif path.is_file():
        yield Found(path, path.name, path.stat().st_size)
    else:
        files = _matching(path) if _GLOB & set(str(path)) else []
        if not files:
            raise CommandError(f"there is no such file: {path}")
        yield from files


def _matching(path: Path) -> list[Found]:
    """The files that a pattern names, where the shell has left it as it is."""
    fixed = next(parent for parent in path.parents if not _GLOB & set(str(parent)))
    files = [file for file in sorted(fixed.glob(str(path.relative_to(fixed)))) if file.is_file()]
    return [Found(file, file.relative_to(fixed).as_posix(), file.stat().st_size) for file in files]


def _to_blobs(clients: _Clients, target: Place, found: list[Found], *, several: bool) -> list[Job]:
    from azure.core.exceptions import ResourceExistsError

    container = clients.of(target.account).get_container_client(_named(target))
    if target.account.key:
        with suppress(ResourceExistsError):
            container.create_container()
    directory = target.path
    if not several and directory and not directory.endswith("/"):
        return [Job(each.source, container.get_blob_client(directory), each.size) for each in found]
    if directory and not directory.endswith("/"):
        directory += "/"
    return [Job(each.source, container.get_blob_client(directory + each.below), each.size) for each in found]


def _to_files(target: str, found: list[Found], *, several: bool) -> list[Job]:
    directory = Path(target).expanduser()
    if not several and not target.endswith("/") and not directory.is_dir():
        return [Job(each.source, directory, each.size) for each in found]
    return [Job(each.source, directory / _harmless(each.below), each.size) for each in found]


def _harmless(below: str) -> str:
    """A path that stays below. Raises ``CommandError`` for a blob's name that leads elsewhere."""
    parts = below.split("/")
    if below.startswith("/") or below.endswith("/") or "\0" in below or {"", ".", ".."} & set(parts):
        raise CommandError(f"a blob's name that is no path of a file: {below}")
    return below


def _named(place: Place) -> str:
    if not place.container:
        raise CommandError(f"a container is missing: {place}")
    return place.container


def _run(work: list[Job], clients: _Clients, jobs: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    failures = 0
    with (
        Progress(TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal) as bar,
        ThreadPoolExecutor(jobs) as threads,
    ):
        title = f"{len(work)} {'file' if len(work) == 1 else 'files'}"
        total = bar.add_task(title, total=sum(job.size for job in work))
        under_way = {threads.submit(_copy, job, clients, lambda count: bar.advance(total, count)): job for job in work}
        try:
            for done in as_completed(under_way):
                if failure := done.exception():
                    failures += 1
                    console.print(f"millpond: {under_way[done].name}: {_reason(failure)}", markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            threads.shutdown(cancel_futures=True)
            raise
    if failures:
        raise CommandError(f"{failures} of {len(work)} could not be copied")


def _reason(failure: BaseException) -> str:
    from azure.core.exceptions import AzureError

    if isinstance(failure, AzureError | OSError | CommandError):
        return said(failure)
    raise failure


def _copy(job: Job, clients: _Clients, advance: Advance) -> None:
    if isinstance(job.source, Path):
        if isinstance(job.target, Path):
            raise CommandError(f"this is no blob (begin its name with {SCHEME}), and the target is none either")
        _upload(job.source, job.target, advance)
    elif isinstance(job.target, Path):
        _download(job.source, job.target, advance)
    elif job.source.account_name == job.target.account_name and _host(job.source) == _host(job.target):
        _copy_within(job.source, job.target, clients.key_of(job.source))
        advance(job.size)
    else:
        _stream(job.source, job.target, job.size, advance)


def _host(client: BlobClient) -> str:
    return client.url.partition("://")[2].partition("/")[0]


class _Progress:
    """Turns the SDK's sum of what is done into what is new."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._done = 0

    def __call__(self, done: int, _: int | None) -> None:
        self._advance(done - self._done)
        self._done = done


def _upload(source: Path, target: BlobClient, advance: Advance) -> None:
    from azure.storage.blob import ContentSettings

    kind, encoding = mimetypes.guess_type(source.name)
    settings = ContentSettings(content_type=kind if not encoding else "application/octet-stream")
    with source.open("rb") as file:
        target.upload_blob(
            file,
            length=source.stat().st_size,
            overwrite=True,
            max_concurrency=_PARTS_AT_ONCE,
            content_settings=settings if kind else None,
            progress_hook=_Progress(advance),
        )


def _download(source: BlobClient, target: Path, advance: Advance) -> None:
    """Whole, or not at all: what breaks off leaves the file as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            download = source.download_blob(max_concurrency=_PARTS_AT_ONCE, progress_hook=_Progress(advance))
            download.readinto(file)
        mask = os.umask(0)
        os.umask(mask)
        Path(part).chmod(0o666 & ~mask)
        Path(part).replace(target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _copy_within(source: BlobClient, target: BlobClient, key: str) -> None:
    """Have the service copy a blob to another place in the same account."""
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas

    url = source.url
    if key:
        signature = generate_blob_sas(
            str(source.account_name),
            source.container_name,
            source.blob_name,
            account_key=key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(days=1),
        )
        url = f"{url.partition('?')[0]}?{signature}"
    status = target.start_copy_from_url(url)["copy_status"]
    if status != "success":  # a service that takes its time
        import time

        while (properties := target.get_blob_properties()).copy.status == "pending":
            time.sleep(0.5)
        if properties.copy.status != "success":
            raise CommandError(f"the copy has {properties.copy.status}: {properties.copy.status_description}")


def _stream(source: BlobClient, target: BlobClient, size: int, advance: Advance) -> None:
    """From one account to another, by way of this machine."""
    download = source.download_blob()
    target.upload_blob(
        download.chunks(),
        length=size,
        overwrite=True,
        content_settings=download.properties.content_settings,
        metadata=download.properties.metadata,
        progress_hook=_Progress(advance),
    )


def cat(accounts: Accounts, texts: list[str]) -> None:
    """Write blobs to stdout, one after the other."""
    for text in texts:
        place = accounts.place(text)
        with opened(place.account) as client:
            container = client.get_container_client(_named(place))
            for blob in blobs(container, place, recursive=False):
                for piece in container.download_blob(blob.name).chunks():
                    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
