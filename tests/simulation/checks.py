"""What must hold of the records at any moment of a story, and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from tests.simulation.client import Client
from tests.simulation.world import Violation, World, is_settled

from millpond.batch.engine.messages import Prerequisites
from millpond.batch.engine.metrics import sample
from millpond.batch.engine.number_blocks import blocks_with, name_of
from millpond.batch.model.job import Job, JobState, OnAllTasksComplete
from millpond.batch.model.keys import task_number
from millpond.batch.model.pool import AllocationState, NodeState
from millpond.batch.model.task import Task, TaskResult, TaskState


def check_records(world: World) -> None:
    """What the store holds agrees with itself and with what is in memory."""
    for key, job in world.archive.jobs.items():
        if job.state is JobState.DELETING:
            continue
        tasks = world.archive.tasks.get(key, {}).values()
        check_counts(job, list(tasks))
        check_dependencies(world, job, list(tasks))
        work = world.state.job_work.get(key)
        if work is not None and work.is_open:
            waiting = world.archive.all_waiting(key)
            fitting = [task.key for task in waiting if work.pool.could_run(task.required_slots, work.size_of(task))]
            window = sorted((-seq, name) for tasks in work.queue.by_size.values() for seq, name in tasks)
            names = [name for _, name in window]
            if names != fitting[: len(names)]:
                raise Violation(f"the window of {key} is no prefix of what waits: {names[:5]} of {fitting[:5]}")
            if not work.queue.more and names != fitting:
                raise Violation(f"the window of {key} misses tasks: {len(names)} of {len(fitting)}")
    check_metrics(world)

    for key, node in world.archive.nodes.items():
        agent = world.agents.get(key)
        if agent is None or not agent.is_alive:
            continue
        if node.state is NodeState.DEALLOCATED:
            raise Violation(f"{key} is deallocated and runs")
        if agent.is_connected and agent.boot == node.boot and agent.disk != node.disk:
            raise Violation(f"{key} runs on disk {agent.disk} instead of {node.disk}")


def check_dependencies(world: World, job: Job, tasks: list[Task]) -> None:
    """Who waits, waits for something that is still to come; nobody ran who had to wait."""
    archive = world.archive
    rows = Counter(each.seq for each in archive.dependencies if each.job == job.key)
    told = {task.key for task in tasks if task.satisfies_dependents} - {key for key, _ in job.satisfied}
    done = {*told, *(name_of(block) for number in _numbers(told) for block in blocks_with(number))}
    for each in archive.dependencies:
        if each.job == job.key and each.prerequisite in done:
            raise Violation(f"{job.key} {each.seq} waits for {each.prerequisite}, which is satisfied")
    for task in tasks:
        if task.pending_dependencies != rows[task.seq]:
            raise Violation(f"{job.key} {task.key} counts {task.pending_dependencies} dependencies: {rows[task.seq]}")
        given = msgspec.json.decode(archive.documents[job.key, task.key], type=Prerequisites)
        if task.start_time is not None:
            satisfied = {key for owner, key in world.satisfied if owner == job.key}
            numbers = _numbers(satisfied)
            early = [key for key in given.tasks if key not in satisfied]
            early += [str(n) for first, last in given.ranges for n in range(first, last + 1) if n not in numbers]
            if early:
                raise Violation(f"{job.key} {task.key} ran before {early} had ended")


def _numbers(keys: Iterable[str]) -> set[int]:
    return {number for key in keys if (number := task_number(key)) is not None}


def check_metrics(world: World) -> None:
    """What formulas are told of a pool's tasks is what there is."""
    for key, pool in world.state.pools.items():
        told = sample(world.state, pool, world.now)
        jobs = [job for job in world.archive.jobs.values() if job.pool == key and job.state is not JobState.DELETING]
        tasks = [(job, task) for job in jobs for task in world.archive.tasks.get(job.key, {}).values()]
        ready = [
            task.required_slots
            for job, task in tasks
            if job.state is JobState.ACTIVE and task.state is TaskState.ACTIVE and not task.is_held_back
        ]
        running = [task.required_slots for _, task in tasks if task.state in (TaskState.PREPARING, TaskState.RUNNING)]
        there = (len(ready), len(running), sum(ready) + sum(running))
        if there != (told["$ActiveTasks"], told["$RunningTasks"], told["$PendingTaskSlots"]):
            raise Violation(f"formulas of {key} are told {told}, there are {there}")


def check_counts(job: Job, tasks: list[Task]) -> None:
    for counts, weigh in ((job.task_counts, False), (job.slot_counts, True)):
        there = Counter[str]()
        for task in tasks:
            there[_column(task)] += task.required_slots if weigh else 1
        held_back = sum((task.required_slots if weigh else 1) for task in tasks if task.is_held_back)
        if (job.held_back_slots if weigh else job.held_back) != held_back:
            raise Violation(f"{job.key} counts other tasks that wait for others than the {held_back} that there are")
        for name in ("active", "running", "succeeded", "failed"):
            if getattr(counts, name) != there[name]:
                raise Violation(f"{job.key} counts {counts} (weighed: {weigh}), there are {there}")


def _column(task: Task) -> str:
    if task.state is not TaskState.COMPLETED:
        return "active" if task.state is TaskState.ACTIVE else "running"
    return "succeeded" if task.result is TaskResult.SUCCESS else "failed"


def check_end(world: World, client: Client) -> None:
    if not is_settled(world.state):
        raise Violation(f"nodes do not settle: {[(n.key[-8:], n.state) for n in world.state.nodes.values()]}")
    for pool in world.state.pools.values():
        if pool.allocation_state is not AllocationState.STEADY:
            raise Violation(f"{pool.key} does not become steady")
        if pool.auto_scale is not None and pool.auto_scale.next_evaluation < world.now:
            raise Violation(f"{pool.key} is not scaled any more: {pool.auto_scale}")
    if world.state.dying:
        raise Violation(f"attempts are being ended for ever: {world.state.dying}")
    for job in world.archive.jobs.values():
        check_job_end(world, job)
    for job_key, task_key in client.acknowledged:
        if job_key in world.archive.jobs and task_key not in world.archive.tasks[job_key]:
            raise Violation(f"{job_key} {task_key} is lost")


def check_job_end(world: World, job: Job) -> None:
    tasks = world.archive.tasks.get(job.key, {}).values()
    passing = {JobState.DISABLING, JobState.ENABLING, JobState.TERMINATING, JobState.DELETING}
    if job.state in passing:
        raise Violation(f"{job.key} is {job.state} for ever")
    if job.state is not JobState.ACTIVE:
        return
    if job.satisfied:
        raise Violation(f"{job.key} never tells the dependents of {job.satisfied}")
    pool = world.state.pool_slots[job.pool]
    left = [
        task.key
        for task in tasks
        if task.state is not TaskState.COMPLETED
        and not task.pending_dependencies
        and pool.could_run(task.required_slots, world.state.job_work[job.key].size_of(task))
        and (task.gang is None or task.gang.size <= pool.open_nodes - len(world.state.job_work[job.key].barred))
    ]
    if left and may_run(world, job, left):
        raise Violation(f"{job.key} never ran {left[:5]}")
    completes = job.on_all_tasks_complete is OnAllTasksComplete.TERMINATE_JOB
    if completes and all(task.state is TaskState.COMPLETED for task in tasks):
        raise Violation(f"{job.key} does not end with its tasks")


def may_run(world: World, job: Job, left: list[str]) -> bool:
    """Whether there is a node that the job may have for what it never ran."""
    nodes = [node for node in world.state.nodes.values() if node.pool == job.pool]
    barred = world.state.job_work[job.key].barred
    if job.manager is not None and left == [job.manager.key] and not job.manager.allow_low_priority_node:
        nodes = [node for node in nodes if node.is_dedicated]
    return any(node.key not in barred for node in nodes)
