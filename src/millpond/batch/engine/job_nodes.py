"""A job's preparation and release tasks on its nodes.

The preparation task runs on a node when the job's first task gets a place there. That task, and those that follow
before it is over, wait in their places (``preparing``), unless the job does not wait for success. Once it has
succeeded they start; once it has failed for good they go back to waiting, and the node is barred from the job. The
release task runs when the job ends, on each node that was prepared or ran tasks of the job, as soon as none of the
job's tasks is left there.

Both are attempts like those of tasks, with numbers of their node's, reported in the same way; but they take no slots,
and their records are :class:`JobNode`, not :class:`Task`. Each record belongs to a node's life: where the node loses
its boot, what ran there is over, and it depends on the job what has to run again.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from millpond.common.clock import MINUTE

from ..model.job import Job, PreparationTask
from ..model.job_node import JobNode, JobTaskKind, JobTaskRun, JobTaskState
from ..model.pool import NodeState
from ..model.task import ErrorCategory, Failure, TaskResult, TaskState
from .messages import AttemptRef, StartTask, StopTask, TaskEnded, TaskStarted
from .placement import ENDED_WITH_JOB, give_back, return_tasks, start_prepared
from .slots import JobWork, NodeSlots
from .state import State
from .transitions import TaskTrigger

#: How long an ending job waits for its release tasks, from its end on: twice what one may take.
RELEASE_LIMIT = 30 * MINUTE

_LOST = Failure(ErrorCategory.SERVER_ERROR, "TaskEnded", "The compute node has left the pool or is unusable.")

#: Nodes in these states do what an ending job asks of them; those in _COMING will, so the job waits for them.
_READY = frozenset({NodeState.IDLE, NodeState.RUNNING, NodeState.OFFLINE, NodeState.START_TASK_FAILED})
_COMING = frozenset(
    {
        NodeState.CREATING,
        NodeState.REBOOTING,
        NodeState.STARTING,
        NodeState.WAITING_FOR_START_TASK,
        NodeState.UNKNOWN,
        NodeState.UPGRADING_OS,
    }
)


# --- before the first task ---------------------------------------------------------------------------------------


def is_prepared(state: State, work: JobWork, slots: NodeSlots, now: int) -> bool:
    """Whether a task of the job may start on a node where it gets a place; if need be, preparation begins."""
    preparation = work.preparation
    assert preparation is not None  # noqa: S101 - others have nothing to prepare
    record = work.nodes.get(slots.key)
    if record is None or not (record.is_prepared or record.preparation.attempt):
        record = _begin(state, work, slots, record, now)
    if record.is_prepared:
        return True
    if preparation.wait_for_success:
        return False
    if not record.needs_release:
        state.save_job_node(replace(record, needs_release=True))
    return True


def _begin(state: State, work: JobWork, slots: NodeSlots, record: JobNode | None, now: int) -> JobNode:
    """Have the preparation task run, for the first time or again after its node has lost its boot."""
    attempt = _next_attempt(state, slots)
    if record is None:
        node = state.nodes[slots.key]
        run = JobTaskRun(attempt=attempt, start_time=now)
        pool_id = state.pools[node.pool].id
        record = JobNode(job=work.key, node=slots.key, pool_id=pool_id, node_id=node.id, preparation=run)
    elif record.preparation.state is JobTaskState.RUNNING:
        record = replace(record, preparation=replace(record.preparation, attempt=attempt, start_time=now))
    else:
        record = replace(record, preparation=JobTaskRun(attempt=attempt, start_time=now))
    state.save_job_node(record)
    state.order(_start_order(state.jobs[work.key], record, JobTaskKind.PREPARATION))
    return record


def _preparation_over(state: State, record: JobNode, preparation: PreparationTask, now: int) -> None:
    """The tasks that waited for it go on, or back."""
    succeeded = record.preparation.result is TaskResult.SUCCESS
    is_prepared = succeeded or not preparation.wait_for_success
    record = replace(
        record, is_prepared=is_prepared, is_barred=not is_prepared, needs_release=record.needs_release or succeeded
    )
    state.save_job_node(record)
    for key in [key for key in state.node_slots[record.node].running if key[0] == record.job]:
        task = state.tasks[key]
        if task.state is TaskState.PREPARING and task.withdrawal is None:
            if succeeded:
                nodes = state.job_work[record.job].nodes
                if task.gang is None or all(node in nodes and nodes[node].is_prepared for node in task.places):
                    start_prepared(state, task, now)
            else:
                give_back(state, task, TaskTrigger.LOSE, now)


# --- what nodes report -------------------------------------------------------------------------------------------


def on_started(state: State, event: TaskStarted) -> None:
    """A report about an attempt that is no task's."""
    found = _find(state, event.attempt, event.node)
    if found is not None:
        record, kind = found
        _save_run(state, record, kind, replace(_run(record, kind), start_time=event.start_time))


def on_ended(state: State, event: TaskEnded, now: int) -> None:
    """A report about an attempt that is no task's."""
    found = _find(state, event.attempt, event.node)
    if found is None:
        return
    record, kind = found
    run = _run(record, kind)
    job = state.jobs[record.job]
    if event.start_time is None and event.failure is None:
        # Its node did not start it, for a reason of its own.
        _try_again(state, record, kind, run, now)
    elif kind is JobTaskKind.PREPARATION and event.may_retry and _has_retries(job.preparation, run):
        again = replace(run, retry_count=run.retry_count + 1, last_retry_time=now)
        _try_again(state, record, kind, again, now)
    else:
        over = _over(
            run,
            event.end_time,
            start_time=event.start_time or run.start_time,
            exit_code=event.exit_code,
            failure=event.failure,
            container_info=event.container_info,
            result=event.result,
        )
        record = _save_run(state, record, kind, over)
        if kind is JobTaskKind.PREPARATION and job.preparation is not None:
            _preparation_over(state, record, job.preparation, now)


def _has_retries(preparation: PreparationTask | None, run: JobTaskRun) -> bool:
    limit = 0 if preparation is None else preparation.max_task_retry_count
    return limit < 0 or run.retry_count < limit


def _try_again(state: State, record: JobNode, kind: JobTaskKind, run: JobTaskRun, now: int) -> None:
    attempt = _next_attempt(state, state.node_slots[record.node])
    record = _save_run(state, record, kind, replace(run, attempt=attempt, start_time=now))
    state.order(_start_order(state.jobs[record.job], record, kind))


def _find(state: State, ref: AttemptRef, node: str) -> tuple[JobNode, JobTaskKind] | None:
    """What a report is about, unless that is over or was never."""
    work = state.job_work.get(ref.job)
    record = None if work is None else work.nodes.get(node)
    if record is None:
        return None
    for kind in JobTaskKind:
        if ref in _refs(state.jobs[ref.job], record, kind):
            return record, kind
    return None


# --- what becomes of a node --------------------------------------------------------------------------------------


def under_way(state: State, slots: NodeSlots) -> list[StartTask]:
    """The orders for what a node is to run besides tasks, given again."""
    orders = []
    for key in slots.jobs:
        record = state.job_work[key].nodes[slots.key]
        job = state.jobs[key]
        orders += [_start_order(job, record, kind) for kind in JobTaskKind if _refs(job, record, kind)]
    return orders


def vacate(state: State, slots: NodeSlots, now: int) -> None:
    """Nothing runs on the node any more: it reboots, has ended, or is gone."""
    return_tasks(state, slots, now)
    for key in list(slots.jobs):
        record = state.job_work[key].nodes[slots.key]
        preparation = state.jobs[key].preparation
        if preparation is not None and preparation.rerun_on_node_reboot_after_success:
            record = replace(record, is_prepared=False)
        if record.preparation.state is JobTaskState.RUNNING:
            record = replace(record, is_prepared=False, preparation=replace(record.preparation, attempt=0))
        if record.release is not None:
            record = replace(record, release=replace(record.release, attempt=0))
        state.save_job_node(record)


def on_wiped(state: State, slots: NodeSlots) -> None:
    """A node without a boot has lost its disk: it may be prepared anew, and has nothing to release."""
    for key in list(slots.jobs):
        record = state.job_work[key].nodes[slots.key]
        state.save_job_node(replace(record, is_prepared=False, is_barred=False, needs_release=False))


def on_node_gone(state: State, slots: NodeSlots, now: int) -> None:
    """The node is leaving: nothing of any job runs there any more, and nothing is released."""
    for key in list(slots.jobs):
        record = _given_up(state.job_work[key].nodes[slots.key], now)
        state.save_job_node(record)
        state.forget_job_node(key, slots.key)


def _given_up(record: JobNode, now: int) -> JobNode:
    preparation, release = record.preparation, record.release
    if preparation.state is JobTaskState.RUNNING:
        preparation = _failed(preparation, _LOST, now)
    if release is not None and release.state is JobTaskState.RUNNING:
        release = _failed(release, _LOST, now)
    return replace(record, preparation=preparation, release=release, needs_release=False)


# --- after the last task -----------------------------------------------------------------------------------------


def end_preparations(state: State, job: Job, now: int) -> None:
    """The job ends: no node need be prepared for it any more."""
    if job.preparation is None:
        return
    for node, record in list(state.job_work[job.key].nodes.items()):
        run = record.preparation
        if run.state is not JobTaskState.RUNNING:
            continue
        if run.attempt:
            ref = AttemptRef(job.key, job.preparation.key, run.attempt)
            state.mourn(state.node_slots[node], (ref.job, ref.task), ref.attempt)
            state.order(StopTask(node=node, attempt=ref))
        state.save_job_node(replace(record, preparation=_failed(run, ENDED_WITH_JOB, now)))


def is_released(state: State, job: Job, now: int) -> bool:
    """Whether an ending job without placed tasks has nothing to wait for on its nodes; has them run what is left."""
    if job.release is None:
        return True
    if now >= job.state_transition_time + RELEASE_LIMIT:
        return True
    waits = [_release(state, job, record, now) for record in list(state.job_work[job.key].nodes.values())]
    return not any(waits)


def _release(state: State, job: Job, record: JobNode, now: int) -> bool:
    """Have a node run the release task if it is to; whether the job is to wait for it."""
    release = record.release
    if not record.needs_release or (release is not None and release.state is JobTaskState.COMPLETED):
        return False
    node, slots = state.nodes[record.node], state.node_slots[record.node]
    if not slots.connected or node.state not in _READY:
        return node.state in _READY | _COMING and not job.is_forced
    if release is not None and release.attempt:
        return True
    if any(key[0] == job.key for key in slots.dying):
        return True  # tasks of the job are still being ended there
    attempt = _next_attempt(state, slots)
    record = replace(record, release=JobTaskRun(attempt=attempt, start_time=now))
    state.save_job_node(record)
    state.order(_start_order(job, record, JobTaskKind.RELEASE))
    return True


def give_up(state: State, job: Job, now: int) -> None:
    """The job is over: what has not been released by now, never is."""
    for record in list(state.job_work[job.key].nodes.values()):
        release = record.release
        if release is not None and release.state is JobTaskState.RUNNING:
            if release.attempt and job.release is not None:
                ref = AttemptRef(job.key, job.release.key, release.attempt)
                state.mourn(state.node_slots[record.node], (ref.job, ref.task), ref.attempt)
                state.order(StopTask(node=record.node, attempt=ref))
            state.save_job_node(_given_up(record, now))


# --- runs --------------------------------------------------------------------------------------------------------


def _next_attempt(state: State, slots: NodeSlots) -> int:
    node = state.nodes[slots.key]
    state.save_node(replace(node, attempts=node.attempts + 1))
    return node.attempts + 1


def _run(record: JobNode, kind: JobTaskKind) -> JobTaskRun:
    run = record.preparation if kind is JobTaskKind.PREPARATION else record.release
    assert run is not None  # noqa: S101 - it was found by its attempt
    return run


def _save_run(state: State, record: JobNode, kind: JobTaskKind, run: JobTaskRun) -> JobNode:
    record = replace(record, **{kind.value: run})
    state.save_job_node(record)
    return record


def _refs(job: Job, record: JobNode, kind: JobTaskKind) -> list[AttemptRef]:
    """The attempt that is under way, if one is."""
    task = job.preparation if kind is JobTaskKind.PREPARATION else job.release
    run = record.preparation if kind is JobTaskKind.PREPARATION else record.release
    return [AttemptRef(job.key, task.key, run.attempt)] if task is not None and run is not None and run.attempt else []


def _start_order(job: Job, record: JobNode, kind: JobTaskKind) -> StartTask:
    (ref,) = _refs(job, record, kind)
    return StartTask(node=record.node, attempt=ref, required_slots=0, kind=kind)


def _over(run: JobTaskRun, now: int, **fields: Any) -> JobTaskRun:
    return replace(run, **{"state": JobTaskState.COMPLETED, "attempt": 0, "end_time": now, **fields})


def _failed(run: JobTaskRun, failure: Failure, now: int) -> JobTaskRun:
    return _over(run, now, result=TaskResult.FAILURE, failure=failure)
