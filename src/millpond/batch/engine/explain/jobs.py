"""Why a job is in its state, and what it waits for."""

from __future__ import annotations

from millpond.common.durations import UNLIMITED

from ...model.job import DisableTasks, Job, JobState, OnAllTasksComplete
from ...model.job_node import JobNode, JobTaskKind, JobTaskRun, JobTaskState
from ...model.task import TaskResult
from ..job_nodes import RELEASE_LIMIT
from .facts import JobFacts, ready_tasks
from .pools import shortage
from .reasons import Explanation, Log, Reason, count, moment, told


def explain_job(facts: JobFacts) -> Explanation:
    job = facts.job
    if job.state is JobState.ACTIVE:
        reasons = _active(facts)
    elif job.state in (JobState.DISABLED, JobState.DISABLING):
        reasons = [disabled(job)]
    elif job.state is JobState.ENABLING:
        reasons = [Reason(code="JobBeingEnabled", message="It is being enabled.")]
    else:
        reasons = [ended(job)]
        if job.state is not JobState.COMPLETED:
            reasons += _on_its_way_out(facts)
    return Explanation(state=job.state, since=job.state_transition_time, reasons=tuple(reasons))


def _active(facts: JobFacts) -> list[Reason]:
    job, counts = facts.job, facts.job.task_counts
    reasons = _preparations(facts, JobTaskKind.PREPARATION)
    if not counts.active and not counts.running:
        reasons.append(_without_tasks(job))
        return [*reasons, *_deadline(job)]
    ready = ready_tasks(job)
    values = {"running": counts.running, "ready": ready, "held_back": job.held_back, "completed": counts.completed}
    message = f"{counts.running} of its tasks run, {ready} wait for a place, {job.held_back} for other tasks."
    reasons.insert(0, Reason(code="TasksToRun", message=message, values=values))
    if ready and 0 <= job.max_parallel_tasks <= counts.running:
        message = f"No more than {job.max_parallel_tasks} of its tasks may run at once (maxParallelTasks)."
        reasons.append(Reason(code="MaxParallelTasksReached", message=message))
    if not counts.running and not ready:
        message = "All of its tasks that are left depend on others that do not run: explain one of them."
        reasons.append(Reason(code="AllTasksHeldBack", message=message, needs_help=True))
    return [*reasons, *shortage(facts.pool), *_deadline(job)]


def _without_tasks(job: Job) -> Reason:
    counts = job.task_counts
    values = {"succeeded": counts.succeeded, "failed": counts.failed}
    if not counts.completed:
        message = "It has no tasks."
        if job.on_all_tasks_complete is OnAllTasksComplete.TERMINATE_JOB:
            message += " It ends by itself if none is added soon."
        return Reason(code="JobWithoutTasks", message=message, values=values)
    message = (
        f"All of its {count(counts.completed, 'task')} have ended ({counts.failed} failed). It stays active until it "
        "is terminated, for its onAllTasksComplete is noaction."
    )
    return Reason(code="AllTasksDone", message=message, values=values)


def _deadline(job: Job) -> list[Reason]:
    if job.max_wall_clock_time >= UNLIMITED:
        return []
    until = moment(job.creation_time + job.max_wall_clock_time)
    message = f"It is terminated at {until} at the latest (maxWallClockTime)."
    return [Reason(code="JobDeadline", message=message, values={"until": until})]


def disabled(job: Job) -> Reason:
    """A job that runs no tasks until it is enabled."""
    since = moment(job.state_transition_time)
    running = job.task_counts.running
    if job.state is JobState.DISABLED:
        message = f"Job {job.id} is disabled since {since}: none of its tasks runs until it is enabled."
        return Reason(code="JobDisabled", message=message, values={"job": job.id, "since": since}, needs_help=True)
    how = "end by themselves" if job.disable_tasks is DisableTasks.WAIT else "have been stopped"
    message = f"Job {job.id} is being disabled, and waits until its {count(running, 'running task')} {how}."
    values = {"job": job.id, "option": job.disable_tasks, "running": running}
    return Reason(code="JobBeingDisabled", message=message, values=values)


_ENDS = {
    JobState.COMPLETED: ("JobCompleted", "has ended"),
    JobState.TERMINATING: ("JobBeingTerminated", "is being terminated"),
    JobState.DELETING: ("JobBeingDeleted", "is being deleted"),
}


def ended(job: Job) -> Reason:
    """A job that runs no tasks any more."""
    code, words = _ENDS[job.state]
    why = f" ({job.terminate_reason})" if job.terminate_reason else ""
    message = f"Job {job.id} {words}{why}: its tasks that have not run never will."
    values = {"job": job.id, "terminate_reason": job.terminate_reason}
    problem = job.scheduling_error
    if problem is not None:
        message = f"Job {job.id} {words} without having begun: {told(problem, None)}"
        return Reason(code="JobCouldNotBegin", message=message, values=values, needs_help=True)
    return Reason(code=code, message=message, values=values)


def _on_its_way_out(facts: JobFacts) -> list[Reason]:
    job = facts.job
    if job.is_purging:
        return [Reason(code="BeingRemoved", message="Its tasks are being removed from the store.")]
    reasons = []
    if job.task_counts.running:
        message = f"It waits until its {count(job.task_counts.running, 'running task')} have been stopped."
        reasons.append(Reason(code="TasksEnding", message=message, values={"running": job.task_counts.running}))
    reasons += _preparations(facts, JobTaskKind.RELEASE)
    waiting = [each for each in facts.records if each.needs_release and each.release is None]
    if waiting and job.release is not None:
        until = moment(job.state_transition_time + RELEASE_LIMIT)
        message = (
            f"Its job release task is still to run on {count(len(waiting), 'node')}, for example {waiting[0].node_id}. "
            f"That is waited for until {until}, or not at all with force."
        )
        values = {"nodes": [each.node_id for each in waiting[:5]], "node_count": len(waiting), "until": until}
        reasons.append(Reason(code="JobReleasePending", message=message, values=values))
    return reasons


def _preparations(facts: JobFacts, kind: JobTaskKind) -> list[Reason]:
    """Where its preparation, or release, task runs or has failed."""
    job = facts.job
    task = job.preparation if kind is JobTaskKind.PREPARATION else job.release
    if task is None:
        return []
    running: list[tuple[JobNode, JobTaskRun]] = []
    failed: list[tuple[JobNode, JobTaskRun]] = []
    for record in facts.records:
        run = record.preparation if kind is JobTaskKind.PREPARATION else record.release
        if run is not None and run.state is JobTaskState.RUNNING:
            running.append((record, run))
        elif run is not None and run.result is TaskResult.FAILURE:
            failed.append((record, run))
    name = "JobPreparation" if kind is JobTaskKind.PREPARATION else "JobRelease"
    reasons = []
    for runs, code, words in ((running, "Running", "runs"), (failed, "Failed", "has failed")):
        if not runs:
            continue
        record, run = runs[0]
        said = f" ({told(run.failure, run.exit_code)})" if code == "Failed" else f" since {moment(run.start_time)}"
        message = f"Its job {kind} task {words} on {count(len(runs), 'node')}, for example {record.node_id}{said}."
        reasons.append(
            Reason(
                code=f"{name}{code}",
                message=message,
                values={"nodes": [each.node_id for each, _ in runs[:5]], "exit_code": run.exit_code},
                needs_help=record.is_barred and code == "Failed",
                log=Log(record.node, (job.id, task.id)),
            )
        )
    return reasons
