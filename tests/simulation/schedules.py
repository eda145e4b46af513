"""Clients who add job schedules and jobs with pools of their own, and what must hold of these at any moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from tests.simulation.client import Client, make_job, make_pool, make_task
from tests.simulation.world import MILLISECOND, Script, Violation, World

from millpond.batch.engine.messages import (
    JobAddRequested,
    JobDeleteRequested,
    JobScheduleAddRequested,
    JobScheduleChangeRequested,
    JobScheduleDeleteRequested,
    JobScheduleDisableRequested,
    JobScheduleEnableRequested,
    JobScheduleTerminateRequested,
    JobTerminateRequested,
    TasksAddRequested,
)
from millpond.batch.model.job import AutoPool, Job, JobState, OnAllTasksComplete, PoolLifetime
from millpond.batch.model.pool import PoolState
from millpond.batch.model.schedule import JobSchedule, JobScheduleState, Timetable
from millpond.common.clock import MINUTE, SECOND


class Scheduler:
    """Asks at random for what is about schedules; no job of theirs begins once the whims are over for a minute."""

    def __init__(self, world: World, client: Client, *, schedules: int, minutes: int) -> None:
        self.world = world
        self.client = client
        self.ids = [f"s{number}" for number in range(schedules)]
        self._own_jobs = 0
        self._end = world.now + (minutes + 1) * MINUTE
        self._tasks = 0
        for schedule_id in self.ids:
            self._add(schedule_id)
        world.observers.append(lambda: check_schedules(world))

    def act_for(self, duration: int, every: int) -> None:
        end = self.world.now + duration

        def act() -> None:
            self._whim()
            delay = self.world.rng.randrange(1, 2 * every)
            if self.world.now + delay < end:
                self.world.later(delay, act)

        self.world.later(every, act)

    def help_along(self) -> None:
        for schedule in self.world.state.schedules.values():
            if schedule.state is JobScheduleState.DISABLED:
                self.client.request(JobScheduleEnableRequested(schedule=schedule.key))

    def _template(self) -> Job:
        rng = self.world.rng
        ending = OnAllTasksComplete.TERMINATE_JOB
        if rng.random() < 0.3:
            return make_job("", rng.choice(self.client.pool_keys), on_all_tasks_complete=ending)
        return self._with_own_pool("", rng.choice(list(PoolLifetime)), on_all_tasks_complete=ending)

    def _with_own_pool(self, key: str, lifetime: PoolLifetime, **fields: Any) -> Job:
        rng = self.world.rng
        auto = AutoPool(lifetime=lifetime, pool=make_pool("", rng.randrange(3), 2))
        return make_job(key, "", auto_pool=auto, **fields)

    def _timetable(self) -> Timetable:
        rng = self.world.rng
        return Timetable(
            do_not_run_until=rng.choice([None, self.world.now + rng.randrange(10 * SECOND)]),
            do_not_run_after=self._end,
            start_window=rng.choice([None, None, 3 * SECOND]),
            recurrence_interval=rng.choice([None, 5 * SECOND, 12 * SECOND]),
        )

    def _add(self, schedule_id: str) -> None:
        schedule = JobSchedule(
            key=f"a/{schedule_id}",
            account="a",
            id=schedule_id,
            state_transition_time=0,
            creation_time=0,
            last_modified=0,
            timetable=self._timetable(),
            anchor=0,
            template=self._template(),
            document={},
        )
        self.client.request(JobScheduleAddRequested(schedule=schedule), insist=True)

    def _whim(self) -> None:
        key = f"a/{self.world.rng.choice(self.ids)}"
        whims: list[tuple[int, Callable[[], None]]] = [
            (6, self._add_tasks),
            (3, self._add_own_job),
            (3, self._end_job),
            (2, partial(self._ask, JobScheduleDisableRequested(schedule=key))),
            (4, partial(self._ask, JobScheduleEnableRequested(schedule=key))),
            (1, partial(self._ask, JobScheduleTerminateRequested(schedule=key))),
            (1, partial(self._replace, key)),
            (2, partial(self._change, key)),
        ]
        self.world.rng.choices([whim for _, whim in whims], [weight for weight, _ in whims])[0]()

    def _ask(self, event: Any) -> None:
        self.client.request(event)

    def _change(self, key: str) -> None:
        self._ask(
            JobScheduleChangeRequested(
                schedule=key, document={}, timetable=self._timetable(), template=self._template()
            )
        )

    def _replace(self, key: str) -> None:
        self._ask(JobScheduleDeleteRequested(schedule=key))
        self.world.later(self.world.rng.randrange(10 * SECOND), lambda: self._add(key.removeprefix("a/")))

    def _jobs(self) -> list[Job]:
        return [job for job in self.world.state.jobs.values() if job.schedule or job.auto_pool]

    def _add_tasks(self) -> None:
        jobs = self._jobs()
        if jobs:
            job = self.world.rng.choice(jobs)
            self._tasks += 1
            key = f"t{self._tasks}"
            self.world.scripts[job.key, key] = Script(self.world.rng.randrange(5000) * MILLISECOND)
            self._ask(TasksAddRequested(job=job.key, tasks=[make_task(key)]))

    def _add_own_job(self) -> None:
        self._own_jobs += 1
        self._ask(JobAddRequested(job=self._with_own_pool(f"own{self._own_jobs}", PoolLifetime.JOB)))

    def _end_job(self) -> None:
        jobs = self._jobs()
        if jobs:
            kind = self.world.rng.choice([JobTerminateRequested, JobDeleteRequested])
            self._ask(kind(job=self.world.rng.choice(jobs).key))


def check_schedules(world: World) -> None:
    """Jobs of a schedule follow one another; pools that were made for jobs go with them."""
    by_schedule: defaultdict[str, list[Job]] = defaultdict(list)
    for job in world.archive.jobs.values():
        if job.schedule is not None:
            by_schedule[job.schedule].append(job)
        auto = job.auto_pool
        if auto is not None and auto.lifetime is PoolLifetime.JOB and job.state is JobState.COMPLETED:
            pool = world.archive.pools.get(job.pool)
            if pool is not None and pool.state is not PoolState.DELETING:
                raise Violation(f"{job.key} has ended, and its pool {job.pool} has not")
    for key, jobs in by_schedule.items():
        if key not in world.archive.schedules:
            raise Violation(f"{key} is gone, and its jobs are not")
        _check_sequence(world.archive.schedules[key], jobs)


def _check_sequence(schedule: JobSchedule, jobs: list[Job]) -> None:
    live = [job.id for job in jobs if job.state is not JobState.COMPLETED]
    if len(live) > 1 and schedule.state is not JobScheduleState.DELETING:
        raise Violation(f"{schedule.key} has several jobs that have not ended: {live}")
    if schedule.state is JobScheduleState.COMPLETED and live:
        raise Violation(f"{schedule.key} is completed, and {live} are not")
    numbered = sorted((int(job.id.rpartition("-")[2]), job) for job in jobs)
    if numbered[-1][0] > schedule.jobs_created:
        raise Violation(f"{schedule.key} has made {schedule.jobs_created} jobs, and there is {numbered[-1][1].id}")
    for (_, before), (_, after) in pairwise(numbered):
        if before.state is JobState.COMPLETED and after.creation_time < (before.end_time or 0):
            raise Violation(f"{after.id} began before {before.id} had ended")


def check_end_of_schedules(world: World) -> None:
    """What must hold once there are no faults and no whims any more: all schedules are over, and so are their pools."""
    unfinished = [one.key for one in world.archive.schedules.values() if one.state is not JobScheduleState.COMPLETED]
    if unfinished:
        raise Violation(f"these schedules never end: {unfinished}")
    wanted = {job.pool for job in world.state.jobs.values() if job.auto_pool is not None}
    left = [key for key in world.state.pools if key.startswith("a/") and key not in wanted]
    if left:
        raise Violation(f"these pools were made for jobs that are over: {left}")
