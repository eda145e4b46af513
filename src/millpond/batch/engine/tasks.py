"""Handlers: what clients ask of tasks, and what nodes report of them."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from millpond.common.errors import ServiceError

from ..errors import error
from ..model.exit_conditions import JobAction
from ..model.job import DisableTasks, Job, JobState, OnTaskFailure
from ..model.keys import task_key
from ..model.task import Gang, Task, TaskResult, TaskState, Withdrawal
from . import job_nodes
from .dependencies import Satisfied, open_dependencies
from .exit_conditions import job_action, require_effective
from .gangs import note_coordination, note_end, note_start
from .jobs import begin_disabling, begin_termination, require_job
from .messages import (
    ForgetTask,
    NewTask,
    TaskChangeRequested,
    TaskCoordinated,
    TaskDeleteRequested,
    TaskEnded,
    TaskReactivateRequested,
    TasksAddRequested,
    TaskStarted,
    TaskTerminateRequested,
)
from .placement import (
    ENDED_BY_USER,
    complete,
    end,
    give_back,
    give_up,
    has_place,
    return_withdrawn,
    start_order,
    start_placed,
    stop_for_good,
    wait_for_place,
    withdraw,
)
from .rules import next_modification, require_conditions
from .slots import NodeSlots
from .state import State
from .statistics import usage_after
from .transitions import TASK, TaskTrigger, move

_REFUSED_WITH_JOB = {
    JobState.TERMINATING: "JobBeingTerminated",
    JobState.COMPLETED: "JobCompleted",
    JobState.DELETING: "JobBeingDeleted",
}


def on_tasks_add_requested(state: State, event: TasksAddRequested, now: int) -> list[Task | ServiceError]:
    job = require_job(state, event.job)
    _require_live(job)
    taken = state.archive.existing(job.key, [task_key(new.id) for new in event.tasks])
    satisfied = Satisfied(state.archive, job.key, event.tasks)
    replies: list[Task | ServiceError] = []
    for new in event.tasks:
        key = task_key(new.id)
        try:
            _require_addable(job, key, new, exists=key in taken)
        except ServiceError as refusal:
            replies.append(refusal)
            continue
        taken.add(key)
        replies.append(_add(state, job.key, key, new, satisfied.left_of(new.depends_on), now))
    return replies


def _require_addable(job: Job, key: str, new: NewTask, *, exists: bool) -> None:
    if exists:
        raise error("TaskExists")
    if job.preparation is not None and key == job.preparation.key:
        raise error("TaskIdSameAsJobPreparationTask")
    if job.release is not None and key == job.release.key:
        raise error("TaskIdSameAsJobReleaseTask")
    if new.depends_on is not None and not job.uses_task_dependencies:
        raise error("TaskDependenciesNotSpecifiedOnJob", ("PropertyName", "dependsOn"))
    require_effective(job, new.exit_conditions)


def _add(state: State, job_key: str, key: str, new: NewTask, prerequisites: set[str], now: int) -> Task:  # noqa: PLR0917
    job = state.jobs[job_key]
    retries = new.max_task_retry_count
    task = Task(
        job=job_key,
        key=key,
        id=new.id,
        seq=job.tasks_added,
        state_transition_time=now,
        creation_time=now,
        last_modified=now,
        required_slots=new.required_slots,
        max_task_retry_count=job.max_task_retry_count if retries is None else retries,
        max_wall_clock_time=new.max_wall_clock_time,
        retention_time=new.retention_time,
        exit_conditions=new.exit_conditions,
        affinity=new.affinity,
        pending_dependencies=len(prerequisites),
        gang=None if new.number_of_instances is None else Gang(new.number_of_instances),
    )
    state.count_added(job)
    state.save_task(None, task, new.document)
    open_dependencies(state, task, prerequisites)
    wait_for_place(state, task, now)
    return task


def on_task_change_requested(state: State, event: TaskChangeRequested, now: int) -> Task:
    job, task = _require_task(state, event)
    if task.state is TaskState.COMPLETED:
        raise error("TaskCompleted")
    changed: dict[str, Any] = {"last_modified": next_modification(task.last_modified, now)}
    if event.max_task_retry_count is not UNSET:
        retries = event.max_task_retry_count
        changed["max_task_retry_count"] = job.max_task_retry_count if retries is None else retries
    if event.max_wall_clock_time is not UNSET:
        changed["max_wall_clock_time"] = event.max_wall_clock_time
    if event.retention_time is not UNSET:
        changed["retention_time"] = event.retention_time
    after = replace(task, **changed)
    state.save_task(task, after)
    if after.withdrawal is None and after.state is not TaskState.PREPARING:
        for node in after.places[:1]:  # so its node learns of the limits; of a gang's, the primary's
            state.order(start_order(state, (after.job, after.key), node))
    return after


def on_task_terminate_requested(state: State, event: TaskTerminateRequested, now: int) -> Task:
    job, task = _require_task(state, event)
    if task.state is TaskState.COMPLETED:
        raise error("TaskCompleted")
    state.load_job(job)
    ended = end(state, task, now, ENDED_BY_USER)
    modified = replace(ended, last_modified=next_modification(task.last_modified, now))
    state.save_task(ended, modified)
    return modified


def on_task_delete_requested(state: State, event: TaskDeleteRequested, now: int) -> None:
    job, task = _require_task(state, event)
    state.load_job(job)
    if has_place(task):
        task = end(state, task, now, ENDED_BY_USER)
    elif task.is_waiting:
        state.dequeue(task)
    state.remove_task(task)
    for node in task.nodes:
        state.delete_files(node, job.id, task.id)


def on_task_reactivate_requested(state: State, event: TaskReactivateRequested, now: int) -> Task:
    job, task = _require_task(state, event)
    _require_live(job)
    if task.state is not TaskState.COMPLETED:
        raise error("TaskNotCompleted")
    if task.result is TaskResult.SUCCESS:
        raise error("TaskSucceeded")
    active = replace(
        task,
        state=move(TASK, task, task.state, TaskTrigger.REACTIVATE),
        state_transition_time=now,
        previous_state=task.state,
        previous_state_transition_time=task.state_transition_time,
        last_modified=next_modification(task.last_modified, now),
        node=None,
        node_id=None,
        pool_id=None,
        start_time=None,
        end_time=None,
        exit_code=None,
        result=None,
        failure=None,
        container_info=None,
        retry_count=0,
        last_retry_time=None,
        satisfies_dependents=False,
        gang=None if task.gang is None else Gang(task.gang.size),
    )
    state.save_task(task, active)
    for last in (state.node_slots.get(node) for node in task.nodes):
        if last is not None and _was_ended(task) and _may_still_run(state, last):
            # The node may still run it, unless it comes back and says otherwise.
            state.mourn(last, (task.job, task.key), task.attempt)
    wait_for_place(state, active, now)
    return active


def _may_still_run(state: State, last: NodeSlots) -> bool:
    """Whether a node is away with what ran there, rather than booting anew or deallocated, with none of it."""
    node = state.nodes[last.key]
    return not last.connected and node.contact_boot == node.boot


def _was_ended(task: Task) -> bool:
    """Whether it was the service that ended it on its last nodes, or on some of them."""
    return task.gang is not None or (task.failure is not None and task.failure.code == "TaskEnded")


def on_task_started(state: State, event: TaskStarted, now: int) -> None:
    found = _find_attempt(state, event)
    if found is None:
        job_nodes.on_started(state, event)
        return
    task, slots = found
    if task.gang is not None and task.gang.instances:
        note_start(state, task, event, now)
        return
    if task.state is TaskState.RUNNING:
        if task.start_time != event.start_time:
            state.save_task(task, replace(task, start_time=event.start_time))
        return
    key = (task.job, task.key)
    # Where the record has no slots for it yet, the end of the task before it is about to be reported.
    if key in slots.ahead and slots.free >= slots.ahead[key]:
        start_placed(state, slots, key, event.start_time, now)


def on_task_coordinated(state: State, event: TaskCoordinated, now: int) -> None:
    found = _find_attempt(state, event)
    if found is not None and found[0].gang is not None and found[0].gang.instances:
        note_coordination(state, found[0], event)


def on_task_ended(state: State, event: TaskEnded, now: int) -> None:
    found = _find_attempt(state, event)
    runs_anew = False
    if found is not None:
        runs_anew = _take_end(state, *found, event, now)
    else:
        job_nodes.on_ended(state, event, now)
        dead = state.node_slots.get(event.node)
        key = (event.attempt.job, event.attempt.task)
        if dead is not None and dead.dying.get(key) == event.attempt.attempt:
            _count_late(state, event)
            state.bury(dead, key)
    state.order(ForgetTask(node=event.node, attempt=event.attempt, discard=runs_anew))


def _take_end(state: State, task: Task, slots: NodeSlots, event: TaskEnded, now: int) -> bool:
    """What follows from the end of a task's present attempt; whether the task is to run anew."""
    if task.withdrawal is Withdrawal.EARLIER:
        if event.start_time is not None and event.start_time >= task.creation_time:
            task = _save_usage(state, task, event)  # not where the run was another task's, which had the same id
        give_up(state, task, slots, now)
        return True
    failed = event.result is TaskResult.FAILURE
    if event.start_time is not None:
        if task.withdrawal is None and task.gang is None:
            state.job_work[task.job].note_run(max(0, event.end_time - event.start_time))
        _note_on_node(state, task, event)
    if task.gang is not None:
        task = note_end(state, task, slots, event, now)
    if failed or task.gang is not None:
        task = _save_usage(state, task, event)
    if failed and task.withdrawal is not None:
        if task.gang is None or not task.places:
            return_withdrawn(state, task, now)
    elif failed and event.start_time is None and event.failure is None:
        # Its node did not start it, for a reason of its own.
        _go_back(state, task, Withdrawal.RETURN, now)
    elif failed and event.may_retry and _has_retries(task):
        run = {
            "exit_code": event.exit_code,
            "failure": event.failure,
            "container_info": event.container_info,
            "start_time": event.start_time,
        }
        _go_back(state, task, Withdrawal.RETRY, now, **run)
    else:
        if task.gang is not None:
            stop_for_good(state, task)
        _end_by_itself(state, task, event, now)
        return False
    return True


def _go_back(state: State, task: Task, kind: Withdrawal, now: int, **run: Any) -> None:
    """A task whose run, with this outcome, is not its last waits for another; a gang, once all of it has ended."""
    if task.gang is not None and task.places:
        after = replace(task, **run)
        state.save_task(task, after)
        withdraw(state, after, kind)
    else:
        give_back(state, task, TaskTrigger.RETRY if kind is Withdrawal.RETRY else TaskTrigger.LOSE, now, **run)


def _end_by_itself(state: State, task: Task, event: TaskEnded, now: int) -> None:
    done = complete(
        state,
        task,
        TaskTrigger.END,
        now,
        result=event.result,
        exit_code=event.exit_code,
        failure=event.failure,
        container_info=event.container_info,
        start_time=event.start_time,
        end_time=event.end_time,
        usage=usage_after(task, event),
    )
    job = state.jobs[task.job]
    if job.on_task_failure is OnTaskFailure.PERFORM_EXIT_OPTIONS_JOB_ACTION:
        _perform(state, job, job_action(done), now)


def _perform(state: State, job: Job, action: JobAction, now: int) -> None:
    """What a task's end asks of its job, unless the job is on its way there or further already."""
    if action is JobAction.TERMINATE and job.state not in _REFUSED_WITH_JOB:
        begin_termination(state, job, "TaskFailed", now)
    elif action is JobAction.DISABLE and job.state in (JobState.ACTIVE, JobState.ENABLING):
        begin_disabling(state, job, DisableTasks.REQUEUE, now)


def _save_usage(state: State, task: Task, event: TaskEnded) -> Task:
    counted = replace(task, usage=usage_after(task, event))
    state.save_task(task, counted)
    return counted


def _count_late(state: State, event: TaskEnded) -> None:
    """Count a run that its task did not wait for: it was over when its node had still to end it."""
    job = state.find_job(event.attempt.job)
    task = state.find_task(event.attempt.job, event.attempt.task)
    if job is None or job.state is JobState.DELETING or task is None:
        return
    if event.node not in task.nodes or task.attempt != event.attempt.attempt:
        return
    state.load_job(job)
    _save_usage(state, task, event)


def _note_on_node(state: State, task: Task, event: TaskEnded) -> None:
    node = state.nodes[event.node]
    state.save_node(
        replace(
            node,
            total_tasks_run=node.total_tasks_run + 1,
            total_tasks_succeeded=node.total_tasks_succeeded + (event.exit_code == 0),
            failed_boots=0,
            retained_until=max(node.retained_until or 0, event.end_time + task.retention_time),
        )
    )


def _has_retries(task: Task) -> bool:
    return task.max_task_retry_count < 0 or task.retry_count < task.max_task_retry_count


def _find_attempt(state: State, event: TaskStarted | TaskCoordinated | TaskEnded) -> tuple[Task, NodeSlots] | None:
    """The task and node that a report is about, unless it is about an earlier attempt.

    A node never has two attempts of one number, whatever its boots, so a report from an earlier boot is covered.
    """
    task = state.tasks.get((event.attempt.job, event.attempt.task))
    if task is None or task.attempt != event.attempt.attempt:
        return None
    if task.node != event.node if task.gang is None else event.node not in task.places:
        return None
    return task, state.node_slots[event.node]


def _require_task(
    state: State,
    event: TaskChangeRequested | TaskTerminateRequested | TaskDeleteRequested | TaskReactivateRequested,
) -> tuple[Job, Task]:
    job = require_job(state, event.job)
    if job.state is JobState.DELETING:
        raise error("JobBeingDeleted")
    task = state.find_task(event.job, event.task)
    if task is None:
        raise error("TaskNotFound")
    require_conditions(event.conditions, task.last_modified)
    return job, task


def _require_live(job: Job) -> None:
    """Refuse what needs a job that may still run tasks."""
    code = _REFUSED_WITH_JOB.get(job.state)
    if code is not None:
        raise error(code)
