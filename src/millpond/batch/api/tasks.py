"""Operations on tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from millpond.common.agent_protocol import task_directory
from millpond.common.clock import to_etag, to_iso
from millpond.common.durations import format_duration
from millpond.common.errors import ServiceError

from ..engine.messages import (
    NewTask,
    Prerequisites,
    TaskChangeRequested,
    TaskDeleteRequested,
    TaskReactivateRequested,
    TasksAddRequested,
    TaskTerminateRequested,
)
from ..errors import error
from ..model.exit_conditions import DependencyAction, ExitConditions, ExitOptions, JobAction
from ..model.job import Job
from ..model.keys import task_key
from ..model.task import Instance, Task, TaskState
from ..store.base import StoredTask
from . import versions
from .constraints import read_constraints
from .failures import container_info, failure_info
from .http import Answer, Call, changed, created, entity, error_content, listing
from .jobs import find_job, job_key, job_url
from .lists import stored_page
from .statistics import is_wanted, task_statistics
from .unbuilt import refuse_unbuilt
from .wire import tasks as wire
from .wire.codec import decode_json, encode, from_json, try_decode
from .wire.fields import Maybe, maybe, maybe_time

if TYPE_CHECKING:
    from ..service import BatchService

_USER_IDENTITY = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}


async def task_add(service: BatchService, call: Call) -> Answer:
    request = call.read(wire.TaskAdd)
    refuse_unbuilt(request)
    [task] = await _submit(service, call, [_new_task(request)])
    if isinstance(task, ServiceError):
        raise task
    url = task_url(call, call.params["jobId"], task.id)
    return created(url, task.last_modified, url)


async def task_add_collection(service: BatchService, call: Call) -> Answer:
    """Each task is added, or refused with an error of its own."""
    requests = _read_collection(call)
    added = iter(await _submit(service, call, [_new_task(item) for item in requests if isinstance(item, wire.TaskAdd)]))
    results = [
        _result(call, item.id, next(added)) if isinstance(item, wire.TaskAdd) else _result(call, *item)
        for item in requests
    ]
    return listing(call, results, wire.TaskAddResult, "taskaddresult")


async def _submit(service: BatchService, call: Call, tasks: Sequence[NewTask]) -> list[Task | ServiceError]:
    replies: list[Task | ServiceError] = await service.runtime.submit(TasksAddRequested(job=job_key(call), tasks=tasks))
    return replies


def _read_collection(call: Call) -> list[wire.TaskAdd | tuple[str, ServiceError]]:
    """The tasks of a collection, or where one is wrong, its id and its error.

    What is wrong with the collection itself, or with an id that the answer would have to name, refuses the whole.
    """
    collection = try_decode(call.body, wire.TaskCollection, call.version)
    if collection is not None:
        return [_checked(task) for task in collection.value]
    content = decode_json(call.body)
    entries = content.get("value") if isinstance(content, dict) else None
    if isinstance(entries, list) and len(entries) <= wire.COLLECTION_LIMIT:
        return [_read_entry(entry, index) for index, entry in enumerate(entries)]
    return [_checked(task) for task in call.read(wire.TaskCollection).value]  # says what is wrong


def _read_entry(entry: Any, index: int) -> wire.TaskAdd | tuple[str, ServiceError]:
    task_id = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(task_id, str):
        raise error("MissingRequiredProperty", ("PropertyName", f"value[{index}].id"))
    try:
        return _checked(from_json(versions.upgrade(entry, wire.TaskAdd), wire.TaskAdd))
    except ServiceError as problem:
        return task_id, problem


def _checked(task: wire.TaskAdd) -> wire.TaskAdd | tuple[str, ServiceError]:
    try:
        refuse_unbuilt(task)
    except ServiceError as problem:
        return task.id, problem
    return task


def _new_task(request: wire.TaskAdd) -> NewTask:
    retries, wall_clock, retention = read_constraints(request.constraints or None)
    gang = request.multi_instance_settings
    return NewTask(
        id=request.id,
        document=encode(request),
        required_slots=request.required_slots or 1,
        max_task_retry_count=retries,
        max_wall_clock_time=wall_clock,
        retention_time=retention,
        number_of_instances=None if gang is UNSET else gang.number_of_instances or 1,
        depends_on=None if request.depends_on is UNSET else _prerequisites(request.depends_on),
        exit_conditions=None if request.exit_conditions is UNSET else _exit_conditions(request.exit_conditions),
        affinity=None if request.affinity_info is UNSET else _wanted_node(request.affinity_info.affinity_id),
    )


def _wanted_node(affinity_id: str) -> str:
    """The id of the node that a node's ``affinityId`` or that of a task that ran there stands for."""
    return affinity_id.lower().removeprefix("tvm:")


def _prerequisites(given: wire.TaskDependencies) -> Prerequisites:
    return Prerequisites(
        tasks=[task_key(task_id) for task_id in given.task_ids or ()],
        ranges=[(each.start, each.end) for each in given.task_id_ranges or ()],
    )


def _exit_conditions(given: wire.ExitConditions) -> ExitConditions:
    def clause(options: Maybe[wire.ExitOptions]) -> ExitOptions | None:
        return None if options is UNSET else _exit_options(options)

    return ExitConditions(
        exit_codes=tuple((each.code, _exit_options(each.exit_options)) for each in given.exit_codes or ()),
        exit_code_ranges=tuple(
            (each.start, each.end, _exit_options(each.exit_options)) for each in given.exit_code_ranges or ()
        ),
        pre_processing_error=clause(given.pre_processing_error),
        file_upload_error=clause(given.file_upload_error),
        default=clause(given.default),
    )


def _exit_options(given: wire.ExitOptions) -> ExitOptions:
    return ExitOptions(
        job_action=None if given.job_action is UNSET else JobAction(given.job_action),
        dependency_action=None if given.dependency_action is UNSET else DependencyAction(given.dependency_action),
    )


def _result(call: Call, task_id: str, outcome: Task | ServiceError) -> wire.TaskAddResult:
    if isinstance(outcome, Task):
        return wire.TaskAddResult(
            status="success",
            task_id=task_id,
            e_tag=to_etag(outcome.last_modified),
            last_modified=to_iso(outcome.last_modified),
            location=task_url(call, call.params["jobId"], task_id),
        )
    return wire.TaskAddResult(
        status="clienterror" if outcome.status < 500 else "servererror",
        task_id=task_id,
        error=msgspec.convert(error_content(outcome, call), wire.Error),
    )


async def task_list(service: BatchService, call: Call) -> Answer:
    job = find_job(service, call)
    page = await stored_page(call, "tasks", lambda query: service.reader.tasks(job.key, query))
    contents = (task_content(call, job, stored) for stored in page.items)
    return listing(call, contents, wire.Task, "tasks", page.next)


async def task_get(service: BatchService, call: Call) -> Answer:
    job, stored = find_task(service, call)
    call.check_read(stored.task.last_modified)
    answer = entity(call, task_content(call, job, stored), wire.Task, "tasks", stored.task.last_modified)
    answer.headers["DataServiceId"] = call.url
    return answer


async def task_list_subtasks(service: BatchService, call: Call) -> Answer:
    """Those of the latest run. A task that runs on one node alone has none."""
    job, stored = find_task(service, call)
    gang = stored.task.gang if stored.task.state is not TaskState.ACTIVE else None
    members = list(enumerate(gang.instances))[1:] if gang is not None else []
    subtasks = [_subtask(call, job, stored.task, number, member) for number, member in members]
    return listing(call, subtasks, wire.Subtask, "subtasks")


async def task_update(service: BatchService, call: Call) -> Answer:
    """Constraints that the request does not name get their defaults."""
    request = call.read(wire.TaskUpdate, round_trip=wire.Task)
    retries, wall_clock, retention = read_constraints(request.constraints or None)
    task: Task = await service.runtime.submit(
        TaskChangeRequested(
            job=job_key(call),
            task=task_key(call.params["taskId"]),
            max_task_retry_count=retries,
            max_wall_clock_time=wall_clock,
            retention_time=retention,
            conditions=call.conditions(),
        )
    )
    return changed(call, 200, task.last_modified)


async def task_terminate(service: BatchService, call: Call) -> Answer:
    task: Task = await service.runtime.submit(
        TaskTerminateRequested(job=job_key(call), task=task_key(call.params["taskId"]), conditions=call.conditions())
    )
    return changed(call, 204, task.last_modified)


async def task_delete(service: BatchService, call: Call) -> Answer:
    await service.runtime.submit(
        TaskDeleteRequested(job=job_key(call), task=task_key(call.params["taskId"]), conditions=call.conditions())
    )
    return Answer(200)


async def task_reactivate(service: BatchService, call: Call) -> Answer:
    task: Task = await service.runtime.submit(
        TaskReactivateRequested(job=job_key(call), task=task_key(call.params["taskId"]), conditions=call.conditions())
    )
    return changed(call, 204, task.last_modified)


# --- what handlers share -----------------------------------------------------------------------------------------


def find_task(service: BatchService, call: Call) -> tuple[Job, StoredTask]:
    """The task that the path names, and its job. Raises ``JobNotFound`` or ``TaskNotFound``."""
    job = find_job(service, call)
    stored = service.reader.task(job.key, task_key(call.params["taskId"]))
    if stored is None:
        raise error("TaskNotFound")
    return job, stored


def task_content(call: Call, job: Job, stored: StoredTask) -> dict[str, Any]:
    """A task as it is answered with."""
    task = stored.task
    content = {
        "userIdentity": _USER_IDENTITY,
        **msgspec.json.decode(stored.document),
        "id": task.id,
        "url": task_url(call, job.id, task.id),
        "eTag": to_etag(task.last_modified),
        "lastModified": to_iso(task.last_modified),
        "creationTime": to_iso(task.creation_time),
        "state": task.state,
        "stateTransitionTime": to_iso(task.state_transition_time),
        "requiredSlots": task.required_slots,
        "constraints": {
            "maxWallClockTime": format_duration(task.max_wall_clock_time),
            "retentionTime": format_duration(task.retention_time),
            "maxTaskRetryCount": task.max_task_retry_count,
        },
        "executionInfo": execution_info(task),
    }
    if task.previous_state is not None and task.previous_state_transition_time is not None:
        content["previousState"] = task.previous_state
        content["previousStateTransitionTime"] = to_iso(task.previous_state_transition_time)
    if task.usage is not None and is_wanted(call):
        content["stats"] = task_statistics(task_url(call, job.id, task.id), task, task.usage)
    if task.node_id is not None and task.state is not TaskState.ACTIVE:
        content["nodeInfo"] = node_info(call, job.id, task)
    return content


def execution_info(task: Task) -> wire.TaskExecutionInfo:
    return wire.TaskExecutionInfo(
        start_time=maybe_time(task.start_time),
        end_time=maybe_time(task.end_time),
        exit_code=maybe(task.exit_code),
        container_info=container_info(task.container_info),
        failure_info=UNSET if task.failure is None else failure_info(task.failure),
        retry_count=task.retry_count,
        last_retry_time=maybe_time(task.last_retry_time),
        requeue_count=task.requeue_count,
        last_requeue_time=maybe_time(task.last_requeue_time),
        result=maybe(task.result),
    )


def _subtask(call: Call, job: Job, task: Task, number: int, subtask: Instance) -> wire.Subtask:
    return wire.Subtask(
        id=number,
        node_info=node_info(call, job.id, replace(task, node_id=subtask.node_id)),
        start_time=maybe_time(subtask.start_time),
        end_time=maybe_time(subtask.end_time),
        exit_code=maybe(subtask.exit_code),
        container_info=container_info(subtask.container_info),
        failure_info=UNSET if subtask.failure is None else failure_info(subtask.failure),
        state=subtask.state.value,
        state_transition_time=to_iso(subtask.state_transition_time),
        previous_state=UNSET if subtask.previous_state is None else subtask.previous_state.value,
        previous_state_transition_time=maybe_time(subtask.previous_state_transition_time),
        result=maybe(subtask.result),
    )


def node_info(call: Call, job_id: str, task: Task) -> wire.NodeInfo:
    node_url = f"{call.base_url}/pools/{task.pool_id}/nodes/{task.node_id}"
    directory = task_directory(job_id, task.id)
    return wire.NodeInfo(
        affinity_id=f"TVM:{task.node_id}",
        node_url=node_url,
        pool_id=maybe(task.pool_id),
        node_id=maybe(task.node_id),
        task_root_directory=directory,
        task_root_directory_url=f"{node_url}/files/{directory}",
    )


def task_url(call: Call, job_id: str, task_id: str) -> str:
    return f"{job_url(call, job_id)}/tasks/{task_id}"
