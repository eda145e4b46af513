"""Clients who add pools, jobs and tasks, and then ask for all kinds of things at all kinds of moments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace
from tests.simulation.world import MILLISECOND, Script, World

from millpond.batch.engine.messages import (
    AutoScaleDisableRequested,
    AutoScaleEnableRequested,
    AutoScaleEvaluateRequested,
    Event,
    JobAddRequested,
    JobChangeRequested,
    JobDeleteRequested,
    JobDisableRequested,
    JobEnableRequested,
    JobTerminateRequested,
    NewTask,
    NodeDeallocateRequested,
    NodeDisableSchedulingRequested,
    NodeEnableSchedulingRequested,
    NodePreemptRequested,
    NodeRebootRequested,
    NodeReimageRequested,
    NodesRemoveRequested,
    NodeStartRequested,
    PoolAddRequested,
    PoolDeleteRequested,
    Prerequisites,
    ResizeRequested,
    StopResizeRequested,
    TaskChangeRequested,
    TaskDeleteRequested,
    TaskReactivateRequested,
    TasksAddRequested,
    TaskTerminateRequested,
)
from millpond.batch.model.exit_conditions import DependencyAction, ExitConditions, ExitOptions, JobAction
from millpond.batch.model.job import (
    DisableTasks,
    Job,
    ManagerTask,
    OnAllTasksComplete,
    OnTaskFailure,
    PreparationTask,
    ReleaseTask,
)
from millpond.batch.model.pool import DeallocationOption, FillType, Pool
from millpond.batch.model.task import Task
from millpond.common.clock import MINUTE, SECOND
from millpond.common.durations import UNLIMITED
from millpond.common.errors import ServiceError

PERFORMED = OnTaskFailure.PERFORM_EXIT_OPTIONS_JOB_ACTION

#: Codes with which the service may refuse something at the wrong moment.
FAIR_REFUSALS = {
    "PoolExists",
    "PoolNotFound",
    "PoolBeingDeleted",
    "PoolBeingResized",
    "PoolNotBeingResized",
    "NodeNotFound",
    "NodeAlreadyInTargetSchedulingState",
    "NodeBeingCreated",
    "NodeBeingRebooted",
    "NodeBeingReimaged",
    "NodeBeingStarted",
    "NodeNotReady",
    "NodeStateUnusable",
    "OperationInvalidForCurrentState",
    "TooManyEnableAutoScaleRequests",
    "JobExists",
    "JobNotFound",
    "JobBeingDeleted",
    "JobBeingTerminated",
    "JobCompleted",
    "JobNotDisabled",
    "JobScheduleBeingDeleted",
    "JobScheduleBeingTerminated",
    "JobScheduleCompleted",
    "JobScheduleDisabled",
    "JobScheduleExists",
    "JobScheduleNotFound",
    "TaskExists",
    "TaskNotFound",
    "TaskCompleted",
    "TaskNotCompleted",
    "TaskSucceeded",
    "InvalidPropertyValue",
}


def make_pool(key: str, nodes: int, slots: int, *, low_priority: int = 0, fill: FillType = FillType.SPREAD) -> Pool:
    return Pool(
        key=key,
        account="a",
        id=key,
        state_transition_time=0,
        allocation_state_transition_time=0,
        creation_time=0,
        last_modified=0,
        vm_size="standard_a1",
        task_slots_per_node=slots,
        fill_type=fill,
        target_dedicated_nodes=nodes,
        target_low_priority_nodes=low_priority,
        resize_timeout=15 * MINUTE,
        document={},
    )


def make_job(key: str, pool: str, **fields: Any) -> Job:
    fields = {"max_wall_clock_time": UNLIMITED, **fields}
    return Job(
        key=key,
        account="a",
        id=key,
        state_transition_time=0,
        creation_time=0,
        last_modified=0,
        pool=pool,
        pool_id=pool,
        start_time=0,
        document={},
        **fields,
    )


def make_task(key: str, **fields: Any) -> NewTask:
    """Its document tells what it depends on."""
    document = msgspec.json.encode(fields.get("depends_on") or {})
    return NewTask(id=key, document=document, **{"max_wall_clock_time": UNLIMITED, "retention_time": MINUTE, **fields})


class Client:
    """Asks at random; remembers what was acknowledged."""

    def __init__(self, world: World, *, pools: int, nodes: int, jobs: int, tasks: int, gangs: float = 0.0) -> None:
        """``gangs``: the part of the tasks that are multi-instance tasks, on pools that take them."""
        self.world = world
        self.gangs = gangs
        self.pool_keys = [f"pool{n}" for n in range(pools)]
        self.job_keys = [f"job{n}" for n in range(jobs)]
        self.nodes = nodes
        self._chained: set[str] = set()
        #: Tasks whose addition was acknowledged and whose deletion was not even asked for.
        self.acknowledged: set[tuple[str, str]] = set()
        for key in self.pool_keys:
            self._add_pool(key)
        for key in self.job_keys:
            self._add_job(key, tasks // jobs)

    def request(self, event: Event, then: Callable[[Any], None] | None = None, *, insist: bool = False) -> None:
        """Ask for something; ``insist``: ask again where no answer comes."""
        waits = True

        def answer(reply: Any) -> None:
            nonlocal waits
            waits = False
            if isinstance(reply, ServiceError):
                assert reply.code in FAIR_REFUSALS, f"{event} was refused: {reply}"
            elif then is not None:
                then(reply)

        def ask_again() -> None:
            if waits:
                self.request(event, then, insist=True)

        self.world.send(event, answer)
        if insist:
            self.world.later(5 * SECOND, ask_again)

    def _add_pool(self, key: str) -> None:
        rng = self.world.rng
        slots = 1 if self.gangs else rng.choice([1, 1, 2, 4, 8])
        dedicated = rng.randrange(self.nodes + 1)
        fill = rng.choice(list(FillType))
        pool = make_pool(key, dedicated, slots, low_priority=self.nodes - dedicated, fill=fill)
        pool = replace(
            pool,
            enable_inter_node_communication=self.gangs > 0,
            start_task_wait_for_success=rng.choice([None, None, True, False]),
        )
        self.request(PoolAddRequested(pool=pool), insist=True)

    def _add_job(self, key: str, tasks: int) -> None:
        rng = self.world.rng
        job = make_job(
            key,
            rng.choice(self.pool_keys),
            priority=rng.choice([0, 0, 0, 100, -100]),
            max_parallel_tasks=rng.choice([-1, -1, -1, 1, 7]),
            max_task_retry_count=rng.choice([0, 0, 1, 3, -1]),
            on_all_tasks_complete=OnAllTasksComplete.NO_ACTION,
            **self._around(key),
            on_task_failure=rng.choice([*[OnTaskFailure.NO_ACTION] * 7, PERFORMED]),
            uses_task_dependencies=rng.random() < 0.5,
        )
        if job.uses_task_dependencies:
            self._chained.add(key)
        performs = job.on_task_failure is PERFORMED
        kind = rng.choice(["short", "short", "mixed", "long"])
        sizes = rng.choice([(1,), (1,), (1, 2), (1, 3, 8), (2,), (4,)])
        self.request(JobAddRequested(job=job), insist=True)
        make = partial(self._make_task, key, kind, sizes, performs)
        for first in range(0, tasks, 100):
            delay = rng.randrange(5 * SECOND)
            count = min(100, tasks - first)
            self.world.later(delay, partial(self._add_tasks, key, range(first, first + count), make))

    def _links(self, job: str, number: int, *, performs: bool) -> dict[str, Any]:
        """What a task depends on, tasks of lower numbers, and what its own end leads to."""
        rng = self.world.rng
        links: dict[str, Any] = {}
        if number and job in self._chained and rng.random() < 0.4:
            near = max(0, number - 50)
            ids = [str(rng.randrange(near, number)) for _ in range(rng.randrange(4))]
            first = rng.randrange(near, number)
            ranges = [(first, min(number - 1, first + rng.randrange(20)))] if rng.random() < 0.5 else []
            links["depends_on"] = Prerequisites(ids, ranges)
        if rng.random() < (0.9 if performs else 0.4):
            action = rng.choice([JobAction.NONE, JobAction.NONE, JobAction.DISABLE]) if performs else None
            lets_go_on = rng.choice(list(DependencyAction)) if job in self._chained else None
            options = ExitOptions(action, lets_go_on)
            links["exit_conditions"] = rng.choice(
                [
                    ExitConditions(default=options),
                    ExitConditions(exit_codes=((1, options),), default=ExitOptions(action)),
                    ExitConditions(exit_code_ranges=((-9, 0, options),), default=options),
                ]
            )
        return links

    def _make_task(self, job: str, kind: str, sizes: tuple[int, ...], performs: bool, number: int) -> NewTask:
        rng = self.world.rng
        key = str(number)
        long = kind == "long" or (kind == "mixed" and rng.random() < 0.1)
        duration = rng.randrange(SECOND, 20 * SECOND) if long else rng.randrange(5 * MILLISECOND)
        failures = rng.choice([0, 0, 0, 0, 0, 0, 1, 2])
        script = self.world.scripts.setdefault((job, key), Script(duration, failures))
        links = self._links(job, number, performs=performs)
        if self.gangs and rng.random() < self.gangs:
            script.bad_coordination = rng.choice([0.0, 0.0, 0.02])
            return make_task(key, number_of_instances=rng.randrange(1, 5), **links)
        return make_task(key, required_slots=rng.choice(sizes), **links)

    def _around(self, job: str) -> dict[str, Any]:
        """What some jobs run besides the tasks that are added."""
        rng = self.world.rng
        tasks: dict[str, Any] = {}
        limits = {"max_wall_clock_time": UNLIMITED, "retention_time": MINUTE}
        if rng.random() < 0.5:
            tasks["preparation"] = PreparationTask(
                id="prepare",
                wait_for_success=rng.random() < 0.7,
                rerun_on_node_reboot_after_success=rng.random() < 0.7,
                max_task_retry_count=rng.choice([0, 1, 3, -1]),
                **limits,
            )
            failures = rng.choice([0, 0, 1, 2, 5])
            self.world.scripts[job, "prepare"] = Script(rng.choice([MILLISECOND, SECOND, MINUTE]), failures)
            if rng.random() < 0.8:
                tasks["release"] = ReleaseTask(id="release", **limits)
                self.world.scripts[job, "release"] = Script(rng.choice([MILLISECOND, 5 * SECOND]), rng.choice([0, 2]))
        if rng.random() < 0.4:
            tasks["manager"] = ManagerTask(
                id="manager",
                document=b"{}",
                kill_job_on_completion=rng.random() < 0.3,
                run_exclusive=rng.random() < 0.5,
                allow_low_priority_node=rng.random() < 0.5,
                max_task_retry_count=rng.choice([None, 0, 2]),
                **limits,
            )
            self.world.scripts[job, "manager"] = Script(rng.randrange(MINUTE), rng.choice([0, 0, 1]))
        return tasks

    def _add_tasks(self, job: str, numbers: range, make: Callable[[int], NewTask]) -> None:
        tasks = [make(number) for number in numbers]

        def note(replies: list[Any]) -> None:
            self.acknowledged.update((reply.job, reply.key) for reply in replies if isinstance(reply, Task))

        self.request(TasksAddRequested(job=job, tasks=tasks), note, insist=True)

    def _request_again(self, job: str, *keys: str) -> None:
        """Add tasks that are, or were, there."""
        tasks = []
        for key in keys:
            self.world.scripts.setdefault((job, key), Script(MILLISECOND))
            last = self.world.archive.tasks.get(job, {}).get(key)
            size = last.gang.size if last is not None and last.gang is not None else None
            tasks.append(make_task(key, number_of_instances=size))
        self.request(TasksAddRequested(job=job, tasks=tasks))

    # --- whims

    def act_for(self, duration: int, every: int) -> None:
        """Ask for something now and then."""
        end = self.world.now + duration

        def act() -> None:
            self._whim()
            delay = self.world.rng.randrange(1, 2 * every)
            if self.world.now + delay < end:
                self.world.later(delay, act)

        self.world.later(every, act)

    def _whim(self) -> None:
        whims = [
            (10, self._end_task),
            (6, self._delete_task),
            (10, self._reactivate_task),
            (4, self._change_task),
            (4, self._add_again),
            (5, self._resize),
            (2, self._stop_resize),
            (3, self._remove_nodes),
            (3, self._preempt),
            (3, self._enable_auto_scale),
            (3, self._disable_auto_scale),
            (1, self._evaluate),
            (4, self._reboot),
            (3, self._reimage),
            (3, self._deallocate),
            (4, self._start),
            (4, self._disable_scheduling),
            (5, self._enable_scheduling),
            (3, self._disable_job),
            (5, self._enable_job),
            (4, self._change_job),
            (1, self._end_job),
            (1, self._delete_pool),
        ]
        self.world.rng.choices([whim for _, whim in whims], [weight for weight, _ in whims])[0]()

    def _pick(self, of: Any) -> Any:
        return self.world.rng.choice(of)

    def _task(self) -> tuple[str, str]:
        job = self._pick(self.job_keys)
        here = [key for owner, key in self.world.state.tasks if owner == job]
        stored = list(self.world.archive.tasks.get(job, {}))
        keys = here if here and self.world.rng.random() < 0.5 else stored
        return job, self._pick(keys) if keys else "0"

    def _end_task(self) -> None:
        job, task = self._task()
        self.request(TaskTerminateRequested(job=job, task=task))
        if self.world.rng.random() < 0.3:
            self.request(TaskReactivateRequested(job=job, task=task))

    def _delete_task(self) -> None:
        job, task = self._task()
        self.acknowledged.discard((job, task))
        self.request(TaskDeleteRequested(job=job, task=task))
        if self.world.rng.random() < 0.5:
            self._request_again(job, task)

    def _reactivate_task(self) -> None:
        job, task = self._task()
        self.request(TaskReactivateRequested(job=job, task=task))

    def _change_task(self) -> None:
        job, task = self._task()
        self.request(TaskChangeRequested(job=job, task=task, max_task_retry_count=self._pick([None, 0, 2])))

    def _add_again(self) -> None:
        job, task = self._task()
        self._request_again(job, task, task)

    def _resize(self) -> None:
        event = ResizeRequested(
            pool=self._pick(self.pool_keys),
            target_dedicated_nodes=self.world.rng.randrange(self.nodes + 1),
            target_low_priority_nodes=self._pick([None, 0, 2]),
            resize_timeout=None,
            deallocation_option=self._pick(list(DeallocationOption)),
        )
        self.request(event)

    def _stop_resize(self) -> None:
        self.request(StopResizeRequested(pool=self._pick(self.pool_keys)))

    def _node(self) -> tuple[str, str]:
        nodes = list(self.world.state.nodes.values())
        if not nodes:
            return self._pick(self.pool_keys), "none"
        node = self._pick(nodes)
        return node.pool, node.key

    def _remove_nodes(self) -> None:
        pool, node = self._node()
        option = self._pick(list(DeallocationOption))
        self.request(NodesRemoveRequested(pool=pool, nodes=[node], resize_timeout=None, deallocation_option=option))

    def _preempt(self) -> None:
        nodes = [node for node in self.world.state.nodes.values() if not node.is_dedicated]
        if nodes:
            duration = self._pick([0, SECOND, MINUTE])
            self.request(NodePreemptRequested(account="a", node_id=self._pick(nodes).id, duration=duration))

    def _enable_auto_scale(self) -> None:
        kind = self._pick(["Dedicated", "LowPriority"])
        option = self._pick(list(DeallocationOption))
        count = self._pick(["$PendingTasks / $TaskSlotsPerNode + 1", "avg($PendingTasks.GetSample(5))", "$Nothing"])
        formula = f"n = min({self.nodes}, {count}); $Target{kind}Nodes = n + 0.9; $NodeDeallocationOption = {option};"
        interval = self._pick([None, 5 * MINUTE, SECOND])
        self.request(
            AutoScaleEnableRequested(pool=self._pick(self.pool_keys), formula=formula, evaluation_interval=interval)
        )

    def _disable_auto_scale(self) -> None:
        self.request(AutoScaleDisableRequested(pool=self._pick(self.pool_keys)))

    def _evaluate(self) -> None:
        formula = "x = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 10);"
        self.request(AutoScaleEvaluateRequested(pool=self._pick(self.pool_keys), formula=formula))

    def _reboot(self) -> None:
        pool, node = self._node()
        self.request(NodeRebootRequested(pool=pool, node=node, option=self._pick(list(DeallocationOption))))

    def _reimage(self) -> None:
        pool, node = self._node()
        self.request(NodeReimageRequested(pool=pool, node=node, option=self._pick(list(DeallocationOption))))

    def _deallocate(self) -> None:
        pool, node = self._node()
        self.request(NodeDeallocateRequested(pool=pool, node=node, option=self._pick(list(DeallocationOption))))

    def _start(self) -> None:
        asleep = [node for node in self.world.state.nodes.values() if node.state.startswith("deallocat")]
        pool, node = (asleep[0].pool, asleep[0].key) if asleep else self._node()
        self.request(NodeStartRequested(pool=pool, node=node))

    def _disable_scheduling(self) -> None:
        pool, node = self._node()
        option = self._pick([option for option in DeallocationOption if option is not DeallocationOption.RETAINED_DATA])
        self.request(NodeDisableSchedulingRequested(pool=pool, node=node, option=option))

    def _enable_scheduling(self) -> None:
        pool, node = self._node()
        self.request(NodeEnableSchedulingRequested(pool=pool, node=node))

    def _disable_job(self) -> None:
        self.request(JobDisableRequested(job=self._pick(self.job_keys), disable_tasks=self._pick(list(DisableTasks))))

    def _enable_job(self) -> None:
        self.request(JobEnableRequested(job=self._pick(self.job_keys)))

    def _change_job(self) -> None:
        changes: list[dict[str, Any]] = [
            {"priority": self.world.rng.randrange(-1000, 1001)},
            {"max_parallel_tasks": self._pick([-1, 1, 5])},
            {"pool": (self._pick(self.pool_keys),) * 2},
            {"on_all_tasks_complete": OnAllTasksComplete.TERMINATE_JOB},
        ]
        self.request(JobChangeRequested(job=self._pick(self.job_keys), document={}, **self._pick(changes)))

    def _end_job(self) -> None:
        job = self._pick(self.job_keys)
        force = self.world.rng.random() < 0.2
        if self.world.rng.random() < 0.5:
            self.request(JobTerminateRequested(job=job, force=force))
        else:
            self.acknowledged = {name for name in self.acknowledged if name[0] != job}
            self.request(JobDeleteRequested(job=job, force=force))

    def _delete_pool(self) -> None:
        key = self._pick(self.pool_keys)
        self.request(PoolDeleteRequested(pool=key))
        self.world.later(self.world.rng.randrange(10 * SECOND), lambda: self._add_pool(key))
