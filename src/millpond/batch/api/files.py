"""Operations on the files of tasks and of nodes: the same files, seen from different directories."""

from __future__ import annotations

import functools
import mimetypes
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from millpond.common.agent_protocol import FileEntry, task_directory
from millpond.common.clock import to_http, to_iso
from millpond.common.errors import ServiceError

from ..errors import error
from ..model.pool import Node, NodeState
from ..model.task import Task, TaskState
from . import odata
from .http import Answer, Call, listing
from .jobs import job_url
from .lists import page_of
from .nodes import find_node
from .pools import pool_url
from .tasks import find_task
from .wire.nodes import FileProperties, NodeFile

if TYPE_CHECKING:
    from ..service import BatchService


class _Place(NamedTuple):
    """A directory whose files a request is about."""

    #: The node's key, and the directory relative to the node's root (empty for that itself).
    node: str
    directory: str
    #: What the URLs of its files begin with.
    url: str
    #: The task whose directory it is.
    task: Task | None = None

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}" if self.directory else name


# --- operations --------------------------------------------------------------------------------------------------


async def file_list_from_task(service: BatchService, call: Call) -> Answer:
    return await _list(service, call, _task_place(service, call))


async def file_get_from_task(service: BatchService, call: Call) -> Answer:
    return await _get(service, call, _task_place(service, call))


async def file_get_properties_from_task(service: BatchService, call: Call) -> Answer:
    return await _get_properties(service, call, _task_place(service, call))


async def file_delete_from_task(service: BatchService, call: Call) -> Answer:
    return await _delete(service, call, _task_place(service, call))


async def file_list_from_compute_node(service: BatchService, call: Call) -> Answer:
    return await _list(service, call, _node_place(service, call))


async def file_get_from_compute_node(service: BatchService, call: Call) -> Answer:
    return await _get(service, call, _node_place(service, call))


async def file_get_properties_from_compute_node(service: BatchService, call: Call) -> Answer:
    return await _get_properties(service, call, _node_place(service, call))


async def file_delete_from_compute_node(service: BatchService, call: Call) -> Answer:
    return await _delete(service, call, _node_place(service, call))


# --- places ------------------------------------------------------------------------------------------------------


def _task_place(service: BatchService, call: Call) -> _Place:
    job, stored = find_task(service, call)
    task = stored.task
    if task.state is TaskState.ACTIVE:
        reason = "The files of the specified task cannot be accessed as the task state is still active"
        raise error("OperationInvalidForCurrentState", ("Reason", reason))
    node = None if task.node is None else service.reader.node(task.node)
    if node is None:
        raise error("TaskFilesUnavailable")
    _check_serves_files(node)
    return _Place(node.key, task_directory(job.id, task.id), f"{job_url(call, job.id)}/tasks/{task.id}/files/", task)


def _node_place(service: BatchService, call: Call) -> _Place:
    pool, node = find_node(service, call)
    _check_serves_files(node)
    return _Place(node.key, "", f"{pool_url(call, pool.id)}/nodes/{node.id}/files/")


def _check_serves_files(node: Node) -> None:
    if node.state is NodeState.UNUSABLE:
        raise error("NodeStateUnusable")


def _name(call: Call) -> str:
    """The file that the path names, relative to its place. Whatever leads out of there is no file of it."""
    name = call.params["filePath"].strip("/")
    if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise error("FileNotFound")
    return name


# --- what tasks and nodes have in common -------------------------------------------------------------------------


async def _list(service: BatchService, call: Call, place: _Place) -> Answer:
    what = odata.read_filter(call, "files")
    try:
        entries = await service.files.list(place.node, place.directory, call.flag("recursive"))
    except ServiceError as problem:
        raise await _explained(service, place, problem) from None
    found = sorted(
        ((entry.name, entry) for entry in entries if what is None or odata.holds(what, {"name": entry.name})),
        key=lambda item: item[0],
    )
    page, following = page_of(call, found)
    return listing(call, [_node_file(place, entry) for entry in page], NodeFile, "files", following)


def _node_file(place: _Place, entry: FileEntry) -> NodeFile:
    file = NodeFile(name=entry.name, url=place.url + quote(entry.name), is_directory=entry.is_directory)
    if not entry.is_directory:
        file.properties = FileProperties(
            last_modified=to_iso(entry.modified),
            content_length=str(entry.size),
            content_type=_content_type(entry.name),
            file_mode=_mode(entry),
        )
    return file


async def _get(service: BatchService, call: Call, place: _Place) -> Answer:
    name = _name(call)
    entry = await _stat(service, place, name)
    if entry.is_directory:
        raise error("OperationInvalidForCurrentState", ("Reason", "The path names a directory."))
    call.check_read(entry.modified)
    offset, length = read_range(call, entry.size)
    content = await service.files.read(place.node, place.path(name), offset, length)
    return Answer(200, _headers(place, name, entry, length), content)


async def _get_properties(service: BatchService, call: Call, place: _Place) -> Answer:
    name = _name(call)
    entry = await _stat(service, place, name)
    call.check_read(entry.modified)
    return Answer(200, _headers(place, name, entry, entry.size))


async def _delete(service: BatchService, call: Call, place: _Place) -> Answer:
    try:
        await service.files.delete(place.node, place.path(_name(call)), call.flag("recursive"))
    except ServiceError as problem:
        raise await _explained(service, place, problem) from None
    return Answer(200)


async def _stat(service: BatchService, place: _Place, name: str) -> FileEntry:
    try:
        return await service.files.stat(place.node, place.path(name))
    except ServiceError as problem:
        raise await _explained(service, place, problem) from None


async def _explained(service: BatchService, place: _Place, problem: ServiceError) -> ServiceError:
    """The error, or what is behind it: a task's directory goes when the files have been kept for long enough."""
    if problem.code == "FileNotFound" and place.task is not None and place.task.state is TaskState.COMPLETED:
        try:
            await service.files.stat(place.node, place.directory)
        except ServiceError as reason:
            if reason.code == "FileNotFound":
                return error("TaskFilesCleanedup")
    return problem


def _headers(place: _Place, name: str, entry: FileEntry, length: int) -> dict[str, str]:
    return {
        "Content-Length": str(length),
        "Content-Type": _content_type(name),
        "Last-Modified": to_http(entry.modified),
        "ocp-batch-file-isdirectory": str(entry.is_directory),
        "ocp-batch-file-mode": _mode(entry),
        "ocp-batch-file-url": quote(place.url + quote(name), safe=""),
    }


def _mode(entry: FileEntry) -> str:
    return f"0o{entry.mode:o}"


@functools.cache
def _types() -> mimetypes.MimeTypes:
    return mimetypes.MimeTypes()


def _content_type(name: str) -> str:
    return _types().guess_type(name)[0] or "application/octet-stream"


_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def read_range(call: Call, size: int) -> tuple[int, int]:
    """Offset and length of what is asked for, by ``ocp-range`` or ``Range``.

    Raises ``InvalidHeaderValue``, or ``InvalidRange`` where nothing of it is in the file.
    """
    header = next((name for name in ("ocp-range", "range") if name in call.headers), None)
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(call.headers[header].strip())
    if match is None or not any(match.groups()):
        raise error("InvalidHeaderValue", ("HeaderName", header), ("HeaderValue", call.headers[header]))
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise error("InvalidRange", ("HeaderName", header), ("HeaderValue", call.headers[header]))
    return start, end - start
