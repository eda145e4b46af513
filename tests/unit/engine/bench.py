"""An engine on a test bench: events go in, replies and effects come out, invariants are checked after each."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec.structs import replace
from tests.simulation.archive import DictArchive
from tests.simulation.client import make_job, make_pool, make_task

from millpond.batch.engine import machine
from millpond.batch.engine.invariants import check
from millpond.batch.engine.messages import (
    AgentConnected,
    AttemptRef,
    Effect,
    Event,
    JobAddRequested,
    PoolAddRequested,
    RaiseAt,
    ResizeRequested,
    StartTask,
    TaskEnded,
    TasksAddRequested,
    TaskStarted,
)
from millpond.batch.engine.state import State
from millpond.batch.model.job import Job
from millpond.batch.model.limits import Limits
from millpond.batch.model.pool import Node, Pool, StartTaskInfo, StartTaskState
from millpond.batch.model.task import ErrorCategory, Failure, Task, TaskResult, TaskState
from millpond.common.clock import SECOND
from millpond.common.errors import ServiceError

E = TypeVar("E", bound=Effect)

FAILED = Failure(ErrorCategory.USER_ERROR, "FailureExitCode", "It failed.")


class Bench:
    def __init__(self, *, ready_window: int = 4096, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self.now = 1_700_000_000 * SECOND
        self.archive = DictArchive()
        self.effects: list[Effect] = []
        #: Moments that have been asked for since the service began.
        self.timers: list[RaiseAt] = []
        self._ready_window = ready_window
        self._limits = limits
        self.state = self._fresh_state()

    def _fresh_state(self) -> State:
        state = State(self.archive, ready_window=self._ready_window, limits=self._limits)
        self.archive.flush = lambda: self.archive.write(state.take_changes())
        return state

    # --- what happens

    def do(self, *events: Event, after: int = SECOND) -> Any:
        """Step events as one batch, some time after the last; the reply to the last one. Effects are kept."""
        self.now += after
        reply = None
        self.effects = []
        for event in events:
            reply, effects = machine.step(self.state, event, self.now)
            self.effects += effects
        self._settle()
        return reply

    def refused(self, event: Event) -> str:
        """The code with which an event is refused; nothing may have changed."""
        self.now += SECOND
        try:
            machine.step(self.state, event, self.now)
        except ServiceError as refusal:
            changes = self.state.take_changes()
            records = [changes.pools, changes.nodes, changes.jobs, changes.schedules, changes.tasks]
            assert not any((*records, changes.file_deletions)), f"{event} was refused and changed {records}"
            assert not self.state.take_effects()
            self._settle()
            return refusal.code
        raise AssertionError(f"{event} was not refused")

    def _settle(self) -> None:
        self.effects += machine.settle(self.state, self.now)
        self.timers += self.all(RaiseAt)
        check(self.state)
        self.archive.flush()
        self.archive.commit()

    def restart(self) -> None:
        """The service ends and begins anew from what is stored."""
        self.now += SECOND
        self.state = self._fresh_state()
        self.timers.clear()
        self.effects = machine.restore(
            self.state,
            list(self.archive.pools.values()),
            list(self.archive.nodes.values()),
            self.archive.unfinished_jobs(),
            self.archive.unfinished_schedules(),
            self.archive.placed(),
            list(self.archive.job_nodes.values()),
            self.now,
            self.archive.all_samples(),
            dict(self.archive.pool_usages),
            dict(self.archive.accounts),
        )
        self._settle()

    def all(self, kind: type[E]) -> list[E]:
        """The effects of one kind that the last batch had."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    # --- short cuts

    def pool(self, nodes: int = 1, slots: int = 1, key: str = "pool", **fields: Any) -> list[str]:
        """A pool whose nodes are all idle; their keys."""
        pool = make_pool(key, nodes, slots)
        self.do(PoolAddRequested(pool=_with(pool, fields)))
        keys = list(self.state.pool_slots[key].nodes)
        self.connect(*keys)
        return keys

    def connect(self, *nodes: str, holding: list[AttemptRef] | None = None, is_prepared: bool = True) -> None:
        """The agents of these nodes' present boots connect."""
        events = [
            AgentConnected(
                node=key,
                boot=self.state.nodes[key].boot,
                ip_address="10.0.0.4",
                agent_version="1",
                start_task=None,
                is_prepared=is_prepared,
                holding=holding or [],
            )
            for key in nodes
        ]
        self.do(*events)

    def grow(self, nodes: int, key: str = "pool") -> list[str]:
        """The pool gets this many nodes; their agents connect at one moment. Returns their keys."""
        self.do(
            ResizeRequested(pool=key, target_dedicated_nodes=nodes, target_low_priority_nodes=None, resize_timeout=None)
        )
        keys = list(self.state.pool_slots[key].nodes)
        self.connect(*keys)
        return keys

    def job(self, key: str = "job", pool: str = "pool", **fields: Any) -> None:
        self.do(JobAddRequested(job=make_job(key, pool, **fields)))

    def tasks(self, *ids: str, job: str = "job", **fields: Any) -> list[Any]:
        replies: list[Any] = self.do(TasksAddRequested(job=job, tasks=[make_task(name, **fields) for name in ids]))
        return replies

    def start(self, task: str, job: str = "job") -> None:
        """The task's node reports that it has begun."""
        ref = self.attempt(task, job)
        node, boot = self._where(task, job)
        self.do(TaskStarted(node=node, boot=boot, attempt=ref, start_time=self.now))

    def end(self, task: str, job: str = "job", *, code: int | None = 0, ran: int = SECOND, **fields: Any) -> None:
        """The task's node reports its end."""
        self.do(self.end_event(task, job, code=code, ran=ran, **fields))

    def end_event(
        self, task: str, job: str = "job", *, code: int | None = 0, ran: int = SECOND, **fields: Any
    ) -> TaskEnded:
        node, boot = self._where(task, job)
        report: dict[str, Any] = {
            "node": node,
            "boot": boot,
            "attempt": self.attempt(task, job),
            "start_time": self.now - ran,
            "end_time": self.now,
            "exit_code": code,
            "result": TaskResult.SUCCESS if code == 0 else TaskResult.FAILURE,
            "failure": None if code == 0 else FAILED,
            "may_retry": bool(code),
        }
        return TaskEnded(**{**report, **fields})

    def stopped_event(self, task: str, job: str = "job") -> TaskEnded:
        """The task's node has ended it on order, before it began."""
        return self.end_event(task, job, code=None, start_time=None, may_retry=False)

    def attempt(self, task: str, job: str = "job") -> AttemptRef:
        return AttemptRef(job, task, self.task(task, job).attempt)

    def _where(self, task: str, job: str) -> tuple[str, int]:
        node = self.task(task, job).node
        assert node is not None, f"{task} has no node"
        return node, self.state.nodes[node].boot

    # --- what is on record

    def task(self, key: str, job: str = "job") -> Task:
        return self.archive.tasks[job][key]

    def states(self, job: str = "job") -> dict[str, TaskState]:
        return {key: task.state for key, task in self.archive.tasks.get(job, {}).items()}

    def running(self, job: str = "job") -> list[str]:
        return [key for key, state in self.states(job).items() if state is TaskState.RUNNING]

    def ahead(self, node: str) -> list[str]:
        return [task for _, task in self.state.node_slots[node].ahead]

    def job_record(self, key: str = "job") -> Job:
        return self.archive.jobs[key]

    def node(self, key: str) -> Node:
        return self.archive.nodes[key]

    def pool_record(self, key: str = "pool") -> Pool:
        return self.archive.pools[key]

    def started(self) -> list[str]:
        """The tasks that the last batch ordered to start."""
        return [effect.attempt.task for effect in self.all(StartTask)]


def start_task_ended(result: TaskResult) -> StartTaskInfo:
    code = 0 if result is TaskResult.SUCCESS else 1
    failure = None if code == 0 else FAILED
    return StartTaskInfo(
        state=StartTaskState.COMPLETED, start_time=1, end_time=2, exit_code=code, result=result, failure=failure
    )


def _with(pool: Pool, fields: dict[str, Any]) -> Pool:

    return replace(pool, **fields)
